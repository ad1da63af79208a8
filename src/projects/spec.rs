//! A project read back from its unit, for when the registry is lost.

use jiff::Timestamp;

use super::words::{join_command, split_command};
use crate::{
    error::{Error, Result},
    names::{Domain, ProjectName, Runtime},
    registry::Project,
    release::Process,
};

/// What a unit says of its project; SSH keys stand elsewhere.
pub type FoundUnit = Project;

/// Reads the `[X-Hostkit]` section of a unit that hostkit made.
pub fn read_unit(text: &str) -> Result<FoundUnit> {
    let refused =
        |why: &str| Error::failed("a unit does not say whose it is").caused_by(why.to_owned());
    let section = text
        .split_once("\n[X-Hostkit]\n")
        .map(|(_, section)| section)
        .ok_or_else(|| refused("it has no section [X-Hostkit]"))?;
    let section = section.split("\n[").next().unwrap_or_default();
    let all = |key: &str| -> Vec<&str> {
        section.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    let one =
        |key: &str| all(key).first().copied().ok_or_else(|| refused(&format!("it has no {key}=")));
    let number =
        |key: &str| one(key)?.parse::<u32>().map_err(|_| refused(&format!("{key}= is no number")));
    let name: ProjectName = one("Project")?.parse()?;
    let storage = all("Storage").first().map(|line| line.parse()).transpose()?;
    Ok(Project {
        storage,
        runtime: one("Runtime")?.parse::<Runtime>()?,
        uid: number("Uid")?,
        port: u16::try_from(number("Port")?).map_err(|_| refused("Port= is no port"))?,
        environment: all("EnvironmentIs")
            .first()
            .map(|of| of.parse())
            .transpose()?
            .unwrap_or_default(),
        redis: if all("Redis").is_empty() { None } else { Some(number("Redis")?) },
        own_redis: all("OwnRedis") == ["yes"],
        postgres: one("Postgres")? == "yes",
        mysql: all("Mysql") == ["yes"],
        start: all("Start").first().map(|line| plain(line)).transpose()?,
        domains: all("Domain").into_iter().map(str::parse).collect::<Result<Vec<Domain>>>()?,
        keys: Vec::new(),
        ci_keys: Vec::new(),
        own: all("Process").into_iter().map(process).collect::<Result<Vec<Process>>>()?,
        off: all("Off").into_iter().map(str::to_owned).collect(),
        grants: all("Grant").into_iter().map(str::to_owned).collect(),
        created_by: one("CreatedBy")?.to_owned(),
        created_at: one("CreatedAt")?.parse::<Timestamp>().unwrap_or_default(),
        tls: None,
        deleting: false,
        live: None,
        name,
    })
}

fn process(line: &str) -> Result<Process> {
    serde_json::from_str(line)
        .map_err(|e| Error::failed("a unit does not say what its project runs").caused_by(e))
}

/// The command as it was given: systemd's doubled signs made single again.
fn plain(line: &str) -> Result<String> {
    let single = |word: String| word.replace("%%", "%").replace("$$", "$");
    let words: Vec<String> = split_command(line)?.into_iter().map(single).collect();
    Ok(join_command(&words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        projects::{tests::shop, unit},
        templates::Templates,
    };

    #[test]
    fn a_unit_says_all_that_the_registry_knew() {
        let mut project = shop();
        project.domains = vec!["shop.example.com".parse().unwrap()];
        project.own = vec![
            crate::projects::worker("mail", &["venv/bin/x".into(), "it's 50%\"".into()]).unwrap(),
            crate::projects::cron("tidy", "0 3 * * 1-5", &["/bin/true".into()]).unwrap(),
        ];
        project.off = vec!["tidy".into()];
        project.environment = crate::names::Environment::Staging;
        (project.redis, project.own_redis, project.mysql) = (None, true, true);
        for start in
            [None, Some("/usr/bin/x --rate '50% of it'"), Some("/x \"it's\" $HOME '\\ \"'")]
        {
            project.start = start.map(str::to_owned);
            let (config, templates) = (Config::default(), Templates::default());
            let text =
                unit::render(&project, None, unit::Which::Main, &config, &templates).unwrap();
            assert_eq!(read_unit(&text).unwrap(), project);
        }
    }

    #[test]
    fn a_foreign_unit_is_refused() {
        assert!(read_unit("[Unit]\nDescription=x\n").is_err());
        assert!(read_unit("[Unit]\n\n[X-Hostkit]\nProject=../x\n").is_err());
    }
}

//! The project's own word on what came back: `[backup] check` of the manifest of its release.

use std::path::Path;

use super::{drill::Proof, files::state_dir};
use crate::{
    commands::{Context, state},
    envfile::EnvFile,
    error::{Error, Result},
    projects::{
        MANIFEST,
        backup::{CheckUnit, check_unit, reading_units},
        parse_manifest,
    },
    registry::Project,
    sys::{Owner, signals, systemd::Verb},
};

/// Runs it, if the live release has one, with the database and the files that came back.
pub fn run(cx: &mut Context, project: &Project, files: &Path, proof: &mut Proof) -> Result<()> {
    let name = &project.name;
    let Some(release) = state::release(cx, project)? else { return Ok(()) };
    let path = name.home().join("releases").join(release.as_str()).join(MANIFEST);
    let Some(text) = cx.host.read_text(&path)? else { return Ok(()) };
    // It was deployed by some hostkit: one that can't read it any more knows of no check.
    let Some(command) = parse_manifest(&text).ok().and_then(|manifest| manifest.check) else {
        return Ok(());
    };
    let dir = state_dir(name);
    let (variables, log) = (dir.join("check.env"), dir.join("check.log"));
    let env = variables_of(cx, project, files)?;
    cx.host.write(&variables, env.as_bytes(), Owner::ROOT, 0o600)?;
    cx.host.write(&log, b"", Owner::ROOT, 0o600)?;
    let ended = attend(cx, project, &command, &variables, &log);
    cx.host.remove_file(&variables)?;
    let said = String::from_utf8_lossy(&cx.host.read_long(&log)?).into_owned();
    cx.host.remove_file(&log)?;
    let last: Vec<&str> =
        said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let last: Vec<String> = last.into_iter().rev().map(printable).collect();
    let (result, status) = ended?;
    let found = if result == "success" {
        Ok(last.last().cloned().unwrap_or_else(|| "it is content".into()))
    } else {
        Err(Error::failed(format!("{result} ({status})")).caused_by(last.join(" · ")))
    };
    proof.add("own check", found);
    Ok(())
}

/// The project's address of its database, with the name of the one that came back.
fn variables_of(cx: &Context, project: &Project, files: &Path) -> Result<String> {
    let mut file = EnvFile::default();
    let database = project.name.database();
    let scratch = crate::steps::drill(&database);
    let releases = project.name.home().join("app/.release");
    for path in [project.name.env_file(), releases] {
        let Ok(Some(text)) = cx.host.read_text(&path) else { continue };
        if let Some(url) = EnvFile::parse(&text)?.get("DATABASE_URL") {
            let url = url.replacen(&format!("/{database}"), &format!("/{scratch}"), 1);
            file.set("DATABASE_URL", &url)?;
        }
    }
    if project.mysql {
        let env = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
        let scratch = crate::steps::mysql_drill(&database);
        if let Some(url) = EnvFile::parse(&env)?.get("MYSQL_URL") {
            file.set(
                "MYSQL_URL",
                &url.replacen(&format!("/{database}"), &format!("/{scratch}"), 1),
            )?;
        }
        file.set("MYSQL_DATABASE", &scratch)?;
    }
    file.set("BACKUP_FILES", &files.display().to_string())?;
    Ok(file.to_string())
}

fn attend(
    cx: &Context,
    project: &Project,
    command: &[String],
    variables: &Path,
    log: &Path,
) -> Result<(String, i32)> {
    let unit = CheckUnit {
        project,
        command,
        variables: &variables.display().to_string(),
        log: &log.display().to_string(),
    };
    let text = check_unit(&unit, &cx.config, &cx.templates()?)?;
    let nonce = jiff::Timestamp::now().as_microsecond();
    let unit = format!("{}check-{nonce}.service", reading_units(&project.name));
    let file = Path::new("/run/systemd/system").join(&unit);
    cx.host.write(&file, text.as_bytes(), Owner::ROOT, 0o644)?;
    let ended = cx.host.attend(&unit, signals::check);
    if ended.is_err() {
        let _ = cx.host.unit_job(Verb::Stop, &unit);
    }
    cx.host.remove_file(&file)?;
    ended.map(|ended| (ended.result, ended.status))
}

fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

//! A project's database in MariaDB, and the server's own part of it.

use serde::Serialize;

use super::{Facts, Maker, Passwords};
use crate::{
    config::Config,
    envfile::EnvFile,
    error::Result,
    names::{CheckpointId, ProjectName},
    plan::{Ground, Lane, Plan},
    registry::Project,
    secret::Secret,
    steps::{
        File, Judge, MYSQL_CONF, MYSQL_PORT, MYSQL_SOCKET, MYSQL_UNIT, MysqlDatabase, MysqlEntry,
        MysqlGivenUp, MysqlNoStrangers, MysqlRestored, MysqlUser, Owner, Running, Text, Trigger,
    },
    templates::Templates,
};

/// The variables by which a project finds it: hostkit's where it made the database, and the
/// owner's own where not.
pub(super) const KEYS: [&str; 7] = [
    "MYSQL_URL",
    "MYSQL_HOST",
    "MYSQL_PORT",
    "MYSQL_SOCKET",
    "MYSQL_DATABASE",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
];

/// What the plan of the server must know of it.
#[derive(Clone, Copy, Debug)]
pub struct MysqlFacts {
    pub uid: u32,
}

/// Of a template that asks for nothing.
#[derive(Serialize)]
struct Nothing {}

/// MariaDB as projects find it: closed to the outside, and to whoever has no name.
pub(super) fn host_plan(plan: &mut Plan, templates: &Templates) -> Result<()> {
    plan.part("mysql", "MariaDB for projects, on this host alone");
    let file = File {
        path: MYSQL_CONF.into(),
        owner: Owner::ROOT,
        mode: 0o644,
        text: Text::Exactly(templates.render("mysql/hostkit.cnf", &Nothing {})?),
        judge: Judge::Nobody,
    };
    plan.notifying(Lane::Mysql, file, [Trigger::RestartUnit(MYSQL_UNIT.into())]);
    plan.step(Lane::Mysql, MysqlNoStrangers {});
    plan.step(Lane::Mysql, Running { unit: MYSQL_UNIT.into() });
    Ok(())
}

pub(super) fn url(name: &ProjectName, password: &Secret) -> String {
    let (user, database) = (name.role(), name.database());
    format!("mysql://{user}:{}@127.0.0.1:{MYSQL_PORT}/{database}", password.expose())
}

pub(super) fn is_url(url: &str) -> bool {
    url.starts_with("mysql://")
}

pub(super) fn variables(
    project: &Project,
    password: &Secret,
) -> Vec<(&'static str, Option<String>)> {
    if !project.mysql {
        return Vec::new();
    }
    let name = &project.name;
    let values = [
        url(name, password),
        "127.0.0.1".into(),
        MYSQL_PORT.to_string(),
        MYSQL_SOCKET.into(),
        name.database(),
        name.role(),
        password.expose().to_owned(),
    ];
    KEYS.into_iter().zip(values.map(Some)).collect()
}

/// Whether an environment's variables are those that hostkit has set.
pub(super) fn is_ours(env: &EnvFile) -> bool {
    let (Some(user), Some(name)) = (env.get("MYSQL_USER"), env.get("PROJECT_NAME")) else {
        return false;
    };
    name.parse::<ProjectName>().is_ok_and(|name| name.role() == user)
}

/// Variables of that kind that the owner has set himself.
pub fn own_mysql(env: &str) -> Vec<&'static str> {
    let file = EnvFile::parse(env).unwrap_or_default();
    KEYS.into_iter().filter(|key| file.get(key).is_some()).collect()
}

/// An environment without what led to the database.
fn without(env: &str) -> Result<String> {
    let mut file = EnvFile::parse(env)?;
    for key in KEYS {
        file.unset(key);
    }
    Ok(file.to_string())
}

/// The text of a `.env` with another password.
pub fn with_mysql_password(project: &Project, env: &str, password: &Secret) -> Result<String> {
    let mut file = EnvFile::parse(env)?;
    for (key, value) in variables(project, password) {
        file.set(key, &value.unwrap_or_default())?;
    }
    if !project.postgres {
        file.set("DATABASE_URL", &url(&project.name, password))?;
    }
    Ok(file.to_string())
}

/// How a project comes into its database.
pub fn mysql_entry(project: &Project, env: &str) -> Option<MysqlEntry> {
    let file = EnvFile::parse(env).ok()?;
    Some(MysqlEntry {
        account: project.name.role(),
        password: Secret::new(file.get("MYSQL_PASSWORD")?),
        user: Owner::new(project.uid, project.uid),
    })
}

/// The database as a dump has it; a dump of what it is until then goes to `kept`.
pub fn mysql_restored(
    project: &Project,
    dump: std::path::PathBuf,
    kept: std::path::PathBuf,
    before: &CheckpointId,
) -> MysqlRestored {
    let name = &project.name;
    MysqlRestored {
        database: name.database(),
        account: name.role(),
        comment: format!("hostkit project {name}"),
        dump,
        programs: kept.with_file_name(format!("{before}.programs")),
        kept,
        env: name.env_file(),
        user: Owner::new(project.uid, project.uid),
    }
}

/// What a project gets, with a database, that was made without one.
pub fn mysql_plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.mysql(&mut plan);
    maker.environment(&mut plan)?;
    Ok(plan)
}

/// What makes a project one without a database. The database itself is marked, and goes afterwards.
pub fn no_mysql_plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let env = facts.env.as_deref().map(without).transpose()?;
    let facts = &Facts { env, ..facts.clone() };
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.environment(&mut plan)?;
    plan.part("mysql", format!("{} is given up", project.name.database()));
    plan.step(Lane::Mysql, mysql_given_up(&project.name));
    Ok(plan)
}

/// A project's database, as it is given up.
pub fn mysql_given_up(name: &ProjectName) -> MysqlGivenUp {
    MysqlGivenUp { database: name.database(), user: name.role() }
}

impl Maker<'_> {
    pub(super) fn mysql(&self, plan: &mut Plan) {
        let Self { project, config, passwords, .. } = self;
        if !project.mysql {
            return;
        }
        let name = &project.name;
        let connections = config.mysql.connections;
        plan.part("mysql", format!("{}, {connections} connections", name.database()));
        let comment = format!("hostkit project {name}");
        plan.step(Lane::Mysql, MysqlDatabase { name: name.database(), comment });
        let password = Some(passwords.mysql.clone());
        let database = name.database();
        plan.step(Lane::Mysql, MysqlUser { name: name.role(), database, connections, password });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::{env, tests::shop};

    fn text(project: &Project) -> String {
        let passwords = Passwords { mysql: Secret::new("m"), ..Passwords::none() };
        env::render(project, None, &passwords, &Config::default()).unwrap()
    }

    #[test]
    fn who_has_both_databases_finds_each_under_its_own_name() {
        let both = Project { postgres: true, mysql: true, ..shop() };
        let text_of_both = text(&both);
        let mysql = "mysql://my_shop_user:m@127.0.0.1:3306/my_shop_db\n";
        assert!(text_of_both.contains("DATABASE_URL=postgresql://"), "{text_of_both}");
        assert!(text_of_both.contains(&format!("MYSQL_URL={mysql}")), "{text_of_both}");
        let alone = text(&Project { postgres: false, ..both.clone() });
        assert!(alone.contains(&format!("DATABASE_URL={mysql}")), "{alone}");
        assert!(!without(&alone).unwrap().contains("MYSQL_"), "{alone}");
        assert!(env::database_login(&both.name, &alone).is_none(), "it is not PostgreSQL's");
        assert!(is_ours(&EnvFile::parse(&alone).unwrap()));
        assert_eq!(mysql_entry(&both, &alone).unwrap().password.expose(), "m");
        let next = with_mysql_password(&both, &text_of_both, &Secret::new("n")).unwrap();
        assert!(next.contains("MYSQL_PASSWORD=n\n") && next.contains("DATABASE_URL=postgresql"));
    }

    #[test]
    fn variables_of_the_owners_own_stay() {
        let passwords = Passwords::none();
        let own = "MYSQL_HOST=db.example.com\n";
        let text = env::render(&shop(), Some(own), &passwords, &Config::default()).unwrap();
        assert!(text.contains(own), "{text}");
        assert_eq!(own_mysql(own), ["MYSQL_HOST"]);
    }
}

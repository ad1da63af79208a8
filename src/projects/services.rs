//! A project's databases, and the variables by which it finds them.

use super::{Facts, Maker, Passwords, data_plan, env, redis_rules, switch::Comes};
use crate::{
    config::Config,
    error::Result,
    names::ProjectName,
    plan::{Ground, Lane, Plan},
    registry::Project,
    secret::Secret,
    steps::{Database, Doomed, File, Handover, Judge, Keyspace, Logins, Role, Text, Trigger},
    templates::Templates,
};

/// Which of the two roles a project logs in as. They take turns when its password changes, and
/// all that is made belongs to the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DbLogin {
    Owner,
    Second,
}

impl DbLogin {
    pub fn role(self, name: &ProjectName) -> String {
        match self {
            Self::Owner => name.role(),
            Self::Second => name.second_role(),
        }
    }

    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Owner => Self::Second,
            Self::Second => Self::Owner,
        }
    }
}

/// What a project gets, with a database, that was made without one.
pub fn database_plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.postgres(&mut plan, Ground::Known);
    maker.environment(&mut plan)?;
    Ok(plan)
}

/// What makes a project one without a database. The database itself is marked, and goes afterwards.
pub fn no_database_plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.environment(&mut plan)?;
    plan.part("postgres", format!("{} is given up", project.name.database()));
    plan.step(Lane::Postgres, doomed(&project.name));
    Ok(plan)
}

/// A project's database, as it is given up.
pub fn doomed(name: &ProjectName) -> Doomed {
    Doomed {
        database: name.database(),
        owner: name.role(),
        second: name.second_role(),
        comment: format!("hostkit project {name}"),
    }
}

/// The next login of a project's database, with a password of its own.
pub fn handover(project: &Project, next: DbLogin, password: Secret, config: &Config) -> Handover {
    let name = &project.name;
    let role = login(name, next, true, Some(password), config);
    Handover { next: role, logins: logins(name) }
}

fn logins(name: &ProjectName) -> Logins {
    Logins {
        database: name.database(),
        owner: name.role(),
        second: name.second_role(),
        env: name.env_file(),
    }
}

/// The plan that hands over where nothing runs, with the variables that name the next login.
pub fn handover_plan(
    project: &Project,
    comes: Comes,
    facts: &Facts,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let passwords = Passwords::none();
    let maker = Maker { project, facts, passwords: &passwords, config, templates };
    let text = facts.env.as_deref().unwrap_or_default();
    let mut plan = data_plan(project, Some(comes), Some(text));
    maker.release_file(&mut plan, text)?;
    Ok(plan)
}

/// Hands over before anything else of a plan whose `.env` names the next login.
pub(super) fn hand_over(plan: &mut Plan, handover: Handover) {
    let ends = Trigger::LoginEnds(handover.logins.clone());
    plan.part("login", handover.next.name.clone());
    plan.notifying(Lane::Files, handover, [ends]);
}

fn login(
    name: &ProjectName,
    which: DbLogin,
    can_login: bool,
    password: Option<Secret>,
    config: &Config,
) -> Role {
    Role {
        name: which.role(name),
        connections: config.postgres.connections,
        comment: format!("hostkit project {name}"),
        can_login,
        stands_for: (which == DbLogin::Second).then(|| name.role()),
        password,
    }
}

impl Maker<'_> {
    /// What tells a project's processes of what it has, and the unit that says so.
    pub(super) fn environment(&self, plan: &mut Plan) -> Result<()> {
        plan.part("environment", self.project.name.env_file().display().to_string());
        self.env_file(plan)?;
        self.unit(plan)
    }

    pub(super) fn env_file(&self, plan: &mut Plan) -> Result<()> {
        let text =
            env::render(self.project, self.facts.env.as_deref(), self.passwords, self.config)?;
        let text = self.secrets(plan, text)?;
        self.release_file(plan, &text)?;
        plan.step(
            Lane::Files,
            File {
                path: self.project.name.env_file(),
                owner: self.shown(),
                mode: 0o640,
                text: Text::Secret(text),
                judge: Judge::Nobody,
            },
        );
        Ok(())
    }

    pub(super) fn redis(&self, plan: &mut Plan) -> Result<()> {
        if self.project.own_redis {
            return self.own_redis(plan);
        }
        let Some(database) = self.project.redis else { return Ok(()) };
        plan.part("redis", format!("database {database}, confined user"));
        let rules = redis_rules::of(&self.project.name, database, self.facts.redis_version);
        plan.step(
            Lane::Redis,
            Keyspace {
                user: self.project.name.to_string(),
                database,
                commands: rules.commands,
                channels: rules.channels,
                selector: rules.selector,
                password: Some(self.passwords.redis.clone()),
            },
        );
        Ok(())
    }

    pub(super) fn postgres(&self, plan: &mut Plan, ground: Ground) {
        let Self { project, config, passwords, .. } = self;
        let name = &project.name;
        if !project.postgres {
            return;
        }
        let connections = config.postgres.connections;
        plan.part("postgres", format!("{}, {connections} connections", name.database()));
        let password = |of| (passwords.login == of).then(|| passwords.postgres.clone());
        let role =
            |which: DbLogin| login(name, which, passwords.login == which, password(which), config);
        plan.step(Lane::Postgres, role(DbLogin::Owner));
        // On fresh ground there is none, and nothing to be looked for.
        if ground == Ground::Known {
            plan.step(Lane::Postgres, role(DbLogin::Second));
        }
        let comment = format!("hostkit project {name}");
        plan.step(Lane::Postgres, Database { name: name.database(), owner: name.role(), comment });
    }
}

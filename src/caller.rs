//! Who calls, and what they may do: one table, decided before anything else happens.

use crate::{
    error::{Error, Kind, Result},
    names::ProjectName,
};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Not root: may ask for help, and nothing that needs the host.
    Anybody {
        uid: u32,
    },
    /// Root, or somebody whom sudo's own rules let become root.
    Root,
    Operator {
        name: String,
    },
    /// The user of a project, by way of sudo.
    Project {
        name: ProjectName,
    },
    /// Came by sudo and is none of the above.
    Stranger {
        uid: u32,
    },
}

impl Caller {
    /// As events name it.
    pub fn actor(&self) -> String {
        match self {
            Self::Anybody { uid } | Self::Stranger { uid } => format!("user {uid}"),
            Self::Operator { name } => name.clone(),
            Self::Project { name } => name.to_string(),
            Self::Root => "root".into(),
        }
    }
}

/// Who may run a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Needs no right at all.
    Anybody,
    Operators,
    /// Operators, and a project's user for that one project.
    Project,
}

/// Every command has its row. A command without one is nobody's.
pub const TABLE: &[(&str, Access)] = &[
    ("alert add", Access::Operators),
    ("alert check", Access::Operators),
    ("alert list", Access::Operators),
    ("alert mute", Access::Operators),
    ("alert remove", Access::Operators),
    ("alert test", Access::Operators),
    ("alert unmute", Access::Operators),
    ("app-gate", Access::Operators),
    ("autopause", Access::Operators),
    ("backup create", Access::Operators),
    ("backup delete", Access::Operators),
    ("backup drill", Access::Operators),
    ("backup evidence", Access::Operators),
    ("backup export", Access::Operators),
    ("backup list", Access::Project),
    ("backup restore", Access::Operators),
    ("backup rotate", Access::Operators),
    ("backup run-all", Access::Operators),
    ("backup setup-timer", Access::Operators),
    ("backup stats", Access::Operators),
    ("backup verify", Access::Operators),
    ("capabilities", Access::Anybody),
    ("checkpoint cleanup", Access::Operators),
    ("checkpoint create", Access::Project),
    ("checkpoint delete", Access::Operators),
    ("checkpoint info", Access::Project),
    ("checkpoint latest", Access::Project),
    ("checkpoint list", Access::Project),
    ("checkpoint restore", Access::Operators),
    ("completions", Access::Anybody),
    ("config", Access::Operators),
    ("cron add", Access::Operators),
    ("cron disable", Access::Operators),
    ("cron enable", Access::Operators),
    ("cron list", Access::Project),
    ("cron logs", Access::Project),
    ("cron remove", Access::Operators),
    ("cron run", Access::Project),
    ("db backup", Access::Project),
    ("db create", Access::Operators),
    ("db delete", Access::Operators),
    ("db enable-extension", Access::Project),
    ("db extensions", Access::Project),
    ("db info", Access::Project),
    ("db list", Access::Operators),
    ("db migrate", Access::Project),
    ("db restore", Access::Operators),
    ("db rotate", Access::Project),
    ("db shell", Access::Project),
    ("deploy", Access::Project),
    ("deploys", Access::Project),
    ("digest", Access::Anybody),
    ("doctor", Access::Operators),
    ("drift", Access::Operators),
    ("env diff", Access::Project),
    ("env get", Access::Project),
    ("env history", Access::Project),
    ("env import", Access::Project),
    ("env list", Access::Project),
    ("env restore", Access::Operators),
    ("env set", Access::Project),
    ("env sync", Access::Project),
    ("env unset", Access::Project),
    ("events", Access::Operators),
    ("exec", Access::Project),
    ("gate", Access::Project),
    ("git answer", Access::Anybody),
    ("git config", Access::Project),
    ("git credential", Access::Project),
    ("git fetch", Access::Anybody),
    ("git forget", Access::Project),
    ("git key", Access::Project),
    ("git show", Access::Project),
    ("health", Access::Project),
    ("init", Access::Operators),
    ("inside", Access::Anybody),
    ("log", Access::Project),
    ("man", Access::Anybody),
    ("manifest", Access::Anybody),
    ("metrics query", Access::Operators),
    ("metrics remove", Access::Operators),
    ("metrics setup", Access::Operators),
    ("metrics status", Access::Project),
    ("operator add-key", Access::Operators),
    ("operator list", Access::Operators),
    ("operator revoke", Access::Operators),
    ("operator setup", Access::Operators),
    ("permissions grant", Access::Operators),
    ("permissions revoke", Access::Operators),
    ("permissions show", Access::Project),
    ("permissions verify", Access::Operators),
    ("plan", Access::Operators),
    ("project create", Access::Operators),
    ("project delete", Access::Operators),
    ("project environment", Access::Operators),
    ("project info", Access::Project),
    ("project list", Access::Operators),
    ("project regenerate-sudoers", Access::Operators),
    ("project restart", Access::Project),
    ("project start", Access::Operators),
    ("project stop", Access::Operators),
    ("provision", Access::Operators),
    ("ratelimit", Access::Operators),
    ("recover", Access::Operators),
    ("redis flush", Access::Operators),
    ("redis info", Access::Project),
    ("redis keys", Access::Project),
    ("releases", Access::Project),
    ("repair", Access::Operators),
    ("restore-host", Access::Operators),
    ("resume", Access::Operators),
    ("rollback", Access::Project),
    ("secrets audit", Access::Operators),
    ("secrets clear", Access::Operators),
    ("secrets define", Access::Operators),
    ("secrets delete", Access::Operators),
    ("secrets import", Access::Project),
    ("secrets init", Access::Operators),
    ("secrets list", Access::Project),
    ("secrets rotate-key", Access::Operators),
    ("secrets set", Access::Project),
    ("secrets show", Access::Operators),
    ("secrets undefine", Access::Operators),
    ("secrets verify", Access::Project),
    ("service list", Access::Project),
    ("service logs", Access::Project),
    ("service restart", Access::Project),
    ("service start", Access::Operators),
    ("service status", Access::Project),
    ("service stop", Access::Operators),
    ("show", Access::Project),
    ("ssh add-key", Access::Operators),
    ("ssh list-keys", Access::Operators),
    ("ssh remove-key", Access::Operators),
    ("ssl disable", Access::Operators),
    ("ssl enable", Access::Operators),
    ("ssl guard", Access::Operators),
    ("ssl import", Access::Operators),
    ("ssl list", Access::Operators),
    ("ssl renew", Access::Operators),
    ("ssl status", Access::Project),
    ("status", Access::Project),
    ("storage credentials", Access::Project),
    ("storage disable", Access::Operators),
    ("storage enable", Access::Operators),
    ("storage policy", Access::Operators),
    ("storage proxy", Access::Operators),
    ("storage setup", Access::Operators),
    ("storage status", Access::Project),
    ("storage usage", Access::Project),
    ("unpack", Access::Anybody),
    ("validate", Access::Anybody),
    ("worker add", Access::Operators),
    ("worker list", Access::Project),
    ("worker remove", Access::Operators),
];

/// Decides. There is no way through but the ones that are written here.
pub fn decide(caller: &Caller, command: &str, project: Option<&ProjectName>) -> Result<()> {
    let access = TABLE.iter().find(|(name, _)| *name == command).map(|(_, access)| *access);
    match (access, caller) {
        (Some(Access::Anybody), _)
        | (Some(Access::Operators | Access::Project), Caller::Root | Caller::Operator { .. }) => {
            Ok(())
        }
        (Some(Access::Project), Caller::Project { name }) if project == Some(name) => Ok(()),
        (Some(_), Caller::Anybody { .. }) => Err(Error::new(
            Kind::Forbidden,
            "not_root",
            format!("`hostkit {command}` needs to be root"),
        )
        .hint(format!("run it by sudo: `sudo hostkit {command} …`"))),
        _ => Err(forbidden(caller, command, project)),
    }
}

fn forbidden(caller: &Caller, command: &str, project: Option<&ProjectName>) -> Error {
    let error =
        Error::new(Kind::Forbidden, "forbidden", format!("`hostkit {command}` is not for you"));
    match (caller, project) {
        (Caller::Project { name }, Some(other)) if other != name => error
            .caused_by(format!("you are the user of {name}, and this concerns {other}"))
            .hint(format!("what you may run: `sudo -l`, always with `{name}`")),
        (Caller::Project { name }, _) => error
            .caused_by(format!("you are the user of {name}, and this is for operators"))
            .hint(format!("what you may run: `sudo -l`, always with `{name}`")),
        _ => error
            .caused_by("you are neither root nor an operator of hostkit")
            .hint("let an operator add you: `hostkit operator setup YOU`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_against_every_command() {
        let (shop, wiki): (ProjectName, ProjectName) =
            ("shop".parse().unwrap(), "wiki".parse().unwrap());
        let root = Caller::Root;
        let operator = Caller::Operator { name: "alice".into() };
        let user = Caller::Project { name: shop.clone() };
        let stranger = Caller::Stranger { uid: 1000 };
        let anybody = Caller::Anybody { uid: 1000 };
        for (command, access) in TABLE {
            let open = *access == Access::Anybody;
            for project in [None, Some(&shop), Some(&wiki)] {
                assert!(decide(&root, command, project).is_ok(), "{command}");
                assert!(decide(&operator, command, project).is_ok(), "{command}");
                assert_eq!(decide(&stranger, command, project).is_ok(), open, "{command}");
                assert_eq!(decide(&anybody, command, project).is_ok(), open, "{command}");
                let own = open || (*access == Access::Project && project == Some(&shop));
                assert_eq!(decide(&user, command, project).is_ok(), own, "{command} {project:?}");
            }
        }
        for caller in [&root, &operator, &user, &stranger, &anybody] {
            assert!(decide(caller, "no such command", Some(&shop)).is_err());
        }
    }

    #[test]
    fn a_refusal_exits_with_5() {
        let user = Caller::Project { name: "shop".parse().unwrap() };
        let error = decide(&user, "project restart", Some(&"wiki".parse().unwrap())).unwrap_err();
        assert_eq!(error.kind.exit_code(), 5);
        assert_eq!(
            error.cause.as_deref(),
            Some("you are the user of shop, and this concerns wiki")
        );
    }
}

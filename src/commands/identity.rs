//! Who calls: root, an operator, a project's user, or somebody that nobody knows.

use std::{ffi::OsString, io::Write, path::Path, process::ExitCode};

use super::{Cli, Command, gate};
use crate::{
    caller::{Access, Caller, TABLE},
    config::{Config, PATH},
    error::{Error, Result},
    names::ProjectName,
    registry::{self, Registry},
    sys::{Faults, Host, sudo, system, users},
};

/// Decides who calls. Where it is in doubt, it is somebody with fewer rights.
pub fn caller(host: &Host) -> Result<Caller> {
    let euid = rustix::process::geteuid();
    if !euid.is_root() {
        return Ok(Caller::Anybody { uid: euid.as_raw() });
    }
    let Some(claimed) = std::env::var_os("SUDO_UID") else { return Ok(Caller::Root) };
    let Some(uid) = claimed.to_str().and_then(|uid| uid.parse::<u32>().ok()) else {
        return Ok(Caller::Stranger { uid: u32::MAX });
    };
    let parent = system::parent();
    // A root shell that was opened by sudo long ago still carries the variable.
    if uid == 0 || (!parent.is_sudo && parent.uid == Some(0)) {
        return Ok(Caller::Root);
    }
    by_sudo(host, uid)
}

/// Fails unless whoever called is still the same as when hostkit started: rights may be gone, or
/// the project's name may be another's by now.
pub fn confirm(cx: &super::Context) -> Result<()> {
    if cx.caller == Caller::Root {
        return Ok(());
    }
    let uid = match &cx.app {
        Some((uid, words)) => app_is_granted(&cx.caller, words).then_some(*uid),
        None => std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok()),
    };
    if by_sudo(&cx.host, uid.unwrap_or(u32::MAX))? == cx.caller {
        return Ok(());
    }
    Err(Error::new(
        crate::error::Kind::Forbidden,
        "forbidden",
        "your rights have changed meanwhile",
    ))
}

/// Whether the processes of a project may still ask for that.
fn app_is_granted(caller: &Caller, words: &[String]) -> bool {
    let Caller::Project { name } = caller else { return false };
    Registry::open(Path::new(registry::PATH))
        .and_then(|registry| registry.project(name))
        .is_ok_and(|project| crate::projects::is_granted(&project, words))
}

fn by_sudo(host: &Host, uid: u32) -> Result<Caller> {
    let config = match host.read_text(Path::new(PATH))? {
        // A broken configuration is told by whoever needs it; here its defaults do.
        Some(text) => Config::parse(&text).unwrap_or_default(),
        None => Config::default(),
    };
    let project = Registry::open(Path::new(registry::PATH))
        .and_then(|registry| registry.projects())
        .ok()
        .and_then(|projects| projects.into_iter().find(|project| project.uid == uid));
    if let Some(project) = project {
        return Ok(Caller::Project { name: project.name });
    }
    let Some(user) = users::find_uid(uid)? else { return Ok(Caller::Stranger { uid }) };
    if (config.uids.first..=config.uids.last).contains(&uid) || project_of(&user).is_some() {
        return Ok(Caller::Stranger { uid });
    }
    let is_member = users::find_group(&config.operators)?
        .is_some_and(|(gid, members)| gid == user.owner.gid || members.contains(&user.name));
    if is_member || sudo::may_become_root(host, &user.name) {
        return Ok(Caller::Operator { name: user.name });
    }
    Ok(Caller::Stranger { uid })
}

fn project_of(user: &users::User) -> Option<ProjectName> {
    user.comment.strip_prefix("hostkit project ")?.parse().ok()
}

/// The project whose user runs us, without sudo.
pub fn own_project() -> Option<ProjectName> {
    let uid = rustix::process::getuid();
    if uid.is_root() || rustix::process::geteuid().is_root() {
        return None;
    }
    users::find_uid(uid.as_raw()).ok()?.as_ref().and_then(project_of)
}

/// A project's own user, without sudo: the request goes through the gate.
pub fn through_the_gate(cli: &Cli, command: &str, argv: Vec<OsString>) -> Result<Option<ExitCode>> {
    let Some(name) = own_project() else { return Ok(None) };
    if let Command::Gate(args) = &cli.command {
        return gate::forward_ssh(&name, args).map(Some);
    }
    let for_project =
        TABLE.iter().any(|(row, access)| *row == command && *access == Access::Project);
    if !for_project {
        return Ok(None);
    }
    let words = argv
        .into_iter()
        .skip(1)
        .map(OsString::into_string)
        .collect::<std::result::Result<Vec<String>, _>>()
        .map_err(|_| Error::usage("usage", "an argument is not UTF-8"))?;
    gate::forward(&name, words).map(Some)
}

/// The faults that a test asks for: of root itself, never of who came by sudo.
pub fn faults() -> Result<Faults> {
    let asked = std::env::var(crate::sys::FAULT_VARIABLE).ok();
    let is_root = rustix::process::getuid().is_root() && std::env::var_os("SUDO_UID").is_none();
    match asked {
        Some(text) if is_root => text.parse(),
        _ => Ok(Faults::none()),
    }
}

/// Tells a test how many changes there were, so that it knows where to stop.
pub fn tell_faults(host: &Host) {
    let _ = writeln!(std::io::stderr(), "hostkit: {} changes passed", host.faults().passed());
}

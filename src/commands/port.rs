//! A port that somebody asks for: who has it, if somebody has.

use std::{collections::BTreeMap, path::Path};

use super::Context;
use crate::{
    error::{Error, Result},
    names::ProjectName,
    projects::{self, MANIFEST},
    registry::{OFFSETS, Project},
    sys::{mysql, net, storage, users},
};

/// What hostkit itself listens on, or the server's databases do, also while they are down.
const OWN: &[(u16, &str)] = &[
    (mysql::PORT, "MariaDB"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (storage::S3_PORT, "object storage"),
    (storage::RPC_PORT, "object storage"),
    (storage::WEB_PORT, "object storage"),
    (storage::ADMIN_PORT, "object storage"),
];

/// Ports with a listener, and the user that each belongs to.
pub type Listeners = BTreeMap<u16, u32>;

/// Fails unless a port lies where ports of projects do.
pub fn check_range(cx: &Context, port: u16) -> Result<()> {
    let ports = cx.config.ports;
    if (ports.first..=ports.last).contains(&port) {
        return Ok(());
    }
    let error = Error::usage("bad_port", format!("{port} is no port for a project"))
        .caused_by(format!("`ports.first` to `ports.last` are {} to {}", ports.first, ports.last));
    let (key, least) = if port < ports.first { ("first", 1024) } else { ("last", 8999) };
    Err(if (1024..=8999).contains(&port) {
        error.hint(format!(
            "widen that: `hostkit config set ports.{key} {port}`, then `hostkit repair --all`"
        ))
    } else {
        error.hint(format!("ports from 1024 to 8999 can be; the nearest is {least}"))
    })
}

/// Fails where a project can't have a port, or one of those above it that come with it.
pub fn check_free(cx: &mut Context, port: u16, listeners: &Listeners) -> Result<()> {
    let all = cx.registry()?.projects()?;
    for (role, offset) in OFFSETS {
        let wanted = port + offset;
        let Some(by) = holder(&all, wanted, listeners)? else { continue };
        let why = match offset {
            0 => format!("it belongs to {by}"),
            _ => format!("with it comes {wanted} ({role}), and that belongs to {by}"),
        };
        return Err(Error::conflict("port_taken", format!("port {port} is taken"))
            .caused_by(why)
            .hint("leave `port` out and hostkit finds one, or choose another"));
    }
    Ok(())
}

fn holder(all: &[Project], port: u16, listeners: &Listeners) -> Result<Option<String>> {
    for project in all {
        for (role, offset) in OFFSETS {
            if project.port + offset == port {
                let of = if *offset == 0 { String::new() } else { format!(" ({role})") };
                return Ok(Some(format!("the project {}{of}", project.name)));
            }
        }
    }
    if let Some((_, what)) = OWN.iter().find(|(own, _)| *own == port) {
        return Ok(Some(format!("{what} of this server")));
    }
    let Some(uid) = listeners.get(&port) else { return Ok(None) };
    let user = users::find_uid(*uid)?.map_or_else(|| uid.to_string(), |user| user.name);
    Ok(Some(format!("a process of the user {user}: `ss -ltnp 'sport = :{port}'`")))
}

/// Whether a project could have a port now.
pub fn is_free(cx: &mut Context, port: u16) -> bool {
    let free = |cx: &mut Context| check_free(cx, port, &net::listeners()?);
    check_range(cx, port).is_ok() && free(cx).is_ok()
}

/// The port that the manifest of a directory asks for.
pub fn of_directory(cx: &Context, dir: &str) -> Result<Option<u16>> {
    let path = cx.started_in.join(dir).join(MANIFEST);
    let text = cx.host.read_text(Path::new(&path))?;
    Ok(match text {
        Some(text) => projects::parse_manifest(&text)?.port,
        None => None,
    })
}

/// Fails where a release wants another port than its project has.
pub fn check_same(project: &Project, wanted: Option<u16>) -> Result<()> {
    let (name, port): (&ProjectName, u16) = (&project.name, project.port);
    let Some(wanted) = wanted.filter(|wanted| *wanted != port) else { return Ok(()) };
    let message = format!("hostkit.toml wants port {wanted}, and {name} has {port}");
    Err(Error::conflict("port_differs", message)
        .caused_by("a project has its port from when it is made until it is deleted")
        .hint(format!(
            "leave `port` out: the process finds {port} as PORT; or make the project anew: \
             `hostkit project delete {name}`, then `hostkit provision {name} --port {wanted}`"
        )))
}

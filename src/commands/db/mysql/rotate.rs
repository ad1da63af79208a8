//! Another password for a project's database in MariaDB, without a failed request.

use serde::Serialize;

use super::{super::rotate::write, entry, with_mysql};
use crate::{
    commands::{Context, deploy::switch, facts},
    error::{Error, Result},
    names::ProjectName,
    projects::{self, Comes},
    registry::Project,
    secret::Secret,
    steps::MysqlPassword,
};

#[derive(Serialize)]
struct Rotated {
    engine: &'static str,
    login: String,
    restarted: bool,
}

/// One account, which both passwords open until nothing runs with the old one.
pub(in crate::commands::db) fn rotate(cx: &mut Context, name: &ProjectName) -> Result<()> {
    cx.host.mysql_version()?;
    facts::check_room(cx)?;
    let held = cx.take_project(name, "db rotate")?;
    let project = with_mysql(cx, name)?;
    check(cx, &project)?;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let password = Secret::generate()?;
    let text = projects::with_mysql_password(&project, &env, &password)?;
    let env = name.env_file();
    let next = MysqlPassword { account: name.role(), env, password: Some(password) };
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let comes = Comes::AnewInMysql(next);
    let done = match &project.live {
        Some(live) if is_up => {
            switch::again(cx, &project, live, "db rotate", Some(&text), Some(comes))
        }
        _ => write(cx, &project, comes, text),
    };
    drop(held);
    done.map_err(|error| error.hint(format!("{name} still runs with the password that it had")))?;
    let data = Rotated { engine: "mariadb", login: name.role(), restarted: is_up };
    let told = if is_up { ", and it runs with that" } else { "" };
    let text =
        format!("{} has another password{told}; the old one opens nothing any more\n", data.login);
    cx.ui.result("db rotate", Some(name.as_str()), &data, &text);
    Ok(())
}

/// Fails where the present password does not work: what follows would hide that.
fn check(cx: &Context, project: &Project) -> Result<()> {
    let name = &project.name;
    let entry = entry(cx, project)?;
    cx.host.try_mysql(&name.database(), &entry).map_err(|error| {
        Error::conflict("login_broken", format!("{name} can't log in to its database as it is"))
            .caused_by(error.cause.unwrap_or(error.message))
            .hint(format!("mend that first: `hostkit drift {name}`, `hostkit repair {name}`"))
    })
}

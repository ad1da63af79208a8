//! Another password for a project's database, without a failed request.

use serde::Serialize;

use super::{
    mysql::{self, Engine, Which},
    with_database,
};
use crate::{
    commands::{Context, checkpoint::take, deploy::switch, facts},
    error::{Error, Result},
    names::ProjectName,
    projects::{self, Comes},
    registry::{NewOperation, Project, Way},
    secret::Secret,
};

/// Give a project's database another password, without a failed request
///
/// Two roles take turns. The next one gets a new password and is tried, `.env` names it, and the
/// project's processes move to it as in a deploy: behind the health check, with the old login
/// valid until nothing runs with it. Then the old one ends, with its last connections. In MariaDB
/// it is one account, which has two passwords meanwhile; connections that are open then go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db rotate my-shop")]
pub struct Args {
    /// Project whose password to change
    pub name: String,

    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Rotated {
    login: String,
    ended: String,
    restarted: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    if args.which.of(cx, &name)?.1 == Engine::Mysql {
        return mysql::rotate(cx, &name);
    }
    cx.host.postgres_version()?;
    facts::check_room(cx)?;
    let held = cx.take_project(&name, "db rotate")?;
    let project = with_database(cx, &name)?;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let last = projects::passwords(Some(&env))?.login;
    check(cx, &project)?;
    let password = Secret::generate()?;
    let next = last.next();
    let text = projects::with_next_login(&name, &env, next, &password)?;
    let handover = projects::handover(&project, next, password, &cx.config);
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let done = match &project.live {
        Some(live) if is_up => {
            let data = Some(Comes::Anew(handover));
            switch::again(cx, &project, live, "db rotate", Some(&text), data)
        }
        _ => write(cx, &project, Comes::Anew(handover), text),
    };
    drop(held);
    done.map_err(|error| error.hint(format!("{name} still runs with the password that it had")))?;
    let data = Rotated { login: next.role(&name), ended: last.role(&name), restarted: is_up };
    let told = if is_up { ", and runs with it" } else { "" };
    let text =
        format!("{name} logs in as {} from now on{told}; {} has ended\n", data.login, data.ended);
    cx.ui.result("db rotate", Some(name.as_str()), &data, &text);
    Ok(())
}

/// Fails where the present login does not work: what follows would hide that.
fn check(cx: &Context, project: &Project) -> Result<()> {
    let login = take::login(cx, project)?;
    cx.host.try_login(&project.name.database(), &login).map_err(|error| {
        let name = &project.name;
        Error::conflict("login_broken", format!("{name} can't log in to its database as it is"))
            .caused_by(error.cause.unwrap_or(error.message))
            .hint(format!("mend that first: `hostkit drift {name}`, `hostkit repair {name}`"))
    })
}

/// Where nothing runs nothing has to move.
pub(super) fn write(cx: &mut Context, project: &Project, comes: Comes, text: String) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation {
        project: Some(&project.name),
        verb: "db rotate",
        actor: &actor,
        way: Way::Undo,
    };
    let mut facts = facts::of_switch(&cx.host, project)?;
    facts.env = Some(text);
    if let Some(live) = &project.live {
        let is_complete = switch::is_complete(cx, &project.name, &live.id)?;
        facts.release = is_complete.then(|| live.id.clone());
    }
    cx.carry_out(&new, None, |cx, _| {
        let templates = cx.templates()?;
        let plan = projects::handover_plan(project, comes, &facts, &cx.config, &templates)?;
        Ok((plan, Vec::new()))
    })
    .map(|_| ())
}

//! A project made from a backup, where there is none of its name.

use super::{
    bring::{Chosen, Source},
    restore::{Outcome, put_back},
};
use crate::{
    commands::{Context, create, facts, port, repair, ssl},
    error::{Error, Result},
    names::ProjectName,
    plan::{Ground, Plan},
    registry::{Change, NewOperation, Project, Way},
};

/// Makes it with all that the backup holds, or not at all.
pub fn make(cx: &mut Context, source: &Source<'_>, name: &ProjectName) -> Result<Outcome> {
    let was = source.record.project.clone().ok_or_else(|| {
        Error::usage("not_in_it", "this backup is not of a project")
            .hint("the server itself comes back by `hostkit restore-host`")
    })?;
    let is_moved = *name == was.name;
    let new = create::New {
        // A process may be told of it elsewhere, too.
        port: Some(was.port).filter(|port| is_moved && port::is_free(cx, *port)),
        // Asked for when all is back.
        tls: None,
        verb: "backup restore",
        name: name.clone(),
        runtime: was.runtime,
        environment: was.environment,
        redis: match (was.own_redis, was.redis) {
            (true, _) => create::Redis::Dedicated,
            (false, Some(_)) => create::Redis::Shared,
            (false, None) => create::Redis::None,
        },
        postgres: was.postgres,
        mysql: was.mysql,
        storage: was.storage.is_some(),
        start: was.start.clone(),
        // A copy does not answer for the original.
        domains: if is_moved { was.domains.clone() } else { Vec::new() },
        keys: was.keys.clone(),
        dry_run: false,
    };
    create::one(&new, cx)?;
    let filled = fill(cx, source, name, &was, is_moved);
    if filled.is_err() {
        cx.ui.note(format!("{name} goes again"));
        let gone = remove(cx, name);
        if let Err(more) = gone {
            cx.ui.note(format!("and: {more}"));
        }
    }
    if let (Ok(_), true, Some(tls)) = (&filled, is_moved, &was.tls) {
        ssl::bring_back(cx, name, tls);
    }
    filled
}

fn fill(
    cx: &mut Context,
    source: &Source<'_>,
    name: &ProjectName,
    was: &Project,
    is_moved: bool,
) -> Result<Outcome> {
    let held = cx.take_project(name, "backup restore")?;
    let mut project = cx.registry()?.living_project(name)?;
    project.own.clone_from(&was.own);
    project.off.clone_from(&was.off);
    project.grants.clone_from(&was.grants);
    if is_moved {
        project.ci_keys.clone_from(&was.ci_keys);
    }
    let actor = cx.caller.actor();
    let new =
        NewOperation { project: Some(name), verb: "backup restore", actor: &actor, way: Way::Undo };
    let rows = Box::new(project.clone());
    cx.carry_out(&new, None, |_, _| {
        let changes = vec![Change::Processes(rows.clone()), Change::Keys(rows)];
        Ok((Plan::new(Ground::Known), changes))
    })?;
    let project = cx.registry()?.living_project(name)?;
    source.give_extensions(cx, &project)?;
    let all = Chosen { data: true, files: true, env: true };
    let outcome = put_back(cx, source, &project, all)?;
    drop(held);
    repair::one(cx, name)?;
    Ok(outcome)
}

fn remove(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let _held = cx.take_project(name, "backup restore")?;
    let Some(project) = cx.registry()?.find_project(name)? else { return Ok(()) };
    let plan = facts::plan_of(cx, &project, Ground::Known)?;
    cx.take_away(name, &plan)
}

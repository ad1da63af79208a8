//! A database in MariaDB for a project that was made without one, and its end.

use serde::Serialize;

use super::{
    super::create::{CreateArgs, DeleteArgs, agree, change, finish_removal},
    check, check_new, with_mysql,
};
use crate::{
    commands::{Context, checkpoint::take, facts},
    error::{Error, Result},
    names::{CheckpointId, ProjectName},
    projects,
    registry::{CheckpointKind, Project},
};

#[derive(Serialize)]
struct Made {
    database: String,
    user: String,
    engine: &'static str,
}

#[derive(Serialize)]
struct Deleted {
    database: String,
    engine: &'static str,
    checkpoint: CheckpointId,
}

pub(in crate::commands::db) fn create(args: &CreateArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    refuse_existing(&cx.registry()?.living_project(&name)?)?;
    check(cx)?;
    facts::check_room(cx)?;
    let held = cx.take_project(&name, "db create")?;
    let project = cx.registry()?.living_project(&name)?;
    refuse_existing(&project)?;
    finish_removal(cx, &project)?;
    check_new(cx, &name)?;
    refuse_own(cx, &name)?;
    let wanted = Project { mysql: true, ..project };
    change(cx, &wanted, "db create", projects::mysql_plan)?;
    drop(held);
    let next = if cx.host.unit(&name.unit())?.is_active() {
        format!("{name} finds it when it restarts: hostkit service restart {name}\n")
    } else {
        String::new()
    };
    let text = format!("{} is made, and MYSQL_URL is in .env\n{next}", name.database());
    let data = Made { database: name.database(), user: name.role(), engine: "mariadb" };
    cx.ui.result("db create", Some(name.as_str()), &data, &text);
    Ok(())
}

fn refuse_existing(project: &Project) -> Result<()> {
    let name = &project.name;
    if !project.mysql {
        return Ok(());
    }
    Err(Error::conflict("database_exists", format!("{name} has a database in MariaDB already"))
        .hint(format!("see `hostkit db info {name} --mysql`")))
}

/// What the owner has set himself leads to a database elsewhere.
fn refuse_own(cx: &Context, name: &ProjectName) -> Result<()> {
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let own = projects::own_mysql(&env);
    if own.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(
        "variables_in_the_way",
        format!("{name} has variables of that name already"),
    )
    .caused_by(format!("`{}` sets {}", name.env_file().display(), own.join(", ")))
    .hint(format!("if they may go: `hostkit env unset {name} {}`", own.join(" "))))
}

pub(in crate::commands::db) fn delete(args: &DeleteArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    with_mysql(cx, &name)?;
    agree(args, &name)?;
    let held = cx.take_project(&name, "db delete")?;
    let project = with_mysql(cx, &name)?;
    take::settle(cx, &project)?;
    let note = "the database in MariaDB, before it was deleted";
    let alone = Project { postgres: false, ..project.clone() };
    let kept = take::take(cx, &alone, CheckpointKind::Manual, Some(note))?;
    let wanted = Project { mysql: false, ..project };
    if let Err(error) = change(cx, &wanted, "db delete", projects::no_mysql_plan) {
        take::forget_failed(cx, &name, &kept.id, &error)?;
        return Err(error);
    }
    finish_removal(cx, &wanted).map_err(|error| {
        error.hint(format!(
            "{name} is one without that database now; `hostkit recover` takes away what is left"
        ))
    })?;
    drop(held);
    let text = format!(
        "{} is gone; its last state is {}\nback:  hostkit db create {name} --mysql && hostkit checkpoint restore {name} {}\n",
        name.database(),
        kept.id,
        kept.id
    );
    let data = Deleted { database: name.database(), engine: "mariadb", checkpoint: kept.id };
    cx.ui.result("db delete", Some(name.as_str()), &data, &text);
    Ok(())
}

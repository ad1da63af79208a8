//! A database for a project that was made without one, and its end.

use serde::Serialize;

use super::{mysql, with_database};
use crate::{
    commands::{Context, checkpoint::take, confirm, facts},
    error::{Error, Kind, Result},
    names::{CheckpointId, ProjectName},
    projects,
    registry::{Change, CheckpointKind, NewOperation, Project, Way},
    steps::Step,
};

/// Make a database for a project that has none
///
/// A role with a password, a database that nobody else may enter, and `DATABASE_URL` in `.env`:
/// all of it or nothing. The project takes it up when it restarts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db create my-shop
  hostkit db create my-blog --mysql
  hostkit db create my-shop && hostkit service restart my-shop")]
pub struct CreateArgs {
    /// Project to make it for
    pub name: String,

    /// In MariaDB: `MYSQL_URL` and its parts are in `.env` then, and `DATABASE_URL` where there is
    /// no other
    #[arg(long)]
    mysql: bool,
}

/// Take a project's database away, after a last checkpoint
///
/// `DATABASE_URL` leaves `.env`, and role and database go. The checkpoint stays until it is deleted:
/// `hostkit db create` and `hostkit checkpoint restore` bring all of it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db delete my-shop --confirm my-shop")]
pub struct DeleteArgs {
    /// Project whose database to take away
    pub name: String,

    #[command(flatten)]
    which: mysql::Which,

    /// Name the project once more instead of being asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

#[derive(Serialize)]
struct Made {
    database: String,
    user: String,
}

#[derive(Serialize)]
struct Deleted {
    database: String,
    checkpoint: CheckpointId,
}

pub(super) fn create(args: &CreateArgs, cx: &mut Context) -> Result<()> {
    if args.mysql {
        return mysql::create(args, cx);
    }
    let name: ProjectName = args.name.parse()?;
    refuse_existing(&cx.registry()?.living_project(&name)?)?;
    cx.host.postgres_version()?;
    facts::check_room(cx)?;
    let held = cx.take_project(&name, "db create")?;
    let project = cx.registry()?.living_project(&name)?;
    refuse_existing(&project)?;
    finish_removal(cx, &project)?;
    for (what, there) in [
        (format!("database `{}`", name.database()), cx.host.database(&name.database())?.is_some()),
        (format!("role `{}`", name.role()), cx.host.role(&name.role())?.is_some()),
        (format!("role `{}`", name.second_role()), cx.host.role(&name.second_role())?.is_some()),
    ] {
        if there {
            return Err(Error::conflict(
                "in_the_way",
                format!("the {what} exists, and is not {name}'s"),
            )
            .caused_by("hostkit did not make it, so it does not touch it")
            .hint("move it away: `ALTER DATABASE … RENAME TO …`, `DROP ROLE …`"));
        }
    }
    let wanted = Project { postgres: true, ..project };
    change(cx, &wanted, "db create", projects::database_plan)?;
    drop(held);
    let is_up = cx.host.unit(&name.unit())?.is_active();
    let next = if is_up {
        format!("{name} finds it when it restarts: hostkit service restart {name}\n")
    } else {
        String::new()
    };
    let text = format!("{} is made, and DATABASE_URL is in .env\n{next}", name.database());
    let data = Made { database: name.database(), user: name.role() };
    cx.ui.result("db create", Some(name.as_str()), &data, &text);
    Ok(())
}

fn refuse_existing(project: &Project) -> Result<()> {
    let name = &project.name;
    if !project.postgres {
        return Ok(());
    }
    Err(Error::conflict("database_exists", format!("{name} has a database already"))
        .hint(format!("see `hostkit db info {name}`")))
}

type Make = fn(
    &Project,
    &projects::Facts,
    &projects::Passwords,
    &crate::config::Config,
    &crate::templates::Templates,
) -> Result<crate::plan::Plan>;

/// The project as it is to be: its plan and its row, both or neither.
pub(super) fn change(cx: &mut Context, wanted: &Project, verb: &str, make: Make) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&wanted.name), verb, actor: &actor, way: Way::Undo };
    cx.carry_out(&new, None, |cx, _| {
        let facts = facts::of_project(&cx.host, wanted)?;
        let passwords = projects::passwords(facts.env.as_deref())?;
        let plan = make(wanted, &facts, &passwords, &cx.config, &cx.templates()?)?;
        Ok((plan, vec![Change::Services(Box::new(wanted.clone()))]))
    })
    .map(|_| ())
}

pub(super) fn delete(args: &DeleteArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    if args.which.of(cx, &name)?.1 == mysql::Engine::Mysql {
        return mysql::delete(args, cx);
    }
    agree(args, &name)?;
    let held = cx.take_project(&name, "db delete")?;
    let project = with_database(cx, &name)?;
    take::settle(cx, &project)?;
    let note = "the database, before it was deleted";
    let alone = Project { mysql: false, ..project.clone() };
    let kept = take::take(cx, &alone, CheckpointKind::Manual, Some(note))?;
    let wanted = Project { postgres: false, ..project };
    if let Err(error) = change(cx, &wanted, "db delete", projects::no_database_plan) {
        take::forget_failed(cx, &name, &kept.id, &error)?;
        return Err(error);
    }
    finish_removal(cx, &wanted).map_err(|error| {
        error.hint(format!(
            "{name} is one without a database now; `hostkit recover` takes away what is left"
        ))
    })?;
    drop(held);
    let text = format!(
        "{} is gone; its last state is {}\nback:  hostkit db create {name} && hostkit checkpoint restore {name} {}\n",
        name.database(),
        kept.id,
        kept.id
    );
    let data = Deleted { database: name.database(), checkpoint: kept.id };
    cx.ui.result("db delete", Some(name.as_str()), &data, &text);
    Ok(())
}

pub(super) fn agree(args: &DeleteArgs, name: &ProjectName) -> Result<()> {
    let refused = |why: &str| {
        Error::usage("not_confirmed", format!("the database of {name} was not deleted"))
            .caused_by(why.to_owned())
            .hint(format!("`hostkit db delete {name} --confirm {name}`"))
    };
    match &args.confirm {
        Some(confirmed) if confirmed == name.as_str() => Ok(()),
        Some(_) => Err(refused("--confirm names another project")),
        None => {
            let database = name.database();
            let question = format!(
                "This deletes the database {database} with all that it holds. Type {name}:"
            );
            confirm::answer(&question, |answer| answer == name.as_str(), refused)
        }
    }
}

/// Takes away a database that was given up, if it is still there.
pub fn finish_removal(cx: &Context, project: &Project) -> Result<()> {
    cx.host.remove_file(&take::incoming_path(&project.name))?;
    if !project.mysql && cx.config.mysql.enabled {
        // Of a server that is gone nothing is to be found there.
        match projects::mysql_given_up(&project.name).remove(&cx.host) {
            Err(error) if error.code == "no_mysql" => {}
            done => done?,
        }
    }
    if project.postgres {
        return Ok(());
    }
    match projects::doomed(&project.name).remove(&cx.host) {
        // Of a project that never had one nothing is to be found there.
        Err(error) if error.kind == Kind::NotReady && !is_expected(cx, project) => Ok(()),
        done => done,
    }
}

fn is_expected(cx: &Context, project: &Project) -> bool {
    cx.host
        .list(&std::path::Path::new(take::ROOT).join(project.name.as_str()))
        .is_ok_and(|files| files.iter().any(|file| file.to_string_lossy().ends_with(".dump")))
}

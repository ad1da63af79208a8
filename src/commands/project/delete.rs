//! `hostkit project delete`: a last backup, then everything, and never back.

use serde::Serialize;

use crate::{
    commands::{Context, backup, confirm, db, facts, git::store::Store, storage},
    error::{Error, Result},
    names::ProjectName,
    plan::{Ground, Plan},
    projects::Facts,
    registry::Project,
    steps::Step,
    sys::{signals::Changing, systemd::Verb},
    ui::{count, elapsed},
};

/// Delete a project with all that belongs to it
///
/// Takes a last backup first. Then access ends (keys, sudo rules, Redis, PostgreSQL), processes
/// end, and everything is removed. If something keeps part of it from going, the same command
/// goes on where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project delete my-shop
  hostkit project delete my-shop --yes
  hostkit project delete my-shop --yes --no-backup
  hostkit project delete my-shop --dry-run")]
pub struct Args {
    /// Project to delete
    pub name: String,

    /// Do not ask
    #[arg(long, short = 'y', visible_alias = "force")]
    yes: bool,

    /// Name the project once more instead of being asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,

    /// Take no last backup
    #[arg(long)]
    no_backup: bool,

    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Deleted {
    port_freed: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_db_freed: Option<u32>,
    database_deleted: bool,
    bucket_deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    milliseconds: u128,
}

#[derive(Serialize)]
struct Preview {
    dry_run: bool,
    removes: Vec<String>,
    backup: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    if args.dry_run {
        return preview(args, cx, &project);
    }
    confirm(args, &name)?;
    let start = std::time::Instant::now();
    let held = cx.take_project(&name, "project delete")?;
    // A removal that was interrupted has just been completed by taking the project.
    let Some(project) = cx.registry()?.find_project(&name)? else {
        drop(held);
        cx.ui.result(
            "project delete",
            Some(name.as_str()),
            &Completed { completed: true },
            &format!("{name} is deleted\n"),
        );
        return Ok(());
    };
    check_services(cx, &project)?;
    let plan = facts::plan_of(cx, &project, Ground::Known)
        .or_else(|error| bare_plan(cx, &project, error))?;
    cx.ui.head(format!("{name}  →  deleted"));
    let backup =
        if args.no_backup || project.deleting { None } else { Some(last_backup(cx, &project)?) };
    Store::of(&name).remove_mirrors(cx)?;
    db::finish_removal(cx, &project)?;
    cx.host.remove_tree(&backup::files::state_dir(&name))?;
    cx.take_away(&name, &plan)?;
    drop(held);
    let took = start.elapsed();
    let kept = backup.as_ref().map(|path| format!("\nits last backup: {path}")).unwrap_or_default();
    let data = Deleted {
        port_freed: project.port,
        redis_db_freed: project.redis,
        database_deleted: project.postgres,
        bucket_deleted: project.storage.is_some(),
        backup,
        milliseconds: took.as_millis(),
    };
    let text = format!("{name} is deleted ({}){kept}\n", elapsed(took));
    cx.ui.result("project delete", Some(name.as_str()), &data, &text);
    Ok(())
}

/// What can't be removed while its service is down is not begun. nginx may be in any state: the
/// site's file goes, and nginx forgets it with its next reload.
fn check_services(cx: &Context, project: &Project) -> Result<()> {
    if project.postgres {
        cx.host.postgres_version()?;
    }
    if project.mysql {
        db::mysql::check(cx)?;
    }
    if project.redis.is_some() {
        cx.host.redis_version()?;
    }
    if project.storage.is_some() {
        storage::check(cx)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Completed {
    completed: bool,
}

/// The plan of a project whose own files can no longer be read: they are going anyway.
fn bare_plan(cx: &Context, project: &Project, error: Error) -> Result<Plan> {
    if matches!(error.code, "redis_down" | "postgres_down" | "mysql_down" | "storage_down") {
        return Err(error);
    }
    let mut facts = facts::of_project(&cx.host, project).unwrap_or_else(|_| Facts::unknown());
    facts.env = None;
    let passwords = facts::passwords(cx, project, None)?;
    facts::plan_with(cx, project, &facts, &passwords, Ground::Known)
}

fn preview(args: &Args, cx: &mut Context, project: &Project) -> Result<()> {
    let plan = facts::plan_of(cx, project, Ground::Known)?;
    let removes: Vec<String> = plan.steps.iter().map(|planned| planned.step.title()).collect();
    let mut text: String = removes.iter().map(|title| format!("  - {title}\n")).collect();
    let backup = if args.no_backup { "without a last backup" } else { "after a last backup" };
    text.push_str(&format!(
        "\nhostkit project delete {} would remove these {}, {backup}; nothing is done yet\n",
        project.name,
        count(removes.len(), "thing")
    ));
    let data = Preview { dry_run: true, removes, backup: !args.no_backup };
    cx.ui.result("project delete", Some(project.name.as_str()), &data, &text);
    Ok(())
}

fn confirm(args: &Args, name: &ProjectName) -> Result<()> {
    let refused = |why: &str| {
        Error::usage("not_confirmed", format!("{name} was not deleted"))
            .caused_by(why.to_owned())
            .hint(format!("answer with its name, or: `hostkit project delete {name} --yes`"))
    };
    if args.yes {
        return Ok(());
    }
    if let Some(confirmed) = &args.confirm {
        return if confirmed == name.as_str() {
            Ok(())
        } else {
            Err(refused("--confirm names another project"))
        };
    }
    let question =
        format!("This deletes {name}, its files, its database and its site. Type its name:");
    confirm::answer(&question, |answer| answer == name.as_str(), refused)
}

/// Stops the project so that nothing moves, and backs it up. If that fails it runs again.
fn last_backup(cx: &mut Context, project: &Project) -> Result<String> {
    let unit = project.name.unit();
    let was_up = cx.host.unit(&unit)?.is_active();
    let _changing = Changing::begin();
    if was_up {
        cx.host.unit_job(Verb::Stop, &unit)?;
    }
    let made = backup::last(cx, project);
    if let (Err(_), true) = (&made, was_up) {
        let _ = cx.host.unit_job(Verb::Start, &unit);
    }
    let made = made.map_err(|error| {
        let hint = format!(
            "mend that, or delete it without a backup: `hostkit project delete {} --no-backup`",
            project.name
        );
        Error::failed(format!("could not back {} up, so it was not deleted", project.name))
            .coded("backup_failed")
            .caused_by(error)
            .hint(hint)
    });
    if let Err(error) = &made {
        let result = Err(Error::failed(error.to_string()));
        let _ = cx.record(Some(&project.name), "project delete", result);
    }
    made.map(|path| path.display().to_string())
}

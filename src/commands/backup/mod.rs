//! `hostkit backup`: what is kept of projects and of the server, and the proof that it comes back.

pub mod bring;
mod bucket;
pub mod check;
pub mod create;
pub mod digest;
pub mod drill;
pub mod evidence;
pub mod export;
pub mod files;
pub mod fresh;
pub mod host;
mod last;
pub mod offsite;
pub mod repository;
pub mod restore;
pub mod restore_host;
pub mod rotate;
pub mod run_all;
pub mod stats;
pub mod timer;
pub mod verify;

pub use last::{last, of_bucket};

use serde::Serialize;

use super::Context;
use crate::{
    error::{Error, Result},
    names::{BackupId, ProjectName},
    plan::{Part, Progress},
    projects::backup::HOST,
    registry::{Backup, BackupState},
    sys::{moment::Shape, restic::Repository},
    ui::{Column, Paint, Table, ago, bytes, width},
};

/// What is kept of a backup beside its parts.
pub type Record = crate::projects::backup::Record<Shape>;

/// Keep projects safe, prove that they come back, and bring them back
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create(create::Args),
    Delete(DeleteArgs),
    Drill(drill::Args),
    Evidence(evidence::Args),
    Export(export::Args),
    List(ListArgs),
    Restore(restore::Args),
    Rotate(rotate::Args),
    RunAll(run_all::Args),
    SetupTimer(timer::Args),
    Stats(stats::Args),
    Verify(verify::Args),
}

/// Delete a backup
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup delete my-shop 20261121-093012")]
pub struct DeleteArgs {
    /// Project that it is of
    pub name: String,
    /// The backup: `hostkit backup list` names them
    id: String,
    /// Also where it is the newest that was proven
    #[arg(long)]
    force: bool,
}

/// List backups, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup list my-shop
  hostkit backup list --host")]
pub struct ListArgs {
    /// Project whose to list
    #[arg(required_unless_present = "host")]
    pub name: Option<String>,
    /// Those of the server itself
    #[arg(long, conflicts_with = "name")]
    host: bool,
}

#[derive(Serialize)]
struct Gone {
    removed: Vec<BackupId>,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Create(args) => ("backup create", args.name.as_deref()),
            Self::Delete(args) => ("backup delete", Some(&args.name)),
            Self::Drill(args) => ("backup drill", Some(&args.name)),
            Self::Evidence(args) => ("backup evidence", args.name.as_deref()),
            Self::Export(args) => ("backup export", Some(&args.name)),
            Self::List(args) => ("backup list", args.name.as_deref()),
            Self::Restore(args) => ("backup restore", Some(&args.name)),
            Self::Rotate(_) => ("backup rotate", None),
            Self::RunAll(_) => ("backup run-all", None),
            Self::SetupTimer(_) => ("backup setup-timer", None),
            Self::Stats(_) => ("backup stats", None),
            Self::Verify(args) => ("backup verify", args.name.as_deref()),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Create(args) => create::run(args, cx),
            Self::Delete(args) => delete(args, cx),
            Self::Drill(args) => drill::run(args, cx),
            Self::Evidence(args) => evidence::run(args, cx),
            Self::Export(args) => export::run(args, cx),
            Self::List(args) => list(args, cx),
            Self::Restore(args) => restore::run(args, cx),
            Self::Rotate(args) => rotate::run(args, cx),
            Self::RunAll(args) => run_all::run(args, cx),
            Self::SetupTimer(args) => timer::run(args, cx),
            Self::Stats(args) => stats::run(args, cx),
            Self::Verify(args) => verify::run(args, cx),
        }
    }
}

/// A complete backup by its name, or the newest.
fn find(cx: &mut Context, name: Option<&ProjectName>, id: Option<&str>) -> Result<Backup> {
    let wanted = id.map(str::parse::<BackupId>).transpose()?;
    let all = cx.registry()?.backups(name)?;
    let of = name.map_or("the server".into(), ToString::to_string);
    let see =
        name.map_or("hostkit backup list --host".into(), |n| format!("hostkit backup list {n}"));
    let found = all.into_iter().find(|backup| match &wanted {
        Some(id) => backup.id == *id,
        None => backup.state == BackupState::Complete,
    });
    let what = wanted.map_or("no backup yet".into(), |id| format!("no backup {id}"));
    let found = found.ok_or_else(|| {
        Error::missing("no_backup", format!("{of} has {what}")).hint(format!("see `{see}`"))
    })?;
    if found.state == BackupState::Complete {
        return Ok(found);
    }
    Err(Error::conflict("not_complete", format!("the backup {} is not complete", found.id))
        .caused_by(found.error.unwrap_or_else(|| "it is under way".into()))
        .hint(format!("see `{see}`")))
}

/// Where a backup can be read: here, or else elsewhere.
fn whereabouts(cx: &Context, backup: &Backup) -> Result<Repository> {
    if backup.is_local {
        return Ok(repository::here());
    }
    offsite::of(cx)?.ok_or_else(|| {
        Error::missing("no_backup", format!("{} is not on this server any more", backup.id))
            .caused_by("it is in a second place, and the configuration names none")
            .hint("hostkit config set backup.offsite …")
    })
}

fn tag(name: Option<&ProjectName>) -> &str {
    name.map_or(HOST, ProjectName::as_str)
}

fn delete(args: &DeleteArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let id = args.id.parse::<BackupId>()?;
    let _open = repository::open(cx, &format!("backup delete {name}"))?;
    let all = cx.registry()?.backups(Some(&name))?;
    let Some(backup) = all.iter().find(|backup| backup.id == id) else {
        return find(cx, Some(&name), Some(&args.id)).map(|_| ());
    };
    let proven = all.iter().find(|backup| backup.proven == Some(true));
    if proven.is_some_and(|proven| proven.id == id) && !args.force {
        return Err(Error::conflict("is_proven", format!("{id} is the newest that was proven"))
            .hint(format!(
                "prove a newer one (`hostkit backup drill {name}`), or insist: `--force`"
            )));
    }
    rotate::take_away(cx, backup)?;
    cx.record(Some(&name), "backup delete", Ok(()))?;
    let gone = Gone { removed: vec![id.clone()] };
    cx.ui.result("backup delete", Some(name.as_str()), &gone, &format!("{id} is gone\n"));
    Ok(())
}

fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let name = args.name.as_deref().map(str::parse::<ProjectName>).transpose()?;
    let all = cx.registry()?.backups(name.as_ref())?;
    if let (Some(name), true) = (&name, all.is_empty()) {
        // A project that is gone may have left some.
        cx.registry()?.project(name)?;
    }
    let mut table = Table::new(vec![
        Column::left("BACKUP"),
        Column::left("TYPE"),
        Column::left("STATE"),
        Column::left("MADE"),
        Column::right("SIZE"),
        Column::right("NEW"),
        Column::left("WHERE"),
        Column::left("WHY").gives_way_to(10),
    ]);
    for backup in &all {
        table.row(vec![
            backup.id.to_string(),
            backup.kind.as_str().into(),
            state(backup).into(),
            ago(backup.made_at),
            bytes(backup.bytes),
            bytes(backup.stored),
            place(backup).into(),
            why(backup),
        ]);
    }
    let of = name.as_ref().map_or("the server", ProjectName::as_str);
    let text = if all.is_empty() {
        format!("{of} has no backup yet\n")
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("backup list", name.as_ref().map(ProjectName::as_str), &all, &text);
    Ok(())
}

fn state(backup: &Backup) -> &'static str {
    match (backup.state, backup.proven) {
        (BackupState::Complete, Some(true)) => "proven",
        (BackupState::Complete, Some(false)) => "UNPROVEN",
        (state, _) => state.as_str(),
    }
}

fn why(backup: &Backup) -> String {
    let first = backup.error.as_deref().and_then(|error| error.lines().next());
    first.unwrap_or_else(|| backup.origin.as_str()).to_owned()
}

/// Tells of one thing that takes its time, and how it went.
fn phase<T>(
    cx: &mut Context,
    title: &str,
    work: impl FnOnce(&mut Context) -> Result<(T, String)>,
) -> Result<T> {
    let start = std::time::Instant::now();
    let tell = cx.ui.listener();
    cx.ui.parts(&[Part { title: title.to_owned(), detail: String::new() }]);
    tell(Progress::Started { part: 0 });
    match work(cx) {
        Ok((value, detail)) => {
            cx.ui.parts(&[Part { title: title.to_owned(), detail }]);
            tell(Progress::Done { part: 0, took: start.elapsed() });
            Ok(value)
        }
        Err(error) => {
            tell(Progress::Failed { part: 0 });
            Err(error)
        }
    }
}

fn place(backup: &Backup) -> &'static str {
    match (backup.is_local, backup.copied_at.is_some()) {
        (true, true) => "both",
        (false, true) => "elsewhere",
        (_, false) if backup.state == BackupState::Complete => "here",
        _ => "-",
    }
}

//! `hostkit checkpoint`: states of a project's database and environment to go back to.

pub mod restore;
pub mod take;

use serde::Serialize;

use super::Context;
use crate::{
    error::{Error, Result},
    names::{CheckpointId, ProjectName},
    registry::{Checkpoint, CheckpointKind},
    ui::{Column, Paint, Table, ago, bytes, width},
};

/// Keep states of a project's database, and go back to them
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Cleanup(CleanupArgs),
    Create(CreateArgs),
    Delete(OneArgs),
    Info(OneArgs),
    Latest(LatestArgs),
    List(ListArgs),
    Restore(restore::Args),
}

/// Take away what has outlived its use
///
/// Of those that a deploy took, one stays for each release that stays. Those before a restoration
/// stay 30 days, those of a timer 7, and of either kind seven at most and one at least. What a
/// person took stays until it is deleted. Each new checkpoint does this, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint cleanup my-shop")]
pub struct CleanupArgs {
    /// Project whose checkpoints to tidy
    pub name: String,
}

/// Take a checkpoint of the database and the environment
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint create my-shop
  hostkit checkpoint create my-shop --note 'before the price change'")]
pub struct CreateArgs {
    /// Project to take it of
    pub name: String,
    /// Words to know it by
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// For timers: it goes by itself after some days
    #[arg(long)]
    auto: bool,
}

/// One checkpoint
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint info my-shop 20261121-093012")]
pub struct OneArgs {
    /// Project that it is of
    pub name: String,
    /// The checkpoint: `hostkit checkpoint list` names them
    id: String,
}

/// Print the name of the newest checkpoint that holds the database
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint latest my-shop")]
pub struct LatestArgs {
    /// Project whose newest to name
    pub name: String,
}

/// List checkpoints, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit checkpoint list my-shop
  hostkit checkpoint list my-shop --all")]
pub struct ListArgs {
    /// Project whose to list
    pub name: String,
    /// Also those of the environment alone
    #[arg(long)]
    all: bool,
    /// Only those of this kind
    #[arg(long = "type", value_name = "KIND", value_parser = kind)]
    kind: Option<CheckpointKind>,
}

fn kind(text: &str) -> Result<CheckpointKind, String> {
    let all = CheckpointKind::ALL.iter();
    all.clone().find(|kind| kind.as_str() == text).copied().ok_or_else(|| {
        let all: Vec<&str> = all.map(|kind| kind.as_str()).collect();
        format!("one of: {}", all.join(", "))
    })
}

#[derive(Serialize)]
struct Gone {
    removed: Vec<CheckpointId>,
}

#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    checkpoint: Checkpoint,
    variables: usize,
    /// Until when it is kept, or why.
    stays: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dump_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mysql_path: Option<String>,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Cleanup(args) => ("checkpoint cleanup", Some(&args.name)),
            Self::Create(args) => ("checkpoint create", Some(&args.name)),
            Self::Delete(args) => ("checkpoint delete", Some(&args.name)),
            Self::Info(args) => ("checkpoint info", Some(&args.name)),
            Self::Latest(args) => ("checkpoint latest", Some(&args.name)),
            Self::List(args) => ("checkpoint list", Some(&args.name)),
            Self::Restore(args) => ("checkpoint restore", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Cleanup(args) => cleanup(args, cx),
            Self::Create(args) => create(args, cx),
            Self::Delete(args) => delete(args, cx),
            Self::Info(args) => info(args, cx),
            Self::Latest(args) => latest(args, cx),
            Self::List(args) => list(args, cx),
            Self::Restore(args) => restore::run(args, cx),
        }
    }
}

/// A checkpoint by its name.
pub fn find(cx: &mut Context, name: &ProjectName, id: &CheckpointId) -> Result<Checkpoint> {
    let all = cx.registry()?.checkpoints(name)?;
    all.into_iter().find(|checkpoint| checkpoint.id == *id).ok_or_else(|| {
        Error::missing("no_checkpoint", format!("{name} has no checkpoint {id}"))
            .hint(format!("see `hostkit checkpoint list {name} --all`"))
    })
}

fn create(args: &CreateArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    if args.note.as_ref().is_some_and(|note| note.chars().any(char::is_control)) {
        return Err(Error::usage("bad_note", "`--note` holds a control character"));
    }
    let _held = cx.take_project(&name, "checkpoint create")?;
    let project = cx.registry()?.living_project(&name)?;
    take::settle(cx, &project)?;
    let kind = if args.auto { CheckpointKind::Auto } else { CheckpointKind::Manual };
    let made = take::take(cx, &project, kind, args.note.as_deref())?;
    take::prune(cx, &name)?;
    cx.record(Some(&name), "checkpoint create", Ok(()))?;
    let text = if cx.ui.voice.quiet {
        format!("{}\n", made.id)
    } else {
        format!(
            "{} holds {} and the environment\nNext:  hostkit checkpoint restore {name} {}\n",
            made.id,
            made.bytes().map_or("no database".into(), |n| format!("the database ({})", bytes(n))),
            made.id
        )
    };
    cx.ui.result("checkpoint create", Some(name.as_str()), &made, &text);
    Ok(())
}

fn delete(args: &OneArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let id = args.id.parse::<CheckpointId>()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "checkpoint delete")?;
    find(cx, &name, &id)?;
    take::forget(cx, &name, &id)?;
    cx.record(Some(&name), "checkpoint delete", Ok(()))?;
    let gone = Gone { removed: vec![id.clone()] };
    cx.ui.result("checkpoint delete", Some(name.as_str()), &gone, &format!("{id} is gone\n"));
    Ok(())
}

fn cleanup(args: &CleanupArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "checkpoint cleanup")?;
    let gone = Gone { removed: take::prune(cx, &name)? };
    let text = format!("{} removed\n", crate::ui::count(gone.removed.len(), "checkpoint"));
    cx.ui.result("checkpoint cleanup", Some(name.as_str()), &gone, &text);
    Ok(())
}

fn info(args: &OneArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let checkpoint = find(cx, &name, &args.id.parse()?)?;
    let env = cx.host.read_text(&take::env_path(&name, &checkpoint.id))?.unwrap_or_default();
    let variables = crate::envfile::EnvFile::parse(&env)?.variables().count();
    let dump_path =
        checkpoint.dump.map(|_| take::dump_path(&name, &checkpoint.id).display().to_string());
    let mysql_path =
        checkpoint.mysql.map(|_| take::mysql_path(&name, &checkpoint.id).display().to_string());
    let told = |what: &str, value: &str| format!("{what:<12} {value}\n");
    let mut text = told("checkpoint", checkpoint.id.as_str());
    text += &told("kind", checkpoint.kind.as_str());
    text += &told("taken", &restore::told(&checkpoint));
    text += &told("by", &checkpoint.actor);
    if let Some(release) = &checkpoint.release {
        text += &told("release", release.as_str());
    }
    let stays = stays(&checkpoint);
    text += &told("stays", &stays);
    text += &told("variables", &variables.to_string());
    for (what, value) in
        [("dump", &dump_path), ("in MariaDB", &mysql_path), ("note", &checkpoint.note)]
    {
        text += &value.as_ref().map_or_else(String::new, |value| told(what, value));
    }
    let data = Info { checkpoint, variables, stays, dump_path, mysql_path };
    cx.ui.result("checkpoint info", Some(name.as_str()), &data, &text);
    Ok(())
}

fn stays(checkpoint: &Checkpoint) -> String {
    match (take::days_of(checkpoint.kind), checkpoint.kind) {
        (Some(days), _) => {
            let until = checkpoint.made_at + jiff::SignedDuration::from_hours(24 * days);
            format!(
                "until {}, and longer while it is the newest of its kind",
                until.strftime("%-d %b %Y")
            )
        }
        (None, CheckpointKind::Manual) => "until it is deleted".into(),
        (None, CheckpointKind::Env) => "while it is one of the 50 newest".into(),
        (None, _) => "as long as its release".into(),
    }
}

fn latest(args: &LatestArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let all = cx.registry()?.checkpoints(&name)?;
    let newest =
        all.into_iter().find(|checkpoint| checkpoint.bytes().is_some()).ok_or_else(|| {
            Error::missing("no_checkpoint", format!("{name} has no checkpoint of its database"))
                .hint(format!("take one: `hostkit checkpoint create {name}`"))
        })?;
    let text = format!("{}\n", newest.id);
    cx.ui.result("checkpoint latest", Some(name.as_str()), &newest, &text);
    Ok(())
}

fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let mut all = cx.registry()?.checkpoints(&name)?;
    all.retain(|checkpoint| match args.kind {
        Some(kind) => checkpoint.kind == kind,
        None => args.all || checkpoint.kind != CheckpointKind::Env,
    });
    let mut table = Table::new(vec![
        Column::left("CHECKPOINT"),
        Column::left("KIND"),
        Column::left("TAKEN"),
        Column::right("DATABASE"),
        Column::left("RELEASE"),
        Column::left("NOTE").gives_way_to(10),
    ]);
    for checkpoint in &all {
        table.row(vec![
            checkpoint.id.to_string(),
            checkpoint.kind.as_str().to_owned(),
            ago(checkpoint.made_at),
            checkpoint.bytes().map_or("-".into(), bytes),
            checkpoint.release.as_ref().map_or("-".into(), ToString::to_string),
            checkpoint.note.clone().unwrap_or_default(),
        ]);
    }
    let text = if all.is_empty() {
        format!("{name} has no checkpoint; take one: hostkit checkpoint create {name}\n")
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("checkpoint list", Some(name.as_str()), &all, &text);
    Ok(())
}

//! `hostkit worker`: processes that an operator adds to those of each release.

use serde::Serialize;

use super::{add, remove, service};
use crate::{
    commands::Context,
    error::Result,
    projects,
    release::{Kind, Process},
};

/// Processes beside the web process, also such as no release brings
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Add a process that runs beside those of each release
///
/// It starts now and with each release that comes, as the project's user and confined like the
/// web process. What a project needs always is better said in its hostkit.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit worker add my-shop mail -- venv/bin/python worker.py
  hostkit worker add my-shop queue -- venv/bin/celery -A app worker")]
pub struct AddArgs {
    /// Project to add it to
    pub name: String,

    /// What to call it
    process: String,

    /// The program, below the release or absolute, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Show a project's workers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit worker list my-shop")]
pub struct ListArgs {
    /// Project whose workers to show
    pub name: String,
}

/// Take a worker away that was added
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit worker remove my-shop mail")]
pub struct RemoveArgs {
    /// Project that it is of
    pub name: String,

    /// The worker
    process: String,
}

#[derive(Serialize)]
struct Done<'a> {
    process: &'a str,
    runs: bool,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Add(args) => ("worker add", Some(&args.name)),
            Self::List(args) => ("worker list", Some(&args.name)),
            Self::Remove(args) => ("worker remove", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Add(args) => run_add(args, cx),
            Self::List(args) => {
                let project = cx.registry()?.project(&args.name.parse()?)?;
                service::list_of(cx, "worker list", &project, is_worker)
            }
            Self::Remove(args) => run_remove(args, cx),
        }
    }
}

fn is_worker(process: &Process) -> bool {
    process.kind == Kind::Worker
}

fn run_add(args: &AddArgs, cx: &mut Context) -> Result<()> {
    let process = projects::worker(&args.process, &args.command)?;
    let project = add(cx, &args.name, &process, "worker add")?;
    let (name, process) = (&project.name, &args.process);
    let runs = project.live.is_some();
    let text = if runs {
        format!("{process} of {name} is up\nNext:  hostkit service logs {name} {process} -f\n")
    } else {
        format!("{process} of {name} starts with the first release\n")
    };
    cx.ui.result("worker add", Some(name.as_str()), &Done { process, runs }, &text);
    Ok(())
}

fn run_remove(args: &RemoveArgs, cx: &mut Context) -> Result<()> {
    let process = &args.process;
    let project = remove(cx, &args.name, process, "worker remove", is_worker)?;
    let text = format!("{process} of {} is gone\n", project.name);
    let data = Done { process, runs: false };
    cx.ui.result("worker remove", Some(project.name.as_str()), &data, &text);
    Ok(())
}

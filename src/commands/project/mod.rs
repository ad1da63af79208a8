//! `hostkit project`: projects one by one.

pub mod create;
pub mod delete;
pub mod environment;
pub mod info;
pub mod list;
pub mod power;
pub mod sudoers;

use super::Context;
use crate::error::Result;

/// Make, show, start, stop and delete projects
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create(create::Args),
    Delete(delete::Args),
    Environment(environment::Args),
    Info(info::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    RegenerateSudoers(sudoers::Args),
    Restart(power::RestartArgs),
    Start(power::StartArgs),
    Stop(power::StopArgs),
}

impl Command {
    /// The command's name, and the project that it concerns.
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Create(args) => ("project create", Some(&args.name)),
            Self::Delete(args) => ("project delete", Some(&args.name)),
            Self::Environment(args) => ("project environment", Some(&args.name)),
            Self::Info(args) => ("project info", Some(&args.name)),
            Self::List(_) => ("project list", None),
            Self::RegenerateSudoers(args) => ("project regenerate-sudoers", args.name.as_deref()),
            Self::Restart(args) => ("project restart", Some(&args.name)),
            Self::Start(args) => ("project start", Some(&args.name)),
            Self::Stop(args) => ("project stop", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Create(args) => create::run(args, cx),
            Self::Delete(args) => delete::run(args, cx),
            Self::Environment(args) => environment::run(args, cx),
            Self::Info(args) => info::run(args, cx),
            Self::List(args) => list::run(args, cx),
            Self::RegenerateSudoers(args) => sudoers::run(args, cx),
            Self::Restart(args) => power::restart(args, cx),
            Self::Start(args) => power::start(args, cx),
            Self::Stop(args) => power::stop(args, cx),
        }
    }
}

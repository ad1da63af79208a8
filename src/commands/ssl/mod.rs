//! `hostkit ssl`: sites by HTTPS, with certificates that are renewed by themselves.

mod bring;
mod disable;
mod domains;
mod enable;
pub mod files;
mod guard;
mod list;
mod obtain;
mod renew;
mod told;

pub use enable::{after_creation, bring_back, check_wish};
pub use renew::mend;

use super::Context;
use crate::error::Result;

/// HTTPS: a certificate for the domains of each project
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Disable(disable::Args),
    Enable(enable::Args),
    #[command(hide = true)]
    Guard(guard::Args),
    Import(bring::Args),
    List(list::ListArgs),
    Renew(renew::Args),
    Status(list::StatusArgs),
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Disable(args) => ("ssl disable", Some(&args.name)),
            Self::Enable(args) => ("ssl enable", Some(&args.name)),
            Self::Guard(_) => ("ssl guard", None),
            Self::Import(args) => ("ssl import", Some(&args.name)),
            Self::List(_) => ("ssl list", None),
            Self::Renew(args) => ("ssl renew", args.name.as_deref()),
            Self::Status(args) => ("ssl status", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Disable(args) => disable::run(args, cx),
            Self::Enable(args) => enable::run(args, cx),
            Self::Guard(args) => guard::run(args, cx),
            Self::Import(args) => bring::run(args, cx),
            Self::List(args) => list::list(args, cx),
            Self::Renew(args) => renew::run(args, cx),
            Self::Status(args) => list::status(args, cx),
        }
    }
}

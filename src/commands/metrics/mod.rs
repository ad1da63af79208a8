//! `hostkit metrics`: a Prometheus of the server's own reads the figures of projects.

mod query;
mod remove;
mod setup;
mod status;

pub use setup::{bring, facts};

use super::Context;
use crate::error::{Error, Result};

/// Figures of projects, kept by a Prometheus
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Query(query::Args),
    Remove(remove::Args),
    Setup(setup::Args),
    Status(status::Args),
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Query(args) => ("metrics query", Some(&args.name)),
            Self::Remove(_) => ("metrics remove", None),
            Self::Setup(_) => ("metrics setup", None),
            Self::Status(args) => ("metrics status", args.name.as_deref()),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Query(args) => query::run(args, cx),
            Self::Remove(args) => remove::run(args, cx),
            Self::Setup(args) => setup::run(args, cx),
            Self::Status(args) => status::run(args, cx),
        }
    }
}

/// Fails where the server keeps no figures.
fn check_set_up(cx: &Context) -> Result<()> {
    if cx.config.metrics.enabled {
        return Ok(());
    }
    Err(Error::not_ready("no_metrics", "this server keeps no figures of projects yet")
        .hint("set it up: `hostkit metrics setup`"))
}

//! `hostkit log`: what a project said, and what the web server says of it.

use std::path::PathBuf;

use super::{
    Context,
    process::{self, follow},
};
use crate::{error::Result, names::ProjectName};

/// Show what a project said, and what the web server noted of it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit log my-shop
  hostkit log my-shop --follow
  hostkit log my-shop worker -n 200
  hostkit log my-shop --nginx --follow")]
pub struct Args {
    /// Project whose logs to show
    pub name: String,

    /// One process; without it all that run
    #[arg(conflicts_with = "nginx")]
    process: Option<String>,

    /// What nginx noted: each request, and what went wrong
    #[arg(long)]
    nginx: bool,

    #[command(flatten)]
    how: follow::Lines,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    if !args.nginx {
        return process::logs(cx, "log", &name, args.process.as_deref(), &args.how);
    }
    cx.registry()?.project(&name)?;
    let files = ["access", "error"].map(|kind| {
        (
            format!("nginx {kind}"),
            PathBuf::from(format!("/var/log/nginx/hostkit-{name}.{kind}.log")),
        )
    });
    follow::files(cx, "log", &name, files.into(), &args.how)
}

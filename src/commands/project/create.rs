//! `hostkit project create`: a project with only what is asked for.

use crate::{
    commands::{
        Context, create,
        provision::{Settings, no_such_service},
        secrets::keys,
        storage,
    },
    error::Result,
};

/// Make a project with only what is asked for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit project create my-shop
  hostkit project create my-shop --node --with-db
  hostkit project create api --runtime custom --start-cmd \"/home/api/app/bin/server --quiet\"")]
pub struct Args {
    /// Name of the project: its user, its unit and its first domain are called so
    pub name: String,

    #[command(flatten)]
    settings: Settings,

    /// Make a PostgreSQL database
    #[arg(long)]
    with_db: bool,

    /// Set up the auth service
    #[arg(long)]
    with_auth: bool,

    /// Set up object storage
    #[arg(long)]
    with_storage: bool,

    /// Make the server's store of secrets, if it has none yet
    #[arg(long)]
    with_secrets: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let mut new = args.settings.check(&args.name, "project create", args.with_db, cx)?;
    if args.with_auth {
        return Err(no_such_service("auth service"));
    }
    new.storage = args.with_storage && storage::insisted(cx)?;
    if args.with_secrets && !new.dry_run {
        cx.registry()?;
        keys::ring_or_new(cx)?;
    }
    create::run(&new, cx)
}

//! `hostkit completions`, and the man pages: made from the commands themselves.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::error::{Context as _, Result};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit completions bash > /etc/bash_completion.d/hostkit
  hostkit completions zsh > /usr/local/share/zsh/site-functions/_hostkit")]
pub struct Args {
    /// Shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hostkit", &mut text);
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().write_all(&text);
    Ok(())
}

/// Print the man page of a command
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR")]
    into: Option<std::path::PathBuf>,
}

pub fn man(args: &ManArgs, started_in: &std::path::Path) -> Result<()> {
    if let Some(dir) = &args.into {
        let dir = started_in.join(dir);
        let failed = || format!("could not write man pages into `{}`", dir.display());
        return clap_mangen::generate_to(Cli::command(), &dir).context(failed);
    }
    let mut text = Vec::new();
    let _ = clap_mangen::Man::new(Cli::command()).render(&mut text);
    let _ = std::io::stdout().write_all(&text);
    Ok(())
}

//! `hostkit capabilities`: what this hostkit can do, for programs.

use clap::CommandFactory;
use serde::Serialize;

use super::Context;
use crate::{
    caller::{Access, TABLE},
    error::Result,
    names::Runtime,
    ui::count,
};

/// Show what this hostkit can do, for programs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit capabilities --json
  hostkit capabilities --json | jq -r '.data.commands[].name'")]
pub struct Args {
    /// As a project's user: only what that user may run
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

#[derive(Serialize)]
struct Capabilities {
    version: &'static str,
    commands: Vec<Command>,
    runtimes: Vec<&'static str>,
    services: Services,
    exit_codes: std::collections::BTreeMap<u8, &'static str>,
}

#[derive(Serialize)]
struct Command {
    name: String,
    about: String,
    /// Who may run it: anybody, operators, or project (operators and the project's own user).
    access: &'static str,
    changes: bool,
    dry_run: bool,
    options: Vec<String>,
}

#[derive(Serialize)]
struct Services {
    postgres: bool,
    mysql: bool,
    redis: bool,
    auth: bool,
    storage: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let mut commands = Vec::new();
    collect(&super::Cli::command(), "", &mut commands);
    if args.project.is_some() {
        commands.retain(|command| command.access != "operators");
    }
    let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
    let text = format!(
        "hostkit {}: {}\n{}\n\nwith --json: options, rights, services and exit codes\n",
        env!("CARGO_PKG_VERSION"),
        count(commands.len(), "command"),
        names.join("\n")
    );
    let data = Capabilities {
        version: env!("CARGO_PKG_VERSION"),
        runtimes: Runtime::ALL.iter().map(|runtime| runtime.as_str()).collect(),
        services: Services {
            postgres: true,
            mysql: cx.config.mysql.enabled,
            redis: true,
            auth: false,
            storage: true,
        },
        exit_codes: EXIT_CODES.iter().copied().collect(),
        commands,
    };
    cx.ui.result("capabilities", None, &data, &text);
    Ok(())
}

const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed and undone"),
    (2, "bad usage or input"),
    (3, "no such project or release"),
    (4, "already exists, or something is in the way"),
    (5, "not permitted"),
    (6, "unhealthy"),
    (7, "locked"),
    (8, "the host is not ready"),
    (9, "failed, and could not wholly be undone"),
];

fn collect(command: &clap::Command, path: &str, into: &mut Vec<Command>) {
    for sub in
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        let name = if path.is_empty() {
            sub.get_name().to_owned()
        } else {
            format!("{path} {}", sub.get_name())
        };
        let access = TABLE.iter().find(|(row, _)| *row == name).map(|(_, access)| *access);
        let Some(access) = access else {
            collect(sub, &name, into);
            continue;
        };
        let options: Vec<String> = sub
            .get_arguments()
            .filter(|arg| !arg.is_global_set())
            .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
            .collect();
        let dry_run = options.iter().any(|option| option == "--dry-run");
        let powers = ["project start", "project stop", "project restart", "recover"];
        into.push(Command {
            about: sub.get_about().map(ToString::to_string).unwrap_or_default(),
            access: match access {
                Access::Anybody => "anybody",
                Access::Operators => "operators",
                Access::Project => "project",
            },
            changes: dry_run || powers.contains(&name.as_str()),
            dry_run,
            options,
            name,
        });
    }
}

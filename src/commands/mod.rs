//! What a person typed: one file a verb.

pub mod alert;
pub mod app;
pub mod backup;
pub mod capabilities;
pub mod checkpoint;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod context;
pub mod create;
pub mod db;
pub mod deploy;
pub mod doctor;
pub mod door;
pub mod drift;
pub mod env;
pub mod events;
pub mod exec;
pub mod facts;
pub mod gate;
pub mod git;
pub mod health;
pub mod identity;
pub mod init;
pub mod keys;
pub mod log;
pub mod manifest;
pub mod metrics;
mod named;
pub mod operator;
pub mod permissions;
pub mod plan;
pub mod port;
pub mod process;
pub mod project;
pub mod provision;
pub mod push;
pub mod recover;
pub mod redis;
pub mod repair;
pub mod secrets;
pub mod show;
pub mod shown;
pub mod ssh;
pub mod ssl;
pub mod state;
pub mod status;
pub mod storage;
pub mod timer;
pub mod validate;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, error::ErrorKind};

pub use context::Context;
use named::{is_named, names_a_process, parse, with_name};

use crate::{
    caller::{Access, Caller, TABLE, decide},
    config::{Config, PATH, Wait},
    error::{Error, Kind, Result},
    names::ProjectName,
    sys::Host,
    ui::{Ui, Voice, print_error},
};

/// Turn a bare server into a deployment platform
///
/// A project is a Linux user, a home with releases, a hardened unit, a port, a Redis and a
/// PostgreSQL database, a site and rules for who may deploy it. hostkit makes all of it or
/// nothing, shows what differs, repairs it, and takes it away without a trace.
#[derive(Debug, Parser)]
#[command(name = "hostkit", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "First steps:
  sudo hostkit init                    make the server ready
  sudo hostkit provision my-app        make a project
  sudo hostkit status                  see how everything is

Exit codes: 0 done, 1 failed and undone, 2 bad usage, 3 no such thing, 4 exists already,
5 not permitted, 6 unhealthy, 7 locked, 8 the server is not ready, 9 stuck half-way")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,

    /// Say nothing but the result and errors
    #[arg(long, short, global = true)]
    quiet: bool,

    /// Say more
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,

    /// How long to wait for another command on the same project
    #[arg(long, global = true, value_name = "TIME")]
    wait: Option<Wait>,

    /// Do not wait for another command: say at once which it is
    #[arg(long, global = true, conflicts_with = "wait")]
    no_wait: bool,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    #[command(subcommand)]
    Alert(alert::Command),
    #[command(hide = true)]
    AppGate(app::GateArgs),
    Autopause(deploy::limits::AutopauseArgs),
    #[command(subcommand)]
    Backup(backup::Command),
    Capabilities(capabilities::Args),
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    Completions(completions::Args),
    Config(config::Args),
    #[command(subcommand)]
    Cron(process::cron::Command),
    #[command(subcommand)]
    Db(db::Command),
    Deploy(deploy::Args),
    Deploys(deploy::list::DeploysArgs),
    #[command(hide = true)]
    Digest(backup::digest::Args),
    Doctor(doctor::Args),
    Drift(drift::Args),
    #[command(subcommand)]
    Env(env::Command),
    Events(events::Args),
    Exec(exec::Args),
    #[command(hide = true)]
    Gate(gate::Args),
    #[command(subcommand)]
    Git(git::Command),
    Health(health::Args),
    Init(init::Args),
    #[command(hide = true)]
    Inside(exec::InsideArgs),
    Log(log::Args),
    #[command(hide = true)]
    Man(completions::ManArgs),
    Manifest(manifest::Args),
    #[command(subcommand)]
    Metrics(metrics::Command),
    #[command(subcommand)]
    Operator(operator::Command),
    #[command(subcommand)]
    Permissions(permissions::Command),
    Plan(plan::Args),
    #[command(subcommand)]
    Project(project::Command),
    Provision(provision::Args),
    Ratelimit(deploy::limits::RatelimitArgs),
    Recover(recover::Args),
    #[command(subcommand)]
    Redis(redis::Command),
    Releases(deploy::list::ReleasesArgs),
    Repair(repair::Args),
    RestoreHost(backup::restore_host::Args),
    Resume(deploy::list::ResumeArgs),
    Rollback(deploy::rollback::Args),
    #[command(subcommand)]
    Secrets(secrets::Command),
    #[command(subcommand)]
    Service(process::service::Command),
    Show(shown::Args),
    #[command(subcommand)]
    Ssh(ssh::Command),
    #[command(subcommand)]
    Ssl(ssl::Command),
    Status(status::Args),
    #[command(subcommand)]
    Storage(storage::Command),
    #[command(hide = true)]
    Unpack(deploy::unpack::Args),
    Validate(validate::Args),
    #[command(subcommand)]
    Worker(process::worker::Command),
}

impl Command {
    /// The command's name in the table of rights, and the project that it concerns.
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Alert(command) => command.subject(),
            Self::AppGate(args) => ("app-gate", Some(&args.name)),
            Self::Autopause(args) => ("autopause", Some(&args.name)),
            Self::Backup(command) => command.subject(),
            Self::Capabilities(_) => ("capabilities", None),
            Self::Checkpoint(command) => command.subject(),
            Self::Completions(_) => ("completions", None),
            Self::Config(_) => ("config", None),
            Self::Cron(command) => command.subject(),
            Self::Db(command) => command.subject(),
            Self::Deploy(args) => ("deploy", Some(&args.name)),
            Self::Deploys(args) => ("deploys", Some(&args.name)),
            Self::Digest(_) => ("digest", None),
            Self::Doctor(_) => ("doctor", None),
            Self::Drift(args) => ("drift", args.name.as_deref()),
            Self::Env(command) => command.subject(),
            Self::Events(args) => ("events", args.name.as_deref()),
            Self::Exec(args) => ("exec", Some(&args.name)),
            Self::Gate(args) => ("gate", Some(&args.name)),
            Self::Health(args) => ("health", Some(&args.name)),
            Self::Git(command) => command.subject(),
            Self::Init(_) => ("init", None),
            Self::Inside(_) => ("inside", None),
            Self::Log(args) => ("log", Some(&args.name)),
            Self::Man(_) => ("man", None),
            Self::Manifest(_) => ("manifest", None),
            Self::Metrics(command) => command.subject(),
            Self::Operator(command) => command.subject(),
            Self::Permissions(command) => command.subject(),
            Self::Plan(args) => ("plan", Some(&args.name)),
            Self::Project(command) => command.subject(),
            Self::Provision(args) => ("provision", Some(&args.name)),
            Self::Ratelimit(args) => ("ratelimit", Some(&args.name)),
            Self::Recover(_) => ("recover", None),
            Self::Redis(command) => command.subject(),
            Self::Releases(args) => ("releases", Some(&args.name)),
            Self::Repair(args) => ("repair", args.name.as_deref()),
            Self::RestoreHost(_) => ("restore-host", None),
            Self::Resume(args) => ("resume", Some(&args.name)),
            Self::Rollback(args) => ("rollback", Some(&args.name)),
            Self::Secrets(command) => command.subject(),
            Self::Service(command) => command.subject(),
            Self::Show(args) => ("show", Some(&args.name)),
            Self::Ssh(command) => command.subject(),
            Self::Ssl(command) => command.subject(),
            Self::Status(args) => ("status", args.name.as_deref()),
            Self::Storage(command) => command.subject(),
            Self::Unpack(_) => ("unpack", None),
            Self::Validate(_) => ("validate", None),
            Self::Worker(command) => command.subject(),
        }
    }
}

impl Cli {
    fn voice(&self) -> Voice {
        Voice { json: self.json, quiet: self.quiet, verbose: self.verbose }
    }

    /// How long to wait for a lock: what was asked for, else what usually holds.
    fn wait(&self, usual: Wait) -> Duration {
        if self.no_wait { Duration::ZERO } else { self.wait.unwrap_or(usual).0 }
    }
}

/// Runs what was typed; the exit code says how it ended.
pub fn run(argv: Vec<OsString>, started_in: PathBuf) -> ExitCode {
    let wants_json = argv.iter().any(|arg| arg == "--json");
    let cli = match parse(&argv) {
        Ok(cli) => cli,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            if wants_json {
                print_error(true, "", &usage_error(&error));
            } else {
                let _ = error.print();
            }
            return ExitCode::from(2);
        }
    };
    let (command, _) = cli.command.subject();
    match carry_out(&cli, argv, started_in) {
        Ok(code) => code,
        Err(error) => {
            print_error(cli.json, command, &error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Parts of other commands, which need no right because they run without any.
const FOR_UNITS: [&str; 4] = ["git answer", "git fetch", "inside", "unpack"];

fn carry_out(cli: &Cli, argv: Vec<OsString>, started_in: PathBuf) -> Result<ExitCode> {
    let (command, project) = cli.command.subject();
    if let Some(forwarded) = identity::through_the_gate(cli, command, argv)? {
        return Ok(forwarded);
    }
    if FOR_UNITS.contains(&command) && rustix::process::geteuid().is_root() {
        let message =
            format!("`hostkit {command}` is for units that run as somebody else than root");
        return Err(Error::new(Kind::Forbidden, "forbidden", message));
    }
    let needs_host =
        TABLE.iter().any(|(name, access)| *name == command && *access != Access::Anybody);
    let faults = identity::faults()?;
    let host = Host::here(faults)?;
    // By a login from before his rights ended somebody may still come here as root.
    let writes = command == "man" && rustix::process::geteuid().is_root();
    let caller = if needs_host || writes { identity::caller(&host)? } else { Caller::Root };
    let name = project.map(str::parse::<ProjectName>);
    if !matches!(caller, Caller::Root | Caller::Operator { .. }) {
        let access = if writes { "config" } else { command };
        decide(&caller, access, name.transpose()?.as_ref())?;
    }
    let mut cx = Context {
        config: Config::default(),
        host,
        caller,
        ui: Ui::start(cli.voice()),
        wait: cli.wait(Wait(Duration::from_mins(1))),
        started_in,
        app: None,
        registry: None,
    };
    let done = configure(cli, &mut cx, needs_host).and_then(|()| dispatch(&cli.command, &mut cx));
    cx.ui.finish();
    if cx.host.faults().any() {
        identity::tell_faults(&cx.host);
    }
    done
}

fn configure(cli: &Cli, cx: &mut Context, needs_host: bool) -> Result<()> {
    if !needs_host {
        return Ok(());
    }
    if let Some(text) = cx.host.read_text(std::path::Path::new(PATH))? {
        cx.config = Config::parse(&text)?;
    }
    cx.wait = cli.wait(cx.config.locks.wait);
    Ok(())
}

/// For a request that came through the gate: may this caller do this?
fn admit(cli: &Cli, cx: &Context, gate: &ProjectName) -> Result<()> {
    let (command, project) = cli.command.subject();
    let project = project.map(str::parse::<ProjectName>).transpose()?;
    decide(&cx.caller, command, project.as_ref())?;
    // What needs no right outside would be done by root in here.
    if TABLE.contains(&(command, Access::Project)) && project.as_ref() == Some(gate) {
        return Ok(());
    }
    let message = format!("`hostkit {command}` does not go through the gate of {gate}");
    Err(Error::new(Kind::Forbidden, "forbidden", message)
        .caused_by("it takes what the project's user may do for the project, and nothing else")
        .hint(format!("for example `hostkit status {gate}`")))
}

/// Runs a command that the caller may run.
fn dispatch(command: &Command, cx: &mut Context) -> Result<ExitCode> {
    let or = |code: u8| move |holds: bool| ExitCode::from(if holds { 0 } else { code });
    let (verdict, or_usage) = (or(1), or(Kind::Usage.exit_code()));
    match command {
        Command::AppGate(args) => return app::answer(args, cx),
        Command::Autopause(args) => deploy::limits::autopause(args, cx)?,
        Command::Alert(command) => command.run(cx)?,
        Command::Backup(command) => command.run(cx)?,
        Command::Capabilities(args) => capabilities::run(args, cx)?,
        Command::Checkpoint(command) => command.run(cx)?,
        Command::Completions(args) => completions::run(args)?,
        Command::Config(args) => config::run(args, cx)?,
        Command::Cron(command) => return command.run(cx),
        Command::Db(command) => return command.run(cx),
        Command::Deploy(args) => deploy::run(args, cx)?,
        Command::Deploys(args) => deploy::list::deploys(args, cx)?,
        Command::Digest(args) => backup::digest::run(args)?,
        Command::Doctor(args) => return doctor::run(args, cx).map(verdict),
        Command::Drift(args) => return drift::run(args, cx).map(verdict),
        Command::Env(command) => command.run(cx)?,
        Command::Events(args) => events::run(args, cx)?,
        Command::Exec(args) => return exec::run(args, cx),
        Command::Gate(args) => return gate::run(args, cx),
        Command::Health(args) => return health::run(args, cx).map(or(6)),
        Command::Git(command) => return command.run(cx),
        Command::Init(args) => init::run(args, cx)?,
        Command::Inside(_) => return exec::inside(&cx.started_in),
        Command::Log(args) => log::run(args, cx)?,
        Command::Man(args) => completions::man(args, &cx.started_in)?,
        Command::Manifest(args) => manifest::run(args, cx)?,
        Command::Metrics(command) => command.run(cx)?,
        Command::Operator(command) => command.run(cx)?,
        Command::Permissions(command) => return command.run(cx).map(verdict),
        Command::Plan(args) => plan::run(args, cx)?,
        Command::Project(command) => command.run(cx)?,
        Command::Provision(args) => provision::run(args, cx)?,
        Command::Ratelimit(args) => deploy::limits::ratelimit(args, cx)?,
        Command::Recover(args) => recover::run(args, cx)?,
        Command::Redis(command) => command.run(cx)?,
        Command::Releases(args) => deploy::list::releases(args, cx)?,
        Command::Repair(args) => repair::run(args, cx)?,
        Command::RestoreHost(args) => backup::restore_host::run(args, cx)?,
        Command::Resume(args) => deploy::list::resume(args, cx)?,
        Command::Rollback(args) => deploy::rollback::run(args, cx)?,
        Command::Secrets(command) => return command.run(cx).map(or_usage),
        Command::Service(command) => command.run(cx)?,
        Command::Show(args) => shown::run(args, cx)?,
        Command::Ssh(command) => command.run(cx)?,
        Command::Ssl(command) => command.run(cx)?,
        Command::Status(args) => status::run(args, cx)?,
        Command::Storage(command) => command.run(cx)?,
        Command::Unpack(_) => deploy::unpack::run(&cx.started_in)?,
        Command::Validate(args) => return validate::run(args, cx).map(or_usage),
        Command::Worker(command) => command.run(cx)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What clap says, as an error of ours.
fn usage_error(error: &clap::Error) -> Error {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("bad usage").trim_start_matches("error: ").to_owned();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = tip.map_or_else(|| "see `hostkit --help`".to_owned(), str::to_owned);
    Error::usage("usage", message).hint(hint)
}

#[cfg(test)]
mod tests;

//! What a project's own processes may ask hostkit for: `permissions grant|revoke`, and the end of
//! the socket where they ask.

use std::{
    io::{BufRead, Read, Write},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;

use super::{Context, gate, identity, show};
use crate::{
    caller::Caller,
    error::{Context as _, Error, Kind, Result},
    names::ProjectName,
    plan::differences,
    projects,
    registry::{Change, NewOperation, Project, Way},
    sys::{patience::Patience, peer, signals},
    ui::print_error,
};

/// Let a project's own processes ask for a command
///
/// They ask by one line to the socket, and get what the command says, with `exit N` as its last
/// line. They may ask for exactly what was granted, and for nothing else; by default for nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit permissions grant my-shop --app deploy
  hostkit permissions grant my-shop --app 'deploy --no-watch'
  echo deploy | nc -U /run/hostkit/apps/my-shop.sock     # as a process of my-shop")]
pub struct GrantArgs {
    #[command(flatten)]
    pub of: Of,
}

/// Let a project's own processes ask for a command no longer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit permissions revoke my-shop --app deploy")]
pub struct RevokeArgs {
    #[command(flatten)]
    pub of: Of,
}

/// Whose processes, and what for.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// Project whose processes ask
    pub name: String,

    /// The command with all of its options, as `hostkit permissions show` names it
    #[arg(long, value_name = "COMMAND")]
    app: String,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Answer one request of a project's processes, on standard input
#[derive(Debug, clap::Args)]
pub struct GateArgs {
    /// Project whose processes ask
    pub name: String,
}

#[derive(Serialize)]
struct Granted<'a> {
    app: &'a [String],
    socket: Option<String>,
}

const LONGEST: u64 = 4096;

/// A request has come by then, or does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends like any other answer.
const NO_REQUEST: &str = "no request came\nexit 2";

/// No write waits longer than this for somebody who does not read.
const UNREAD: Duration = Duration::from_secs(1);

pub fn grant(args: &GrantArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.of.name.parse()?;
    let line = projects::grant(&args.of.app, &name)?;
    let cli = gate::parse(&name, &projects::parse_request(&line, &name)?)?;
    let (_, of) = cli.command.subject();
    if of != Some(name.as_str()) {
        return Err(Error::usage("bad_grant", format!("`{line}` does not concern {name}")));
    }
    change(cx, &name, &line, true, args.of.dry_run)
}

pub fn revoke(args: &RevokeArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.of.name.parse()?;
    change(cx, &name, args.of.app.trim(), false, args.of.dry_run)
}

fn change(
    cx: &mut Context,
    name: &ProjectName,
    line: &str,
    given: bool,
    is_dry: bool,
) -> Result<()> {
    let verb = if given { "permissions grant" } else { "permissions revoke" };
    let _held = cx.take_project(name, verb)?;
    let before = cx.registry()?.living_project(name)?;
    let is_there = before.grants.iter().any(|known| known == line);
    if !given && !is_there {
        let shown = format!("see what they may: `hostkit permissions show {name}`");
        return Err(Error::missing(
            "no_grant",
            format!("the processes of {name} may not ask for `{line}`"),
        )
        .hint(shown));
    }
    let after = projects::with_grant(&before, line, given)?;
    let plan = projects::grants_plan(&before, &after, &cx.config, &cx.templates()?)?;
    if is_dry {
        show::preview(cx, verb, Some(name), &differences(&plan, &cx.host)?);
        return Ok(());
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Processes(Box::new(after.clone()));
    cx.carry_out(&new, None, |_, _| Ok((plan, vec![change])))?;
    report(cx, verb, &after, line, given);
    Ok(())
}

fn report(cx: &Context, verb: &str, project: &Project, line: &str, given: bool) {
    let name = &project.name;
    let socket = (!project.grants.is_empty()).then(|| projects::app_socket(name));
    let text = if given {
        format!(
            "the processes of {name} may ask for `{line}`\nthey ask at {}\n",
            projects::app_socket(name)
        )
    } else {
        format!("the processes of {name} may no longer ask for `{line}`\n")
    };
    cx.ui.result(verb, Some(name.as_str()), &Granted { app: &project.grants, socket }, &text);
}

/// As root, started by systemd for one connection.
pub fn answer(args: &GateArgs, cx: &mut Context) -> Result<ExitCode> {
    // The process that asks is restarted by most of what it can ask for.
    signals::outlive_the_terminal();
    let asker = peer::of_standard_input(UNREAD)?;
    let done = asked(args, cx, asker);
    let code = done.unwrap_or_else(|error| {
        print_error(cx.ui.voice.json, "app-gate", &error);
        error.kind.exit_code()
    });
    cx.ui.finish();
    let _ = writeln!(std::io::stdout(), "exit {code}");
    Ok(ExitCode::from(code))
}

fn asked(args: &GateArgs, cx: &mut Context, asker: u32) -> Result<u8> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let forbidden = |why: String| {
        Error::new(Kind::Forbidden, "forbidden", "this is not granted").caused_by(why)
    };
    if asker != project.uid {
        return Err(forbidden(format!("you are no process of {name}")));
    }
    let line = line()?;
    let words = projects::parse_request(&line, &name)?;
    cx.caller = Caller::Project { name: name.clone() };
    cx.app = Some((asker, words.clone()));
    // Now that the line is here: what was granted may have changed while it was awaited.
    identity::confirm(cx).map_err(|_| {
        let to_the_letter = "they may ask for what an operator granted, to the letter";
        forbidden(to_the_letter.into())
            .hint(format!("an operator grants it: `hostkit permissions grant {name} --app '…'`"))
    })?;
    let cli = gate::parse(&name, &words)?;
    super::admit(&cli, cx, &name)?;
    cx.ui.voice = cli.voice();
    cx.wait = cli.wait(cx.config.locks.wait);
    super::dispatch(&cli.command, cx).map(number)
}

/// The standard library tells the number to the kernel alone.
fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

fn line() -> Result<String> {
    let patience = Patience::begin(PATIENCE, PATIENCE, NO_REQUEST);
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST + 1)
        .read_line(&mut line)
        .context(|| "could not read the request".into())?;
    drop(patience);
    if line.len() as u64 > LONGEST {
        return Err(Error::usage(
            "bad_request",
            format!("the request has more than {LONGEST} bytes"),
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

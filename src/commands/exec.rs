//! `hostkit exec`: a command of a project's own, where its web process runs and as confined.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{Context, state};
use crate::{
    config::Wait,
    error::{Error, Result},
    names::{ProjectName, nearest},
    projects::{self, ExecUnit, REQUEST, Streams},
    registry::Project,
    release::Process,
    secret::Secret,
    sys::{
        Owner, journald, lock,
        relay::{self, Relay},
        signals::{self, Changing},
        systemd::{Ended, Verb},
        terminal,
    },
};

/// Run a command as a project, in its directory and with its environment
///
/// It runs beside the project's processes: as the same user, in the same sandbox, with the same
/// variables, and with what the release installed in its PATH. Input, output and exit code are
/// the command's own. It ends with Ctrl-C, and with the connection that it was started over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit exec my-shop -- python manage.py createsuperuser
  hostkit exec my-shop -- env
  hostkit exec my-shop --timeout 5m -- node scripts/import.js < orders.csv
  ssh my-shop@server hostkit exec -- alembic current

Exit codes: the command's own; 124 where --timeout ended it, 126 or 127 where it can't be run,
128 and more where a signal ended it")]
pub struct Args {
    /// Project to run it as
    pub name: String,

    /// Run it in the directory of this process instead of the web process's
    #[arg(long, value_name = "PROCESS")]
    process: Option<String>,

    /// End it after so long
    #[arg(long, value_name = "TIME")]
    timeout: Option<Wait>,

    /// Give it a terminal of this kind; where there is one, it gets one anyway
    #[arg(long, hide = true, value_name = "TERM")]
    tty: Option<String>,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Run what a variable of the environment says; the half of `exec` inside of the sandbox
#[derive(Debug, clap::Args)]
pub struct InsideArgs {}

/// Commands of one project at the same time.
const MOST: usize = 8;
/// Each of them is counted in a moment.
const COUNTING: Duration = Duration::from_secs(30);

const UNITS: &str = "/run/systemd/system";

pub fn run(args: &Args, cx: &mut Context) -> Result<ExitCode> {
    let name: ProjectName = args.name.parse()?;
    if cx.ui.voice.json {
        return Err(Error::usage("no_json", "`exec` has no JSON: its output is the command's own")
            .hint(format!("leave `--json` out: `hostkit exec {name} -- …`")));
    }
    let project = cx.registry()?.living_project(&name)?;
    if state::release(cx, &project)?.is_none() {
        return Err(Error::missing("no_release", format!("nothing is deployed to {name} yet"))
            .caused_by("a command runs in the directory of the release")
            .hint(format!("hostkit deploy {name}")));
    }
    let process = process_of(&project, args.process.as_deref())?;
    let command = Inside {
        verb: "exec",
        words: &args.command,
        process,
        tty: args.tty.as_deref(),
        variables: Vec::new(),
        limit: args.timeout.map(|limit| limit.0.as_secs().max(1)),
    };
    go(cx, &project, &command)
}

/// A command that runs as a project, in the sandbox of its processes.
pub struct Inside<'a> {
    pub verb: &'static str,
    pub words: &'a [String],
    pub process: Option<&'a Process>,
    /// The terminal's kind, where the caller has one that is not ours.
    pub tty: Option<&'a str>,
    /// What it finds in its environment besides.
    pub variables: Vec<(&'static str, Secret)>,
    /// Seconds; `None` is as long as it takes.
    pub limit: Option<u64>,
}

/// Runs it with our input and output, and ends as it ends.
pub fn go(cx: &mut Context, project: &Project, command: &Inside<'_>) -> Result<ExitCode> {
    let name = &project.name;
    super::deploy::stage::check_user(project)?;
    let here = terminal::is_here().then(|| std::env::var("TERM").unwrap_or_default());
    let term = command.tty.map(str::to_owned).or(here);
    let request = projects::exec_request(command.words, term.as_deref(), &command.variables)?;
    let waiting = |holder: &str| cx.ui.note(format!("waiting for `{holder}`"));
    // Whoever counts them makes a unit before somebody else counts.
    let counting = lock::take(&format!(".exec-{name}"), "hostkit exec", COUNTING, waiting)?;
    check_number(cx, name)?;
    note(cx, name, command)?;
    let _changing = Changing::begin();
    let unit = projects::exec_unit_name(name, std::process::id());
    let mut relay = Relay::new(&cx.host, &unit, term.is_some())?;
    let dir = relay.dir().display().to_string();
    let path = format!("{dir}/request");
    cx.host.write(Path::new(&path), request.as_bytes(), Owner::ROOT, 0o600)?;
    let text = projects::exec_unit(
        &ExecUnit {
            project,
            process: command.process,
            request: &path,
            streams: relay.terminal().map_or(Streams::Pipes(&dir), Streams::Terminal),
            limit: command.limit,
        },
        &cx.config,
        &cx.templates()?,
    )?;
    let file = Path::new(UNITS).join(&unit);
    cx.host.write(&file, text.as_bytes(), Owner::ROOT, 0o644)?;
    drop(counting);
    let ended = attend(cx, &unit, &mut relay);
    drop(relay);
    cx.host.remove_file(&file)?;
    ended.map(|ended| code_of(&ended, &command.words[0]))
}

fn process_of<'a>(project: &'a Project, wanted: Option<&str>) -> Result<Option<&'a Process>> {
    let spec = project.live.as_ref().map(|live| &live.spec);
    let Some(wanted) = wanted else { return Ok(spec.and_then(|spec| spec.web())) };
    let all = || spec.iter().flat_map(|spec| &spec.processes);
    all().find(|process| process.name == wanted).map(Some).ok_or_else(|| {
        let message = format!("{} has no process `{}`", project.name, wanted.escape_debug());
        let names: Vec<&str> = all().map(|process| process.name.as_str()).collect();
        let error = Error::missing("no_process", message)
            .caused_by(format!("its release has: {}", names.join(", ")));
        match nearest(wanted, names) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error,
        }
    })
}

/// Each has the limits of a whole process, so there is a limit of how many there are.
fn check_number(cx: &Context, name: &ProjectName) -> Result<()> {
    let prefix = projects::exec_units(name);
    let count = || -> Result<usize> {
        let units = cx.host.list(Path::new(UNITS))?;
        Ok(units.iter().filter(|unit| unit.to_string_lossy().starts_with(&prefix)).count())
    };
    if count()? < MOST {
        return Ok(());
    }
    // Some of them may be of those whose hostkit was killed.
    sweep(cx, name)?;
    let running = count()?;
    if running < MOST {
        return Ok(());
    }
    Err(Error::conflict("too_many", format!("{running} commands of {name} run at once already"))
        .hint("wait until one of them has ended"))
}

/// Who ran what, before it runs. Its arguments may be secrets.
fn note(cx: &mut Context, name: &ProjectName, command: &Inside<'_>) -> Result<()> {
    let verb = command.verb;
    let program: String = command.words[0].chars().take(100).collect();
    let program = program.escape_debug().to_string();
    let actor = cx.caller.actor();
    cx.registry()?.add_event(&actor, Some(name), verb, "done", Some(&program))?;
    let fields =
        [("HOSTKIT_PROJECT", name.as_str()), ("HOSTKIT_VERB", verb), ("HOSTKIT_ACTOR", &actor)];
    journald::send(&format!("{verb} {name} by {actor}: {program}"), false, &fields);
    Ok(())
}

/// Runs the unit to its end, or to the end of whoever waits for it.
fn attend(cx: &Context, unit: &str, relay: &mut Relay) -> Result<Ended> {
    relay.begin()?;
    let ended = cx.host.attend(unit, || relay.check());
    if ended.is_err() {
        // Nothing of it goes on: neither the command nor what it started.
        let stopped = cx.host.unit_job(Verb::Stop, unit);
        cx.host.reset_failed(unit)?;
        stopped?;
    }
    relay.finish();
    ended
}

fn code_of(ended: &Ended, program: &str) -> ExitCode {
    let code = match ended.result.as_str() {
        "timeout" => {
            tell(&format!("`{program}` did not end in time, and was ended"));
            124
        }
        "oom-kill" => {
            tell(&format!("`{program}` needed more memory than the project may have"));
            137
        }
        "signal" | "core-dump" => 128 + ended.status,
        "exit-code" | "success" => ended.status,
        other => {
            tell(&format!("`{program}` could not be run: {other}"));
            126
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn tell(text: &str) {
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("hostkit: {}\n", text.escape_debug()).as_bytes(),
    );
}

/// As the project's user, in the sandbox: becomes the command.
pub fn inside(started_in: &Path) -> Result<ExitCode> {
    let request = std::env::var(REQUEST)
        .map_err(|_| Error::usage("bad_request", "this is run by `hostkit exec`"))?;
    let words = projects::read_exec_request(&request)?;
    rustix::process::umask(rustix::fs::Mode::RWXO);
    signals::let_through()?;
    #[expect(clippy::disallowed_methods, reason = "becomes the command, with its own terminal")]
    let error = std::process::Command::new(program(&words[0], started_in))
        .args(&words[1..])
        .env_remove(REQUEST)
        .current_dir(started_in)
        .exec();
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    let why = if is_missing { "there is no such program" } else { "it can't be run" };
    tell(&format!("`{}`: {why}", words[0]));
    Ok(ExitCode::from(if is_missing { 127 } else { 126 }))
}

/// A program with a `/` lies below the release, as in a manifest, where the directory that it is run
/// in has none of that name.
fn program(word: &str, started_in: &Path) -> PathBuf {
    let path = Path::new(word);
    if !word.contains('/') || path.is_absolute() || started_in.join(path).exists() {
        return path.to_owned();
    }
    let release = started_in.ancestors().find(|dir| dir.join(".complete").exists());
    release.map(|dir| dir.join(path)).filter(|it| it.exists()).unwrap_or_else(|| path.to_owned())
}

/// Takes away what a command left whose hostkit was killed.
pub fn sweep(cx: &Context, name: &ProjectName) -> Result<()> {
    let prefix = projects::exec_units(name);
    for unit in cx.host.list(Path::new(UNITS))? {
        let Some(unit) = unit.to_str().filter(|unit| unit.starts_with(&prefix)) else { continue };
        if relay::is_attended(unit) {
            continue;
        }
        let is = cx.host.unit(unit)?;
        if is.active != "inactive" && is.active != "failed" {
            cx.host.unit_job(Verb::Stop, unit)?;
        }
        cx.host.reset_failed(unit)?;
        cx.host.remove_file(&Path::new(UNITS).join(unit))?;
        relay::forget(&cx.host, unit)?;
    }
    Ok(())
}

/// For a caller who is not root: the same words, with what the other half can't see for itself.
pub fn with_terminal(mut words: Vec<String>) -> Vec<String> {
    let takes_one = words.iter().position(|word| word == "exec").or_else(|| {
        let shell = words.windows(2).position(|two| two[0] == "db" && two[1] == "shell")?;
        Some(shell + 1)
    });
    if let Some(at) = takes_one
        && terminal::is_here()
    {
        let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
        words.insert(at + 1, format!("--tty={term}"));
    }
    words
}

/// Whether a request asks for a terminal.
pub fn has_terminal(words: &[String]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word.starts_with("--tty="))
}

//! `hostkit gate`: the one door for a project's own user, its CI and its developers.
//!
//! The half that runs as that user only carries a request; the half that runs as root reads it
//! as hostile data, and the same table decides as for everybody else.

use std::{
    ffi::OsString,
    io::{BufRead, Read, Write},
    os::fd::AsFd,
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::Parser;
use serde::{Deserialize, Serialize};

use super::{Cli, Context, exec, push};
use crate::{
    error::{Context as _, Error, Kind, Result},
    names::ProjectName,
    projects,
    sys::{patience::Patience, signals::Changing, terminal::Raw},
};

/// Take a request for a project from standard input
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Project that the request is for
    pub name: String,

    /// What the key that opens it may ask for
    #[arg(long, value_delimiter = ',', value_name = "VERBS")]
    pub verbs: Vec<String>,
}

/// What goes over the pipe: one line, then whatever the command itself reads.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Request {
    Argv(Vec<String>),
    Line(String),
}

const LONGEST: u64 = 64 << 10;

/// A request has come by then, or does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// As root: reads the request and runs it, with the rights of whoever came through sudo.
pub fn run(args: &Args, cx: &mut Context) -> Result<ExitCode> {
    let name: ProjectName = args.name.parse()?;
    let patience = Patience::begin(PATIENCE, PATIENCE, "no request came");
    let cli = read(&name, &mut std::io::stdin().lock())?;
    drop(patience);
    // It may have come long after whoever asks was let in: what counts is who that is now.
    super::identity::confirm(cx)?;
    super::admit(&cli, cx, &name)?;
    cx.ui.voice = cli.voice();
    cx.wait = cli.wait(cx.config.locks.wait);
    super::dispatch(&cli.command, cx)
}

fn read(name: &ProjectName, input: &mut impl BufRead) -> Result<Cli> {
    let refused = |why: String| {
        Error::usage("bad_request", "the gate can't read this request")
            .caused_by(why)
            .hint(format!("type a command without sudo: `hostkit status {name}`"))
    };
    let mut line = Vec::new();
    input
        .take(LONGEST + 1)
        .read_until(b'\n', &mut line)
        .context(|| "could not read the request".into())?;
    if line.len() as u64 > LONGEST {
        return Err(refused(format!("it has more than {LONGEST} bytes")));
    }
    let request: Request = serde_json::from_slice(&line).map_err(|e| refused(e.to_string()))?;
    let words = match request {
        Request::Argv(words) => words,
        Request::Line(line) => projects::parse_request(&line, name)?,
    };
    if let Some(odd) = words.iter().find(|word| word.chars().any(char::is_control)) {
        return Err(refused(format!(
            "the word `{}` holds a control character",
            odd.escape_debug()
        )));
    }
    parse(name, &words)
}

/// The command, with the project's name put in where it was left out.
pub(super) fn parse(name: &ProjectName, words: &[String]) -> Result<Cli> {
    let argv: Vec<OsString> =
        std::iter::once("hostkit".into()).chain(words.iter().map(OsString::from)).collect();
    let parsed = Cli::try_parse_from(&argv);
    let lacks_a_name = !super::is_named(&parsed)
        || parsed.as_ref().is_ok_and(|cli| cli.command.subject().1 != Some(name.as_str()))
            && super::names_a_process(&parsed)
        || parsed.as_ref().is_ok_and(|cli| cli.command.subject().1.is_none());
    let named = if lacks_a_name { super::with_name(&argv, name) } else { None };
    let cli = named.map_or(parsed, Ok).map_err(|error| super::usage_error(&error))?;
    if matches!(cli.command, super::Command::Gate(_)) {
        return Err(Error::new(Kind::Usage, "bad_request", "the gate leads nowhere but in"));
    }
    Ok(cli)
}

/// As the project's user: hands a command to the root half, and its end back.
pub fn forward(name: &ProjectName, argv: Vec<String>) -> Result<ExitCode> {
    send(name, &Request::Argv(exec::with_terminal(argv)))
}

/// As the project's user, called by sshd: hands on what the other side asked for.
pub fn forward_ssh(name: &ProjectName, args: &Args) -> Result<ExitCode> {
    if args.name != name.as_str() {
        return Err(Error::new(
            Kind::Forbidden,
            "forbidden",
            "this is the gate of another project",
        ));
    }
    let line = std::env::var("SSH_ORIGINAL_COMMAND").map_err(|_| {
        Error::usage("bad_request", "this key opens the gate, and no shell")
            .hint(format!("name a command: `ssh {name}@HOST hostkit status`"))
    })?;
    let verbs: Vec<String> = args.verbs.iter().map(|verb| verb.replace('+', " ")).collect();
    if push::is_asked(&line) {
        return push::receive(name, &line, &verbs);
    }
    let cli = parse(name, &projects::parse_request(&line, name)?)?;
    let (command, _) = cli.command.subject();
    if !verbs.is_empty() && !verbs.iter().any(|verb| verb == command) {
        let message = format!("this key may not ask for `hostkit {command}`");
        return Err(Error::new(Kind::Forbidden, "forbidden", message)
            .caused_by(format!("it may ask for {}", verbs.join(", "))));
    }
    send(name, &Request::Line(line))
}

fn send(name: &ProjectName, request: &Request) -> Result<ExitCode> {
    let stdin = std::io::stdin();
    let is_input = has_terminal(request) || !std::io::IsTerminal::is_terminal(&stdin);
    ask(name, request, is_input.then_some(stdin), Stdio::inherit()).map(ExitCode::from)
}

fn has_terminal(request: &Request) -> bool {
    matches!(request, Request::Argv(words) if exec::has_terminal(words))
}

/// A deploy of what was pushed. Its result is no part of what git says to git: it goes where a
/// person reads it.
pub(super) fn send_pushed(
    name: &ProjectName,
    line: String,
    tree: impl Read + Send + 'static,
) -> Result<u8> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.context(|| "could not reach the gate".into())?;
    ask(name, &Request::Line(line), Some(tree), stderr.into())
}

fn ask(
    name: &ProjectName,
    request: &Request,
    more: Option<impl Read + Send + 'static>,
    stdout: Stdio,
) -> Result<u8> {
    let failed = || "could not reach the gate".to_owned();
    let mut head = serde_json::to_vec(request).map_err(|e| Error::failed(failed()).caused_by(e))?;
    head.push(b'\n');
    #[expect(clippy::disallowed_methods, reason = "runs as the caller, with the caller's terminal")]
    let mut child = std::process::Command::new("/usr/bin/sudo")
        .args(["-n", "/usr/bin/hostkit", "gate", name.as_str()])
        .stdin(Stdio::piped())
        .stdout(stdout)
        .spawn()
        .context(failed)?;
    let terminal = has_terminal(request);
    // The caller's terminal must be put right again, whatever ends us.
    let _changing = terminal.then(Changing::begin);
    let raw = if terminal { Raw::begin() } else { None };
    if let Some(mut pipe) = child.stdin.take() {
        // It may end before our input does, or have heard enough: that is its right.
        std::thread::spawn(move || {
            let _ = pipe.write_all(&head);
            if let Some(more) = more {
                let _ = copy(more, &mut pipe);
            }
        });
    }
    let status = child.wait().context(failed)?;
    drop(raw);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Hands our input on piece by piece: a key that is pressed is wanted now.
fn copy(mut from: impl Read, pipe: &mut impl Write) -> std::io::Result<()> {
    let mut part = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut part)?;
        if n == 0 {
            return Ok(());
        }
        pipe.write_all(&part[..n])?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Result<Cli> {
        read(&"my-shop".parse().unwrap(), &mut text.as_bytes())
    }

    #[test]
    fn a_command_without_a_name_gets_this_projects() {
        for text in [
            r#"{"argv":["status"]}"#,
            r#"{"line":"hostkit status"}"#,
            r#"{"argv":["project","info"]}"#,
        ] {
            assert_eq!(request(text).unwrap().command.subject().1, Some("my-shop"), "{text}");
        }
        let other = request(r#"{"argv":["status","wiki"]}"#).unwrap();
        assert_eq!(other.command.subject().1, Some("wiki"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "",
            "status",
            "{}",
            r#"{"argv":"status"}"#,
            r#"{"argv":["status"],"as":"root"}"#,
            r#"{"argv":["sta\u0000tus"]}"#,
            r#"{"argv":["gate","my-shop"]}"#,
            r#"{"line":"status; id"}"#,
            r#"{"argv":["no-such-verb"]}"#,
        ] {
            assert!(request(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"argv":["{}"]}}"#, "x".repeat(70_000));
        assert!(request(&long).is_err());
    }

    proptest! {
        #[test]
        fn no_request_panics(text in "\\PC{0,100}|[{}\\[\\]\":,a-z-]{0,80}") {
            let _ = request(&text);
        }
    }
}

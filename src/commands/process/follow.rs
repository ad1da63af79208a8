//! What processes said: the end of their logs, and what comes next.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;

use super::Context;
use crate::{
    error::{Error, Result},
    names::ProjectName,
    release::{Kind, Process},
    sys::{relay, signals},
};

/// The most that is read of the end of a log.
const END: u64 = 4 << 20;

/// Which lines to show.
#[derive(Debug, clap::Args)]
pub struct Lines {
    /// How many lines of the end to show
    #[arg(short = 'n', long, default_value_t = 50, value_name = "COUNT")]
    lines: usize,

    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

#[derive(Serialize)]
struct Line {
    process: String,
    line: String,
}

/// A process's logs, by the name of each stream.
pub fn paths(name: &ProjectName, process: &Process) -> Vec<(&'static str, PathBuf)> {
    let dir = name.logs();
    match process.kind {
        Kind::Web => vec![("out", dir.join("app.log")), ("err", dir.join("error.log"))],
        _ => vec![("", dir.join(format!("{}.log", process.name)))],
    }
}

/// One log, from where it was read to.
struct Log {
    label: String,
    path: PathBuf,
    at: u64,
    rest: Vec<u8>,
}

pub fn run(
    cx: &Context,
    command: &str,
    name: &ProjectName,
    processes: &[Process],
    how: &Lines,
) -> Result<()> {
    let mut found = Vec::new();
    for process in processes {
        for (stream, path) in paths(name, process) {
            let label = match stream {
                "" => process.name.clone(),
                stream => format!("{} {stream}", process.name),
            };
            found.push((label, path));
        }
    }
    files(cx, command, name, found, how)
}

/// As [`run`], of files that are known.
pub fn files(
    cx: &Context,
    command: &str,
    name: &ProjectName,
    files: Vec<(String, PathBuf)>,
    how: &Lines,
) -> Result<()> {
    if how.follow && cx.ui.voice.json {
        return Err(Error::usage("no_json", "what comes later is no JSON document")
            .hint("leave `--follow` or `--json` out"));
    }
    let log = |(label, path)| Log { label, path, at: 0, rest: Vec::new() };
    let mut logs: Vec<Log> = files.into_iter().map(log).collect();
    let mut shown: Vec<Line> = Vec::new();
    let mut text = String::new();
    let several = logs.len() > 1;
    for log in &mut logs {
        let mut lines = log.read(END)?;
        let surplus = lines.len().saturating_sub(how.lines);
        lines.drain(..surplus);
        for line in lines {
            text.push_str(&told(log, &line, several));
            shown.push(Line { process: log.label.clone(), line });
        }
    }
    if !how.follow {
        cx.ui.result(command, Some(name.as_str()), &shown, &text);
        return Ok(());
    }
    follow(&mut logs, text, several)
}

fn told(log: &Log, line: &str, several: bool) -> String {
    if several { format!("{:<10} | {line}\n", log.label) } else { format!("{line}\n") }
}

/// Until nobody listens any more: each way to end it is a good one.
fn follow(logs: &mut [Log], mut text: String, several: bool) -> Result<()> {
    let mut out = std::io::stdout();
    loop {
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        text.clear();
        if signals::check().is_err() || !relay::is_heard() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
        for log in &mut *logs {
            for line in log.read(END)? {
                text.push_str(&told(log, &line, several));
            }
        }
    }
}

/// What a process says from now on.
pub struct Tail(Vec<Log>);

impl Tail {
    pub fn new(name: &ProjectName, process: &Process) -> Self {
        let log = |(_, path): (&str, PathBuf)| {
            let at = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            Log { label: String::new(), path, at, rest: Vec::new() }
        };
        Self(paths(name, process).into_iter().map(log).collect())
    }

    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for log in &mut self.0 {
            lines.extend(log.read(END)?);
        }
        Ok(lines)
    }
}

impl Log {
    /// Whole lines that came since, at most so many bytes of them.
    fn read(&mut self, most: u64) -> Result<Vec<String>> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            let end = file.metadata()?.len();
            // A log that was emptied or begun anew is read from its start.
            if end < self.at {
                self.at = 0;
                self.rest.clear();
            }
            let from = self.at.max(end.saturating_sub(most));
            file.seek(SeekFrom::Start(from))?;
            self.at = from;
            file.take(most).read_to_end(&mut bytes)
        });
        self.at += match read {
            Ok(n) => n as u64,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                return Err(
                    Error::failed(format!("could not read `{}`", self.path.display())).caused_by(e)
                );
            }
        };
        self.rest.extend(bytes);
        if self.rest.len() > LONGEST_LINE && !self.rest.contains(&b'\n') {
            self.rest.push(b'\n');
        }
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(plain).collect())
    }
}

/// What has no end by then is a line all the same.
const LONGEST_LINE: usize = 1 << 20;

/// A line without what could move a terminal's cursor: a stranger wrote it.
fn plain(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

//! One line in a file of hostkit's that projects share, marked at its end with whose it is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{Host, Owner, lock},
};

/// Lines go before the one that ends the block; everybody else's stay as they are, so an undo
/// that comes late takes nobody's line but its own.
#[derive(Debug, Deserialize, Serialize)]
pub struct Entry {
    pub path: PathBuf,
    pub whose: String,
    pub line: String,
}

const END: &str = "}";

impl Entry {
    fn mark(&self) -> String {
        format!(" # {}", self.whose)
    }

    fn full(&self) -> String {
        format!("    {}{}", self.line, self.mark())
    }

    fn read(&self, host: &Host) -> Result<String> {
        host.read_text(&self.path)?.ok_or_else(|| {
            Error::not_ready("not_initialised", format!("`{}` is missing", self.path.display()))
                .hint("put it back: `hostkit init`")
        })
    }

    fn own<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mark = self.mark();
        text.lines().filter(|line| line.ends_with(&mark)).collect()
    }

    /// Puts this line, or none, in the place of what is ours.
    fn put(&self, host: &Host, line: Option<&str>) -> Result<()> {
        let _shared = lock::take_shared()?;
        let Some(text) = host.read_text(&self.path)? else {
            return if line.is_none() { Ok(()) } else { self.read(host).map(|_| ()) };
        };
        let mark = self.mark();
        let (mut entries, mut lines): (Vec<&str>, Vec<&str>) =
            text.lines().filter(|l| !l.ends_with(&mark)).partition(|l| whose(l).is_some());
        entries.extend(line);
        // In an order of their own, so that it does not matter who came first.
        entries.sort_by_key(|line| whose(line));
        let end = lines.iter().position(|l| l.trim() == END).unwrap_or(lines.len());
        lines.splice(end..end, entries);
        let mut new = lines.join("\n");
        new.push('\n');
        if new == text {
            return host.sweep(&self.path);
        }
        host.write(&self.path, new.as_bytes(), Owner::ROOT, 0o644)
    }
}

/// Whose entry a line is, if it is one.
fn whose(line: &str) -> Option<&str> {
    let (entry, name) = line.strip_prefix("    ")?.rsplit_once(" # ")?;
    (entry.ends_with(';') && !name.contains(' ')).then_some(name)
}

impl Step for Entry {
    fn title(&self) -> String {
        format!("entry in {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let text = self.read(host)?;
        Ok(match self.own(&text)[..] {
            [] => Check::absent(),
            [line] if line == self.full() => Check::InPlace,
            [line, ..] => Check::Missing {
                before: Before::Line(line.to_owned()),
                differs: "another line".into(),
            },
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.put(host, Some(&self.full()))
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.put(host, None),
            Before::Line(line) => self.put(host, Some(line)),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.put(host, None)
    }

    fn diff(&self, host: &Host) -> Result<Option<(String, String)>> {
        let is = self.own(&self.read(host)?).iter().map(|line| format!("{line}\n")).collect();
        Ok(Some((is, format!("{}\n", self.full()))))
    }
}

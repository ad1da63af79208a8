//! A few lines of ours in a file of the owner's, between marks. The rest stays the owner's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step};
use crate::{
    error::{Error, Result},
    sys::Host,
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Block {
    pub path: PathBuf,
    pub place: Place,
    pub text: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Place {
    /// Where the first rule that fits wins.
    Top,
    /// Where the last setting wins.
    Bottom,
}

const BEGIN: &str =
    "# hostkit: begin (put here by `hostkit init`, taken out by `hostkit init --undo`)\n";
const END: &str = "# hostkit: end\n";

impl Block {
    fn read(&self, host: &Host) -> Result<String> {
        host.read_text(&self.path)?.ok_or_else(|| {
            Error::not_ready("file_missing", format!("`{}` is missing", self.path.display()))
                .hint("reinstall the package that it belongs to")
        })
    }

    fn with(&self, text: &str) -> String {
        let Self { path: _, place, text: ours } = self;
        let rest = without(text);
        let block = format!("{BEGIN}{ours}{END}");
        match place {
            Place::Top => format!("{block}{rest}"),
            Place::Bottom if rest.is_empty() || rest.ends_with('\n') => format!("{rest}{block}"),
            Place::Bottom => format!("{rest}\n{block}"),
        }
    }

    fn write(&self, host: &Host, text: &str) -> Result<()> {
        let Some(meta) = host.meta(&self.path)? else { return Ok(()) };
        host.write(&self.path, text.as_bytes(), meta.owner, meta.mode)
    }
}

/// The owner's part.
fn without(text: &str) -> String {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{}", &text[..begin], &text[end + END.len()..])
        }
        _ => text.to_owned(),
    }
}

impl Step for Block {
    fn title(&self) -> String {
        format!("lines in {}", self.path.display())
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let text = self.read(host)?;
        if text == self.with(&text) {
            return Ok(Check::InPlace);
        }
        let Some(meta) = host.meta(&self.path)? else { return Ok(Check::absent()) };
        let differs = if text.contains(BEGIN) {
            "hostkit's lines changed"
        } else {
            "hostkit's lines missing"
        };
        Ok(Check::Missing {
            before: Before::File { meta, kept: Kept::new(text) },
            differs: differs.into(),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let text = self.read(host)?;
        self.write(host, &self.with(&text))
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let Before::File { kept, .. } = before else { return Err(before.foreign()) };
        let Some(is) = host.read_text(&self.path)? else { return Ok(()) };
        let old = kept.text(host)?;
        if is == old {
            return host.sweep(&self.path);
        }
        // To the byte where nobody else has edited the file since, else around their edits.
        let untouched = is == self.with(&old);
        self.write(host, &if untouched { old } else { without(&is) })
    }

    fn remove(&self, host: &Host) -> Result<()> {
        match host.read_text(&self.path)? {
            Some(text) if text.contains(BEGIN) => self.write(host, &without(&text)),
            _ => Ok(()),
        }
    }

    fn diff(&self, host: &Host) -> Result<Option<(String, String)>> {
        let text = self.read(host)?;
        let new = self.with(&text);
        Ok(Some((text, new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Faults, Owner};

    #[test]
    fn the_owners_part_stays_to_the_byte() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let me = Owner::new(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        for place in [Place::Top, Place::Bottom] {
            for text in ["", "a\nb\n", "no newline at the end"] {
                let block = Block { path: "/x".into(), place, text: "ours\n".into() };
                host.write(&block.path, text.as_bytes(), me, 0o640).unwrap();
                let Check::Missing { before, .. } = block.check(&host).unwrap() else { panic!() };
                block.apply(&host).unwrap();
                assert!(matches!(block.check(&host).unwrap(), Check::InPlace));
                block.undo(&host, &before).unwrap();
                assert_eq!(host.read_text(&block.path).unwrap().unwrap(), text);
                block.undo(&host, &before).unwrap();
                assert_eq!(host.read_text(&block.path).unwrap().unwrap(), text);
            }
        }
    }

    #[test]
    fn an_edit_of_the_owners_survives_the_undo() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let me = Owner::new(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let block = Block { path: "/x".into(), place: Place::Top, text: "ours\n".into() };
        host.write(&block.path, b"a\n", me, 0o640).unwrap();
        let Check::Missing { before, .. } = block.check(&host).unwrap() else { panic!() };
        block.apply(&host).unwrap();
        let edited = host.read_text(&block.path).unwrap().unwrap() + "b\n";
        host.write(&block.path, edited.as_bytes(), me, 0o640).unwrap();
        block.undo(&host, &before).unwrap();
        assert_eq!(host.read_text(&block.path).unwrap().unwrap(), "a\nb\n");
    }
}

//! A server's state as lines of text, so that two of them can be compared.

use std::{collections::BTreeSet, fmt};

use super::Vps;

#[derive(Clone, Eq, PartialEq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

const LOOK: &str = include_str!("look.py");

impl Snapshot {
    pub(super) fn take(vps: &Vps) -> Self {
        let text = vps.run(&["python3", "-"], LOOK.as_bytes()).succeeds();
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// Fails with the lines that differ.
    pub fn assert_same(&self, other: &Self, when: &str) {
        assert!(self == other, "{when}:\n{}", self.difference(other));
    }

    pub fn difference(&self, other: &Self) -> String {
        let gone = self.lines.difference(&other.lines).map(|line| format!("- {line}\n"));
        let new = other.lines.difference(&self.lines).map(|line| format!("+ {line}\n"));
        gone.chain(new).take(60).collect()
    }

    /// Without the lines of one kind.
    pub fn without(&self, kind: &str) -> Self {
        let lines = self.lines.iter().filter(|line| !line.starts_with(kind)).cloned().collect();
        Self { lines }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.lines.len())
    }
}

//! What was begun, and how to take it back: on the disk before the host changes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    names::ProjectName,
    registry::{Change, Outcome, Registry, StoredStep},
    steps::{AnyStep, Before, Trigger},
    sys::{Host, Owner},
};

/// Where replaced files are kept, a directory an operation. Root alone may look.
pub const KEPT: &str = "/var/lib/hostkit/kept";

/// One operation's part of the journal.
pub struct Journal<'a> {
    registry: &'a mut Registry,
    operation: i64,
    next: i64,
}

/// A step as it is written down, and as it is read back by whoever has to undo it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Entry<S> {
    pub step: S,
    pub notify: Vec<Trigger>,
}

/// A step that was begun.
pub struct Begun {
    pub entry: Entry<AnyStep>,
    pub before: Before,
}

impl<'a> Journal<'a> {
    pub fn new(registry: &'a mut Registry, operation: i64) -> Self {
        Self { registry, operation, next: 0 }
    }

    /// Writes down what is about to be changed and what stands there, all of it or nothing.
    pub fn begin<'s>(
        &mut self,
        host: &Host,
        steps: impl IntoIterator<Item = (&'s AnyStep, &'s [Trigger], &'s mut Before)>,
    ) -> Result<()> {
        let mut stored = Vec::new();
        for (step, notify, before) in steps {
            let seq = self.next;
            before.keep(|bytes| keep(host, self.operation, seq, bytes))?;
            stored.push(self.stored(step, notify, before)?);
        }
        host.journaling("write the journal", || self.registry.add_steps(self.operation, &stored))
    }

    /// Writes down what is about to be taken away for good; there is no way back from here.
    pub fn begin_removal<'s>(
        &mut self,
        host: &Host,
        project: &ProjectName,
        steps: impl IntoIterator<Item = (&'s AnyStep, &'s [Trigger])>,
    ) -> Result<()> {
        let stored = steps
            .into_iter()
            .map(|(step, notify)| self.stored(step, notify, &Before::Absent))
            .collect::<Result<Vec<_>>>()?;
        host.journaling("write the journal", || {
            self.registry.cross_over(self.operation, project, &stored)
        })
    }

    fn stored(
        &mut self,
        step: &AnyStep,
        notify: &[Trigger],
        before: &Before,
    ) -> Result<StoredStep> {
        let seq = self.next;
        self.next += 1;
        let entry = Entry { step, notify: notify.to_vec() };
        Ok(StoredStep { seq, step: text(&entry)?, before: text(before)? })
    }

    /// Closes the operation, together with the rows that it changed.
    pub fn close(
        self,
        host: &Host,
        outcome: Outcome,
        detail: Option<&str>,
        changes: &[Change],
    ) -> Result<()> {
        host.journaling("close the journal", || {
            self.registry.close(self.operation, outcome, detail, changes)
        })
    }
}

/// What an operation had begun, the first step first.
pub fn read(registry: &Registry, operation: i64) -> Result<Vec<Begun>> {
    let damaged = |e: serde_json::Error| {
        Error::failed("could not read the journal")
            .caused_by(e)
            .hint("it may have been written by a newer hostkit: install that one")
    };
    registry
        .steps(operation)?
        .into_iter()
        .map(|stored| {
            let entry = serde_json::from_str(&stored.step).map_err(damaged)?;
            let before = serde_json::from_str(&stored.before).map_err(damaged)?;
            Ok(Begun { entry, before })
        })
        .collect()
}

/// Lets go of what was kept for operations that will never be undone: all but those named.
pub fn forget(host: &Host, still_needed: &[i64]) -> Result<()> {
    for name in host.list(Path::new(KEPT))? {
        let needed = name
            .to_str()
            .and_then(|n| n.parse().ok())
            .is_some_and(|n: i64| still_needed.contains(&n));
        if !needed {
            host.remove_tree(&Path::new(KEPT).join(name))?;
        }
    }
    Ok(())
}

fn keep(host: &Host, operation: i64, seq: i64, bytes: &[u8]) -> Result<PathBuf> {
    let dir = Path::new(KEPT).join(operation.to_string());
    if host.meta(Path::new(KEPT))?.is_none() {
        host.make_dir(Path::new(KEPT), Owner::ROOT, 0o700)?;
    }
    if host.meta(&dir)?.is_none() {
        host.make_dir(&dir, Owner::ROOT, 0o700)?;
    }
    let path = dir.join(seq.to_string());
    host.write(&path, bytes, Owner::ROOT, 0o600)?;
    Ok(path)
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::failed("could not write the journal").caused_by(e))
}

//! After a crash: whatever was begun and not ended is undone, or finished where it can't be.

use super::{
    Listener, Progress,
    apply::{fire_again, stuck},
    once, removal,
};
use crate::{
    error::{Error, Result},
    journal::{self, Begun, Journal},
    registry::{Change, Operation, Outcome, Registry, Way},
    steps::{AnyStep, Step},
    sys::Host,
};

/// Ends an open operation whose process is gone. The caller holds the lock that it held.
pub fn recover(
    host: &Host,
    registry: &mut Registry,
    operation: &Operation,
    listener: Listener<'_>,
) -> Result<()> {
    let begun = journal::read(registry, operation.id)?;
    let detail = format!("interrupted (pid {})", operation.pid);
    let talks = |b: &Begun| {
        use AnyStep::{Database, Handover, Restored, Role};
        matches!(b.entry.step, Database(_) | Handover(_) | Restored(_) | Role(_))
    };
    if begun.iter().any(talks) {
        host.end_sessions_of(operation.pid)?;
    }
    match operation.way {
        Way::Undo => {
            listener(Progress::Undoing);
            take_back(host, &begun)?;
            let journal = Journal::new(registry, operation.id);
            journal.close(host, Outcome::Undone, Some(&detail), &[])
        }
        Way::Finish => {
            let steps: Vec<_> =
                begun.iter().map(|b| (&b.entry.step, b.entry.notify.as_slice())).collect();
            removal::carry_on(&steps, host, listener)?;
            let gone: Vec<Change> = operation.project.iter().cloned().map(Change::Remove).collect();
            let journal = Journal::new(registry, operation.id);
            journal.close(host, Outcome::Done, Some(&detail), &gone)
        }
    }
}

/// Undoes what is written down, last first, and lets the server take notice.
pub fn take_back(host: &Host, begun: &[Begun]) -> Result<()> {
    let mut failures = Vec::new();
    for Begun { entry, before } in begun.iter().rev() {
        if let Err(e) = entry.step.undo(host, before) {
            failures.push(format!("{}: {e}", entry.step.title()));
        }
    }
    let triggers = once(begun.iter().flat_map(|b| &b.entry.notify));
    failures.extend(fire_again(host, &triggers));
    if failures.is_empty() {
        return Ok(());
    }
    Err(stuck(&Error::failed("an earlier command was interrupted"), &failures))
}

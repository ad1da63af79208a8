//! Takes away what a plan would make: access first, then everything, and never back.

use super::{Listener, Plan, Planned, Progress, apply::fire_again, once};
use crate::{
    error::{Error, Result},
    journal::Journal,
    names::ProjectName,
    steps::{AnyStep, Step, Trigger},
    sys::Host,
};

/// Removes what the plan's steps describe. On an error the operation stays open: the next run,
/// or the recovery, goes on with it.
pub fn remove(
    plan: &Plan,
    project: &ProjectName,
    host: &Host,
    journal: &mut Journal<'_>,
    listener: Listener<'_>,
) -> Result<()> {
    let steps: Vec<(&AnyStep, &[Trigger])> =
        plan.steps.iter().map(|Planned { step, notify, .. }| (step, notify.as_slice())).collect();
    journal.begin_removal(host, project, steps.iter().copied())?;
    carry_on(&steps, host, listener)
}

/// All that is left to take away; what is gone already is passed over.
pub(super) fn carry_on(
    steps: &[(&AnyStep, &[Trigger])],
    host: &Host,
    listener: Listener<'_>,
) -> Result<()> {
    for (step, _) in steps {
        step.revoke(host)?;
    }
    let mut failures = Vec::new();
    for (step, _) in steps.iter().rev() {
        listener(Progress::Removing { what: step.title() });
        if let Err(error) = step.remove(host) {
            failures.push(error);
        }
    }
    let triggers = once(steps.iter().flat_map(|(_, notify)| *notify));
    let told = fire_again(host, &triggers);
    if let Some(first) = failures.into_iter().next() {
        return Err(first);
    }
    match told.first() {
        None => Ok(()),
        Some(told) => Err(Error::failed("could not make the server take notice").caused_by(told)),
    }
}

//! Carries a plan out, or leaves the host as it was.

mod apply;
mod preview;
mod recover;
mod removal;

use std::time::Duration;

pub use preview::{Difference, Sign, differences};
pub use recover::{recover, take_back};
pub use removal::remove;

use crate::steps::{AnyStep, Trigger};

/// What is wanted of the host: steps, in parts that a person thinks of as one.
pub struct Plan {
    pub parts: Vec<Part>,
    pub steps: Vec<Planned>,
    pub ground: Ground,
}

/// What may stand where the steps go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ground {
    /// Nothing: what is there already belongs to somebody else.
    Fresh,
    /// Whatever there is; what is in place stays and what differs is changed.
    Known,
}

/// A line on the screen.
#[derive(Clone, Debug)]
pub struct Part {
    pub title: String,
    pub detail: String,
}

pub struct Planned {
    pub step: AnyStep,
    /// Steps of one lane follow each other; lanes run side by side.
    pub lane: Lane,
    /// Index of its part.
    pub part: usize,
    pub notify: Vec<Trigger>,
}

/// What a step works with. One thing at a time for each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    Accounts,
    Files,
    Kernel,
    Mysql,
    Postgres,
    Redis,
    Site,
    Storage,
}

/// What the engine tells while it works. It never waits for whoever listens.
#[derive(Clone, Debug)]
pub enum Progress {
    Started {
        part: usize,
    },
    Done {
        part: usize,
        took: Duration,
    },
    Failed {
        part: usize,
    },
    /// A line of what a program says that takes its time.
    Said {
        line: String,
    },
    Settling {
        what: String,
    },
    Undoing,
    Removing {
        what: String,
    },
}

pub type Listener<'a> = &'a (dyn Fn(Progress) + Sync);

impl Plan {
    pub fn new(ground: Ground) -> Self {
        Self { parts: Vec::new(), steps: Vec::new(), ground }
    }

    /// Begins a part: the steps that follow belong to it.
    pub fn part(&mut self, title: impl Into<String>, detail: impl Into<String>) -> &mut Self {
        self.parts.push(Part { title: title.into(), detail: detail.into() });
        self
    }

    pub fn step(&mut self, lane: Lane, step: impl Into<AnyStep>) -> &mut Self {
        self.notifying(lane, step, Vec::new())
    }

    /// A step after whose change something has to happen.
    pub fn notifying(
        &mut self,
        lane: Lane,
        step: impl Into<AnyStep>,
        notify: impl Into<Vec<Trigger>>,
    ) -> &mut Self {
        let part = self.parts.len().saturating_sub(1);
        self.steps.push(Planned { step: step.into(), lane, part, notify: notify.into() });
        self
    }
}

/// Triggers each once, in the order of their ranks and then as they were asked for.
fn once<'a>(triggers: impl IntoIterator<Item = &'a Trigger>) -> Vec<&'a Trigger> {
    let mut seen: Vec<&Trigger> = Vec::new();
    for trigger in triggers {
        if !seen.contains(&trigger) {
            seen.push(trigger);
        }
    }
    seen.sort_by_key(|trigger| trigger.rank());
    seen
}

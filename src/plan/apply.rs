//! Look, write down, change; at the first failure take back, last first, what was changed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{Ground, Lane, Listener, Plan, Progress, once};
use crate::{
    error::{Error, Kind, Result},
    journal::Journal,
    steps::{Before, Check, Contents, Step, Trigger},
    sys::{Host, signals},
};

/// A step that has to be applied, and what stands where it goes.
pub(super) struct Pending {
    pub(super) index: usize,
    pub(super) before: Before,
    pub(super) differs: String,
}

/// What became of a plan.
pub struct Applied {
    /// How many steps were not in place.
    pub changed: usize,
}

impl Plan {
    /// Makes the host what the plan says, or leaves it as it was.
    ///
    /// The caller closes the journal: with the rows that changed if this went well, as undone if
    /// the error says so, and not at all if it is [`Kind::Stuck`].
    pub fn apply(
        &self,
        host: &Host,
        journal: &mut Journal<'_>,
        listener: Listener<'_>,
    ) -> Result<Applied> {
        let mut pending = self.look(host)?;
        if self.ground == Ground::Fresh {
            self.refuse_occupied(&pending)?;
        }
        signals::check()?;
        if pending.is_empty() {
            return Ok(Applied { changed: 0 });
        }
        journal.begin(
            host,
            pending.iter_mut().map(|p| {
                let planned = &self.steps[p.index];
                (&planned.step, planned.notify.as_slice(), &mut p.before)
            }),
        )?;
        let begun = Mutex::new(Vec::new());
        let early = Early::new(self, &pending);
        let result = self.change(host, &pending, &begun, &early, listener).and_then(|()| {
            let mut triggers = once(pending.iter().flat_map(|p| &self.steps[p.index].notify));
            triggers.retain(|trigger| !early.knows(trigger));
            settle(host, &triggers, listener)
        });
        match result {
            Ok(()) => Ok(Applied { changed: pending.len() }),
            Err(error) => {
                let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
                Err(self.roll_back(host, &pending, &begun, error, listener))
            }
        }
    }

    /// Every step's look at the host; only what is not in place comes back.
    pub(super) fn look(&self, host: &Host) -> Result<Vec<Pending>> {
        let checked: Vec<Result<(usize, Check)>> = self.side_by_side(|indices| {
            indices.iter().map(|i| Ok((*i, self.steps[*i].step.check(host)?))).collect()
        });
        let mut pending = Vec::new();
        for result in checked {
            if let (index, Check::Missing { before, differs }) = result? {
                pending.push(Pending { index, before, differs });
            }
        }
        pending.sort_by_key(|p| p.index);
        Ok(pending)
    }

    fn refuse_occupied(&self, pending: &[Pending]) -> Result<()> {
        let absent =
            |i: usize| pending.iter().any(|p| p.index == i && matches!(p.before, Before::Absent));
        let nothing_to_do = |i: usize| {
            use crate::steps::AnyStep::{Dir, Leftovers, Running, Service};
            match &self.steps[i].step {
                // Several projects share it.
                Dir(dir) => dir.contents == Contents::Stays,
                step => matches!(step, Leftovers(_) | Running(_) | Service(_)),
            }
        };
        match (0..self.steps.len()).find(|i| !absent(*i) && !nothing_to_do(*i)) {
            None => Ok(()),
            Some(i) => {
                let title = self.steps[i].step.title();
                Err(Error::conflict("in_the_way", format!("{title}: something is there already"))
                    .caused_by("hostkit did not make it, so it does not touch it")
                    .hint("move it away, or choose another name for the project"))
            }
        }
    }

    /// Applies what is pending, lane by lane at the same time.
    fn change(
        &self,
        host: &Host,
        pending: &[Pending],
        begun: &Mutex<Vec<usize>>,
        early: &Early<'_>,
        listener: Listener<'_>,
    ) -> Result<()> {
        let parts = Parts::new(self, pending, listener);
        let failed = AtomicBool::new(false);
        let results: Vec<Result<()>> = self.side_by_side(|indices| {
            let mine = pending.iter().enumerate().filter(|(_, p)| indices.contains(&p.index));
            for (nth, p) in mine {
                if failed.load(Ordering::SeqCst) {
                    break;
                }
                let part = self.steps[p.index].part;
                parts.start(part);
                begun.lock().unwrap_or_else(PoisonError::into_inner).push(nth);
                let planned = &self.steps[p.index];
                let applied = signals::check()
                    .and_then(|()| planned.step.apply(host))
                    .and_then(|()| early.after(&planned.notify, host));
                if let Err(error) = applied {
                    failed.store(true, Ordering::SeqCst);
                    parts.fail(part);
                    return vec![Err(error)];
                }
                parts.finish(part);
            }
            vec![Ok(())]
        });
        results.into_iter().collect()
    }

    /// Runs `work` for the steps of each lane, each lane in a thread of its own.
    fn side_by_side<T: Send>(&self, work: impl Fn(&[usize]) -> Vec<T> + Sync) -> Vec<T> {
        let mut lanes: BTreeMap<Lane, Vec<usize>> = BTreeMap::new();
        for (i, planned) in self.steps.iter().enumerate() {
            lanes.entry(planned.lane).or_default().push(i);
        }
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                lanes.into_values().map(|indices| scope.spawn(move || work(&indices))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }

    /// Takes back what was begun. The error that caused it comes back, or one that says more.
    fn roll_back(
        &self,
        host: &Host,
        pending: &[Pending],
        begun: &[usize],
        error: Error,
        listener: Listener<'_>,
    ) -> Error {
        listener(Progress::Undoing);
        let mut failures = Vec::new();
        for nth in begun.iter().rev() {
            let Pending { index, before, .. } = &pending[*nth];
            let step = &self.steps[*index].step;
            if let Err(e) = step.undo(host, before) {
                failures.push(format!("{}: {e}", step.title()));
            }
        }
        let triggers = once(begun.iter().flat_map(|nth| &self.steps[pending[*nth].index].notify));
        failures.extend(fire_again(host, &triggers));
        if failures.is_empty() { error } else { stuck(&error, &failures) }
    }
}

fn settle(host: &Host, triggers: &[&Trigger], listener: Listener<'_>) -> Result<()> {
    for trigger in triggers {
        signals::check()?;
        listener(Progress::Settling { what: trigger.title() });
        trigger.fire(host)?;
    }
    Ok(())
}

/// Fires after an undo: what can't be fired is told, and the others are fired all the same.
pub(super) fn fire_again(host: &Host, triggers: &[&Trigger]) -> Vec<String> {
    let failed = |trigger: &&Trigger| {
        let error = trigger.fire_again(host).err()?;
        Some(format!("{}: {error}", trigger.title()))
    };
    triggers.iter().filter_map(failed).collect()
}

/// Neither done nor undone: what is left is in the journal, and the next command goes on with it.
pub(super) fn stuck(error: &Error, failures: &[String]) -> Error {
    let cause = format!("{error}; then could not undo {}", failures.join("; "));
    Error::new(Kind::Stuck, "stuck", "something went wrong, and not all of it could be undone")
        .caused_by(cause)
        .hint("mend that, then run `hostkit recover`: the rest is in the journal")
}

/// Triggers that need not wait for the whole plan: only for the steps that ask for them.
struct Early<'a> {
    left: Mutex<Vec<(&'a Trigger, usize)>>,
}

impl<'a> Early<'a> {
    fn new(plan: &'a Plan, pending: &[Pending]) -> Self {
        let asked: Vec<&Trigger> =
            pending.iter().flat_map(|p| &plan.steps[p.index].notify).collect();
        let early = |trigger: &&&Trigger| plan.ground == Ground::Fresh && trigger.is_early();
        let left = once(asked.iter().filter(early).copied())
            .into_iter()
            .map(|trigger| (trigger, asked.iter().filter(|t| **t == trigger).count()))
            .collect();
        Self { left: Mutex::new(left) }
    }

    fn knows(&self, trigger: &Trigger) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().any(|(known, _)| *known == trigger)
    }

    /// A step that asks for these is applied: fires what was waiting for it alone.
    fn after(&self, asked: &[Trigger], host: &Host) -> Result<()> {
        for trigger in asked {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, count)) = left.iter_mut().find(|(known, _)| *known == trigger) else {
                continue;
            };
            *count -= 1;
            let is_last = *count == 0;
            drop(left);
            if is_last {
                trigger.fire(host)?;
            }
        }
        Ok(())
    }
}

/// Which parts have begun, and how many of their steps are left.
struct Parts<'a> {
    left: Mutex<BTreeMap<usize, (usize, Option<Instant>)>>,
    listener: Listener<'a>,
}

impl<'a> Parts<'a> {
    fn new(plan: &Plan, pending: &[Pending], listener: Listener<'a>) -> Self {
        let mut left = BTreeMap::new();
        for p in pending {
            left.entry(plan.steps[p.index].part).or_insert((0, None)).0 += 1;
        }
        Self { left: Mutex::new(left), listener }
    }

    fn start(&self, part: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, start @ None)) = left.get_mut(&part) {
            *start = Some(Instant::now());
            (self.listener)(Progress::Started { part });
        }
    }

    fn finish(&self, part: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, Some(start))) = left.get_mut(&part) {
            *count -= 1;
            if *count == 0 {
                (self.listener)(Progress::Done { part, took: start.elapsed() });
            }
        }
    }

    fn fail(&self, part: usize) {
        (self.listener)(Progress::Failed { part });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        registry::{NewOperation, Outcome, Registry, Way},
        steps::{Contents, Dir, File, Judge, Link, Text},
        sys::{Faults, Owner},
    };

    fn plan(ground: Ground) -> Plan {
        let me = Owner::new(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut plan = Plan::new(ground);
        let dir = |path: &str| Dir {
            path: path.into(),
            owner: me,
            mode: 0o755,
            contents: Contents::GoesToo,
        };
        let file = |path: &str, text: &str| File {
            path: path.into(),
            owner: me,
            mode: 0o640,
            text: Text::Exactly(text.into()),
            judge: Judge::Nobody,
        };
        plan.part("home", "")
            .step(Lane::Files, dir("/home"))
            .step(Lane::Files, file("/home/.env", "A=1\n"));
        plan.step(Lane::Files, Link { at: "/home/app".into(), to: "releases/1".into() });
        plan.part("site", "").step(Lane::Kernel, file("/site", "server {}\n"));
        plan
    }

    fn tree(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![root.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.starts_with(root.join("var")) {
                    continue;
                }
                let meta = path.symlink_metadata().unwrap();
                let contents = if meta.is_file() {
                    std::fs::read_to_string(&path).unwrap()
                } else {
                    String::new()
                };
                found.push(format!("{} {:?} {contents}", path.display(), meta.permissions()));
                if meta.is_dir() {
                    dirs.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn attempt(root: &Path, faults: &str, ground: Ground) -> (Result<Applied>, usize) {
        let faults = if faults.is_empty() { Faults::none() } else { faults.parse().unwrap() };
        let host = Host::rehearsal(root, faults).unwrap();
        let mut registry =
            Registry::create(&tempfile::tempdir().unwrap().path().join("r.db")).unwrap();
        let new = NewOperation { project: None, verb: "test", actor: "root", way: Way::Undo };
        let (id, _) = registry.begin(&new, None).unwrap();
        let mut journal = Journal::new(&mut registry, id);
        let result = plan(ground).apply(&host, &mut journal, &|_| {});
        let passed = host.faults().passed();
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Undone };
        let _ = journal.close(&host, outcome, None, &[]);
        (result, passed)
    }

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in ["var", "var/lib", "var/lib/hostkit"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        root
    }

    #[test]
    fn host_is_as_before_wherever_it_fails() {
        let total = attempt(root().path(), "", Ground::Known).1;
        assert!(total >= 7, "{total} changes");
        for mode in ["fail", "fail-after", "full"] {
            for n in 0..total {
                let root = root();
                let before = tree(root.path());
                let error =
                    attempt(root.path(), &format!("{mode}@{n}"), Ground::Known).0.err().unwrap();
                assert_ne!(error.kind, Kind::Stuck, "{mode}@{n}: {error}");
                assert_eq!(tree(root.path()), before, "{mode}@{n}");
            }
        }
    }

    #[test]
    fn what_was_changed_by_hand_comes_back_when_a_repair_fails() {
        let broken = || {
            let root = root();
            attempt(root.path(), "", Ground::Known).0.unwrap();
            std::fs::remove_file(root.path().join("home/app")).unwrap();
            std::os::unix::fs::symlink("/etc", root.path().join("home/app")).unwrap();
            let mut env = std::fs::File::create(root.path().join("home/.env")).unwrap();
            std::io::Write::write_all(&mut env, b"by hand\n").unwrap();
            root
        };
        let total = attempt(broken().path(), "", Ground::Known).1;
        for n in 0..total {
            let root = broken();
            let before = tree(root.path());
            assert!(attempt(root.path(), &format!("fail-after@{n}"), Ground::Known).0.is_err());
            assert_eq!(tree(root.path()), before, "at {n}");
        }
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let root = root();
        assert_eq!(attempt(root.path(), "", Ground::Known).0.unwrap().changed, 4);
        assert_eq!(attempt(root.path(), "", Ground::Known).0.unwrap().changed, 0);
    }

    #[test]
    fn fresh_ground_is_not_shared() {
        let root = root();
        attempt(root.path(), "", Ground::Fresh).0.unwrap();
        let error = attempt(root.path(), "", Ground::Fresh).0.err().unwrap();
        assert_eq!(error.kind, Kind::Conflict);
    }
}

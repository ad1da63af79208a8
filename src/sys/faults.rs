//! Failure on demand: lets a test make hostkit fail or die at its n-th change of the host.
//!
//! `HOSTKIT_FAULT=fail@12`, or several with commas. Honoured for root only, never through sudo.

use std::{
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::process::Signal;

use crate::error::{Context, Error, Result};

pub const VARIABLE: &str = "HOSTKIT_FAULT";

#[derive(Debug, Default)]
pub struct Faults {
    points: Vec<(Mode, usize)>,
    passed: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Fail,
    FailAfter,
    Full,
    Kill,
    KillAfter,
}

impl Faults {
    pub fn none() -> Self {
        Self::default()
    }

    /// How many changes there were so far.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    pub fn any(&self) -> bool {
        !self.points.is_empty()
    }

    /// Counts a change that is about to be made; its number.
    pub(super) fn before(&self, what: &str) -> Result<usize> {
        let n = self.passed.fetch_add(1, Ordering::SeqCst);
        match self.at(n, &[Mode::Fail, Mode::Full, Mode::Kill]) {
            Some(Mode::Kill) => die(),
            Some(Mode::Full) => Err(std::io::Error::from(rustix::io::Errno::NOSPC))
                .context(|| format!("could not {what}")),
            Some(_) => Err(injected(what, n)),
            None => Ok(n),
        }
    }

    /// The change of that number has been made.
    pub(super) fn after(&self, n: usize, what: &str) -> Result<()> {
        match self.at(n, &[Mode::FailAfter, Mode::KillAfter]) {
            Some(Mode::KillAfter) => die(),
            Some(_) => Err(injected(what, n)),
            None => Ok(()),
        }
    }

    fn at(&self, n: usize, modes: &[Mode]) -> Option<Mode> {
        self.points
            .iter()
            .find(|(mode, at)| *at == n && modes.contains(mode))
            .map(|(mode, _)| *mode)
    }
}

impl FromStr for Faults {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            Error::usage("bad_fault", format!("`{VARIABLE}={text}` names no fault"))
                .hint("write fail@N, fail-after@N, full@N, kill@N or kill-after@N")
        };
        let point = |part: &str| {
            let (mode, n) = part.split_once('@')?;
            let mode = match mode {
                "fail" => Mode::Fail,
                "fail-after" => Mode::FailAfter,
                "full" => Mode::Full,
                "kill" => Mode::Kill,
                "kill-after" => Mode::KillAfter,
                _ => return None,
            };
            Some((mode, n.parse().ok()?))
        };
        let points: Option<Vec<_>> = text.split(',').map(point).collect();
        Ok(Self { points: points.ok_or_else(refused)?, passed: AtomicUsize::new(0) })
    }
}

fn injected(what: &str, n: usize) -> Error {
    Error::failed(format!("could not {what}")).caused_by(format!("injected fault at change {n}"))
}

fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chosen_change_fails() {
        let faults: Faults = "fail@1,fail-after@2".parse().unwrap();
        let before = |what| faults.before(what);
        assert!(before("a").is_ok_and(|n| faults.after(n, "a").is_ok()));
        assert!(before("b").is_err());
        assert!(before("c").is_ok_and(|n| faults.after(n, "c").is_err()));
        assert!(before("d").is_ok());
        assert_eq!(faults.passed(), 4);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "fail", "fail@x", "explode@1", "fail@1,"] {
            assert!(text.parse::<Faults>().is_err(), "{text}");
        }
    }
}

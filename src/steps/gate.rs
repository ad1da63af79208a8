//! Whether a process of a release is up: it answers as it should, and its unit does not fail.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::door::Door;
use crate::{
    error::{Error, Kind, Result},
    names::Domain,
    release::Health,
    sys::{Host, signals},
};

/// How to tell that a process answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Gate {
    /// It is asked in the name of the project's own domain.
    pub domain: Domain,
    /// As declared; where nothing is, any of the usual paths will do.
    pub health: Option<Health>,
    /// Seconds.
    pub timeout: u64,
    /// The pages of the release, where php-fpm answers for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<PathBuf>,
}

/// Asked where no path is declared, until one is there.
const USUAL: [&str; 3] = ["/health", "/api/health", "/"];

/// How long one answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What came of asking once.
enum Verdict {
    Up,
    /// Not yet, or never: this is what it says now.
    Not(String),
}

impl Gate {
    /// Waits until the process answers. A unit that fails is seen at once.
    pub fn wait(&self, host: &Host, unit: &str, port: u16) -> Result<()> {
        let door = Door::of(Some(self), unit, port);
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        let limit = Duration::from_secs(self.timeout);
        loop {
            if let Some(why) = failure(host, unit)? {
                return Err(refused(why));
            }
            let said = match self.ask(&door) {
                Verdict::Up => return Ok(()),
                Verdict::Not(said) => said,
            };
            signals::check()?;
            if start.elapsed() > limit {
                return Err(refused(format!("after {} s: {said}", self.timeout)));
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(if start.elapsed().as_secs() < 10 {
                100
            } else {
                500
            }));
        }
    }

    /// Whether it answers now; else what is wrong.
    pub fn now(&self, unit: &str, port: u16) -> std::result::Result<(), String> {
        match self.ask(&Door::of(Some(self), unit, port)) {
            Verdict::Up => Ok(()),
            Verdict::Not(why) => Err(why),
        }
    }

    fn ask(&self, door: &Door<'_>) -> Verdict {
        match &self.health {
            Some(health) => self.ask_declared(door, health),
            None => self.ask_usual(door),
        }
    }

    fn ask_declared(&self, door: &Door<'_>, health: &Health) -> Verdict {
        let Health { path, status, body, .. } = health;
        let answer = match door.ask(self, path) {
            Ok(answer) => answer,
            Err(error) => return Verdict::Not(error.to_string()),
        };
        let is_right = status.map_or(answer.status < 400, |wanted| answer.status == wanted);
        if !is_right {
            let wanted = status.map_or("less than 400".into(), |wanted| wanted.to_string());
            return Verdict::Not(format!("`GET {path}` answers {}, not {wanted}", answer.status));
        }
        match body {
            Some(body) if !answer.body.contains(body) => {
                Verdict::Not(format!("`GET {path}` answers without `{}`", body.escape_debug()))
            }
            _ => Verdict::Up,
        }
    }

    fn ask_usual(&self, door: &Door<'_>) -> Verdict {
        for path in USUAL {
            match door.ask(self, path) {
                Ok(answer) if answer.status == 404 && path != "/" => {}
                Ok(answer) if answer.status < 500 => return Verdict::Up,
                Ok(answer) => {
                    return Verdict::Not(format!("`GET {path}` answers {}", answer.status));
                }
                Err(error) => return Verdict::Not(error.to_string()),
            }
        }
        Verdict::Up
    }
}

/// Why a unit does not stay up, if it does not.
pub(super) fn failure(host: &Host, unit: &str) -> Result<Option<String>> {
    let is = host.unit(unit)?;
    let ended = is.is_failing() || is.restarts > 0 || is.active == "inactive";
    Ok(ended.then(|| is.why()))
}

pub(super) fn refused(why: String) -> Error {
    Error::new(Kind::Unhealthy, "unhealthy", "it did not come up").caused_by(why)
}

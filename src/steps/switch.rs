//! Requests move from one release to another, and back.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    door::Door,
    gate::{Gate, failure, refused},
    standby,
};
use crate::{
    error::Result,
    names::ReleaseId,
    sys::{Host, signals, systemd::Verb},
};

/// After the link to the release was swapped: the processes follow it.
///
/// While the main process restarts, the web server's new connections go to the standby. Nothing
/// is cut off that began before: what is connected has `drain` seconds to end by itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Switch {
    pub unit: String,
    pub port: u16,
    /// Where one was started: its unit, its variables, its port.
    pub standby: Option<(String, PathBuf, u16)>,
    /// Whether the web server has to read its site again before the standby may go.
    #[serde(default)]
    pub keeps_standby: bool,
    pub drain: u64,
    /// Microseconds since 1970: what started later is not what ran before.
    pub began: u64,
    pub new: Target,
    /// What runs now, if anything does.
    pub old: Option<Target>,
}

/// A release, and how to tell that its processes are up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    pub release: ReleaseId,
    /// A static site answers by itself.
    pub gate: Option<Gate>,
    pub workers: Vec<String>,
    pub timers: Vec<String>,
}

impl Target {
    /// Units besides the main one.
    fn others(&self) -> impl Iterator<Item = &String> {
        self.workers.iter().chain(&self.timers)
    }
}

/// How long what has no port is watched: long enough for what can't work to fail.
const SETTLED: Duration = Duration::from_secs(2);

/// A request that the main process refused may take so long until it comes to the standby. Who is
/// later still is sent on to the main process by the web server, which then takes it.
const ON_THE_WAY: Duration = Duration::from_millis(40);

impl Switch {
    /// Moves on to the new release.
    pub(super) fn forward(&self, host: &Host) -> Result<()> {
        self.restart(host, &self.new)?;
        self.come_up(host, &self.new)?;
        for unit in self.old.iter().flat_map(Target::others) {
            if !self.new.others().any(|kept| kept == unit) {
                stop(host, unit)?;
            }
        }
        self.end(host)
    }

    fn end(&self, host: &Host) -> Result<()> {
        if !self.keeps_standby {
            return self.release_standby(host);
        }
        // Whoever reads the site that follows goes there, and whoever has not yet to the standby.
        self.door(&self.unit, self.port).drain(host, false)
    }

    /// Back to the old one, if the main process has left it.
    pub(super) fn back(&self, host: &Host) -> Result<()> {
        let Some(old) = &self.old else {
            self.stop_all(host, &self.new)?;
            return self.end(host);
        };
        if !self.runs(host, old)? {
            for unit in self.new.others().filter(|unit| !old.others().any(|kept| kept == *unit)) {
                stop(host, unit)?;
            }
            for timer in &old.timers {
                host.unit_job(Verb::Start, timer)?;
            }
            self.restart(host, old)?;
            // It was good before; if it is not now, the standby of the new one won't help either.
            let _ = self.come_up(host, old);
        }
        self.end(host)
    }

    /// Whether the main process runs that release.
    fn runs(&self, host: &Host, target: &Target) -> Result<bool> {
        let unit = host.unit(&self.unit)?;
        if self.new.release == target.release && unit.active_since.is_some_and(|at| at > self.began)
        {
            return Ok(false);
        }
        if target.gate.as_ref().is_some_and(|gate| gate.pages.is_some()) {
            // php-fpm writes its title over its environment.
            let stayed = unit.active_since.is_some_and(|at| at <= self.began);
            return Ok(unit.is_active() && stayed);
        }
        if unit.main_pid == 0 {
            return Ok(unit.is_active() && target.gate.is_none());
        }
        let environ = std::fs::read(format!("/proc/{}/environ", unit.main_pid)).unwrap_or_default();
        let wanted = format!("HOSTKIT_RELEASE={}", target.release);
        Ok(environ.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
    }

    fn restart(&self, host: &Host, target: &Target) -> Result<()> {
        if self.standby.is_some() {
            let door = self.door(&self.unit, self.port);
            door.drain(host, true)?;
            self.wait_for_end(&door, Duration::from_millis(5));
        }
        for unit in target.workers.iter().chain([&self.unit]) {
            host.reset_failed(unit)?;
        }
        host.unit_job(Verb::Restart, &self.unit)
            .map_err(|e| refused(e.cause.unwrap_or(e.message)))?;
        for worker in &target.workers {
            host.unit_job(Verb::Restart, worker)
                .map_err(|e| refused(format!("{worker}: {}", e.cause.unwrap_or(e.message))))?;
        }
        Ok(())
    }

    fn come_up(&self, host: &Host, target: &Target) -> Result<()> {
        let start = Instant::now();
        if let Some(gate) = &target.gate {
            gate.wait(host, &self.unit, self.port)?;
        }
        loop {
            for worker in &target.workers {
                if let Some(why) = failure(host, worker)? {
                    return Err(refused(format!("{worker}: {why}")));
                }
            }
            if target.workers.is_empty() || start.elapsed() > SETTLED {
                return Ok(());
            }
            signals::check()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends requests to the main process again, and takes the standby down when it is idle.
    pub(super) fn release_standby(&self, host: &Host) -> Result<()> {
        let Some((unit, environment, port)) = &self.standby else { return Ok(()) };
        self.door(&self.unit, self.port).drain(host, false)?;
        let standby = self.door(unit, *port);
        if host.unit(unit)?.is_active() {
            self.wait_for_end(&standby, ON_THE_WAY);
            // On a busy machine somebody may be later than that, and must not find it ending.
            standby.shut(host, true)?;
            self.wait_for_end(&standby, Duration::from_millis(5));
        }
        standby::take_down(host, unit, environment)?;
        standby.shut(host, false)
    }

    /// Waits until nobody has been connected for `quiet`, or their time is over.
    fn wait_for_end(&self, door: &Door<'_>, quiet: Duration) {
        let limit = Duration::from_secs(self.drain) + quiet;
        let start = Instant::now();
        let mut idle_since = None;
        while start.elapsed() < limit && signals::check().is_ok() {
            match door.connections() {
                // Counted from when nobody was seen: what was slow meanwhile is no silence.
                Ok(0) if idle_since.get_or_insert_with(Instant::now).elapsed() >= quiet => return,
                Ok(0) => {}
                Ok(_) => idle_since = None,
                Err(_) => return,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Of the main unit or the standby: both answer in the same way, or there is no standby.
    fn door<'a>(&'a self, unit: &'a str, port: u16) -> Door<'a> {
        Door::of(self.new.gate.as_ref(), unit, port)
    }

    fn stop_all(&self, host: &Host, target: &Target) -> Result<()> {
        target.others().chain([&self.unit]).try_for_each(|unit| stop(host, unit))
    }
}

fn stop(host: &Host, unit: &str) -> Result<()> {
    if !matches!(host.unit(unit)?.active.as_str(), "inactive" | "failed") {
        host.unit_job(Verb::Stop, unit)?;
    }
    host.reset_failed(unit)
}

//! systemd over D-Bus: what became of a job, and why a unit failed, without reading prose.

mod bus;

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use tokio::runtime::Runtime;
use zbus::OwnedVariant;

pub(super) use bus::Bus;
use bus::{Bare, Row};

use super::{Host, held};
use crate::error::{Error, Result};

/// The code of an error that says that the unit itself failed, and nothing around it.
pub const UNIT_FAILED: &str = "unit_failed";

/// How a process ended, in the kernel's numbers.
const CLD_KILLED: i32 = 2;
const CLD_DUMPED: i32 = 3;

/// What can be asked of a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    Restart,
    Start,
    Stop,
}

/// How a unit that ends by itself did: in systemd's word, and its exit status or signal.
#[derive(Clone, Debug)]
pub struct Ended {
    pub result: String,
    pub status: i32,
}

/// A unit as systemd sees it now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unit {
    pub load: String,
    pub active: String,
    pub sub: String,
    pub result: String,
    pub exit_status: i32,
    /// Whether `exit_status` is a signal.
    #[serde(skip)]
    pub was_killed: bool,
    pub main_pid: u32,
    pub restarts: u32,
    pub memory: Option<u64>,
    /// Nanoseconds of a processor since it started.
    pub cpu: Option<u64>,
    /// Microseconds since 1970 when it last became active.
    pub active_since: Option<u64>,
    pub needs_reload: bool,
}

impl Unit {
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }

    /// Why it does not run, in words.
    pub fn why(&self) -> String {
        match reason("", self) {
            text if self.restarts > 0 => {
                format!("{text}; it was started {} times", self.restarts + 1)
            }
            text => text,
        }
    }

    /// Whether systemd has given up on it, or keeps starting it again.
    pub fn is_failing(&self) -> bool {
        self.active == "failed" || (self.active == "activating" && self.sub == "auto-restart")
    }
}

pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::failed("could not start the runtime").caused_by(e))
}

fn read_unit(
    unit: &HashMap<String, OwnedVariant>,
    service: &HashMap<String, OwnedVariant>,
) -> Unit {
    let text = |map: &HashMap<String, OwnedVariant>, key: &str| {
        map.get(key).and_then(|v| <&str>::try_from(v).ok()).unwrap_or_default().to_owned()
    };
    let number = |map: &HashMap<String, OwnedVariant>, key: &str| {
        map.get(key).and_then(|v| u32::try_from(v).ok()).unwrap_or_default()
    };
    let long = |map: &HashMap<String, OwnedVariant>, key: &str| {
        map.get(key).and_then(|v| u64::try_from(v).ok()).filter(|n| *n != u64::MAX && *n != 0)
    };
    Unit {
        load: text(unit, "LoadState"),
        active: text(unit, "ActiveState"),
        sub: text(unit, "SubState"),
        result: text(service, "Result"),
        exit_status: service
            .get("ExecMainStatus")
            .and_then(|v| i32::try_from(v).ok())
            .unwrap_or_default(),
        was_killed: service
            .get("ExecMainCode")
            .and_then(|v| i32::try_from(v).ok())
            .is_some_and(|code| code == CLD_KILLED || code == CLD_DUMPED),
        main_pid: number(service, "MainPID"),
        restarts: number(service, "NRestarts"),
        memory: long(service, "MemoryCurrent"),
        cpu: long(service, "CPUUsageNSec"),
        active_since: long(unit, "ActiveEnterTimestamp"),
        needs_reload: unit
            .get("NeedDaemonReload")
            .and_then(|v| bool::try_from(v).ok())
            .unwrap_or_default(),
    }
}

impl Host {
    fn with_bus<T>(
        &self,
        what: &str,
        talk: impl AsyncFnOnce(&Bare) -> Result<T, zbus::Error>,
    ) -> Result<T> {
        let mut held = held(&self.systemd);
        let bus = match held.take() {
            Some(bus) => held.insert(bus),
            None => held.insert(Bus::connect()?),
        };
        bus.runtime
            .block_on(talk(&bus.bare))
            .map_err(|e| Error::failed(format!("could not {what}")).caused_by(said(&e)))
    }

    /// What systemd knows of a unit, read from its file if it was not yet.
    pub fn unit(&self, name: &str) -> Result<Unit> {
        self.with_bus(&format!("ask systemd about `{name}`"), async |bus| {
            bus.properties(&bus.path("LoadUnit", &name).await?).await
        })
    }

    /// When a timer starts its unit next, in microseconds since 1970.
    pub fn next_run(&self, timer: &str) -> Result<Option<u64>> {
        self.with_bus(&format!("ask systemd about `{timer}`"), async |bus| {
            let timer = bus.all(&bus.path("LoadUnit", &timer).await?, "Timer").await?;
            let next = timer.get("NextElapseUSecRealtime").and_then(|v| u64::try_from(v).ok());
            Ok(next.filter(|next| *next != 0 && *next != u64::MAX))
        })
    }

    /// The units that systemd has in memory, by name, with their active and sub state.
    pub fn units(&self, pattern: &str) -> Result<HashMap<String, Unit>> {
        self.with_bus("list units", async |bus| {
            let rows = bus.list(pattern).await?;
            let unit = |row: Row| {
                let state = Unit { load: row.2, active: row.3, sub: row.4, ..Unit::default() };
                (row.0, state)
            };
            Ok(rows.into_iter().map(unit).collect())
        })
    }

    /// As [`units`](Self::units), with memory, times and reasons: two calls more for each.
    pub fn units_in_full(&self, pattern: &str) -> Result<HashMap<String, Unit>> {
        self.with_bus("list units", async |bus| {
            let rows = bus.list(pattern).await?;
            let mut units = HashMap::new();
            for row in rows {
                units.insert(row.0, bus.properties(&row.6).await?);
            }
            Ok(units)
        })
    }

    /// Starts, stops, restarts or reloads a unit and waits for the end of the job.
    pub fn unit_job(&self, verb: Verb, name: &str) -> Result<()> {
        let what = format!("{} `{name}`", verb.as_str());
        self.effect(&what, || {
            let result = self.with_bus(&what, async |bus| bus.job(verb, name).await)?;
            if matches!(result.as_str(), "done" | "skipped") {
                return Ok(());
            }
            let error = Error::failed(format!("could not {what}"));
            let unit = self.unit(name).unwrap_or_default();
            Err(error
                .caused_by(reason(&result, &unit))
                .hint(format!("see its log: `journalctl -u {name} -n 50`")))
        })
    }

    /// Starts a unit that ends by itself and waits for that; `meanwhile` is called every now and
    /// then, and an error from it stops the unit.
    pub fn run_to_end(&self, name: &str, meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
        let (result, unit) = self.run_once(name, meanwhile)?;
        if result == "done" {
            return Ok(());
        }
        self.reset_failed(name)?;
        let error = Error::failed(format!("could not run `{name}`")).coded(UNIT_FAILED);
        Err(error.caused_by(reason(&result, &unit)))
    }

    /// As [`run_to_end`](Self::run_to_end), for one whose end is its own affair.
    pub fn attend(&self, name: &str, meanwhile: impl FnMut() -> Result<()>) -> Result<Ended> {
        let (job, unit) = self.run_once(name, meanwhile)?;
        self.reset_failed(name)?;
        let result = match (job.as_str(), unit.result) {
            // systemd takes some signals for a good end; whoever asked wants to know.
            (_, result) if result == "success" && unit.was_killed => "signal".into(),
            ("done" | "failed", result) => result,
            _ => job,
        };
        Ok(Ended { result, status: unit.exit_status })
    }

    /// Starts a unit and waits until it has ended: what became of the job, and of the unit.
    fn run_once(
        &self,
        name: &str,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<(String, Unit)> {
        let what = format!("run `{name}`");
        self.effect(&what, || {
            self.with_bus(&what, async |bus| {
                let mut ends = bus.ends().await?;
                // What has ended well is forgotten at once, unless somebody holds it.
                ends.beside(bus.manage("RefUnit", &name)).await?;
                let job = ends.beside(bus.path("StartUnit", &(name, "replace"))).await?;
                let slice = Duration::from_millis(20);
                loop {
                    if let Some(result) =
                        bus.end(&mut ends, &job, (Verb::Start, name), slice).await?
                    {
                        drop(ends);
                        let unit = bus.properties(&bus.path("LoadUnit", &name).await?).await?;
                        bus.manage("UnrefUnit", &name).await?;
                        return Ok(Ok((result, unit)));
                    }
                    if let Err(error) = meanwhile() {
                        drop(ends);
                        let _ = bus.manage("StopUnit", &(name, "replace")).await;
                        let _ = bus.manage("UnrefUnit", &name).await;
                        return Ok(Err(error));
                    }
                }
            })?
        })
    }

    /// Makes systemd read changed unit files.
    pub fn daemon_reload(&self) -> Result<()> {
        self.effect("make systemd read its units again", || {
            self.with_bus("make systemd read its units again", async |bus| {
                bus.manage("Reload", &()).await.map(drop)
            })
        })
    }

    /// Whether systemd holds a unit in memory.
    pub fn is_unit_loaded(&self, name: &str) -> Result<bool> {
        self.with_bus(&format!("ask systemd about `{name}`"), async |bus| {
            Ok(bus.path("GetUnit", &name).await.is_ok())
        })
    }

    pub fn reset_failed(&self, name: &str) -> Result<()> {
        self.with_bus(&format!("reset `{name}`"), async |bus| {
            // A unit that never failed is fine as it is.
            let _ = bus.manage("ResetFailedUnit", &name).await;
            Ok(())
        })
    }

    /// Sends a signal to the main process of a unit.
    pub fn signal_unit(&self, name: &str, signal: i32) -> Result<()> {
        let what = format!("signal `{name}`");
        self.effect(&what, || {
            self.with_bus(&what, async |bus| {
                bus.manage("KillUnit", &(name, "main", signal)).await.map(drop)
            })
        })
    }

    /// systemd's version, as far as it is a number.
    pub fn systemd_version(&self) -> Result<u32> {
        let version =
            self.with_bus("ask systemd for its version", async |bus| bus.version().await)?;
        let version = <&str>::try_from(&version).unwrap_or_default();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().unwrap_or_default())
    }
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Self::Restart => "RestartUnit",
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// Why a job came to nothing, from the state that it left.
fn reason(result: &str, unit: &Unit) -> String {
    match (result, unit.result.as_str()) {
        ("dependency", _) => "a unit that it needs did not start".into(),
        ("timeout" | "overdue", _) | (_, "timeout") => "it took too long".into(),
        (_, "exit-code") => match unit.exit_status {
            200 => "its working directory is missing (status 200)".into(),
            203 => "its program is missing or can't be run (status 203)".into(),
            217 => "its user is missing (status 217)".into(),
            226 => "its sandbox could not be set up (status 226)".into(),
            status => format!("it exited with status {status}"),
        },
        (_, "oom-kill") => "it needed more memory than it may have".into(),
        (_, "signal" | "core-dump") => format!("signal {} ended it", unit.exit_status),
        (_, "start-limit-hit") => "it was started too often in too short a time".into(),
        (_, "resources") => "systemd could not open a file that it names, or lacked memory".into(),
        ("", "success" | "") => "it ended by itself".into(),
        (job, "success" | "") => format!("the job ended as `{job}`"),
        (_, other) => format!("its result is `{other}`"),
    }
}

fn said(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

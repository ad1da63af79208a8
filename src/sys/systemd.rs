//! systemd over D-Bus: what became of a job, and why a unit failed, without reading prose.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use serde::Serialize;
use tokio::runtime::Runtime;
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant};

use super::{Host, held};
use crate::error::{Error, Result};

/// How long a start or a stop may take before we stop waiting; units have limits of their own.
const JOB_LIMIT: Duration = Duration::from_mins(2);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<Row>>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn ref_unit(&self, name: &str) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn subscribe(&self) -> zbus::Result<()>;
    fn unref_unit(&self, name: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;

    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.freedesktop.systemd1"
)]
trait Properties {
    fn get_all(&self, interface: &str) -> zbus::Result<HashMap<String, OwnedVariant>>;
}

/// Name, description, load, active, sub, following, path, job id, job type, job path.
type Row =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

pub(super) struct Bus {
    runtime: Runtime,
    connection: Connection,
}

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

impl Bus {
    fn connect() -> Result<Self> {
        let runtime = runtime()?;
        let connection = runtime.block_on(async {
            let connection =
                zbus::connection::Builder::address("unix:path=/run/dbus/system_bus_socket")
                    .method_timeout(JOB_LIMIT)
                    .build()
                    .await?;
            // Once, and before the first job: without it nobody tells us how a job ended.
            ManagerProxy::new(&connection).await?.subscribe().await?;
            Ok(connection)
        });
        let connection: Result<Connection, zbus::Error> = connection;
        let connection = connection.map_err(|e| {
            Error::not_ready("systemd_away", "could not reach systemd")
                .caused_by(e)
                .hint("hostkit needs systemd and its message bus: `apt-get install dbus`, `systemctl status dbus`")
        })?;
        Ok(Self { runtime, connection })
    }

    async fn manager(&self) -> Result<ManagerProxy<'_>, zbus::Error> {
        ManagerProxy::builder(&self.connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
    }

    async fn properties(&self, path: OwnedObjectPath) -> Result<Unit, zbus::Error> {
        let proxy = PropertiesProxy::builder(&self.connection).path(path).build().await?;
        let unit = proxy.get_all("org.freedesktop.systemd1.Unit").await?;
        // Targets and timers are no services: what they lack stays at its default.
        let service = proxy.get_all("org.freedesktop.systemd1.Service").await.unwrap_or_default();
        Ok(read_unit(&unit, &service))
    }

    /// Asks for a job and waits for its end; its result in systemd's words.
    async fn job(&self, verb: Verb, unit: &str) -> Result<String, zbus::Error> {
        let manager = self.manager().await?;
        let mut ends = manager.receive_job_removed().await?;
        let job = match verb {
            Verb::Restart => manager.restart_unit(unit, "replace").await?,
            Verb::Start => manager.start_unit(unit, "replace").await?,
            Verb::Stop => manager.stop_unit(unit, "replace").await?,
        };
        let wait = async {
            while let Some(end) = ends.next().await {
                let args = end.args()?;
                if *args.job() == *job {
                    return Ok(args.result().to_string());
                }
            }
            Ok("lost".to_owned())
        };
        tokio::time::timeout(JOB_LIMIT, wait).await.unwrap_or_else(|_| Ok("overdue".to_owned()))
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
        talk: impl AsyncFnOnce(&Bus) -> Result<T, zbus::Error>,
    ) -> Result<T> {
        let mut held = held(&self.systemd);
        let bus = match held.take() {
            Some(bus) => held.insert(bus),
            None => held.insert(Bus::connect()?),
        };
        bus.runtime
            .block_on(talk(bus))
            .map_err(|e| Error::failed(format!("could not {what}")).caused_by(said(&e)))
    }

    /// What systemd knows of a unit, read from its file if it was not yet.
    pub fn unit(&self, name: &str) -> Result<Unit> {
        self.with_bus(&format!("ask systemd about `{name}`"), async |bus| {
            let path = bus.manager().await?.load_unit(name).await?;
            bus.properties(path).await
        })
    }

    /// When a timer starts its unit next, in microseconds since 1970.
    pub fn next_run(&self, timer: &str) -> Result<Option<u64>> {
        self.with_bus(&format!("ask systemd about `{timer}`"), async |bus| {
            let path = bus.manager().await?.load_unit(timer).await?;
            let proxy = PropertiesProxy::builder(&bus.connection).path(path).build().await?;
            let timer = proxy.get_all("org.freedesktop.systemd1.Timer").await?;
            let next = timer.get("NextElapseUSecRealtime").and_then(|v| u64::try_from(v).ok());
            Ok(next.filter(|next| *next != 0 && *next != u64::MAX))
        })
    }

    /// The units that systemd has in memory, by name, with their active and sub state.
    pub fn units(&self, pattern: &str) -> Result<HashMap<String, Unit>> {
        self.with_bus("list units", async |bus| {
            let rows = bus.manager().await?.list_units_by_patterns(&[], &[pattern]).await?;
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
            let rows = bus.manager().await?.list_units_by_patterns(&[], &[pattern]).await?;
            let mut units = HashMap::new();
            for row in rows {
                units.insert(row.0, bus.properties(row.6).await?);
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
                let manager = bus.manager().await?;
                let mut ends = manager.receive_job_removed().await?;
                // What has ended well is forgotten at once, unless somebody holds it.
                manager.ref_unit(name).await?;
                let job = manager.start_unit(name, "replace").await?;
                loop {
                    let next = tokio::time::timeout(Duration::from_millis(20), ends.next()).await;
                    if let Ok(Some(end)) = next {
                        let args = end.args()?;
                        if *args.job() == *job {
                            let result = args.result().to_string();
                            let unit = bus.properties(manager.load_unit(name).await?).await?;
                            manager.unref_unit(name).await?;
                            return Ok(Ok((result, unit)));
                        }
                    }
                    if let Err(error) = meanwhile() {
                        let _ = manager.stop_unit(name, "replace").await;
                        let _ = manager.unref_unit(name).await;
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
                bus.manager().await?.reload().await
            })
        })
    }

    /// Whether systemd holds a unit in memory.
    pub fn is_unit_loaded(&self, name: &str) -> Result<bool> {
        self.with_bus(&format!("ask systemd about `{name}`"), async |bus| {
            Ok(bus.manager().await?.get_unit(name).await.is_ok())
        })
    }

    pub fn reset_failed(&self, name: &str) -> Result<()> {
        self.with_bus(&format!("reset `{name}`"), async |bus| {
            // A unit that never failed is fine as it is.
            let _ = bus.manager().await?.reset_failed_unit(name).await;
            Ok(())
        })
    }

    /// Sends a signal to the main process of a unit.
    pub fn signal_unit(&self, name: &str, signal: i32) -> Result<()> {
        let what = format!("signal `{name}`");
        self.effect(&what, || {
            self.with_bus(&what, async |bus| {
                bus.manager().await?.kill_unit(name, "main", signal).await
            })
        })
    }

    /// systemd's version, as far as it is a number.
    pub fn systemd_version(&self) -> Result<u32> {
        let version = self.with_bus("ask systemd for its version", async |bus| {
            bus.manager().await?.version().await
        })?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().unwrap_or_default())
    }
}

impl Verb {
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

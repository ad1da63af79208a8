//! Talking to systemd on the bus.

use std::{
    collections::HashMap,
    num::NonZero,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use tokio::runtime::Runtime;
use zbus::{
    Connection, DynamicType, Message, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant,
};

use super::{Unit, Verb, read_unit, runtime};
use crate::error::{Error, Result};

/// How long a start or a stop may take before we stop waiting; units have limits of their own.
const JOB_LIMIT: Duration = Duration::from_mins(2);

/// How often systemd is asked for a job whose end nobody told.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long it may take to answer that.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// So long it may take to start anew.
const AWAY: Duration = Duration::from_secs(10);

/// So many messages may wait: anybody on the bus may send us what we did not ask for.
const QUEUED: NonZero<usize> = NonZero::new(4096).unwrap();

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: ObjectPath<'_> =
    ObjectPath::from_static_str_unchecked("/org/freedesktop/systemd1");
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: ObjectPath<'_> = ObjectPath::from_static_str_unchecked("/org/freedesktop/DBus");

/// The ends of jobs, told by systemd and nobody else.
const ENDS: &str = "type='signal',sender='org.freedesktop.systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// Name, description, load, active, sub, following, path, job id, job type, job path.
pub(super) type Row =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

pub(in crate::sys) struct Bus {
    pub(super) runtime: Runtime,
    pub(super) bare: Bare,
}

/// Calls as they are: zbus' proxies bring caches and streams into the program that nobody asks for.
pub(super) struct Bare(Connection);

impl Bus {
    pub(super) fn connect() -> Result<Self> {
        let runtime = runtime()?;
        let bare = runtime.block_on(async {
            let connection =
                zbus::connection::Builder::address("unix:path=/run/dbus/system_bus_socket")
                    .method_timeout(JOB_LIMIT)
                    .max_queued(QUEUED)
                    .build()
                    .await?;
            let bus = Bare(connection);
            // Once, and before the first job: without it nobody tells us how a job ended.
            bus.call((BUS, &BUS_PATH, BUS), "AddMatch", &ENDS).await?;
            bus.manage("Subscribe", &()).await?;
            Ok(bus)
        });
        let bare: Result<Bare, zbus::Error> = bare;
        let bare = bare.map_err(|e| {
            Error::not_ready("systemd_away", "could not reach systemd")
                .caused_by(e)
                .hint("hostkit needs systemd and its message bus: `apt-get install dbus`, `systemctl status dbus`")
        })?;
        Ok(Self { runtime, bare })
    }
}

/// Whether nobody was there to answer.
fn is_away(error: &zbus::Error) -> bool {
    use zbus::fdo::Error::{NameHasNoOwner, NoReply, ServiceUnknown};
    let zbus::Error::FDO(error) = error else { return false };
    matches!(**error, NameHasNoOwner(_) | NoReply(_) | ServiceUnknown(_))
}

impl Bare {
    /// Calls a method: where (whose, on what, of which interface), its name and its arguments. A
    /// systemd that just starts anew, as its package's upgrade makes it, is asked again: it brings its
    /// jobs along, and to ask for one twice is to ask for it once.
    async fn call(
        &self,
        (whose, path, interface): (&str, &ObjectPath<'_>, &str),
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<Message, zbus::Error> {
        let start = Instant::now();
        loop {
            let asked = self.0.call_method(Some(whose), path, Some(interface), method, arguments);
            match asked.await {
                Err(error) if is_away(&error) && start.elapsed() < AWAY => {}
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Calls a method of systemd's manager.
    pub(super) async fn manage(
        &self,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<Message, zbus::Error> {
        self.call((SYSTEMD, &MANAGER_PATH, MANAGER), method, arguments).await
    }

    /// The same, of one that answers with the path of a unit or of a job.
    pub(super) async fn path(
        &self,
        method: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<OwnedObjectPath, zbus::Error> {
        self.manage(method, arguments).await?.body().deserialize()
    }

    pub(super) async fn list(&self, pattern: &str) -> Result<Vec<Row>, zbus::Error> {
        let none: [&str; 0] = [];
        self.manage("ListUnitsByPatterns", &(&none[..], &[pattern][..])).await?.body().deserialize()
    }

    /// What an object has, of one of its interfaces.
    pub(super) async fn all(
        &self,
        path: &OwnedObjectPath,
        kind: &str,
    ) -> Result<HashMap<String, OwnedVariant>, zbus::Error> {
        let interface = format!("{SYSTEMD}.{kind}");
        self.call((SYSTEMD, path, PROPERTIES), "GetAll", &interface).await?.body().deserialize()
    }

    pub(super) async fn properties(&self, path: &OwnedObjectPath) -> Result<Unit, zbus::Error> {
        let unit = self.all(path, "Unit").await?;
        // Targets and timers are no services: what they lack stays at its default.
        let service = self.all(path, "Service").await.unwrap_or_default();
        Ok(read_unit(&unit, &service))
    }

    pub(super) async fn version(&self) -> Result<OwnedVariant, zbus::Error> {
        let at = (SYSTEMD, &MANAGER_PATH, PROPERTIES);
        self.call(at, "Get", &(MANAGER, "Version")).await?.body().deserialize()
    }

    /// The ends of all jobs from now on.
    pub(super) async fn ends(&self) -> Result<Ends, zbus::Error> {
        let messages = MessageStream::from(&self.0);
        let owner = self.owner().await?;
        Ok(Ends { owner, messages, told: HashMap::new(), looked: Instant::now() })
    }

    async fn owner(&self) -> Result<String, zbus::Error> {
        let owner = self.call((BUS, &BUS_PATH, BUS), "GetNameOwner", &SYSTEMD).await?;
        owner.body().deserialize()
    }

    /// Asks for a job and waits for its end; its result in systemd's words.
    pub(super) async fn job(&self, verb: Verb, unit: &str) -> Result<String, zbus::Error> {
        let mut ends = self.ends().await?;
        let job = ends.beside(self.path(verb.method(), &(unit, "replace"))).await?;
        let began = Instant::now();
        while began.elapsed() < JOB_LIMIT {
            let patience = Duration::from_secs(1);
            if let Some(result) = self.end(&mut ends, &job, (verb, unit), patience).await? {
                return Ok(result);
            }
        }
        Ok("overdue".to_owned())
    }

    /// How a job of a unit ended, if it does in so long a time.
    pub(super) async fn end(
        &self,
        ends: &mut Ends,
        job: &OwnedObjectPath,
        of: (Verb, &str),
        patience: Duration,
    ) -> Result<Option<String>, zbus::Error> {
        if let Ok(result) = tokio::time::timeout(patience, ends.of(job)).await {
            return result.map(Some);
        }
        if ends.looked.elapsed() < LOOK_AGAIN {
            return Ok(None);
        }
        // Who waits has more to do than that: a systemd that is busy is asked again.
        let looked = tokio::time::timeout(LOOK_LIMIT, self.look(ends, job, of)).await;
        ends.looked = Instant::now();
        looked.unwrap_or(Ok(None))
    }

    /// Asks what became of a job whose end nobody told.
    async fn look(
        &self,
        ends: &mut Ends,
        job: &OwnedObjectPath,
        (verb, unit): (Verb, &str),
    ) -> Result<Option<String>, zbus::Error> {
        // A systemd that started anew has another name, and what it told meanwhile nobody heard.
        ends.owner = ends.beside(self.owner()).await?;
        if ends.beside(self.all(job, "Job")).await.is_ok() {
            return Ok(None);
        }
        // What was told of its end came before that answer, and may not have been read.
        ends.catch_up()?;
        if let Some(result) = ends.told.remove(job.as_str()) {
            return Ok(Some(result));
        }
        let path = ends.beside(self.path("LoadUnit", &unit)).await?;
        let is = ends.beside(self.properties(&path)).await?;
        let has_failed = match verb {
            // However it ended, it has.
            Verb::Stop => !matches!(&*is.active, "failed" | "inactive"),
            _ => is.active == "failed" || !matches!(&*is.result, "" | "success"),
        };
        Ok(Some(if has_failed { "failed" } else { "done" }.to_owned()))
    }
}

/// The ends of jobs as they are told.
pub(super) struct Ends {
    /// systemd's own name on the bus: everybody may send whatever he likes to ours.
    owner: String,
    messages: MessageStream,
    /// By the path of the job.
    told: HashMap<String, String>,
    looked: Instant,
}

impl Ends {
    /// Waits for an answer, and reads on: what nobody reads would hold up the answer, too.
    pub(super) async fn beside<T>(
        &mut self,
        call: impl Future<Output = Result<T, zbus::Error>>,
    ) -> Result<T, zbus::Error> {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                Some(message) = self.messages.next() => self.note(&message?)?,
            }
        }
    }

    /// Reads what is there already.
    fn catch_up(&mut self) -> Result<(), zbus::Error> {
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            self.note(&message?)?;
        }
        Ok(())
    }

    /// Waits until a job has ended: with what result.
    async fn of(&mut self, job: &OwnedObjectPath) -> Result<String, zbus::Error> {
        loop {
            if let Some(result) = self.told.remove(job.as_str()) {
                return Ok(result);
            }
            match self.messages.next().await {
                Some(message) => self.note(&message?)?,
                None => return Ok("lost".to_owned()),
            }
        }
    }

    fn note(&mut self, message: &Message) -> Result<(), zbus::Error> {
        let header = message.header();
        let is_systemd = header.sender().is_some_and(|sender| sender.as_str() == self.owner);
        if is_systemd && header.member().is_some_and(|member| member.as_str() == "JobRemoved") {
            let body = message.body();
            let (_, job, _, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize()?;
            self.told.insert(job.as_str().to_owned(), result.to_owned());
        }
        Ok(())
    }
}

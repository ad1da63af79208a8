//! `/etc/hostkit/hostkit.toml`: every key has a default, and an unknown one is an error.

mod alerts;
mod backup;
mod metrics;
mod proxy;
mod ssl;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    names::{Domain, GrantedAlias, PublicKey, nearest},
};

pub use alerts::Alerts;
pub use backup::{Backup, Drill};
pub use metrics::{Metrics, Retention};
pub use proxy::Proxy;
pub use ssl::Ssl;

pub const PATH: &str = "/etc/hostkit/hostkit.toml";

/// What `hostkit init` writes where there is no file yet.
pub const COMMENTED: &str = include_str!("../templates/hostkit.toml");

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Config {
    pub base_domain: Domain,
    pub operators: String,
    pub ssh_keys: Vec<PublicKey>,
    pub ports: Ports,
    pub uids: Uids,
    pub redis: Redis,
    pub postgres: Postgres,
    pub proxy: Proxy,
    pub mysql: Mysql,
    pub limits: Limits,
    pub locks: Locks,
    pub disk: Disk,
    pub deploys: Deploys,
    pub git: Git,
    pub ssh: Ssh,
    pub ssl: Ssl,
    pub backup: Backup,
    pub alerts: Alerts,
    pub storage: Storage,
    pub metrics: Metrics,
    pub units: Units,
}

/// Ports to hand out, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

/// Users' numbers to hand out, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Uids {
    pub first: u32,
    pub last: u32,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Redis {
    pub databases: u32,
    /// What an instance of a project's own may hold.
    pub memory: Size,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Postgres {
    pub connections: u32,
    /// Extensions that only a superuser can make, and that projects may get all the same.
    pub extensions: Vec<String>,
}

/// MariaDB, for projects that ask for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Mysql {
    /// Whether this server has one that hostkit has set up.
    pub enabled: bool,
    pub connections: u32,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Limits {
    pub memory: Size,
    pub tasks: u32,
    pub cpu: Percent,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Locks {
    pub wait: Wait,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Disk {
    pub reserve: Size,
}

/// How often and how much; 0 is no limit, and never.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Deploys {
    /// Good releases that are kept.
    pub keep: u32,
    pub per_hour: u32,
    /// Failures in a row after which deploys are paused.
    pub pause_after: u32,
    /// Whether a deploy first takes a checkpoint of the database.
    pub checkpoint: bool,
    /// The longest archive that is taken.
    pub upload: Size,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Git {
    /// Whether `http://` and `git://` are taken, where anybody in between may change what comes.
    pub unencrypted: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Ssh {
    /// Where `--github USER` finds the keys of a user: at `/USER.keys`.
    pub github: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Units {
    /// Other names that a project's units may have, where those do not begin with its own.
    pub aliases: Vec<GrantedAlias>,
}

/// Which object storage projects get.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Storage {
    pub backend: Backend,
    /// Where it answers, if not here.
    pub endpoint: String,
    pub region: String,
    /// Where a service elsewhere shows what is public: at `/BUCKET/KEY`.
    pub public_url: String,
    /// What each bucket may hold, where the storage can say so; 0 is no limit.
    pub quota: Size,
    /// The program of Garage.
    pub program: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Garage,
    #[default]
    None,
    S3,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            backend: Backend::None,
            endpoint: String::new(),
            region: "garage".into(),
            public_url: String::new(),
            quota: Size(0),
            program: String::new(),
        }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self { github: "https://github.com".into() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_domain: "localhost".parse().unwrap_or_else(|_| unreachable!("a valid domain")),
            operators: "hostkit".into(),
            ssh_keys: Vec::new(),
            ports: Ports::default(),
            uids: Uids::default(),
            redis: Redis::default(),
            postgres: Postgres::default(),
            proxy: Proxy::default(),
            mysql: Mysql::default(),
            limits: Limits::default(),
            locks: Locks::default(),
            disk: Disk::default(),
            deploys: Deploys::default(),
            git: Git::default(),
            ssh: Ssh::default(),
            ssl: Ssl::default(),
            units: Units::default(),
            storage: Storage::default(),
            metrics: Metrics::default(),
            backup: Backup::default(),
            alerts: Alerts::default(),
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self { first: 8001, last: 8899 }
    }
}

impl Default for Uids {
    fn default() -> Self {
        Self { first: 20_000, last: 29_999 }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self { databases: 16, memory: Size(128 << 20) }
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self { connections: 20, extensions: Vec::new() }
    }
}

impl Default for Mysql {
    fn default() -> Self {
        Self { enabled: false, connections: 20 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Size(512 << 20), tasks: 256, cpu: Percent(200) }
    }
}

impl Default for Locks {
    fn default() -> Self {
        Self { wait: Wait(Duration::from_mins(1)) }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self { reserve: Size(16 << 20) }
    }
}

impl Default for Deploys {
    fn default() -> Self {
        Self { keep: 5, per_hour: 10, pause_after: 3, checkpoint: true, upload: Size(1 << 30) }
    }
}

impl Config {
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            refused(place(text, e.span()), e.message().lines().next().unwrap_or_default())
        })?;
        if let Some(key) = unknown_key(&table, &Self::default().table(), "") {
            let known = Self::default().keys();
            let error = refused(None, format!("there is no key `{key}`"));
            return Err(match nearest(&key, known.iter().map(|(k, _)| k.as_str())) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint("`hostkit config` lists the keys"),
            });
        }
        let config: Self =
            toml::from_str(text).map_err(|e| refused(place(text, e.span()), e.message().trim()))?;
        config.check()?;
        Ok(config)
    }

    /// Every key with its value, in the file's order: `ports.first`, `8001`.
    pub fn keys(&self) -> Vec<(String, toml::Value)> {
        let mut keys = Vec::new();
        for (key, value) in self.table() {
            match value {
                toml::Value::Table(inner) => {
                    keys.extend(inner.into_iter().map(|(k, v)| (format!("{key}.{k}"), v)));
                }
                other => keys.push((key, other)),
            }
        }
        keys
    }

    fn table(&self) -> toml::Table {
        toml::Table::try_from(self).unwrap_or_default()
    }

    fn check(&self) -> Result<()> {
        let Self { ports, uids, redis, operators, postgres, limits, .. } = self;
        let wrong = |why: &str| Err(refused(None, why));
        if ports.first > ports.last || ports.first < 1024 || ports.last > 8999 {
            return wrong(
                "`ports` wants 1024 <= first <= last <= 8999, since +1000 to +6000 belong to services",
            );
        }
        if uids.first > uids.last || uids.first < 1000 || uids.last > 60_000 {
            return wrong("`uids` wants 1000 <= first <= last <= 60000");
        }
        if !(2..=10_000).contains(&redis.databases) {
            return wrong("`redis.databases` wants 2 to 10000");
        }
        if self.deploys.keep < 2 {
            return wrong("`deploys.keep` wants 2 at least: the live release and the one before");
        }
        if postgres.connections == 0 || limits.tasks == 0 || limits.cpu.0 == 0 {
            return wrong(
                "`postgres.connections`, `limits.tasks` and `limits.cpu` want more than 0",
            );
        }
        if let Some(why) = self.proxy.fault() {
            return wrong(&why);
        }
        if self.mysql.connections == 0 {
            return wrong("`mysql.connections` wants more than 0");
        }
        self.ssl.check()?;
        self.alerts.check()?;
        self.metrics.check()?;
        let letters =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if operators.is_empty() || operators.len() > 32 || !operators.chars().all(letters) {
            return wrong("`operators` wants the name of a group");
        }
        Ok(())
    }
}

/// The first key that no default has, as a dotted path.
fn unknown_key(given: &toml::Table, known: &toml::Table, prefix: &str) -> Option<String> {
    given.iter().find_map(|(key, value)| {
        let path = format!("{prefix}{key}");
        match (value, known.get(key)) {
            (_, None) => Some(path),
            (toml::Value::Table(inner), Some(toml::Value::Table(known))) => {
                unknown_key(inner, known, &format!("{path}."))
            }
            _ => None,
        }
    })
}

fn refused(line: Option<usize>, why: impl fmt::Display) -> Error {
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    Error::usage("bad_config", format!("`{PATH}` can't be used"))
        .caused_by(format!("{place}{why}"))
        .hint(format!("mend it there, or move it aside: without it the defaults hold ({PATH})"))
}

fn place(text: &str, span: Option<std::ops::Range<usize>>) -> Option<usize> {
    let span = span?;
    Some(text.get(..span.start)?.matches('\n').count() + 1)
}

/// Bytes, written as `512M`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub u64);

/// A share of one processor, written as `200%`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Percent(pub u32);

/// A length of time, written as `60s` or `2m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait(pub Duration);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n if n % (1 << 30) == 0 => write!(f, "{}G", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}M", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}K", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no size like `512M`"))?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| format!("`{text}` is too much"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix('%')
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no share like `200%`"))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = text.parse::<u64>().map(Duration::from_secs).ok();
        whole
            .or_else(|| text.parse::<jiff::SignedDuration>().ok()?.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no length of time like `60s`"))
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Percent, Size, Wait);

#[cfg(test)]
mod tests;

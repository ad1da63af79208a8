//! What a release runs: its processes, and how requests move from one release to the next.
//!
//! Made from the source tree when it is deployed, and kept in the registry with the release, so
//! that units and routes go back with the code.

mod route;
mod source;

use std::collections::BTreeMap;

pub use route::{Answer, Files, Proxied, Redirect, Route, lies_in};
use serde::{Deserialize, Serialize};
pub use source::{Part, Source};

use crate::{
    names::{Environment, Runtime},
    secret,
};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    pub runtime: Runtime,
    /// `web` first, the others by name. A static site has none.
    pub processes: Vec<Process>,
    /// The directory below the release that nginx serves, for a static site; "" is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// What answers for which path; without any, the web process or `public` does for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Directories that outlive a release: links into `shared/`.
    #[serde(default)]
    pub shared: Vec<String>,
    /// Defaults of variables; `.env` wins.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Those of one environment alone, which win over the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<Environment, BTreeMap<String, String>>,
    /// What visitors reach in an environment, by the names of processes and the paths of routes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expose: BTreeMap<Environment, Vec<String>>,
    /// Where this is the same in two releases, they install the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installs: Option<String>,
    #[serde(default)]
    pub switch: Switch,
    /// Variables of `.env` that hostkit makes where it has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generated: BTreeMap<String, secret::Kind>,
    /// How `DATABASE_URL` begins, where the release wants it otherwise than `.env` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_scheme: Option<String>,
    /// Variables that are others, or parts of others, by another name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Source>,
    /// Other names of units, without `.service`, and the process that each is of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    /// Secrets that processes read from files, and not from the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_files: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Process {
    pub name: String,
    /// The program and its arguments. A program with a `/` that is no absolute path lies below the
    /// release. `$NAME` and `${NAME}` stand for variables of the environment.
    pub command: Vec<String>,
    /// Below the release; "" is the release itself.
    #[serde(default)]
    pub directory: String,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The page of its port that tells its figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Answers on the project's port.
    Web,
    /// Runs beside it.
    Worker,
    /// Runs once a deploy, before requests move.
    Release,
    /// Runs when a timer says so: `OnCalendar=`.
    Scheduled(String),
}

/// When a process counts as up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Health {
    pub path: String,
    /// `None` is any below 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the body has to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub timeout: u64,
}

/// How requests move to a release. Times are seconds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Switch {
    pub strategy: Strategy,
    /// How long it is watched afterwards; 0 is not at all.
    pub watch: u64,
    /// How long requests and connections that have begun may go on.
    pub drain: u64,
    /// How long it may take until it is up, where no process says so itself.
    pub timeout: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The new release answers on the standby port before the old one stops.
    Standby,
    /// One restart: less memory, and requests fail meanwhile.
    Restart,
}

impl Default for Switch {
    fn default() -> Self {
        Self { strategy: Strategy::Standby, watch: 30, drain: 30, timeout: 60 }
    }
}

impl Spec {
    pub fn web(&self) -> Option<&Process> {
        self.processes.iter().find(|process| process.kind == Kind::Web)
    }

    /// Whether nginx serves some of it by itself.
    pub fn has_files(&self) -> bool {
        self.public.is_some() || self.routes.iter().any(|route| route.files().is_some())
    }

    /// Whether some of its variables are made of those of `.env`.
    pub fn reads_env(&self) -> bool {
        self.url_scheme.is_some() || !self.variables.is_empty()
    }

    /// Those that run all the time besides the web process.
    pub fn workers(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.kind == Kind::Worker)
    }
}

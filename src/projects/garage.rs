//! Object storage of the server's own: a Garage that hostkit runs, on loopback alone.

use serde::Serialize;

use super::{host::HostFacts, storage_place};
use crate::{
    config::{Backend, Config},
    error::Result,
    plan::{Lane, Plan},
    secret::{Keys, Secret},
    steps::{
        ACCOUNT, ADMIN_PORT, Account, Answering, Asked, Contents, Dir, File, Judge, Link, Owner,
        RPC_PORT, S3_PORT, Stopped, TOKEN, Text, Trigger, User, WEB_PORT,
    },
    templates::Templates,
};

/// The user of Garage, who owns what it stores.
pub const GARAGE_USER: &str = "hostkit-garage";
pub const GARAGE_UNIT: &str = "hostkit.garage.service";
/// What Garage's nodes know each other by.
pub const GARAGE_RPC: &str = "/etc/hostkit/garage.rpc";
const HOME: &str = "/var/lib/hostkit-garage";

/// What the plan must know of object storage.
#[derive(Clone, Debug)]
pub struct StorageFacts {
    /// Of Garage: its user, as it is or will be, and its secrets.
    pub garage: Option<Garage>,
    /// Of a service elsewhere, where they are to be written down.
    pub account: Option<Keys>,
    /// Whether a Garage of before runs, that is no longer what projects get.
    pub is_retired: bool,
}

#[derive(Clone, Debug)]
pub struct Garage {
    pub user: Owner,
    pub token: Secret,
    pub rpc: Secret,
}

#[derive(Serialize)]
struct Values<'a> {
    home: &'a str,
    user: &'a str,
    program: &'a str,
    region: &'a str,
    token: &'a str,
    rpc: &'a str,
    s3_port: u16,
    rpc_port: u16,
    web_port: u16,
    admin_port: u16,
}

/// A port that a service of the server's answers on, as the wall is told of it.
#[derive(Serialize)]
pub(super) struct Served {
    port: u16,
    uid: u32,
    /// Who alone may call there; nobody says that all may.
    callers: Vec<u32>,
}

impl Served {
    pub(super) fn open(port: u16, uid: u32) -> Self {
        Self { port, uid, callers: Vec::new() }
    }

    pub(super) fn closed(port: u16, uid: u32, callers: Vec<u32>) -> Self {
        Self { port, uid, callers }
    }
}

/// Garage's ports: everybody with a key may come to the first, and few to the others.
pub(super) fn served(facts: &HostFacts) -> Vec<Served> {
    let Some(garage) = facts.storage.garage.as_ref() else { return Vec::new() };
    let uid = garage.user.uid;
    let closed = |port, callers| Served::closed(port, uid, callers);
    vec![
        Served::open(S3_PORT, uid),
        closed(RPC_PORT, vec![0, uid]),
        closed(WEB_PORT, vec![0, facts.web.uid]),
        closed(ADMIN_PORT, vec![0]),
    ]
}

fn secret(path: &str, text: String) -> File {
    File {
        path: path.into(),
        owner: Owner::ROOT,
        mode: 0o600,
        text: Text::Secret(text),
        judge: Judge::Nobody,
    }
}

pub(super) fn plan(
    plan: &mut Plan,
    facts: &HostFacts,
    config: &Config,
    templates: &Templates,
) -> Result<()> {
    if let Some(keys) = &facts.storage.account {
        plan.part("storage", config.storage.endpoint.clone());
        plan.step(Lane::Files, secret(ACCOUNT, keys.text()));
    }
    if facts.storage.is_retired {
        plan.part("garage stopped", format!("what it stored stays in {HOME}"));
        plan.step(Lane::Files, Stopped { unit: GARAGE_UNIT.into() });
        super::switch::no_unit(plan, GARAGE_UNIT);
    }
    let Some(garage) = facts.storage.garage.as_ref() else { return Ok(()) };
    plan.part("storage", format!("Garage, {HOME}"));
    let user = User {
        name: GARAGE_USER.into(),
        owner: garage.user,
        home: HOME.into(),
        shell: "/usr/sbin/nologin".into(),
        comment: "hostkit object storage".into(),
    };
    // Not in a lane of its own: what follows starts as that user.
    plan.step(Lane::Files, Account { user });
    let owner = garage.user;
    let contents = Contents::Stays;
    plan.step(Lane::Files, Dir { path: HOME.into(), owner, mode: 0o700, contents });
    let values = Values {
        home: HOME,
        user: GARAGE_USER,
        program: &config.storage.program,
        region: &config.storage.region,
        token: TOKEN,
        rpc: GARAGE_RPC,
        s3_port: S3_PORT,
        rpc_port: RPC_PORT,
        web_port: WEB_PORT,
        admin_port: ADMIN_PORT,
    };
    let restart: Vec<Trigger> =
        answering(config).into_iter().map(Trigger::RestartAnswering).collect();
    for (path, value) in [(TOKEN, &garage.token), (GARAGE_RPC, &garage.rpc)] {
        let file = secret(path, format!("{}\n", value.expose()));
        plan.notifying(Lane::Files, file, restart.clone());
    }
    let shown = |path: &str, text: String| File {
        path: path.into(),
        owner: Owner::ROOT,
        mode: 0o644,
        text: Text::Exactly(text),
        judge: Judge::Nobody,
    };
    let conf = shown("/etc/hostkit/garage.toml", templates.render("garage.toml", &values)?);
    plan.notifying(Lane::Files, conf, restart.clone());
    let path = format!("/etc/systemd/system/{GARAGE_UNIT}");
    let unit = shown(&path, templates.render("systemd/garage.service", &values)?);
    let reload = std::iter::once(Trigger::DaemonReload(GARAGE_UNIT.into()));
    plan.notifying(Lane::Files, unit, reload.chain(restart).collect::<Vec<_>>());
    let at = format!("/etc/systemd/system/multi-user.target.wants/{GARAGE_UNIT}").into();
    plan.step(Lane::Files, Link { at, to: path.into() });
    Ok(())
}

/// What comes last: by then the wall stands around its ports.
pub(super) fn running(plan: &mut Plan, facts: &HostFacts, config: &Config) {
    if let (Some(_), Some(answering)) = (&facts.storage.garage, answering(config)) {
        plan.part("storage running", GARAGE_UNIT);
        plan.step(Lane::Files, answering);
    }
}

fn answering(config: &Config) -> Option<Answering> {
    let place = storage_place(config).filter(|place| place.kind == Backend::Garage)?;
    Some(Answering { unit: GARAGE_UNIT.into(), asked: Asked::Storage(place) })
}

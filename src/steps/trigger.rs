//! What has to happen once after steps changed something, and once more after an undo.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{Answering, Logins, MysqlPasswords, Switch};
use crate::{
    error::{Error, Result},
    names::Domain,
    sys::{Host, http, nginx, signals, systemd::Verb},
};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Trigger {
    /// systemd reads a changed unit again; a new one it reads by itself.
    DaemonReload(String),
    /// Of the two logins of a database the one ends that nothing runs with any more.
    LoginEnds(Logins),
    /// Of the two passwords of an account in MariaDB the one ends that `.env` does not name.
    MysqlPasswordEnds(MysqlPasswords),
    /// nginx takes up its configuration, and answers with it.
    NginxReload(Option<Probe>),
    /// PostgreSQL reads its access rules again.
    PostgresReload,
    RestartUnit(String),
    /// A service of hostkit's own starts anew, and answers again.
    RestartAnswering(Answering),
    /// The standby of a switch goes, once the web server sends nobody there.
    StandbyGoes(Box<Switch>),
    /// The processes of a project follow its link to another release.
    Switch(Box<Switch>),
    /// The kernel takes up the wall's rules.
    WallLoad(PathBuf),
}

/// A site, and the mark by which its newest version is known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Probe {
    pub domain: Domain,
    pub mark: String,
}

/// The header that says which version of a site answers; only this machine gets to see it.
pub const MARK: &str = "X-Hostkit-Site";

/// Where a site says it.
pub const MARK_PATH: &str = "/.well-known/hostkit-site";

/// How long nginx may take until new workers serve.
const PATIENCE: Duration = Duration::from_secs(10);

impl Trigger {
    pub fn title(&self) -> String {
        match self {
            Self::DaemonReload(_) => "systemd reads its units again".into(),
            Self::LoginEnds(_) => "the other login of the database ends".into(),
            Self::MysqlPasswordEnds(_) => "the other password of the database ends".into(),
            Self::NginxReload(_) => "nginx takes up its configuration".into(),
            Self::PostgresReload => "PostgreSQL reads its rules again".into(),
            Self::RestartUnit(unit) | Self::RestartAnswering(Answering { unit, .. }) => {
                format!("{unit} restarts")
            }
            Self::StandbyGoes(_) => "the standby goes".into(),
            Self::Switch(_) => "requests move to the release".into(),
            Self::WallLoad(_) => "the kernel takes up the wall".into(),
        }
    }

    /// What has to come before what: units are read before they start, and run before the web
    /// server sends anybody to them.
    pub fn rank(&self) -> u8 {
        match self {
            Self::DaemonReload(_) => 0,
            Self::PostgresReload
            | Self::RestartAnswering(_)
            | Self::RestartUnit(_)
            | Self::WallLoad(_) => 1,
            Self::Switch(_) => 2,
            Self::NginxReload(_) => 3,
            Self::StandbyGoes(_) => 4,
            Self::LoginEnds(_) | Self::MysqlPasswordEnds(_) => 5,
        }
    }

    /// Whether it may fire while steps that do not ask for it are still going on, where all of
    /// what is made is new.
    pub fn is_early(&self) -> bool {
        matches!(self, Self::NginxReload(_))
    }

    /// After the steps of a plan: what they made must work.
    pub fn fire(&self, host: &Host) -> Result<()> {
        match self {
            Self::NginxReload(probe) => reload(host, probe.as_ref()).map(|_| ()),
            Self::RestartAnswering(service) => {
                restart(host, &service.unit).and_then(|()| service.wait(host))
            }
            Self::RestartUnit(unit) => restart(host, unit),
            Self::Switch(switch) => switch.forward(host),
            Self::WallLoad(file) => host.load_wall(file),
            other => other.fire_again(host),
        }
    }

    /// After an undo: whatever runs takes up what was there before; what is down stays down.
    pub fn fire_again(&self, host: &Host) -> Result<()> {
        match self {
            Self::DaemonReload(unit) => {
                if host.is_unit_loaded(unit)? {
                    host.daemon_reload()
                } else {
                    Ok(())
                }
            }
            Self::LoginEnds(logins) => logins.settle(host),
            Self::MysqlPasswordEnds(both) => both.settle(host),
            Self::NginxReload(_) => {
                if host.unit(nginx::UNIT)?.is_active() {
                    outlast(&host.nginx_reload()?);
                }
                Ok(())
            }
            Self::PostgresReload => {
                host.sql("make PostgreSQL read its rules again", "SELECT pg_reload_conf()")
            }
            // A unit that came with what is undone is gone with it.
            Self::RestartUnit(unit) | Self::RestartAnswering(Answering { unit, .. })
                if host.unit(unit)?.load == "not-found" =>
            {
                Ok(())
            }
            Self::RestartUnit(unit) | Self::RestartAnswering(Answering { unit, .. }) => {
                restart(host, unit)
            }
            Self::StandbyGoes(switch) => switch.release_standby(host),
            Self::Switch(switch) => switch.back(host),
            Self::WallLoad(file) => {
                if host.wall()?.is_some() && host.meta(file)?.is_some() {
                    host.load_wall(file)
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// Makes nginx answer with its configuration; its older workers come back, which accept nobody.
pub(super) fn reload(host: &Host, probe: Option<&Probe>) -> Result<nginx::Workers> {
    if !host.unit(nginx::UNIT)?.is_active() {
        return Err(Error::not_ready("nginx_down", "nginx is not running")
            .hint("start it: `systemctl start nginx`, and see `journalctl -u nginx`"));
    }
    let old = host.nginx_reload()?;
    wait(host, probe, &old)?;
    Ok(old)
}

fn restart(host: &Host, unit: &str) -> Result<()> {
    host.redis_hang_up();
    // What is restarted on purpose is not what the limit on restarts is meant for.
    host.reset_failed(unit)?;
    host.unit_job(Verb::Restart, unit)
}

/// Waits until no older worker takes a request, but not for one that nginx will not replace.
fn outlast(old: &nginx::Workers) {
    let start = Instant::now();
    while !old.have_retired() && start.elapsed() < PATIENCE / 5 {
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// Waits until the newest version of a site answers, and no older one can any more.
fn wait(host: &Host, probe: Option<&Probe>, old: &nginx::Workers) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let asked = probe.map(Probe::ask);
        let answers = asked.as_ref().is_none_or(|asked| asked.as_ref().is_ok_and(|right| *right));
        if answers && old.have_retired() {
            return Ok(());
        }
        signals::check()?;
        if start.elapsed() > PATIENCE {
            return Err(failure(host, probe, asked));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}

fn failure(host: &Host, probe: Option<&Probe>, asked: Option<Result<bool>>) -> Error {
    // Rare, so only now do we ask nginx why: its configuration may have been broken meanwhile.
    match host.nginx_dump() {
        Ok(Err(broken)) => return broken.error(),
        Err(error) => return error,
        Ok(Ok(_)) => {}
    }
    let said = match (probe, asked) {
        (_, Some(Err(error))) => error.to_string(),
        (Some(probe), Some(Ok(false))) => {
            format!("`http://{}/` is answered by something else", probe.domain)
        }
        _ => "old workers still take requests".into(),
    };
    Error::failed("nginx did not take up its configuration in 10 s")
        .caused_by(said)
        .hint("see `journalctl -u nginx` and `/var/log/nginx/error.log`")
}

impl Probe {
    /// Whether it is this version that answers.
    fn ask(&self) -> Result<bool> {
        let answer = http::get(&self.domain, MARK_PATH, Duration::from_secs(2))?;
        Ok(answer.header(MARK) == Some(&self.mark))
    }
}

//! Which projects are reached by HTTPS, with which certificate, and why not.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Project, Registry, column, lost, projects::OF};
use crate::{
    error::{Error, Result},
    names::Domain,
};

/// A project's wish for HTTPS, and what became of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tls {
    pub source: TlsSource,
    /// Whether browsers are told to come by HTTPS alone from now on.
    pub hsts: bool,
    pub issued: Option<Issued>,
    pub trouble: Option<TlsTrouble>,
}

/// Where a project's certificate is from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TlsSource {
    /// An authority that is asked for one.
    #[default]
    Acme,
    /// A certbot on this server, which renews what goes by that name.
    Certbot(Domain),
    /// Whoever brought it.
    Own,
}

/// The certificate that a project has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Issued {
    /// Domains, of which one may begin with `*.`.
    pub names: Vec<String>,
    pub issuer: String,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// Why there is no certificate, or no newer one, or none for all domains.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TlsTrouble {
    pub kind: TlsState,
    pub why: String,
    pub failures: u32,
    /// Until then nobody asks by himself.
    pub next: Timestamp,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsState {
    Issued,
    /// Something else has to come first: a domain that leads here, an authority that answers.
    Pending,
    /// The authority said no.
    Failed,
}

impl TlsState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}

impl Tls {
    pub fn wanted(source: TlsSource) -> Self {
        Self { source, hsts: false, issued: None, trouble: None }
    }

    pub fn state(&self) -> TlsState {
        match (&self.issued, &self.trouble) {
            (Some(_), _) => TlsState::Issued,
            (None, Some(trouble)) => trouble.kind,
            (None, None) => TlsState::Pending,
        }
    }
}

/// `acme`, `own`, `certbot www.example.com`.
impl fmt::Display for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acme => f.write_str("acme"),
            Self::Certbot(name) => write!(f, "certbot {name}"),
            Self::Own => f.write_str("own"),
        }
    }
}

impl FromStr for TlsSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(' ') {
            None if text == "acme" => Ok(Self::Acme),
            None if text == "own" => Ok(Self::Own),
            Some(("certbot", name)) => name.parse().map(Self::Certbot),
            _ => Err(Error::failed(format!("`{}` gives no certificates", text.escape_debug()))),
        }
    }
}

/// Reads them into projects, which are sorted by name.
pub(super) fn fill(registry: &Registry, projects: &mut [Project], one: Option<&str>) -> Result<()> {
    let sql = format!(
        "SELECT project, source, hsts, names, issuer, issued_at, expires_at, state, reason, \
         failures, next_try FROM tls {OF}"
    );
    registry.each(projects, &sql, one, |project, row| {
        let text = |index: usize| row.get::<_, Option<String>>(index);
        let time = |index: usize| text(index).map(|at| at?.parse::<Timestamp>().ok());
        let issued = match (text(3)?, time(5)?, time(6)?) {
            (Some(names), Some(at), Some(until)) => Some(Issued {
                names: names.split(' ').map(str::to_owned).collect(),
                issuer: text(4)?.unwrap_or_default(),
                at,
                until,
            }),
            _ => None,
        };
        let trouble = match (text(7)?.as_deref(), text(8)?, time(10)?) {
            (Some(kind), Some(why), Some(next)) => Some(TlsTrouble {
                kind: if kind == "failed" { TlsState::Failed } else { TlsState::Pending },
                why,
                failures: row.get(9)?,
                next,
            }),
            _ => None,
        };
        project.tls = Some(Tls { source: column(row, 1)?, hsts: row.get(2)?, issued, trouble });
        Ok(())
    })
}

pub(super) fn insert(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    let Some(Tls { source, hsts, issued, trouble }) = &project.tls else { return Ok(()) };
    let (issued, trouble) = (issued.as_ref(), trouble.as_ref());
    tx.execute(
        "INSERT INTO tls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            project.name.as_str(),
            source.to_string(),
            hsts,
            issued.map(|issued| issued.names.join(" ")),
            issued.map(|issued| &issued.issuer),
            issued.map(|issued| issued.at.to_string()),
            issued.map(|issued| issued.until.to_string()),
            trouble.map(|trouble| trouble.kind.as_str()),
            trouble.map(|trouble| &trouble.why),
            trouble.map_or(0, |trouble| trouble.failures),
            trouble.map(|trouble| trouble.next.to_string()),
        ],
    )
    .map(|_| ())
}

/// Records a project's certificate instead of the one that it had.
pub(super) fn replace(tx: &Transaction<'_>, project: &Project) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM tls WHERE project = ?1", [project.name.as_str()])?;
    insert(tx, project)
}

impl Registry {
    /// Records what became of an attempt that changed nothing on the host.
    pub fn note_tls(&mut self, project: &Project) -> Result<()> {
        let tx = self.writing()?;
        replace(&tx, project).map_err(|e| lost(&e))?;
        tx.commit().map_err(|e| lost(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Change, NewOperation, Outcome, Way, tests::fresh};

    #[test]
    fn what_was_recorded_reads_back() {
        let (_dir, mut registry) = fresh();
        let new = NewOperation { project: None, verb: "x", actor: "root", way: Way::Undo };
        let (id, _) = registry.begin(&new, None).unwrap();
        let mut project = Project::plain("shop");
        registry.close(id, Outcome::Done, None, &[Change::Add(Box::new(project.clone()))]).unwrap();
        let at: Timestamp = "2026-11-21T09:30:12Z".parse().unwrap();
        let issued = Issued {
            names: vec!["*.a.test".into(), "b.test".into()],
            issuer: "Someone's CA".into(),
            at,
            until: at,
        };
        let trouble =
            TlsTrouble { kind: TlsState::Failed, why: "no".into(), failures: 3, next: at };
        for (source, issued, trouble) in [
            (TlsSource::Acme, None, None),
            (TlsSource::Certbot("a.test".parse().unwrap()), Some(issued.clone()), None),
            (TlsSource::Own, Some(issued), Some(trouble.clone())),
            (TlsSource::Acme, None, Some(trouble)),
        ] {
            project.tls = Some(Tls { source, hsts: true, issued, trouble });
            registry.note_tls(&project).unwrap();
            assert_eq!(registry.project(&project.name).unwrap().tls, project.tls);
        }
        assert!("certbot -x".parse::<TlsSource>().is_err());
    }
}

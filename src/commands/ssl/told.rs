//! How it stands with a project's certificate, as every verb tells it.

use jiff::Timestamp;
use serde::Serialize;

use super::{domains::Waiting, files};
use crate::{
    commands::Context,
    error::Result,
    names::ProjectName,
    projects::{self, covers},
    registry::{Project, Tls, TlsState},
};

#[derive(Serialize)]
pub(super) struct Told {
    project: String,
    pub(super) state: TlsState,
    source: String,
    url: String,
    /// What the certificate holds for.
    pub(super) names: Vec<String>,
    /// Domains of the project that it does not hold for.
    pub(super) without: Vec<String>,
    pub(super) waiting: Vec<Waiting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    /// Why there is none, or no newer one, or none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_try: Option<Timestamp>,
    hsts: bool,
    /// Whether the file is there and is of use to the web server.
    pub(super) on_disk: bool,
}

impl Told {
    pub(super) fn of(
        cx: &Context,
        project: &Project,
        tls: &Tls,
        waiting: Vec<Waiting>,
    ) -> Result<Self> {
        let names = tls.issued.as_ref().map(|issued| issued.names.clone()).unwrap_or_default();
        let domains = projects::domains(project, &cx.config)?;
        let lacks = domains.iter().filter(|domain| !covers(&names, domain));
        let trouble = tls.trouble.as_ref();
        Ok(Self {
            project: project.name.to_string(),
            state: tls.state(),
            source: tls.source.to_string(),
            url: projects::url(project, &cx.config)?,
            without: lacks.map(ToString::to_string).collect(),
            names,
            waiting,
            issuer: tls.issued.as_ref().map(|issued| issued.issuer.clone()),
            issued_at: tls.issued.as_ref().map(|issued| issued.at),
            expires_at: tls.issued.as_ref().map(|issued| issued.until),
            reason: trouble.map(|trouble| trouble.why.clone()),
            failures: trouble.map_or(0, |trouble| trouble.failures),
            next_try: trouble.map(|trouble| trouble.next),
            hsts: tls.hsts,
            on_disk: files::held(&cx.host, &project.name).is_some(),
        })
    }

    /// For a person, with the command that comes next where one has to.
    pub(super) fn text(&self, name: &ProjectName) -> String {
        let mut text = match (&self.expires_at, &self.issuer) {
            (Some(until), Some(issuer)) => format!(
                "{name} answers by HTTPS: {}\n  certificate of {issuer}, until {}\n",
                self.names.join(", "),
                date(*until)
            ),
            _ => format!(
                "{name} has no certificate yet ({}), and answers by HTTP\n",
                self.state.as_str()
            ),
        };
        if let (false, Some(_)) = (self.on_disk, &self.expires_at) {
            text.push_str("  its file is gone or of no use: hostkit repair ");
            text.push_str(&format!("{name}\n"));
        }
        if let Some(reason) = &self.reason {
            for line in reason.split("; ") {
                text.push_str(&format!("  {line}\n"));
            }
            text.push_str(&format!(
                "The server tries again by itself. At once:  hostkit ssl renew {name}\n"
            ));
        }
        text
    }
}

pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%-d %b %Y").to_string()
}

/// Tells how it stands after an attempt.
pub(super) fn result(
    cx: &mut Context,
    name: &ProjectName,
    verb: &str,
    waiting: Vec<Waiting>,
) -> Result<()> {
    let project = cx.registry()?.project(name)?;
    let Some(tls) = &project.tls else { return Ok(()) };
    let told = Told::of(cx, &project, tls, waiting)?;
    let text = told.text(name);
    cx.ui.result(verb, Some(name.as_str()), &told, &text);
    Ok(())
}

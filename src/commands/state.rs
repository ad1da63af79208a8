//! How a project is, as `list`, `status` and `info` tell it.

use std::collections::HashMap;

use serde::Serialize;

use super::Context;
use crate::{error::Result, names::ReleaseId, registry::Project, sys::systemd::Unit, ui::Paint};

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its removal has begun.
    Deleting,
    /// Nothing is deployed yet.
    Empty,
    Failing,
    /// It runs, and does not answer as it should. Only who asks it knows.
    Sick,
    Starting,
    Stopped,
    Up,
}

impl State {
    pub fn of(project: &Project, release: Option<&ReleaseId>, unit: Option<&Unit>) -> Self {
        match unit {
            _ if project.deleting => Self::Deleting,
            Some(unit) if unit.is_failing() => Self::Failing,
            Some(unit) if unit.is_active() => Self::Up,
            Some(unit) if unit.active == "activating" => Self::Starting,
            _ if release.is_none() => Self::Empty,
            _ => Self::Stopped,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Deleting => "deleting",
            Self::Empty => "empty",
            Self::Failing => "failing",
            Self::Sick => "sick",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Up => "up",
        }
    }

    pub fn painted(self, paint: Paint) -> String {
        match self {
            Self::Up => paint.green(&format!("{} up", paint.dot())),
            Self::Failing | Self::Sick => paint.red(&format!("{} {}", paint.dot(), self.word())),
            Self::Starting => paint.yellow(&format!("{} starting", paint.half())),
            Self::Deleting => paint.yellow(&format!("{} deleting", paint.half())),
            Self::Empty | Self::Stopped => paint.dim(&format!("{} {}", paint.ring(), self.word())),
        }
    }
}

/// A project's complete release, as its link says.
pub fn release(cx: &Context, project: &Project) -> Result<Option<ReleaseId>> {
    let home = project.name.home();
    let Some(to) = cx.host.read_link(&home.join("app"))? else { return Ok(None) };
    let id = to.strip_prefix("releases").ok().and_then(|id| id.to_str()?.parse::<ReleaseId>().ok());
    let complete = cx.host.meta(&home.join(&to).join(".complete"))?.is_some();
    Ok(id.filter(|_| complete))
}

/// The units of all projects that systemd has in memory; none where systemd is out of reach.
pub fn units(cx: &Context, in_full: bool) -> HashMap<String, Unit> {
    let pattern = "hostkit-*.service";
    let units = if in_full { cx.host.units_in_full(pattern) } else { cx.host.units(pattern) };
    units.unwrap_or_default()
}

//! Where requests go while a release with other routes comes.

use super::super::{Maker, site::Place};
use crate::{
    error::Result,
    names::Runtime,
    registry::{Live, Project},
    steps::{Detour, Switch, Text, Trigger},
};

/// The site for as long as the link and the processes are changed, and what makes nginx take up the
/// one that follows it; nothing where both releases have the same.
///
/// What is new answers at once if it can: its files are there, and so is its standby. Where it has
/// to be started first, what is old goes on as far as it can without a process.
pub(super) fn of(
    maker: &Maker<'_>,
    old: Option<&Live>,
    switch: &Switch,
) -> Result<Option<(Detour, Trigger)>> {
    let (Some(old), Some(new)) = (old, &maker.project.live) else { return Ok(None) };
    let is_php = |live: &Live| live.spec.runtime == Runtime::Php;
    if is_php(old) || is_php(new) {
        return Ok(None);
    }
    let before =
        Project { live: Some(old.clone()), runtime: old.spec.runtime, ..maker.project.clone() };
    let before = Maker { project: &before, ..*maker };
    let (site, end) = maker.site_file(Place::Link)?;
    if text(&before.site_file(Place::Link)?.0.text) == text(&site.text) {
        return Ok(None);
    }
    let (site, probe) = match (&switch.standby, &switch.new.gate) {
        (Some(_), _) => maker.site_file(Place::Standby)?,
        (None, None) => maker.site_file(Place::Release)?,
        (None, Some(_)) => before.site_file(Place::Release)?,
    };
    let detour = Detour { site, probe, mark: end.mark.clone() };
    Ok(Some((detour, Trigger::NginxReload(Some(end)))))
}

fn text(text: &Text) -> Option<&String> {
    match text {
        Text::Exactly(text) => Some(text),
        Text::Initially(_) | Text::Opaque(_) | Text::Secret(_) | Text::Unknown => None,
    }
}

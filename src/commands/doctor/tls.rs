//! What must hold of certificates: that they are there, are renewed in time, and lack no domain.

use jiff::{SignedDuration, Timestamp};

use super::{Check, Cure};
use crate::{
    commands::{Context, ssl},
    registry::{Project, TlsState},
};

/// By then one should have been renewed.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

pub fn checks(cx: &Context, projects: &[Project]) -> Vec<Check> {
    let living = projects.iter().filter(|project| !project.deleting);
    living.filter_map(|project| of(cx, project)).collect()
}

fn of(cx: &Context, project: &Project) -> Option<Check> {
    let (name, tls) = (&project.name, project.tls.as_ref()?);
    let title = format!("{name}: HTTPS");
    let again = format!("hostkit ssl renew {name}");
    let trouble = tls.trouble.as_ref();
    let Some(issued) = &tls.issued else {
        let state = tls.state().as_str();
        let why = trouble.map_or("nobody has asked for one yet", |trouble| trouble.why.as_str());
        return Some(
            Check::wrong(title, format!("no certificate yet ({state}): {why}")).fix(again),
        );
    };
    if ssl::files::held(&cx.host, name).is_none() {
        let why = "its certificate is gone or of no use, and the site answers by HTTP";
        return Some(
            Check::wrong(title, why)
                .fix(format!("hostkit repair {name}"))
                .cure(Cure::Repair(name.clone())),
        );
    }
    let left = issued.until.duration_since(Timestamp::now());
    let until = issued.until.strftime("%-d %b %Y");
    // Where certificates live for a week, two weeks are no measure.
    let soon = SOON.min(issued.until.duration_since(issued.at) / 6);
    if left < soon {
        let why = trouble.map(|trouble| format!(": {}", trouble.why)).unwrap_or_default();
        let ends = if left.is_negative() { "ended" } else { "ends" };
        let why = format!("its certificate {ends} on {until}{why}");
        return Some(Check::wrong(title, why).fix(again));
    }
    if let Some(trouble) = trouble {
        let what = if trouble.kind == TlsState::Failed { "failed" } else { "waits" };
        return Some(Check::wrong(title, format!("{what}: {}", trouble.why)).fix(again));
    }
    Some(Check::fine(title, format!("until {until}, {}", issued.names.join(", "))))
}

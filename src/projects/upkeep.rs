//! What the server does for certificates by itself.

use serde::Serialize;

use crate::{
    error::Result,
    plan::{Lane, Plan},
    steps::{Contents, Dir, File, Judge, Link, Owner, Running, Text, Trigger},
    templates::Templates,
};

/// Of a template that asks for nothing.
#[derive(Serialize)]
struct Nothing {}

const UNITS: &str = "/etc/systemd/system";

/// Units, and who asks for them.
const ALL: [(&str, &str, Option<&str>); 3] = [
    ("hostkit-nginx-guard.service", "systemd/nginx-guard.service", Some("nginx.service")),
    ("hostkit-ssl.service", "systemd/ssl.service", None),
    ("hostkit-ssl.timer", "systemd/ssl.timer", Some("timers.target")),
];

pub(super) fn certificates(plan: &mut Plan, templates: &Templates) -> Result<()> {
    plan.part("certificates", "renewed twice a day; none that is lost keeps nginx from starting");
    for (unit, template, wanted_by) in ALL {
        let path = format!("{UNITS}/{unit}");
        let file = File {
            path: path.clone().into(),
            owner: Owner::ROOT,
            mode: 0o644,
            text: Text::Exactly(templates.render(template, &Nothing {})?),
            judge: Judge::Nobody,
        };
        plan.notifying(Lane::Files, file, [Trigger::DaemonReload(unit.into())]);
        let Some(by) = wanted_by else { continue };
        let wants = format!("{UNITS}/{by}.wants");
        let dir = Dir {
            path: wants.clone().into(),
            owner: Owner::ROOT,
            mode: 0o755,
            contents: Contents::Stays,
        };
        plan.step(Lane::Files, dir);
        // nginx takes notice of who asks to come before it when it is read again.
        let read = [Trigger::DaemonReload(by.into())];
        let link = Link { at: format!("{wants}/{unit}").into(), to: path.into() };
        plan.notifying(Lane::Files, link, read);
    }
    plan.step(Lane::Files, Running { unit: "hostkit-ssl.timer".into() });
    Ok(())
}

//! Units that a timer of hostkit's own starts: put in place, and taken away.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Context;
use crate::{
    error::Result,
    sys::{Owner, systemd::Verb},
};

const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/timers.target.wants";

/// A timer and the service that it starts, both of one name.
pub struct Timer {
    pub name: &'static str,
    /// Their templates.
    pub service: &'static str,
    pub timer: &'static str,
}

impl Timer {
    fn unit(&self) -> String {
        format!("{}.timer", self.name)
    }

    fn link(&self) -> PathBuf {
        Path::new(WANTS).join(self.unit())
    }

    fn file(&self, kind: &str) -> PathBuf {
        Path::new(UNITS).join(format!("{}.{kind}", self.name))
    }

    pub fn is_on(&self, cx: &Context) -> Result<bool> {
        Ok(cx.host.meta(&self.link())?.is_some())
    }

    /// Sets it, or nothing of it.
    pub fn set(&self, cx: &Context, values: &impl Serialize) -> Result<()> {
        let set = self.put(cx, values);
        if set.is_err() {
            let _ = self.remove(cx);
        }
        set
    }

    fn put(&self, cx: &Context, values: &impl Serialize) -> Result<()> {
        let templates = cx.templates()?;
        for (kind, template) in [("service", self.service), ("timer", self.timer)] {
            let text = templates.render(template, values)?;
            cx.host.write(&self.file(kind), text.as_bytes(), Owner::ROOT, 0o644)?;
        }
        cx.host.make_dir(Path::new(WANTS), Owner::ROOT, 0o755)?;
        cx.host.replace_link(&self.link(), &self.file("timer"))?;
        cx.host.daemon_reload()?;
        cx.host.unit_job(Verb::Restart, &self.unit())
    }

    /// Takes it away, if it is there.
    pub fn remove(&self, cx: &Context) -> Result<()> {
        if !self.is_on(cx)? && cx.host.meta(&self.file("service"))?.is_none() {
            return Ok(());
        }
        if cx.host.unit(&self.unit())?.is_active() {
            cx.host.unit_job(Verb::Stop, &self.unit())?;
        }
        for path in [self.link(), self.file("timer"), self.file("service")] {
            cx.host.remove_file(&path)?;
        }
        cx.host.daemon_reload()
    }
}

//! A site on its way from one set of routes to another, as long as a switch lasts.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Before, Check, File, Probe, Step, trigger};
use crate::{error::Result, sys::Host};

/// How long a request may come after its connection, while routes change.
const LATECOMERS: Duration = Duration::from_secs(1);

/// Stands where the site does, and goes when the site comes: a step that follows puts that there.
///
/// Paths and what answers for them belong together, and neither nginx nor the processes wait for
/// each other. So for a moment the site names one release and not the link, and with it the process
/// that runs that release.
#[derive(Debug, Deserialize, Serialize)]
pub struct Detour {
    pub site: File,
    pub probe: Probe,
    /// By which the site at the end is known.
    pub mark: String,
}

impl Step for Detour {
    fn title(&self) -> String {
        format!("detour in {}", self.site.path.display())
    }

    /// None where the site is there already: nobody would put it there again afterwards.
    fn check(&self, host: &Host) -> Result<Check> {
        match host.read_text(&self.site.path)? {
            Some(text) if !text.contains(&self.mark) => self.site.check(host),
            _ => Ok(Check::InPlace),
        }
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.site.apply(host)?;
        let old = trigger::reload(host, Some(&self.probe))?;
        // Who had connected by then and sends a request only now gets an answer by the old routes,
        // for which the link has to stay. A stream that goes on is not waited for.
        let start = Instant::now();
        while !old.are_gone() && start.elapsed() < LATECOMERS {
            std::thread::sleep(Duration::from_millis(4));
        }
        Ok(())
    }

    /// Who asks for it afterwards is the web server's to answer: the file alone goes back here.
    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        self.site.undo(host, before)
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}

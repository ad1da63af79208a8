//! What was told: in the registry, and beside it while that can't be written. A disk that is full
//! must neither silence anybody nor have it said every minute.

use std::path::Path;

use crate::{
    commands::Context,
    error::{Error, Result},
    registry::Alert,
    sys::Owner,
};

/// In memory, for root alone.
const ASIDE: &str = "/run/hostkit/alerts.json";

pub(super) fn known(cx: &mut Context) -> Result<Vec<Alert>> {
    let aside = cx.host.read_text(Path::new(ASIDE))?;
    if let Some(known) = aside.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(known);
    }
    cx.registry()?.alerts()
}

pub(super) fn keep(cx: &mut Context, all: &[Alert]) -> Result<()> {
    let aside = Path::new(ASIDE);
    match cx.registry().and_then(|registry| registry.keep_alerts(all)) {
        Ok(()) => cx.host.remove_file(aside),
        Err(error) => {
            let text = serde_json::to_string(all).map_err(|e| Error::failed(e.to_string()))?;
            cx.host.write(aside, text.as_bytes(), Owner::ROOT, 0o600).map_err(|_| error)
        }
    }
}

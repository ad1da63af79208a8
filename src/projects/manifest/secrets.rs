//! `[secrets]`: those that processes read from files instead of the environment.

use super::{
    Manifest, keys,
    reader::{At, Table},
};
use crate::{
    envfile,
    error::{Error, Result},
    projects::ManagedEnv,
};

/// Each is a file that systemd opens for each process.
pub(super) const MOST_FILES: usize = 50;

pub(super) fn read(manifest: &Manifest, table: &Table<'_>) -> Result<Vec<String>> {
    table.knows(keys::SECRETS)?;
    let mut files: Vec<String> = Vec::new();
    for At { value, span } in table.strings("files", MOST_FILES)?.unwrap_or_default() {
        let refused = |why: String| table.refused(&span, why);
        envfile::check_key(value)
            .map_err(|Error { message, cause, .. }| refused(cause.unwrap_or(message)))?;
        if ManagedEnv::KEYS.contains(&value) {
            return Err(refused(format!("hostkit sets `{value}` in each `.env`")));
        }
        if manifest.generated.contains_key(value) || manifest.environment.contains_key(value) {
            return Err(refused(format!("`[env]` gives `{value}` a value already")));
        }
        if files.iter().any(|file| file == value) {
            return Err(refused(format!("`{value}` is listed twice")));
        }
        files.push(value.to_owned());
    }
    files.sort_unstable();
    Ok(files)
}

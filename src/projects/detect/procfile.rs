//! `Procfile`: one process a line, `name: command`.

use super::{Asked, Found, Start, in_full};
use crate::{names::Runtime, projects::manifest};

/// The start that the file's `web` line says. The others are told, since nothing runs them.
pub(super) fn start(this: &Asked<'_>, runtime: Runtime, found: &mut Found) -> Option<Start> {
    let lines = this.tree.text("Procfile").lines().filter_map(|line| line.split_once(':'));
    let lines: Vec<(&str, &str)> = lines.map(|(name, rest)| (name.trim(), rest.trim())).collect();
    if lines.iter().any(|(name, _)| *name != "web" && !name.starts_with('#')) {
        found.notes.push(
            "only `web` of the Procfile runs: write the others into hostkit.toml as `[process.…]`"
                .into(),
        );
    }
    let (_, command) = lines.into_iter().find(|(name, _)| *name == "web")?;
    match manifest::words(command) {
        Ok(mut command) => {
            // What is below a part gets its path with all else of that part.
            in_full(&mut command, runtime, "");
            Some(Start { command, directory: String::new() })
        }
        Err(refused) => {
            found.notes.push(format!("`web` of the Procfile can't be used: {}", refused.why));
            None
        }
    }
}

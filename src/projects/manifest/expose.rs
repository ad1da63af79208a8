//! `[expose]`: what visitors reach, environment by environment.

use std::collections::BTreeMap;

use super::{
    Manifest, keys,
    reader::{Table, printable},
};
use crate::{
    error::Result,
    names::{Environment, nearest},
};

pub(super) const MOST_EXPOSED: usize = 50;

/// Names are those of processes and routes that `manifest` has; `web` is there unless the tree
/// says otherwise.
pub(super) fn read(
    manifest: &Manifest,
    table: &Table<'_>,
) -> Result<BTreeMap<Environment, Vec<String>>> {
    table.knows(keys::EXPOSE)?;
    let processes = manifest.processes.iter().map(|process| process.name.as_str());
    let paths = manifest.routes.iter().map(|route| route.path.as_str());
    let known: Vec<&str> = std::iter::once("web").chain(processes).chain(paths).collect();
    let mut all = BTreeMap::new();
    for of in Environment::ALL {
        let Some(names) = table.strings(of.as_str(), MOST_EXPOSED)? else { continue };
        if let Some(at) = names.iter().find(|at| !known.contains(&at.value)) {
            let what = if at.value.starts_with('/') { "route" } else { "process" };
            let why = format!("there is no {what} `{}`", printable(at.value));
            let error = table.refused(&at.span, why);
            return Err(match nearest(at.value, known.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("there are {}", known.join(", "))),
            });
        }
        all.insert(of, names.iter().map(|at| at.value.to_owned()).collect());
    }
    Ok(all)
}

//! Static sites: files as they are, or made by a build.

use super::{Asked, Found, node, package::Package};

/// Where builds put a site, the likeliest first.
const CANDIDATES: &[&str] = &["dist", "build", "out"];

pub(super) fn find(this: &Asked<'_>, package: &Package) -> Found {
    let Asked { tree, manifest, own_start, .. } = this;
    let mut found = Found { public: manifest.public.clone(), ..Found::default() };
    if own_start.is_some() {
        found.notes.push("nginx serves the files, so the start command is not used".into());
    }
    let is_built = package.script("build").is_some() || manifest.build.steps.is_some();
    if is_built {
        node::build_only(this, package, &mut found);
    }
    // Routes say by themselves what is served.
    if found.public.is_some() || !manifest.routes.is_empty() {
        return found;
    }
    if is_built {
        let candidates: &[&str] =
            if node::next_output(tree) == Some("export") { &["out"] } else { CANDIDATES };
        found.public_candidates = candidates.iter().map(|&dir| dir.to_owned()).collect();
        return found;
    }
    let dirs = ["public"].iter().chain(CANDIDATES);
    let below = dirs.copied().find(|dir| tree.has(&format!("{dir}/index.html")));
    found.public = match below {
        Some(dir) if !tree.has("index.html") => Some(dir.to_owned()),
        _ => Some(String::new()),
    };
    if below.is_none() && !tree.has("index.html") {
        found.notes.push("there is no index.html, so the first page is empty".into());
    }
    found
}

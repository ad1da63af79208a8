//! Routes, and what they lead to.

use super::Asked;
use crate::{
    error::{Error, Result},
    names::Runtime,
    release::{Kind, Process, Route},
};

/// Whether there are routes, and nginx alone can answer for all of them.
pub(super) fn need_no_process(this: &Asked<'_>) -> bool {
    let routes = &this.manifest.routes;
    !routes.is_empty()
        && this.manifest_web().is_none()
        && routes.iter().all(|route| route.process().is_none())
}

/// Fails where nothing answers on the port that a route leads to, or the runtime has none.
pub(super) fn check(this: &Asked<'_>, runtime: Runtime, processes: &[Process]) -> Result<()> {
    let routes = &this.manifest.routes;
    if routes.is_empty() {
        return Ok(());
    }
    if runtime == Runtime::Php {
        return Err(Error::usage("no_process", "routes can't lead to php-fpm")
            .caused_by(format!("`{}` is a tree in PHP", this.project))
            .hint("leave out `[routes]`, or run a server of your own: `runtime = \"custom\"`"));
    }
    let Some(route) = routes.iter().find(|route: &&Route| route.process().is_some()) else {
        return Ok(());
    };
    if processes.iter().any(|process| process.kind == Kind::Web) {
        return Ok(());
    }
    Err(Error::usage("no_process", format!("nothing would answer for `{}`", route.path))
        .caused_by("it leads to the process `web`, and there is none")
        .hint(
            "write into hostkit.toml:\n[process.web]\ncommand = \"venv/bin/uvicorn main:app \
             --port $PORT\"",
        ))
}

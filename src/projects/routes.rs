//! A project's routes as nginx is told of them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{expose, site::Place};
use crate::{
    names::ProjectName,
    registry::Project,
    release::{Answer, Files, Proxied, Redirect, Route, Spec},
};

#[derive(Serialize)]
pub(super) struct Location<'a> {
    path: &'a str,
    /// Which of all it is.
    number: usize,
    is_page: bool,
    /// The path without its slash, where that leads there.
    slashless: Option<&'a str>,
    /// As an expression that finds it in a request, without the slash.
    expression: String,
    /// Whether nobody gets there, in the project's environment.
    hidden: bool,
    /// One of these.
    files: Option<Served>,
    process: Option<Passed<'a>>,
    redirect: Option<Sent<'a>>,
    allow: &'a [String],
    deny: &'a [String],
}

#[derive(Serialize)]
struct Served {
    root: String,
    is_page: bool,
    /// Whether nginx serves what is directly below the domain, and needs no other name for it.
    is_top: bool,
    /// Where files may lie that the project's processes bring.
    within: Option<String>,
    /// The type of a page whose own name does not tell it.
    is_html: bool,
    spa: bool,
    cache: Option<u64>,
    /// Where the release before has what this one has not.
    before: Option<String>,
    looks_back: String,
}

#[derive(Clone, Serialize)]
struct Passed<'a> {
    /// What is taken away.
    strip: Option<&'a str>,
    read_timeout: u64,
    send_timeout: u64,
    body: Option<u64>,
    buffering: bool,
}

#[derive(Serialize)]
struct Sent<'a> {
    to: &'a str,
    /// Whether what comes after the path goes along.
    with_rest: bool,
    status: u16,
}

/// What nginx waits for where nobody says anything: an hour for an answer, a minute to be read.
const READ: u64 = 3600;
const SEND: u64 = 60;

pub(super) fn locations<'a>(project: &Project, spec: &'a Spec, place: Place) -> Vec<Location<'a>> {
    let of = |(number, route): (usize, &'a Route)| {
        let mut location = Location { number, ..location(project, spec, route, place) };
        let open = bare(&mut location, route);
        std::iter::once(location).chain(open)
    };
    spec.routes.iter().enumerate().flat_map(of).collect()
}

fn location<'a>(project: &Project, spec: &'a Spec, route: &'a Route, place: Place) -> Location<'a> {
    let open = route.path.strip_suffix('/').filter(|path| !path.is_empty());
    let is_taken = |path: &&str| spec.routes.iter().any(|other| other.path == *path);
    let hidden = !expose::is_reachable(project, spec, route);
    let (files, process, redirect) = match &route.to {
        _ if hidden => (None, None, None),
        Answer::Static(files) => (Some(served(project, spec, route, files, place)), None, None),
        Answer::Process(proxied) => (None, Some(passed(proxied, open)), None),
        Answer::Redirect(redirect) => (None, None, Some(sent(redirect, route))),
    };
    Location {
        path: &route.path,
        number: 0,
        is_page: route.is_page(),
        slashless: open.filter(|path| !is_taken(path)),
        expression: expression(open.unwrap_or_default()),
        hidden,
        files,
        process,
        redirect,
        allow: &route.allow,
        deny: &route.deny,
    }
}

/// The path without its slash as a page of its own, for what can't be sent to another path: who
/// opens a websocket follows no redirect.
fn bare<'a>(location: &mut Location<'a>, route: &'a Route) -> Option<Location<'a>> {
    let Answer::Process(proxied) = &route.to else { return None };
    let path = location.slashless.take_if(|_| proxied.websocket && !location.hidden)?;
    Some(Location {
        path,
        number: location.number,
        is_page: true,
        slashless: None,
        expression: String::new(),
        hidden: false,
        files: None,
        process: location.process.clone(),
        redirect: None,
        allow: &route.allow,
        deny: &route.deny,
    })
}

/// Letters, digits and a few signs, of which some mean something in an expression.
fn expression(path: &str) -> String {
    path.chars().map(|c| if ".+".contains(c) { format!("[{c}]") } else { c.into() }).collect()
}

fn served(project: &Project, spec: &Spec, route: &Route, files: &Files, place: Place) -> Served {
    let shared = spec.shared.contains(&files.at).then(|| shared_dir(&project.name));
    let base = shared.clone().unwrap_or_else(|| place.root(project));
    let html = |path: &str| Path::new(path).extension().is_some_and(|ending| ending == "html");
    Served {
        root: format!("{base}/{}", files.at),
        is_page: route.is_page(),
        is_top: route.path == "/",
        within: shared.clone(),
        is_html: route.is_page() && html(&files.at) && !html(&route.path),
        spa: files.spa,
        cache: files.cache,
        looks_back: before(&project.name).display().to_string(),
        before: (shared.is_none() && keeps(route))
            .then(|| format!("{}/{}", before(&project.name).display(), files.at)),
    }
}

/// Whether visitors keep files of a directory, and so pages that name them.
fn keeps(route: &Route) -> bool {
    !route.is_page() && route.files().is_some_and(|files| files.cache.is_some())
}

/// A link to the release before, for who opened a page of it and asks for its files only now.
pub(super) fn before(name: &ProjectName) -> PathBuf {
    name.home().join("releases/.before")
}

/// Whether a release needs that link.
pub(super) fn looks_back(spec: &Spec) -> bool {
    spec.routes.iter().any(keeps)
}

fn shared_dir(name: &ProjectName) -> String {
    format!("/home/{name}/shared")
}

fn passed<'a>(proxied: &Proxied, open: Option<&'a str>) -> Passed<'a> {
    let usual = if proxied.websocket { (READ, READ) } else { (READ, SEND) };
    let (read_timeout, send_timeout) = proxied.timeout.map_or(usual, |time| (time, time));
    Passed {
        strip: open.filter(|_| proxied.strip),
        read_timeout,
        send_timeout,
        body: proxied.body,
        buffering: proxied.buffering,
    }
}

fn sent<'a>(redirect: &'a Redirect, route: &Route) -> Sent<'a> {
    let with_rest = !route.is_page() && redirect.to.ends_with('/');
    let to = if with_rest { redirect.to.trim_end_matches('/') } else { &redirect.to };
    Sent { to, with_rest, status: redirect.status }
}

#[cfg(test)]
mod tests;

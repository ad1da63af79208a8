//! `[routes]`: which part of the project answers for which path.
//!
//! All of it ends in nginx's configuration, so a text holds only what means nothing there.

mod access;

pub(super) use access::MOST as MOST_ADDRESSES;

use super::{
    Manifest, path,
    reader::{At, Table, printable},
};
use crate::{
    config::{Size, Wait},
    error::Result,
    names::{Domain, Runtime, nearest},
    release::{Answer, Files, Proxied, Redirect, Route, lies_in},
    steps::MARK_PATH,
};

const MOST: usize = 50;
const LONGEST: usize = 200;

const DAY: u64 = 24 * 3600;

const KEYS: &[(&str, &[&str])] = &[
    ("process", &["allow", "body", "buffering", "deny", "strip", "timeout", "websocket"]),
    ("redirect", &["status"]),
    ("static", &["allow", "cache", "deny", "spa"]),
];

/// What hostkit itself answers, or may have to.
const TAKEN: &[&str] = &[MARK_PATH, "/.well-known/acme-challenge"];

/// In the order of their paths. `so_far` is what the tables before say.
pub(super) fn read(manifest: &Table<'_>, so_far: &Manifest) -> Result<Vec<Route>> {
    let Some(table) = manifest.table("routes")? else { return Ok(Vec::new()) };
    let paths = table.keys();
    if let Some(path) = paths.get(MOST) {
        return Err(table.refused(&path.span, format!("a project has {MOST} routes at most")));
    }
    if let (Some(path), true) = (paths.first(), so_far.runtime == Some(Runtime::Php)) {
        return Err(table
            .refused(&path.span, "php-fpm is no process that a route can lead to")
            .hint("leave out `[routes]`: nginx sends files, and all else goes to index.php"));
    }
    if let (Some(path), Some(public)) = (paths.first(), &so_far.public) {
        return Err(table
            .refused(&path.span, "`project.public` and `[routes]` do not go together")
            .hint(format!("\"/\" = {{ static = \"{public}\" }}")));
    }
    let mut routes = Vec::new();
    for path in &paths {
        let fault = path_fault(path.value);
        fault.map_or(Ok(()), |(why, hint)| Err(table.refused(&path.span, why).hint(hint)))?;
        if !table.is_table(path.value) {
            let why = format!("the route `{}` wants a table", path.value);
            return Err(table
                .refused(&path.span, why)
                .hint("{ static = \"dist\" }, { process = \"web\" } or { redirect = \"/\" }"));
        }
        if let Some(route) = table.table(path.value)? {
            routes.push(Route {
                path: path.value.to_owned(),
                to: answer(path.value, &route, so_far)?,
                allow: access::read(&route, "allow")?,
                deny: access::read(&route, "deny")?,
            });
        }
    }
    routes.sort_by(|a, b| a.path.cmp(&b.path));
    for path in &paths {
        check_loop(&table, path, &routes)?;
    }
    Ok(routes)
}

/// Why there can't be such a path, and what to do.
fn path_fault(path: &str) -> Option<(String, String)> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let is_part = |(at, part): (usize, &str)| {
        let is_open = !part.starts_with('.') || (at == 0 && part == ".well-known");
        !part.is_empty() && is_open && part.chars().all(fits)
    };
    let below = path.strip_prefix('/').map(|below| below.strip_suffix('/').unwrap_or(below));
    let is_path = match below {
        Some("") => path == "/",
        Some(below) => below.split('/').enumerate().all(is_part),
        None => false,
    };
    if !is_path || path.len() > LONGEST {
        return Some((
            format!("`{}` is no path of a route", printable(path)),
            "one begins with `/`, has letters, digits and . _ - + @, and no part of it begins with \
             a dot: \"/api/\""
                .into(),
        ));
    }
    let is_taken = |taken: &&&str| lies_in(path.trim_end_matches('/'), taken);
    TAKEN.iter().find(is_taken).map(|_| {
        (format!("`{path}` is answered by hostkit itself"), "give it another path".to_owned())
    })
}

fn answer(path: &str, table: &Table<'_>, so_far: &Manifest) -> Result<Answer> {
    let all: Vec<&str> =
        KEYS.iter().flat_map(|(kind, more)| std::iter::once(*kind).chain(more.to_vec())).collect();
    table.knows(&all)?;
    let keys = table.keys();
    let mut kinds = keys.iter().filter(|key| KEYS.iter().any(|(kind, _)| *kind == key.value));
    let (kind, other) = (kinds.next(), kinds.next());
    let Some(kind) = kind else {
        return Err(table
            .refused(&table.span, format!("nothing says what answers for `{path}`"))
            .hint("one of static, process and redirect"));
    };
    if let Some(other) = other {
        let why = format!("`{path}` has a {} and a {}, and one answers", kind.value, other.value);
        return Err(table.refused(&other.span, why));
    }
    let is_of = |key: &str, (kind, more): &(&str, &[&str])| *kind == key || more.contains(&key);
    let own = KEYS.iter().find(|(of, _)| *of == kind.value);
    let foreign = keys.iter().find(|key| own.is_some_and(|own| !is_of(key.value, own)));
    if let Some(key) = foreign {
        let wanted: Vec<&str> =
            KEYS.iter().filter(|all| is_of(key.value, all)).map(|(of, _)| *of).collect();
        let why = format!("`{}` is for a route with a {}", key.value, wanted.join(" or a "));
        return Err(table.refused(&key.span, why));
    }
    match kind.value {
        "process" => proxied(path, table, so_far).map(Answer::Process),
        "redirect" => redirect(path, table).map(Answer::Redirect),
        _ => files(path, table, so_far).map(Answer::Static),
    }
}

fn files(route: &str, table: &Table<'_>, so_far: &Manifest) -> Result<Files> {
    let Some(at) = table.string("static")? else { return Err(empty(table)) };
    let refused = |why: String| table.refused(&at.span, why);
    let dir = path(&at).map_err(refused)?;
    let first = dir.split('/').next().unwrap_or_default();
    if first.is_empty() {
        return Err(refused("`.` is all of the release, with what nobody is to see".into())
            .hint("put what is to be seen into a directory of its own: static = \"public\""));
    }
    let own = [".complete", ".release", "venv"];
    if dir.split('/').any(|part| part == ".git") || own.contains(&first) {
        return Err(refused(format!("`{dir}` is not for visitors")));
    }
    if so_far.shared.contains(&dir) && !route.ends_with('/') {
        return Err(refused(format!("`{dir}` is a directory, and `{route}` one page"))
            .hint(format!("\"{route}/\" is all that lies below")));
    }
    if let Some(shared) = so_far.shared.iter().find(|s| **s != dir && lies_in(&dir, s)) {
        return Err(refused(format!("`{dir}` lies in `{shared}`, which is shared as a whole"))
            .hint(format!("share what is to be seen alone: shared = [\"{dir}\"]")));
    }
    if let Some(shared) = so_far.shared.iter().find(|s| **s != dir && lies_in(s, &dir)) {
        return Err(refused(format!("`{dir}` holds `{shared}`, which is shared"))
            .hint(format!("give that a route of its own: {{ static = \"{shared}\" }}")));
    }
    let spa = table.boolean("spa")?.unwrap_or(false);
    if spa && !route.ends_with('/') {
        return Err(refused(format!("`{route}` is one page, so nothing can lie below"))
            .hint(format!("\"{route}/\" is all that lies below")));
    }
    Ok(Files { at: dir, spa, cache: cache(table)? })
}

/// A time, also in days, weeks and years: `"1y"`.
fn cache(table: &Table<'_>) -> Result<Option<u64>> {
    let Some(at) = table.string("cache")? else { return Ok(None) };
    let unit = |sign: char, days: u64| {
        let count: u64 = at.value.strip_suffix(sign)?.parse().ok()?;
        count.checked_mul(days * DAY)
    };
    let long = unit('y', 365).or_else(|| unit('w', 7)).or_else(|| unit('d', 1));
    let seconds = if let Some(seconds) = long {
        seconds
    } else {
        let wait = at.value.parse::<Wait>();
        wait.map_err(|why| table.refused(&at.span, printable(&why)))?.0.as_secs()
    };
    if !(1..=10 * 365 * DAY).contains(&seconds) {
        let why = "`cache` wants a time from 1s to 10y".to_owned();
        return Err(table.refused(&at.span, why));
    }
    Ok(Some(seconds))
}

fn proxied(route: &str, table: &Table<'_>, so_far: &Manifest) -> Result<Proxied> {
    let Some(At { value: process, span }) = table.string("process")? else {
        return Err(empty(table));
    };
    let mut names = so_far.processes.iter().map(|process| process.name.as_str());
    if process != "web" {
        let is_there = names.any(|name| name == process);
        let error = if is_there {
            table.refused(&span, format!("`{process}` has no port"))
        } else {
            table.refused(&span, format!("there is no process `{}`", printable(process)))
        };
        return Err(match nearest(process, ["web"]) {
            Some(meant) if !is_there => error.hint(format!("did you mean `{meant}`?")),
            _ => error.hint("only `web` answers requests"),
        });
    }
    let strip = table.boolean("strip")?.unwrap_or(false);
    if strip && (route == "/" || !route.ends_with('/')) {
        let why = format!("`strip` takes away what comes before the page, and `{route}` has none");
        return Err(table.refused(&table.span, why).hint("\"/api/\" = { …, strip = true }"));
    }
    let body = match table.string("body")? {
        Some(At { value, span }) => {
            let size: Size =
                value.parse().map_err(|why: String| table.refused(&span, printable(&why)))?;
            if !((1 << 10)..=(64 << 30)).contains(&size.0) {
                return Err(table.refused(&span, "`body` wants 1K to 64G"));
            }
            Some(size.0)
        }
        None => None,
    };
    Ok(Proxied {
        process: process.to_owned(),
        strip,
        websocket: table.boolean("websocket")?.unwrap_or(false),
        timeout: table.seconds("timeout", 1, DAY)?,
        body,
        buffering: table.boolean("buffering")?.unwrap_or(true),
    })
}

fn redirect(route: &str, table: &Table<'_>) -> Result<Redirect> {
    let Some(at) = table.string("redirect")? else { return Err(empty(table)) };
    let rest = |address: &str| match address.split_once('/') {
        Some((host, path)) => (host.to_owned(), format!("/{path}")),
        None => (address.to_owned(), "/".to_owned()),
    };
    let address = at.value.strip_prefix("https://").or_else(|| at.value.strip_prefix("http://"));
    let is_target = match address.map(rest) {
        Some((host, path)) => host.parse::<Domain>().is_ok() && path_fault(&path).is_none(),
        None => path_fault(at.value).is_none(),
    };
    if !is_target || at.value.len() > LONGEST {
        return Err(table
            .refused(&at.span, format!("`{}` is nowhere to send anybody", printable(at.value)))
            .hint("a path or an address: \"/new/\", \"https://example.com/\""));
    }
    let status = match table.number("status")? {
        Some(At { value, span }) => match u16::try_from(value) {
            Ok(status @ (301 | 302 | 303 | 307 | 308)) => status,
            _ => {
                return Err(table
                    .refused(&span, format!("{value} sends nobody anywhere"))
                    .hint(format!("301 for good, 302 for now: {route} = {{ …, status = 301 }}")));
            }
        },
        None => 302,
    };
    Ok(Redirect { to: at.value.to_owned(), status })
}

/// Refuses a redirect to where it itself answers.
fn check_loop(table: &Table<'_>, path: &At<&str>, routes: &[Route]) -> Result<()> {
    let Some(route) = routes.iter().find(|route| route.path == path.value) else { return Ok(()) };
    let Answer::Redirect(redirect) = &route.to else { return Ok(()) };
    let covers = |route: &&Route| {
        route.path == redirect.to || (!route.is_page() && redirect.to.starts_with(&route.path))
    };
    let answers = routes.iter().filter(covers).max_by_key(|route| route.path.len());
    if answers == Some(route) {
        let why = format!("`{}` would send visitors back to itself", path.value);
        return Err(table.refused(&path.span, why));
    }
    Ok(())
}

/// A key that was there and is not.
fn empty(table: &Table<'_>) -> crate::error::Error {
    table.refused(&table.span, "nothing says what answers")
}

#[cfg(test)]
mod tests;

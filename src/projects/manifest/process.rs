//! `[process.…]`: what runs, and when it counts as up.

use std::collections::BTreeMap;

use super::{
    Manifest, command, keys, path,
    reader::{At, Table, printable},
    schedule::on_calendar,
};
use crate::{
    error::Result,
    names::{Runtime, alias_fault},
    release::{Health, Kind, Process},
};

const MOST: usize = 20;
pub(super) const MOST_ALIASES: usize = 5;

/// Names that hostkit gives to units of its own.
const RESERVED: &[&str] = &[
    "auth", "booking", "build", "chatbot", "next", "payments", "redis", "release", "sms",
    "standby", "voice",
];

/// `web` first, the others by name. `so_far` is what the tables before say.
pub(super) fn read(manifest: &Table<'_>, so_far: &Manifest) -> Result<Vec<Process>> {
    let Some(table) = manifest.table("process")? else { return Ok(Vec::new()) };
    let names = table.keys();
    if let Some(name) = names.get(MOST) {
        return Err(table.refused(&name.span, format!("a project has {MOST} processes at most")));
    }
    let mut processes = Vec::new();
    for name in names {
        check_name(&table, &name)?;
        if let Some(process) = table.table(name.value)? {
            processes.push(one(name.value, &process, so_far)?);
        }
    }
    processes.sort_by(|a, b| (a.name != "web", &a.name).cmp(&(b.name != "web", &b.name)));
    Ok(processes)
}

/// Other names of units, each with the process that it is of.
pub(super) fn aliases(manifest: &Table<'_>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let Some(table) = manifest.table("process")? else { return Ok(all) };
    for name in table.keys() {
        let Some(process) = table.table(name.value)? else { continue };
        for At { value, span } in process.strings("aliases", MOST_ALIASES)?.unwrap_or_default() {
            if let Some((why, hint)) = alias_fault(value) {
                return Err(process.refused(&span, why).hint(hint));
            }
            if process.string("when")?.is_some() {
                let why =
                    format!("`{}` runs once a deploy, and has no unit that stays", name.value);
                return Err(process.refused(&span, why));
            }
            if let Some(other) = all.insert(value.to_owned(), name.value.to_owned()) {
                let why = format!("`{value}` is another name of `{other}` already");
                return Err(process.refused(&span, why));
            }
        }
    }
    Ok(all)
}

fn check_name(table: &Table<'_>, name: &At<&str>) -> Result<()> {
    let At { value, span } = name;
    name_fault(value).map_or(Ok(()), |(why, hint)| Err(table.refused(span, why).hint(hint)))
}

/// Why no process can have that name, and what to do, if none can.
pub(in crate::projects) fn name_fault(name: &str) -> Option<(String, String)> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.len() > 31
        || !name.chars().all(fits)
    {
        let hint = "a name has up to 31 of a-z, 0-9 and -, and starts with a letter";
        return Some((format!("`{}` is no name of a process", printable(name)), hint.into()));
    }
    RESERVED.contains(&name).then(|| {
        let why = format!("hostkit itself runs a unit called `{name}`");
        (why, format!("`{name}-worker` would do"))
    })
}

fn one(name: &str, table: &Table<'_>, so_far: &Manifest) -> Result<Process> {
    table.knows(keys::PROCESS)?;
    if name == "web" && so_far.runtime == Some(Runtime::Php) {
        return pages(table, so_far.switch.timeout);
    }
    let directory = match table.string("directory")? {
        Some(at) => path(&at).map_err(|why| table.refused(&at.span, why))?,
        None => String::new(),
    };
    let kind = kind(name, table)?;
    let health = health(table, so_far.switch.timeout)?;
    if let (Some(at), true) = (&health, kind != Kind::Web) {
        return Err(table
            .refused(&at.span, format!("`{name}` has no port, so no page can tell of its health"))
            .hint("only `[process.web]` has `health`"));
    }
    let metrics = metrics(table)?;
    if let (Some(at), true) = (&metrics, kind != Kind::Web) {
        return Err(table
            .refused(&at.span, format!("`{name}` has no port, so no page can tell its figures"))
            .hint("only `[process.web]` has `metrics`"));
    }
    // Last, so that who asks for all mistakes hears of the others first.
    let Some(line) = table.string("command")? else {
        return Err(table
            .refused(&table.span, format!("the process `{name}` has no command"))
            .hint("command = \"venv/bin/python -m worker\""));
    };
    let words = command::words(line.value).map_err(|command::Refused { why, hint }| {
        let error = table.refused(&line.span, printable(&why));
        match hint {
            Some(hint) => error.hint(hint),
            None => error.hint("give a program and its arguments: \"venv/bin/python -m worker\""),
        }
    })?;
    let health = health.map(|at| at.value);
    let metrics = metrics.map(|at| at.value.to_owned());
    Ok(Process { name: name.into(), command: words, directory, kind, health, metrics })
}

/// What is to be said of the web process where php-fpm is that.
fn pages(table: &Table<'_>, timeout: u64) -> Result<Process> {
    if let Some(At { value, span }) =
        table.keys().into_iter().find(|key| !["aliases", "health"].contains(&key.value))
    {
        let why = format!("php-fpm is the web process, so it has no `{}`", printable(value));
        return Err(table
            .refused(&span, why)
            .hint("for a server of your own in PHP: `runtime = \"custom\"`"));
    }
    Ok(Process {
        name: "web".into(),
        command: Vec::new(),
        directory: String::new(),
        kind: Kind::Web,
        health: health(table, timeout)?.map(|at| at.value),
        metrics: None,
    })
}

fn kind(name: &str, table: &Table<'_>) -> Result<Kind> {
    let when = table.string("when")?;
    let schedule = table.string("schedule")?;
    let span = when.as_ref().or(schedule.as_ref()).map(|at| at.span.clone());
    if let (Some(span), "web") = (&span, name) {
        return Err(table.refused(span, "`web` runs all the time"));
    }
    match (when, schedule) {
        (Some(at), Some(_)) => {
            Err(table.refused(&at.span, format!("`{name}` has a schedule too, and only one holds")))
        }
        (Some(at), None) if at.value == "release" => Ok(Kind::Release),
        (Some(at), None) => Err(table
            .refused(&at.span, format!("`when` can't be `{}`", printable(at.value)))
            .hint("there is `when = \"release\"`: once a deploy, before requests move")),
        (None, Some(at)) => on_calendar(at.value).map(Kind::Scheduled).map_err(|why| {
            table.refused(&at.span, why).hint("`systemd-analyze calendar '…'` tries a time")
        }),
        (None, None) if name == "web" => Ok(Kind::Web),
        (None, None) => Ok(Kind::Worker),
    }
}

fn health(process: &Table<'_>, timeout: u64) -> Result<Option<At<Health>>> {
    if !process.is_table("health") {
        let Some(at) = process.string("health")? else { return Ok(None) };
        let path = page(process, &at)?;
        let value = Health { path, status: None, body: None, timeout };
        return Ok(Some(At { value, span: at.span }));
    }
    let Some(table) = process.table("health")? else { return Ok(None) };
    table.knows(keys::HEALTH)?;
    let path = match table.string("path")? {
        Some(at) => page(&table, &at)?,
        None => return Err(table.refused(&table.span, "`health` has no path")),
    };
    let status = match table.number("status")? {
        Some(at) => match u16::try_from(at.value) {
            Ok(status) if (100..=599).contains(&status) => Some(status),
            _ => return Err(table.refused(&at.span, format!("{} is no HTTP status", at.value))),
        },
        None => None,
    };
    let body = match table.string("body")? {
        Some(at) if at.value.is_empty() || at.value.len() > 1024 => {
            return Err(table.refused(&at.span, "`body` wants 1 to 1024 bytes"));
        }
        body => body.map(|at| at.value.to_owned()),
    };
    let timeout = table.seconds("timeout", 1, 3600)?.unwrap_or(timeout);
    Ok(Some(At { value: Health { path, status, body, timeout }, span: table.span.clone() }))
}

/// A path as it stands in a request.
fn page(table: &Table<'_>, at: &At<&str>) -> Result<String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    if at.value.starts_with('/') && at.value.len() <= 512 && at.value.chars().all(fits) {
        return Ok(at.value.to_owned());
    }
    Err(table
        .refused(&at.span, format!("`{}` is no path of a page", printable(at.value)))
        .hint("write one like \"/health\""))
}

/// A path as Prometheus takes one: it would write a `?` or a `%` otherwise than it stands there.
fn metrics<'a>(process: &Table<'a>) -> Result<Option<At<&'a str>>> {
    let Some(at) = process.string("metrics")? else { return Ok(None) };
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._~+@:-".contains(c);
    if at.value.starts_with('/') && at.value.len() <= 512 && at.value.chars().all(fits) {
        return Ok(Some(at));
    }
    Err(process
        .refused(&at.span, format!("`{}` is no path of figures", printable(at.value)))
        .hint("write one like \"/metrics\""))
}

#[cfg(test)]
mod tests {
    use super::super::parse_manifest;
    use crate::release::{Health, Kind, Process};

    fn processes(text: &str) -> Vec<Process> {
        parse_manifest(text).unwrap().processes
    }

    #[test]
    fn a_name_says_what_a_process_is() {
        let text = "[process.zed]\ncommand = \"a/z\"\n\
            [process.migrate]\ncommand = \"a/m\"\nwhen = \"release\"\n\
            [process.web]\ncommand = \"a/w\"\ndirectory = \"back/\"\n\
            [process.tidy]\ncommand = \"a/t\"\nschedule = \"*/5 * * * *\"\n";
        let found: Vec<(String, Kind)> =
            processes(text).into_iter().map(|process| (process.name, process.kind)).collect();
        assert_eq!(
            found,
            [
                ("web".to_owned(), Kind::Web),
                ("migrate".to_owned(), Kind::Release),
                ("tidy".to_owned(), Kind::Scheduled("*-*-* *:00/5:00".into())),
                ("zed".to_owned(), Kind::Worker),
            ]
        );
        assert_eq!(processes(text)[0].directory, "back");
    }

    #[test]
    fn health_is_a_path_or_a_table() {
        let health = |line: &str| {
            let text = format!("[deploy]\ntimeout = 9\n[process.web]\ncommand = \"a/w\"\n{line}");
            processes(&text).remove(0).health
        };
        let plain = Health { path: "/up".into(), status: None, body: None, timeout: 9 };
        assert_eq!(health("health = \"/up\""), Some(plain));
        let full = Health {
            path: "/health?all=1".into(),
            status: Some(204),
            body: Some("ok".into()),
            timeout: 120,
        };
        let line =
            "health = { path = \"/health?all=1\", status = 204, body = \"ok\", timeout = \"2m\" }";
        assert_eq!(health(line), Some(full));
        assert_eq!(health(""), None);
    }

    #[test]
    fn figures_are_on_a_page_of_the_web_process() {
        let text = "[process.web]\ncommand = \"a/w\"\nmetrics = \"/internal/metrics\"\n";
        assert_eq!(processes(text)[0].metrics.as_deref(), Some("/internal/metrics"));
        assert_eq!(processes("[process.web]\ncommand = \"a/w\"\n")[0].metrics, None);
        let php = "[project]\nruntime = \"php\"\n[process.web]\nmetrics = \"/metrics\"\n";
        let error = parse_manifest(php).unwrap_err();
        assert!(
            error.cause.unwrap().contains("php-fpm is the web process, so it has no `metrics`")
        );
    }

    #[test]
    fn what_is_wrong_with_a_process_is_told() {
        let web = "[process.web]\ncommand = \"a/w\"\n";
        for (text, cause) in [
            ("[process.Web]\ncommand = \"a/w\"".to_owned(), "`Web` is no name of a process"),
            ("[process.sms]\ncommand = \"a/w\"".to_owned(), "a unit called `sms`"),
            (format!("[process.{}]\ncommand = \"a\"", "a".repeat(32)), "is no name of a process"),
            ("[process.web]\ncomand = \"a/w\"".to_owned(), "there is no key `process.web.comand`"),
            ("[process.web]\n".to_owned(), "the process `web` has no command"),
            ("[process]\nweb = \"a/w\"".to_owned(), "`process.web` wants a table, not a text"),
            (format!("{web}when = \"release\""), "`web` runs all the time"),
            (format!("{web}schedule = \"daily\""), "`web` runs all the time"),
            (format!("{web}directory = \"../x\""), "`../x` is no path"),
            (format!("{web}directory = \"/x\""), "`/x` is no path"),
            (format!("{web}health = \"up\""), "`up` is no path of a page"),
            (format!("{web}health = \"/a b\""), "`/a b` is no path of a page"),
            (
                format!("{web}health = \"/\\r\\nHost: x\""),
                "`process.web.health` holds a control character",
            ),
            (format!("{web}health = {{ path = \"/\", status = 99 }}"), "99 is no HTTP status"),
            (format!("{web}health = {{ status = 200 }}"), "`health` has no path"),
            (format!("{web}health = 1"), "`process.web.health` wants a text, not a number"),
            ("[process.a]\ncommand = \"b\"\nhealth = \"/\"".to_owned(), "`a` has no port"),
            ("[process.a]\ncommand = \"b\"\nmetrics = \"/\"".to_owned(), "`a` has no port"),
            (format!("{web}metrics = \"metrics\""), "`metrics` is no path of figures"),
            (format!("{web}metrics = \"/metrics?all=1\""), "is no path of figures"),
            (format!("{web}metrics = {{ path = \"/\" }}"), "`process.web.metrics` wants a text"),
            (format!("{web}metric = \"/metrics\""), "there is no key `process.web.metric`"),
            (
                "[process.a]\ncommand = \"b\"\nwhen = \"later\"".to_owned(),
                "`when` can't be `later`",
            ),
            (
                "[process.a]\ncommand = \"b\"\nwhen = \"release\"\nschedule = \"daily\"".to_owned(),
                "`a` has a schedule too",
            ),
            ("[process.a]\ncommand = \"b && c\"".to_owned(), "`&&` means something to a shell"),
        ] {
            let error = parse_manifest(&text).unwrap_err();
            assert_eq!(error.code, "bad_manifest", "{text}");
            assert!(error.cause.as_ref().unwrap().contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn twenty_processes_are_enough() {
        let text = |n: u32| -> String {
            (0..n).map(|i| format!("[process.p{i}]\ncommand = \"a/b\"\n")).collect()
        };
        assert_eq!(processes(&text(20)).len(), 20);
        assert!(parse_manifest(&text(21)).is_err());
    }
}

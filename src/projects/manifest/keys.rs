//! Every key of a manifest, once: what the reader knows, and what the schema says of it.

use super::{
    MOST_SHARED, MOST_STEPS,
    environment::SOURCE,
    expose::MOST_EXPOSED,
    packages::{MOST_PACKAGES, REQUIREMENT},
    process::MOST_ALIASES,
    routes::MOST_ADDRESSES,
    secrets::MOST_FILES,
    services::SCHEME,
};
use crate::{names::ALIAS, secret};

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) form: Form,
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self.name
    }
}

/// What a key's value looks like.
pub(super) enum Form {
    Boolean,
    /// One of these, alone or in a table.
    Either(&'static [Form]),
    /// So many texts.
    List(usize),
    /// So many texts that this pattern takes.
    ListOf(usize, &'static str),
    /// Names of the owner's choice, each with a value of one form; and keys of ours among them.
    Named {
        names: &'static str,
        each: &'static Form,
        also: &'static [Key],
    },
    Number(u64, u64),
    /// A text that this pattern takes.
    Pattern(&'static str),
    /// `512M`
    Size,
    Table(&'static [Key], &'static [&'static str]),
    Text,
    /// Whole seconds, as a number or as `"90s"`.
    Time(u64, u64),
    Words(&'static [&'static str]),
}

const fn key(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, about, form }
}

/// A path below the release.
const PATH: &str =
    r"^(\./)?([A-Za-z0-9._+@][A-Za-z0-9._+@-]*(/[A-Za-z0-9._+@][A-Za-z0-9._+@-]*)*/?|\.|)$";
const PAGE: &str = "^/[!-\"$-~]*$";
/// A page without a query.
const FIGURES: &str = r"^/[A-Za-z0-9/._~+@:-]*$";
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]{0,127}$";
const ROUTE_PATH: &str = "^/";
/// An address or a network.
const ADDRESS: &str = "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$";
const PROCESS_NAME: &str = "^[a-z][a-z0-9-]{0,30}$";

/// The names of all runtimes, as `Runtime` has them.
const RUNTIMES: &[&str] = &["custom", "nextjs", "node", "php", "python", "static"];

pub(super) const MANIFEST: &[Key] = &[
    key("backup", Form::Table(BACKUP, &[]), "How a backup shows that it is one"),
    key(
        "build",
        Form::Table(BUILD, &[]),
        "How the tree is built, by the project's own user in a sandbox",
    ),
    key("deploy", Form::Table(DEPLOY, &[]), "How requests move to a new release"),
    key(
        "env",
        Form::Named { names: VARIABLE, each: &Form::Text, also: ENV },
        "Defaults of variables; `.env` wins. Never secrets",
    ),
    key(
        "expose",
        Form::Table(EXPOSE, &[]),
        "What visitors reach in an environment; without a list for it, all that is routed",
    ),
    key(
        "process",
        Form::Named { names: PROCESS_NAME, each: &Form::Table(PROCESS, &[]), also: &[] },
        "What runs: `web` answers requests, others run beside it, once a deploy, or by a timer",
    ),
    key("project", Form::Table(PROJECT, &[]), "What the tree is"),
    key(
        "routes",
        Form::Named { names: ROUTE_PATH, each: &Form::Table(ROUTE, &[]), also: &[] },
        "What answers for which path; without it the web process or `public` does for all",
    ),
    key("secrets", Form::Table(SECRETS, &[]), "How processes get their secrets"),
    key("services", Form::Table(SERVICES, &[]), "What of the server's the project needs"),
];

pub(super) const BACKUP: &[Key] = &[key(
    "check",
    Form::Text,
    "Command that looks at a backup which was brought back: at its DATABASE_URL, and its files in BACKUP_FILES",
)];

/// What answers for a path: one of `process`, `redirect` and `static`.
pub(super) const ROUTE: &[Key] = &[
    key(
        "allow",
        Form::ListOf(MOST_ADDRESSES, ADDRESS),
        "Addresses and networks that alone may come; others get 403",
    ),
    key("body", Form::Size, "What a request may bring: 1K to 64G, usually 1M"),
    key("buffering", Form::Boolean, "Whether nginx collects an answer before it sends it on"),
    key("cache", Form::Text, "How long visitors may keep a file: 1y for names with a fingerprint"),
    key(
        "deny",
        Form::ListOf(MOST_ADDRESSES, ADDRESS),
        "Addresses and networks that may not come, also of those that `allow` names",
    ),
    key("process", Form::Words(&["web"]), "The process that answers"),
    key("redirect", Form::Text, "The path or the address to go to instead"),
    key("spa", Form::Boolean, "Whether its first page answers for what is no file"),
    key("static", Form::Pattern(PATH), "The directory below the release that nginx serves"),
    key("status", Form::Number(301, 308), "How it redirects: 301 for good, 302 for now"),
    key("strip", Form::Boolean, "Whether the process sees the path without the route's"),
    key("timeout", Form::Time(1, 24 * 3600), "How long nothing may come in either direction"),
    key("websocket", Form::Boolean, "Whether connections may be upgraded"),
];

pub(super) const PROJECT: &[Key] = &[
    key("port", Form::Number(1024, 8999), "The port that the project is to have, from the first"),
    key(
        "public",
        Form::Pattern(PATH),
        "The directory below the release that nginx serves, of a static site or of PHP",
    ),
    key("runtime", Form::Words(RUNTIMES), "What it runs on; without it the tree tells"),
    key(
        "shared",
        Form::List(MOST_SHARED),
        "Directories that outlive a release: links into the project's `shared`",
    ),
];

pub(super) const BUILD: &[Key] = &[
    key(
        "constraints",
        Form::Pattern(PATH),
        "A file that says which versions pip may install, of what others depend on, too",
    ),
    key(
        "env",
        Form::Named { names: VARIABLE, each: &Form::Text, also: &[] },
        "Variables of the build alone; here they win over `.env`. Never secrets",
    ),
    key("install", Form::Boolean, "Whether dependencies are installed as the tree tells"),
    key("memory", Form::Size, "What each step may use: 64M to 64G, usually 1500M"),
    key(
        "packages",
        Form::ListOf(MOST_PACKAGES, REQUIREMENT),
        "Packages of Python's that are installed beside those that the tree lists",
    ),
    key(
        "steps",
        Form::List(MOST_STEPS),
        "Commands of a shell instead of the build that was found, run at the top of the tree",
    ),
    key("timeout", Form::Time(1, 6 * 3600), "What all steps may take together, usually 15m"),
];

pub(super) const DEPLOY: &[Key] = &[
    key("drain", Form::Time(0, 3600), "How long requests that have begun may go on, usually 30s"),
    key("migrate", Form::Boolean, "Whether migrations that are found may run"),
    key(
        "strategy",
        Form::Words(&["restart", "standby"]),
        "standby: the new release answers before the old one stops. restart: less memory, and \
         requests fail meanwhile",
    ),
    key("timeout", Form::Time(1, 3600), "How long a release may take until it is up, usually 60s"),
    key("watch", Form::Time(0, 3600), "How long a new release is watched, usually 30s"),
];

pub(super) const PROCESS: &[Key] = &[
    key(
        "aliases",
        Form::ListOf(MOST_ALIASES, ALIAS),
        "Other names of its unit, which begin with the project's",
    ),
    key(
        "command",
        Form::Text,
        "A program and its arguments, with $NAME for variables; no shell runs it",
    ),
    key("directory", Form::Pattern(PATH), "Where it runs, below the release"),
    key(
        "health",
        Form::Either(&[Form::Pattern(PAGE), Form::Table(HEALTH, &["path"])]),
        "The page that tells when `web` is up",
    ),
    key("metrics", Form::Pattern(FIGURES), "The page of `web` that a Prometheus reads"),
    key(
        "schedule",
        Form::Text,
        "When it runs: daily, @hourly, five fields of cron, or a time of systemd's",
    ),
    key("when", Form::Words(&["release"]), "release: once a deploy, before requests move"),
];

pub(super) const HEALTH: &[Key] = &[
    key("body", Form::Text, "What the answer has to hold"),
    key("path", Form::Pattern(PAGE), "The page that is asked for"),
    key("status", Form::Number(100, 599), "The status of the answer; without it any below 400"),
    key("timeout", Form::Time(1, 3600), "How long it may take until it is up"),
];

/// Those among the variables of `[env]` that are tables of ours.
pub(super) const ENV: &[Key] = &[
    key("dev", OVERLAY, "Defaults of a project that is worked on, which win over the others"),
    key(
        "from",
        Form::Named { names: VARIABLE, each: &Form::Pattern(SOURCE), also: &[] },
        "Other names of variables, or of parts of an address: DATABASE_URL.host",
    ),
    key(
        "generate",
        Form::Named {
            names: VARIABLE,
            each: &Form::Either(&[
                Form::Pattern(secret::Kind::PATTERN),
                Form::Table(GENERATED, &["kind"]),
            ]),
            also: &[],
        },
        "Secrets that the first deploy makes, and that stay as they are",
    ),
    key("prod", OVERLAY, "Defaults of a project that is used, as each is unless told"),
    key(
        "required",
        Form::Named { names: VARIABLE, each: &Form::Text, also: &[] },
        "Variables that have to be set before anything is built, and what they are for",
    ),
    key("staging", OVERLAY, "Defaults of a project that is tried as it will be used"),
];

/// A variable of that name is a text.
const OVERLAY: Form =
    Form::Either(&[Form::Text, Form::Named { names: VARIABLE, each: &Form::Text, also: &[] }]);

pub(super) const EXPOSE: &[Key] = &[
    key("dev", EXPOSED, "In a project that is worked on"),
    key("prod", EXPOSED, "In a project that is used"),
    key("staging", EXPOSED, "In a project that is tried"),
];

/// Names of processes, and paths of routes.
const EXPOSED: Form = Form::ListOf(MOST_EXPOSED, "^([a-z][a-z0-9-]{0,30}|/.*)$");

pub(super) const GENERATED: &[Key] = &[
    key("about", Form::Text, "What it is for"),
    key(
        "kind",
        Form::Pattern(secret::Kind::PATTERN),
        "hex:32, base64:32, fernet, words:4 or code:12",
    ),
    key("show", Form::Boolean, "Whether the deploy that makes it tells an operator, once"),
];

pub(super) const SECRETS: &[Key] = &[key(
    "files",
    Form::List(MOST_FILES),
    "Names of secrets that are files in $CREDENTIALS_DIRECTORY, and not in the environment",
)];

pub(super) const SERVICES: &[Key] = &[
    key("mysql", Form::Boolean, "Whether it needs the project's database in MariaDB"),
    key(
        "postgres",
        Form::Either(&[Form::Boolean, Form::Table(POSTGRES, &[])]),
        "Whether it needs the project's database",
    ),
    key("redis", Form::Boolean, "Whether it needs the project's Redis database"),
    key("storage", Form::Boolean, "Whether it needs object storage"),
];

pub(super) const POSTGRES: &[Key] = &[key(
    "url_scheme",
    Form::Pattern(SCHEME),
    "How DATABASE_URL begins: postgresql+psycopg for a driver of SQLAlchemy's",
)];

#[cfg(test)]
mod tests {
    use super::{super::parse_manifest, *};
    use crate::names::Runtime;

    /// Each table of ours by its path, with the keys that it knows.
    fn tables() -> Vec<(String, &'static [Key])> {
        fn walk(path: &str, form: &'static Form, into: &mut Vec<(String, &'static [Key])>) {
            match form {
                Form::Table(keys, _) => {
                    into.push((path.to_owned(), keys));
                    for key in *keys {
                        walk(&format!("{path}.{}", key.name), &key.form, into);
                    }
                }
                Form::Either(forms) => forms.iter().for_each(|form| walk(path, form, into)),
                Form::Named { names, each, also } => {
                    let name = if *names == ROUTE_PATH { "\"/\"" } else { "web" };
                    walk(&format!("{path}.{name}"), each, into);
                    for key in *also {
                        walk(&format!("{path}.{}", key.name), &key.form, into);
                    }
                }
                _ => {}
            }
        }
        let mut all = Vec::new();
        for key in MANIFEST {
            walk(key.name, &key.form, &mut all);
        }
        all
    }

    #[test]
    fn the_reader_knows_each_key_and_no_other() {
        let tables = tables();
        assert!(tables.len() >= 7, "{}", tables.len());
        for (path, keys) in &tables {
            for key in *keys {
                // A value that nobody takes: what is refused is it, and not its name.
                let text = format!("[{path}]\n{} = 1979-05-27\n", key.name);
                let cause = parse_manifest(&text).unwrap_err().cause.unwrap();
                assert!(!cause.contains("there is no key"), "{path}.{}: {cause}", key.name);
            }
            let error = parse_manifest(&format!("[{path}]\nnonesuch = 1\n")).unwrap_err();
            let path = path.replace('"', "");
            assert_eq!(error.cause.unwrap(), format!("there is no key `{path}.nonesuch`"));
        }
        let error = parse_manifest("[nonesuch]\n").unwrap_err();
        assert_eq!(error.cause.unwrap(), "there is no key `nonesuch`");
    }

    #[test]
    fn the_documentation_has_each_key() {
        let docs = include_str!("../../../docs/manifest.md");
        for (path, keys) in tables() {
            for key in keys {
                let names = [key.name.to_owned(), format!("[{path}.{}]", key.name)];
                let is_told = names.iter().any(|name| {
                    docs.contains(&format!("`{name}`"))
                        || docs.contains(&format!(" {name},"))
                        || docs.contains(&format!(" {name} "))
                });
                assert!(is_told, "{path}.{}", key.name);
            }
        }
    }

    #[test]
    fn the_runtimes_are_those_that_there_are() {
        assert_eq!(RUNTIMES, Runtime::ALL.map(Runtime::as_str));
    }

    #[test]
    fn keys_stand_in_the_order_of_their_names() {
        for (path, keys) in tables() {
            assert!(keys.is_sorted_by_key(|key| key.name), "{path}");
        }
        assert!(MANIFEST.is_sorted_by_key(|key| key.name));
    }
}

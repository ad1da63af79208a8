//! A project's units: their commands, and the sandbox around them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    aliases,
    secrets::{build_secrets_dir, credentials_dir},
    words::split_command,
};
use crate::{
    config::{Config, Size},
    error::Result,
    names::{Environment, ProjectName, ReleaseId, Runtime},
    registry::{OFFSETS, Project, port_of},
    release::{Kind, Process, Spec},
    templates::Templates,
};

/// Which of a project's units.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// Answers on the project's port; of a static site, says whether it is switched on.
    Main,
    /// Another process of the live release.
    Process(&'a Process),
    /// Answers for the main process while that restarts: the first release under the name of the
    /// second.
    Standby(&'a ReleaseId, &'a ReleaseId),
}

/// By which a process learns what its project is for.
pub(super) const ENVIRONMENT: &str = "HOSTKIT_ENVIRONMENT";

#[derive(Serialize)]
struct Unit<'a> {
    name: &'a str,
    unit: String,
    process: &'a str,
    kind: &'static str,
    is_main: bool,
    /// What php-fpm's socket is called.
    pool: Option<String>,
    directory: String,
    environment: Vec<String>,
    /// Names of secrets that are files, and where those lie.
    credentials: &'a [String],
    credentials_dir: String,
    standby_env: String,
    start: String,
    stop_seconds: u64,
    out_log: String,
    error_log: String,
    shown: String,
    instead_of: String,
    memory_high: String,
    memory_max: String,
    tasks: u32,
    cpu: String,
    first_port: u16,
    last_port: u16,
    ports: Vec<u16>,
    runtime: &'static str,
    uid: u32,
    port: u16,
    redis: Option<u32>,
    own_redis: Option<String>,
    postgres: &'static str,
    mysql: bool,
    created_by: &'a str,
    created_at: String,
    domains: Vec<&'a str>,
    own_start: Option<String>,
    own: Vec<String>,
    off: &'a [String],
    grants: &'a [String],
    aliases: Vec<&'a str>,
    of: Option<&'static str>,
    storage: Option<String>,
}

/// One of the units of a project that runs what `spec` says, or its runtime's own command.
pub(super) fn render(
    project: &Project,
    spec: Option<&Spec>,
    role: Which<'_>,
    config: &Config,
    templates: &Templates,
) -> Result<String> {
    let name = &project.name;
    let limits = &config.limits;
    let runtime = spec.map_or(project.runtime, |spec| spec.runtime);
    let Runs { start, directory, own_start } = runs(project, spec, role)?;
    let own = if let Which::Process(process) = role { &*process.name } else { "" };
    let log =
        |kind: &str| if own.is_empty() { format!("{kind}.log") } else { format!("{own}.log") };
    let (shown, instead_of) = match role {
        Which::Standby(shown, instead_of) => {
            (release_dir(name, shown), release_dir(name, instead_of))
        }
        _ => (String::new(), String::new()),
    };
    templates.render(
        "systemd/project.service",
        &Unit {
            name: name.as_str(),
            unit: unit_name(name, role),
            process: if matches!(role, Which::Standby(..)) { "standby" } else { own },
            kind: kind(role, runtime),
            is_main: matches!(role, Which::Main),
            pool: pool(name, role, runtime),
            directory,
            environment: environment(project, runtime, spec),
            credentials: spec.map_or(&[], |spec| &spec.secret_files),
            credentials_dir: credentials_dir(name).display().to_string(),
            standby_env: standby_env(name),
            start,
            stop_seconds: spec.map_or(30, |spec| spec.switch.drain.clamp(1, 3600)),
            out_log: log("app"),
            error_log: log("error"),
            shown,
            instead_of,
            memory_high: Size(limits.memory.0 / 10 * 9).to_string(),
            memory_max: limits.memory.to_string(),
            tasks: limits.tasks,
            cpu: limits.cpu.to_string(),
            first_port: config.ports.first,
            last_port: last_port(config),
            ports: vec![project.port, port_of(project.port, "standby")],
            runtime: runtime.as_str(),
            uid: project.uid,
            port: project.port,
            redis: project.redis,
            own_redis: project.own_redis.then(|| super::redis_unit(name)),
            postgres: yes_or_no(project.postgres),
            mysql: project.mysql,
            created_by: &project.created_by,
            created_at: project.created_at.to_string(),
            domains: project.domains.iter().map(crate::names::Domain::as_str).collect(),
            own_start,
            own: project.own.iter().filter_map(|own| serde_json::to_string(own).ok()).collect(),
            off: &project.off,
            grants: &project.grants,
            aliases: aliases::of_unit(spec, if own.is_empty() { "web" } else { own }),
            of: told(project.environment),
            storage: project.storage.as_ref().map(ToString::to_string),
        },
    )
}

/// What a unit says of an environment: of the usual one nothing.
fn told(environment: Environment) -> Option<&'static str> {
    (environment != Environment::default()).then(|| environment.as_str())
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// The last port that any process of a project may get.
fn last_port(config: &Config) -> u16 {
    config.ports.last + OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0)
}

/// The pool of a unit that php-fpm runs in.
fn pool(name: &ProjectName, role: Which<'_>, runtime: Runtime) -> Option<String> {
    match role {
        _ if runtime != Runtime::Php => None,
        Which::Main => Some(name.to_string()),
        Which::Standby(..) => Some(format!("{name}-next")),
        Which::Process(_) => None,
    }
}

/// What a unit starts, and where.
struct Runs {
    start: String,
    directory: String,
    own_start: Option<String>,
}

fn runs(project: &Project, spec: Option<&Spec>, role: Which<'_>) -> Result<Runs> {
    let name = &project.name;
    let runtime = spec.map_or(project.runtime, |spec| spec.runtime);
    let process = match role {
        Which::Process(process) => Some(process),
        Which::Main | Which::Standby(..) => spec.and_then(Spec::web),
    };
    let own_start = project.start.as_deref().map(split_command).transpose()?;
    let (start, directory) = match (process, &own_start) {
        (Some(process), _) => (process_start(name, process), process_directory(name, process)),
        (None, Some(words)) if runtime != Runtime::Php => {
            (exec_start(words), directory(name, runtime))
        }
        (None, _) => (exec_start(&default_command(name, runtime)), directory(name, runtime)),
    };
    Ok(Runs { start, directory, own_start: own_start.as_deref().map(exec_start) })
}

fn kind(role: Which<'_>, runtime: Runtime) -> &'static str {
    match role {
        Which::Standby(..) => "standby",
        Which::Process(Process { kind: Kind::Scheduled(_), .. }) => "scheduled",
        Which::Process(_) => "worker",
        Which::Main if runtime == Runtime::Static => "static",
        Which::Main => "web",
    }
}

pub(super) fn unit_name(name: &ProjectName, role: Which<'_>) -> String {
    match role {
        Which::Main => name.unit(),
        Which::Process(process) => process_unit(name, &process.name),
        Which::Standby(..) => process_unit(name, "next"),
    }
}

/// The unit of a process of a project other than its main one.
pub fn process_unit(name: &ProjectName, process: &str) -> String {
    format!("hostkit-{name}-{process}.service")
}

/// The timer of a process that runs when its time comes.
pub fn timer_unit(name: &ProjectName, process: &str) -> String {
    format!("hostkit-{name}-{process}.timer")
}

/// Variables of the standby, which win over those of `.env`.
pub fn standby_env(name: &ProjectName) -> String {
    format!("/run/hostkit/next/{name}.env")
}

fn release_dir(name: &ProjectName, id: &ReleaseId) -> String {
    format!("/home/{name}/releases/{id}")
}

/// A timer for a process that runs when its time comes.
pub(super) fn timer(
    project: &Project,
    process: &Process,
    schedule: &str,
    templates: &Templates,
) -> Result<String> {
    #[derive(Serialize)]
    struct Timer<'a> {
        name: &'a str,
        process: &'a str,
        schedule: &'a str,
    }
    let values = Timer { name: project.name.as_str(), process: &process.name, schedule };
    templates.render("systemd/schedule.timer", &values)
}

/// One step of a build, as a unit that ends.
pub struct BuildUnit<'a> {
    pub project: &'a Project,
    pub release: &'a ReleaseId,
    pub title: &'a str,
    pub command: &'a [String],
    pub environment: &'a [(String, String)],
    /// Those that win over `.env`.
    pub overrides: &'a BTreeMap<String, String>,
    /// Names of secrets that are files, where the deploy has put its secrets.
    pub credentials: Option<&'a [String]>,
    /// Below the release.
    pub directory: &'a str,
    /// Where the tree is until it is complete; afterwards it is where it will stay.
    pub staging: Option<String>,
    pub input: Option<String>,
    pub log: String,
    pub seconds: u64,
    pub memory: Size,
}

pub fn build_unit(build: &BuildUnit<'_>, config: &Config, templates: &Templates) -> Result<String> {
    #[derive(Serialize)]
    struct Values<'a> {
        name: &'a str,
        release: &'a str,
        title: &'a str,
        directory: String,
        environment: Vec<String>,
        secrets: Option<String>,
        credentials: &'a [String],
        start: String,
        staging: Option<&'a str>,
        input: Option<&'a str>,
        log: &'a str,
        seconds: u64,
        memory: String,
        first_port: u16,
        last_port: u16,
        ports: Vec<u16>,
    }
    templates.render(
        "systemd/build.service",
        &Values {
            name: build.project.name.as_str(),
            release: build.release.as_str(),
            title: build.title,
            directory: build_directory(build),
            environment: build.environment.iter().map(|(k, v)| assignment(k, v)).collect(),
            secrets: build
                .credentials
                .map(|_| build_secrets_dir(&build.project.name).display().to_string()),
            credentials: build.credentials.unwrap_or_default(),
            start: exec_start(&with_overrides(build)),
            staging: build.staging.as_deref(),
            input: build.input.as_deref(),
            log: &build.log,
            seconds: build.seconds,
            memory: build.memory.to_string(),
            first_port: config.ports.first,
            last_port: last_port(config),
            ports: vec![build.project.port, port_of(build.project.port, "standby")],
        },
    )
}

/// The command with variables of its own: what a unit says of them comes before what its files do,
/// and they are to win.
fn with_overrides(build: &BuildUnit<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if !build.overrides.is_empty() {
        words.push("/usr/bin/env".to_owned());
        words.extend(build.overrides.iter().map(|(key, value)| format!("{key}={value}")));
    }
    words.extend_from_slice(build.command);
    words
}

fn build_directory(build: &BuildUnit<'_>) -> String {
    let name = &build.project.name;
    match build.directory {
        "" => release_dir(name, build.release),
        super::HOME => format!("/home/{name}"),
        below => format!("{}/{below}", release_dir(name, build.release)),
    }
}

fn directory(name: &ProjectName, runtime: Runtime) -> String {
    match runtime {
        Runtime::Python | Runtime::Static => format!("/home/{name}"),
        Runtime::Custom | Runtime::Nextjs | Runtime::Node | Runtime::Php => {
            format!("/home/{name}/app")
        }
    }
}

pub(super) fn process_directory(name: &ProjectName, process: &Process) -> String {
    match process.directory.as_str() {
        "" => format!("/home/{name}/app"),
        super::HOME => format!("/home/{name}"),
        below => format!("/home/{name}/app/{below}"),
    }
}

pub(super) fn environment(project: &Project, runtime: Runtime, spec: Option<&Spec>) -> Vec<String> {
    let usual: &[(&str, &str)] = match runtime {
        Runtime::Python => &[("PYTHONUNBUFFERED", "1")],
        Runtime::Nextjs | Runtime::Node => &[("NODE_ENV", "production")],
        Runtime::Custom | Runtime::Php | Runtime::Static => &[],
    };
    let mut all: BTreeMap<&str, &str> = usual.iter().copied().collect();
    all.extend(spec.iter().flat_map(|s| &s.environment).map(|(k, v)| (k.as_str(), v.as_str())));
    all.insert(ENVIRONMENT, project.environment.as_str());
    all.iter().map(|(key, value)| assignment(key, value)).collect()
}

/// `KEY=value` as `Environment=` reads it back.
fn assignment(key: &str, value: &str) -> String {
    let text = format!("{key}={value}");
    exec_word(&text, text.clone())
}

fn default_command(name: &ProjectName, runtime: Runtime) -> Vec<String> {
    let words: Vec<String> = match runtime {
        Runtime::Python => vec![format!("/home/{name}/venv/bin/python"), "-m".into(), "app".into()],
        Runtime::Node => vec!["/usr/bin/node".into(), format!("/home/{name}/app/index.js")],
        Runtime::Nextjs => vec!["/usr/bin/npm".into(), "start".into()],
        Runtime::Php => super::php::command(name, "/usr/sbin/php-fpm"),
        Runtime::Custom | Runtime::Static => vec!["/bin/true".into()],
    };
    words
}

/// A process's command: its program below the release, variables left for systemd to fill in.
fn process_start(name: &ProjectName, process: &Process) -> String {
    let mut words = process.command.clone();
    if let Some(program) = words.first_mut()
        && program.contains('/')
        && !program.starts_with('/')
    {
        *program = format!("/home/{name}/app/{program}");
    }
    process_command(&words)
}

/// A command whose variables are left for systemd to fill in.
pub(super) fn process_command(words: &[String]) -> String {
    words.iter().map(|word| exec_word(word, word.clone())).collect::<Vec<_>>().join(" ")
}

/// Words as systemd reads them back: quoted, with its own `%` and `$` doubled.
pub(super) fn exec_start(words: &[String]) -> String {
    words.iter().map(|word| exec_word(word, word.replace('$', "$$"))).collect::<Vec<_>>().join(" ")
}

/// `text` as one word, quoted unless the `word` that it stands for is plain.
fn exec_word(word: &str, text: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return text;
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '\n' => quoted.push_str("\\n"),
            // systemd ends a line at a carriage return, too.
            c if c.is_control() => c.to_string().bytes().for_each(|b| {
                quoted.push_str(&format!("\\x{b:02x}"));
            }),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::projects::tests::shop;

    fn main_unit(project: &Project) -> String {
        let (config, templates) = (Config::default(), Templates::default());
        render(project, None, Which::Main, &config, &templates).unwrap()
    }

    #[test]
    fn the_unit_of_a_python_project() {
        let text = main_unit(&shop());
        insta::assert_snapshot!("unit-python", text);
    }

    #[test]
    fn the_unit_of_a_static_project() {
        let mut project = shop();
        project.runtime = Runtime::Static;
        let text = main_unit(&project);
        insta::assert_snapshot!("unit-static", text);
    }

    #[test]
    fn a_command_of_ones_own_is_quoted() {
        let mut project = shop();
        project.start = Some("/usr/bin/x --name 'it is' \"50%\" $HOME".into());
        let text = main_unit(&project);
        assert!(
            text.contains("ExecStart=/usr/bin/x --name \"it is\" \"50%%\" \"$$HOME\"\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn a_word_is_one_line_whatever_it_holds(word in "(?s).{0,40}|[\\x00-\\x1f\\x7f-\\x9fa%$\"]{0,20}") {
            let line = exec_start(&[word]);
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }

        #[test]
        fn a_quoted_command_is_one_line(command in "/[ -~]{0,40}") {
            if let Ok(words) = split_command(&command) {
                let line = exec_start(&words);
                prop_assert!(!line.contains('\n'));
                prop_assert!(!line.ends_with('\\'));
            }
        }
    }
}

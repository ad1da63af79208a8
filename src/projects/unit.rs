//! A project's unit: its command, and the sandbox around it.

use serde::Serialize;

use crate::{
    config::{Config, Size},
    error::{Error, Result},
    names::{ProjectName, Runtime},
    registry::{OFFSETS, Project, port_of},
    templates::Templates,
};

#[derive(Serialize)]
struct Unit<'a> {
    name: &'a str,
    unit: String,
    is_static: bool,
    directory: String,
    environment: &'static [&'static str],
    start: String,
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
    postgres: &'static str,
    created_by: &'a str,
    created_at: String,
    domains: Vec<&'a str>,
    own_start: Option<String>,
}

pub(super) fn render(project: &Project, config: &Config, templates: &Templates) -> Result<String> {
    let Project {
        name,
        runtime,
        uid,
        port,
        redis,
        postgres,
        start,
        domains,
        created_by,
        created_at,
        ..
    } = project;
    let limits = &config.limits;
    let words = match start {
        Some(command) => split_command(command)?,
        None => default_command(name, *runtime),
    };
    let offset = OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    templates.render(
        "systemd/project.service",
        &Unit {
            name: name.as_str(),
            unit: name.unit(),
            is_static: *runtime == Runtime::Static,
            directory: directory(name, *runtime),
            environment: environment(*runtime),
            start: exec_start(&words),
            memory_high: Size(limits.memory.0 / 10 * 9).to_string(),
            memory_max: limits.memory.to_string(),
            tasks: limits.tasks,
            cpu: limits.cpu.to_string(),
            first_port: config.ports.first,
            last_port: config.ports.last + offset,
            ports: vec![*port, port_of(*port, "standby")],
            runtime: runtime.as_str(),
            uid: *uid,
            port: *port,
            redis: *redis,
            postgres: if *postgres { "yes" } else { "no" },
            created_by,
            created_at: created_at.to_string(),
            domains: domains.iter().map(crate::names::Domain::as_str).collect(),
            own_start: start.as_ref().map(|_| exec_start(&words)),
        },
    )
}

fn directory(name: &ProjectName, runtime: Runtime) -> String {
    match runtime {
        Runtime::Python | Runtime::Static => format!("/home/{name}"),
        Runtime::Custom | Runtime::Nextjs | Runtime::Node => format!("/home/{name}/app"),
    }
}

fn environment(runtime: Runtime) -> &'static [&'static str] {
    match runtime {
        Runtime::Python => &["PYTHONUNBUFFERED=1"],
        Runtime::Nextjs | Runtime::Node => &["NODE_ENV=production"],
        Runtime::Custom | Runtime::Static => &[],
    }
}

fn default_command(name: &ProjectName, runtime: Runtime) -> Vec<String> {
    let words: Vec<String> = match runtime {
        Runtime::Python => vec![format!("/home/{name}/venv/bin/python"), "-m".into(), "app".into()],
        Runtime::Node => vec!["/usr/bin/node".into(), format!("/home/{name}/app/index.js")],
        Runtime::Nextjs => vec!["/usr/bin/npm".into(), "start".into()],
        Runtime::Custom | Runtime::Static => vec!["/bin/true".into()],
    };
    words
}

/// Words as systemd reads them back: quoted, with its own `%` and `$` doubled.
fn exec_start(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        let mut text = String::from("\"");
        for c in word.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                '%' | '$' => text.extend([c, c]),
                c => text.push(c),
            }
        }
        text.push('"');
        text
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A command line in words, by the quotes that a shell knows. Nothing is expanded.
pub fn split_command(command: &str) -> Result<Vec<String>> {
    let refused = |why: &str| {
        Error::usage("bad_command", "the start command can't be used")
            .caused_by(why)
            .hint("give a program by its path and its arguments: \"/usr/bin/node server.js\"")
    };
    if command.chars().any(char::is_control) {
        return Err(refused("it holds a control character"));
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(refused("a quote is never closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(refused("it is empty")) } else { Ok(words) }
}

/// Words as one line that [`split_command`] takes apart again: the one form of a command.
pub(super) fn join_command(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%$".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else if word.contains('\'') {
            format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            format!("'{word}'")
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A start command that a unit can run, in its one form: its program is an absolute path.
pub fn check_command(command: &str) -> Result<String> {
    let words = split_command(command)?;
    let program = &words[0];
    if program.starts_with('/') && !program.split('/').any(|part| part == "..") {
        return Ok(join_command(&words));
    }
    Err(Error::usage("bad_command", format!("`{program}` is no program that a unit can start"))
        .caused_by("it is not an absolute path")
        .hint("name it in full: `/home/NAME/app/bin/server`, `/usr/bin/node`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::projects::tests::shop;

    #[test]
    fn the_unit_of_a_python_project() {
        let text = render(&shop(), &Config::default(), &Templates::default()).unwrap();
        insta::assert_snapshot!("unit-python", text);
    }

    #[test]
    fn the_unit_of_a_static_project() {
        let mut project = shop();
        project.runtime = Runtime::Static;
        let text = render(&project, &Config::default(), &Templates::default()).unwrap();
        insta::assert_snapshot!("unit-static", text);
    }

    #[test]
    fn a_command_of_ones_own_is_quoted() {
        let mut project = shop();
        project.start = Some("/usr/bin/x --name 'it is' \"50%\" $HOME".into());
        let text = render(&project, &Config::default(), &Templates::default()).unwrap();
        assert!(
            text.contains("ExecStart=/usr/bin/x --name \"it is\" \"50%%\" \"$$HOME\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_relative_program_is_refused() {
        for command in ["node server.js", "", "   ", "\"open", "/a/../b", "/x\ny"] {
            assert!(check_command(command).is_err(), "{command}");
        }
        assert!(check_command("/usr/bin/node server.js").is_ok());
    }

    proptest! {
        #[test]
        fn a_command_has_one_form(words in proptest::collection::vec("[ -~]{0,12}", 1..5)) {
            let line = join_command(&words);
            prop_assert_eq!(split_command(&line).unwrap(), words);
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

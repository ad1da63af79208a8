//! A command of a project's own, as a unit: beside its web process, and confined like it.

use data_encoding::BASE64;
use serde::Serialize;

use super::{processes::whole_project, unit};
use crate::{
    config::{Config, Size},
    envfile::EnvFile,
    error::{Error, Result},
    names::ProjectName,
    registry::{OFFSETS, Project, port_of},
    release::Process,
    secret::Secret,
    templates::Templates,
};

/// The variable that carries a command to the half of us that runs as the project's user.
pub const REQUEST: &str = "HOSTKIT_COMMAND";

/// What one variable of the environment holds at most, in the kernel's eyes.
const LONGEST: usize = 120 << 10;

/// Where a command's input and output go.
pub enum Streams<'a> {
    /// A directory with the pipes `in`, `out` and `err`.
    Pipes(&'a str),
    /// A terminal of its own.
    Terminal(&'a str),
}

pub struct ExecUnit<'a> {
    pub project: &'a Project,
    /// The process whose directory it runs in.
    pub process: Option<&'a Process>,
    /// The file that holds the request.
    pub request: &'a str,
    pub streams: Streams<'a>,
    /// Seconds; `None` is as long as it takes.
    pub limit: Option<u64>,
}

/// The unit of a command. A dot is in no project's name and in no process's, so it clashes with
/// neither.
pub fn exec_unit_name(name: &ProjectName, pid: u32) -> String {
    format!("{}{pid}.service", exec_units(name))
}

/// What the names of a project's commands begin with.
pub fn exec_units(name: &ProjectName) -> String {
    format!("hostkit-{name}.exec-")
}

pub fn exec_unit(exec: &ExecUnit<'_>, config: &Config, templates: &Templates) -> Result<String> {
    #[derive(Serialize)]
    struct Values<'a> {
        name: &'a str,
        directory: String,
        path: String,
        environment: Vec<String>,
        credentials: &'a [String],
        credentials_dir: String,
        request: &'a str,
        limit: String,
        terminal: Option<&'a str>,
        pipes: &'a str,
        memory_high: String,
        memory_max: String,
        tasks: u32,
        cpu: String,
        first_port: u16,
        last_port: u16,
        ports: Vec<u16>,
    }
    let ExecUnit { project, process, request, streams, limit } = exec;
    let project = &whole_project(project);
    let name = &project.name;
    let spec = project.live.as_ref().map(|live| &live.spec);
    let runtime = spec.map_or(project.runtime, |spec| spec.runtime);
    let limits = &config.limits;
    let offset = OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    let (terminal, pipes) = match streams {
        Streams::Pipes(dir) => (None, *dir),
        Streams::Terminal(path) => (Some(*path), ""),
    };
    templates.render(
        "systemd/exec.service",
        &Values {
            name: name.as_str(),
            directory: match process {
                Some(process) => unit::process_directory(name, process),
                None => format!("/home/{name}/app"),
            },
            path: format!(
                "/home/{name}/app/venv/bin:/home/{name}/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"
            ),
            environment: unit::environment(project, runtime, spec),
            credentials: spec.map_or(&[], |spec| &spec.secret_files),
            credentials_dir: super::credentials_dir(name).display().to_string(),
            request,
            limit: limit.map_or("infinity".into(), |seconds| seconds.to_string()),
            terminal,
            pipes,
            memory_high: Size(limits.memory.0 / 10 * 9).to_string(),
            memory_max: limits.memory.to_string(),
            tasks: limits.tasks,
            cpu: limits.cpu.to_string(),
            first_port: config.ports.first,
            last_port: config.ports.last + offset,
            ports: vec![project.port, port_of(project.port, "standby")],
        },
    )
}

/// A command as text of a file of variables.
pub fn exec_request(
    words: &[String],
    term: Option<&str>,
    variables: &[(&str, Secret)],
) -> Result<String> {
    let json = serde_json::to_vec(words)
        .map_err(|e| Error::failed("could not hand the command on").caused_by(e))?;
    let code = BASE64.encode(&json);
    if code.len() > LONGEST {
        return Err(Error::usage("too_long", "the command is too long")
            .caused_by(format!("{} KiB are the most", LONGEST >> 10))
            .hint("send what is long by standard input"));
    }
    // A terminal's name comes from the caller, and goes to a file that systemd reads.
    let plain = |term: &&str| {
        (1..=40).contains(&term.len())
            && term.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(&b))
    };
    let term = term.filter(plain).map(|term| format!("TERM={term}\n")).unwrap_or_default();
    let mut file = EnvFile::default();
    for (key, value) in variables {
        file.set(key, value.expose())?;
    }
    Ok(format!("{REQUEST}={code}\n{term}{file}"))
}

/// The command that [`exec_request`] wrote.
pub fn read_exec_request(value: &str) -> Result<Vec<String>> {
    let words: Option<Vec<String>> = BASE64
        .decode(value.as_bytes())
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .filter(|words: &Vec<String>| !words.is_empty());
    words.ok_or_else(|| Error::usage("bad_request", "there is no command to run"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::projects::tests::shop;

    fn render(streams: Streams<'_>) -> String {
        let exec = ExecUnit {
            project: &shop(),
            process: None,
            request: "/run/hostkit/exec/1/request",
            streams,
            limit: None,
        };
        exec_unit(&exec, &Config::default(), &Templates::default()).unwrap()
    }

    #[test]
    fn a_command_is_confined_like_the_project_itself() {
        let unit = render(Streams::Pipes("/run/hostkit/exec/1"));
        let main = Templates::default();
        let main = unit::render(&shop(), None, unit::Which::Main, &Config::default(), &main);
        let sandbox = |text: &str| {
            text.split_once("# privileges").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
        };
        let main = sandbox(&main.unwrap());
        let main = main.split("\n\n[Install]").next().unwrap();
        assert!(main.len() > 500);
        assert_eq!(sandbox(&unit).trim_end(), main.trim_end());
        assert!(render(Streams::Terminal("/dev/pts/3")).contains("TTYPath=/dev/pts/3\n"));
    }

    #[test]
    fn a_terminals_name_is_no_way_into_the_environment() {
        let words = ["id".to_owned()];
        for term in ["", "x\nLD_PRELOAD=/tmp/x", "a b", "$x", &"x".repeat(41)] {
            assert!(!exec_request(&words, Some(term), &[]).unwrap().contains("TERM"), "{term}");
        }
        assert!(
            exec_request(&words, Some("xterm-256color"), &[]).unwrap().contains("TERM=xterm-256")
        );
        assert!(exec_request(&["x".repeat(1 << 20)], None, &[]).is_err());
    }

    proptest! {
        #[test]
        fn a_command_arrives_as_it_was(words in proptest::collection::vec("\\PC{0,20}|[\n\t\"'$%]{0,5}", 1..5)) {
            let text = exec_request(&words, None, &[]).unwrap();
            let value = text.strip_prefix(&format!("{REQUEST}=")).unwrap().trim_end();
            prop_assert_eq!(read_exec_request(value).unwrap(), words);
            prop_assert_eq!(text.lines().count(), 1);
        }
    }
}

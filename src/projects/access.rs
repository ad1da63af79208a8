//! Who gets in: SSH keys, sudo's exact lines, and the requests that come through the gate.

use serde::Serialize;

use crate::{
    config::Config,
    error::{Error, Result},
    names::{CiKey, ProjectName, PublicKey},
    registry::Project,
    templates::Templates,
};

/// What a project's own user may run by sudo, word for word, with the project's name at its end.
pub const USER_COMMANDS: &[&str] = &[
    "deploy",
    "deploys",
    "gate",
    "project info",
    "project restart",
    "releases",
    "rollback",
    "status",
];

#[derive(Serialize)]
struct Rules<'a> {
    name: &'a str,
    commands: Vec<String>,
}

pub(super) fn sudoers(name: &ProjectName, templates: &Templates) -> Result<String> {
    let commands = USER_COMMANDS.iter().map(|command| format!("{command} {name}")).collect();
    templates.render("sudoers/project", &Rules { name: name.as_str(), commands })
}

/// The project's keys and those that are for every project, each once.
pub(super) fn keys<'a>(project: &'a Project, config: &'a Config) -> Vec<&'a PublicKey> {
    let mut keys: Vec<&PublicKey> = Vec::new();
    for key in project.keys.iter().chain(&config.ssh_keys) {
        if !keys.iter().any(|k| k.fingerprint() == key.fingerprint()) {
            keys.push(key);
        }
    }
    keys
}

pub(super) fn authorized_keys(name: &ProjectName, keys: &[&PublicKey], ci: &[CiKey]) -> String {
    let mut text = format!("# Made by hostkit for the project {name}.\n");
    for key in keys {
        text.push_str(&key.to_string());
        text.push('\n');
    }
    for key in ci {
        text.push_str(&format!("{key}\n"));
    }
    text
}

pub(super) fn told(keys: usize) -> String {
    match keys {
        0 => "sudoers".into(),
        1 => "sudoers, 1 key".into(),
        n => format!("sudoers, {n} keys"),
    }
}

/// The longest request that the gate reads.
const LONGEST: usize = 64 << 10;

/// A request as the gate gets it: a command line, split by the gate's own grammar.
///
/// Words stand between spaces; quotes keep spaces together. There is no variable, no escape, no
/// way to another command: what a shell would act on is refused, not ignored.
pub fn parse_request(line: &str, project: &ProjectName) -> Result<Vec<String>> {
    let refused = |why: String| {
        Error::usage("bad_request", "the gate can't read this request")
            .caused_by(why)
            .hint(format!("send one hostkit command: `hostkit status {project}`"))
    };
    if line.len() > LONGEST {
        return Err(refused(format!("it has more than {LONGEST} bytes")));
    }
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (_, c) if c.is_control() => {
                return Err(refused(format!("it holds `{}`", c.escape_debug())));
            }
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (
                None,
                ';' | '&' | '|' | '<' | '>' | '`' | '$' | '\\' | '(' | ')' | '{' | '}' | '*' | '?'
                | '~' | '#' | '!',
            ) => {
                return Err(refused(format!(
                    "`{c}` stands outside of quotes, and no shell reads it"
                )));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(refused(format!("the quote `{quote}` is never closed")));
    }
    words.extend(word);
    if words.first().is_some_and(|first| first == "hostkit" || first == "sudo") {
        words.retain(|w| w != "sudo");
        if words.first().is_some_and(|first| first == "hostkit") {
            words.remove(0);
        }
    }
    if words.is_empty() {
        return Err(refused("it is empty".into()));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::projects::tests::shop;

    fn parse(line: &str) -> Result<Vec<String>> {
        parse_request(line, &"my-shop".parse().unwrap())
    }

    #[test]
    fn the_rules_of_a_project() {
        let name = "my-shop".parse().unwrap();
        insta::assert_snapshot!("sudoers", sudoers(&name, &Templates::default()).unwrap());
    }

    #[test]
    fn a_key_is_listed_once() {
        let key: PublicKey =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS a"
                .parse()
                .unwrap();
        let same = key.to_string().replace(" a", " b").parse().unwrap();
        let project = Project { keys: vec![key], ..shop() };
        let config = Config { ssh_keys: vec![same], ..Config::default() };
        assert_eq!(keys(&project, &config).len(), 1);
    }

    #[test]
    fn a_request_is_split_without_a_shell() {
        assert_eq!(parse("hostkit status my-shop").unwrap(), ["status", "my-shop"]);
        assert_eq!(parse("sudo hostkit status").unwrap(), ["status"]);
        assert_eq!(
            parse("deploy --message 'fix; the \"login\"'").unwrap(),
            ["deploy", "--message", "fix; the \"login\""]
        );
        for line in [
            "",
            "   ",
            "hostkit",
            "status; id",
            "status && id",
            "status $(id)",
            "status `id`",
            "status > /etc/x",
            "status\nid",
            "status 'open",
            "a\\ b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_request_reaches_a_shell_or_a_panic(line in "\\PC{0,80}|[a-z '\";|$-]{0,60}") {
            if let Ok(words) = parse(&line) {
                prop_assert!(!words.is_empty());
                prop_assert!(words.iter().all(|w| !w.chars().any(char::is_control)));
            }
        }

        #[test]
        fn rules_are_whole_lines_of_one_project(name in "[a-z][a-z0-9]{2,10}(-[a-z0-9]{1,5}){0,2}") {
            if let Ok(name) = name.parse::<ProjectName>() {
                let text = sudoers(&name, &Templates::default()).unwrap();
                for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
                    let command = line.strip_prefix(&format!("{name} ALL=(root) NOPASSWD: /usr/bin/hostkit ")).unwrap();
                    let verb = command.strip_suffix(&format!(" {name}")).unwrap();
                    prop_assert!(USER_COMMANDS.contains(&verb));
                }
                prop_assert!(!text.contains('*') && !text.contains('^'));
            }
        }
    }
}

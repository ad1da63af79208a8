//! A command as one line, and as its words.

use crate::error::{Error, Result};

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
    }
}

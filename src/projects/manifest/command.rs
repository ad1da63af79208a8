//! The command of a process: words and variables, and nothing else of what a shell knows.

use super::super::words::split_command;

const LONGEST: usize = 4096;

/// A command's words. `$NAME` stays for the unit, and inside a word becomes `${NAME}`, the one
/// form that systemd sees there.
pub(in crate::projects) fn words(command: &str) -> Result<Vec<String>, Refused> {
    if command.len() > LONGEST {
        return Err(Refused::why(format!("a command has {LONGEST} bytes at most")));
    }
    if let Some(sign) = shell_sign(command) {
        return Err(Refused {
            why: format!("`{sign}` means something to a shell only, and no shell runs the command"),
            hint: Some(format!("/bin/sh -c \"{}\"", in_quotes(command))),
        });
    }
    let words =
        split_command(&braced(command)).map_err(|e| Refused::why(e.cause.unwrap_or(e.message)))?;
    let program = words.first().map(String::as_str).unwrap_or_default();
    if let Some((name, _)) = program.split_once('=')
        && crate::envfile::check_key(name).is_ok()
    {
        return Err(Refused {
            why: format!("it starts with the variable `{name}`, where the program should be"),
            hint: Some(format!("write {name} under [env], or start with /usr/bin/env")),
        });
    }
    let unfit = |c: char| c == '$' || c == '%' || c.is_whitespace();
    let wrong = match program {
        "" => Some("its program has no name"),
        _ if program.contains(unfit) => Some("its program's name holds a space, a `$` or a `%`"),
        _ if program.starts_with(['-', '@', ':', '+', '!', '|', '~']) => {
            Some("its program's name starts with a sign that systemd takes for its own")
        }
        _ if program.split('/').any(|part| part == "..") || program.ends_with('/') => {
            Some("its program is a path with `..` in it, or a directory")
        }
        _ => None,
    };
    wrong.map_or(Ok(words), |why| Err(Refused::why(why.into())))
}

#[derive(Debug)]
pub(in crate::projects) struct Refused {
    pub(in crate::projects) why: String,
    pub(in crate::projects) hint: Option<String>,
}

impl Refused {
    fn why(why: String) -> Self {
        Self { why, hint: None }
    }
}

/// A command as an argument in double quotes.
fn in_quotes(command: &str) -> String {
    command.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Each character with what quotes it: `None`, a quote, or a backslash.
fn quoting(command: &str) -> impl Iterator<Item = (usize, char, Option<char>)> {
    let mut open: Option<char> = None;
    let mut escaped = false;
    command.char_indices().map(move |(at, c)| {
        if std::mem::take(&mut escaped) {
            return (at, c, Some('\\'));
        }
        let was = open;
        match (open, c) {
            (None | Some('"'), '\\') => escaped = true,
            (None, '"' | '\'') => open = Some(c),
            (Some(quote), _) if quote == c => open = None,
            _ => {}
        }
        (at, c, was)
    })
}

/// The first sign that only a shell would understand.
fn shell_sign(command: &str) -> Option<&str> {
    let (at, _, _) = quoting(command).find(|&(at, c, quoted)| {
        quoted.is_none() && ("&|;<>`".contains(c) || command[at..].starts_with("$("))
    })?;
    let rest = &command[at..];
    ["&&", "||", ">>", "<<", "$("].into_iter().find(|sign| rest.starts_with(sign)).or(rest.get(..1))
}

/// `127.0.0.1:$PORT` as `127.0.0.1:${PORT}`; what is quoted or a word of its own stays.
fn braced(command: &str) -> String {
    let mut text = String::with_capacity(command.len());
    let mut done = 0;
    let mut at_start = true;
    for (at, c, quoted) in quoting(command) {
        let is_variable = c == '$' && quoted.is_none() && at >= done;
        let starts_word = std::mem::replace(&mut at_start, c == ' ' && quoted.is_none());
        if !is_variable {
            continue;
        }
        let name = variable(&command[at + 1..]);
        let end = at + 1 + name.len();
        let is_whole = starts_word && command[end..].chars().next().is_none_or(|c| c == ' ');
        if !name.is_empty() && !is_whole {
            text.push_str(&command[done..at]);
            text.push_str(&format!("${{{name}}}"));
            done = end;
        }
    }
    text.push_str(&command[done..]);
    text
}

/// The name that a text starts with, or nothing.
fn variable(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = &text[..end];
    if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_variables_stay() {
        for (command, expected) in [
            ("venv/bin/uvicorn main:app --port $PORT", "venv/bin/uvicorn|main:app|--port|$PORT"),
            ("/x --bind 127.0.0.1:$PORT $A$B", "/x|--bind|127.0.0.1:${PORT}|${A}${B}"),
            ("/x --bind=${HOST}:${PORT}", "/x|--bind=${HOST}:${PORT}"),
            (
                "/bin/sh -c \"cd a && echo $HOME; ls > $x/y\"",
                "/bin/sh|-c|cd a && echo $HOME; ls > $x/y",
            ),
            ("/x 'a | b' c\\;d $1 $", "/x|a | b|c;d|$1|$"),
        ] {
            assert_eq!(words(command).unwrap().join("|"), expected, "{command}");
        }
    }

    #[test]
    fn what_wants_a_shell_says_how_to_get_one() {
        for (command, sign, hint) in [
            ("cd a && node b", "&&", "/bin/sh -c \"cd a && node b\""),
            ("a | b", "|", "/bin/sh -c \"a | b\""),
            ("a \"b\"; c", ";", "/bin/sh -c \"a \\\"b\\\"; c\""),
            ("a > /dev/null", ">", "/bin/sh -c \"a > /dev/null\""),
            ("a 'x' 2>&1", ">", "/bin/sh -c \"a 'x' 2>&1\""),
            ("a $(date)", "$(", "/bin/sh -c \"a $(date)\""),
        ] {
            let refused = words(command).unwrap_err();
            assert!(refused.why.starts_with(&format!("`{sign}` ")), "{command}: {refused:?}");
            assert_eq!(refused.hint.as_deref(), Some(hint));
        }
    }

    #[test]
    fn a_program_is_a_program() {
        for command in ["", "$X y", "A=1 node x", "../x", "a/", "\"\" x", "'a b' c", "-x", "a\nb"] {
            assert!(words(command).is_err(), "{command}");
        }
    }

    proptest! {
        #[test]
        fn no_command_panics(command in "\\PC{0,40}|[a-z$&|;<>'\"\\\\ {}(=/.]{0,40}") {
            if let Ok(words) = words(&command) {
                prop_assert!(!words[0].is_empty());
            }
        }
    }
}

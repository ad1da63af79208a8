//! A project's `.env`, read and written by systemd's own rules for an `EnvironmentFile=`.
//!
//! Whatever value goes in reaches the process unchanged; comments and the order of lines stay.
//! What systemd would misread in silence (an open quote, `export`, a key with a space) is an
//! error that names the line.

use std::{fmt, iter::Peekable, str::Chars};

use crate::error::{Error, Result};

/// One value may have this many bytes, and the whole file four times as many.
const LONGEST_VALUE: usize = 32 * 1024;
const LONGEST_FILE: usize = 4 * LONGEST_VALUE;

/// Keys that would let a value take over the process instead of configuring it.
const DANGEROUS: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "IFS",
    "LOCPATH",
    "MALLOC_TRACE",
    "NLSPATH",
];

/// The same for every key that begins so: of the program loader.
const DANGEROUS_PREFIXES: &[&str] = &["LD_"];

#[derive(Clone, Default, Eq, PartialEq)]
pub struct EnvFile {
    lines: Vec<Line>,
}

#[derive(Clone, Eq, PartialEq)]
enum Line {
    /// A comment or an empty line, without its newline.
    Other(String),
    Variable {
        key: String,
        value: String,
    },
}

impl EnvFile {
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST_FILE {
            return Err(refused(1, format!("the file has more than {LONGEST_FILE} bytes")));
        }
        if text.contains('\0') {
            return Err(refused(1, "the file holds a zero byte"));
        }
        Reader { rest: text.chars().peekable(), line: 1 }.file()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.variables().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    pub fn variables(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Other(_) => None,
            Line::Variable { key, value } => Some((key.as_str(), value.as_str())),
        })
    }

    /// Sets a variable where it stands, or at the end.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        check_key(key)?;
        check_value(key, value)?;
        let mut found = false;
        self.lines.retain_mut(|line| match line {
            Line::Variable { key: k, value: v } if k == key => {
                value.clone_into(v);
                !std::mem::replace(&mut found, true)
            }
            _ => true,
        });
        if !found {
            self.lines.push(Line::Variable { key: key.into(), value: value.into() });
        }
        Ok(())
    }

    /// Takes a variable away; says whether it was there.
    pub fn unset(&mut self, key: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !matches!(line, Line::Variable { key: k, .. } if k == key));
        self.lines.len() < before
    }

    pub fn comment(&mut self, text: &str) {
        self.lines.push(Line::Other(format!("# {text}")));
    }

    /// The file with every value hidden, for a diff on a screen.
    pub fn masked(&self) -> String {
        self.lines
            .iter()
            .map(|line| match line {
                Line::Other(text) => format!("{text}\n"),
                Line::Variable { key, .. } => format!("{key}=***\n"),
            })
            .collect()
    }
}

impl fmt::Display for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Other(text) => writeln!(f, "{text}")?,
                Line::Variable { key, value } => writeln!(f, "{key}={}", quoted(value))?,
            }
        }
        Ok(())
    }
}

/// A key as a shell and systemd take it, and that doesn't take over the process.
pub fn check_key(key: &str) -> Result<()> {
    let refused = |why: String| {
        Error::usage("bad_key", format!("`{}` can't be set", key.escape_debug())).caused_by(why)
    };
    let mut bytes = key.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') || key.len() > 128 {
        return Err(refused("a key has letters, digits and _, and starts with no digit".into()));
    }
    if DANGEROUS_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) || DANGEROUS.contains(&key) {
        return Err(refused("it would change which code the process runs".into()));
    }
    Ok(())
}

fn check_value(key: &str, value: &str) -> Result<()> {
    if value.contains('\0') {
        return Err(Error::usage("bad_value", format!("the value of `{key}` holds a zero byte")));
    }
    if value.len() > LONGEST_VALUE {
        return Err(Error::usage("bad_value", format!("the value of `{key}` is too long"))
            .caused_by(format!("it has {} bytes, and {LONGEST_VALUE} is the most", value.len())));
    }
    Ok(())
}

/// A value as systemd will read it back: plain where it is plain, else in double quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len() + 8);
    text.push('"');
    for c in value.chars() {
        if NEEDS_ESCAPE.contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// What a backslash escapes inside double quotes; before anything else it stands for itself.
const NEEDS_ESCAPE: &str = "\"\\`$";

fn refused(line: usize, why: impl fmt::Display) -> Error {
    Error::usage("bad_env_file", "this is no environment file that systemd reads as it looks")
        .caused_by(format!("line {line}: {why}"))
        .hint("write one KEY=value a line, the value in double quotes where it has spaces")
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn file(mut self) -> Result<EnvFile> {
        let mut lines = Vec::new();
        while let Some(first) = self.rest.peek().copied() {
            match first {
                ' ' | '\t' | '\r' => {
                    self.next();
                }
                '\n' | '#' | ';' => lines.push(Line::Other(self.rest_of_line())),
                _ => lines.push(self.variable()?),
            }
        }
        Ok(EnvFile { lines })
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn rest_of_line(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.next() {
            if c == '\n' {
                break;
            }
            text.push(c);
        }
        // Some versions of systemd join a comment that ends in a backslash with the next line.
        text.truncate(text.trim_end_matches('\\').len());
        text
    }

    fn variable(&mut self) -> Result<Line> {
        let started = self.line;
        let mut key = String::new();
        loop {
            match self.rest.peek().copied() {
                Some('=') => break,
                Some('\n' | '\r') | None => {
                    return Err(refused(started, format!("`{}` has no `=`", key.trim())));
                }
                Some(c) => {
                    self.next();
                    key.push(c);
                }
            }
        }
        self.next();
        let key = key.trim().to_owned();
        check_key(&key).map_err(|e| refused(started, e))?;
        let value = self.value(started)?;
        check_value(&key, &value).map_err(|e| refused(started, e))?;
        Ok(Line::Variable { key, value })
    }

    /// The value up to the end of its line; quoted parts and plain ones may follow each other.
    fn value(&mut self, started: usize) -> Result<String> {
        let mut value = String::new();
        // Spaces count inside a plain run, and not around it.
        let mut spaces = String::new();
        let mut in_plain = false;
        loop {
            match self.next() {
                None | Some('\n' | '\r') => return Ok(value),
                Some(quote @ ('"' | '\'')) if !in_plain => {
                    self.quoted(quote, &mut value, started)?;
                    spaces.clear();
                }
                Some('\\') => {
                    in_plain = true;
                    value.push_str(&std::mem::take(&mut spaces));
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c) => value.push(c),
                    }
                }
                Some(c) if c.is_ascii_whitespace() => {
                    if in_plain {
                        spaces.push(c);
                    }
                }
                Some(c) => {
                    in_plain = true;
                    value.push_str(&std::mem::take(&mut spaces));
                    value.push(c);
                }
            }
        }
    }

    fn quoted(&mut self, quote: char, value: &mut String, started: usize) -> Result<()> {
        loop {
            match self.next() {
                None => {
                    return Err(refused(started, format!("the quote `{quote}` is never closed")));
                }
                Some(c) if c == quote => return Ok(()),
                Some('\\') if quote == '"' => match self.next() {
                    Some(c) if NEEDS_ESCAPE.contains(c) => value.push(c),
                    Some('\n') | None => {}
                    Some(c) => value.extend(['\\', c]),
                },
                Some(c) => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value_of(line: &str) -> String {
        EnvFile::parse(line).unwrap().get("A").unwrap().to_owned()
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        let cases = [
            ("A=1", "1"),
            ("A=", ""),
            ("A=\"\"", ""),
            ("A= 1 2 ", "1 2"),
            ("A=a'b", "a'b"),
            ("A='$x \\ \"'", "$x \\ \""),
            ("A=\"a\\\"b\\$c\\n\"", "a\"b$c\\n"),
            ("A=\"one\ntwo\"", "one\ntwo"),
            ("A=\"one\\\ntwo\"", "onetwo"),
            ("A=\"a\"'b'c", "abc"),
            ("A=back\\slash", "backslash"),
            ("A=one\\\ntwo", "onetwo"),
            ("A=1 # no comment here", "1 # no comment here"),
            ("  A=1", "1"),
        ];
        for (line, value) in cases {
            assert_eq!(value_of(line), value, "{line}");
        }
    }

    #[test]
    fn what_systemd_would_misread_names_its_line() {
        for (text, cause) in [
            ("A=1\nB=\"open\nC=3", "line 2: the quote `\"` is never closed"),
            ("export A=1", "line 1: `export A` can't be set"),
            ("A=1\n\nword", "line 3: `word` has no `=`"),
            ("1A=1", "line 1: `1A` can't be set"),
            ("LD_PRELOAD=/x", "line 1: `LD_PRELOAD` can't be set"),
            ("LOCPATH=/x", "line 1: `LOCPATH` can't be set"),
            ("MALLOC_TRACE=/x", "line 1: `MALLOC_TRACE` can't be set"),
        ] {
            let error = EnvFile::parse(text).err().unwrap();
            assert!(error.cause.as_ref().unwrap().starts_with(cause), "{text}: {error}");
        }
    }

    #[test]
    fn comments_and_order_stay() {
        let text = "# made by hostkit\n\nB=2\n; old\nA=1\n";
        let mut file = EnvFile::parse(text).unwrap();
        assert_eq!(file.to_string(), text);
        file.set("B", "3").unwrap();
        file.set("C", "x y").unwrap();
        assert!(file.unset("A") && !file.unset("A"));
        assert_eq!(file.to_string(), "# made by hostkit\n\nB=3\n; old\nC=\"x y\"\n");
    }

    #[test]
    fn a_masked_file_has_no_value() {
        let mut file = EnvFile::default();
        file.set("TOKEN", "hunter2").unwrap();
        assert_eq!(file.masked(), "TOKEN=***\n");
    }

    #[test]
    fn a_newline_in_a_value_makes_no_second_variable() {
        let mut file = EnvFile::default();
        file.set("A", "1\nLD_PRELOAD=/tmp/x").unwrap();
        let again = EnvFile::parse(&file.to_string()).unwrap();
        assert_eq!(again.variables().collect::<Vec<_>>(), [("A", "1\nLD_PRELOAD=/tmp/x")]);
    }

    proptest! {
        #[test]
        fn any_value_survives_a_round_trip(value in "[^\\x00]{0,60}|[\"'\\\\$`#;= \\n\\r\\ta%]{0,30}") {
            let mut file = EnvFile::default();
            file.set("A", &value).unwrap();
            file.set("B", "sentinel").unwrap();
            let again = EnvFile::parse(&file.to_string()).unwrap();
            prop_assert_eq!(again.get("A"), Some(value.as_str()));
            prop_assert_eq!(again.get("B"), Some("sentinel"));
            prop_assert_eq!(again.to_string(), file.to_string());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|[A-Z=\"'\\\\\\n #;]{0,60}") {
            if let Ok(file) = EnvFile::parse(&text) {
                prop_assert!(EnvFile::parse(&file.to_string()).is_ok());
            }
        }
    }
}

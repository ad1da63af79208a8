//! The rules of a `.gitignore`, as git reads them: byte for byte, and in time that grows with the
//! rule and the path alone, whoever wrote it.

/// What the rules of one file say, the last first.
#[derive(Default)]
pub(super) struct Ignored(Vec<Rule>);

struct Rule {
    takes_in: bool,
    is_for_dirs: bool,
    /// It is compared with the whole path below its file, and not with the last name alone.
    is_path: bool,
    tokens: Vec<Token>,
}

#[derive(Debug)]
enum Token {
    Byte(u8),
    /// `?` or `[…]`: one byte of these, a bit each.
    Class(Box<[u64; 4]>),
    /// `*`
    Star,
    /// `**/`: no directory, or any number of them.
    Dirs,
    /// `/**` at the end: whatever is below.
    Rest,
}

impl Ignored {
    /// Adds a line; whoever wants to refuse one that is no rule, or can't be meant, hears why.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.starts_with(b"#") {
            return Ok(());
        }
        let line = without_spaces(line);
        let (takes_in, line) = line.strip_prefix(b"!").map_or((false, line), |rest| (true, rest));
        let (is_for_dirs, line) =
            line.strip_suffix(b"/").map_or((false, line), |rest| (true, rest));
        let is_path = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        if line.is_empty() {
            return Ok(());
        }
        let (tokens, complaint) = tokens(line)?;
        self.0.push(Rule { takes_in, is_for_dirs, is_path, tokens });
        complaint.map_or(Ok(()), Err)
    }

    /// Whether the rules leave a path out, or take it in; `None` where none of them is about it.
    pub(super) fn leaves_out(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let rule = self.0.iter().rev().find(|rule| {
            (is_dir || !rule.is_for_dirs)
                && fits(&rule.tokens, if rule.is_path { path } else { name })
        })?;
        Some(!rule.takes_in)
    }
}

/// Spaces at the end are none of the rule's, unless there is a backslash before them.
fn without_spaces(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut i = 0;
    while i < line.len() {
        let is_space = line[i] == b' ';
        i += if line[i] == b'\\' { 2 } else { 1 };
        if !is_space {
            end = i;
        }
    }
    &line[..end.min(line.len())]
}

/// And what git takes without a word, though nobody means it.
type Read<T> = Result<(T, Option<&'static str>), &'static str>;

fn tokens(rule: &[u8]) -> Read<Vec<Token>> {
    let (mut tokens, mut complaint) = (Vec::new(), None);
    let mut i = 0;
    while let Some(byte) = rule.get(i) {
        let starts = i;
        i += 1;
        tokens.push(match byte {
            b'\\' => {
                i += 1;
                Token::Byte(*rule.get(i - 1).ok_or("a rule ends in a lone `\\`")?)
            }
            b'?' => Token::Class(Box::new([!0; 4])),
            b'[' => {
                let ((class, ends), odd) = class(rule, i)?;
                (i, complaint) = (ends, complaint.or(odd));
                Token::Class(class)
            }
            b'*' => {
                i = starts + rule[starts..].iter().take_while(|byte| **byte == b'*').count();
                // git compares what has no sign in it first, and then looks at what is left.
                let is_first = !rule[..starts].iter().any(|byte| b"*?[\\".contains(byte));
                let is_bound = i - starts > 1 && (is_first || rule[starts - 1] == b'/');
                match rule.get(i) {
                    Some(b'/') if is_bound => {
                        i += 1;
                        Token::Dirs
                    }
                    None if is_bound => Token::Rest,
                    _ => Token::Star,
                }
            }
            byte => Token::Byte(*byte),
        });
    }
    Ok((tokens, complaint))
}

/// The bytes between brackets that open before `i`, and where what follows them begins.
fn class(rule: &[u8], mut i: usize) -> Read<(Box<[u64; 4]>, usize)> {
    const OPEN: &str = "a rule opens a `[` and does not close it";
    let at = |i: usize| rule.get(i).copied().ok_or(OPEN);
    let mut class = Box::new([0_u64; 4]);
    let mut add = |byte: u8| class[usize::from(byte >> 6)] |= 1 << (byte & 63);
    let is_not = matches!(at(i)?, b'!' | b'^');
    i += usize::from(is_not);
    let (mut before, mut complaint) = (None, None);
    loop {
        let mut byte = at(i)?;
        i += 1;
        let named = || rule[i..].iter().position(|byte| *byte == b']').map(|n| &rule[i + 1..i + n]);
        match (byte, before) {
            (b'-', Some(from)) if at(i)? != b']' => {
                byte = at(i)?;
                i += 1;
                if byte == b'\\' {
                    byte = at(i)?;
                    i += 1;
                }
                if byte < from {
                    complaint = Some("a rule has a range that ends before it begins");
                }
                (from..=byte).for_each(&mut add);
                before = None;
            }
            (b'[', _) if at(i)? == b':' => {
                before = None;
                if let Some(name) = named().ok_or(OPEN)?.strip_suffix(b":") {
                    (0..128).filter(is_in(name)?).for_each(&mut add);
                    i += name.len() + 3;
                } else {
                    add(b'[');
                    before = Some(b'[');
                }
            }
            _ => {
                if byte == b'\\' {
                    byte = at(i)?;
                    i += 1;
                }
                add(byte);
                before = Some(byte);
            }
        }
        if at(i)? == b']' {
            break;
        }
    }
    if is_not {
        *class = class.map(|bits| !bits);
    }
    Ok(((class, i + 1), complaint))
}

/// The sets that have a name, in ASCII.
fn is_in(name: &[u8]) -> Result<impl Fn(&u8) -> bool + use<>, &'static str> {
    let is: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return Err("a rule names a set of characters that there is not"),
    };
    Ok(is)
}

/// All places in the rule are tried at once, so no text takes longer than another.
fn fits(tokens: &[Token], text: &[u8]) -> bool {
    let mut places = vec![false; tokens.len() + 1];
    enter(&mut places, tokens, 0);
    for byte in text {
        let mut next = vec![false; tokens.len() + 1];
        for (i, token) in tokens.iter().enumerate().filter(|(i, _)| places[*i]) {
            match token {
                Token::Byte(wanted) if wanted != byte => {}
                Token::Byte(_) => enter(&mut next, tokens, i + 1),
                Token::Class(class) => {
                    let has = class[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1;
                    if has && *byte != b'/' {
                        enter(&mut next, tokens, i + 1);
                    }
                }
                Token::Star if *byte == b'/' => {}
                Token::Star | Token::Rest => enter(&mut next, tokens, i),
                Token::Dirs => {
                    next[i] = true;
                    if *byte == b'/' {
                        enter(&mut next, tokens, i + 1);
                    }
                }
            }
        }
        places = next;
    }
    places[tokens.len()]
}

/// Goes to a place, and to those after it that may stand for nothing.
fn enter(places: &mut [bool], tokens: &[Token], mut i: usize) {
    places[i] = true;
    while let Some(Token::Star | Token::Dirs | Token::Rest) = tokens.get(i) {
        i += 1;
        places[i] = true;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, process};

    use proptest::prelude::*;

    use super::*;

    /// What git itself leaves out of these paths.
    #[allow(clippy::disallowed_methods, reason = "there is no Host here, and git is the judge")]
    fn by_git(rules: &str, paths: &[String]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut git = process::Command::new("git");
            git.arg("-C").arg(dir.path()).args(args).env_clear().env("PATH", "/usr/bin:/bin");
            git.stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
            git.stderr(process::Stdio::null());
            git
        };
        assert!(git(&["init", "--quiet"]).status().unwrap().success());
        fs::write(dir.path().join(".gitignore"), rules).unwrap();
        for path in paths {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), "").unwrap();
        }
        let mut asked =
            git(&["-c", "core.excludesFile=", "check-ignore", "--no-index", "-z", "--stdin"])
                .spawn()
                .unwrap();
        let mut to = asked.stdin.take().unwrap();
        to.write_all(paths.join("\0").as_bytes()).unwrap();
        drop(to);
        let told = String::from_utf8(asked.wait_with_output().unwrap().stdout).unwrap();
        told.split_terminator('\0').map(str::to_owned).collect()
    }

    fn by_us(rules: &str, paths: &[String]) -> Vec<String> {
        let mut ignored = Ignored::default();
        for line in rules.lines() {
            let _ = ignored.add(line.as_bytes());
        }
        let is_out = |path: &&String| {
            let mut above = path.match_indices('/').map(|(i, _)| (&path[..i], true));
            above.any(|(dir, is_dir)| ignored.leaves_out(dir.as_bytes(), is_dir) == Some(true))
                || ignored.leaves_out(path.as_bytes(), false) == Some(true)
        };
        paths.iter().filter(is_out).cloned().collect()
    }

    fn paths() -> Vec<String> {
        let names = ["a", "b", "ab", "a-b", "c c", "]", "[x", "\\a", "é", "#", "!b", "*"];
        let mut paths = Vec::new();
        for name in names {
            paths.extend(["", "d/", "d/e/", "e/"].map(|dir| format!("{dir}{name}")));
        }
        paths
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn git_would_leave_out_the_same(
            rules in prop::collection::vec(
                r"!?/?((\*{1,3}|[abde]{1,2}|\?|\\.|\[[!^]?[]a-e\\-]{0,4}\]?|\[\[:(alpha|space|no):\]\]|é| |#)/?){1,4} ?",
                1..6,
            )
        ) {
            let (rules, paths) = (rules.join("\n") + "\n", paths());
            prop_assert_eq!(by_us(&rules, &paths), by_git(&rules, &paths), "{}", rules);
        }
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for rule in ["a\\", "[a", "[z-", "[z-a]", "[[:none:]]", "["] {
            assert!(Ignored::default().add(rule.as_bytes()).is_err(), "{rule}");
        }
        for rule in ["", "#[", "!", "/", "[]]", "[a-]", "\\ "] {
            assert!(Ignored::default().add(rule.as_bytes()).is_ok(), "{rule}");
        }
    }

    #[test]
    fn no_rule_takes_long() {
        let mut ignored = Ignored::default();
        ignored.add("*a".repeat(200).as_bytes()).unwrap();
        ignored.add("**/*a/".repeat(100).as_bytes()).unwrap();
        assert_eq!(ignored.leaves_out(&b"a/".repeat(500), false), None);
    }
}

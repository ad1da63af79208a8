//! Words, sizes and times as people read them.

use std::{io::IsTerminal, time::Duration};

use jiff::Timestamp;

/// Colours, where the reader has them and has not asked for none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colours: bool,
    utf8: bool,
}

impl Paint {
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |key: &str| std::env::var_os(key).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|key| std::env::var(key).ok().filter(|value| !value.is_empty()))
            .unwrap_or_default()
            .to_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Self {
            colours: stream.is_terminal() && !set("NO_COLOR") && !dumb,
            utf8: utf8 || !stream.is_terminal(),
        }
    }

    pub fn plain() -> Self {
        Self { colours: false, utf8: true }
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.code("1;31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }

    pub fn cyan(self, text: &str) -> String {
        self.code("36", text)
    }

    pub fn check(self) -> String {
        self.green(if self.utf8 { "✓" } else { "+" })
    }

    pub fn cross(self) -> String {
        self.red(if self.utf8 { "✗" } else { "x" })
    }

    pub fn dot(self) -> &'static str {
        if self.utf8 { "●" } else { "*" }
    }

    pub fn ring(self) -> &'static str {
        if self.utf8 { "○" } else { "o" }
    }

    pub fn half(self) -> &'static str {
        if self.utf8 { "◐" } else { "~" }
    }

    pub fn has_utf8(self) -> bool {
        self.utf8
    }
}

/// `1 project`, `2 projects`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `0.1 s`, `12 s`, `3 min`.
pub fn elapsed(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// `5 min ago`, as of now.
pub fn ago(then: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(then).as_secs();
    match seconds {
        ..5 => "now".into(),
        5..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// `142M`, `1.5G`.
pub fn bytes(n: u64) -> String {
    match n {
        ..1024 => n.to_string(),
        1024..1_048_576 => format!("{}K", n >> 10),
        1_048_576..1_073_741_824 => format!("{}M", n >> 20),
        _ => format!("{}.{}G", n >> 30, ((n % (1 << 30)) * 10) >> 30),
    }
}

/// A diff with its signs coloured, set in from the left.
pub fn painted_diff(diff: &str, paint: Paint) -> String {
    diff.lines()
        .filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
        .map(|line| {
            let line = printable(line);
            let painted = match line.as_bytes().first() {
                Some(b'+') => paint.green(&line),
                Some(b'-') => paint.red(&line),
                Some(b'@') => paint.cyan(&line),
                _ => line,
            };
            format!("      {painted}\n")
        })
        .collect()
}

/// Text from elsewhere without what a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    let acts = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if acts(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(1, "key"), "1 key");
        assert_eq!(count(0, "key"), "0 keys");
        assert_eq!(bytes(142 << 20), "142M");
        assert_eq!(bytes(3 << 29), "1.5G");
        assert_eq!(elapsed(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(elapsed(Duration::from_mins(10)), "10 min");
        assert_eq!(ago(Timestamp::now()), "now");
    }

    #[test]
    fn nothing_from_elsewhere_drives_the_terminal() {
        assert_eq!(printable("a\x1b]52;c;x\x07b\n"), "a\\u{1b}]52;c;x\\u{7}b\n");
        assert_eq!(printable("\u{202e}evil"), "\\u{202e}evil");
    }
}

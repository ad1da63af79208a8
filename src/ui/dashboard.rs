//! A page that is drawn again and again: over itself on a terminal, one after the other elsewhere.

use std::io::{IsTerminal, Write};

use console::{Term, truncate_str};

use super::Paint;

/// The terminal's other screen, until this is dropped.
pub struct Dashboard {
    paint: Paint,
}

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl Dashboard {
    /// None where standard output is no terminal that can be drawn on.
    pub fn begin() -> Option<Self> {
        let stdout = std::io::stdout();
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        if !stdout.is_terminal() || is_dumb || !write(ENTER) {
            return None;
        }
        Some(Self { paint: Paint::of(&stdout) })
    }

    /// Draws over what is there, in one go and without wiping it first; whether somebody sees it.
    pub fn draw(&self, text: &str) -> bool {
        let (rows, columns) = Term::stdout().size();
        write(&frame(text, (rows.into(), columns.into()), self.paint))
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

/// A text as it is, at once; whether somebody takes it.
pub fn write(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Each line takes the place of the one that is there, to its end; none is longer than the screen
/// is wide, and what the screen has no room for is counted.
fn frame(text: &str, (rows, columns): (usize, usize), paint: Paint) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let fits = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let tail = if paint.has_utf8() { "…" } else { "~" };
    let more = (lines.len() > fits).then(|| format!("{tail} {} more lines", lines.len() - fits));
    let shown = lines[..fits].iter().map(|line| (*line).to_owned()).chain(more);
    let drawn: Vec<String> =
        shown.map(|line| format!("{}\x1b[K", truncate_str(&line, columns, tail))).collect();
    // A terminal that knows these two shows all of it or nothing.
    format!("\x1b[?2026h\x1b[H{}\x1b[J\x1b[?2026l", drawn.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_screen() {
        let drawn = |text: &str, size| frame(text, size, Paint::plain());
        let head = "\x1b[?2026h\x1b[H";
        assert_eq!(
            drawn("one\ntwo\n", (5, 20)),
            format!("{head}one\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[?2026l")
        );
        assert_eq!(drawn("abcdef\n", (5, 4)), format!("{head}abc…\x1b[K\x1b[J\x1b[?2026l"));
        let many = drawn("1\n2\n3\n4\n", (3, 20));
        assert!(many.contains("2\x1b[K\r\n… 2 more lines") && !many.contains("3\x1b"), "{many:?}");
        assert_eq!(drawn("1\n2\n3\n", (3, 20)).matches("\r\n").count(), 2);
    }
}

//! In whose name views, triggers and routines of a dump work: of whoever brings it back, since
//! nobody else may be named there by one who is not the server's root. A database that is altered
//! for a while is the one that is filled, however it was called.

use std::io::Write;

use super::identifier;

/// How the lines begin that the server's own tool writes such a name into.
const LINES: [&[u8]; 4] = [
    b"/*!50013 DEFINER=",
    b"/*!50003 CREATE*/ /*!50017 DEFINER=",
    b"/*!50106 CREATE*/ /*!50117 DEFINER=",
    b"CREATE DEFINER=",
];

const ALTERS: &[u8] = b"ALTER DATABASE ";

const LONGEST: usize = 40;

/// Longer than any two names.
const NAMES: usize = 1 << 10;

fn begins(line: &[u8]) -> Option<&'static [u8]> {
    LINES.into_iter().chain([ALTERS]).find(|begin| line.starts_with(begin))
}

/// Such a line with another name; nothing where it is none.
pub(super) fn without_definer(line: &[u8]) -> Option<Vec<u8>> {
    let begin = begins(line).filter(|begin| *begin != ALTERS)?;
    let rest = past_name(&line[begin.len()..])?.strip_prefix(b"@").and_then(past_name)?;
    Some([begin, b"CURRENT_USER", rest].concat())
}

/// A line that alters a database, with another one's name.
fn altered(line: &[u8], database: &str) -> Option<Vec<u8>> {
    let rest = past_name(line.strip_prefix(ALTERS)?)?;
    Some([ALTERS, database.as_bytes(), rest].concat())
}

/// What follows a name in backticks.
fn past_name(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"`")?;
    loop {
        let end = rest.iter().position(|byte| *byte == b'`')?;
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"`") {
            Some(more) => rest = more,
            None => return Some(rest),
        }
    }
}

/// Hands a dump on with such lines changed, however long others are.
pub(super) struct Renamed<W> {
    pub(super) to: W,
    database: String,
    held: Vec<u8>,
    is_in_line: bool,
}

impl<W: Write> Renamed<W> {
    pub(super) fn new(to: W, database: &str) -> Self {
        let database = identifier(database);
        Self { to, database, held: Vec::new(), is_in_line: false }
    }

    /// A line, or a part of one that is handed on as it is.
    fn pass(&mut self, line: &[u8]) -> std::io::Result<()> {
        let renamed = if self.is_in_line {
            None
        } else {
            without_definer(line).or_else(|| altered(line, &self.database))
        };
        self.is_in_line = !line.ends_with(b"\n");
        self.to.write_all(renamed.as_deref().unwrap_or(line))
    }

    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.pass(&held)?;
        self.to.flush()
    }
}

impl<W: Write> Write for Renamed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, more) = rest.split_at(end + 1);
            self.pass(line)?;
            rest = more;
        }
        // What may still become such a line waits for its end.
        let may_become_one = !self.is_in_line
            && (rest.len() < LONGEST || rest.len() < LONGEST + NAMES && begins(rest).is_some());
        if may_become_one || rest.is_empty() {
            self.held = rest.to_vec();
        } else {
            self.pass(rest)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str, part: usize) -> String {
        let mut to = Renamed::new(Vec::new(), "my_next");
        text.as_bytes().chunks(part).for_each(|part| to.write_all(part).unwrap());
        to.finish().unwrap();
        String::from_utf8(to.to).unwrap()
    }

    #[test]
    fn names_of_definers_go_and_rows_stay() {
        let long = "x".repeat(300);
        let text = format!(
            "/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n\
             /*!50003 CREATE*/ /*!50017 DEFINER=`a``b`@`%`*/ /*!50003 TRIGGER t */;;\n\
             CREATE DEFINER=`u`@`%` FUNCTION `two`() RETURNS int\n\
             (1,'{long}CREATE DEFINER=`u`@`%`'),\n(2,'CREATE DEFINER=`u`@`%`');\nend"
        );
        let wanted = format!(
            "/*!50013 DEFINER=CURRENT_USER SQL SECURITY DEFINER */\n\
             /*!50003 CREATE*/ /*!50017 DEFINER=CURRENT_USER*/ /*!50003 TRIGGER t */;;\n\
             CREATE DEFINER=CURRENT_USER FUNCTION `two`() RETURNS int\n\
             (1,'{long}CREATE DEFINER=`u`@`%`'),\n(2,'CREATE DEFINER=`u`@`%`');\nend"
        );
        for part in [1, 7, 64, 10_000] {
            assert_eq!(renamed(&text, part), wanted, "{part}");
        }
        assert_eq!(renamed("CREATE DEFINER=`u\n", 3), "CREATE DEFINER=`u\n");
    }

    #[test]
    fn a_database_that_is_altered_is_the_one_that_is_filled() {
        let text =
            "ALTER DATABASE `my``db` COLLATE x ;\nX ALTER DATABASE `a` y\nALTER DATABASE a\n";
        let wanted =
            "ALTER DATABASE `my_next` COLLATE x ;\nX ALTER DATABASE `a` y\nALTER DATABASE a\n";
        for part in [1, 7, 64, 10_000] {
            assert_eq!(renamed(text, part), wanted, "{part}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_not_held() {
        let mut to = Renamed::new(Vec::new(), "my_next");
        to.write_all(b"CREATE DEFINER=`").unwrap();
        for _ in 0..1_000 {
            to.write_all(&[b'x'; 1_000]).unwrap();
            assert!(to.held.len() < 4_096, "{}", to.held.len());
        }
        to.finish().unwrap();
        assert_eq!(to.to.len(), 1_000_016);
    }
}

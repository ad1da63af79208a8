//! What is in a dump, seen while it passes: how many rows of each table, and a hash of the rest.

use std::{collections::BTreeMap, io::Write};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{definer::without_definer, identifier};
use crate::sys::moment::Shape;

/// Hands a dump on, and looks at it meanwhile.
pub(super) struct Tally<'a> {
    to: &'a mut dyn Write,
    /// Its own name, which is another one where it is brought back.
    database: String,
    at: At,
    line: Vec<u8>,
    /// Within what a routine or a trigger does.
    is_body: bool,
    tables: BTreeMap<String, i64>,
    schema: Sha256,
}

#[derive(Clone, Copy)]
enum At {
    Text,
    Rows { is_string: bool, is_escaped: bool, depth: u32 },
}

impl<'a> Tally<'a> {
    pub(super) fn new(database: &str, to: &'a mut dyn Write) -> Self {
        Self {
            to,
            database: identifier(database),
            at: At::Text,
            line: Vec::new(),
            is_body: false,
            tables: BTreeMap::new(),
            schema: Sha256::new(),
        }
    }

    pub(super) fn shape(self) -> Shape {
        let Self { tables, schema, .. } = self;
        let schema = HEXLOWER.encode(&schema.finalize());
        Shape { schema, tables, extensions: BTreeMap::new() }
    }

    fn see(&mut self, byte: u8) {
        match self.at {
            At::Text => self.see_text(byte),
            At::Rows { .. } => self.see_row(byte),
        }
    }

    fn see_text(&mut self, byte: u8) {
        if byte == b'\n' {
            self.end_line();
            return;
        }
        self.line.push(byte);
        let begins_rows = byte == b'S'
            && !self.is_body
            && self.line.starts_with(b"INSERT INTO `")
            && self.line.ends_with(b" VALUES");
        if begins_rows {
            self.at = At::Rows { is_string: false, is_escaped: false, depth: 0 };
        }
    }

    fn see_row(&mut self, byte: u8) {
        let At::Rows { is_string, is_escaped, depth } = &mut self.at else { return };
        if *is_escaped {
            *is_escaped = false;
            return;
        }
        match byte {
            b'\\' if *is_string => *is_escaped = true,
            b'\'' => *is_string = !*is_string,
            _ if *is_string => {}
            b'(' => {
                *depth += 1;
                if *depth == 1 {
                    let table = named(&self.line, "INSERT INTO ").unwrap_or_default();
                    *self.tables.entry(table).or_default() += 1;
                }
            }
            b')' => *depth = depth.saturating_sub(1),
            b';' if *depth == 0 => {
                self.at = At::Text;
                self.line.clear();
            }
            _ => {}
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match line.as_slice() {
            b"DELIMITER ;;" => self.is_body = true,
            b"DELIMITER ;" => self.is_body = false,
            _ => {}
        }
        if let (Some(table), false) = (named(&line, "CREATE TABLE "), self.is_body) {
            self.tables.entry(table).or_default();
        }
        // A name, a date, a version: nothing that is kept.
        let is_remark = line.starts_with(b"--") || line.starts_with(b"/*M!") || line.is_empty();
        if !is_remark {
            let line = without_definer(&line).unwrap_or(line);
            let text = String::from_utf8_lossy(&line).replace(&self.database, "``");
            self.schema.update(text.as_bytes());
            self.schema.update(b"\n");
        }
    }
}

/// The name that a line begins with, after so many words.
fn named(line: &[u8], words: &str) -> Option<String> {
    let rest = line.strip_prefix(words.as_bytes())?.strip_prefix(b"`")?;
    let text = String::from_utf8_lossy(rest);
    let mut name = String::new();
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign == '`' && signs.next_if_eq(&'`').is_none() {
            return Some(name);
        }
        name.push(sign);
    }
    None
}

impl Write for Tally<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.to.write_all(bytes)?;
        for byte in bytes {
            self.see(*byte);
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

    fn shape(database: &str, text: &str) -> Shape {
        let mut out = Vec::new();
        let mut tally = Tally::new(database, &mut out);
        for part in text.as_bytes().chunks(7) {
            tally.write_all(part).unwrap();
        }
        let shape = tally.shape();
        assert_eq!(out, text.as_bytes());
        shape
    }

    const DUMP: &str = "/*M!999999\\- enable the sandbox mode */ \n-- Host: x  Database: shop_db\n\
        CREATE TABLE `a``b` (\n  `id` int\n);\nCREATE TABLE `empty` (\n  `id` int\n);\n\
        INSERT INTO `a``b` VALUES\n(1,'x),(\\'y;'),\n(2,'it''s (\\\\'),(3,NULL);\n\
        INSERT INTO `a``b` (`id`) VALUES (4);\n\
        DELIMITER ;;\nCREATE DEFINER=`u`@`%` PROCEDURE `p`()\nINSERT INTO `empty` VALUES (1) ;;\nDELIMITER ;\n\
        ALTER DATABASE `shop_db` CHARACTER SET utf8mb4;\n-- Dump completed\n";

    #[test]
    fn rows_are_counted_whatever_is_in_them() {
        let shape = shape("shop_db", DUMP);
        let rows: Vec<_> = shape.tables.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(rows, [("a`b", 4), ("empty", 0)]);
    }

    #[test]
    fn a_schema_is_known_again_under_another_name() {
        let was = shape("shop_db", DUMP);
        let other = DUMP.replace("shop_db", "shop_db_drill").replace("`u`@", "`other`@");
        assert_eq!(shape("shop_db_drill", &other).schema, was.schema);
        let more = DUMP.replace("`id` int", "`id` bigint");
        assert_ne!(shape("shop_db", &more).schema, was.schema);
        let body = DUMP.replace("VALUES (1) ;;", "VALUES (2) ;;");
        assert_ne!(shape("shop_db", &body).schema, was.schema);
    }
}

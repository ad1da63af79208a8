//! A table of the manifest, read key by key: what is wrong names its line and column.

use std::{fmt, ops::Range, time::Duration};

use toml::de::{DeTable, DeValue};

use crate::{
    config::Wait,
    error::{Error, Result},
    names::nearest,
};

pub(super) type Span = Range<usize>;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

pub(super) struct Table<'a> {
    text: &'a str,
    /// As in `process.web.`: what goes before a key when it is named.
    prefix: String,
    table: &'a DeTable<'a>,
    pub(super) span: Span,
}

impl<'a> Table<'a> {
    pub(super) fn whole(text: &'a str, table: &'a DeTable<'a>) -> Self {
        Self { text, prefix: String::new(), table, span: 0..text.len() }
    }

    /// Refuses the first key that is none of `known`.
    pub(super) fn knows(&self, known: &[impl AsRef<str>]) -> Result<()> {
        let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        let unknown = self
            .table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        let Some(key) = unknown else { return Ok(()) };
        let prefix = &self.prefix;
        let error =
            self.refused(&key.span(), format!("there is no key `{}`", self.named(key.get_ref())));
        // The dot makes words of five letters long enough to have two of them swapped.
        let dotted: Vec<String> = known.iter().map(|known| format!(".{known}")).collect();
        let typed = format!(".{}", key.get_ref());
        Err(match nearest(&typed, dotted.iter().map(String::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{prefix}{}`?", &meant[1..])),
            None => error.hint(match prefix.strip_suffix('.') {
                Some(table) => format!("`[{table}]` knows {}", known.join(", ")),
                None => format!("there are {}", known.join(", ")),
            }),
        })
    }

    /// Every key in the file's order.
    pub(super) fn keys(&self) -> Vec<At<&'a str>> {
        let mut keys: Vec<At<&str>> = self
            .table
            .keys()
            .map(|key| At { value: key.get_ref().as_ref(), span: key.span() })
            .collect();
        keys.sort_by_key(|key| key.span.start);
        keys
    }

    fn get(&self, key: &str) -> Option<At<&'a DeValue<'a>>> {
        let value = self.table.get(key)?;
        Some(At { value: value.get_ref(), span: value.span() })
    }

    pub(super) fn is_table(&self, key: &str) -> bool {
        self.get(key).is_some_and(|at| at.value.is_table())
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Self>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        let table = value.as_table().ok_or_else(|| self.is_no(key, &span, value, "a table"))?;
        let prefix = format!("{}.", self.named(key));
        Ok(Some(Self { text: self.text, prefix, table, span }))
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<At<&'a str>>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.is_no(key, &span, value, "a text"))?;
        if text.contains(is_odd) {
            let why = format!("`{}` holds a control character", self.named(key));
            return Err(self.refused(&span, why));
        }
        Ok(Some(At { value: text, span }))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        match value.as_bool() {
            Some(is) => Ok(Some(is)),
            None => Err(self.is_no(key, &span, value, "true or false")),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<At<i64>>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        match integer(value) {
            Some(value) => Ok(Some(At { value, span })),
            None => Err(self.is_no(key, &span, value, "a number")),
        }
    }

    pub(super) fn strings(&self, key: &str, most: usize) -> Result<Option<Vec<At<&'a str>>>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        let array = value.as_array().ok_or_else(|| self.is_no(key, &span, value, "a list"))?;
        if array.len() > most {
            let why = format!("`{}` has {} entries, {most} at most", self.named(key), array.len());
            return Err(self.refused(&span, why));
        }
        let entries = array.iter().map(|entry| {
            let span = entry.span();
            match entry.get_ref().as_str() {
                Some(text) if text.contains(is_odd) => {
                    let why = format!("`{}` holds a control character", self.named(key));
                    Err(self.refused(&span, why))
                }
                Some(value) => Ok(At { value, span }),
                None => Err(self.is_no(key, &span, entry.get_ref(), "a list of texts")),
            }
        });
        entries.collect::<Result<_>>().map(Some)
    }

    /// A length of time in whole seconds: `"90s"`, `"15m"`, `90`.
    pub(super) fn seconds(&self, key: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(At { value, span }) = self.get(key) else { return Ok(None) };
        let name = self.named(key);
        let length = match (value.as_str(), integer(value)) {
            (Some(text), _) => {
                text.parse::<Wait>().map_err(|why| self.refused(&span, printable(&why)))?.0
            }
            (None, Some(seconds)) => u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| self.refused(&span, format!("`{name}` is less than nothing")))?,
            (None, None) => return Err(self.is_no(key, &span, value, "a time like \"60s\"")),
        };
        if length.subsec_nanos() != 0 || !(least..=most).contains(&length.as_secs()) {
            let why = format!("`{name}` wants whole seconds from {least} to {most}");
            return Err(self.refused(&span, why));
        }
        Ok(Some(length.as_secs()))
    }

    /// The key with the tables that it lies in, safe to print.
    pub(super) fn named(&self, key: &str) -> String {
        format!("{}{}", self.prefix, printable(key))
    }

    /// Names the place, and why it can't be so.
    pub(super) fn refused(&self, span: &Span, why: impl fmt::Display) -> Error {
        refused(self.text, Some(span), why)
    }

    fn is_no(&self, key: &str, span: &Span, is: &DeValue<'_>, wanted: &str) -> Error {
        let kind = match is {
            DeValue::Array(_) => "a list",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Float(_) | DeValue::Integer(_) => "a number",
            DeValue::String(_) => "a text",
            DeValue::Table(_) => "a table",
        };
        let error = self.refused(span, format!("`{}` wants {wanted}, not {kind}", self.named(key)));
        match is {
            DeValue::Integer(number) if wanted == "a text" => {
                error.hint(format!("put it in quotes: \"{}\"", number.as_str()))
            }
            DeValue::Boolean(is) if wanted == "a text" => {
                error.hint(format!("put it in quotes: \"{is}\""))
            }
            _ => error,
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn refused(text: &str, span: Option<&Span>, why: impl fmt::Display) -> Error {
    let place = span.and_then(|span| text.get(..span.start)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    });
    let message = match place {
        Some((line, column)) => {
            format!("`hostkit.toml` can't be used: line {line}, column {column}")
        }
        None => "`hostkit.toml` can't be used".into(),
    };
    Error { place, ..Error::usage("bad_manifest", message).caused_by(why) }
}

pub(super) fn no_toml(text: &str, error: &toml::de::Error) -> Error {
    let why = error.message().lines().next().unwrap_or("it is no TOML");
    refused(text, error.span().as_ref(), printable(why))
        .hint("it is TOML: `key = \"value\"` lines below `[table]` lines")
}

/// Text of a stranger's: without control characters, and not without end.
pub(in crate::projects) fn printable(text: &str) -> String {
    const LONGEST: usize = 80;
    let clean = |c: char| if c.is_control() { c.escape_debug().collect() } else { String::from(c) };
    let short: String = text.chars().take(LONGEST).map(clean).collect();
    if text.chars().nth(LONGEST).is_some() { format!("{short}…") } else { short }
}

/// What no text needs, and some of the files that are made of it take for the end of a line.
fn is_odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

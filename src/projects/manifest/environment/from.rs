//! `[env.from]`: variables that are others by another name, and parts of addresses.

use std::collections::BTreeMap;

use super::{
    super::reader::{At, Table, printable},
    check_name,
};
use crate::{
    error::Result,
    names::nearest,
    projects::ManagedEnv,
    release::{Part, Source},
    secret::Generated,
};

const MOST: usize = 50;

/// What a pattern of texts takes, for a schema.
pub(in crate::projects::manifest) const SOURCE: &str =
    "^([A-Za-z_][A-Za-z0-9_]{0,127}|(DATABASE|REDIS)_URL\\.(database|host|password|port|user))$";

/// Variables that hold an address.
const ADDRESSES: &[&str] = &["DATABASE_URL", "REDIS_URL"];

pub(super) fn read(
    table: &Table<'_>,
    required: &BTreeMap<String, String>,
    generated: &BTreeMap<String, Generated>,
) -> Result<BTreeMap<String, Source>> {
    let mut all = BTreeMap::new();
    let names = table.keys();
    if let Some(name) = names.get(MOST) {
        return Err(table.refused(&name.span, format!("{MOST} other names are the most")));
    }
    let known: Vec<&str> = ManagedEnv::KEYS
        .iter()
        .copied()
        .chain(required.keys().chain(generated.keys()).map(String::as_str))
        .collect();
    for name in names {
        check_name(table, &name)?;
        if known.contains(&name.value) {
            let why = format!("`{}` is set already, and can't be another's name", name.value);
            return Err(table.refused(&name.span, why));
        }
        let Some(at) = table.string(name.value)? else { continue };
        all.insert(name.value.to_owned(), source(table, &at, &known)?);
    }
    Ok(all)
}

fn source(table: &Table<'_>, at: &At<&str>, known: &[&str]) -> Result<Source> {
    let (variable, part) = match at.value.split_once('.') {
        Some((variable, part)) => (variable, Some(part)),
        None => (at.value, None),
    };
    if !known.contains(&variable) {
        let why = format!("nothing sets `{}`", printable(variable));
        let error = table.refused(&at.span, why);
        return Err(match nearest(variable, known.iter().copied()) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(
                "there are DATABASE_URL, REDIS_URL, HOST, PORT, and what [env.generate] and \
                 [env.required] name",
            ),
        });
    }
    let Some(part) = part else { return Ok(Source { variable: variable.to_owned(), part: None }) };
    if !ADDRESSES.contains(&variable) {
        let why = format!("`{variable}` is no address, and has no parts");
        return Err(table.refused(&at.span, why));
    }
    let words = Part::ALL.map(Part::as_str);
    let found = Part::ALL.into_iter().find(|one| one.as_str() == part).ok_or_else(|| {
        let why = format!("an address has no part `{}`", printable(part));
        table.refused(&at.span, why).hint(format!("there are {}", words.join(", ")))
    })?;
    Ok(Source { variable: variable.to_owned(), part: Some(found) })
}

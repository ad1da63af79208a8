//! `[env]`: defaults of variables, also of one environment alone, those that have to be set, and
//! those that hostkit makes.

mod from;

use std::collections::BTreeMap;

pub(super) use from::SOURCE;

use super::{
    Manifest, keys,
    reader::{At, Span, Table, printable},
};
use crate::{
    envfile,
    error::{Error, Result},
    names::{Environment, nearest},
    projects::ManagedEnv,
    secret::{Generated, Kind},
};

/// `.env` has an end.
const MOST_GENERATED: usize = 50;

/// Variables that hostkit sets in each `.env`, which wins over a default.
const OWN_VARIABLES: &[&str] = &["HOST", "PORT", "PROJECT_NAME"];

pub(super) fn read(manifest: &mut Manifest, table: &Table<'_>) -> Result<()> {
    let required = match table.table("required")? {
        Some(required) => texts(&required, &[])?,
        None => BTreeMap::new(),
    };
    let generated = match table.table("generate")? {
        Some(generate) => generated(&generate, &required)?,
        None => BTreeMap::new(),
    };
    let overlays = overlays(table)?;
    let tables = ["from", "generate", "required"].into_iter();
    let tables: Vec<&str> = tables.chain(overlays.iter().map(|(of, _)| of.as_str())).collect();
    refuse_unknown(table, &tables)?;
    let defaults = texts(table, &tables)?;
    if let Some(from) = table.table("from")? {
        manifest.variables = from::read(&from, &required, &generated)?;
    }
    let all = std::iter::once(table).chain(overlays.iter().map(|(_, overlay)| overlay));
    for At { value, span } in all.clone().flat_map(Table::keys) {
        if OWN_VARIABLES.contains(&value) {
            let why = format!("hostkit sets `{value}` in each `.env`, and that wins");
            return Err(table.refused(&span, why));
        }
        if required.contains_key(value) {
            let why = format!("`{value}` is required, so it can't have a default");
            return Err(table.refused(&span, why));
        }
        if manifest.variables.contains_key(value) {
            let why = format!("`{value}` is another variable's, so it can't have a default");
            return Err(table.refused(&span, why));
        }
        if generated.contains_key(value) {
            let why = format!("`{value}` is generated, so it can't have a default");
            return Err(table.refused(&span, why));
        }
    }
    if let Some((key, _)) = required.iter().find(|(_, what)| is_long(what)) {
        return Err(long(table, &table.span, &format!("required.{key}")));
    }
    manifest.environment = defaults;
    let read = |(of, overlay): &(Environment, Table<'_>)| Ok((*of, texts(overlay, &[])?));
    manifest.overlays = overlays.iter().map(read).collect::<Result<_>>()?;
    manifest.required = required;
    manifest.generated = generated;
    Ok(())
}

/// The tables of environments. A text by such a name is a variable like any other.
fn overlays<'a>(table: &Table<'a>) -> Result<Vec<(Environment, Table<'a>)>> {
    let is_there = |of: &Environment| table.is_table(of.as_str());
    let named = Environment::ALL.into_iter().filter(is_there);
    let read = |of: Environment| Ok(table.table(of.as_str())?.map(|overlay| (of, overlay)));
    named.filter_map(|of| read(of).transpose()).collect()
}

fn refuse_unknown(table: &Table<'_>, known: &[&str]) -> Result<()> {
    let odd = |key: &At<&str>| table.is_table(key.value) && !known.contains(&key.value);
    let Some(key) = table.keys().into_iter().find(odd) else { return Ok(()) };
    let why = format!("there is no environment `{}`", printable(key.value));
    let error = table.refused(&key.span, why);
    let meant = keys::ENV.iter().map(AsRef::as_ref);
    Err(match nearest(key.value, meant) {
        Some(meant) => error.hint(format!("did you mean `[env.{meant}]`?")),
        None => error.hint("there are `[env.dev]`, `[env.prod]` and `[env.staging]`"),
    })
}

/// Variables with their texts, but for the tables among them that are `none`.
pub(super) fn texts(table: &Table<'_>, none: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for key in table.keys() {
        if none.contains(&key.value) {
            continue;
        }
        check_name(table, &key)?;
        if let Some(at) = table.string(key.value)? {
            variables.insert(key.value.to_owned(), at.value.to_owned());
        }
    }
    Ok(variables)
}

fn check_name(table: &Table<'_>, key: &At<&str>) -> Result<()> {
    envfile::check_key(key.value).map_err(|Error { message, cause, hint, .. }| {
        let error = table.refused(&key.span, cause.unwrap_or(message));
        hint.into_iter().fold(error, Error::hint)
    })
}

fn generated(
    table: &Table<'_>,
    required: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Generated>> {
    let mut all = BTreeMap::new();
    let keys = table.keys();
    if let Some(key) = keys.get(MOST_GENERATED) {
        let why = format!("{MOST_GENERATED} secrets are the most");
        return Err(table.refused(&key.span, why));
    }
    for key in keys {
        check_name(table, &key)?;
        let name = key.value;
        if ManagedEnv::KEYS.contains(&name) {
            let why = format!("hostkit sets `{name}` in each `.env` already");
            return Err(table.refused(&key.span, why));
        }
        if required.contains_key(name) {
            let why = format!("`{name}` is generated, so nobody is required to set it");
            return Err(table.refused(&key.span, why));
        }
        let one = if table.is_table(name) {
            let Some(one) = table.table(name)? else { continue };
            one.knows(keys::GENERATED)?;
            let Some(kind) = kind(&one, "kind")? else {
                return Err(table
                    .refused(&key.span, format!("`{name}` has no kind"))
                    .hint(format!("{name} = {{ kind = \"hex:32\", show = true }}")));
            };
            let about = one.string("about")?;
            if let Some(at) = about.as_ref().filter(|at| is_long(at.value)) {
                return Err(long(&one, &at.span, "about"));
            }
            let about = about.map(|at| at.value.to_owned()).unwrap_or_default();
            Generated { kind, show: one.boolean("show")?.unwrap_or(false), about }
        } else {
            let Some(kind) = kind(table, name)? else { continue };
            Generated { kind, show: false, about: String::new() }
        };
        all.insert(name.to_owned(), one);
    }
    Ok(all)
}

fn kind(table: &Table<'_>, key: &str) -> Result<Option<Kind>> {
    let Some(at) = table.string(key)? else { return Ok(None) };
    at.value.parse().map(Some).map_err(|why: String| {
        table.refused(&at.span, why).hint(format!("{} = \"hex:32\"", printable(key)))
    })
}

fn is_long(text: &str) -> bool {
    text.chars().count() > 200 || text.contains(char::is_control)
}

fn long(table: &Table<'_>, span: &Span, key: &str) -> Error {
    table.refused(span, format!("`{}` wants one line of up to 200 characters", table.named(key)))
}

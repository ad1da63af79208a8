//! `hostkit secrets`: values that lie sealed, and that processes get with a deploy.

mod audit;
mod change;
mod define;
pub mod deliver;
pub mod keys;
mod list;
mod store;
pub mod transfer;
pub mod values;

use std::collections::BTreeSet;

pub(super) use change::asked_for;

use super::Context;
use crate::{
    envfile::check_key,
    error::{Error, Result},
    names::ProjectName,
    projects::ManagedEnv,
    registry::SecretRow,
    ui::count,
};

/// Keep a project's secrets, sealed, and hand them to its processes
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Audit(audit::Args),
    Clear(change::ClearArgs),
    Define(define::DefineArgs),
    Delete(change::DeleteArgs),
    Import(change::ImportArgs),
    Init(store::InitArgs),
    List(list::ListArgs),
    RotateKey(store::RotateArgs),
    Set(change::SetArgs),
    Show(list::ShowArgs),
    Undefine(define::UndefineArgs),
    Verify(list::VerifyArgs),
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Audit(args) => ("secrets audit", args.name.as_deref()),
            Self::Clear(args) => ("secrets clear", Some(&args.name)),
            Self::Define(args) => ("secrets define", Some(&args.name)),
            Self::Delete(args) => ("secrets delete", Some(&args.name)),
            Self::Import(args) => ("secrets import", Some(&args.name)),
            Self::Init(_) => ("secrets init", None),
            Self::List(args) => ("secrets list", Some(&args.name)),
            Self::RotateKey(_) => ("secrets rotate-key", None),
            Self::Set(args) => ("secrets set", Some(&args.name)),
            Self::Show(args) => ("secrets show", Some(&args.name)),
            Self::Undefine(args) => ("secrets undefine", Some(&args.name)),
            Self::Verify(args) => ("secrets verify", Some(&args.name)),
        }
    }

    /// Says whether all is as it has to be.
    pub fn run(&self, cx: &mut Context) -> Result<bool> {
        match self {
            Self::Audit(args) => audit::run(args, cx)?,
            Self::Clear(args) => change::clear(args, cx)?,
            Self::Define(args) => define::define(args, cx)?,
            Self::Delete(args) => change::delete(args, cx)?,
            Self::Import(args) => change::import(args, cx)?,
            Self::Init(args) => store::init(args, cx)?,
            Self::List(args) => list::list(args, cx)?,
            Self::RotateKey(args) => store::rotate(args, cx)?,
            Self::Set(args) => change::set(args, cx)?,
            Self::Show(args) => list::show(args, cx)?,
            Self::Undefine(args) => define::undefine(args, cx)?,
            Self::Verify(args) => return list::verify(args, cx),
        }
        Ok(true)
    }
}

/// A name that a secret may have. What may be a value with it is not repeated.
fn check_name(name: &str) -> Result<()> {
    if name.contains('=') {
        let key = name.split('=').next().unwrap_or_default();
        let key: String = key.escape_debug().take(100).collect();
        return Err(Error::usage("bad_value", format!("the value of `{key}` was not taken"))
            .caused_by("a command line is read by every user of the server, and kept by shells")
            .hint("name the secret alone, and send the value by standard input; if it was a real one, get another"));
    }
    check_key(name)?;
    if ManagedEnv::KEYS.contains(&name) {
        return Err(Error::usage("managed", format!("`{name}` is hostkit's own to set"))
            .caused_by("it names what hostkit made: a port, a database, a password"));
    }
    Ok(())
}

/// A project's own user may set some, and is not to fill the registry with them.
const MOST: usize = 250;

/// Fails where a project would have too many.
fn check_number<'a>(rows: &'a [SecretRow], new: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.extend(new);
    if names.len() <= MOST {
        return Ok(());
    }
    Err(Error::conflict("too_many", "the project would have too many secrets")
        .caused_by(format!("{MOST} are the most")))
}

/// Fails where a secret that somebody has to set is not set.
pub fn check_required(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let rows = cx.registry()?.secrets(name)?;
    let missing: Vec<_> = rows.iter().filter(|row| row.required && row.version.is_none()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let message = match missing.len() {
        1 => format!("the secret {} is not set", first.name),
        n => format!("the secret {} and {} are not set", first.name, count(n - 1, "other")),
    };
    let all: Vec<String> = missing
        .iter()
        .map(|row| match row.about.as_str() {
            "" => format!("{} ({})", row.name, row.kind),
            about => format!("{} ({}): {about}", row.name, row.kind),
        })
        .collect();
    let commands: Vec<String> =
        missing.iter().map(|row| format!("hostkit secrets set {name} {}", row.name)).collect();
    Err(Error::usage("secret_missing", message)
        .caused_by(format!("`hostkit secrets define` requires\n{}", all.join("\n")))
        .hint(format!(
            "set it, the value by standard input, and deploy again; nothing was built:\n{}",
            commands.join("\n")
        )))
}

/// All that can be refused of a deploy's secrets before anything is fetched.
pub fn check_deploy(cx: &mut Context, name: &ProjectName, asked: bool) -> Result<()> {
    check_required(cx, name)?;
    if !asked {
        return Ok(());
    }
    keys::ring(cx)?;
    let (findings, _) = list::findings(cx, name)?;
    let bad: Vec<String> = findings
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.name, one.why.as_deref()?)))
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::usage("secret_bad", "the secrets are not as they have to be")
        .caused_by(bad.join("\n"))
        .hint(format!("see `hostkit secrets verify {name}`; nothing was built")))
}

/// Fails for a name whose value lies sealed: another one in `.env` would not last.
pub fn refuse_sealed(cx: &mut Context, name: &ProjectName, key: &str) -> Result<()> {
    if !is_sealed(cx, name)?.iter().any(|sealed| sealed == key) {
        return Ok(());
    }
    Err(Error::conflict("is_secret", format!("`{key}` is a secret of {name}"))
        .caused_by("its value lies sealed, and each deploy writes that one")
        .hint(format!("`hostkit secrets set {name} {key}`, `hostkit secrets delete {name} {key}`")))
}

/// Names whose values lie sealed, or lie in `.env` because they did.
pub fn is_sealed(cx: &mut Context, name: &ProjectName) -> Result<Vec<String>> {
    let rows = cx.registry()?.secrets(name)?;
    let has = rows.into_iter().filter(|row| row.version.is_some() || row.live_version.is_some());
    Ok(has.map(|row| row.name).collect())
}

/// A former `.env` with the secrets that are in today's: those go back with a release alone.
pub fn as_today(cx: &mut Context, name: &ProjectName, then: &str) -> Result<String> {
    let rows = cx.registry()?.secrets(name)?;
    let now = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let now = crate::envfile::EnvFile::parse(&now)?;
    let mut file = crate::envfile::EnvFile::parse(then)?;
    for row in rows.iter().filter(|row| row.live_version.is_some()) {
        match now.get(&row.name) {
            Some(value) => file.set(&row.name, value)?,
            None => drop(file.unset(&row.name)),
        }
    }
    Ok(file.to_string())
}

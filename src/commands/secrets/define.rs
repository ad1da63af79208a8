//! What secrets a project has, before anybody sets them.

use serde::Serialize;

use super::{check_name, check_number, values};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::ProjectName,
    registry::Definition,
    secret::Format,
};

/// Say what a secret is, and whether a deploy needs it
///
/// A value that is set has to be of its kind. What is required and not set stops a deploy before
/// anything is built.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets define my-shop STRIPE_KEY --kind stripe --required --about 'live key, from the dashboard'
  hostkit secrets define my-shop SENTRY_DSN --kind url")]
pub struct DefineArgs {
    /// Project that it is of
    pub name: String,
    /// The secret, as the variable or the file that processes see
    secret: String,
    /// What its value looks like: text, url, email, integer, hex, json, pem, uuid, or whose key it is
    #[arg(long, value_name = "KIND", default_value = "text")]
    kind: Format,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    about: String,
    /// No deploy without it
    #[arg(long)]
    required: bool,
}

/// Take back what was said of a secret
///
/// A value that is set stays, and is of any kind then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets undefine my-shop SENTRY_DSN")]
pub struct UndefineArgs {
    /// Project that it is of
    pub name: String,
    /// The secret
    secret: String,
}

#[derive(Serialize)]
struct Defined<'a> {
    name: &'a str,
    kind: &'static str,
    required: bool,
    is_set: bool,
    /// Why the value that is set is none of that kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) fn define(args: &DefineArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    check_name(&args.secret)?;
    if args.about.chars().count() > 200 || args.about.contains(char::is_control) {
        return Err(Error::usage("bad_about", "`--about` wants one line of up to 200 characters"));
    }
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "secrets define")?;
    cx.registry()?.living_project(&name)?;
    check_number(&cx.registry()?.secrets(&name)?, [args.secret.as_str()])?;
    let new = Definition {
        name: args.secret.clone(),
        kind: args.kind,
        about: args.about.clone(),
        required: args.required,
    };
    let actor = cx.caller.actor();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    cx.host.journaling("define a secret", || registry.define_secret(&name, &new, &actor))?;
    cx.record(Some(&name), "secrets define", Ok(()))?;
    let row = cx.registry()?.secret(&name, &args.secret)?;
    let why = match row.version {
        Some(version) => {
            let versions = [(row.name.clone(), version)].into();
            let opened = values::open(cx, &name, &versions)?;
            let value = opened.get(&row.name).map(|(_, value)| args.kind.check(value.expose()));
            value.and_then(Result::err).map(str::to_owned)
        }
        None => None,
    };
    let key = &args.secret;
    let mut text = format!("{key} is defined ({})\n", args.kind);
    match (&why, row.version) {
        (Some(why), _) => text.push_str(&format!(
            "the value that is set is not of that kind: {why}\nNext:  hostkit secrets set {name} {key}\n"
        )),
        (None, None) => text.push_str(&format!("Next:  hostkit secrets set {name} {key}\n")),
        (None, Some(_)) => {}
    }
    let data = Defined {
        name: key,
        kind: args.kind.as_str(),
        required: args.required,
        is_set: row.version.is_some(),
        why,
    };
    cx.ui.result("secrets define", Some(name.as_str()), &data, &text);
    Ok(())
}

pub(super) fn undefine(args: &UndefineArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "secrets undefine")?;
    let row = cx.registry()?.secret(&name, &args.secret)?;
    if !row.defined {
        let key = &row.name;
        return Err(Error::missing("not_defined", format!("nobody has defined `{key}` of {name}"))
            .hint(format!("to take its value away: `hostkit secrets delete {name} {key}`")));
    }
    let actor = cx.caller.actor();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    cx.host
        .journaling("undefine a secret", || registry.undefine_secret(&name, &row.name, &actor))?;
    cx.record(Some(&name), "secrets undefine", Ok(()))?;
    let data = Defined {
        name: &row.name,
        kind: Format::Text.as_str(),
        required: false,
        is_set: row.version.is_some(),
        why: None,
    };
    let text = format!("{} is not defined any more\n", row.name);
    cx.ui.result("secrets undefine", Some(name.as_str()), &data, &text);
    Ok(())
}

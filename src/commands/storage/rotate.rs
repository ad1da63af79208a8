//! `hostkit storage credentials`: how a project finds its bucket, and a new key for it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{no_key, open, without};
use crate::{
    commands::{Context, deploy::switch},
    envfile::EnvFile,
    error::{Error, Kind, Result},
    names::ProjectName,
    plan::{Ground, Lane, Plan},
    projects::{self, key_name},
    registry::{NewOperation, Project, Way},
    secret::Keys,
    steps::{AccessKey, AnyStep, NoKey},
    sys::storage::Place,
};

/// Show how a project finds its bucket, or give it a new key
///
/// The secret is hidden unless it is asked for. With --rotate a new key is made, the project
/// restarts with it through the gate, and only then the old one ends: no request fails in between.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage credentials my-shop
  hostkit storage credentials my-shop --show-secrets
  hostkit storage credentials my-shop --rotate")]
pub struct Args {
    /// Project whose bucket it is
    pub name: String,

    /// Show the secret too
    #[arg(long)]
    show_secrets: bool,

    /// Make a new key, and end the old one when the project runs with the new
    #[arg(long)]
    rotate: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    variables: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated: Option<Rotated>,
}

#[derive(Serialize)]
struct Rotated {
    ended: String,
    restarted: bool,
}

const VERB: &str = "storage credentials";

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    if project.storage.is_none() {
        return Err(without(&name));
    }
    let rotated = if args.rotate { Some(rotate(cx, &name)?) } else { None };
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let file = EnvFile::parse(&env)?;
    let variables: BTreeMap<String, String> = file
        .variables()
        .filter(|(key, _)| key.starts_with("S3_"))
        .map(|(key, value)| {
            let hidden = key == "S3_SECRET_KEY" && !args.show_secrets;
            (key.to_owned(), if hidden { "***".to_owned() } else { value.to_owned() })
        })
        .collect();
    let mut text: String =
        variables.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    if let Some(Rotated { ended, restarted }) = &rotated {
        let how = if *restarted { ", and the project runs with the new one" } else { "" };
        text.push_str(&format!("the key {ended} has ended{how}\n"));
    }
    cx.ui.result(VERB, Some(name.as_str()), &Shown { variables, rotated }, &text);
    Ok(())
}

fn rotate(cx: &mut Context, name: &ProjectName) -> Result<Rotated> {
    let (place, storage) = open(cx)?;
    if !storage.makes_keys() {
        let error = Error::new(Kind::Usage, "key_needed", "this storage makes no keys");
        return Err(error
            .caused_by(format!("`{}` gives them out itself", place.endpoint))
            .hint(format!("give the new one: `hostkit storage enable {name} --access-key ID`")));
    }
    storage.answers()?;
    let _held = cx.take_project(name, VERB)?;
    let project = cx.registry()?.living_project(name)?;
    let env = cx.host.read_text(&name.env_file())?.unwrap_or_default();
    let old = projects::storage_keys(&env).ok_or_else(|| no_key(name))?;
    let new = Keys::generate()?;
    let (id, bucket, whose) = (new.id.clone(), name.bucket(), key_name(name));
    let secret = Some(new.secret.clone());
    step(cx, name, AccessKey { place: place.clone(), id, bucket, whose, secret })?;
    let taken_up = take_up(cx, &project, &env, &new);
    if taken_up.is_err() {
        // What came of that counts; a key that nobody knows opens nothing for anybody.
        let _ = end(cx, name, &place, new.id);
    }
    let restarted = taken_up?;
    let ended = old.id.clone();
    end(cx, name, &place, old.id)?;
    Ok(Rotated { ended, restarted })
}

/// The project with the new key: through the gate where it runs, else at its next start.
fn take_up(cx: &mut Context, project: &Project, env: &str, new: &Keys) -> Result<bool> {
    let name = &project.name;
    let mut file = EnvFile::parse(env)?;
    file.set("S3_ACCESS_KEY", &new.id)?;
    file.set("S3_SECRET_KEY", new.secret.expose())?;
    let text = file.to_string();
    let is_up = cx.host.unit(&name.unit())?.is_active();
    if let Some(live) = project.live.as_ref().filter(|_| is_up) {
        switch::again(cx, project, live, VERB, Some(&text), None)
            .map_err(|error| error.hint(format!("{name} still runs with the key that it had")))?;
        return Ok(true);
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(name), verb: VERB, actor: &actor, way: Way::Undo };
    cx.carry_out(&new, None, |_, _| Ok((projects::env_plan(project, &text), Vec::new())))?;
    Ok(false)
}

fn end(cx: &mut Context, name: &ProjectName, place: &Place, id: String) -> Result<()> {
    step(cx, name, NoKey { place: place.clone(), id })
}

fn step(cx: &mut Context, name: &ProjectName, step: impl Into<AnyStep>) -> Result<()> {
    let mut plan = Plan::new(Ground::Known);
    plan.part("key", name.bucket());
    plan.step(Lane::Storage, step);
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(name), verb: VERB, actor: &actor, way: Way::Undo };
    cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new()))).map(|_| ())
}

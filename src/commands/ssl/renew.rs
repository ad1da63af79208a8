//! `hostkit ssl renew`: what a timer runs, and what a person runs who does not want to wait for it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    files,
    obtain::{Obtained, install_again, obtain, wish, without},
    told,
};
use crate::{
    commands::{Context, facts},
    error::{Error, Kind, Result},
    names::{Domain, ProjectName},
    plan::differences,
    projects,
    registry::{Project, Tls, TlsSource, TlsState, TlsTrouble},
};

/// Renew certificates that are due, and ask for those that are missing
///
/// A certificate is due when a third of its life is left, and when it does not hold for all of the
/// project's domains that lead here. Until there is a new one the old one stays. After a failure
/// the authority is left alone for an hour, then longer, and as long as it says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl renew my-shop
  hostkit ssl renew my-shop --force
  hostkit ssl renew --all")]
pub struct Args {
    /// Project whose certificate is meant
    #[arg(required_unless_present = "all")]
    pub name: Option<String>,

    /// Those of all projects
    #[arg(long, conflicts_with = "name")]
    all: bool,

    /// Also where it is not due, and where the authority is to be left alone
    #[arg(long, conflicts_with = "all")]
    force: bool,
}

#[derive(Default, Serialize)]
struct All {
    renewed: Vec<String>,
    waiting: Vec<String>,
    failed: Vec<String>,
}

/// No pause is longer, unless the clock was wrong when it was written down.
const LONGEST: SignedDuration = SignedDuration::from_hours(8 * 24);

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let Some(name) = &args.name else { return all(cx) };
    let name: ProjectName = name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    let tls = project.tls.as_ref().ok_or_else(|| without(&name))?;
    if let (false, Some(trouble)) = (args.force, &tls.trouble)
        && trouble.kind == TlsState::Failed
        && is_paused(trouble)
    {
        return Err(Error::conflict("paused", format!("{name} gets no certificate for now"))
            .caused_by(&trouble.why)
            .hint(format!(
                "the next try is at {}; at once, if that is mended: `hostkit ssl renew {name} --force`",
                trouble.next.strftime("%-d %b, %H:%M UTC")
            )));
    }
    let done = one(cx, &name, args.force)?;
    told::result(cx, &name, "ssl renew", done.waiting)
}

fn is_paused(trouble: &TlsTrouble) -> bool {
    let left = trouble.next.duration_since(Timestamp::now());
    left > SignedDuration::ZERO && left < LONGEST
}

/// Each by itself: one that fails is told, and is in nobody's way.
fn all(cx: &mut Context) -> Result<()> {
    let wishes: Vec<Project> = cx
        .registry()?
        .projects()?
        .into_iter()
        .filter(|project| !project.deleting && project.tls.is_some())
        .collect();
    let mut all = All::default();
    for project in &wishes {
        let trouble = project.tls.as_ref().and_then(|tls| tls.trouble.as_ref());
        if trouble.is_some_and(is_paused) {
            all.waiting.push(project.name.to_string());
            continue;
        }
        match one(cx, &project.name, false) {
            Ok(done) => sort(cx, &project.name, &done, &mut all)?,
            Err(error) if matches!(error.kind, Kind::Interrupted(_)) => return Err(error),
            Err(error) => all.failed.push(format!("{}: {error}", project.name)),
        }
    }
    if !all.failed.is_empty() {
        return Err(Error::failed(format!(
            "{} of the certificates could not be renewed",
            all.failed.len()
        ))
        .coded("not_renewed")
        .caused_by(all.failed.join("\n"))
        .hint("those that there are stay in use: `hostkit ssl list`"));
    }
    let mut text = String::new();
    for (what, names) in [("renewed", &all.renewed), ("waiting", &all.waiting)] {
        if !names.is_empty() {
            text.push_str(&format!("{what}: {}\n", names.join(", ")));
        }
    }
    if text.is_empty() {
        text.push_str("no certificate is due\n");
    }
    if cx.ui.voice.quiet {
        text.clear();
    }
    cx.ui.result("ssl renew", None, &all, &text);
    Ok(())
}

fn sort(cx: &mut Context, name: &ProjectName, done: &Obtained, all: &mut All) -> Result<()> {
    let project = cx.registry()?.find_project(name)?;
    let trouble = project.and_then(|project| project.tls).and_then(|tls| tls.trouble);
    match trouble {
        Some(trouble) if trouble.kind == TlsState::Failed => {
            all.failed.push(format!("{name}: {}", trouble.why));
        }
        Some(_) => all.waiting.push(name.to_string()),
        None if done.is_new => all.renewed.push(name.to_string()),
        None => {}
    }
    Ok(())
}

/// One project's certificate, wherever it is from.
fn one(cx: &mut Context, name: &ProjectName, force: bool) -> Result<Obtained> {
    let _account = cx.take_account("ssl renew")?;
    let project = cx.registry()?.living_project(name)?;
    let tls = project.tls.clone().ok_or_else(|| without(name))?;
    if tls.issued.is_some() && files::held(&cx.host, name).is_none() {
        lost(cx, name)?;
    }
    match &tls.source {
        TlsSource::Acme => {
            let key = files::account(cx)?;
            answer_challenges(cx, name)?;
            obtain(cx, name, &key, "ssl renew", force)
        }
        TlsSource::Certbot(lineage) => follow(cx, &project, lineage),
        TlsSource::Own => {
            cx.ui.note(format!(
                "{name}: hostkit does not renew what you brought: `hostkit ssl import {name}`"
            ));
            Ok(Obtained { waiting: Vec::new(), is_new: false })
        }
    }
}

/// The site answers by HTTP from now on, until there is another certificate.
fn lost(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let _held = cx.take_project(name, "ssl renew")?;
    let mut project = cx.registry()?.living_project(name)?;
    let Some(tls) = project.tls.as_mut() else { return Ok(()) };
    tls.issued = None;
    tls.trouble = Some(TlsTrouble {
        kind: TlsState::Pending,
        why: "its certificate was lost".into(),
        failures: 0,
        next: Timestamp::now(),
    });
    wish(cx, &project, "ssl renew")
}

/// For an account that was lost and made anew: the site knows the old one.
fn answer_challenges(cx: &mut Context, name: &ProjectName) -> Result<()> {
    let _held = cx.take_project(name, "ssl renew")?;
    let project = cx.registry()?.living_project(name)?;
    let facts = facts::of_site(&cx.host, &project)?;
    let plan = projects::tls_plan(&project, &facts, &cx.config, &cx.templates()?)?;
    if differences(&plan, &cx.host)?.is_empty() {
        return Ok(());
    }
    wish(cx, &project, "ssl renew")
}

/// What certbot has renewed is taken over.
fn follow(cx: &mut Context, project: &Project, lineage: &Domain) -> Result<Obtained> {
    let bundle = files::certbot(&cx.host, lineage)?;
    let held = files::held(&cx.host, &project.name);
    let same = held.is_some_and(|h| h.certificate.fingerprint == bundle.certificate.fingerprint);
    let mut is_new = false;
    if !same {
        let source = TlsSource::Certbot(lineage.clone());
        let bundle = bundle.marked(&source.to_string());
        is_new = install_again(cx, project, &bundle, source, None, "ssl renew")?;
    }
    Ok(Obtained { waiting: Vec::new(), is_new })
}

/// For a repair that found a certificate gone: asks for another. The project is whole without it.
pub fn mend(cx: &mut Context, name: &ProjectName) {
    let project = cx.registry().and_then(|registry| registry.find_project(name));
    let Ok(Some(Project { tls: Some(Tls { issued: Some(_), .. }), .. })) = project else { return };
    if files::held(&cx.host, name).is_some() {
        return;
    }
    let mended = one(cx, name, false);
    let is_there = files::held(&cx.host, name).is_some();
    match mended {
        Ok(_) if is_there => cx.ui.note(format!("{name} has another certificate")),
        Ok(_) => cx.ui.note(format!("{name} answers by HTTP: its certificate was lost")),
        Err(error) => cx.ui.note(format!("{name} answers by HTTP: {error}")),
    }
}

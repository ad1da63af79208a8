//! `hostkit storage status` and `usage`.

use serde::Serialize;

use super::{open, without};
use crate::{
    commands::Context,
    config::Backend,
    error::Result,
    names::ProjectName,
    registry::{Policy, Project},
    sys::storage::{Storage, Usage},
    ui::{Column, Paint, Table, bytes, count, width},
};

/// Show how object storage is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage status
  hostkit storage status my-shop")]
pub struct StatusArgs {
    /// Project whose bucket to show
    pub name: Option<String>,
}

/// Show how much projects have stored
///
/// A service elsewhere is asked for each object's name, which takes its time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage usage
  hostkit storage usage my-shop")]
pub struct UsageArgs {
    /// Project whose bucket to count
    pub name: Option<String>,
}

#[derive(Serialize)]
struct Status {
    backend: Backend,
    endpoint: String,
    region: String,
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    buckets: Vec<OfProject>,
    /// Buckets that are called like a project's, without one.
    strays: Vec<String>,
}

#[derive(Serialize)]
struct OfProject {
    project: String,
    bucket: String,
    policy: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    state: &'static str,
}

#[derive(Serialize)]
struct Used {
    project: String,
    bucket: String,
    #[serde(flatten)]
    usage: Usage,
}

/// The project of that name, or all that have a bucket.
fn wanted(cx: &mut Context, name: Option<&str>) -> Result<Vec<Project>> {
    let Some(name) = name else {
        let mut all = cx.registry()?.projects()?;
        all.retain(|project| project.storage.is_some());
        return Ok(all);
    };
    let name: ProjectName = name.parse()?;
    let project = cx.registry()?.project(&name)?;
    if project.storage.is_none() {
        return Err(without(&name));
    }
    Ok(vec![project])
}

pub(super) fn status(args: &StatusArgs, cx: &mut Context) -> Result<()> {
    let projects = wanted(cx, args.name.as_deref())?;
    let (place, storage) = open(cx)?;
    let asked = storage.answers();
    let buckets: Vec<OfProject> = projects
        .iter()
        .filter_map(|project| {
            let row = project.storage.as_ref()?;
            Some(OfProject {
                project: project.name.to_string(),
                bucket: project.name.bucket(),
                policy: row.policy,
                path: row.path.clone(),
                state: if asked.is_ok() { state(cx, &*storage, project) } else { "unknown" },
            })
        })
        .collect();
    let strays = if args.name.is_some() { Vec::new() } else { strays(cx, &*storage)? };
    let status = Status {
        backend: place.kind,
        endpoint: place.endpoint,
        region: place.region,
        answers: asked.is_ok(),
        error: asked.err().map(|error| error.to_string()),
        buckets,
        strays,
    };
    let text = told(&status, Paint::of(&std::io::stdout()));
    cx.ui.result("storage status", args.name.as_deref(), &status, &text);
    Ok(())
}

/// Whether the project's own key opens its bucket.
fn state(cx: &Context, storage: &dyn Storage, project: &Project) -> &'static str {
    match storage.bucket(&project.name.bucket()) {
        Err(_) => return "unknown",
        Ok(None) => return "missing",
        Ok(Some(_)) => {}
    }
    match super::store(cx, project).map(|store| store.map(|store| store.opens())) {
        Ok(Some(Ok(Some(true)))) => "fine",
        Ok(Some(Err(_))) => "unknown",
        _ => "its key does not open it",
    }
}

fn strays(cx: &mut Context, storage: &dyn Storage) -> Result<Vec<String>> {
    let known: Vec<String> = wanted(cx, None)?.iter().map(|p| p.name.bucket()).collect();
    let mut all = storage.buckets().unwrap_or_default();
    all.retain(|bucket| bucket.starts_with("hostkit-") && !known.contains(bucket));
    Ok(all)
}

fn told(status: &Status, paint: Paint) -> String {
    let Status { backend, endpoint, answers, error, buckets, strays, .. } = status;
    let what = if *backend == Backend::Garage { "Garage, run by hostkit" } else { "a service" };
    let is = match (answers, error) {
        (true, _) => paint.green(&format!("{} answers", paint.dot())),
        (false, error) => {
            paint.red(&format!("{} {}", paint.dot(), error.as_deref().unwrap_or("down")))
        }
    };
    let mut text = format!("{what} at {endpoint}\n{is}\n");
    if !buckets.is_empty() {
        let mut table = Table::new(vec![
            Column::left("PROJECT"),
            Column::left("BUCKET"),
            Column::left("READ BY"),
            Column::left("SHOWN AT"),
            Column::left("STATE"),
        ]);
        for of in buckets {
            let by = if of.policy == Policy::Private { "its key" } else { "anybody" };
            let is_shown = of.policy == Policy::PublicRead;
            let at = of.path.as_deref().filter(|_| is_shown).unwrap_or("-");
            let cells = [&of.project, &of.bucket, by, at, of.state];
            table.row(cells.map(str::to_owned).to_vec());
        }
        text.push_str(&format!("\n{}", table.render(paint, width())));
    }
    for stray in strays {
        text.push_str(&format!("{stray}: no project has it\n"));
    }
    text
}

pub(super) fn usage(args: &UsageArgs, cx: &mut Context) -> Result<()> {
    let projects = wanted(cx, args.name.as_deref())?;
    let (_, storage) = open(cx)?;
    let mut all = Vec::new();
    for project in &projects {
        let bucket = project.name.bucket();
        let usage = storage.usage(&bucket)?;
        all.push(Used { project: project.name.to_string(), bucket, usage });
    }
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::left("BUCKET"),
        Column::right("OBJECTS"),
        Column::right("SIZE"),
    ]);
    for Used { project, bucket, usage } in &all {
        let cells = [project, bucket, &usage.objects.to_string(), &bytes(usage.bytes)];
        table.row(cells.map(String::clone).to_vec());
    }
    let text = match &all[..] {
        [] => "no project has a bucket\n".to_owned(),
        [Used { usage, .. }] if args.name.is_some() => {
            let objects = usize::try_from(usage.objects).unwrap_or(usize::MAX);
            format!("{}, {}\n", count(objects, "object"), bytes(usage.bytes))
        }
        _ => table.render(Paint::of(&std::io::stdout()), width()),
    };
    cx.ui.result("storage usage", args.name.as_deref(), &all, &text);
    Ok(())
}

//! `hostkit deploy`: a release made from a source, and requests moved to it.

mod build;
pub mod git;
pub mod limits;
pub mod list;
mod modules;
pub mod needs;
mod only;
mod prepare;
pub mod preview;
pub mod rollback;
mod serve;
pub mod source;
pub mod stage;
pub mod switch;
pub mod tools;
pub mod unpack;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use jiff::Timestamp;
use serde::Serialize;

use self::{source::Source, stage::Stage};
use super::{
    Context,
    checkpoint::take,
    env, facts,
    secrets::{self, deliver},
};
use crate::{
    caller::Caller,
    config::Wait,
    error::{Error, Kind, Result},
    names::{ProjectName, ReleaseId},
    projects::{self, Recipe},
    registry::{Live, NewDeploy, Project, Release, ReleaseState},
    release::Strategy,
    sys::signals::{self, Changing},
    ui::elapsed,
};

/// Deploy a release, without a failed request
///
/// Unpacks the source, installs dependencies and builds as the project's own user in a sandbox,
/// starts the new release beside the old one, and moves requests to it when it answers as it
/// should. Whatever fails, the old release goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit deploy my-shop --source .
  hostkit deploy my-shop --archive my-shop.tar.gz
  hostkit deploy my-shop --git https://forge.example/me/shop.git --branch main
  hostkit deploy my-shop
  tar cz . | ssh my-shop@server hostkit deploy --archive -
  hostkit deploy my-shop --only frontend
  hostkit deploy my-shop --source . --no-watch
  hostkit deploy my-shop --source . --dry-run")]
pub struct Args {
    /// Project to deploy to
    pub name: String,

    /// Deploy this directory; what `.hostkitignore` or `.gitignore` leave out stays out
    #[arg(long, value_name = "DIR", conflicts_with = "archive")]
    source: Option<PathBuf>,

    /// Deploy this archive (tar, tar.gz, tar.zst or zip); `-` is standard input
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,

    #[command(flatten)]
    git: git::GitArgs,

    /// Deploy this directory of the source alone; the rest stays as it is live
    #[arg(long, value_name = "PART")]
    only: Option<String>,

    /// Leave out the installation of dependencies
    #[arg(long, overrides_with = "install")]
    no_install: bool,

    /// Install dependencies (as without this option)
    #[arg(long, hide = true)]
    install: bool,

    /// Leave out the build
    #[arg(long, overrides_with = "build")]
    no_build: bool,

    /// Build (as without this option)
    #[arg(long, hide = true)]
    build: bool,

    /// Leave out migrations that were found
    #[arg(long)]
    no_migrate: bool,

    /// Refuse to deploy unless all secrets are set and well-formed
    #[arg(long)]
    with_secrets: bool,

    /// Take no checkpoint of the database first
    #[arg(long)]
    no_checkpoint: bool,

    /// Watch the new release for so long, and roll back if it fails
    #[arg(long, value_name = "TIME", conflicts_with = "no_watch")]
    watch: Option<Wait>,

    /// Do not watch the new release
    #[arg(long)]
    no_watch: bool,

    /// Deploy though the limit of deploys an hour is reached (operators)
    #[arg(long)]
    override_ratelimit: bool,

    /// Show what would be done, and do none of it
    #[arg(long)]
    dry_run: bool,

    /// Words to find this deploy by: a commit, a reason
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,
}

#[derive(Serialize)]
struct Deployed<'a> {
    deploy: i64,
    release: &'a ReleaseId,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<&'a ReleaseId>,
    runtime: &'static str,
    because: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    url: String,
    phases: &'a BTreeMap<String, u64>,
    milliseconds: u128,
    /// Variables that this deploy made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    generated: Vec<&'a str>,
    /// Those of them that an operator is to know, for operators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<BTreeMap<&'a str, &'a str>>,
}

/// What a deploy is about, once it has begun.
struct Begun {
    project: Project,
    id: ReleaseId,
    deploy: i64,
}

/// A release that is complete on the disk.
struct Made {
    recipe: Recipe,
    /// What it is of, as far as anybody said.
    revision: Option<String>,
    came: Option<git::Came>,
}

impl Args {
    fn source(&self, name: &ProjectName, cx: &mut Context) -> Result<Source> {
        let git = |cx: &mut Context| git::Wanted::of(&self.git, name, cx);
        Source::of(self.source.as_deref(), self.archive.as_deref(), git, cx)
    }

    /// What can be refused of the source before there is a project.
    pub fn check_source(&self, cx: &mut Context) -> Result<()> {
        self.source(&self.name.parse()?, cx).map(|_| ())
    }
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = Instant::now();
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let source = args.source(&name, cx)?;
    if args.revision.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(Error::usage("bad_revision", "`--revision` holds a control character"));
    }
    let project = cx.registry()?.living_project(&name)?;
    check(args, cx, &project)?;
    let source = source.received(cx, &name)?;
    let held = cx.take_project(&name, "deploy")?;
    let project = cx.registry()?.living_project(&name)?;
    if args.dry_run {
        return preview::run(args, cx, &project, &source);
    }
    check(args, cx, &project)?;
    let begun = begin(args, cx, project, &source)?;
    let mut stage = Stage::new(&begun.project, begun.id.clone());
    let made = make(args, cx, &begun, &source, &mut stage);
    let phases = stage.phases.clone();
    let made = made.and_then(|made| deliver::sweep(cx, &name).map(|()| made));
    let result = made.and_then(|made| {
        let live = Live { id: begun.id.clone(), spec: made.recipe.spec.clone() };
        let watch = watch_for(args, &made.recipe);
        let secrets = stage.secrets.take().unwrap_or_default();
        let secrets = deliver::arranged(cx, &begun.project, &live, &secrets)?;
        let move_to = switch::Move {
            project: &begun.project,
            live,
            verb: "deploy",
            deploy: begun.deploy,
            phases,
            env: None,
            secrets,
            data: None,
        };
        switch::carry_out(cx, move_to, watch).map(|phases| (made, phases))
    });
    let ended = match result {
        Ok((made, phases)) => {
            switch::prune(cx, &name)?;
            take::prune(cx, &name)?;
            if let (Source::Git(wanted), Some(came)) = (&source, &made.came) {
                wanted.remember(cx, &name, came)?;
            }
            report(cx, &begun, &made, &stage, &phases, start);
            Ok(())
        }
        Err(error) => Err(fail(cx, &begun, &stage, error)),
    };
    drop(held);
    ended
}

/// All that can be refused before anything is made.
fn check(args: &Args, cx: &mut Context, project: &Project) -> Result<()> {
    let name = &project.name;
    args.only.as_deref().map_or(Ok(()), only::check)?;
    stage::check_user(project)?;
    if args.override_ratelimit {
        limits::may_override(cx)?;
    }
    if let Some(reason) = cx.registry()?.paused(name)? {
        return Err(Error::conflict("paused", format!("deploys of {name} are paused"))
            .caused_by(reason)
            .hint(format!("let them go on: `hostkit resume {name}`")));
    }
    let (limit, _) = limits::of(cx, name)?;
    let count = limits::recent(cx, name, limit)?;
    if !args.override_ratelimit && limit > 0 && count >= limit as usize {
        return Err(Error::conflict(
            "rate_limited",
            format!("{name} was deployed {count} times within an hour"),
        )
        .caused_by(format!("{limit} an hour are the most (`hostkit ratelimit {name}`)"))
        .hint("wait, or let an operator insist: `--override-ratelimit`"));
    }
    secrets::check_deploy(cx, name, args.with_secrets)?;
    facts::check_room(cx)?;
    facts::check_nginx(&cx.host)
}

fn begin(args: &Args, cx: &mut Context, project: Project, source: &Source) -> Result<Begun> {
    let name = project.name.clone();
    let releases = name.home().join("releases");
    let taken: Vec<ReleaseId> =
        cx.host.list(&releases)?.iter().filter_map(|id| id.to_str()?.parse().ok()).collect();
    let actor = cx.caller.actor();
    let id = cx.registry()?.next_release(&name, &taken)?;
    let previous = project.live.as_ref().map(|live| live.id.clone());
    let deploy = cx.registry()?.begin_deploy(&NewDeploy {
        project: &name,
        verb: "deploy",
        release: &id,
        previous: previous.as_ref(),
        source: &source.to_string(),
        revision: args.revision.as_deref(),
        actor: &actor,
    })?;
    let running = previous.map_or("nothing runs yet".into(), |id| format!("running: {id}"));
    cx.ui.head(format!("{name}  {source}  ({running})"));
    Ok(Begun { project, id, deploy })
}

/// From the source to a release that is complete on the disk.
fn make(
    args: &Args,
    cx: &mut Context,
    begun: &Begun,
    source: &Source,
    stage: &mut Stage<'_>,
) -> Result<Made> {
    stage.open(cx)?;
    let came = stage.phase(cx, "fetched", |stage| {
        let upload = stage::upload_path(&begun.project.name, &begun.id);
        let (size, came) = source.fetch(cx, stage, &upload)?;
        let changing = Changing::begin();
        stage.unpack(cx)?;
        drop(changing);
        let of = came.as_ref().map(|came| format!("{:.10}, ", came.commit)).unwrap_or_default();
        Ok((came, format!("{of}{}", crate::ui::bytes(size))))
    })?;
    // All of it is here: who is gone from now on finds it deployed when he comes back.
    signals::outlive_the_terminal();
    let commit = came.as_ref().map(|came| came.commit.clone());
    let revision = args.revision.clone().or(commit);
    if let Some(revision) = &revision {
        cx.registry()?.name_deploy(begun.deploy, revision)?;
    }
    let _changing = Changing::begin();
    if let Some(part) = &args.only {
        stage.keep_the_rest(cx, part)?;
    }
    let mut recipe = stage.recipe(cx)?;
    crate::projects::check_own(&begun.project, &recipe.spec)?;
    switch::check_names(cx, &begun.project, &recipe.spec)?;
    tell_recipe(cx, &recipe);
    needs::check(cx, &begun.project, &recipe)?;
    needs::generate(cx, stage, &recipe)?;
    stage.secret_files.clone_from(&recipe.spec.secret_files);
    stage.secrets = deliver::for_build(cx, &begun.project, &recipe.spec.secret_files, &begun.id)?;
    if args.no_build {
        recipe.steps.retain(|step| step.phase == crate::projects::Phase::Install);
    }
    if let Some(part) = &args.only {
        stage.build_only(cx, &mut recipe, part)?;
    }
    stage.build(cx, &mut recipe, !args.no_install)?;
    settle_public(cx, stage, &mut recipe)?;
    stage.settle_routes(cx, &mut recipe)?;
    stage.phase(cx, "release", |stage| {
        let files = stage.finish(cx, &recipe.spec)?;
        Ok(((), format!("{}, {files} files", stage.id)))
    })?;
    let release = Release {
        id: begun.id.clone(),
        state: ReleaseState::Staged,
        source: source.to_string(),
        revision: revision.clone(),
        spec: recipe.spec.clone(),
        made_at: Timestamp::now(),
    };
    cx.registry()?.add_release(&begun.project.name, &release)?;
    stage.publish(cx)?;
    prepare::all(args, cx, begun, stage, &recipe)?;
    Ok(Made { recipe, revision, came })
}

fn tell_recipe(cx: &Context, recipe: &Recipe) {
    cx.ui.head(format!("  {} ({})", recipe.runtime, recipe.because));
    for note in &recipe.notes {
        cx.ui.note(note.clone());
    }
    if recipe.spec.switch.strategy == Strategy::Restart {
        cx.ui.note("strategy = \"restart\": requests fail while it restarts");
    }
}

/// What nginx serves of a static site, where only the build shows it.
fn settle_public(cx: &Context, stage: &Stage<'_>, recipe: &mut Recipe) -> Result<()> {
    if recipe.spec.public.is_some() || recipe.public_candidates.is_empty() {
        return Ok(());
    }
    for candidate in &recipe.public_candidates {
        if stage.holds(cx, &format!("{candidate}/index.html"))? {
            recipe.spec.public = Some(candidate.clone());
            return Ok(());
        }
    }
    Err(Error::failed("the build made no site")
        .coded("no_site")
        .caused_by(format!(
            "none of these has an index.html: {}",
            recipe.public_candidates.join(", ")
        ))
        .hint("say in hostkit.toml what it makes: [project] public = \"…\""))
}

fn watch_for(args: &Args, recipe: &Recipe) -> u64 {
    match (args.no_watch, args.watch) {
        (true, _) => 0,
        (false, Some(wait)) => wait.0.as_secs(),
        (false, None) => recipe.spec.switch.watch,
    }
}

/// Writes down that it came to nothing, and pauses deploys after too many of those.
fn fail(cx: &mut Context, begun: &Begun, stage: &Stage<'_>, mut error: Error) -> Error {
    let name = &begun.project.name;
    let text = error.to_string();
    let mut write = || -> Result<()> {
        stage::sweep(cx, name)?;
        let (_, pause_after) = limits::of(cx, name)?;
        let registry = cx.registry()?;
        registry.fail_release(name, &begun.id)?;
        registry.fail_deploy(begun.deploy, &text, &stage.phases)?;
        let last = registry.deploys(name, pause_after.max(1))?;
        let all_failed =
            last.len() == pause_after as usize && last.iter().all(|d| d.outcome == "failed");
        if pause_after > 0 && all_failed && !matches!(error.kind, Kind::Interrupted(_)) {
            registry.pause(name, Some(&format!("the last {pause_after} failed")))?;
        }
        Ok(())
    };
    if let Err(more) = write() {
        cx.ui.note(format!("and: {more}"));
    }
    if !matches!(error.kind, Kind::Usage | Kind::Interrupted(_)) || error.code == "bad_archive" {
        let log = format!("the whole log: `hostkit deploys {name} --log {}`", begun.deploy);
        let goes_on = match &begun.project.live {
            Some(live) => format!("{name} still serves {}", live.id),
            None => format!("{name} serves nothing yet"),
        };
        let hint = error.hint.take().map(|hint| format!("{hint}; ")).unwrap_or_default();
        error = error.hint(format!("{hint}{log}\n{goes_on}"));
    }
    if let Some(stays) = needs::stays(&stage.generated, name) {
        let hint = error.hint.take().map(|hint| format!("{hint}\n")).unwrap_or_default();
        error = error.hint(format!("{hint}{stays}"));
    }
    let _ = cx.record(Some(name), "deploy", Err(Error::failed(text)));
    error
}

fn report(
    cx: &Context,
    begun: &Begun,
    made: &Made,
    stage: &Stage<'_>,
    phases: &BTreeMap<String, u64>,
    start: Instant,
) {
    let recipe = &made.recipe;
    let name = &begun.project.name;
    let shown = env::Shown::of(
        cx,
        stage.generated.iter().filter(|one| one.rule.show).map(|one| env::Secret {
            key: &one.key,
            value: &one.value,
            about: &one.rule.about,
        }),
    );
    let url = projects::url(&begun.project, &cx.config).unwrap_or_default();
    let data = Deployed {
        deploy: begun.deploy,
        release: &begun.id,
        previous: begun.project.live.as_ref().map(|live| &live.id),
        runtime: recipe.runtime.as_str(),
        because: &recipe.because,
        revision: made.revision.as_deref(),
        url: url.clone(),
        phases,
        milliseconds: start.elapsed().as_millis(),
        generated: stage.generated.iter().map(|one| one.key.as_str()).collect(),
        secrets: shown.values(),
    };
    let next = format!("Next:  hostkit status {name}  ·  hostkit rollback {name}\n");
    let text = format!("\n{} is live after {}:  {url}\n", begun.id, elapsed(start.elapsed()));
    let secrets = shown.text(name);
    let text = if cx.ui.voice.quiet { format!("{}\n", begun.id) } else { text + &secrets + &next };
    cx.ui.result("deploy", Some(name.as_str()), &data, &text);
}

/// Refuses a path on the server from a project's own user; `instead` is what to do.
pub(super) fn may_name_paths(caller: &Caller, instead: &str) -> Result<()> {
    if matches!(caller, Caller::Root | Caller::Operator { .. }) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "forbidden", "a path on the server is not yours to name")
        .caused_by("root would open it")
        .hint(instead))
}

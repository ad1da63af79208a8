//! `hostkit deploy --dry-run`: what a deploy would do, from the source itself, and none of it done.

use serde::Serialize;

use super::{
    Args, check, needs,
    source::Source,
    stage::{self, Stage},
    switch,
};
use crate::{
    commands::Context,
    error::Result,
    names::ReleaseId,
    projects::{self, Phase, Recipe},
    registry::Project,
    release::{Kind, Process, Route, Strategy},
    sys::signals::Changing,
};

#[derive(Serialize)]
struct Preview<'a> {
    dry_run: bool,
    source: String,
    runtime: &'static str,
    because: &'a str,
    /// Commands of the build, in their order.
    build: Vec<String>,
    /// Commands that run once, before requests move.
    before: Vec<String>,
    processes: Vec<Would>,
    /// What answers for which path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<String>,
    strategy: Strategy,
    watch: u64,
    missing_variables: Vec<&'a str>,
    /// Secrets that would be made.
    generates: Vec<&'a str>,
    /// Names of `.env.example` that nothing sets.
    unset_examples: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<&'a ReleaseId>,
}

#[derive(Serialize)]
struct Would {
    name: String,
    kind: String,
    command: String,
    /// Other names of its unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    /// starts, restarts or ends.
    would: &'static str,
}

/// Looks at the source where a deploy would unpack it, and takes that away again.
pub fn run(args: &Args, cx: &mut Context, project: &Project, source: &Source) -> Result<()> {
    check(args, cx, project)?;
    let name = &project.name;
    let id = cx.registry()?.next_release(name, &[])?;
    let mut stage = Stage::new(project, id.clone());
    let looked = look(args, cx, source, &mut stage);
    stage::sweep(cx, name)?;
    cx.host.remove_file(&stage::log_path(name, id.as_str()))?;
    let mut recipe = looked?;
    projects::check_own(project, &recipe.spec)?;
    switch::check_names(cx, project, &recipe.spec)?;
    needs::check_services(project, &recipe)?;
    recipe.steps.retain(|step| match step.phase {
        Phase::Install => !args.no_install,
        Phase::Build => !args.no_build,
    });
    if args.no_migrate {
        recipe.migrations = None;
    }
    tell(args, cx, project, source, &recipe)
}

fn look(args: &Args, cx: &mut Context, source: &Source, stage: &mut Stage<'_>) -> Result<Recipe> {
    stage.open(cx)?;
    let upload = stage::upload_path(&stage.project.name, &stage.id);
    source.fetch(cx, stage, &upload)?;
    let _changing = Changing::begin();
    stage.unpack(cx)?;
    let Some(part) = &args.only else { return stage.recipe(cx) };
    stage.keep_the_rest(cx, part)?;
    let mut recipe = stage.recipe(cx)?;
    stage.build_only(cx, &mut recipe, part)?;
    Ok(recipe)
}

/// With those that visitors do not reach in the project's environment.
fn routes(project: &Project, recipe: &Recipe) -> Vec<String> {
    let of = |route: &Route| {
        if projects::is_reachable(project, &recipe.spec, route) {
            return route.to_string();
        }
        format!("{route}, not in {}", project.environment)
    };
    recipe.spec.routes.iter().map(of).collect()
}

fn tell(
    args: &Args,
    cx: &mut Context,
    project: &Project,
    source: &Source,
    recipe: &Recipe,
) -> Result<()> {
    let name = &project.name;
    let env = needs::file_of(cx, project)?;
    let line = |words: &[String]| words.join(" ");
    let preview = Preview {
        dry_run: true,
        source: source.to_string(),
        runtime: recipe.runtime.as_str(),
        because: &recipe.because,
        build: recipe
            .steps
            .iter()
            .map(|step| match step.directory.as_str() {
                "" => line(&step.command),
                directory => format!("{}  (in {directory})", line(&step.command)),
            })
            .collect(),
        before: recipe.release_processes().map(|process| line(&process.command)).collect(),
        processes: processes(project, recipe),
        routes: routes(project, recipe),
        strategy: recipe.spec.switch.strategy,
        watch: super::watch_for(args, recipe),
        missing_variables: recipe
            .required
            .keys()
            .filter(|key| !needs::is_set(&env, key))
            .map(String::as_str)
            .collect(),
        generates: needs::to_make(recipe, &env).into_iter().map(|(key, _)| key.as_str()).collect(),
        unset_examples: needs::unset_examples(project, recipe, &env),
        running: project.live.as_ref().map(|live| &live.id),
    };
    let text = render(&preview, recipe, name.as_str());
    cx.ui.result("deploy", Some(name.as_str()), &preview, &text);
    Ok(())
}

/// What runs afterwards, and what would not any more.
fn processes(project: &Project, recipe: &Recipe) -> Vec<Would> {
    let new = projects::whole(project, &recipe.spec);
    let old = project.live.as_ref().map(|live| projects::whole(project, &live.spec));
    let old: &[Process] = old.as_ref().map_or(&[], |spec| &spec.processes);
    let has = |all: &[Process], process: &Process| all.iter().any(|p| p.name == process.name);
    let runs = |process: &&Process| process.kind != Kind::Release;
    let aliases = |name: &String| -> Vec<String> {
        let all = new.aliases.iter().filter(|(_, of)| *of == name);
        all.map(|(alias, _)| alias.clone()).collect()
    };
    let would = |process: &Process, would| Would {
        name: process.name.clone(),
        kind: match &process.kind {
            Kind::Web => "web".into(),
            Kind::Worker => "worker".into(),
            Kind::Release => "release".into(),
            Kind::Scheduled(schedule) => schedule.clone(),
        },
        command: process.command.join(" "),
        aliases: aliases(&process.name),
        would,
    };
    let stays = new
        .processes
        .iter()
        .filter(runs)
        .map(|process| would(process, if has(old, process) { "restarts" } else { "starts" }));
    let ends = old.iter().filter(runs).filter(|process| !has(&new.processes, process));
    stays.chain(ends.map(|process| would(process, "ends"))).collect()
}

fn render(preview: &Preview<'_>, recipe: &Recipe, name: &str) -> String {
    let mut text =
        format!("{name}  {}\n  {} ({})\n", preview.source, preview.runtime, preview.because);
    for note in &recipe.notes {
        text.push_str(&format!("  {note}\n"));
    }
    let mut list = |title: &str, lines: &[String]| {
        for (n, line) in lines.iter().enumerate() {
            let title = if n == 0 { title } else { "" };
            text.push_str(&format!("  {title:<10}  {line}\n"));
        }
    };
    list("build", &preview.build);
    list("before", &preview.before);
    let processes: Vec<String> = preview
        .processes
        .iter()
        .map(|p| {
            let names = match &p.aliases[..] {
                [] => String::new(),
                names => format!(", called {}", names.join(", ")),
            };
            format!("{} {} ({}{names}): {}", p.name, p.would, p.kind, p.command)
        })
        .collect();
    list("processes", &processes);
    list("routes", &preview.routes);
    let switch = match preview.strategy {
        Strategy::Standby => "the new release answers beside the old one before requests move",
        Strategy::Restart => "one restart: requests fail while it lasts",
    };
    list("switch", &[format!("{switch}; watched for {} s", preview.watch)]);
    let missing: Vec<String> = preview
        .missing_variables
        .iter()
        .map(|key| {
            format!(
                "{key} is not set, so the deploy would be refused: hostkit env set {name} {key}"
            )
        })
        .collect();
    list("missing", &missing);
    let words = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    list("makes", &words(&preview.generates));
    list("not set", &words(&preview.unset_examples));
    text.push_str("\nnothing is done yet\n");
    text
}

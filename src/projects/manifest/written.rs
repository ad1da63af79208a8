//! A manifest written out: what a tree's recipe comes to, ready to edit.

use std::collections::BTreeMap;

use toml::Value;

use super::{Install, MANIFEST, Manifest, Migrate};
use crate::{
    config::Size,
    names::Runtime,
    projects::{HOME, Phase, Recipe, words::join_command},
    release::{Answer, Health, Kind, Process, Route, Spec, Strategy},
};

/// The text of a manifest that comes to the same recipe, with what was found beside it as
/// comments.
pub fn manifest_text(recipe: &Recipe, manifest: Option<&Manifest>) -> String {
    let usual = Manifest::default();
    let own = manifest.unwrap_or(&usual);
    let mut text = match manifest {
        Some(_) => format!("# {MANIFEST} with every value that holds.\n"),
        None => format!("# Found by {}. Change what is wrong.\n", recipe.because),
    };
    text.push_str(&project(recipe));
    text.push_str(&build(recipe, own));
    text.push_str(&deploy(recipe, own));
    for process in &recipe.spec.processes {
        text.push_str(&one(process, recipe));
    }
    text.push_str(&routes(&recipe.spec.routes));
    text.push_str(&expose(&recipe.spec));
    text.push_str(&services(recipe));
    text.push_str(&environment(recipe, own));
    if !recipe.spec.secret_files.is_empty() {
        text.push_str(&format!("\n[secrets]\nfiles = {}\n", list(&recipe.spec.secret_files)));
    }
    if let Some(check) = &own.check {
        text.push_str(&format!("\n[backup]\ncheck = {}\n", quoted(&join_command(check))));
    }
    text
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    Value::Array(texts.iter().cloned().map(Value::String).collect()).to_string()
}

fn time(seconds: u64) -> String {
    let text = match seconds {
        minutes if minutes > 0 && minutes % 60 == 0 => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    };
    quoted(&text)
}

/// As one line of a comment, whatever it holds.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn project(recipe: &Recipe) -> String {
    let mut text = format!("\n[project]\nruntime = {}\n", quoted(recipe.runtime.as_str()));
    if let Some(port) = recipe.port {
        text.push_str(&format!("port = {port}\n"));
    }
    match (&recipe.spec.public, recipe.public_candidates.first()) {
        (Some(public), _) => text.push_str(&format!("public = {}\n", quoted(public))),
        (None, Some(first)) => text.push_str(&format!(
            "# public = {}  # else the first that the build makes: {}\n",
            quoted(first),
            recipe.public_candidates.join(", ")
        )),
        (None, None) => {}
    }
    if recipe.spec.shared.is_empty() {
        text.push_str("# shared = [\"uploads\"]  # directories that outlive a release\n");
    } else {
        text.push_str(&format!("shared = {}\n", list(&recipe.spec.shared)));
    }
    text
}

fn build(recipe: &Recipe, own: &Manifest) -> String {
    let mut text = String::from("\n[build]\n");
    if own.build.install == Install::Nothing {
        text.push_str("install = false\n");
    }
    match &own.build.steps {
        Some(steps) => text.push_str(&format!("steps = {}\n", list(steps))),
        None => text.push_str("# steps = [\"make\"]  # instead of the build that was found\n"),
    }
    if !own.build.packages.is_empty() {
        text.push_str(&format!("packages = {}\n", list(&own.build.packages)));
    }
    if let Some(file) = &own.build.constraints {
        text.push_str(&format!("constraints = {}\n", quoted(file)));
    }
    let is_found = |phase| phase == Phase::Install || own.build.steps.is_none();
    for step in recipe.steps.iter().filter(|step| is_found(step.phase)) {
        let place = if step.directory.is_empty() { "" } else { " in " };
        let line = format!("found{place}{}: {}", step.directory, join_command(&step.command));
        text.push_str(&format!("# {}\n", comment(&line)));
    }
    let memory = quoted(&Size(recipe.memory).to_string());
    text.push_str(&format!("timeout = {}\nmemory = {memory}\n", time(recipe.timeout)));
    if !recipe.build_environment.is_empty() {
        text.push_str(&format!("\n[build.env]\n{}", variables(&recipe.build_environment)));
    }
    text
}

fn variables(all: &BTreeMap<String, String>) -> String {
    all.iter().map(|(key, value)| format!("{key} = {}\n", quoted(value))).collect()
}

fn deploy(recipe: &Recipe, own: &Manifest) -> String {
    let switch = &recipe.spec.switch;
    let strategy = match switch.strategy {
        Strategy::Restart => "restart",
        Strategy::Standby => "standby",
    };
    let mut text = format!(
        "\n[deploy]\nstrategy = {}\nwatch = {}\ndrain = {}\ntimeout = {}\n",
        quoted(strategy),
        time(switch.watch),
        time(switch.drain),
        time(switch.timeout)
    );
    match &recipe.migrations {
        _ if own.migrate == Migrate::Never => text.push_str("migrate = false\n"),
        Some(found) => {
            let line = comment(&join_command(&found.command));
            text.push_str(&format!("# migrate = false  # found, and run once a deploy: {line}\n"));
        }
        None => {}
    }
    text
}

fn one(process: &Process, recipe: &Recipe) -> String {
    let head = format!("\n[process.{}]\n", process.name);
    let mut text = String::new();
    if recipe.runtime != Runtime::Php || process.kind != Kind::Web {
        let command = quoted(&join_command(&process.command));
        if process.directory == HOME {
            return format!(
                "\n# It runs in the project's home, where `app` is the release: no manifest says \
                 that.\n# [process.{}]\n# command = {command}\n",
                process.name
            );
        }
        text.push_str(&format!("command = {command}\n"));
    }
    let spec = &recipe.spec;
    let names = spec.aliases.iter().filter(|(_, of)| **of == process.name);
    let names: Vec<String> = names.map(|(alias, _)| alias.clone()).collect();
    if !names.is_empty() {
        text.push_str(&format!("aliases = {}\n", list(&names)));
    }
    if !process.directory.is_empty() {
        text.push_str(&format!("directory = {}\n", quoted(&process.directory)));
    }
    match &process.kind {
        Kind::Release => text.push_str("when = \"release\"\n"),
        Kind::Scheduled(calendar) => {
            text.push_str(&format!("schedule = {}\n", quoted(calendar)));
        }
        Kind::Web | Kind::Worker => {}
    }
    match &process.health {
        Some(health) => text.push_str(&format!("health = {}\n", page(health))),
        None if process.kind == Kind::Web => {
            text.push_str("# health = { path = \"/health\", status = 200 }\n");
        }
        None => {}
    }
    if let Some(page) = &process.metrics {
        text.push_str(&format!("metrics = {}\n", quoted(page)));
    }
    head + &text
}

fn page(health: &Health) -> String {
    let mut parts = vec![format!("path = {}", quoted(&health.path))];
    parts.extend(health.status.map(|status| format!("status = {status}")));
    parts.extend(health.body.as_ref().map(|body| format!("body = {}", quoted(body))));
    parts.push(format!("timeout = {}", time(health.timeout)));
    format!("{{ {} }}", parts.join(", "))
}

fn routes(routes: &[Route]) -> String {
    if routes.is_empty() {
        return String::new();
    }
    let lines: String = routes
        .iter()
        .map(|route| format!("{} = {{ {} }}\n", quoted(&route.path), answer(route).join(", ")))
        .collect();
    format!("\n[routes]\n{lines}")
}

fn answer(route: &Route) -> Vec<String> {
    let mut says = Vec::new();
    match &route.to {
        Answer::Static(files) => {
            says.push(format!("static = {}", quoted(&files.at)));
            says.extend(files.spa.then(|| "spa = true".to_owned()));
            says.extend(files.cache.map(|seconds| format!("cache = {}", time(seconds))));
        }
        Answer::Process(proxied) => {
            says.push(format!("process = {}", quoted(&proxied.process)));
            says.extend(proxied.strip.then(|| "strip = true".to_owned()));
            says.extend(proxied.websocket.then(|| "websocket = true".to_owned()));
            says.extend(proxied.timeout.map(|seconds| format!("timeout = {}", time(seconds))));
            says.extend(proxied.body.map(|n| format!("body = {}", quoted(&Size(n).to_string()))));
            says.extend((!proxied.buffering).then(|| "buffering = false".to_owned()));
        }
        Answer::Redirect(redirect) => {
            says.push(format!("redirect = {}", quoted(&redirect.to)));
            says.push(format!("status = {}", redirect.status));
        }
    }
    says.extend((!route.allow.is_empty()).then(|| format!("allow = {}", list(&route.allow))));
    says.extend((!route.deny.is_empty()).then(|| format!("deny = {}", list(&route.deny))));
    says
}

fn expose(spec: &Spec) -> String {
    if spec.expose.is_empty() {
        return String::new();
    }
    let lines: String =
        spec.expose.iter().map(|(of, names)| format!("{of} = {}\n", list(names))).collect();
    format!("\n[expose]\n{lines}")
}

fn services(recipe: &Recipe) -> String {
    let services = &recipe.services;
    let mut lines = Vec::new();
    match (&services.url_scheme, services.postgres) {
        (Some(scheme), _) => {
            lines.push(format!("postgres = {{ url_scheme = {} }}", quoted(scheme)));
        }
        (None, Some(wanted)) => lines.push(format!("postgres = {wanted}")),
        (None, None) => {}
    }
    lines.extend(services.redis.map(|wanted| format!("redis = {wanted}")));
    lines.extend(services.storage.map(|wanted| format!("storage = {wanted}")));
    if lines.is_empty() { String::new() } else { format!("\n[services]\n{}\n", lines.join("\n")) }
}

fn environment(recipe: &Recipe, own: &Manifest) -> String {
    let mut text = String::new();
    // What a runtime sets by itself it sets again.
    if !own.environment.is_empty() {
        text.push_str(&format!("\n[env]\n{}", variables(&own.environment)));
    }
    for (of, overlay) in &own.overlays {
        text.push_str(&format!("\n[env.{of}]\n{}", variables(overlay)));
    }
    if !recipe.required.is_empty() {
        text.push_str(&format!("\n[env.required]\n{}", variables(&recipe.required)));
    }
    if !recipe.spec.variables.is_empty() {
        let from = recipe.spec.variables.iter().map(|(key, s)| (key.clone(), s.to_string()));
        text.push_str(&format!("\n[env.from]\n{}", variables(&from.collect())));
    }
    if !recipe.generated.is_empty() {
        text.push_str("\n[env.generate]\n");
    }
    for (key, rule) in &recipe.generated {
        let kind = quoted(&rule.kind.to_string());
        if !rule.show && rule.about.is_empty() {
            text.push_str(&format!("{key} = {kind}\n"));
            continue;
        }
        let show = if rule.show { ", show = true" } else { "" };
        let about = match rule.about.as_str() {
            "" => String::new(),
            about => format!(", about = {}", quoted(about)),
        };
        text.push_str(&format!("{key} = {{ kind = {kind}{show}{about} }}\n"));
    }
    text
}

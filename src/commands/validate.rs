//! `hostkit validate`: every mistake of a manifest, before any deploy meets the first of them.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, manifest::Source};
use crate::{
    error::{Error, Result},
    projects::{self, HOME, MANIFEST, Manifest},
    ui::count,
};

/// Check the manifest of a source tree
///
/// Tells every mistake with its line and column, and warns of what a deploy would refuse or regret.
/// Nothing is changed, and no right is needed: it runs on a laptop and in CI. Exit code 2 says that
/// the manifest can't be used; warnings change no exit code.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit validate .
  hostkit validate ~/src/shop --json")]
pub struct Args {
    /// The source tree
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Verdict {
    /// Whether a deploy would take the manifest.
    valid: bool,
    /// Whether there is one.
    exists: bool,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Mistake {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl From<Error> for Mistake {
    fn from(error: Error) -> Self {
        Self {
            code: error.code,
            line: error.place.map(|(line, _)| line),
            column: error.place.map(|(_, column)| column),
            message: error.cause.unwrap_or(error.message),
            hint: error.hint,
        }
    }
}

/// Says whether a deploy would take it.
pub fn run(args: &Args, cx: &mut Context) -> Result<bool> {
    let source = Source::of(&args.dir, cx)?;
    let text = source.manifest.as_deref().unwrap_or_default();
    let mistakes: Vec<Mistake> = projects::mistakes(text).into_iter().map(Mistake::from).collect();
    let mut warnings = Vec::new();
    if mistakes.is_empty() {
        let manifest = source.manifest.as_deref().map(projects::parse_manifest).transpose()?;
        warnings = warnings_of(&source, manifest.as_ref());
    }
    let verdict = Verdict {
        valid: mistakes.is_empty(),
        exists: source.manifest.is_some(),
        mistakes,
        warnings,
    };
    let told = render(&verdict, text);
    cx.ui.result("validate", None, &verdict, &told);
    Ok(verdict.valid)
}

/// What a deploy of the tree would refuse, or what its owner would regret.
fn warnings_of(source: &Source, manifest: Option<&Manifest>) -> Vec<String> {
    let mut warnings = Vec::new();
    let looked = &source.looked;
    let tracked = looked.tracked();
    let all = tracked.iter().chain(&looked.files);
    let is_env = |path: &&String| path.rsplit('/').next() == Some(".env");
    if let Some(path) = all.into_iter().find(is_env).map(|path| path.escape_debug()) {
        warnings.push(format!(
            "`{path}` goes along with each deploy, and whoever has the code has its values: take \
             it out of git (`git rm --cached {path}`), and set them by `hostkit env import`"
        ));
    }
    for process in manifest.iter().flat_map(|manifest| &manifest.processes) {
        let dir = &process.directory;
        if !dir.is_empty() && dir != HOME && !looked.directories.contains(dir) {
            warnings.push(format!(
                "`{}` runs in `{dir}`, and the tree has no such directory: it does not start \
                 unless the build makes it",
                process.name
            ));
        }
    }
    warnings.extend(manifest.iter().flat_map(|manifest| not_routed(manifest)));
    match source.recipe(manifest) {
        Ok(recipe) => {
            let by_pip = recipe.steps.iter().filter(|step| step.fills_venv).count() > 1;
            if by_pip && recipe.spec.installs.is_none() {
                warnings.push(
                    "there is no lock file, and no `requirements.txt` with the version of each \
                     package (`==`), so each build may get other versions"
                        .into(),
                );
            }
            warnings.extend(recipe.notes);
        }
        Err(Error { message, cause, hint, .. }) => {
            let parts: Vec<String> = [Some(message), cause, hint].into_iter().flatten().collect();
            warnings.push(format!("a deploy would be refused: {}", parts.join("; ")));
        }
    }
    warnings
}

/// Processes that are to be reached, and that no route leads to.
fn not_routed(manifest: &Manifest) -> Vec<String> {
    let leads = |name: &str| manifest.routes.iter().any(|route| route.process() == Some(name));
    let mut names: Vec<&String> = manifest.expose.values().flatten().collect();
    names.sort();
    names.dedup();
    let is_idle =
        |name: &&&String| !name.starts_with('/') && name.as_str() != "web" && !leads(name);
    let idle = names.iter().filter(is_idle);
    idle.map(|name| {
        format!("`[expose]` names `{name}`, and no route leads there: nobody reaches it")
    })
    .collect()
}

fn render(verdict: &Verdict, text: &str) -> String {
    let mut told = String::new();
    for Mistake { line, column, message, hint, .. } in &verdict.mistakes {
        match (line, column) {
            (Some(line), Some(column)) => {
                told.push_str(&format!("{MANIFEST}:{line}:{column}: {message}\n"));
                told.push_str(&shown(text, *line as usize, *column as usize));
            }
            _ => told.push_str(&format!("{MANIFEST}: {message}\n")),
        }
        if let Some(hint) = hint {
            told.push_str(&format!("  hint: {}\n", hint.replace('\n', "\n        ")));
        }
    }
    for warning in &verdict.warnings {
        told.push_str(&format!("warning: {warning}\n"));
    }
    told.push_str(&match (verdict.mistakes.len(), verdict.exists) {
        (0, true) => format!("{MANIFEST} can be used\n"),
        (0, false) => format!(
            "there is no {MANIFEST}, and none is needed: `hostkit manifest` prints what is found\n"
        ),
        (n, _) => format!("{}\n", count(n, "mistake")),
    });
    told
}

/// The line, with a mark below the place.
fn shown(text: &str, line: usize, column: usize) -> String {
    let Some(all) = text.lines().nth(line.saturating_sub(1)) else { return String::new() };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let part: String = all.chars().take(120).map(clean).collect();
    if column > 120 {
        return format!("  {line:>4} | {part}\n");
    }
    format!("  {line:>4} | {part}\n       | {}^\n", " ".repeat(column.saturating_sub(1)))
}

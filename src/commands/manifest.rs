//! `hostkit manifest`: what a deploy would make of a tree, as a manifest that is ready to edit.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, deploy::tools};
use crate::{
    archive::{Looked, look},
    error::{Error, Result},
    names::ProjectName,
    projects::{self, Fpm, MANIFEST, Manifest, Recipe, Tools, Tree},
};

/// Print the manifest that a source tree comes to
///
/// For a tree without `hostkit.toml` it is what hostkit finds by itself, ready to be edited; for
/// one with it, every value that holds. Nothing is changed, and no right is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit manifest . > hostkit.toml
  hostkit manifest ~/src/shop
  hostkit manifest --schema > hostkit.schema.json")]
pub struct Args {
    /// The source tree
    #[arg(value_name = "DIR", required_unless_present = "schema")]
    dir: Option<PathBuf>,

    /// Print the JSON Schema of manifests instead
    #[arg(long, conflicts_with = "dir")]
    schema: bool,
}

#[derive(Serialize)]
struct Printed<'a> {
    manifest: &'a str,
    /// Whether the tree has one already.
    exists: bool,
    runtime: &'static str,
    because: &'a str,
    notes: &'a [String],
}

/// Deeper than that nothing tells what a tree is; a process may run deeper.
const DEPTH: u32 = 6;

/// A source tree as a deploy would see it.
pub struct Source {
    pub looked: Looked,
    pub manifest: Option<String>,
}

impl Source {
    pub fn of(dir: &std::path::Path, cx: &Context) -> Result<Self> {
        let looked = look(&cx.started_in.join(dir), DEPTH)?;
        let manifest = looked.text(MANIFEST)?;
        if manifest.is_none() && looked.files.contains(MANIFEST) {
            return Err(Error::usage("bad_manifest", format!("`{MANIFEST}` can't be used"))
                .caused_by("it is no text in UTF-8"));
        }
        Ok(Self { looked, manifest })
    }

    /// What a deploy would do with it on a server that has all programs.
    pub fn recipe(&self, manifest: Option<&Manifest>) -> Result<Recipe> {
        let seen = |path: &&String| path.matches('/').count() < 3;
        let paths = self.looked.files.iter().filter(seen).cloned().collect();
        let mut tree = Tree { paths, ..Tree::default() };
        for name in projects::wanted_texts(manifest) {
            if let Some(text) = self.looked.text(&name)? {
                tree.texts.insert(name, text);
            }
        }
        let here = tools::found();
        let tools = Tools {
            composer: true,
            fpm: Some(Fpm { major: 8, minor: 2 }),
            poetry: true,
            uv: true,
            ..here
        };
        projects::recipe(&tree, manifest, None, None, &example()?, tools)
    }
}

/// Stands for the project in what depends on its name.
fn example() -> Result<ProjectName> {
    "my-project".parse()
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let Some(dir) = &args.dir else {
        let schema = projects::schema();
        let text = serde_json::to_string_pretty(&schema)
            .map_err(|e| Error::failed("could not write the schema").caused_by(e))?;
        cx.ui.result("manifest", None, &schema, &format!("{text}\n"));
        return Ok(());
    };
    let source = Source::of(dir, cx)?;
    let manifest = source.manifest.as_deref().map(projects::parse_manifest).transpose()?;
    let recipe = source.recipe(manifest.as_ref())?;
    let text = projects::manifest_text(&recipe, manifest.as_ref());
    for note in &recipe.notes {
        cx.ui.note(note.clone());
    }
    let data = Printed {
        manifest: &text,
        exists: manifest.is_some(),
        runtime: recipe.runtime.as_str(),
        because: &recipe.because,
        notes: &recipe.notes,
    };
    cx.ui.result("manifest", None, &data, &text);
    Ok(())
}

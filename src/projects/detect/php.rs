//! PHP: what composer brings in, and the pages that php-fpm and nginx serve.

use serde_json::Value;

use super::{Asked, BuildStep, Found, Phase, Start, Tree, node, package::Package};
use crate::{
    error::{Error, Result},
    projects::php,
};

/// What a usual project needs, where nothing of it is there.
const PACKAGES: &str =
    "apt-get install php-fpm php-cli php-curl php-mbstring php-xml php-zip unzip composer";

/// A version of php-fpm that the server has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fpm {
    pub major: u8,
    pub minor: u8,
}

impl Fpm {
    /// Of a program's file name, such as `php-fpm8.2`.
    pub fn of(program: &str) -> Option<Self> {
        let (major, minor) = program.strip_prefix("php-fpm")?.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    fn program(self) -> String {
        format!("/usr/sbin/php-fpm{}.{}", self.major, self.minor)
    }
}

/// The directory of a tree that holds its pages: "" is the tree itself.
pub(super) fn pages(tree: &Tree) -> Option<&'static str> {
    let with_index = |(_, index): &(&str, &str)| tree.has(index);
    let dirs = [("public", "public/index.php"), ("", "index.php")];
    dirs.into_iter().find(with_index).map(|(dir, _)| dir)
}

pub(super) fn find(this: &Asked<'_>, package: &Package) -> Result<Found> {
    let Asked { tree, manifest, own_start, project, tools, .. } = this;
    let public = manifest.public.clone().or_else(|| pages(tree).map(str::to_owned));
    let Some(public) = public else {
        return Err(Error::usage("no_pages", format!("`{project}` has no page in PHP"))
            .caused_by("there is no public/index.php, and no index.php at the top")
            .hint("say in hostkit.toml where its index.php is:\n[project]\nruntime = \"php\"\npublic = \"web\""));
    };
    let fpm = tools.fpm.ok_or_else(|| missing("php-fpm", "it answers for the pages"))?;
    let mut found = Found { public: Some(public), ..Found::default() };
    if own_start.is_some() {
        found.notes.push("php-fpm answers, so the start command is not used".into());
    }
    found.start =
        Some(Start { command: php::command(project, &fpm.program()), directory: String::new() });
    if tree.has("composer.json") {
        composer(this, &mut found)?;
    }
    if package.script("build").is_some() {
        node::build_only(this, package, &mut found);
    }
    Ok(found)
}

fn composer(this: &Asked<'_>, found: &mut Found) -> Result<()> {
    if !this.tools.composer {
        return Err(missing("composer", "composer.json names dependencies"));
    }
    if !this.tree.has("composer.lock") && requires_packages(this.tree) {
        found.notes.push("there is no composer.lock, so each build may get other versions".into());
    }
    let command = [
        "/usr/bin/env",
        "composer",
        "install",
        "--no-dev",
        "--no-interaction",
        "--prefer-dist",
        "--no-progress",
        "--optimize-autoloader",
    ];
    found.steps.push(BuildStep::new(Phase::Install, "dependencies", &command).with(&[
        ("COMPOSER_CACHE_DIR", &this.cache("composer")),
        ("COMPOSER_HOME", &this.cache("composer-home")),
        ("COMPOSER_NO_AUDIT", "1"),
    ]));
    Ok(())
}

/// Whether packages are asked for, and not PHP and its extensions alone.
fn requires_packages(tree: &Tree) -> bool {
    let json: Value = serde_json::from_str(tree.text("composer.json")).unwrap_or_default();
    let required = json.get("require").and_then(Value::as_object);
    required.is_some_and(|all| all.keys().any(|name| name.contains('/')))
}

fn missing(program: &str, why: &str) -> Error {
    Error::not_ready("program_missing", format!("`{program}` is missing"))
        .caused_by(why)
        .hint(format!("install it on the server: `{PACKAGES}`"))
}

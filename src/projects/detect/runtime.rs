//! Which runtime a tree wants: what the manifest says, then what it looks like.

use super::{
    Asked, Tree,
    node::{ENTRIES, next_output},
    package::Package,
    parts, php, routes,
};
use crate::{
    error::{Error, Result},
    names::Runtime,
};

/// Packages that answer requests, and make a tree more than a site.
const SERVERS: &[&str] = &[
    "@adonisjs/core",
    "@astrojs/node",
    "@hapi/hapi",
    "@hono/node-server",
    "@nestjs/core",
    "@remix-run/serve",
    "@sveltejs/adapter-node",
    "express",
    "fastify",
    "koa",
    "nuxt",
    "polka",
    "restify",
    "socket.io",
];

/// Packages that make files, and whose servers are for developers.
const BUILDERS: &[&str] = &[
    "@11ty/eleventy",
    "@angular/cli",
    "@vue/cli-service",
    "astro",
    "gatsby",
    "parcel",
    "react-scripts",
    "vite",
    "webpack",
];

const BUILDER_PROGRAMS: &[&str] = &[
    "astro",
    "eleventy",
    "gatsby",
    "live-server",
    "ng",
    "parcel",
    "react-scripts",
    "vite",
    "vue-cli-service",
    "webpack",
    "webpack-dev-server",
];

/// The runtime, and what told it.
pub(super) fn decide(this: &Asked<'_>, asked: Option<Runtime>) -> Result<(Runtime, String)> {
    if let Some(runtime) = declared(this)? {
        return match asked {
            Some(other) if other != runtime => Err(differs(this, other, runtime, "hostkit.toml")),
            _ => Ok((runtime, "hostkit.toml".into())),
        };
    }
    if asked == Some(Runtime::Custom) {
        return Ok((Runtime::Custom, "as it was made".into()));
    }
    let looks = looks(this, asked)?;
    let fits = |runtime: Runtime| asked.is_none_or(|asked| asked == runtime);
    if let Some((runtime, because)) = looks.iter().find(|(runtime, _)| fits(*runtime)) {
        return Ok((*runtime, parts::because(this.base, because)));
    }
    match (asked, looks.first()) {
        (Some(asked), Some((runtime, because))) => Err(differs(this, asked, *runtime, because)),
        (Some(asked), None) => Ok((asked, "as it was made".into())),
        (None, _) if this.manifest_web().is_some() => Ok((Runtime::Custom, "hostkit.toml".into())),
        (None, _) if this.own_start.is_some() => Ok((Runtime::Custom, "its start command".into())),
        (None, _) => Err(unknown(this.tree)),
    }
}

/// What the manifest says, in one way or another.
fn declared(this: &Asked<'_>) -> Result<Option<Runtime>> {
    let manifest = this.manifest;
    let has_pages = |public: &String| {
        let index = format!("{public}/index.php");
        this.tree.has(index.trim_start_matches('/'))
    };
    // Else their sources would be served as they are.
    let are_pages = manifest.runtime.is_none() && manifest.public.as_ref().is_some_and(has_pages);
    if are_pages || manifest.runtime == Some(Runtime::Php) {
        return Ok(Some(Runtime::Php));
    }
    let is_static = manifest.public.is_some() || routes::need_no_process(this);
    let declared = manifest.runtime.or(is_static.then_some(Runtime::Static));
    let serves = manifest.public.is_some() || declared == Some(Runtime::Static);
    let runs = this.manifest_web().is_some() || declared != Some(Runtime::Static);
    if serves && runs {
        return Err(Error::usage(
            "no_routes",
            "`hostkit.toml` wants files served beside a process",
        )
        .caused_by("nothing says which of the two answers for which path")
        .hint(
            "leave out `public` and `runtime = \"static\"`, and write:\n[routes]\n\
                 \"/\" = { static = \"dist\" }\n\"/api/\" = { process = \"web\" }",
        ));
    }
    Ok(declared)
}

/// What a tree looks like, the likeliest first.
fn looks(this: &Asked<'_>, asked: Option<Runtime>) -> Result<Vec<(Runtime, &'static str)>> {
    let tree = this.tree;
    let package = match Package::of(tree) {
        // Of no matter to it.
        Err(_) if asked == Some(Runtime::Python) => Package::default(),
        package => package?,
    };
    let has_package = tree.has("package.json");
    let has_start = this.has_start() && asked != Some(Runtime::Static);
    let is_next = package.uses("next")
        || ["next.config.js", "next.config.mjs", "next.config.ts"].iter().any(|f| tree.has(f));
    let exports = is_next && next_output(tree) == Some("export");
    let has_page = |path: &str| !has_start && tree.has(path);
    let python = |file: &str| tree.has(file);
    let is_php = !has_start && php::pages(tree).is_some();
    let any_python = tree.paths.iter().any(|path| is_python(path));
    let looks = [
        (exports && !has_start, Runtime::Static, "`output: \"export\"` for Next.js"),
        (is_next, Runtime::Nextjs, "`next` in package.json"),
        (is_php && tree.has("composer.json"), Runtime::Php, "composer.json"),
        (has_package && starts(tree, &package), Runtime::Node, "package.json"),
        (python("requirements.txt"), Runtime::Python, "requirements.txt"),
        (python("pyproject.toml"), Runtime::Python, "pyproject.toml"),
        (is_php, Runtime::Php, "index.php"),
        (has_package && has_start, Runtime::Node, "package.json"),
        (
            has_package && !has_start && package.script("build").is_some(),
            Runtime::Static,
            "`build` in package.json, and nothing that starts",
        ),
        (python("__main__.py"), Runtime::Python, "__main__.py"),
        (python("manage.py"), Runtime::Python, "manage.py"),
        (has_page("index.html"), Runtime::Static, "index.html"),
        (has_page("public/index.html"), Runtime::Static, "public/index.html"),
        (any_python, Runtime::Python, "its Python files"),
        (ENTRIES.iter().any(|entry| tree.has(entry)), Runtime::Node, "its JavaScript file"),
    ];
    let here = looks.into_iter().filter(|(is_so, ..)| *is_so);
    Ok(here.map(|(_, runtime, because)| (runtime, because)).collect())
}

/// At the top, or in `app`.
fn is_python(path: &str) -> bool {
    let below = path.strip_prefix("app/").unwrap_or(path);
    below.strip_suffix(".py").is_some_and(|name| !name.contains('/'))
}

/// Whether something in it answers requests.
fn starts(tree: &Tree, package: &Package) -> bool {
    let script = package.script("start").map(|script| {
        let other = script.strip_prefix("npm run ").and_then(|name| package.script(name.trim()));
        other.unwrap_or(script)
    });
    if let Some(script) = script {
        return !is_for_developers(script);
    }
    let builds = BUILDERS.iter().any(|name| package.knows(name));
    let main = package.text("main").map(|main| main.trim_start_matches("./"));
    let mut entries = ENTRIES.iter().copied().chain(main);
    SERVERS.iter().any(|name| package.uses(name))
        || (!builds && entries.any(|entry| tree.has(entry)))
}

fn is_for_developers(script: &str) -> bool {
    let skipped = |word: &&str| word.contains('=') || matches!(*word, "npx" | "cross-env");
    let program = script.split_whitespace().find(|word| !skipped(word)).unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    BUILDER_PROGRAMS.contains(&name)
}

fn differs(this: &Asked<'_>, asked: Runtime, is: Runtime, because: &str) -> Error {
    let name = this.project;
    let error = Error::usage(
        "runtime_differs",
        format!("`{name}` was made for {asked}, and this is a tree for {is}"),
    );
    if because == "hostkit.toml" {
        return error.caused_by(format!("hostkit.toml says {is}")).hint(format!(
            "let hostkit.toml say `runtime = \"{asked}\"`, or make a project for {is}"
        ));
    }
    error.caused_by(format!("told by {because}")).hint(format!(
        "make a project for {is}, or keep {asked} by a hostkit.toml:\n[project]\nruntime = \"{asked}\""
    ))
}

fn unknown(tree: &Tree) -> Error {
    let cause = if tree.has("composer.json") {
        "it has composer.json, and no public/index.php or index.php that answers"
    } else {
        "it has no package.json, requirements.txt, pyproject.toml, __main__.py, manage.py, \
         index.php or index.html at its top"
    };
    Error::usage("unknown_tree", "nothing in the tree says what runs it").caused_by(cause).hint(
        "say it in a hostkit.toml at its top:\n[project]\nruntime = \"custom\"\n\n[process.web]\n\
         command = \"bin/server --port $PORT\"",
    )
}

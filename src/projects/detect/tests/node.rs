//! What runs by node.

use super::*;

#[test]
fn node_installs_by_the_lock_file() {
    let package =
        |more: &str| format!("package.json={{\"scripts\":{{\"start\":\"node a\"}}{more}}}");
    let first = |entries: &[&str], tools| {
        let recipe = with(entries, "", None, None, tools).unwrap();
        let BuildStep { command, needs, .. } = recipe.steps[0].clone();
        (command.join(" "), needs)
    };
    let none = Tools::default();
    let plain = package("");
    let npm = |verb: &str| (format!("/usr/bin/npm {verb} --no-audit --no-fund"), vec!["npm"]);
    assert_eq!(first(&[&plain, "package-lock.json"], none), npm("ci"));
    assert_eq!(first(&[&plain, "npm-shrinkwrap.json", "yarn.lock"], none), npm("ci"));
    assert_eq!(first(&[&plain], none), npm("install"));
    let env = |words: &str, needs| (format!("/usr/bin/env {words}"), vec![needs]);
    let classic = "corepack yarn install --frozen-lockfile";
    assert_eq!(first(&[&plain, "yarn.lock"], ALL_TOOLS), env(classic, "corepack"));
    assert_eq!(
        first(&[&plain, "yarn.lock", ".yarnrc.yml"], none),
        env("yarn install --immutable", "yarn")
    );
    let declared = package(",\"packageManager\":\"yarn@4.1.0\"");
    assert_eq!(
        first(&[&declared, "yarn.lock", "package-lock.json"], ALL_TOOLS),
        env("corepack yarn install --immutable", "corepack")
    );
    let pnpm = "corepack pnpm install --frozen-lockfile";
    assert_eq!(first(&[&plain, "pnpm-lock.yaml"], ALL_TOOLS), env(pnpm, "corepack"));
}

#[test]
fn packages_of_a_build_are_kept_where_the_lock_file_decides_alone() {
    let package = r#"package.json={"scripts":{"build":"vite build"}}"#;
    let lock = |more: &str| {
        let a = r#""node_modules/a":{"resolved":"https://forge.example/a.tgz"}"#;
        format!(r#"package-lock.json={{"packages":{{"":{{}},{a}{more}}}}}"#)
    };
    let digest = |entries: &[&str]| {
        let entries = [entries, &["index.html"]].concat();
        let recipe = with(&entries, "[project]\nruntime = \"static\"", None, None, ALL_TOOLS);
        let steps = recipe.unwrap().steps;
        assert_eq!(steps.last().unwrap().title, "tidy");
        steps[0].modules.clone()
    };
    let usual = digest(&[package, &lock("")]);
    assert!(usual.is_some());
    assert_eq!(usual, digest(&[package, &lock(""), "src/new.js"]));
    for other in [
        &[package, &lock(r#","node_modules/b":{}"#)][..],
        &[package, &lock(""), ".npmrc=ignore-scripts=true"],
        &[&package.replace("vite", "tsc"), &lock("")],
    ] {
        let other = digest(other);
        assert!(other.is_some() && other != usual, "{other:?}");
    }
    for undecided in [
        &[package][..],
        &[package, "package-lock.json={}"],
        &[package, &lock(r#","node_modules/b":{"resolved":"lib","link":true}"#)],
        &[package, &lock(r#","lib":{}"#)],
        &[package, &lock(r#","node_modules/b":{"resolved":"file:b.tgz"}"#)],
        &[package, &lock(""), "npm-shrinkwrap.json={}"],
        &[
            &package.replace("{\"scr", "{\"packageManager\":\"yarn@4.1.0\",\"scr"),
            &lock(""),
            "yarn.lock",
        ],
        &[&package.replace("{\"build", "{\"prepare\":\"x\",\"build"), &lock("")],
    ] {
        assert_eq!(digest(undecided), None, "{undecided:?}");
    }
}

#[test]
fn node_starts_without_a_shell_where_it_can() {
    for (package, entries, start) in [
        (
            r#""scripts":{"start":"node --enable-source-maps dist/x.js"}"#,
            &[][..],
            "/usr/bin/node --enable-source-maps dist/x.js",
        ),
        (r#""scripts":{"start":"NODE_ENV=production node x.js"}"#, &[], "/usr/bin/npm start"),
        (r#""scripts":{"start":"node x.js","prestart":"tsc"}"#, &[], "/usr/bin/npm start"),
        (r#""scripts":{"start":"tsx x.ts"}"#, &[], "/usr/bin/npm start"),
        (r#""scripts":{"start":"node x.js && y"}"#, &[], "/usr/bin/npm start"),
        (r#""main":"./lib/x.js""#, &["lib/x.js", "index.js"], "/usr/bin/node lib/x.js"),
        (r#""main":"gone.js""#, &["server.js", "app.js"], "/usr/bin/node server.js"),
        (r#""scripts":{"start":"x"}"#, &["Procfile=web: node a.js"], "/usr/bin/node a.js"),
        (
            r#""scripts":{"start":"x"}"#,
            &["Procfile=web: remix serve"],
            "node_modules/.bin/remix serve",
        ),
    ] {
        let package = format!("package.json={{{package}}}");
        let entries: Vec<&str> = entries.iter().copied().chain([package.as_str()]).collect();
        assert_eq!(web(&of(&entries)), start, "{entries:?}");
    }
    let express =
        "package.json={\"scripts\":{\"build\":\"tsc\"},\"dependencies\":{\"express\":\"5\"}}";
    let error = with(&[express], "", None, None, ALL_TOOLS).unwrap_err();
    assert_eq!(error.code, "start_unknown");
    let error = with(&["package.json={"], "", None, None, ALL_TOOLS).unwrap_err();
    assert_eq!(error.code, "bad_package_json");
}

#[test]
fn what_runs_later_is_not_pruned() {
    let package = |start: &str| {
        format!(
            "package.json={{\"scripts\":{{\"build\":\"tsc\",\"start\":\"{start}\"}},\
             \"devDependencies\":{{\"prisma\":\"6\",\"tsx\":\"4\"}}}}"
        )
    };
    let prune = "/usr/bin/npm prune --omit=dev --no-audit --no-fund";
    let recipe = of(&[&package("node a.js"), "package-lock.json"]);
    assert_eq!(steps_of(&recipe)[1..], ["/usr/bin/npm run build", prune]);
    let recipe = of(&[&package("tsx a.ts"), "package-lock.json"]);
    assert_eq!(steps_of(&recipe)[1..], ["/usr/bin/npm run build"]);
    let prisma = ["prisma/schema.prisma", "prisma/migrations/migration_lock.toml"];
    let recipe = of(&[&package("node a.js"), prisma[0], prisma[1]]);
    assert_eq!(steps_of(&recipe).len(), 2);
    assert!(recipe.notes.iter().any(|note| note.starts_with("`prisma` runs later")));
}

#[test]
fn next_starts_as_it_was_built() {
    let next = |scripts: &str| {
        format!("package.json={{\"scripts\":{{{scripts}}},\"dependencies\":{{\"next\":\"15\"}}}}")
    };
    let plain = of(&[&next("\"start\":\"next start\"")]);
    assert_eq!(web(&plain), "node_modules/.bin/next start -H 127.0.0.1 -p $PORT");
    assert_eq!(steps_of(&plain).last().unwrap(), "node_modules/.bin/next build");
    assert_eq!(web(&of(&[&next("\"start\":\"node server.js\"")])), "/usr/bin/node server.js");
    let entries = [next("\"start\":\"next start\"")];
    let node = with(&[&entries[0]], "", Some(Runtime::Node), None, ALL_TOOLS).unwrap();
    assert_eq!(web(&node), "/usr/bin/npm start");
}

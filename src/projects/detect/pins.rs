//! Dependencies that are the same whenever they are installed, because each is pinned.

use sha2::{Digest, Sha256};

use super::{BuildStep, Tree, package::Package};
use crate::projects::manifest::{self, Build};

/// Scripts of a tree's own that an installation runs: they may do anything.
const AT_INSTALLATION: &[&str] =
    &["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];

/// A digest of all that an installation by pip depends on, if each requirement names its version:
/// where it is the same, what was installed before would be installed again.
///
/// `whole` is the tree that `tree` is a part of.
pub(super) fn digest(
    tree: &Tree,
    whole: &Tree,
    steps: &[BuildStep],
    build: &Build,
) -> Option<String> {
    let installs: Vec<&BuildStep> = steps.iter().filter(|step| step.fills_venv).collect();
    let [venv, pip] = installs[..] else { return None };
    let is_pip = pip.command.ends_with(&["--requirement".into(), "requirements.txt".into()]);
    let text = tree.text("requirements.txt");
    if venv.title != "venv" || !is_pip || !logical(text).iter().all(|line| is_pinned(line)) {
        return None;
    }
    let constraints = build.constraints.as_ref().map_or("", |file| whole.text(file));
    // What a file names that is not looked at may be another each day.
    let is_whole = logical(constraints).iter().all(|line| !line.starts_with('-'));
    if !is_whole || !build.packages.iter().all(|package| manifest::is_pinned(package)) {
        return None;
    }
    let mut sum = Sha256::new();
    for line in logical(text).iter().chain(&logical(constraints)) {
        sum.update(line.as_bytes());
        sum.update(b"\n");
    }
    for (key, value) in &build.environment {
        sum.update(format!("{key}={value}\0"));
    }
    // What builds may change what was installed.
    for word in steps.iter().flat_map(|step| &step.command) {
        sum.update(word.as_bytes());
        sum.update(b"\0");
    }
    Some(data_encoding::HEXLOWER.encode(&sum.finalize()))
}

/// A digest of all that `npm ci` depends on, if the lock file and what stands beside it decide alone:
/// no script of the tree's own, and no package that is a directory of it.
pub(super) fn of_npm(tree: &Tree, package: &Package, step: &BuildStep) -> Option<String> {
    let is_ci = step.command.iter().any(|word| word == "ci") && step.needs.contains(&"npm");
    let has_scripts = AT_INSTALLATION.iter().any(|name| package.script(name).is_some());
    let lock = tree.text("package-lock.json");
    let parsed: serde_json::Value = serde_json::from_str(lock).ok()?;
    let packages = parsed.get("packages")?.as_object()?;
    let is_fetched = |one: &serde_json::Value| {
        let from = one.get("resolved").map(|from| from.as_str().unwrap_or_default());
        one.get("link").is_none() && from.is_none_or(|from| from.starts_with("http"))
    };
    let others = packages.iter().filter(|(at, _)| !at.is_empty());
    let all_are = others.clone().all(|(at, one)| at.contains("node_modules/") && is_fetched(one));
    if !is_ci || has_scripts || !all_are || tree.has("npm-shrinkwrap.json") {
        return None;
    }
    let mut sum = Sha256::new();
    let environment = step.environment.iter().flat_map(|(key, value)| [key, value]);
    let texts = ["package.json", ".npmrc"].map(|name| tree.text(name));
    let words = step.command.iter().chain(environment).map(String::as_str);
    for part in words.chain(texts).chain([lock]) {
        sum.update(part.len().to_le_bytes());
        sum.update(part.as_bytes());
    }
    Some(data_encoding::HEXLOWER.encode(&sum.finalize()))
}

/// Lines as pip reads them: without comments, and put together where they go on.
fn logical(text: &str) -> Vec<String> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let code = |line: &str| {
        let line = if line.trim_start().starts_with('#') { "" } else { line };
        line.split(" #").next().unwrap_or_default().trim().to_owned()
    };
    joined.lines().map(code).filter(|line| !line.is_empty()).collect()
}

/// `name==1.2` or `name[extra]==1.2 ; marker --hash=…`, and nothing that another day may be other.
fn is_pinned(line: &str) -> bool {
    let (what, hashes) = line.split_once(" --hash=").unwrap_or((line, ""));
    let requirement = what.split(';').next().unwrap_or_default().trim();
    let Some((name, version)) = requirement.split_once("==") else { return false };
    let name = name.trim().split('[').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let exact = |c: char| c.is_ascii_alphanumeric() || "-_.+!".contains(c);
    !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with('-')
        && !version.trim().is_empty()
        && version.trim().chars().all(exact)
        && !hashes.split_whitespace().skip(1).any(|word| !word.starts_with("--hash="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_its_version_is_pinned() {
        for line in [
            "fastapi==0.165.0",
            "uvicorn[standard]==0.40.1",
            "psycopg-binary==3.3.9 ; implementation_name != 'pypy'",
            "idna == 3.20",
            "h11==0.16.0 --hash=sha256:aa --hash=sha256:bb",
        ] {
            assert!(is_pinned(line), "{line}");
        }
        for line in [
            "fastapi",
            "fastapi>=0.1",
            "fastapi==0.*",
            "fastapi===weird 1",
            "fastapi==1,!=1.2",
            "-e .",
            "-r other.txt",
            "--index-url=https://x/==1",
            "./local",
            "thing @ git+https://forge.example/thing",
            "git+https://forge.example/x@v==1",
            "a==1 --hash=sha256:aa --global-option=x",
        ] {
            assert!(!is_pinned(line), "{line}");
        }
    }

    #[test]
    fn lines_go_on_and_comments_do_not_count() {
        let text = "# made by a tool\nh11==0.16.0 \\\n    --hash=sha256:aa\n\nidna==3.20  # for requests\n";
        assert_eq!(logical(text), ["h11==0.16.0      --hash=sha256:aa", "idna==3.20"]);
    }
}

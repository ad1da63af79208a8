//! The house rules that a program can hold: who may use whom, and how long a file may be.

#![expect(clippy::unwrap_used, reason = "a test may end where it can't go on")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up. A module may use those of a lower row only, and itself.
const LAYERS: &[&[&str]] = &[
    &["error"],
    &["envfile", "names", "secret"],
    &["caller", "config", "release"],
    &["archive", "sys", "templates"],
    &["registry", "steps"],
    &["journal"],
    &["plan"],
    &["projects"],
    &["ui"],
    &["commands"],
];

/// Who may not use a lower row all the same: `projects` decides and does not look, and the
/// registry does not know the host.
const STRANGERS: &[(&str, &str)] = &[("projects", "sys"), ("registry", "sys")];

const LONGEST_FILE: usize = 500;

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

fn module(path: &Path) -> String {
    let below = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

fn height(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|row| row.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer"))
}

/// Modules named after `crate::`, also in a list in braces.
fn used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let mut used = Vec::new();
    for after in code.split("crate::").skip(1) {
        if let Some(list) = after.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.push(std::mem::take(&mut item)),
                    c if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            used.push(item);
        } else {
            used.push(after.to_owned());
        }
    }
    used.iter()
        .map(|item| {
            item.trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or("")
                .to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn modules_use_only_those_below() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "main" || module == "lib" {
            continue;
        }
        for used in used(&text) {
            let is_stranger = STRANGERS.contains(&(module.as_str(), used.as_str()));
            if used != module && (is_stranger || height(&used) >= height(&module)) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rule_sees_what_is_used() {
    let text = "use crate::{\n    error::{Error, Result},\n    names::X,\n};\nfn f() -> crate::plan::Y {}\n";
    assert_eq!(used(text), ["error", "names", "plan"]);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > LONGEST_FILE)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn what_is_pure_asks_nothing_of_the_host() {
    for (path, text) in sources() {
        if module(&path) == "projects" {
            let code = text.split("#[cfg(test)]").next().unwrap();
            for forbidden in ["std::fs", "std::process", "std::env", "std::net", "Timestamp::now"] {
                assert!(!code.contains(forbidden), "{} uses {forbidden}", path.display());
            }
        }
    }
}

//! What restic could not read, and whether that is because somebody moved it meanwhile.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::list::{lines, unescaped};

/// The kernel's numbers for what is not there any more, or something else by now.
const GONE: [i64; 3] = [2, 20, 40];

#[derive(Deserialize)]
struct Told {
    message_type: String,
    #[serde(default)]
    during: String,
    #[serde(default)]
    item: String,
    #[serde(default)]
    error: serde_json::Value,
}

/// The paths that it could not read and may have gone, from what it says; or what else was wrong.
pub fn missed(said: &str) -> Result<Vec<String>, Vec<String>> {
    let is_talk = |line: &&str| line.starts_with("Warning: at least one source file");
    let (mut missed, mut wrong) = (Vec::new(), Vec::new());
    for line in said.lines().filter(|line| !line.trim().is_empty() && !is_talk(line)) {
        let told = serde_json::from_str::<Told>(line).ok();
        match told.filter(|told| told.message_type == "error") {
            // What it only counts beforehand is not kept yet.
            Some(told) if told.during == "scan" => {}
            Some(told) if may_be_gone(&told) => missed.push(told.item),
            _ => wrong.push(line.trim().to_owned()),
        }
    }
    if wrong.is_empty() { Ok(missed) } else { Err(wrong) }
}

/// Errors that restic wraps come as `{}`. A name that is no text comes mangled: nobody could find it.
fn may_be_gone(told: &Told) -> bool {
    let says_nothing = told.error.as_object().is_some_and(serde_json::Map::is_empty);
    let is_gone = told.error["Err"].as_i64().is_some_and(|number| GONE.contains(&number));
    (says_nothing || is_gone) && !told.item.contains('\u{fffd}')
}

/// What was missed, by the names of the lists: each of it, or a directory above it, was not the same
/// before and after. One that nobody touched should have been read, and is the error.
pub fn excused(
    missed: &[String],
    (before, after): (&str, &str),
    trees: &[(String, PathBuf)],
) -> Result<Vec<Vec<u8>>, String> {
    if missed.is_empty() {
        return Ok(Vec::new());
    }
    let first: HashSet<&str> = before.lines().collect();
    let stayed: HashSet<Vec<u8>> = lines(after)
        .filter(|(_, line)| first.contains(line.whole))
        .map(|(path, _)| unescaped(path))
        .collect();
    let mut excused = Vec::new();
    for item in missed {
        let below = |(label, dir): &(String, PathBuf)| {
            let rest = Path::new(item).strip_prefix(dir).ok()?.to_str()?;
            (!rest.is_empty()).then(|| (label.len(), format!("{label}/{rest}").into_bytes()))
        };
        let Some((label, path)) = trees.iter().find_map(below) else { return Err(item.clone()) };
        let ends = path.iter().enumerate().filter(|(i, byte)| *i > label && **byte == b'/');
        let mut ways = ends.map(|(i, _)| i).chain([path.len()]);
        if ways.all(|end| stayed.contains(&path[..end])) {
            return Err(item.clone());
        }
        excused.push(path);
    }
    Ok(excused)
}

/// A list without what was missed and all below it; how many lines less.
pub fn without(list: &str, missed: &[Vec<u8>]) -> (String, u64) {
    if missed.is_empty() {
        return (list.to_owned(), 0);
    }
    let (mut left, mut less) = (String::new(), 0);
    for (path, line) in lines(list) {
        let path = unescaped(path);
        let is_in = |above: &Vec<u8>| {
            path.strip_prefix(&**above).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        };
        if missed.iter().any(is_in) {
            less += 1;
        } else {
            left.push_str(line.whole);
            left.push('\n');
        }
    }
    (left, less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees() -> Vec<(String, PathBuf)> {
        vec![("shared".to_owned(), PathBuf::from("/home/shop/shared"))]
    }

    #[test]
    fn what_restic_says_is_told_apart() {
        let line = |error: &str, during: &str, item: &str| {
            format!(
                "{{\"message_type\":\"error\",\"error\":{error},\"during\":\"{during}\",\"item\":\"{item}\"}}\n"
            )
        };
        let said = line("{}", "archival", "/a") + &line("{\"Op\":\"open\",\"Err\":40}", "", "/b");
        let talk = "Warning: at least one source file could not be read\n";
        let scan = line("{\"Err\":5}", "scan", "/c");
        assert_eq!(missed(&(said + talk + &scan)).unwrap(), ["/a", "/b"]);
        for wrong in [
            line("{\"Op\":\"read\",\"Err\":5}", "archival", "/no such file or directory/x"),
            line("{}", "archival", "/not\u{fffd}text"),
            "Fatal: wrong password\n".to_owned(),
        ] {
            assert!(missed(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_moved_is_excused() {
        let before =
            "d - 0 5 6.0 7 shared/a\nf aa 1 5 6.0 8 shared/a/x\\x20y\nf aa 1 5 6.0 9 shared/b\n";
        let item = |name: &str| [format!("/home/shop/shared/{name}")];
        // Nothing moved: whatever it was, it was there.
        assert!(excused(&item("a/x y"), (before, before), &trees()).is_err());
        assert!(excused(&item("b"), (before, before), &trees()).is_err());
        // The directory above was moved away and back; the file is the same.
        let after = before.replace("6.0 7", "6.1 7");
        let gone = excused(&item("a/x y"), (before, &after), &trees()).unwrap();
        assert_eq!(gone, [b"shared/a/x y".to_vec()]);
        assert!(excused(&item("b"), (before, &after), &trees()).is_err());
        // It came and went between the two.
        assert!(excused(&item("c"), (before, before), &trees()).is_ok());
        for elsewhere in ["/home/shop/shared", "/home/other/x"] {
            assert!(excused(&[elsewhere.to_owned()], (before, &after), &trees()).is_err());
        }
        let (left, less) = without(before, &[b"shared/a".to_vec()]);
        assert_eq!((left.as_str(), less), ("f aa 1 5 6.0 9 shared/b\n", 2));
    }
}

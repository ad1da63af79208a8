//! Lists of files: before and after they were kept, and of what came back.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
};

use serde::Serialize;

/// What a comparison found. Names of a few stand for all.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Compared {
    pub files: u64,
    /// Not the same, or not there.
    pub wrong: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

const EXAMPLES: usize = 5;

pub(super) struct Line<'a> {
    pub(super) whole: &'a str,
    kind: &'a str,
    hash: &'a str,
}

/// What nobody changed while it was kept: the lines of both lists, with the time of the last notice
/// of each file, which nobody can set back. And how many others there were.
pub fn witnessed(before: &str, after: &str) -> (String, u64) {
    let is_content = |line: &&str| line.starts_with("f ") || line.starts_with("l ");
    let first: BTreeSet<&str> = before.lines().filter(is_content).collect();
    let mut both = String::new();
    let (mut count, mut last) = (0, 0);
    for line in after.lines().filter(is_content) {
        last += 1;
        if first.contains(line) {
            count += 1;
            both.push_str(line);
            both.push('\n');
        }
    }
    let changed = (first.len() - count).max(last - count);
    (both, changed as u64)
}

/// What holds nothing to keep, as patterns of restic's: pipes, sockets and devices, by the path of
/// each tree. One whose name is no line can't be named, and comes back as an empty file.
pub fn unkept<'a>(list: &str, trees: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let trees: BTreeMap<&str, String> = trees.into_iter().collect();
    let mut patterns = Vec::new();
    let others = lines(list).filter(|(_, line)| line.kind == "o");
    for (path, _) in others {
        let Some((label, below)) = path.split_once('/') else { continue };
        let (Some(tree), below) = (trees.get(label), unescaped(below)) else { continue };
        if below.contains(&b'\n') || below.contains(&b'\r') {
            continue;
        }
        for byte in tree.bytes().chain(*b"/").chain(below) {
            match byte {
                b'*' | b'?' | b'[' | b']' | b'\\' => patterns.extend([b'\\', byte]),
                b'$' => patterns.extend(*b"$$"),
                _ => patterns.push(byte),
            }
        }
        patterns.push(b'\n');
    }
    patterns
}

/// Links of a tree to what is no text, which restic does not keep: their paths, and where they lead.
pub fn odd_links(list: &str, label: &str) -> Vec<(PathBuf, OsString)> {
    let below = format!("{label}/");
    lines(list)
        .filter(|(_, line)| line.kind == "l")
        .filter_map(|(path, line)| {
            let (_, target) = line.hash.split_once('=')?;
            let bytes = [path.strip_prefix(&below)?, target].map(unescaped);
            let [path, target] = bytes.map(OsString::from_vec);
            Some((path.into(), target))
        })
        .collect()
}

/// A name as it is, of one that was put on a line: `\x0a` is a byte.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .get(1..3)
            .filter(|_| *first == b'\\')
            .and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        if let Some(byte) = code {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Compares what came back with what was witnessed.
pub fn compare(kept: &str, back: &str) -> Compared {
    let back: BTreeMap<&str, Line<'_>> = lines(back).collect();
    let mut found = Compared::default();
    for (path, was) in lines(kept) {
        found.files += 1;
        let wrong = match back.get(path) {
            None => "is not there",
            Some(is) if is.kind != was.kind => "is something else",
            Some(is) if is.hash != was.hash => "holds something else",
            Some(_) => continue,
        };
        found.wrong += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(format!("{path} {wrong}"));
        }
    }
    found
}

/// `kind hash size changed noticed inode path`
pub(super) fn lines(text: &str) -> impl Iterator<Item = (&str, Line<'_>)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.splitn(7, ' ');
        let (kind, hash) = (words.next()?, words.next()?);
        Some((words.nth(4)?, Line { whole: line, kind, hash }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "f aa 1 5.0 6.0 7 shared/a\nd - 0 5.0 6.0 8 shared/d\nl bb 3 5.0 6.0 9 shared/l\n";

    #[test]
    fn only_what_stayed_is_witnessed() {
        let (both, changed) = witnessed(LIST, LIST);
        assert_eq!((both.lines().count(), changed), (2, 0));
        // The same size and the same time of change, which a program can set; not the notice.
        let (both, changed) = witnessed(LIST, &LIST.replace("6.0 7", "6.1 7"));
        assert_eq!((both.lines().count(), changed), (1, 1));
        let more = format!("{LIST}f cc 1 5.0 6.0 7 shared/new\n");
        assert_eq!(witnessed(LIST, &more).1, 1);
        assert_eq!(witnessed(&more, LIST).1, 1);
    }

    #[test]
    fn pipes_are_named_so_that_restic_leaves_them() {
        let list = "o - 0 5.0 6.0 7 shared/a\\x20b\no - 0 5.0 6.0 7 shared/*$x\no - 0 5 6 7 shared/new\\x0aline\nf - 0 5 6 7 shared/f\n";
        let patterns = unkept(list, [("shared", "/home/shop/shared".to_owned())]);
        let text = String::from_utf8(patterns).unwrap();
        assert_eq!(text, "/home/shop/shared/a b\n/home/shop/shared/\\*$$x\n");
    }

    #[test]
    fn links_to_what_is_no_text_are_told() {
        let list = "l aa=\\xff/\\x20 3 5 6 7 shared/a\\x20b/l\nl bb 3 5 6 7 shared/m\nl cc=\\xfe 3 5 6 7 release/n\nf dd=\\xff 3 5 6 7 shared/f\n";
        let odd = odd_links(list, "shared");
        assert_eq!(odd, [("a b/l".into(), OsString::from_vec(b"\xff/ ".to_vec()))]);
        assert_eq!(odd_links(list, "release").len(), 1);
    }

    #[test]
    fn what_differs_is_found() {
        let (kept, _) = witnessed(LIST, LIST);
        assert_eq!(compare(&kept, LIST), Compared { files: 2, ..Compared::default() });
        // Another time of the last notice, another inode: it was written anew.
        assert_eq!(compare(&kept, &LIST.replace("6.0 7", "9.9 1")).wrong, 0);
        let found = compare(&kept, &LIST.replace("aa", "ab"));
        assert_eq!((found.wrong, found.examples.len()), (1, 1));
        assert!(found.examples[0].contains("shared/a holds"));
        assert_eq!(compare(&kept, "").wrong, 2);
        assert_eq!(compare(&kept, &LIST.replace("l bb", "f bb")).wrong, 1);
    }
}

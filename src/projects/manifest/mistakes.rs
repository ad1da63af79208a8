//! All that is wrong with a manifest, and not the first of it alone.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{LONGEST, document, plain, read, reader};
use crate::error::Error;

/// Nobody reads more.
const MOST: usize = 50;

/// Every mistake of a manifest in the order of the text.
///
/// The reader stops at the first. So what that is about is taken out of the parsed document, whose
/// other parts keep their places, and the rest is read again.
pub fn mistakes(text: &str) -> Vec<Error> {
    let text = plain(text);
    if text.len() <= LONGEST {
        let (_, errors) = DeTable::parse_recoverable(text);
        if errors.len() > 1 {
            return errors.iter().take(MOST).map(|error| reader::no_toml(text, error)).collect();
        }
    }
    let mut document = match document(text) {
        Ok(document) => document,
        Err(error) => return vec![error],
    };
    let mut found: Vec<Error> = Vec::new();
    let mut gone: Vec<Vec<String>> = Vec::new();
    while found.len() < MOST
        && let Err(error) = read(text, &document)
    {
        let path = error.place.and_then(|place| deepest(&document, offset(text, place)));
        let Some(path) = path else {
            found.push(error);
            break;
        };
        // What is said of a table that was taken apart here may be our own doing.
        if !gone.iter().any(|gone| gone.starts_with(&path)) {
            found.push(error);
        }
        remove(&mut document, &path);
        gone.push(path);
    }
    found.sort_by_key(|error| error.place);
    found
}

fn offset(text: &str, (line, column): (u32, u32)) -> usize {
    let start: usize =
        text.split_inclusive('\n').take((line as usize).saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth((column as usize).saturating_sub(1)).map_or(0, |(at, _)| at)
}

/// The entry that a place of the text belongs to: the names that lead there.
fn deepest(table: &DeTable<'_>, at: usize) -> Option<Vec<String>> {
    let covers = |span: Range<usize>| span.contains(&at) || span.start == at;
    let mut best: Option<Vec<String>> = None;
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let below = value.get_ref().as_table().and_then(|table| deepest(table, at));
        let path = match below {
            Some(rest) => std::iter::once(name).chain(rest).collect(),
            None if covers(key.span()) || covers(value.span()) => vec![name],
            None => continue,
        };
        if best.as_ref().is_none_or(|best| best.len() < path.len()) {
            best = Some(path);
        }
    }
    best
}

fn remove(table: &mut DeTable<'_>, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(table.remove(last.as_str())),
        [first, rest @ ..] => {
            let inner = table.get_mut(first.as_str()).map(Spanned::get_mut);
            if let Some(DeValue::Table(inner)) = inner {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::parse_manifest, *};

    fn places(text: &str) -> Vec<(u32, u32, String)> {
        let of = |error: Error| {
            let (line, column) = error.place.unwrap_or_default();
            (line, column, error.cause.unwrap_or(error.message))
        };
        mistakes(text).into_iter().map(of).collect()
    }

    #[test]
    fn each_mistake_is_told_once_in_the_order_of_the_text() {
        let text = "[projct]\n\
            [build]\n\
            stpes = []\n\
            timeout = 0\n\
            [process.web]\n\
            comand = \"a\"\n\
            directory = \"../x\"\n\
            [process.other]\n\
            command = \"a && b\"\n\
            when = \"now\"\n\
            [process.third]\n\
            directory = \"x\"\n\
            [env]\n\
            PORT = \"1\"\n\
            A = 5\n";
        let told = places(text);
        let lines: Vec<u32> = told.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 6, 7, 9, 10, 11, 14, 15], "{told:#?}");
        assert_eq!(told[1], (3, 1, "there is no key `build.stpes`".into()));
        assert_eq!(told[5].1, 11);
        assert!(told[7].2.contains("the process `third` has no command"), "{told:#?}");
    }

    #[test]
    fn a_table_that_lost_its_mistake_is_not_blamed_for_that() {
        assert_eq!(places("[process.web]\ncommand = \"a && b\"\n").len(), 1);
        assert_eq!(places("[process.web]\ncommand = \"x\"\nhealth = { path = \"x\" }\n").len(), 1);
        assert_eq!(places("[env.generate]\nA = { kind = \"x\" }\n").len(), 1);
        assert!(mistakes("[process.web]\ncommand = \"a/b\"\n").is_empty());
    }

    #[test]
    fn what_is_no_toml_is_told_as_far_as_it_goes() {
        let told = places("[build]\nsteps = [\n[deploy]\nwatch = = 3\n");
        assert!(!told.is_empty());
        assert!(told.iter().all(|(line, ..)| *line > 0), "{told:?}");
        assert_eq!(places(&"#".repeat(LONGEST + 1)).len(), 1);
    }

    proptest! {
        #[test]
        fn there_are_none_exactly_where_it_can_be_used(
            text in "(\\[(build|project|env|process\\.web|env\\.generate)\\]\n(steps|timeout|command|A|kind|runtime) = (\"x\"|1|true|\\[\\]|\\{ kind = \"hex\" \\}|)\n){0,4}",
        ) {
            let all = mistakes(&text);
            prop_assert_eq!(all.is_empty(), parse_manifest(&text).is_ok(), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,120}|[\\[\\]a-z=\"'{}., \n0-9\\\\#]{0,120}") {
            let _ = mistakes(&text);
        }
    }
}

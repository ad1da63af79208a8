//! Any request is refused, or is a command of words that hold nothing but what was sent.
#![no_main]

use hostkit::projects::parse_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let project = "my-shop".parse().expect("a name");
    let Ok(words) = parse_request(line, &project) else { return };
    assert!(!words.is_empty());
    let mut quote = None;
    let outside = |c: char, quote: &mut Option<char>| match *quote {
        Some(q) if c == q => {
            *quote = None;
            false
        }
        None if matches!(c, '"' | '\'') => {
            *quote = Some(c);
            false
        }
        other => other.is_none(),
    };
    for c in line.chars() {
        assert!(!c.is_control(), "{c:?}");
        assert!(!(outside(c, &mut quote) && ";&|<>`$\\(){}*?~#!".contains(c)), "{c}");
    }
    assert!(quote.is_none());
    let sent: usize = line.chars().count();
    assert!(words.iter().map(|word| word.chars().count()).sum::<usize>() <= sent);
});

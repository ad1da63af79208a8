//! Any text is read or refused; what was read survives being changed and written.
#![no_main]

use hostkit::envfile::EnvFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(mut file) = EnvFile::parse(text) else { return };
    let read: Vec<(String, String)> =
        file.variables().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let again = EnvFile::parse(&file.to_string()).expect("what was read can be written");
    assert_eq!(again.to_string(), file.to_string());
    let last = |key: &str| file.get(key).map(str::to_owned);
    for (key, _) in &read {
        assert_eq!(again.get(key).map(str::to_owned), last(key), "{key}");
    }
    // Any value can be set, and touches no other.
    let others: Vec<(String, Option<String>)> = read
        .iter()
        .filter(|(key, _)| key != "FUZZ")
        .map(|(key, _)| (key.clone(), last(key)))
        .collect();
    if file.set("FUZZ", text).is_err() {
        return;
    }
    let changed = EnvFile::parse(&file.to_string()).expect("what was set can be read");
    assert_eq!(changed.get("FUZZ"), Some(text));
    for (key, value) in others {
        assert_eq!(changed.get(&key).map(str::to_owned), value, "{key}");
    }
    assert!(file.unset("FUZZ"));
});

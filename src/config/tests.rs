use super::*;

#[test]
fn the_commented_file_shows_the_defaults() {
    assert_eq!(Config::parse(COMMENTED).unwrap(), Config::default());
    let keys: Vec<String> = COMMENTED
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(Config::parse(&keys.concat()).unwrap(), Config::default());
    assert_eq!(
        keys.iter().filter(|l| l.contains(" = ") && !l.starts_with('#')).count(),
        Config::default().keys().len()
    );
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    let error = Config::parse("[ports]\nfrist = 9000\n").unwrap_err();
    assert_eq!(error.cause.as_deref(), Some("there is no key `ports.frist`"));
    assert_eq!(error.hint.as_deref(), Some("did you mean `ports.first`?"));
}

#[test]
fn a_wrong_value_names_its_line() {
    for (text, cause) in [
        ("[limits]\nmemory = \"lots\"\n", "line 2: `lots` is no size like `512M`"),
        ("base_domain = \"a b\"\n", "line 1: `a b` is no domain"),
        ("[ports]\nfirst = \n", "line 2: "),
        ("[ports]\nfirst = 9500\n", "`ports` wants"),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert!(error.cause.as_ref().unwrap().starts_with(cause), "{text}: {error}");
    }
}

#[test]
fn sizes_and_waits_read_back_as_they_are_written() {
    for text in ["512M", "2G", "100K", "0", "77"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    assert_eq!("2m".parse::<Wait>().unwrap().0.as_secs(), 120);
    assert_eq!("90".parse::<Wait>().unwrap().to_string(), "90s");
}

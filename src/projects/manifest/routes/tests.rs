use proptest::prelude::*;

use super::super::parse_manifest;
use crate::release::{Answer, Route};

fn routes(text: &str) -> Vec<Route> {
    parse_manifest(&format!("[routes]\n{text}")).unwrap().routes
}

#[test]
fn a_route_says_all_this() {
    let text = r#"
        "/"        = { static = "frontend/dist/", spa = true }
        "/api/"    = { process = "web", strip = true, timeout = "300s", body = "10M", buffering = false }
        "/ws/"     = { process = "web", websocket = true, timeout = "1h" }
        "/assets/" = { static = "./frontend/dist/assets", cache = "1y" }
        "/old"     = { redirect = "/new", status = 301 }
        "/.well-known/security.txt" = { static = "security.txt", cache = "90m" }
    "#;
    insta::assert_debug_snapshot!("routes", routes(text));
}

#[test]
fn a_table_of_its_own_will_do() {
    let inline = routes("\"/api/\" = { process = \"web\", strip = true }");
    let table = parse_manifest("[routes.\"/api/\"]\nprocess = \"web\"\nstrip = true\n").unwrap();
    assert_eq!(table.routes, inline);
}

/// What it says of a table `[routes]` that holds this.
fn refused(text: &str, cause: &str, hint: &str) {
    let error = parse_manifest(&format!("[routes]\n{text}\n")).unwrap_err();
    assert_eq!(error.code, "bad_manifest", "{text}");
    assert!(error.message.contains("line 2") || error.message.contains("line 3"), "{error}");
    assert!(error.cause.as_ref().unwrap().contains(cause), "{text}: {error}");
    let told = error.hint.as_deref().unwrap_or_default();
    assert!(told.contains(hint), "{text}: {told}");
}

#[test]
fn a_path_means_nothing_to_nginx() {
    let odd = [
        "api/",
        "",
        "//",
        "/a//b",
        "/a/../b",
        "/..",
        "/../",
        "/./",
        "/a/.",
        "/.git/",
        "/a/.env",
        "/a b",
        "/a;b",
        "/a{b",
        "/a}b",
        "/a$b",
        "/a'b",
        "/a\\\\b",
        "/a\\\"b",
        "/a#b",
        "/a?b",
        "/a%2Fb",
        "/a*",
        "/a^b",
        "/a(b",
        "/a|b",
        "/~a",
        "/a\\nb",
        "/a\\u0000",
        "/a\\u007f",
        "/ä",
        "/a\\tb",
        "/a&b",
        "/a=b",
        "/a:b",
        "/a,b",
        "/a\\r\\n}",
        "/.well-known2/",
        "/a/.well-known/",
    ];
    let long = format!("/{}", "a".repeat(200));
    for path in odd.into_iter().chain([long.as_str()]) {
        let text = format!("\"{path}\" = {{ process = \"web\" }}");
        refused(&text, "is no path of a route", "one begins with `/`");
    }
    for path in ["hostkit-site", "acme-challenge/", "hostkit-site/x"] {
        let text = format!("\"/.well-known/{path}\" = {{ process = \"web\" }}");
        refused(&text, "is answered by hostkit itself", "another path");
    }
}

#[test]
fn nothing_is_sent_that_is_not_for_visitors() {
    let files = |at: &str| format!("\"/\" = {{ static = \"{at}\" }}");
    for at in [
        "/etc", "../x", "a/../b", "a;b", "a b", "a$b", "a{", "a\\\\b", "a\\nb", "a//b", "-x",
        "a\\\"b",
    ] {
        refused(&files(at), "is no path below the release", "");
    }
    for at in [".", "", "./"] {
        refused(&files(at), "`.` is all of the release", "static = \"public\"");
    }
    for at in ["a/.git", "venv/lib"] {
        refused(&files(at), "is not for visitors", "");
    }
    let with = |more: &str, at: &str| format!("{}\n[project]\n{more}", files(at));
    refused(&with("shared = [\"dist/up\"]", "dist"), "`dist` holds `dist/up`", "\"dist/up\"");
    refused(&with("shared = [\"up\"]", "up/a"), "`up/a` lies in `up`", "shared = [\"up/a\"]");
    refused(&with("public = \"b\"", "a"), "do not go together", "\"b\"");
    refused(&with("runtime = \"php\"", "a"), "php-fpm is no process", "leave out");
    let page = "\"/up\" = { static = \"up\" }\n[project]\nshared = [\"up\"]";
    refused(page, "`up` is a directory, and `/up` one page", "\"/up/\"");
}

#[test]
fn nobody_is_sent_to_where_he_comes_from() {
    let sent = |to: &str| format!("\"/a\" = {{ redirect = \"{to}\" }}");
    for to in [
        "//x",
        "https://a b/",
        "https:///x",
        "javascript:1",
        "https://x.org/a;b",
        "/a$1",
        "/a b",
        "x",
        "",
    ] {
        refused(&sent(to), "is nowhere to send anybody", "https://example.com/");
    }
    refused(&sent("/a"), "would send visitors back to itself", "");
    let below = "\"/a/\" = { redirect = \"/a/b\" }";
    refused(below, "would send visitors back to itself", "");
    let fine = "\"/a\" = { redirect = \"/b\", status = 200 }";
    refused(fine, "200 sends nobody anywhere", "301");
}

/// What stands after `"/api/" = { process = "web", `.
const WRONG: &[(&str, &str, &str)] = &[
    ("static = \"x\" }", "has a process and a static", ""),
    ("stirp = true }", "there is no key `routes./api/.stirp`", "`routes./api/.strip`?"),
    ("spa = true }", "`spa` is for a route with a static", ""),
    ("strip = 1 }", "`routes./api/.strip` wants true or false", ""),
    ("timeout = \"25h\" }", "wants whole seconds from 1 to 86400", ""),
    ("timeout = 0 }", "wants whole seconds from 1 to 86400", ""),
    ("body = \"lots\" }", "`lots` is no size", ""),
    ("body = \"0\" }", "`body` wants 1K to 64G", ""),
    ("}\n'/api/' = { process = \"web\" }", "duplicate key", ""),
];

/// Whole routes.
const WRONG_ONES: &[(&str, &str, &str)] = &[
    ("\"/a\" = \"web\"", "the route `/a` wants a table", "{ process = \"web\" }"),
    ("\"/a\" = {}", "nothing says what answers for `/a`", "one of static"),
    ("\"/a\" = { cache = \"1y\" }", "nothing says what answers for `/a`", ""),
    ("\"/\" = { process = \"web\", strip = true }", "`strip` takes away", "\"/api/\""),
    ("\"/a\" = { process = \"web\", strip = true }", "`strip` takes away", ""),
    ("\"/a\" = { process = \"wep\" }", "there is no process `wep`", "`web`?"),
    ("\"/a\" = { process = \"shop\" }", "there is no process `shop`", "only `web`"),
    (
        "\"/a\" = { process = \"m\" }\n[process.m]\ncommand = \"a/b\"",
        "`m` has no port",
        "only `web`",
    ),
    ("\"/a\" = { static = \"a\", spa = true }", "`/a` is one page", "\"/a/\""),
    ("\"/a/\" = { static = \"a\", cache = \"0s\" }", "from 1s to 10y", ""),
    ("\"/a/\" = { static = \"a\", cache = \"11y\" }", "from 1s to 10y", ""),
    ("\"/a/\" = { static = \"a\", cache = \"99999999999999999999y\" }", "is no length", ""),
    ("\"/a/\" = { static = \"a\" }\n\"/a/\" = { static = \"b\" }", "duplicate key", ""),
];

#[test]
fn what_is_wrong_with_a_route_is_told() {
    for (text, cause, hint) in WRONG {
        refused(&format!("\"/api/\" = {{ process = \"web\", {text}"), cause, hint);
    }
    for (text, cause, hint) in WRONG_ONES {
        refused(text, cause, hint);
    }
}

#[test]
fn fifty_routes_are_enough() {
    let text = |n: u32| -> String {
        (0..n).map(|i| format!("\"/p{i}\" = {{ redirect = \"/\" }}\n")).collect()
    };
    assert_eq!(routes(&text(50)).len(), 50);
    let error = parse_manifest(&format!("[routes]\n{}", text(51))).unwrap_err();
    assert!(error.cause.unwrap().contains("50 routes at most"));
}

#[test]
fn two_redirects_may_cross() {
    let text = "\"/a/\" = { redirect = \"/a/b/c\" }\n\"/a/b/\" = { static = \"b\" }\n\
                \"/\" = { redirect = \"https://example.com/\", status = 308 }\n";
    assert_eq!(routes(text).len(), 3);
}

proptest! {
    /// Whatever is let through means nothing to nginx.
    #[test]
    fn a_path_holds_nothing_odd(path in "/[\\PC]{0,12}|/[a-z/.%;{}$ \\\\]{0,12}", dir in "[a-z./$; -]{1,12}") {
        let keyed = serde_json::to_string(&path).unwrap();
        let dir = serde_json::to_string(&dir).unwrap();
        let text = format!("[routes]\n{keyed} = {{ static = {dir} }}\n");
        if let Ok(manifest) = parse_manifest(&text) {
            let route = &manifest.routes[0];
            let Answer::Static(files) = &route.to else { panic!() };
            for text in [&route.path, &files.at] {
                prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c)));
                prop_assert!(!text.contains("//") && !text.split('/').any(|part| part == ".."));
            }
        }
    }
}

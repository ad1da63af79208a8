use std::collections::BTreeMap;

use crate::{
    config::Config,
    names::Runtime,
    projects::{
        From, parse_manifest,
        site::{self, Place},
        switch_plan,
        tests::{facts, shop},
    },
    registry::{Live, Project},
    release::{Answer, Files, Redirect, Route, Spec},
    steps::{AnyStep, Judge, Text, Trigger},
    templates::Templates,
};

/// What a backend and a frontend on one domain take.
const HALEXT: &str = r#"
[project]
shared = ["uploads"]
[process.web]
command = "venv/bin/uvicorn main:app --port $PORT"
[routes]
"/"          = { static = "frontend/dist", spa = true }
"/api/"      = { process = "web", strip = true, timeout = "300s", body = "10M", buffering = false }
"/api/v1.0/" = { process = "web" }
"/ws/"       = { process = "web", websocket = true, timeout = "1h" }
"/assets/"   = { static = "frontend/dist/assets", cache = "1y" }
"/uploads/"  = { static = "uploads" }
"/imprint"   = { static = "pages/imprint.html" }
"/old"       = { redirect = "/new", status = 301 }
"/blog/"     = { redirect = "https://blog.example.com/" }
"#;

fn project(manifest: &str) -> Project {
    let manifest = parse_manifest(manifest).unwrap();
    let spec = Spec {
        generated: BTreeMap::new(),
        url_scheme: None,
        variables: std::collections::BTreeMap::new(),
        aliases: std::collections::BTreeMap::new(),
        secret_files: Vec::new(),
        overlays: std::collections::BTreeMap::new(),
        expose: std::collections::BTreeMap::new(),
        runtime: Runtime::Python,
        processes: manifest.processes,
        public: None,
        routes: manifest.routes,
        shared: manifest.shared,
        environment: BTreeMap::new(),
        installs: None,
        switch: manifest.switch,
    };
    Project { live: Some(Live { id: "20261121-093012".parse().unwrap(), spec }), ..shop() }
}

fn rendered(project: &Project, place: Place) -> crate::error::Result<String> {
    let config = Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() };
    let domains = site::domains(project, &config).unwrap();
    Ok(site::render(project, &domains, place, (&facts(), &config), &Templates::default())?.text)
}

#[test]
fn the_site_of_a_project_with_routes() {
    insta::assert_snapshot!("site-routes", rendered(&project(HALEXT), Place::Link).unwrap());
}

#[test]
fn what_no_route_is_for_is_not_there() {
    let text = "[process.web]\ncommand = \"a/b\"\n[routes]\n\"/api/\" = { process = \"web\" }\n";
    let text = rendered(&project(text), Place::Link).unwrap();
    assert!(text.contains("    location / {\n        return 404;\n    }\n"), "{text}");
    // Nobody else's word for what was taken away, where nothing was.
    assert!(text.contains("proxy_set_header X-Forwarded-Prefix \"\";"), "{text}");
}

#[test]
fn on_the_way_a_site_names_the_release_and_who_runs_it() {
    let project = project(HALEXT);
    let usual = rendered(&project, Place::Link).unwrap();
    let release = rendered(&project, Place::Release).unwrap();
    let standby = rendered(&project, Place::Standby).unwrap();
    assert!(usual.contains("root /home/my-shop/app/frontend/dist;"), "{usual}");
    for text in [&release, &standby] {
        assert!(text.contains("root /home/my-shop/releases/20261121-093012/frontend/dist;"));
        assert!(!text.contains("/app/"), "{text}");
    }
    assert!(release.contains("server 127.0.0.1:8001 max_fails=0;"), "{release}");
    assert!(release.contains("server 127.0.0.1:14001 backup max_fails=0;"), "{release}");
    assert!(standby.contains("server 127.0.0.1:14001 max_fails=0;"), "{standby}");
    assert!(standby.contains("server 127.0.0.1:8001 backup max_fails=0;"), "{standby}");
}

/// The manifest's reader lets none of this through; the site does not rely on that.
#[test]
fn nothing_odd_reaches_nginx() {
    for odd in ["/a; b", "/a {", "/$x", "/a\"b", "/a'b", "/a\\b", "/a\nb", "/a#b", "/~a", "/a\0b"] {
        for n in 0..3 {
            let mut project = project(HALEXT);
            let spec = &mut project.live.as_mut().unwrap().spec;
            let files = |at: &str| Files { at: at.into(), spa: false, cache: None };
            let redirect = |to: &str| Redirect { to: to.into(), status: 302 };
            spec.routes = vec![match n {
                0 => Route {
                    path: format!("{odd}/"),
                    to: Answer::Static(files("a")),
                    allow: vec![],
                    deny: vec![],
                },
                1 => Route {
                    path: "/a/".into(),
                    to: Answer::Static(files(odd)),
                    allow: vec![],
                    deny: vec![],
                },
                _ => Route {
                    path: "/a".into(),
                    to: Answer::Redirect(redirect(odd)),
                    allow: vec![],
                    deny: vec![],
                },
            }];
            let error = rendered(&project, Place::Link).unwrap_err();
            let cause = error.cause.unwrap();
            assert!(cause.contains("could change the meaning"), "{odd:?} {n}: {cause}");
        }
    }
}

#[test]
fn a_release_of_before_there_were_routes_is_read() {
    let mut old = serde_json::to_value(&project(HALEXT).live.unwrap().spec).unwrap();
    old.as_object_mut().unwrap().remove("routes");
    let spec: Spec = serde_json::from_value(old).unwrap();
    assert!(spec.routes.is_empty());
    // And one without any is written as it was.
    assert!(serde_json::to_value(&spec).unwrap().get("routes").is_none());
}

#[test]
fn routes_go_through_the_registry_as_they_are() {
    let spec = project(HALEXT).live.unwrap().spec;
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
}

/// What a switch from the one to the other does, as far as it is about the site and the link.
fn on_the_way(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (project(old).live.unwrap(), project(new));
    let old = Live { id: "20261120-093012".parse().unwrap(), ..old };
    let from =
        From { old: Some(&old), is_up: true, env: None, credentials: None, data: None, now: 1 };
    let live = new.live.clone().unwrap();
    let (config, templates) = (Config::default(), Templates::default());
    let plan = switch_plan(&new, &live, from, &facts(), &config, &templates).unwrap();
    let shown = plan.steps.iter().filter_map(|planned| {
        let told = match &planned.step {
            AnyStep::Standby(_) => "standby".to_owned(),
            AnyStep::Detour(detour) => {
                let Text::Exactly(text) = &detour.site.text else { panic!() };
                let root = text.lines().find(|line| line.contains("root ")).unwrap_or_default();
                let server = text.lines().find(|line| line.contains("server 1")).unwrap();
                format!("detour {} {}", root.trim(), server.trim())
            }
            AnyStep::Link(link) if link.at.ends_with("app") => "link".to_owned(),
            AnyStep::Link(link) if link.at.ends_with(".before") => format!("before {:?}", link.to),
            AnyStep::File(file) if file.judge == Judge::Nginx => "site".to_owned(),
            _ => return None,
        };
        let last = planned.notify.iter().map(Trigger::title).next_back().unwrap_or_default();
        Some(format!("{:?}: {told}: {last}", planned.lane))
    });
    shown.collect()
}

#[test]
fn other_routes_come_by_a_detour_and_the_same_do_not() {
    let web = "[process.web]\ncommand = \"a/b\"\n";
    let files = |dir: &str, more: &str| {
        format!("{web}{more}[routes]\n\"/\" = {{ static = \"{dir}\", cache = \"1h\" }}\n")
    };
    insta::assert_debug_snapshot!("switch-same", on_the_way(&files("a", ""), &files("a", "")));
    insta::assert_debug_snapshot!("switch-other", on_the_way(&files("a", ""), &files("b", "")));
    let alone = "[deploy]\nstrategy = \"restart\"\n";
    insta::assert_debug_snapshot!("switch-alone", on_the_way(&files("a", ""), &files("b", alone)));
}

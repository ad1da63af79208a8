//! A project in PHP: php-fpm in a pool of its own, started by the project's own unit.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    config::Config,
    error::Result,
    names::{ProjectName, Runtime},
    release::{Route, Spec},
    steps::{File, Judge, Owner, Text},
    templates::Templates,
};

/// Not below `/etc/hostkit`, which no project may see.
pub(super) const POOLS: &str = "/etc/hostkit-php";

/// What a child that answers a request takes, by the usual measure.
const CHILD: u64 = 48 << 20;

#[derive(Serialize)]
struct Pool<'a> {
    name: &'a str,
    children: u64,
    stop_seconds: u64,
}

pub fn pool_file(name: &ProjectName) -> PathBuf {
    format!("{POOLS}/{name}.conf").into()
}

/// The settings of a project's pool. They hold for the standby too.
pub(super) fn pool(
    name: &ProjectName,
    spec: Option<&Spec>,
    config: &Config,
    templates: &Templates,
) -> Result<File> {
    let pool = Pool {
        name: name.as_str(),
        children: (config.limits.memory.0 / CHILD).clamp(4, 64),
        stop_seconds: spec.map_or(30, |spec| spec.switch.drain.clamp(1, 3600)),
    };
    Ok(File {
        path: pool_file(name),
        owner: Owner::ROOT,
        mode: 0o644,
        text: Text::Exactly(templates.render("php/pool.conf", &pool)?),
        judge: Judge::Nobody,
    })
}

/// What starts the pool: no master of root's is needed for it.
pub(super) fn command(name: &ProjectName, fpm: &str) -> Vec<String> {
    let config = pool_file(name).display().to_string();
    let words = [fpm, "--nodaemonize", "--force-stderr", "--fpm-config", &config];
    words.map(str::to_owned).to_vec()
}

/// Shared directories that the web server reads, below `shared/`.
pub fn served(spec: &Spec) -> Vec<String> {
    if !spec.routes.is_empty() {
        let files = spec.routes.iter().filter_map(Route::files).map(|files| &files.at);
        return files.filter(|at| spec.shared.contains(at)).cloned().collect();
    }
    let Some(public) = spec.public.as_deref().filter(|_| spec.runtime == Runtime::Php) else {
        return Vec::new();
    };
    let above = if public.is_empty() { String::new() } else { format!("{public}/") };
    uploads(spec, public).iter().map(|dir| format!("{above}{dir}")).collect()
}

/// Shared directories that visitors reach, by the path that they ask for.
pub(super) fn uploads<'a>(spec: &'a Spec, public: &str) -> Vec<&'a str> {
    let below = |dir: &'a String| match public {
        "" => Some(dir.as_str()),
        public => dir.strip_prefix(public)?.strip_prefix('/'),
    };
    spec.shared.iter().filter_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        projects::{
            site,
            tests::{facts, shop},
            unit::{self, Which},
        },
        registry::{Live, Project},
        release::{Kind, Process},
        steps::Text,
    };

    fn project(public: &str) -> Project {
        let web = Process {
            name: "web".into(),
            command: command(&shop().name, "/usr/sbin/php-fpm8.2"),
            directory: String::new(),
            kind: Kind::Web,
            health: None,
            metrics: None,
        };
        let spec = Spec {
            runtime: Runtime::Php,
            processes: vec![web],
            public: Some(public.into()),
            routes: Vec::new(),
            shared: vec!["public/uploads".into(), "var".into()],
            environment: std::collections::BTreeMap::default(),
            installs: None,
            switch: crate::release::Switch::default(),
            generated: std::collections::BTreeMap::default(),
            url_scheme: None,
            variables: std::collections::BTreeMap::new(),
            aliases: std::collections::BTreeMap::new(),
            secret_files: Vec::new(),
            overlays: std::collections::BTreeMap::new(),
            expose: std::collections::BTreeMap::new(),
        };
        let live = Live { id: "20261121-093012".parse().unwrap(), spec };
        Project { live: Some(live), ..shop() }
    }

    fn rendered_site(public: &str) -> String {
        let config =
            Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() };
        let project = project(public);
        let domains = site::domains(&project, &config).unwrap();
        site::render(
            &project,
            &domains,
            site::Place::Link,
            (&facts(), &config),
            &Templates::default(),
        )
        .unwrap()
        .text
    }

    #[test]
    fn the_files_of_a_project_in_php() {
        let project = project("public");
        let spec = project.live.as_ref().map(|live| &live.spec);
        let (config, templates) = (Config::default(), Templates::default());
        insta::assert_snapshot!(
            "unit-php",
            unit::render(&project, spec, Which::Main, &config, &templates).unwrap()
        );
        let Text::Exactly(text) = pool(&project.name, spec, &config, &templates).unwrap().text
        else {
            panic!("a pool is no secret")
        };
        insta::assert_snapshot!("pool-php", text);
        insta::assert_snapshot!("site-php", rendered_site("public"));
    }

    #[test]
    fn the_standby_has_a_socket_of_its_own() {
        let project = project("");
        let live = project.live.as_ref().unwrap();
        let which = Which::Standby(&live.id, &live.id);
        let (config, templates) = (Config::default(), Templates::default());
        let text = unit::render(&project, Some(&live.spec), which, &config, &templates).unwrap();
        for line in [
            "Type=notify",
            "RuntimeDirectory=hostkit-my-shop-next",
            "ExecStartPost=+/usr/bin/hostkit door open my-shop-next",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
    }

    #[test]
    fn of_a_whole_tree_more_is_hidden() {
        let (whole, part) = (rendered_site(""), rendered_site("public"));
        assert!(whole.contains("^/(vendor|node_modules)") && !part.contains("vendor"));
        assert!(whole.contains("location ^~ /var/") && !part.contains("location ^~ /var/"));
        assert!(part.contains("alias /home/my-shop/shared/public/uploads/;"), "{part}");
        assert!(whole.contains("alias /home/my-shop/shared/public/uploads/;"), "{whole}");
    }
}

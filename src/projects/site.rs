//! A project's site in nginx.

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Facts, expose, php, routes, storage, tls};
use crate::{
    config::Config,
    error::Result,
    names::{Domain, Runtime},
    registry::{Project, port_of},
    steps::{MARK, MARK_PATH},
    templates::Templates,
};

#[derive(Serialize)]
struct Site<'a> {
    name: &'a str,
    port: u16,
    standby: u16,
    ipv6: bool,
    /// Those that are answered without a certificate.
    domains: Vec<&'a str>,
    /// Who may say for whom it asks, and in which header.
    proxies: Vec<String>,
    proxy_header: &'a str,
    deployed: bool,
    /// Whether nobody reaches the process that would answer, in the project's environment.
    hidden: bool,
    /// Whether php-fpm answers, and not a program of the project's on a port.
    is_php: bool,
    /// Whether all of the release is in nginx's reach, and not a directory of it.
    is_whole_tree: bool,
    /// That directory, below the release.
    below: &'a str,
    /// Directories of uploads, as visitors call them.
    shared: Vec<&'a str>,
    /// What nginx serves by itself.
    public: Option<String>,
    routes: Vec<routes::Location<'a>>,
    /// Whether one of them answers for all that no other does.
    has_top: bool,
    /// Whether one page answers for all paths, as what a build makes is meant.
    one_page: bool,
    page: String,
    mark_path: &'static str,
    mark_header: &'static str,
    mark: &'a str,
    bucket: Option<storage::Shown<'a>>,
    tls: Option<tls::Shown<'a>>,
    thumbprint: Option<&'a str>,
}

#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
}

pub(super) struct Rendered {
    pub(super) text: String,
    /// Changes whenever the text does.
    pub(super) mark: String,
}

/// Where a site finds its project.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Behind the link, on the main port.
    Link,
    /// In the release itself, wherever the link leads meanwhile.
    Release,
    /// In the release itself, on the standby's port.
    Standby,
}

impl Place {
    /// The directory that the release's files lie in.
    pub(super) fn root(self, project: &Project) -> String {
        let home = format!("/home/{}", project.name);
        match (self, &project.live) {
            (Self::Release | Self::Standby, Some(live)) => format!("{home}/releases/{}", live.id),
            (Self::Link, _) | (_, None) => format!("{home}/app"),
        }
    }
}

/// What the project answers to: below the base domain first, then its own.
pub(super) fn domains(project: &Project, config: &Config) -> Result<Vec<Domain>> {
    let mut domains = vec![config.base_domain.below(&project.name)?];
    domains.extend(
        project.domains.iter().filter(|own| **own != domains[0]).cloned().collect::<Vec<_>>(),
    );
    Ok(domains)
}

pub(super) fn render(
    project: &Project,
    domains: &[Domain],
    place: Place,
    (facts, config): (&Facts, &Config),
    templates: &Templates,
) -> Result<Rendered> {
    let spec = project.live.as_ref().map(|live| &live.spec);
    let public = spec.and_then(|spec| spec.public.as_deref());
    let is_php = spec.is_some_and(|spec| spec.runtime == Runtime::Php) && public.is_some();
    let below = public.unwrap_or_default();
    let page = templates.render("nginx/page.html", &Page { name: project.name.as_str() })?;
    let routes = spec.map(|spec| routes::locations(project, spec, place)).unwrap_or_default();
    let (main, standby) = (project.port, port_of(project.port, "standby"));
    let (port, standby) = if place == Place::Standby { (standby, main) } else { (main, standby) };
    let tls = tls::shown(project, domains, facts);
    let is_plain = |domain: &&str| tls.as_ref().is_none_or(|tls| !tls.domains.contains(domain));
    let mut site = Site {
        name: project.name.as_str(),
        port,
        standby,
        ipv6: facts.has_ipv6,
        domains: domains.iter().map(Domain::as_str).filter(is_plain).collect(),
        proxies: config.proxy.trusted.iter().map(ToString::to_string).collect(),
        proxy_header: &config.proxy.header,
        deployed: is_deployed(project, facts),
        hidden: spec.is_some_and(|spec| expose::hides_all(project, spec)),
        is_php,
        is_whole_tree: below.is_empty(),
        below,
        shared: spec.map(|spec| php::uploads(spec, below)).unwrap_or_default(),
        public: public.map(|below| format!("{}/{below}", place.root(project))),
        has_top: spec.is_some_and(|spec| spec.routes.iter().any(|route| route.path == "/")),
        routes,
        one_page: public.is_some_and(|below| !below.is_empty()),
        page: quotable(&page),
        mark_path: MARK_PATH,
        mark_header: MARK,
        mark: "",
        bucket: storage::shown(project),
        thumbprint: tls::thumbprint(project, facts),
        tls,
    };
    let unmarked = templates.render("nginx/site.conf", &site)?;
    let mark = HEXLOWER.encode(&Sha256::digest(unmarked.as_bytes())[..8]);
    site.mark = &mark;
    let text = templates.render("nginx/site.conf", &site)?;
    Ok(Rendered { text, mark })
}

/// Whether a process of the project answers.
fn is_deployed(project: &Project, facts: &Facts) -> bool {
    match &project.live {
        Some(live) => live.spec.web().is_some(),
        None => {
            facts.release.is_some() && !matches!(project.runtime, Runtime::Php | Runtime::Static)
        }
    }
}

/// A page that can stand between single quotes in nginx, which knows no escape for `$`.
fn quotable(page: &str) -> String {
    page.replace('\\', "&#92;").replace('\'', "&#39;").replace('$', "&#36;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::tests::{facts, shop};

    fn rendered(facts: &Facts) -> Rendered {
        let config =
            Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() };
        let domains = domains(&shop(), &config).unwrap();
        render(&shop(), &domains, Place::Link, (facts, &config), &Templates::default()).unwrap()
    }

    #[test]
    fn the_site_of_a_project_without_a_release() {
        insta::assert_snapshot!("site-empty", rendered(&facts()).text);
    }

    #[test]
    fn the_site_of_a_project_with_one() {
        let facts = Facts { release: Some("20261121-093012".parse().unwrap()), ..facts() };
        let with = rendered(&facts);
        insta::assert_snapshot!("site-deployed", with.text);
        assert_ne!(with.mark, rendered(&super::tests::facts()).mark);
    }
}

//! How a site is reached by HTTPS, as far as there is a certificate for it.

use std::path::PathBuf;

use serde::Serialize;

use super::{Facts, Maker, Passwords, site};
use crate::{
    config::Config,
    error::Result,
    names::{Domain, ProjectName},
    plan::{Ground, Lane, Plan},
    registry::{Project, Tls},
    secret::Secret,
    steps::{Certificate, Gone, Trigger},
    templates::Templates,
};

/// Where certificates lie with their keys. Nobody but root gets in.
pub const CERTIFICATES: &str = "/etc/hostkit/certs";

/// What a site must know besides the wish.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// By which challenges are answered, if there is an account yet.
    pub thumbprint: Option<String>,
    /// The certificate that lies there, if the web server can use it.
    pub held: Option<Held>,
    /// Whether nginx has HTTP/2 as a directive, and not only as a word of `listen`.
    pub has_http2: bool,
}

/// A key with its certificate.
#[derive(Clone, Debug)]
pub struct Held {
    pub pem: Secret,
    pub names: Vec<String>,
}

/// Where a project's certificate lies.
pub fn certificate_file(name: &ProjectName) -> PathBuf {
    PathBuf::from(format!("{CERTIFICATES}/{name}.pem"))
}

/// Whether a certificate holds for a domain.
pub fn covers(names: &[String], domain: &Domain) -> bool {
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(parent) => domain.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == domain.as_str(),
    })
}

/// All that a project answers to.
pub fn domains(project: &Project, config: &Config) -> Result<Vec<Domain>> {
    site::domains(project, config)
}

/// Where a project is reached first.
pub fn url(project: &Project, config: &Config) -> Result<String> {
    let domain = config.base_domain.below(&project.name)?;
    let issued = project.tls.as_ref().and_then(|tls| tls.issued.as_ref());
    let is_secure = issued.is_some_and(|issued| covers(&issued.names, &domain));
    Ok(format!("{}://{domain}", if is_secure { "https" } else { "http" }))
}

/// The plan of a project's site alone, with what makes it answer by HTTPS.
pub fn tls_plan(
    project: &Project,
    facts: &Facts,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let passwords = Passwords::none();
    let maker = Maker { project, facts, passwords: &passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.site(&mut plan, Lane::Site)?;
    if project.tls.is_none() {
        plan.part("certificate", "none");
        plan.step(Lane::Site, Gone { path: certificate_file(&project.name) });
    }
    Ok(plan)
}

/// The site as it has to be with the certificate that there is; for when nginx is about to start.
pub fn site_text(
    project: &Project,
    facts: &Facts,
    config: &Config,
    templates: &Templates,
) -> Result<String> {
    let domains = site::domains(project, config)?;
    let facts = (facts, config);
    site::render(project, &domains, site::Place::Link, facts, templates).map(|site| site.text)
}

/// What stands for a site that can't be: its names lead nowhere else meanwhile, and least of all
/// past its rules. None where it has no names.
pub fn closed_site(project: &str, site: &str, has_ipv6: bool) -> Option<String> {
    let mut names: Vec<&str> = site
        .match_indices("server_name")
        .filter(|(at, _)| site[..*at].ends_with(|c: char| c.is_whitespace() || c == '{'))
        .filter_map(|(at, word)| site[at + word.len()..].split_once(';'))
        .filter(|(rest, _)| rest.starts_with(char::is_whitespace))
        .flat_map(|(rest, _)| rest.split_whitespace())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*".contains(c)))
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let ipv6 = if has_ipv6 { "    listen [::]:80;\n" } else { "" };
    Some(format!(
        "# Made by hostkit: the certificate of {project} is gone; `hostkit repair {project}` mends it.\n\n\
         server {{\n    listen 80;\n{ipv6}    server_name {};\n    return 503;\n}}\n",
        names.join(" ")
    ))
}

/// As templates are told of it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    certificate: String,
    /// Domains that it holds for.
    pub(super) domains: Vec<&'a str>,
    http2: bool,
    hsts: bool,
}

/// The thumbprint that challenges are answered with, where the project wants a certificate.
pub(super) fn thumbprint<'a>(project: &Project, facts: &'a Facts) -> Option<&'a str> {
    project.tls.as_ref().and(facts.tls.thumbprint.as_deref())
}

pub(super) fn shown<'a>(
    project: &Project,
    domains: &'a [Domain],
    facts: &Facts,
) -> Option<Shown<'a>> {
    let tls = project.tls.as_ref()?;
    let held = facts.tls.held.as_ref()?;
    let domains: Vec<&str> =
        domains.iter().filter(|domain| covers(&held.names, domain)).map(Domain::as_str).collect();
    (!domains.is_empty()).then(|| Shown {
        certificate: certificate_file(&project.name).display().to_string(),
        domains,
        http2: facts.tls.has_http2,
        hsts: tls.hsts,
    })
}

impl Maker<'_> {
    /// The certificate before the site that names it.
    pub(super) fn certificate(&self, plan: &mut Plan, lane: Lane, reload: &Trigger) {
        let Some(Tls { issued, .. }) = &self.project.tls else { return };
        let held = self.facts.tls.held.as_ref();
        if issued.is_none() && held.is_none() {
            return;
        }
        let path = certificate_file(&self.project.name);
        let step = Certificate { path, pem: held.map(|held| held.pem.clone()) };
        plan.notifying(lane, step, [reload.clone()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        projects::tests::{facts, shop},
        registry::TlsSource,
        steps::{AnyStep, Step},
    };

    fn config() -> Config {
        Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() }
    }

    fn wanted() -> Project {
        Project {
            domains: vec!["shop.example.com".parse().unwrap()],
            tls: Some(Tls::wanted(TlsSource::Acme)),
            ..shop()
        }
    }

    fn with(names: &[&str]) -> Facts {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let held = Held { pem: Secret::new("s3cr3t"), names };
        let tls =
            TlsFacts { thumbprint: Some("Th-umb".into()), held: Some(held), has_http2: false };
        Facts { tls, ..facts() }
    }

    fn text(project: &Project, facts: &Facts) -> String {
        site_text(project, facts, &config(), &Templates::default()).unwrap()
    }

    #[test]
    fn a_certificate_holds_for_its_names_and_one_label_below_a_star() {
        let names = ["*.a.test".to_owned(), "b.test".to_owned()];
        for (domain, holds) in [
            ("x.a.test", true),
            ("a.test", false),
            ("y.x.a.test", false),
            ("b.test", true),
            ("x.b.test", false),
        ] {
            assert_eq!(covers(&names, &domain.parse().unwrap()), holds, "{domain}");
        }
    }

    #[test]
    fn a_site_with_a_certificate_for_all_of_its_domains() {
        let facts = with(&["my-shop.apps.example.com", "shop.example.com"]);
        insta::assert_snapshot!("site-tls", text(&wanted(), &facts));
    }

    #[test]
    fn a_site_with_a_certificate_for_one_of_its_domains() {
        let mut project = wanted();
        project.tls.as_mut().unwrap().hsts = true;
        let mut facts = with(&["shop.example.com"]);
        facts.tls.has_http2 = true;
        insta::assert_snapshot!("site-tls-partly", text(&project, &facts));
    }

    #[test]
    fn without_a_certificate_a_site_answers_as_ever_and_answers_challenges() {
        let pending = Facts { tls: TlsFacts { held: None, ..with(&[]).tls }, ..facts() };
        let site = text(&wanted(), &pending);
        assert!(!site.contains("443") && !site.contains("ssl_certificate"), "{site}");
        assert!(site.contains("$1.Th-umb"), "{site}");
        assert!(!text(&Project { tls: None, ..wanted() }, &pending).contains("acme-challenge"));
        // One for other names is none for this site.
        assert!(!text(&wanted(), &with(&["wiki.example.com"])).contains("443"));
    }

    #[test]
    fn behind_a_proxy_who_came_by_https_is_not_sent_on() {
        let config = Config {
            proxy: crate::config::Proxy {
                trusted: vec!["127.0.0.1".parse().unwrap()],
                ..Default::default()
            },
            ..config()
        };
        let facts = with(&["my-shop.apps.example.com", "shop.example.com"]);
        let site = site_text(&wanted(), &facts, &config, &Templates::default()).unwrap();
        insta::assert_snapshot!("site-tls-proxied", site);
    }

    #[test]
    fn a_site_that_is_off_keeps_its_names() {
        let site = text(&wanted(), &with(&["shop.example.com"]));
        let closed = closed_site("my-shop", &site, true).unwrap();
        let expected = "# Made by hostkit: the certificate of my-shop is gone; `hostkit repair my-shop` \
            mends it.\n\nserver {\n    listen 80;\n    listen [::]:80;\n    server_name \
            my-shop.apps.example.com shop.example.com;\n    return 503;\n}\n";
        assert_eq!(closed, expected);
        let own =
            "server {\n  server_name\n a.test *.b.test ~^c[0-9]{2}$ a.test; server_names x;\n}";
        let closed = closed_site("my-shop", own, false).unwrap();
        assert!(closed.contains("server_name *.b.test a.test;") && !closed.contains("[::]"));
        assert_eq!(closed_site("my-shop", "server { listen 80; }", true), None);
    }

    #[test]
    fn a_certificate_stands_before_the_site_and_in_no_journal() {
        let facts = with(&["shop.example.com"]);
        let plan = tls_plan(&wanted(), &facts, &config(), &Templates::default()).unwrap();
        let place = |wanted: fn(&AnyStep) -> bool| {
            plan.steps.iter().position(|planned| wanted(&planned.step)).unwrap()
        };
        let certificate = place(|step| matches!(step, AnyStep::Certificate(_)));
        assert!(certificate < place(|step| matches!(step, AnyStep::File(_))));
        for planned in &plan.steps {
            let text = serde_json::to_string(&planned.step).unwrap();
            assert!(!text.contains("s3cr3t"), "{text}");
        }
        let none = Project { tls: None, ..wanted() };
        let plan = tls_plan(&none, &facts, &config(), &Templates::default()).unwrap();
        let last = plan.steps.last().unwrap().step.title();
        assert_eq!(last, "no /etc/hostkit/certs/my-shop.pem");
    }
}

//! Files that hostkit renders. A value that a language could misread is an error, not a bug.

use std::io::{self, Write};

use serde::Serialize;
use tera::{Context, Tera};

use crate::error::{Error, Result};

/// Where the owner's templates shadow ours.
pub const OVERRIDES: &str = "/etc/hostkit/templates";

const BUILTIN: &[(&str, &str)] = &[
    ("garage.toml", include_str!("../templates/garage.toml")),
    ("logrotate/hostkit", include_str!("../templates/logrotate/hostkit")),
    ("mysql/hostkit.cnf", include_str!("../templates/mysql/hostkit.cnf")),
    ("nft/wall.nft", include_str!("../templates/nft/wall.nft")),
    ("nginx/access.conf", include_str!("../templates/nginx/access.conf")),
    ("nginx/body.conf", include_str!("../templates/nginx/body.conf")),
    ("nginx/bucket.conf", include_str!("../templates/nginx/bucket.conf")),
    ("nginx/default.conf", include_str!("../templates/nginx/default.conf")),
    ("nginx/files.conf", include_str!("../templates/nginx/files.conf")),
    ("nginx/map.conf", include_str!("../templates/nginx/map.conf")),
    ("nginx/own.conf", include_str!("../templates/nginx/own.conf")),
    ("nginx/page.html", include_str!("../templates/nginx/page.html")),
    ("nginx/php.conf", include_str!("../templates/nginx/php.conf")),
    ("nginx/proxy.conf", include_str!("../templates/nginx/proxy.conf")),
    ("nginx/routes.conf", include_str!("../templates/nginx/routes.conf")),
    ("nginx/shared.conf", include_str!("../templates/nginx/shared.conf")),
    ("nginx/visitor.conf", include_str!("../templates/nginx/visitor.conf")),
    ("nginx/site.conf", include_str!("../templates/nginx/site.conf")),
    ("nginx/tls.conf", include_str!("../templates/nginx/tls.conf")),
    ("php/pool.conf", include_str!("../templates/php/pool.conf")),
    ("prometheus.yml", include_str!("../templates/prometheus.yml")),
    ("redis/hostkit.acl", include_str!("../templates/redis/hostkit.acl")),
    ("redis/hostkit.conf", include_str!("../templates/redis/hostkit.conf")),
    ("sudoers/operators", include_str!("../templates/sudoers/operators")),
    ("sudoers/project", include_str!("../templates/sudoers/project")),
    ("systemd/app.service", include_str!("../templates/systemd/app.service")),
    ("systemd/app.socket", include_str!("../templates/systemd/app.socket")),
    ("systemd/backup-all.service", include_str!("../templates/systemd/backup-all.service")),
    ("systemd/backup-all.timer", include_str!("../templates/systemd/backup-all.timer")),
    ("systemd/backup.service", include_str!("../templates/systemd/backup.service")),
    ("systemd/build.service", include_str!("../templates/systemd/build.service")),
    ("systemd/garage.service", include_str!("../templates/systemd/garage.service")),
    ("systemd/git.service", include_str!("../templates/systemd/git.service")),
    ("systemd/check.service", include_str!("../templates/systemd/check.service")),
    ("systemd/exec.service", include_str!("../templates/systemd/exec.service")),
    ("systemd/nginx-guard.service", include_str!("../templates/systemd/nginx-guard.service")),
    ("systemd/nginx.conf", include_str!("../templates/systemd/nginx.conf")),
    ("systemd/project.service", include_str!("../templates/systemd/project.service")),
    ("systemd/prometheus.service", include_str!("../templates/systemd/prometheus.service")),
    ("systemd/recover.service", include_str!("../templates/systemd/recover.service")),
    ("systemd/redis.service", include_str!("../templates/systemd/redis.service")),
    ("systemd/sandbox.conf", include_str!("../templates/systemd/sandbox.conf")),
    ("systemd/schedule.timer", include_str!("../templates/systemd/schedule.timer")),
    ("systemd/ssl.service", include_str!("../templates/systemd/ssl.service")),
    ("systemd/alert.service", include_str!("../templates/systemd/alert.service")),
    ("systemd/alert.timer", include_str!("../templates/systemd/alert.timer")),
    ("systemd/ssl.timer", include_str!("../templates/systemd/ssl.timer")),
    ("systemd/wall.service", include_str!("../templates/systemd/wall.service")),
];

/// Parts of others: of every unit that runs what a project brought, and of sites.
const PARTS: [&str; 12] = [
    "systemd/sandbox.conf",
    "nginx/access.conf",
    "nginx/body.conf",
    "nginx/visitor.conf",
    "nginx/bucket.conf",
    "nginx/files.conf",
    "nginx/own.conf",
    "nginx/php.conf",
    "nginx/proxy.conf",
    "nginx/routes.conf",
    "nginx/shared.conf",
    "nginx/tls.conf",
];

/// Templates by name, the owner's before ours.
#[derive(Default)]
pub struct Templates {
    overrides: Vec<(String, String)>,
}

impl Templates {
    pub fn new(overrides: Vec<(String, String)>) -> Self {
        Self { overrides }
    }

    /// The names of all templates that can be shadowed.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    pub fn render<T: Serialize>(&self, name: &str, values: &T) -> Result<String> {
        let failed = |e: tera::Error| {
            Error::failed(format!("could not render the template `{name}`"))
                .caused_by(told(&e))
                .hint(format!("if `{OVERRIDES}/{name}` is yours, mend it or move it away"))
        };
        let mut tera = Tera::default();
        tera.autoescape_on([""]);
        tera.set_escape_fn(refuse_syntax);
        tera.set_fallback_prefixes(["builtin/"]).map_err(failed)?;
        let builtin =
            BUILTIN.iter().map(|(name, text)| (format!("builtin/{name}"), (*text).to_owned()));
        let wanted = |n: &str| {
            let n = n.trim_start_matches("builtin/");
            n == name || PARTS.contains(&n)
        };
        let all = builtin.chain(self.overrides.iter().cloned()).filter(|(n, _)| wanted(n));
        tera.add_raw_templates(all.collect::<Vec<_>>()).map_err(failed)?;
        let context = Context::from_serialize(values).map_err(failed)?;
        let text = tera.render(name, &context).map_err(failed)?;
        // Whatever it is the end of a line for: no file of ours needs one of these.
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(Error::failed(format!("could not make the text of `{name}`"))
                .caused_by("a value in it holds a control character"));
        }
        Ok(text)
    }
}

/// Lets a value through that means nothing in any of the languages that we write.
///
/// There is no quoting that suits nginx, systemd, sudoers and nft alike, and no value of ours
/// needs any: what does (a command line, a page) is quoted by its own module and marked safe.
fn refuse_syntax(value: &str, out: &mut dyn Write) -> io::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+".contains(c) || c == ' ';
    match value.chars().find(|c| !plain(*c)) {
        None => out.write_all(value.as_bytes()),
        Some(odd) => Err(io::Error::other(format!(
            "the value `{}` holds `{}`, which could change the meaning of the file",
            value.escape_debug(),
            odd.escape_debug()
        ))),
    }
}

/// An error with what lies under it, on one line.
fn told(error: &tera::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Group<'a> {
        group: &'a str,
    }

    #[derive(Serialize)]
    struct Other {
        other: u8,
    }

    #[test]
    fn a_value_that_is_syntax_is_refused() {
        let templates = Templates::default();
        let fine = templates.render("sudoers/operators", &Group { group: "hostkit" }).unwrap();
        assert!(fine.ends_with("%hostkit ALL=(root) NOPASSWD: /usr/bin/hostkit\n"));
        for evil in ["a\nb", "a;b", "a{", "$x", "a\"b", "a%b", "a\\b", "a#b", "a,b"] {
            let error = templates.render("sudoers/operators", &Group { group: evil }).unwrap_err();
            assert!(error.cause.unwrap().contains("could change the meaning"), "{evil}");
        }
    }

    #[test]
    fn the_owners_template_shadows_ours() {
        let own = vec![("sudoers/operators".to_owned(), "mine {{ group }}".to_owned())];
        let text = Templates::new(own).render("sudoers/operators", &Group { group: "x" }).unwrap();
        assert_eq!(text, "mine x");
    }

    #[test]
    fn no_value_ends_a_line_in_another_way() {
        let own = || vec![("sudoers/operators".to_owned(), "{{ group | safe }}".to_owned())];
        for (value, fits) in
            [("a\tb\nc", true), ("a\rb", false), ("a\0b", false), ("\u{85}", false)]
        {
            let text = Templates::new(own()).render("sudoers/operators", &Group { group: value });
            assert_eq!(text.is_ok(), fits, "{value:?}");
        }
    }

    #[test]
    fn a_missing_value_is_an_error_that_names_it() {
        let error =
            Templates::default().render("sudoers/operators", &Other { other: 1 }).unwrap_err();
        assert!(error.cause.unwrap().contains("group"));
    }
}

//! A project's name, and every name on the host that follows from it.

use std::{fmt, path::PathBuf, str::FromStr};

use super::serde_by_str;
use crate::error::{Error, Result};

/// 3 to 32 of a-z, 0-9 and single hyphens, from a letter to a letter or digit, not reserved.
///
/// It becomes a Linux user, a unit, a file name, a label of a domain and a Redis user without
/// any quoting, so nothing else may ever be in it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProjectName(String);

const SHORTEST: usize = 3;
const LONGEST: usize = 32;

/// Names that the system, its daemons or hostkit itself use or may come to use.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "adm", "admin", "administrator", "ads", "alert", "all", "api-gateway", "audio", "avahi", "backup",
    "bin", "bind", "bluetooth", "caddy", "cdrom", "certbot", "clamav", "colord", "crontab",
    "daemon", "default", "dialout", "dip", "disk", "dnsmasq", "docker", "dovecot", "fax",
    "floppy", "ftp", "games", "garage", "gate", "gdm", "gnats", "haproxy", "hostkit", "input",
    "irc", "kmem", "kvm", "landscape", "libvirt", "list", "localhost", "lxd", "mail", "man",
    "memcache", "memcached", "messagebus", "metrics", "minio", "mongodb", "mysql", "named",
    "netdev", "news", "nginx", "nginx-guard", "nobody", "nogroup", "none", "ntp", "openldap", "operator",
    "pgbouncer", "plugdev", "polkitd", "postdrop", "postfix", "postgres", "postgresql", "proftpd",
    "prometheus", "proxy", "pulse", "rabbitmq", "recover", "redis", "redis-server", "render",
    "root", "rtkit", "saned", "sasl", "secrets-portal", "sgx", "shadow", "snap", "src", "ssh",
    "sshd", "ssl", "ssl-cert", "staff", "statd", "stunnel", "sudo", "sync", "sys", "syslog", "system",
    "systemd", "tape", "tcpdump", "template0", "template1", "tomcat", "tss", "tty", "ubuntu",
    "users", "utmp", "uucp", "uuidd", "valkey", "varnish", "video", "voice", "wall", "wheel",
    "whoopsie", "www", "www-data",
];

/// A name that begins so belongs to the system (or would be read as a domain in another script).
const RESERVED_PREFIXES: &[&str] =
    &["hostkit-", "lxc-", "pg-", "postgres-", "redis-", "systemd-", "xn-"];

/// What hostkit itself may call a unit of a project: `hostkit-{project}-{word}.service`.
const UNIT_WORDS: &[&str] = &[
    "auth", "backup", "beat", "booking", "build", "chatbot", "cron", "mail", "migrate", "next",
    "payments", "redis", "release", "sms", "storage", "voice", "watch", "web", "worker",
];

impl ProjectName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn unit(&self) -> String {
        format!("hostkit-{}.service", self.0)
    }

    pub fn unit_file(&self) -> PathBuf {
        format!("/etc/systemd/system/{}", self.unit()).into()
    }

    pub fn home(&self) -> PathBuf {
        format!("/home/{}", self.0).into()
    }

    pub fn env_file(&self) -> PathBuf {
        self.home().join(".env")
    }

    pub fn logs(&self) -> PathBuf {
        format!("/var/log/projects/{}", self.0).into()
    }

    pub fn site(&self) -> PathBuf {
        format!("/etc/nginx/sites-available/hostkit-{}", self.0).into()
    }

    pub fn site_link(&self) -> PathBuf {
        format!("/etc/nginx/sites-enabled/hostkit-{}", self.0).into()
    }

    pub fn sudoers(&self) -> PathBuf {
        format!("/etc/sudoers.d/hostkit-{}", self.0).into()
    }

    /// The database's name. Hyphens become underscores: names hold none, so none can meet.
    pub fn database(&self) -> String {
        format!("{}_db", self.0.replace('-', "_"))
    }

    /// The database role. It is no Linux user's name, so peer authentication can't be led astray.
    pub fn role(&self) -> String {
        format!("{}_user", self.0.replace('-', "_"))
    }

    /// The bucket of object storage.
    pub fn bucket(&self) -> String {
        format!("hostkit-{}", self.0)
    }

    /// The login that takes turns with the role: one of the two is valid, and objects are the role's.
    pub fn second_role(&self) -> String {
        format!("{}_2", self.role())
    }

    /// Whether one of the two could come to own the other's unit.
    ///
    /// `api` may run a process `auth` as `hostkit-api-auth.service`, which is also the unit of a
    /// project called `api-auth`.
    pub fn collides_with(&self, other: &Self) -> bool {
        let owns = |one: &str, two: &str| {
            two.strip_prefix(one).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| {
                UNIT_WORDS.iter().any(|word| rest == *word || rest.starts_with(&format!("{word}-")))
            })
        };
        owns(&self.0, &other.0) || owns(&other.0, &self.0)
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ProjectName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match broken_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(rule) => {
                let error = Error::usage(
                    "bad_name",
                    format!("`{}` can't be a project's name", name.escape_debug()),
                )
                .caused_by(rule);
                Err(match suggestion(name) {
                    Some(better) => error.hint(format!("`{better}` would do")),
                    None => error.hint("choose a name like `my-app`"),
                })
            }
        }
    }
}

serde_by_str!(ProjectName);

/// The first rule that the name breaks, as a sentence.
fn broken_rule(name: &str) -> Option<String> {
    let letter = |c: char| c.is_ascii_lowercase();
    let digit = |c: char| c.is_ascii_digit();
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if let Some(odd) = name.chars().find(|c| !letter(*c) && !digit(*c) && *c != '-') {
        return Some(format!(
            "a name has {SHORTEST} to {LONGEST} of a-z, 0-9 and -, and this one has `{}`",
            odd.escape_debug()
        ));
    }
    if !name.starts_with(letter) {
        return Some("a name starts with a letter".into());
    }
    if name.ends_with('-') {
        return Some("a name ends with a letter or a digit".into());
    }
    if name.contains("--") {
        return Some("a name has no two hyphens in a row".into());
    }
    if name.len() < SHORTEST || name.len() > LONGEST {
        return Some(format!(
            "a name has {SHORTEST} to {LONGEST} characters, and this one has {}",
            name.len()
        ));
    }
    if RESERVED.binary_search(&name).is_ok() {
        return Some("the system or hostkit itself uses that name".into());
    }
    RESERVED_PREFIXES
        .iter()
        .find(|prefix| name.starts_with(**prefix))
        .map(|prefix| format!("names that start with `{prefix}` are reserved"))
}

/// Whether the system, its daemons or hostkit itself use a name, or may come to.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(*prefix))
}

/// The nearest name that would be valid.
fn suggestion(name: &str) -> Option<String> {
    let mut better = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => better.push(c),
            _ if better.is_empty() || better.ends_with('-') => {}
            _ => better.push('-'),
        }
    }
    let better = better.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let better: String = better.chars().take(LONGEST).collect();
    let better = better.trim_end_matches('-').to_owned();
    if better.is_empty() {
        return None;
    }
    [better.clone(), format!("{better}-app"), format!("my-{better}"), format!("my{better}")]
        .into_iter()
        .find(|candidate| broken_rule(candidate).is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reserved_names_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn each_rule_is_named_with_a_name_that_would_do() {
        let cases = [
            ("My_App", "and this one has `M`", "`my-app` would do"),
            ("my app", "and this one has ` `", "`my-app` would do"),
            ("1app", "starts with a letter", "`app` would do"),
            ("app-", "ends with a letter or a digit", "`app` would do"),
            ("my--app", "no two hyphens in a row", "`my-app` would do"),
            ("ab", "this one has 2", "`ab-app` would do"),
            ("root", "uses that name", "`root-app` would do"),
            ("systemd-x", "start with `systemd-` are reserved", "`my-systemd-x` would do"),
            ("", "it is empty", "choose a name like `my-app`"),
            ("a\nb", "this one has `\\n`", "`a-b` would do"),
            ("-x", "starts with a letter", "`x-app` would do"),
            ("naïve", "this one has `ï`", "`na-ve` would do"),
        ];
        for (name, rule, hint) in cases {
            let error = name.parse::<ProjectName>().unwrap_err();
            assert!(error.cause.as_ref().unwrap().contains(rule), "{name}: {error}");
            assert_eq!(error.hint.as_deref(), Some(hint), "{name}");
            assert_eq!(error.kind.exit_code(), 2);
        }
    }

    #[test]
    fn the_longest_name_has_32_characters() {
        assert!("a".repeat(32).parse::<ProjectName>().is_ok());
        let error = "a".repeat(33).parse::<ProjectName>().unwrap_err();
        assert_eq!(error.hint, Some(format!("`{}` would do", "a".repeat(32))));
    }

    #[test]
    fn units_of_two_projects_can_never_meet() {
        let name = |text: &str| text.parse::<ProjectName>().unwrap();
        assert!(name("shop").collides_with(&name("shop-auth")));
        assert!(name("shop-auth").collides_with(&name("shop")));
        assert!(name("shop").collides_with(&name("shop-worker-mail")));
        assert!(!name("shop").collides_with(&name("shop-stage")));
        assert!(!name("shop").collides_with(&name("shopworker")));
    }

    #[test]
    fn database_names_need_no_quoting() {
        let name: ProjectName = "my-app".parse().unwrap();
        assert_eq!((name.database(), name.role()), ("my_app_db".into(), "my_app_user".into()));
    }

    proptest! {
        #[test]
        fn accepted_names_are_safe_everywhere(text in "[a-zA-Z0-9_.-]{0,40}|\\PC{0,12}") {
            if let Ok(name) = text.parse::<ProjectName>() {
                let name = name.as_str();
                prop_assert!((3..=32).contains(&name.len()));
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                prop_assert!(name.as_bytes()[0].is_ascii_lowercase());
                prop_assert!(!name.ends_with('-') && !name.contains("--"));
            }
        }

        #[test]
        fn suggestions_are_valid(text in "\\PC{0,40}") {
            if let Some(better) = suggestion(&text) {
                prop_assert!(better.parse::<ProjectName>().is_ok(), "{}", better);
            }
        }
    }
}

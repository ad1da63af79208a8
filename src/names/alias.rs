//! Other names of a project's units, by which those who ran it before know them.

use std::{fmt, str::FromStr};

use super::{ProjectName, project::is_reserved, serde_by_str};

/// What a pattern of texts takes, for a schema.
pub const ALIAS: &str = "^[a-z][a-z0-9_-]{0,61}[a-z0-9]$";

/// What systemd and the packages of each server call their own, besides what no project is called.
#[rustfmt::skip]
const SYSTEM: &[&str] = &[
    "anacron", "apparmor", "atd", "auditd", "autovt", "basic", "chrony", "chronyd", "console-getty",
    "container-getty", "cron", "dbus", "dbus-broker", "debug-shell", "display-manager",
    "emergency", "exim4", "fail2ban", "firewalld", "getty", "graphical", "halt", "init",
    "iptables", "ldconfig", "logrotate", "mariadb", "multi-user", "network", "network-manager",
    "network-online", "networking", "nftables", "php-fpm", "poweroff", "quotaon", "rc-local",
    "reboot", "rescue", "rsync", "rsyslog", "serial-getty", "snapd", "sysinit", "timers", "udev",
    "ufw", "unattended-upgrades", "user", "user-runtime-dir",
];

/// What their names begin with.
const SYSTEM_PREFIXES: &[&str] =
    &["apt-", "dbus-", "dpkg-", "e2scrub-", "getty-", "initrd-", "kmod-", "modprobe-", "snap-"];

fn is_of_the_system(alias: &str) -> bool {
    is_reserved(alias)
        || SYSTEM.binary_search(&alias).is_ok()
        || SYSTEM_PREFIXES.iter().any(|prefix| alias.starts_with(prefix))
}

/// Why no unit can be called so, and what to do, if none can.
///
/// `.service` goes without saying, and no other sign of systemd's is in it: no `.`, which begins
/// the kind of a unit, no `@`, no `%`, no `/`, no `\`.
pub fn alias_fault(alias: &str) -> Option<(String, String)> {
    let stem = alias.strip_suffix(".service").filter(|stem| stem.len() < 64);
    if let Some(stem) = stem.filter(|stem| alias_fault(stem).is_none()) {
        let why = format!("`{alias}` has an ending, and each unit of a process has that one");
        return Some((why, format!("write \"{stem}\"")));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_name = (2..=63).contains(&alias.len())
        && alias.starts_with(|c: char| c.is_ascii_lowercase())
        && alias.ends_with(is_end)
        && alias.chars().all(fits);
    if !is_name {
        let shown: String = alias.chars().take(80).flat_map(char::escape_debug).collect();
        let hint = "a name has 2 to 63 of a-z, 0-9, - and _, from a letter to a letter or digit";
        return Some((format!("`{shown}` is no other name of a unit"), hint.into()));
    }
    is_of_the_system(alias).then(|| {
        let why = format!("the system or hostkit itself uses the name `{alias}`");
        (why, "begin it with the project's name: \"my-shop-api\"".into())
    })
}

/// A name that does not begin with the project's, and that an operator lets a unit of it have all
/// the same: `shop/old-shop-backend`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantedAlias {
    pub project: ProjectName,
    pub alias: String,
}

impl fmt::Display for GrantedAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.alias)
    }
}

impl FromStr for GrantedAlias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (project, alias) = text.split_once('/').ok_or_else(|| {
            format!("`{}` wants a project and a name: \"shop/old-shop\"", text.escape_debug())
        })?;
        let project = project.parse().map_err(|e: crate::error::Error| e.to_string())?;
        match alias_fault(alias) {
            None => Ok(Self { project, alias: alias.to_owned() }),
            Some((why, hint)) => Err(format!("{why}; {hint}")),
        }
    }
}

serde_by_str!(GrantedAlias);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_and_hyphens() {
        for good in ["halext-api", "shop_old", "a1", "phpbb-web", "dev-shop-api", &"x".repeat(63)] {
            assert_eq!(alias_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "a",
            "A-b",
            "1a",
            "-a",
            "a-",
            "foo@",
            "foo@bar",
            "a.socket",
            "a.b",
            "../x",
            "a/b",
            "a%i",
            "a\\x2d",
            "a b",
            "a\n",
            "ä-b",
            "a:b",
            "-.slice",
            &"x".repeat(64),
        ] {
            assert!(alias_fault(bad).is_some(), "{bad}");
        }
        assert!(alias_fault(&"x.service".repeat(10_000)).is_some());
        for taken in [
            "ssh",
            "sshd",
            "nginx",
            "systemd-logind",
            "dbus",
            "dbus-org-freedesktop-login1",
            "hostkit-shop",
            "hostkit",
            "cron",
            "getty",
            "user",
            "init",
            "basic",
            "rescue",
            "postgresql",
            "redis-server",
            "apt-daily",
            "networking",
        ] {
            assert!(alias_fault(taken).is_some(), "{taken}");
        }
        let (_, hint) = alias_fault("shop-api.service").unwrap();
        assert_eq!(hint, "write \"shop-api\"");
        assert!(!alias_fault("a\u{1b}[2J").unwrap().0.contains('\u{1b}'));
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(SYSTEM.is_sorted());
    }

    #[test]
    fn an_operator_grants_one_to_one_project() {
        let granted: GrantedAlias = "shop/old-shop".parse().unwrap();
        assert_eq!((granted.project.as_str(), granted.alias.as_str()), ("shop", "old-shop"));
        for bad in ["shop", "shop/", "shop/ssh", "shop/a.socket", "Shop/x-y", "/x-y", "shop/a/b"] {
            assert!(bad.parse::<GrantedAlias>().is_err(), "{bad}");
        }
    }
}

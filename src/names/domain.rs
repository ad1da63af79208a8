//! A domain name in its one canonical form.

use std::{fmt, str::FromStr};

use super::serde_by_str;
use crate::error::{Error, Result};

/// Lower case, letters, digits, hyphens and dots only: safe in an nginx file as it stands, and
/// equal exactly when the names are the same.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Domain(String);

impl Domain {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This domain one label further down.
    pub fn below(&self, label: &super::ProjectName) -> Result<Self> {
        format!("{label}.{self}").parse()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let canonical = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match broken_rule(&canonical) {
            None => Ok(Self(canonical)),
            Some(rule) => {
                Err(Error::usage("bad_domain", format!("`{}` is no domain", text.escape_debug()))
                    .caused_by(rule)
                    .hint("give a name like `www.example.com`"))
            }
        }
    }
}

serde_by_str!(Domain);

fn broken_rule(domain: &str) -> Option<String> {
    if domain.is_empty() {
        return Some("it is empty".into());
    }
    if domain.len() > 253 {
        return Some(format!(
            "a domain has 253 characters at most, and this one has {}",
            domain.len()
        ));
    }
    if !domain.is_ascii() {
        return Some("write names in other scripts in their ASCII form (xn--…)".into());
    }
    if domain.contains('*') {
        return Some("a wildcard is no domain of one project".into());
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Some("a part between two dots is empty".into());
        }
        if label.len() > 63 {
            return Some(format!("`{label}` is longer than 63 characters"));
        }
        if let Some(odd) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            return Some(format!("`{}` can't be in a domain", odd.escape_debug()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Some(format!("`{label}` starts or ends with a hyphen"));
        }
    }
    let last = domain.rsplit('.').next().unwrap_or(domain);
    last.bytes().all(|b| b.is_ascii_digit()).then(|| "an address is no domain".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_has_one_form() {
        for text in ["WWW.Example.com", "www.example.com.", "www.example.com"] {
            assert_eq!(text.parse::<Domain>().unwrap().as_str(), "www.example.com");
        }
    }

    #[test]
    fn what_nginx_could_misread_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "a; access_log /etc/cron.d/x",
            "a} server {",
            "*.example.com",
            "~.",
            "a b",
            "a\nb",
            "-a.com",
            "a-.com",
            "$host",
            "exämple.com",
            "10.0.0.1",
            "a_b.com",
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn accepted_domains_hold_no_syntax(text in "\\PC{0,30}|[a-z.;{}$ -]{0,20}") {
            if let Ok(domain) = text.parse::<Domain>() {
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
                prop_assert!(domain.as_str().bytes().all(plain));
            }
        }
    }
}

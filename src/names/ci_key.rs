//! An SSH key that opens the gate of one project, for a few commands, and nothing else.

use std::{fmt, str::FromStr};

use super::{ProjectName, PublicKey, serde_by_str};
use crate::error::{Error, Result};

/// Written and read as its line of `authorized_keys`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CiKey {
    pub project: ProjectName,
    /// What it may ask for: `deploy`, `project restart`.
    pub verbs: Vec<String>,
    /// Addresses that it may come from, as sshd reads them; from anywhere where there is none.
    pub from: Vec<String>,
    /// `20271231`.
    pub expires: Option<String>,
    pub key: PublicKey,
}

const GATE: &str = "/usr/bin/hostkit gate ";

impl CiKey {
    /// An address or a pattern of addresses, as `from=` takes it.
    pub fn check_from(text: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".:*?/_-!".contains(c);
        if !text.is_empty() && text.len() <= 100 && text.chars().all(plain) {
            return Ok(());
        }
        Err(Error::usage("bad_from", format!("`{}` is no address", text.escape_debug()))
            .hint("give addresses, networks or patterns: `--from 203.0.113.7,10.0.0.0/8`"))
    }

    /// `2027-12-31`, as `expiry-time=` takes it.
    pub fn expiry(text: &str) -> Result<String> {
        let date: jiff::civil::Date = text.parse().map_err(|_| {
            Error::usage("bad_date", format!("`{}` is no date", text.escape_debug()))
                .hint("write it like 2027-12-31")
        })?;
        Ok(date.strftime("%Y%m%d").to_string())
    }
}

impl fmt::Display for CiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbs: Vec<String> = self.verbs.iter().map(|verb| verb.replace(' ', "+")).collect();
        write!(f, "restrict,command=\"{GATE}{} --verbs {}\"", self.project, verbs.join(","))?;
        if !self.from.is_empty() {
            write!(f, ",from=\"{}\"", self.from.join(","))?;
        }
        if let Some(expires) = &self.expires {
            write!(f, ",expiry-time=\"{expires}\"")?;
        }
        write!(f, " {}", self.key)
    }
}

impl FromStr for CiKey {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let refused = || Error::usage("bad_key", "this is no line of a CI key");
        let rest = line.strip_prefix("restrict,command=\"").ok_or_else(refused)?;
        let (command, mut rest) = rest.split_once('"').ok_or_else(refused)?;
        let command = command.strip_prefix(GATE).ok_or_else(refused)?;
        let (project, verbs) = command.split_once(" --verbs ").ok_or_else(refused)?;
        let mut from = Vec::new();
        let mut expires = None;
        while let Some(option) = rest.strip_prefix(',') {
            let (name, value) = option.split_once("=\"").ok_or_else(refused)?;
            let (value, after) = value.split_once('"').ok_or_else(refused)?;
            match name {
                "from" => from = value.split(',').map(str::to_owned).collect(),
                "expiry-time" => expires = Some(value.to_owned()),
                _ => return Err(refused()),
            }
            rest = after;
        }
        for address in &from {
            Self::check_from(address)?;
        }
        Ok(Self {
            project: project.parse()?,
            verbs: verbs.split(',').map(|verb| verb.replace('+', " ")).collect(),
            from,
            expires,
            key: rest.trim_start().parse()?,
        })
    }
}

serde_by_str!(CiKey);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ci";

    #[test]
    fn a_line_is_read_back() {
        let key = CiKey {
            project: "my-shop".parse().unwrap(),
            verbs: vec!["deploy".into(), "project restart".into()],
            from: vec!["203.0.113.7".into(), "10.0.0.0/8".into()],
            expires: Some(CiKey::expiry("2027-12-31").unwrap()),
            key: KEY.parse().unwrap(),
        };
        let line = key.to_string();
        assert_eq!(
            line,
            format!(
                "restrict,command=\"/usr/bin/hostkit gate my-shop --verbs deploy,project+restart\",\
                 from=\"203.0.113.7,10.0.0.0/8\",expiry-time=\"20271231\" {KEY}"
            )
        );
        assert_eq!(line.parse::<CiKey>().unwrap(), key);
    }

    #[test]
    fn what_could_end_an_option_is_no_address() {
        for text in ["", "a\"b", "a b", "a\nb", "a,b", "$x"] {
            assert!(CiKey::check_from(text).is_err(), "{text}");
        }
        assert!(CiKey::expiry("tomorrow").is_err());
        assert!(KEY.parse::<CiKey>().is_err());
    }
}

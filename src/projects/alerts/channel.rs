//! Who is told: channels, and their addresses, which are secrets.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    names::nearest,
};

/// By name.
pub type Channels = BTreeMap<String, Channel>;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Channel {
    pub kind: ChannelKind,
    pub url: Address,
}

/// What the other side understands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Discord,
    Ntfy,
    Slack,
    /// A program of one's own: JSON.
    Webhook,
}

impl ChannelKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discord => "discord",
            Self::Ntfy => "ntfy",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
        }
    }

    /// What those who take such messages are called.
    pub fn of(url: &Address) -> Self {
        let is = |domain: &str| {
            let host = url.host();
            host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        };
        match () {
            () if is("slack.com") => Self::Slack,
            () if is("discord.com") || is("discordapp.com") => Self::Discord,
            () if is("ntfy.sh") => Self::Ntfy,
            () => Self::Webhook,
        }
    }
}

/// Where messages go. Whoever knows all of it may send some, so it is never shown.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

const LONGEST: usize = 2000;

impl Address {
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// The host alone: `hooks.slack.com`, `[::1]`.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Why it is none.
    fn fault(&self) -> Option<&'static str> {
        let odd = |c: char| c.is_control() || c.is_whitespace() || "<>\"\\".contains(c);
        let is_here = matches!(self.host(), "127.0.0.1" | "[::1]" | "localhost");
        match () {
            () if self.0.len() > LONGEST => Some("it is too long"),
            () if self.0.contains(odd) => Some("it holds a character that addresses don't have"),
            () if self.authority().contains('@') => Some("it holds a user's name"),
            () if self.host().is_empty() => Some("it names no host"),
            () if self.is_encrypted() => None,
            () if !self.0.starts_with("http://") => Some("it does not begin with https://"),
            () if !is_here => Some("without https:// everybody on the way reads it"),
            () => None,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let address = Self(text.to_owned());
        match address.fault() {
            None => Ok(address),
            Some(why) => Err(Error::usage("bad_address", "messages can't go to this address")
                .caused_by(why)
                .hint("give one like `https://hooks.slack.com/services/…`; by http:// only programs on this server are reached")),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

/// As it may be shown.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted() { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name that a channel may have.
pub fn check_name(name: &str) -> Result<()> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(letter) && !name.starts_with('-') {
        return Ok(());
    }
    Err(Error::usage("bad_name", format!("`{}` is no name of a channel", name.escape_debug()))
        .hint("up to 32 small letters, digits and hyphens: `ops`"))
}

/// One of them, by name.
pub fn find<'a>(channels: &'a Channels, name: &str) -> Result<&'a Channel> {
    channels.get(name).ok_or_else(|| {
        let error =
            Error::missing("no_channel", format!("there is no channel `{}`", name.escape_debug()));
        match nearest(name, channels.keys().map(String::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint("see `hostkit alert list`"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<Address> {
        text.parse()
    }

    #[test]
    fn addresses_are_checked_and_never_shown() {
        let slack = address("https://hooks.slack.com/services/T0/B0/SECRET").unwrap();
        assert_eq!(
            format!("{slack} {slack:?}"),
            "https://hooks.slack.com/… https://hooks.slack.com/…"
        );
        assert_eq!(ChannelKind::of(&slack), ChannelKind::Slack);
        let kind = |url: &str| ChannelKind::of(&address(url).unwrap());
        assert_eq!(kind("https://discord.com/api/webhooks/1/x"), ChannelKind::Discord);
        assert_eq!(kind("https://ntfy.sh/topic"), ChannelKind::Ntfy);
        assert_eq!(kind("https://notslack.com/x"), ChannelKind::Webhook);
        assert_eq!(address("http://[::1]:9000/x").unwrap().host(), "[::1]");
        assert!(address("http://127.0.0.1:9000/x").is_ok());
        for (bad, why) in [
            ("http://example.com/x", "everybody on the way"),
            ("http://localhost.example.com/", "everybody on the way"),
            ("http://127.0.0.1@example.com/", "a user's name"),
            ("https://user:word@example.com/", "a user's name"),
            ("file:///etc/shadow", "names no host"),
            ("gopher://x/", "does not begin with https"),
            ("https:///x", "names no host"),
            ("https://a b/", "a character"),
            ("https://a/\nx", "a character"),
            ("", "names no host"),
        ] {
            let error = address(bad).unwrap_err();
            assert!(error.cause.as_ref().unwrap().contains(why), "{bad}: {error}");
            assert!(!error.to_string().contains("word"), "{error}");
        }
    }

    #[test]
    fn names_are_short() {
        for good in ["ops", "a-1"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "Ops", "a b", "../x", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}

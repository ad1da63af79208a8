//! What a secret's value has to look like.

use std::{fmt, str::FromStr};

/// A form that a value has or has not. Whether it is right only its provider knows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    Email,
    Hex,
    Integer,
    Json,
    Pem,
    /// A key of a provider's, by how such keys begin.
    Provider(usize),
    #[default]
    Text,
    Url,
    Uuid,
}

struct Provider {
    name: &'static str,
    begins: &'static [&'static str],
    shortest: usize,
}

const fn provider(
    name: &'static str,
    begins: &'static [&'static str],
    shortest: usize,
) -> Provider {
    Provider { name, begins, shortest }
}

const PROVIDERS: &[Provider] = &[
    provider("anthropic", &["sk-ant-"], 24),
    provider("aws-key-id", &["AKIA", "ASIA"], 20),
    provider("github", &["ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"], 24),
    provider("openai", &["sk-"], 20),
    provider("resend", &["re_"], 12),
    provider("sendgrid", &["SG."], 24),
    provider("slack", &["xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "xapp-"], 16),
    provider("stripe", &["sk_live_", "sk_test_", "rk_live_", "rk_test_"], 20),
    provider("stripe-webhook", &["whsec_"], 16),
];

/// Those that are no provider's.
const PLAIN: [(&str, Format); 8] = [
    ("email", Format::Email),
    ("hex", Format::Hex),
    ("integer", Format::Integer),
    ("json", Format::Json),
    ("pem", Format::Pem),
    ("text", Format::Text),
    ("url", Format::Url),
    ("uuid", Format::Uuid),
];

impl Format {
    pub fn names() -> impl Iterator<Item = &'static str> {
        PLAIN.iter().map(|(name, _)| *name).chain(PROVIDERS.iter().map(|one| one.name))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider(at) => PROVIDERS.get(at).map_or("text", |one| one.name),
            plain => PLAIN.iter().find(|(_, one)| *one == plain).map_or("text", |(name, _)| name),
        }
    }

    /// Why a value is none of these, in words that hold nothing of it.
    pub fn check(self, value: &str) -> Result<(), &'static str> {
        let holds = |is: bool, why: &'static str| if is { Ok(()) } else { Err(why) };
        match self {
            Self::Email => holds(is_email(value), "it is no address of an email"),
            Self::Hex => holds(
                value.len().is_multiple_of(2) && value.bytes().all(|b| b.is_ascii_hexdigit()),
                "it is not an even number of hexadecimal digits",
            ),
            Self::Integer => holds(value.parse::<i64>().is_ok(), "it is no whole number"),
            Self::Json => holds(
                serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok(),
                "it is no document of JSON",
            ),
            Self::Pem => holds(is_pem(value), "it has no `-----BEGIN …-----` and its end"),
            Self::Provider(at) => {
                let Some(Provider { begins, shortest, .. }) = PROVIDERS.get(at) else {
                    return Ok(());
                };
                let fits = value.bytes().all(|b| b.is_ascii_graphic())
                    && value.len() >= *shortest
                    && begins.iter().any(|begin| value.starts_with(begin));
                holds(fits, "it does not look like a key of that provider's")
            }
            Self::Text => Ok(()),
            Self::Url => holds(is_url(value), "it is no address like `https://host/path`"),
            Self::Uuid => holds(is_uuid(value), "it is no UUID"),
        }
    }
}

fn is_email(value: &str) -> bool {
    let Some((who, host)) = value.rsplit_once('@') else { return false };
    !who.is_empty()
        && host.contains('.')
        && host.split('.').all(|label| {
            !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(is_scheme)
        && !rest.is_empty()
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_pem(value: &str) -> bool {
    let mut lines = value.trim().lines();
    let label = |line: &str, what: &str| -> Option<String> {
        Some(line.trim().strip_prefix(what)?.strip_suffix("-----")?.to_owned())
    };
    let first = lines.next().and_then(|line| label(line, "-----BEGIN "));
    first.is_some() && first == lines.next_back().and_then(|line| label(line, "-----END "))
}

fn is_uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = PLAIN.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
        let known = || PROVIDERS.iter().position(|one| one.name == text).map(Self::Provider);
        plain.or_else(known).ok_or_else(|| {
            let short: String = text.escape_debug().take(40).collect();
            let all: Vec<&str> = Self::names().collect();
            format!("`{short}` is no kind of value: there are {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_knows_its_own() {
        for (kind, good, bad) in [
            ("email", "a.b+c@mail.example.com", "a@b"),
            ("email", "ü@example.com", "a b@example.com"),
            ("hex", "00ff", "0f0"),
            ("integer", "-12", "1.5"),
            ("json", "{\"a\": [1]}", "{a: 1}"),
            ("pem", "-----BEGIN X-----\nAA\n-----END X-----\n", "-----BEGIN X-----\nAA"),
            ("url", "postgresql+psycopg://u:p@h:5432/d", "www.example.com"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
            ("aws-key-id", "AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLEAKIA"),
            ("github", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_short"),
            ("openai", "sk-proj-0123456789abcdef", "pk-proj-0123456789abcdef"),
            ("stripe", "sk_live_0123456789abcdef", "pk_live_0123456789abcdef"),
        ] {
            let format: Format = kind.parse().unwrap();
            assert_eq!(format.to_string(), kind);
            assert_eq!(format.check(good), Ok(()), "{kind} {good}");
            let why = format.check(bad).unwrap_err();
            assert!(!why.contains(bad), "{why}");
        }
        assert!(Format::Text.check("anything\nat all").is_ok());
        assert!("emial".parse::<Format>().unwrap_err().contains("there are email, hex"));
    }
}

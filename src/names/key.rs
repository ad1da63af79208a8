//! An SSH public key: one line, no options, of a kind that sshd takes.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};

use super::serde_by_str;
use crate::error::{Error, Result};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    kind: String,
    body: String,
    comment: String,
}

const KINDS: &[&str] = &[
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-ed25519",
    "ssh-rsa",
];

impl PublicKey {
    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let blob = BASE64.decode(self.body.as_bytes()).unwrap_or_default();
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob)))
    }

    /// Itself, with that comment where it has none.
    #[must_use]
    pub fn or_called(mut self, comment: &str) -> Self {
        if self.comment.is_empty() {
            comment.clone_into(&mut self.comment);
        }
        self
    }

    pub fn comment(&self) -> &str {
        &self.comment
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.body)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            Error::usage("bad_key", "this is no SSH public key")
                .caused_by(why)
                .hint("give the one line of a `.pub` file, like `ssh-ed25519 AAAA… me@laptop`")
        };
        let line = text.trim();
        if line.contains("PRIVATE KEY") {
            return Err(refused("it is a private key: keep that one to yourself"));
        }
        if line.chars().any(char::is_control) {
            return Err(refused("a key is one line"));
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(body)) = (words.next(), words.next()) else {
            return Err(refused("it has fewer than two words"));
        };
        if !KINDS.contains(&kind) {
            return Err(refused("it does not start with a kind of key that sshd accepts"));
        }
        let blob =
            BASE64.decode(body.as_bytes()).map_err(|_| refused("its second word is not base64"))?;
        if wire_kind(&blob) != Some(kind.as_bytes()) {
            return Err(refused("its second word is a key of another kind, or cut off"));
        }
        let comment: Vec<&str> = words.collect();
        Ok(Self { kind: kind.into(), body: body.into(), comment: comment.join(" ") })
    }
}

serde_by_str!(PublicKey);

/// The kind as the key itself says it: a length of four bytes, then the name.
fn wire_kind(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (kind, body) = rest.split_at_checked(length)?;
    (body.len() >= 32).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS me@laptop";

    #[test]
    fn a_key_is_what_sshd_would_take() {
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(key.fingerprint().starts_with("SHA256:"));
        assert_eq!(key.comment(), "me@laptop");
    }

    #[test]
    fn options_and_second_lines_are_refused() {
        for text in [
            "",
            "ssh-ed25519",
            "command=\"x\" ssh-ed25519 AAAA",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "ssh-dss AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        assert!(format!("{KEY}\nssh-ed25519 AAAA").parse::<PublicKey>().is_err());
    }
}

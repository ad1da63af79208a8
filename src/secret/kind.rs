//! What a secret that hostkit makes looks like.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::{Secret, random};
use crate::error::Result;

/// The form of a secret: how it is written, and how much of it there is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub enum Kind {
    /// Bytes, in the alphabet of URLs.
    Base64(u8),
    /// Letters and digits that nobody mistakes for each other.
    Code(u8),
    /// A key of Fernet's.
    Fernet,
    /// Bytes, as twice as many digits.
    Hex(u8),
    /// Words that can be spoken, of 16 bits each.
    Words(u8),
}

/// A variable that a project's first deploy makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Generated {
    pub kind: Kind,
    /// Whether the deploy that makes it tells an operator.
    pub show: bool,
    /// What it is for; "" where nobody said.
    pub about: String,
}

/// As a manifest says them: name, the usual amount, the least and the most.
const COUNTED: [(&str, u8, u8, u8); 4] =
    [("base64", 32, 16, 64), ("code", 12, 8, 64), ("hex", 32, 16, 64), ("words", 4, 3, 12)];

/// 32 signs: no 0 or o, no 1 or l.
const CODE: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

impl Kind {
    /// What a pattern of texts takes, for a schema.
    pub const PATTERN: &str = "^(fernet|(base64|code|hex|words)(:[0-9]{1,2})?)$";

    pub fn make(self) -> Result<Secret> {
        let pick = |signs: &[u8], bits: u16| char::from(signs[usize::from(bits) % signs.len()]);
        Ok(Secret::new(match self {
            Self::Base64(count) => BASE64URL_NOPAD.encode(&random(count.into())?),
            Self::Code(count) => {
                random(count.into())?.iter().map(|byte| pick(CODE, u16::from(*byte))).collect()
            }
            Self::Fernet => BASE64URL.encode(&random(32)?),
            Self::Hex(count) => HEXLOWER.encode(&random(count.into())?),
            Self::Words(count) => {
                let bytes = random(2 * usize::from(count))?;
                let word = |pair: &[u8]| -> String {
                    let bits = u16::from_be_bytes([pair[0], pair[1]]);
                    [
                        pick(CONSONANTS, bits >> 12),
                        pick(VOWELS, bits >> 10),
                        pick(CONSONANTS, bits >> 6),
                        pick(VOWELS, bits >> 4),
                        pick(CONSONANTS, bits),
                    ]
                    .iter()
                    .collect()
                };
                bytes.chunks_exact(2).map(word).collect::<Vec<_>>().join("-")
            }
        }))
    }
}

impl Default for Kind {
    fn default() -> Self {
        Self::Hex(32)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base64(count) => write!(f, "base64:{count}"),
            Self::Code(count) => write!(f, "code:{count}"),
            Self::Fernet => f.write_str("fernet"),
            Self::Hex(count) => write!(f, "hex:{count}"),
            Self::Words(count) => write!(f, "words:{count}"),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "fernet" {
            return Ok(Self::Fernet);
        }
        let (name, count) = text.split_once(':').map_or((text, None), |(n, c)| (n, Some(c)));
        let Some((_, usual, least, most)) = COUNTED.into_iter().find(|(known, ..)| *known == name)
        else {
            let short: String = text.escape_debug().take(40).collect();
            return Err(format!(
                "`{short}` is no kind of secret: there are hex:32, base64:32, fernet, words:4 and \
                 code:12"
            ));
        };
        let count = match count {
            None => Some(usual),
            Some(count) => count.parse().ok().filter(|count| (least..=most).contains(count)),
        };
        let count =
            count.ok_or_else(|| format!("`{name}` wants a number from {least} to {most}"))?;
        Ok(match name {
            "base64" => Self::Base64(count),
            "code" => Self::Code(count),
            "words" => Self::Words(count),
            _ => Self::Hex(count),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn make(kind: &str) -> String {
        kind.parse::<Kind>().unwrap().make().unwrap().expose().to_owned()
    }

    #[test]
    fn each_kind_has_its_form() {
        let is = |text: &str, signs: &[u8]| text.bytes().all(|b| signs.contains(&b));
        assert!(make("hex:32").len() == 64 && is(&make("hex:32"), b"0123456789abcdef"));
        assert!(make("hex").len() == 64 && make("hex:16").len() == 32);
        assert!(make("code:10").len() == 10 && is(&make("code:64"), CODE));
        assert_eq!(make("base64:32").len(), 43);
        let fernet = make("fernet");
        assert_eq!(BASE64URL.decode(fernet.as_bytes()).unwrap().len(), 32);
        let words = make("words:4");
        let words: Vec<&[u8]> = words.split('-').map(str::as_bytes).collect();
        assert_eq!(words.len(), 4);
        for word in words {
            assert_eq!(word.len(), 5);
            for (at, sign) in word.iter().enumerate() {
                let signs: &[u8] = if at % 2 == 0 { CONSONANTS } else { VOWELS };
                assert!(signs.contains(sign), "{word:?}");
            }
        }
    }

    #[test]
    fn every_bit_of_it_comes_from_the_kernel() {
        for kind in ["hex:16", "code:8", "base64:16", "fernet", "words:3"] {
            let made: BTreeSet<String> = (0..200).map(|_| make(kind)).collect();
            assert_eq!(made.len(), 200, "{kind}");
        }
        // Each sign comes up: a thousand of 32 leave none out but by a chance of 1e-12.
        let signs: BTreeSet<char> =
            (0..16).flat_map(|_| make("code:64").chars().collect::<Vec<_>>()).collect();
        assert_eq!(signs.len(), CODE.len());
        let spoken: BTreeSet<char> = make("words:12")
            .chars()
            .chain((0..20).flat_map(|_| make("words:12").chars().collect::<Vec<_>>()))
            .collect();
        assert_eq!(spoken.len(), CONSONANTS.len() + VOWELS.len() + 1);
    }

    #[test]
    fn what_is_no_kind_is_told() {
        for text in [
            "", "hexx", "hex:", "hex:8", "hex:65", "hex:-1", "hex:32:1", "words:99", "Fernet",
            "fernet:1", "code:7",
        ] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
        assert!("x".parse::<Kind>().unwrap_err().contains("there are hex:32"));
        assert_eq!("hex:8".parse::<Kind>().unwrap_err(), "`hex` wants a number from 16 to 64");
        for kind in ["hex:32", "fernet", "words:4", "code:10", "base64:16"] {
            assert_eq!(kind.parse::<Kind>().unwrap().to_string(), kind);
        }
    }
}

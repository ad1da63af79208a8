//! Names and numbers that are checked once, where they enter, and trusted from then on.

mod alias;
mod ci_key;
mod domain;
mod environment;
mod git;
mod key;
mod network;
mod project;
mod release;
mod runtime;

pub use alias::{ALIAS, GrantedAlias, alias_fault};
pub use ci_key::CiKey;
pub use domain::Domain;
pub use environment::Environment;
pub use git::{GitUrl, Revision, Transport};
pub use key::PublicKey;
pub use network::Network;
pub use project::ProjectName;
pub use release::{BackupId, CheckpointId, ReleaseId};
pub use runtime::Runtime;

/// Implements serde by way of `Display` and `FromStr`, so that what is read is checked again.
macro_rules! serde_by_str {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_by_str;

/// The nearest of `known`, if it is near enough to have been meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = (typed.len() / 3).max(1);
    known
        .into_iter()
        .map(|word| (distance(typed, word), word))
        .filter(|(apart, _)| *apart <= far)
        .min_by_key(|(apart, _)| *apart)
        .map(|(_, word)| word)
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        assert_eq!(nearest("base_domian", ["base_domain", "operators"]), Some("base_domain"));
        assert_eq!(nearest("wholly-else", ["port", "redis"]), None);
    }
}

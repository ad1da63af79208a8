//! An access key of object storage: a name that may be seen, and a secret that may not.

use data_encoding::HEXLOWER;

use super::{Secret, random};
use crate::error::Result;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    pub id: String,
    pub secret: Secret,
}

impl Keys {
    /// In the form that Garage takes: `GK` and 12 bytes, and a secret of 32.
    pub fn generate() -> Result<Self> {
        let id = format!("GK{}", HEXLOWER.encode(&random(12)?));
        Ok(Self { id, secret: Secret::generate()? })
    }

    /// What stands in a file or was typed, unless it can't be a key at all.
    pub fn read(id: &str, secret: &str) -> Option<Self> {
        let plain = |text: &str, longest: usize| {
            (3..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let fits = plain(id, 128) && plain(secret, 256);
        fits.then(|| Self { id: id.to_owned(), secret: Secret::new(secret) })
    }

    /// As they stand in a file of root's: the name, and the secret on a line of its own.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Self::read(lines.next()?.trim(), lines.next()?.trim())
    }

    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.id, self.secret.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_they_were_written() {
        let keys = Keys::generate().unwrap();
        assert_eq!((keys.id.len(), &keys.id[..2]), (26, "GK"));
        assert_eq!(Keys::parse(&keys.text()).unwrap(), keys);
        assert!(!format!("{keys:?}").contains(keys.secret.expose()));
        for (id, secret) in [("", "secret"), ("id with space", "secret"), ("GK1", "")] {
            assert!(Keys::read(id, secret).is_none(), "{id} {secret}");
        }
    }
}

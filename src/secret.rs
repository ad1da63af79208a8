//! What must never be printed, logged, journaled or serialised.

mod format;
mod keys;
mod kind;
mod seal;

use std::fmt;

use zeroize::Zeroizing;

pub use format::Format;
pub use keys::Keys;
pub use kind::{Generated, Kind};
pub use seal::{Keyring, MasterKey, Place, Sealed};

use crate::error::{Error, Result};

/// A password or a file that holds one. Prints as `***`; the journal can't hold it, and memory
/// that held it is overwritten.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// 256 bits from the kernel, as 64 hexadecimal digits: safe in a URL, a file and a shell.
    pub fn generate() -> Result<Self> {
        Kind::default().make()
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// So many bytes from the kernel.
fn random(count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0_u8; count];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("could not read random bytes from the kernel").caused_by(e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }

    #[test]
    fn two_are_never_alike() {
        let one = Secret::generate().unwrap();
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one, Secret::generate().unwrap());
    }
}

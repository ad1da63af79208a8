//! Values at rest: sealed under the server's master key, each for its own place alone.

use std::fmt;

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Secret, random};
use crate::error::{Error, Result};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// What is sealed is filled up to a multiple of so many bytes: its length tells little.
const BLOCK: usize = 64;

/// How the line of a key's file begins.
const MARK: &str = "hostkit-key-1:";

/// The key under which values lie in the registry, and the name that it has there.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

/// A value as the registry keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// Which key opens it.
    pub key: String,
    pub nonce: Vec<u8>,
    pub text: Vec<u8>,
}

/// Where a value belongs. Anywhere else it does not open.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub project: &'a str,
    pub name: &'a str,
    pub version: i64,
}

/// The keys that there are: one, but for the time of a change of keys.
pub struct Keyring {
    pub current: MasterKey,
    pub next: Option<MasterKey>,
}

impl MasterKey {
    pub fn generate() -> Result<Self> {
        let made = Zeroizing::new(random(KEY_BYTES)?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        bytes.copy_from_slice(&made);
        Ok(Self::of(bytes))
    }

    fn of(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let digest = Sha256::new().chain_update(b"hostkit master key").chain_update(&bytes[..]);
        let id = HEXLOWER.encode(&digest.finalize()[..6]);
        Self { bytes, id }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text of the file that holds it.
    pub fn file(&self) -> Secret {
        let digits = Zeroizing::new(HEXLOWER.encode(&*self.bytes));
        Secret::new(format!(
            "# The key of all secrets in hostkit's registry. Keep a copy where no copy of the registry is:\n\
             # without it they are lost, and with it whoever has the registry can read them.\n\
             {MARK}{}\n",
            *digits
        ))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
        let found = Zeroizing::new(HEXLOWER.decode(digits.as_bytes()).ok()?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if found.len() != KEY_BYTES {
            return None;
        }
        bytes.copy_from_slice(&found);
        Some(Self::of(bytes))
    }

    pub fn seal(&self, place: Place<'_>, value: &Secret) -> Result<Sealed> {
        let nonce = random(NONCE_BYTES)?;
        let padded = padded(value.expose().as_bytes());
        let bound = place.bound(&self.id);
        let payload = Payload { msg: &padded, aad: &bound };
        let text = self
            .cipher()
            .encrypt(&nonce_of(&nonce)?, payload)
            .map_err(|_| Error::failed(format!("could not seal `{}`", place.name)))?;
        Ok(Sealed { key: self.id.clone(), nonce, text })
    }

    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret> {
        let bound = place.bound(&self.id);
        let payload = Payload { msg: &sealed.text, aad: &bound };
        let opened = nonce_of(&sealed.nonce)
            .ok()
            .and_then(|nonce| self.cipher().decrypt(&nonce, payload).ok())
            .map(Zeroizing::new);
        let value = opened.as_ref().and_then(|padded| plain(padded));
        value.map(Secret::new).ok_or_else(|| altered(place))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(<&Key>::from(&*self.bytes))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id)
    }
}

impl Keyring {
    /// The key that a sealed value names.
    pub fn key(&self, id: &str) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.next).find(|key| key.id == id)
    }

    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret> {
        match self.key(&sealed.key) {
            Some(key) => key.open(place, sealed),
            None => Err(Error::not_ready(
                "key_unknown",
                format!("`{}` of {} can't be opened", place.name, place.project),
            )
            .caused_by(format!(
                "it was sealed under the master key {}, and this server has {}",
                sealed.key,
                self.current.id()
            ))
            .hint("put the old `/etc/hostkit/master.key` back from its copy; without one: `hostkit secrets init --new-key`")),
        }
    }
}

impl Place<'_> {
    /// No project, name or key has a zero byte, so no two places are the same bytes.
    fn bound(&self, key: &str) -> Vec<u8> {
        format!("hostkit secret 1\0{}\0{}\0{}\0{key}", self.project, self.name, self.version)
            .into_bytes()
    }
}

fn nonce_of(bytes: &[u8]) -> Result<XNonce> {
    let bytes: [u8; NONCE_BYTES] =
        bytes.try_into().map_err(|_| Error::failed("a nonce has another length"))?;
    Ok(XNonce::from(bytes))
}

/// The length, the value, and zeros up to the end of a block.
fn padded(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let whole = (8 + value.len()).next_multiple_of(BLOCK);
    let mut bytes = Zeroizing::new(Vec::with_capacity(whole));
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(whole, 0);
    bytes
}

fn plain(padded: &[u8]) -> Option<&str> {
    let (length, rest) = padded.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

fn altered(place: Place<'_>) -> Error {
    let Place { project, name, version } = place;
    Error::failed(format!("version {version} of `{name}` of {project} can't be opened"))
        .coded("altered")
        .caused_by("what lies in the registry is not what was sealed for this place: it is damaged, or somebody changed it")
        .hint(format!("put the registry back from a backup, or set it anew: `hostkit secrets set {project} {name}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Place<'_> = Place { project: "shop", name: "TOKEN", version: 3 };

    #[test]
    fn a_value_opens_in_its_own_place_and_in_no_other() {
        let key = MasterKey::generate().unwrap();
        let sealed = key.seal(HERE, &Secret::new("hunter2")).unwrap();
        assert_eq!(key.open(HERE, &sealed).unwrap().expose(), "hunter2");
        for place in [
            Place { project: "wiki", ..HERE },
            Place { name: "TOKEN2", ..HERE },
            Place { version: 4, ..HERE },
            Place { project: "shop\0TOKEN", name: "", version: 3 },
        ] {
            let error = key.open(place, &sealed).unwrap_err();
            assert_eq!(error.code, "altered", "{place:?}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn each_flipped_bit_is_told() {
        let key = MasterKey::generate().unwrap();
        let sealed = key.seal(HERE, &Secret::new("hunter2")).unwrap();
        for at in 0..sealed.text.len() + sealed.nonce.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                match at.checked_sub(bad.nonce.len()) {
                    Some(at) => bad.text[at] ^= 1 << bit,
                    None => bad.nonce[at] ^= 1 << bit,
                }
                assert_eq!(key.open(HERE, &bad).unwrap_err().code, "altered", "{at} {bit}");
            }
        }
        for cut in 0..sealed.text.len() {
            let short = Sealed { text: sealed.text[..cut].to_vec(), ..sealed.clone() };
            assert!(key.open(HERE, &short).is_err());
        }
        let odd = Sealed { nonce: vec![0; 12], ..sealed };
        assert!(key.open(HERE, &odd).is_err());
    }

    #[test]
    fn a_key_is_read_back_from_its_file_and_shown_nowhere() {
        let key = MasterKey::generate().unwrap();
        let file = key.file();
        let again = MasterKey::parse(file.expose()).unwrap();
        assert_eq!((again.id(), &again.bytes), (key.id(), &key.bytes));
        let digits = HEXLOWER.encode(&*key.bytes);
        assert!(!format!("{key:?} {}", key.id()).contains(&digits[..12]));
        for text in ["", "hostkit-key-1:", "hostkit-key-1:00", "hostkit-key-1:zz", "00"] {
            assert!(MasterKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_ring_opens_with_either_key_and_names_the_one_that_is_missing() {
        let (old, new, lost) = (
            MasterKey::generate().unwrap(),
            MasterKey::generate().unwrap(),
            MasterKey::generate().unwrap(),
        );
        let value = Secret::new("v");
        let sealed = [&old, &new, &lost].map(|key| key.seal(HERE, &value).unwrap());
        let ring = Keyring { current: old, next: Some(new) };
        assert_eq!(ring.open(HERE, &sealed[0]).unwrap(), value);
        assert_eq!(ring.open(HERE, &sealed[1]).unwrap(), value);
        let error = ring.open(HERE, &sealed[2]).unwrap_err();
        assert_eq!(error.code, "key_unknown");
        assert!(error.cause.unwrap().contains(lost.id()));
    }

    #[test]
    fn the_length_of_a_short_value_is_not_seen() {
        let key = MasterKey::generate().unwrap();
        let length = |value: &str| key.seal(HERE, &Secret::new(value)).unwrap().text.len();
        assert_eq!(length("a"), length(&"a".repeat(56)));
        assert!(length("a") < length(&"a".repeat(57)));
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(value in "(?s).{0,200}") {
            let key = MasterKey::generate().unwrap();
            let value = Secret::new(value);
            let (one, two) = (key.seal(HERE, &value).unwrap(), key.seal(HERE, &value).unwrap());
            prop_assert_ne!(&one, &two);
            prop_assert_eq!(&key.open(HERE, &one).unwrap(), &value);
            prop_assert_eq!(&key.open(HERE, &two).unwrap(), &value);
            let part = value.expose().as_bytes();
            prop_assert!(part.len() < 4 || !one.text.windows(part.len()).any(|w| w == part));
        }

        #[test]
        fn no_text_is_a_key_by_accident_or_a_panic(text in "(hostkit-key-1:)?[0-9a-fg]{0,70}\n?") {
            if let Some(key) = MasterKey::parse(&text) {
                prop_assert!(text.contains(&HEXLOWER.encode(&*key.bytes)));
            }
        }
    }
}

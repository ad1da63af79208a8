//! A project's key to its bucket, and to nothing else.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    secret::{Keys, Secret},
    sys::{
        Host,
        storage::{Grant, Key, Place, Storage, Store, patiently},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct AccessKey {
    pub place: Place,
    pub id: String,
    pub bucket: String,
    /// What keys of the project are called.
    pub whose: String,
    #[serde(skip)]
    pub secret: Option<Secret>,
}

impl AccessKey {
    fn grant(&self, may: bool) -> Grant {
        let (id, name) = (self.id.clone(), self.whose.clone());
        Grant { id, name, read: may, write: may, owner: false }
    }

    fn differs(&self, storage: &dyn Storage, is: &Key) -> Result<Vec<String>> {
        let mut differs = Vec::new();
        if self.secret.as_ref().is_some_and(|secret| *secret != is.keys.secret) {
            differs.push("secret".into());
        }
        if is.makes_buckets {
            differs.push("may make buckets (should not)".into());
        }
        if is.is_expired {
            differs.push("expired".into());
        }
        for other in is.buckets.iter().filter(|bucket| **bucket != self.bucket) {
            differs.push(format!("may use the bucket {other} (should not)"));
        }
        let bucket = storage.bucket(&self.bucket)?.unwrap_or_default();
        match bucket.keys.iter().find(|grant| grant.id == self.id) {
            None => differs.push(format!("may not use {}", self.bucket)),
            Some(Grant { read: true, write: true, owner: false, .. }) => {}
            Some(_) => differs.push(format!("other rights to {}", self.bucket)),
        }
        Ok(differs)
    }

    /// The bucket, opened with a key that somebody else made.
    fn given(&self) -> Result<Option<Store>> {
        let Some(secret) = self.secret.clone() else { return Ok(None) };
        let keys = Keys { id: self.id.clone(), secret };
        self.place.store(&self.bucket, &keys).map(Some)
    }

    fn check_given(&self) -> Result<Check> {
        let Some(store) = self.given()? else { return Ok(Check::InPlace) };
        Ok(match store.opens()? {
            Some(true) => Check::InPlace,
            None => Check::absent(),
            Some(false) => {
                let differs = format!("does not open {}", self.bucket);
                Check::Missing { before: Before::Was(true), differs }
            }
        })
    }

    /// It can't be mended from here: either it does what it should, or whoever made it must.
    fn try_given(&self) -> Result<()> {
        let Some(store) = self.given()? else { return Ok(()) };
        let mut text: &[u8] = b"hostkit was here\n";
        store.put(PROBE, &mut text).and_then(|_| store.delete(PROBE)).map_err(|error| {
            Error::conflict("key_refused", format!("the key does not open {}", self.bucket))
                .caused_by(error.cause.unwrap_or(error.message))
                .hint("let it read, write and list that bucket, and no other")
        })
    }
}

/// An object that is there for a moment.
const PROBE: &str = ".hostkit-probe";

impl Step for AccessKey {
    fn title(&self) -> String {
        format!("key to {}", self.bucket)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let storage = self.place.open(host)?;
        if !storage.makes_keys() {
            return self.check_given();
        }
        let Some(is) = storage.key(&self.id)? else { return Ok(Check::absent()) };
        let differs = self.differs(&*storage, &is)?;
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        // Rights that it should not have are none to give back.
        Ok(Check::Missing { before: Before::Was(true), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let storage = self.place.open(host)?;
        if !storage.makes_keys() {
            return self.try_given();
        }
        match storage.key(&self.id)? {
            None => {
                let secret = self.secret.clone().ok_or_else(|| {
                    Error::failed("the journal does not hold the secret of a key")
                })?;
                let keys = Keys { id: self.id.clone(), secret };
                storage.make_key(host, &keys, &self.whose)?;
            }
            Some(is) => {
                for other in is.buckets.iter().filter(|bucket| **bucket != self.bucket) {
                    storage.grant(host, other, &self.grant(false))?;
                }
            }
        }
        storage.grant(host, &self.bucket, &self.grant(true))
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => patiently(|| self.remove(host)),
            Before::Was(_) => Ok(()),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let storage = self.place.open(host)?;
        match storage.key(&self.id)? {
            Some(_) => storage.remove_key(host, &self.id),
            None => Ok(()),
        }
    }
}

/// A key that ended: nothing opens with it any more.
#[derive(Debug, Deserialize, Serialize)]
pub struct NoKey {
    pub place: Place,
    pub id: String,
}

impl Step for NoKey {
    fn title(&self) -> String {
        format!("no key {}", self.id)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let is = self.place.open(host)?.key(&self.id)?;
        Ok(match is {
            None => Check::InPlace,
            Some(_) => Check::Missing { before: Before::Was(true), differs: "still opens".into() },
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.place.open(host)?.remove_key(host, &self.id)
    }

    /// A key that was taken away never comes back; the next one is another.
    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        match self.check(host)? {
            Check::InPlace => Ok(()),
            Check::Missing { .. } => self.apply(host),
        }
    }
}

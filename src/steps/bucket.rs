//! A project's bucket of object storage, and who may use it.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step};
use crate::{
    error::{Error, Result},
    sys::{
        Host,
        storage::{self, Grant, Place, Storage},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Bucket {
    pub place: Place,
    pub name: String,
    /// What keys of the project are called.
    pub whose: String,
    pub is_public: bool,
    pub quota: u64,
    /// The one key that may use it, where the storage has a key for each project.
    pub key: Option<String>,
}

impl Bucket {
    fn differs(&self, storage: &dyn Storage, is: &storage::Bucket) -> Vec<String> {
        let mut differs = Vec::new();
        if is.is_public != self.is_public {
            let (is, should) = if is.is_public { ("is", "not") } else { ("is not", "be") };
            differs.push(format!("{is} public (should {should})"));
        }
        if storage.makes_keys() && is.quota != self.quota {
            differs.push(format!("quota {} (should be {})", is.quota, self.quota));
        }
        for other in self.others(is) {
            differs.push(format!("the key {} ({}) may use it (should not)", other.id, other.name));
        }
        differs
    }

    /// Keys that may use it and are not the project's.
    fn others<'a>(&'a self, is: &'a storage::Bucket) -> impl Iterator<Item = &'a Grant> {
        is.keys.iter().filter(|grant| self.key.as_ref().is_some_and(|key| *key != grant.id))
    }

    fn missing(&self) -> Error {
        Error::failed(format!("the bucket `{}` is gone", self.name))
    }
}

impl Step for Bucket {
    fn title(&self) -> String {
        format!("bucket {}", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let storage = self.place.open(host)?;
        let Some(mut is) = storage.bucket(&self.name)? else { return Ok(Check::absent()) };
        let differs = self.differs(&*storage, &is);
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        is.usage = None;
        let kept = serde_json::to_vec(&is)
            .map_err(|e| Error::failed("could not keep a bucket").caused_by(e))?;
        Ok(Check::Missing { before: Before::Kept(Kept::new(kept)), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let storage = self.place.open(host)?;
        if storage.bucket(&self.name)?.is_none() {
            storage.make_bucket(host, &self.name)?;
        }
        let is = storage.bucket(&self.name)?.ok_or_else(|| self.missing())?;
        if (is.is_public, is.quota) != (self.is_public, self.quota) {
            storage.shape_bucket(host, &self.name, self.is_public, self.quota)?;
        }
        for other in self.others(&is) {
            let nothing = Grant { read: false, write: false, owner: false, ..other.clone() };
            storage.grant(host, &self.name, &nothing)?;
        }
        Ok(())
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let kept = match before {
            Before::Absent => return storage::patiently(|| self.remove(host)),
            Before::Kept(kept) => kept.bytes(host)?,
            other => return Err(other.foreign()),
        };
        let was: storage::Bucket = serde_json::from_slice(&kept)
            .map_err(|e| Error::failed("could not read a kept bucket").caused_by(e))?;
        let storage = self.place.open(host)?;
        storage.shape_bucket(host, &self.name, was.is_public, was.quota)?;
        was.keys.iter().try_for_each(|grant| storage.grant(host, &self.name, grant))
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.place.open(host)?.remove_bucket(host, &self.name, &self.whose)
    }

    /// Nobody gets in any more, neither by a key nor without one.
    fn revoke(&self, host: &Host) -> Result<()> {
        let storage = self.place.open(host)?;
        let Some(is) = storage.bucket(&self.name)? else { return Ok(()) };
        if is.is_public {
            storage.shape_bucket(host, &self.name, false, is.quota)?;
        }
        for grant in &is.keys {
            let nothing = Grant { read: false, write: false, owner: false, ..grant.clone() };
            storage.grant(host, &self.name, &nothing)?;
        }
        Ok(())
    }
}

/// A bucket that goes, or one that stays and opens to nobody any more.
#[derive(Debug, Deserialize, Serialize)]
pub struct NoBucket {
    pub bucket: Bucket,
    pub keeps: bool,
}

impl Step for NoBucket {
    fn title(&self) -> String {
        let of = if self.keeps { "key to" } else { "bucket" };
        format!("no {of} {}", self.bucket.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let is = self.bucket.place.open(host)?.bucket(&self.bucket.name)?;
        Ok(match is {
            None => Check::InPlace,
            Some(_) => Check::Missing { before: Before::Was(true), differs: "is there".into() },
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.bucket.revoke(host)?;
        if !self.keeps {
            return self.bucket.remove(host);
        }
        let storage = self.bucket.place.open(host)?;
        let key = self.bucket.key.as_deref().filter(|_| storage.makes_keys());
        match key.map(|id| storage.key(id)).transpose()?.flatten() {
            Some(is) => storage.remove_key(host, &is.keys.id),
            None => Ok(()),
        }
    }

    /// What was taken away is in the last backup.
    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.apply(host)
    }
}

//! Object storage: a Garage of hostkit's own, or a service that speaks S3.

mod garage;
mod http;
mod service;
mod store;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use garage::GarageApi;
pub use http::Reading;
pub use service::Service;
pub use store::{Object, Store, fits};

use super::Host;
use crate::{
    config::Backend as Kind,
    error::{Error, Result},
    secret::Keys,
};

/// Where hostkit's own Garage listens: for S3, for other nodes, for visitors, and for hostkit.
pub const S3_PORT: u16 = 3900;
pub const RPC_PORT: u16 = 3901;
pub const WEB_PORT: u16 = 3902;
pub const ADMIN_PORT: u16 = 3903;

/// Opens the administration of Garage, as root alone may read it.
pub const TOKEN: &str = "/etc/hostkit/garage.token";
/// Keys of the whole account at an S3 service.
pub const ACCOUNT: &str = "/etc/hostkit/storage.keys";

/// A storage as a step remembers it: no secret, but how to find it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    pub kind: Kind,
    pub endpoint: String,
    pub region: String,
}

/// A bucket as it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bucket {
    /// Whether anybody may read its objects.
    pub is_public: bool,
    /// The most bytes that it may hold; 0 is no limit.
    pub quota: u64,
    /// Which keys may do something with it, where the storage tells that.
    pub keys: Vec<Grant>,
    pub usage: Option<Usage>,
}

/// What a key may do with a bucket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    pub id: String,
    pub name: String,
    pub read: bool,
    pub write: bool,
    pub owner: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    pub objects: u64,
    pub bytes: u64,
    /// Uploads in parts that were begun and not ended.
    pub unfinished: u64,
}

/// A key as it is.
#[derive(Clone, Debug)]
pub struct Key {
    pub keys: Keys,
    /// Buckets that it opens.
    pub buckets: Vec<String>,
    pub makes_buckets: bool,
    pub is_expired: bool,
}

/// What hostkit asks of a storage, whichever it is. Changes go through the host's one door.
pub trait Storage {
    /// Fails unless it answers, and takes hostkit for who it is.
    fn answers(&self) -> Result<()>;
    fn buckets(&self) -> Result<Vec<String>>;
    fn bucket(&self, name: &str) -> Result<Option<Bucket>>;
    fn make_bucket(&self, host: &Host, name: &str) -> Result<()>;
    fn shape_bucket(&self, host: &Host, name: &str, public: bool, quota: u64) -> Result<()>;
    fn usage(&self, name: &str) -> Result<Usage>;
    /// Takes a bucket away with all that is in it, and keys of that name; fine if it is gone.
    fn remove_bucket(&self, host: &Host, name: &str, whose: &str) -> Result<()>;
    /// Whether it can give each project a key of its own.
    fn makes_keys(&self) -> bool;
    fn key(&self, id: &str) -> Result<Option<Key>>;
    fn make_key(&self, host: &Host, keys: &Keys, whose: &str) -> Result<()>;
    fn remove_key(&self, host: &Host, id: &str) -> Result<()>;
    /// Lets a key do exactly this with a bucket.
    fn grant(&self, host: &Host, bucket: &str, grant: &Grant) -> Result<()>;
}

/// Tries again while a storage is down, for as long as one takes to start anew: what was begun
/// with it is not left half-done for that.
pub fn patiently<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match work() {
            Err(error) if error.code == "storage_down" && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(200));
            }
            done => return done,
        }
    }
}

impl Place {
    /// The storage, with hostkit's own rights to it.
    pub fn open(&self, host: &Host) -> Result<Box<dyn Storage>> {
        let lacks = |path: &str| {
            Error::not_ready("no_storage", "this server has no object storage yet")
                .caused_by(format!("there is no `{path}`"))
                .hint("set one up: `hostkit storage setup --help`")
        };
        match self.kind {
            Kind::Garage => {
                let token = host.read_text(Path::new(TOKEN))?.ok_or_else(|| lacks(TOKEN))?;
                Ok(Box::new(GarageApi::new(self.clone(), token.trim())?))
            }
            Kind::S3 => {
                let text = host.read_text(Path::new(ACCOUNT))?.ok_or_else(|| lacks(ACCOUNT))?;
                let keys = Keys::parse(&text).ok_or_else(|| lacks(ACCOUNT))?;
                Ok(Box::new(Service::new(self.clone(), keys)?))
            }
            Kind::None => Err(lacks(crate::config::PATH)),
        }
    }

    /// One bucket, with whichever key.
    pub fn store(&self, bucket: &str, keys: &Keys) -> Result<Store> {
        Store::open(self, bucket, keys)
    }
}

//! Garage by its administration: buckets, keys, and who may use which.

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ADMIN_PORT, Bucket, Grant, Key, Place, Storage, Usage, http::Http};
use crate::{
    error::{Error, Result},
    secret::{Keys, Secret},
    sys::Host,
};

pub struct GarageApi {
    http: &'static Http,
    place: Place,
    token: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BucketInfo {
    id: String,
    website_access: bool,
    keys: Vec<BucketKey>,
    objects: u64,
    bytes: u64,
    unfinished_uploads: u64,
    quotas: Quotas,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quotas {
    max_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BucketKey {
    access_key_id: String,
    name: String,
    permissions: Permissions,
}

#[derive(Default, Deserialize)]
struct Permissions {
    #[serde(default)]
    read: bool,
    #[serde(default)]
    write: bool,
    #[serde(default)]
    owner: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyInfo {
    secret_access_key: Option<String>,
    expired: bool,
    permissions: Value,
    buckets: Vec<KeyBucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBucket {
    id: String,
    global_aliases: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

/// The name of a key that lives no longer than hostkit works with it.
fn work_name(bucket: &str) -> String {
    format!("hostkit at work on {bucket}")
}

impl GarageApi {
    pub fn new(place: Place, token: &str) -> Result<Self> {
        Ok(Self { http: Http::shared()?, place, token: Secret::new(token) })
    }

    /// The answer as JSON, or nothing where there is no such thing.
    fn ask(
        &self,
        method: Method,
        call: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Option<Value>> {
        let failed = || Error::failed(format!("Garage refuses `{call}`")).coded("storage_refused");
        let url = format!("http://127.0.0.1:{ADMIN_PORT}/v2/{call}");
        let url = Url::parse_with_params(&url, query).map_err(|e| failed().caused_by(e))?;
        let answer = self.http.send(method, url, |request| {
            let request = request.bearer_auth(self.token.expose());
            match body {
                Some(body) => {
                    request.header("content-type", "application/json").body(body.to_string())
                }
                None => request,
            }
        })?;
        if answer.status == 404 {
            return Ok(None);
        }
        if !answer.is_good() {
            let said = serde_json::from_str::<Value>(&answer.body).ok();
            let said = said.as_ref().and_then(|value| value.get("message")?.as_str());
            return Err(failed().caused_by(said.unwrap_or(&format!("status {}", answer.status))));
        }
        if answer.body.trim().is_empty() {
            return Ok(Some(Value::Null));
        }
        serde_json::from_str(&answer.body)
            .map(Some)
            .map_err(|e| Error::failed(format!("could not read Garage's `{call}`")).caused_by(e))
    }

    fn read<T: for<'de> Deserialize<'de>>(call: &str, value: Value) -> Result<T> {
        serde_json::from_value(value)
            .map_err(|e| Error::failed(format!("could not read Garage's `{call}`")).caused_by(e))
    }

    fn info(&self, name: &str) -> Result<Option<BucketInfo>> {
        let query = [("globalAlias", name)];
        let found = self.ask(Method::GET, "GetBucketInfo", &query, None)?;
        found.map(|value| Self::read("GetBucketInfo", value)).transpose()
    }

    fn known(&self, name: &str) -> Result<BucketInfo> {
        self.info(name)?.ok_or_else(|| {
            Error::missing("no_bucket", format!("the storage has no bucket `{name}`"))
        })
    }

    /// A call that changes something.
    fn change(
        &self,
        host: &Host,
        what: &str,
        call: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<()> {
        host.effect(what, || self.ask(Method::POST, call, query, body).map(|_| ()))
    }

    fn permit(&self, host: &Host, bucket: &str, id: &str, may: &Grant, call: &str) -> Result<()> {
        let body = json!({
            "bucketId": bucket,
            "accessKeyId": id,
            "permissions": { "read": may.read, "write": may.write, "owner": may.owner },
        });
        self.change(host, &format!("say what the key `{id}` may do"), call, &[], Some(&body))
    }

    /// Empties a bucket with a key made for that alone.
    fn empty(&self, host: &Host, name: &str, id: &str) -> Result<()> {
        let body = json!({ "bucketId": id, "olderThanSecs": 0 });
        let call = "CleanupIncompleteUploads";
        self.change(host, "end unfinished uploads", call, &[], Some(&body))?;
        let keys = Keys::generate()?;
        let whose = work_name(name);
        self.make_key(host, &keys, &whose)?;
        let may = Grant { id: keys.id.clone(), name: whose, read: true, write: true, owner: false };
        let emptied = self
            .grant(host, name, &may)
            .and_then(|()| self.place.store(name, &keys))
            .and_then(|store| host.effect(&format!("empty `{name}`"), || store.empty()));
        self.remove_key(host, &keys.id).and(emptied)
    }
}

impl Storage for GarageApi {
    fn answers(&self) -> Result<()> {
        self.ask(Method::GET, "GetClusterHealth", &[], None).map(|_| ())
    }

    fn buckets(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed {
            global_aliases: Vec<String>,
        }
        let all = self.ask(Method::GET, "ListBuckets", &[], None)?.unwrap_or_default();
        let all: Vec<Listed> = Self::read("ListBuckets", all)?;
        Ok(all.into_iter().flat_map(|bucket| bucket.global_aliases).collect())
    }

    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        Ok(self.info(name)?.map(|info| Bucket {
            is_public: info.website_access,
            quota: info.quotas.max_size.unwrap_or(0),
            usage: Some(Usage {
                objects: info.objects,
                bytes: info.bytes,
                unfinished: info.unfinished_uploads,
            }),
            keys: info
                .keys
                .into_iter()
                .map(|key| Grant {
                    id: key.access_key_id,
                    name: key.name,
                    read: key.permissions.read,
                    write: key.permissions.write,
                    owner: key.permissions.owner,
                })
                .filter(|grant| grant.read || grant.write || grant.owner)
                .collect(),
        }))
    }

    fn make_bucket(&self, host: &Host, name: &str) -> Result<()> {
        let body = json!({ "globalAlias": name });
        self.change(host, &format!("make the bucket `{name}`"), "CreateBucket", &[], Some(&body))
    }

    fn shape_bucket(&self, host: &Host, name: &str, public: bool, quota: u64) -> Result<()> {
        let id = self.known(name)?.id;
        let access = if public {
            json!({ "enabled": true, "indexDocument": "index.html" })
        } else {
            json!({ "enabled": false })
        };
        let most = (quota > 0).then_some(quota);
        let body =
            json!({ "websiteAccess": access, "quotas": { "maxSize": most, "maxObjects": null } });
        let what = format!("set up the bucket `{name}`");
        self.change(host, &what, "UpdateBucket", &[("id", &id)], Some(&body))
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        let info = self.known(name)?;
        let BucketInfo { objects, bytes, unfinished_uploads: unfinished, .. } = info;
        Ok(Usage { objects, bytes, unfinished })
    }

    fn remove_bucket(&self, host: &Host, name: &str, whose: &str) -> Result<()> {
        if let Some(info) = self.info(name)? {
            let what = format!("remove the bucket `{name}`");
            let remove = || self.change(host, &what, "DeleteBucket", &[("id", &info.id)], None);
            // It takes away none but an empty one.
            if remove().is_err() {
                self.empty(host, name, &info.id)?;
                remove()?;
            }
        }
        let all = self.ask(Method::GET, "ListKeys", &[], None)?.unwrap_or_default();
        let all: Vec<Named> = Self::read("ListKeys", all)?;
        let ours = [whose.to_owned(), work_name(name)];
        for key in all.iter().filter(|key| ours.contains(&key.name)) {
            self.remove_key(host, &key.id)?;
        }
        Ok(())
    }

    fn makes_keys(&self) -> bool {
        true
    }

    fn key(&self, id: &str) -> Result<Option<Key>> {
        let query = [("id", id), ("showSecretKey", "true")];
        let found = self.ask(Method::GET, "GetKeyInfo", &query, None)?;
        let Some(found) = found else { return Ok(None) };
        let info: KeyInfo = Self::read("GetKeyInfo", found)?;
        let secret = Secret::new(info.secret_access_key.unwrap_or_default());
        let makes_buckets = info.permissions.get("createBucket").and_then(Value::as_bool);
        let named =
            |bucket: KeyBucket| bucket.global_aliases.into_iter().next().unwrap_or(bucket.id);
        Ok(Some(Key {
            keys: Keys { id: id.to_owned(), secret },
            buckets: info.buckets.into_iter().map(named).collect(),
            makes_buckets: makes_buckets.unwrap_or(false),
            is_expired: info.expired,
        }))
    }

    fn make_key(&self, host: &Host, keys: &Keys, whose: &str) -> Result<()> {
        let body = json!({
            "accessKeyId": keys.id,
            "secretAccessKey": keys.secret.expose(),
            "name": whose,
        });
        self.change(host, &format!("make the key `{}`", keys.id), "ImportKey", &[], Some(&body))
    }

    fn remove_key(&self, host: &Host, id: &str) -> Result<()> {
        self.change(host, &format!("remove the key `{id}`"), "DeleteKey", &[("id", id)], None)
    }

    fn grant(&self, host: &Host, bucket: &str, grant: &Grant) -> Result<()> {
        let info = self.known(bucket)?;
        let is = info.keys.into_iter().find(|key| key.access_key_id == grant.id);
        let is = is.map(|key| key.permissions).unwrap_or_default();
        for (call, read, write, owner) in [
            (
                "DenyBucketKey",
                is.read && !grant.read,
                is.write && !grant.write,
                is.owner && !grant.owner,
            ),
            (
                "AllowBucketKey",
                !is.read && grant.read,
                !is.write && grant.write,
                !is.owner && grant.owner,
            ),
        ] {
            if read || write || owner {
                let may = Grant { read, write, owner, ..grant.clone() };
                self.permit(host, &info.id, &grant.id, &may, call)?;
            }
        }
        Ok(())
    }
}

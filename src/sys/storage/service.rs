//! Any service that speaks S3, with the keys of an account: buckets, and no keys for others.

use serde_json::{Value, json};

use super::{Bucket, Grant, Key, Place, Storage, Store, Usage};
use crate::{
    error::{Error, Result},
    secret::Keys,
    sys::Host,
};

pub struct Service {
    place: Place,
    account: Keys,
}

/// The setting of a bucket that says who may read it.
const POLICY: &str = "policy";

impl Service {
    pub fn new(place: Place, account: Keys) -> Result<Self> {
        // Whatever is wrong with the address is found now.
        Store::open(&place, "hostkit", &account)?;
        Ok(Self { place, account })
    }

    fn store(&self, bucket: &str) -> Result<Store> {
        Store::open(&self.place, bucket, &self.account)
    }

    fn no_keys() -> Error {
        Error::failed("this storage can't make keys")
            .caused_by("it is a service elsewhere: whoever runs it gives out its keys")
    }
}

/// Anybody may read objects, and nobody may list them.
fn public(bucket: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "hostkit",
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": [format!("arn:aws:s3:::{bucket}/*")],
        }],
    })
    .to_string()
}

/// Whether a policy lets anybody do anything, whoever wrote it.
fn is_public(policy: &str) -> bool {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return true };
    let statements = policy.get("Statement").and_then(Value::as_array);
    statements.into_iter().flatten().any(|statement| {
        let anybody = match statement.get("Principal") {
            Some(Value::String(who)) => who == "*",
            Some(Value::Object(who)) => {
                who.get("AWS").is_some_and(|aws| aws == "*" || aws == &json!(["*"]))
            }
            _ => false,
        };
        anybody && statement.get("Effect").is_some_and(|effect| effect == "Allow")
    })
}

impl Storage for Service {
    /// A bucket that nobody has is refused in the one way or in the other.
    fn answers(&self) -> Result<()> {
        match self.store("hostkit-is-it-you")?.opens()? {
            Some(false) => Err(Error::not_ready(
                "storage_refused",
                "the storage knows no such key",
            )
            .caused_by(format!("`{}` refuses `{}`", self.place.endpoint, self.account.id))
            .hint("give it the right one: `hostkit storage setup --endpoint … --access-key …`")),
            Some(true) | None => Ok(()),
        }
    }

    fn buckets(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let store = self.store(name)?;
        match store.opens()? {
            None => Ok(None),
            Some(false) => Err(Error::conflict(
                "bucket_taken",
                format!("the bucket `{name}` belongs to somebody else"),
            )
            .caused_by(format!("`{}` keeps `{}` out of it", self.place.endpoint, self.account.id))
            .hint("let that key in, or choose another name for the project")),
            Some(true) => {
                let policy = store.setting(POLICY)?;
                let is_public = policy.as_deref().is_some_and(is_public);
                Ok(Some(Bucket { is_public, ..Bucket::default() }))
            }
        }
    }

    fn make_bucket(&self, host: &Host, name: &str) -> Result<()> {
        let store = self.store(name)?;
        host.effect(&format!("make the bucket `{name}`"), || store.make())
    }

    fn shape_bucket(&self, host: &Host, name: &str, wanted: bool, _quota: u64) -> Result<()> {
        let store = self.store(name)?;
        let is = store.setting(POLICY)?.as_deref().is_some_and(is_public);
        if is == wanted {
            return Ok(());
        }
        let text = wanted.then(|| public(name));
        host.effect(&format!("set up the bucket `{name}`"), || store.set(POLICY, text.as_deref()))
    }

    /// Nobody counts but who goes through all of it.
    fn usage(&self, name: &str) -> Result<Usage> {
        let mut usage = Usage::default();
        self.store(name)?.each("", |object| {
            usage.objects += 1;
            usage.bytes += object.size;
            Ok(())
        })?;
        Ok(usage)
    }

    fn remove_bucket(&self, host: &Host, name: &str, _whose: &str) -> Result<()> {
        let store = self.store(name)?;
        if store.opens()?.is_none() {
            return Ok(());
        }
        host.effect(&format!("empty `{name}`"), || store.empty())?;
        host.effect(&format!("remove the bucket `{name}`"), || store.remove())
    }

    fn makes_keys(&self) -> bool {
        false
    }

    fn key(&self, _id: &str) -> Result<Option<Key>> {
        Ok(None)
    }

    fn make_key(&self, _host: &Host, _keys: &Keys, _whose: &str) -> Result<()> {
        Err(Self::no_keys())
    }

    fn remove_key(&self, _host: &Host, _id: &str) -> Result<()> {
        Ok(())
    }

    fn grant(&self, _host: &Host, _bucket: &str, _grant: &Grant) -> Result<()> {
        Err(Self::no_keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_for_anybody_is_seen_as_one() {
        assert!(is_public(&public("hostkit-shop")));
        assert!(is_public("not json"));
        let own = json!({ "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::1:user/x" } }] });
        assert!(!is_public(&own.to_string()));
        let deny = json!({ "Statement": [{ "Effect": "Deny", "Principal": "*" }] });
        assert!(!is_public(&deny.to_string()));
    }
}

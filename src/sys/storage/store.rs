//! One bucket with one key: what an S3 client needs, and no more.

use std::{io::Read, time::Duration};

use reqwest::{Method, Url};
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{
        CompleteMultipartUploadResponse, CreateMultipartUpload, DeleteObjectsResponse,
        ListObjectsV2, ObjectIdentifier,
    },
};

use super::{
    Place, Reading,
    http::{Answer, Http},
};
use crate::{
    error::{Context, Error, Result},
    secret::Keys,
};

/// How long a signature holds: a request is sent at once.
const HOLDS: Duration = Duration::from_mins(10);

/// The first parts of what is sent in parts; each thousand of them the parts get twice as long,
/// so that ten thousand are enough for anything.
const PART: usize = 8 << 20;

/// One bucket, opened with one key.
pub struct Store {
    place: Place,
    http: &'static Http,
    bucket: Bucket,
    credentials: Credentials,
}

/// An object of a bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    pub key: String,
    pub size: u64,
}

/// Whether a request can name an object: a path with a dot for a part leads elsewhere.
pub fn fits(key: &str) -> bool {
    !key.is_empty() && key.split('/').all(|part| part != "." && part != "..")
}

impl Store {
    pub fn open(place: &Place, bucket: &str, keys: &Keys) -> Result<Self> {
        let refused = |why: String| {
            Error::usage("bad_endpoint", format!("`{}` is no object storage", place.endpoint))
                .caused_by(why)
                .hint("an address like https://s3.example.com")
        };
        let endpoint: Url =
            place.endpoint.parse().map_err(|e| refused(format!("{e}").to_lowercase()))?;
        if endpoint.host_str() == Some("localhost") {
            return Err(refused("name the address and not `localhost`, which may be two".into()));
        }
        let (name, region) = (bucket.to_owned(), place.region.clone());
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name, region)
            .map_err(|e| refused(e.to_string()))?;
        let credentials = Credentials::new(&keys.id, keys.secret.expose());
        Ok(Self { place: place.clone(), http: Http::shared()?, bucket, credentials })
    }

    /// Up to a thousand objects after `after`, and where to go on if there are more.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<Object>, Option<String>)> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_prefix(prefix);
        if let Some(token) = after {
            action.with_continuation_token(token);
        }
        let answer = self.good("list", self.send(Method::GET, action.sign(HOLDS), None)?)?;
        let listed = ListObjectsV2::parse_response(&answer.body).map_err(|e| {
            Error::failed("could not read a list of objects").caused_by(e.to_string())
        })?;
        let object = |content: rusty_s3::actions::list_objects_v2::ListObjectsContent| Object {
            key: content.key,
            size: content.size.unwrap_or(0),
        };
        let objects = listed.contents.into_iter().map(object).collect();
        Ok((objects, listed.next_continuation_token))
    }

    /// Goes through all objects, a page at a time.
    pub fn each(&self, prefix: &str, mut see: impl FnMut(&Object) -> Result<()>) -> Result<()> {
        let mut after = None;
        loop {
            let (objects, next) = self.list(prefix, after.as_deref())?;
            objects.iter().try_for_each(&mut see)?;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.list("", None)?.0.is_empty())
    }

    /// An object, piece by piece as it is read.
    pub fn get(&self, key: &str) -> Result<Reading> {
        self.check(key)?;
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(HOLDS);
        match self.http.open(url)? {
            Ok(reading) => Ok(reading),
            Err(answer) => Err(self.refused("read an object", &answer)),
        }
    }

    /// Puts what `from` gives under a key, however much it is; an object that was there stays
    /// until all of it has come. Says how much it was.
    pub fn put(&self, key: &str, from: &mut dyn Read) -> Result<u64> {
        self.check(key)?;
        let first = part(from, PART)?;
        if first.len() < PART {
            let url = self.bucket.put_object(Some(&self.credentials), key).sign(HOLDS);
            let length = first.len() as u64;
            self.good("write an object", self.send(Method::PUT, url, Some(first))?)?;
            return Ok(length);
        }
        let url = self.bucket.create_multipart_upload(Some(&self.credentials), key).sign(HOLDS);
        let begun =
            self.good("write an object", self.send(Method::POST, url, Some(Vec::new()))?)?;
        let begun = CreateMultipartUpload::parse_response(&begun.body)
            .map_err(|e| Error::failed("could not begin an upload").caused_by(e.to_string()))?;
        let sent = self.parts(key, begun.upload_id(), first, from);
        if sent.is_err() {
            let abort =
                self.bucket.abort_multipart_upload(Some(&self.credentials), key, begun.upload_id());
            let _ = self.send(Method::DELETE, abort.sign(HOLDS), None);
        }
        sent
    }

    fn parts(&self, key: &str, upload: &str, first: Vec<u8>, from: &mut dyn Read) -> Result<u64> {
        let mut length = 0;
        let mut tags: Vec<String> = Vec::new();
        let mut next = first;
        while !next.is_empty() {
            let number = u16::try_from(tags.len() + 1).unwrap_or(u16::MAX);
            length += next.len() as u64;
            let action = self.bucket.upload_part(Some(&self.credentials), key, number, upload);
            let answer = self.send(Method::PUT, action.sign(HOLDS), Some(next))?;
            let answer = self.good("write an object", answer)?;
            tags.push(answer.etag.unwrap_or_default());
            next = part(from, PART << (tags.len() / 1000))?;
        }
        let all = tags.iter().map(String::as_str);
        let action =
            self.bucket.complete_multipart_upload(Some(&self.credentials), key, upload, all);
        let url = action.sign(HOLDS);
        let answer = self.send(Method::POST, url, Some(action.body().into_bytes()))?;
        let answer = self.good("write an object", answer)?;
        // A service may begin with "200", find out later, and say so in what follows.
        CompleteMultipartUploadResponse::parse(&answer.body)
            .map_err(|_| self.refused("write an object", &answer))?;
        Ok(length)
    }

    /// Deletes an object; fine if it is gone.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.check(key)?;
        let url = self.bucket.delete_object(Some(&self.credentials), key).sign(HOLDS);
        self.good("delete an object", self.send(Method::DELETE, url, None)?).map(|_| ())
    }

    /// Deletes all that there is, by their names in a text: whatever they are called, nothing of
    /// another bucket goes.
    pub(super) fn empty(&self) -> Result<()> {
        loop {
            let (objects, _) = self.list("", None)?;
            if objects.is_empty() {
                return Ok(());
            }
            let names: Vec<ObjectIdentifier> =
                objects.into_iter().map(|object| ObjectIdentifier::new(object.key)).collect();
            let mut action = self.bucket.delete_objects(Some(&self.credentials), names.iter());
            action.set_quiet(true);
            let url = action.sign(HOLDS);
            let (body, md5) = action.body_with_md5();
            let answer = self
                .http
                .send(Method::POST, url, |request| request.header("content-md5", md5).body(body))?;
            let answer = self.good("delete objects", answer)?;
            let told = DeleteObjectsResponse::parse(&answer.body)
                .map_err(|e| Error::failed("could not delete objects").caused_by(e.to_string()))?;
            if let Some(first) = told.errors.first() {
                return Err(Error::failed("could not delete all objects").caused_by(format!(
                    "{}: {}",
                    first.key.escape_debug(),
                    first.code
                )));
            }
        }
    }

    /// Whether this key opens the bucket at all: `None` where there is no such bucket.
    pub fn opens(&self) -> Result<Option<bool>> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_max_keys(1);
        let answer = self.send(Method::GET, action.sign(HOLDS), None)?;
        match answer.status {
            200 => Ok(Some(true)),
            401 | 403 => Ok(Some(false)),
            404 => Ok(None),
            _ => Err(self.refused("open the bucket", &answer)),
        }
    }

    /// Makes the bucket.
    pub(super) fn make(&self) -> Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(HOLDS);
        // Where a service has but one place, or the first of all, that is not named.
        let body = match self.place.region.as_str() {
            "auto" | "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let answer = self.send(Method::PUT, url, Some(body.into_bytes()))?;
        self.good("make the bucket", answer).map(|_| ())
    }

    pub(super) fn remove(&self) -> Result<()> {
        let url = self.bucket.delete_bucket(&self.credentials).sign(HOLDS);
        let answer = self.send(Method::DELETE, url, None)?;
        if answer.status == 404 {
            return Ok(());
        }
        self.good("remove the bucket", answer).map(|_| ())
    }

    /// The text of a setting of the bucket, where it has one.
    pub(super) fn setting(&self, name: &str) -> Result<Option<String>> {
        let url = self.sign(rusty_s3::Method::Get, name);
        let answer = self.send(Method::GET, url, None)?;
        // Many a service does not know the setting at all, or lets none but the owner see it.
        if matches!(answer.status, 403 | 404 | 405 | 501) {
            return Ok(None);
        }
        self.good("read a setting of the bucket", answer).map(|answer| Some(answer.body))
    }

    pub(super) fn set(&self, name: &str, text: Option<&str>) -> Result<()> {
        let answer = match text {
            Some(text) => {
                let url = self.sign(rusty_s3::Method::Put, name);
                self.send(Method::PUT, url, Some(text.as_bytes().to_vec()))?
            }
            None => self.send(Method::DELETE, self.sign(rusty_s3::Method::Delete, name), None)?,
        };
        if matches!(answer.status, 405 | 501) {
            let error = self.refused("change a setting of the bucket", &answer);
            return Err(
                error.hint("this service knows no such setting: change it there, by its own means")
            );
        }
        self.good("change a setting of the bucket", answer).map(|_| ())
    }

    /// An address at which whoever has it may read an object for a while.
    pub fn link(&self, key: &str, holds: Duration) -> Result<String> {
        self.check(key)?;
        Ok(self.bucket.get_object(Some(&self.credentials), key).sign(holds).into())
    }

    fn sign(&self, method: rusty_s3::Method, setting: &str) -> Url {
        rusty_s3::signing::sign(
            &jiff::Timestamp::now(),
            method,
            self.bucket.base_url().clone(),
            self.credentials.key(),
            self.credentials.secret(),
            None,
            self.bucket.region(),
            HOLDS.as_secs(),
            [(setting, "")].into_iter(),
            std::iter::empty(),
        )
    }

    fn send(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Answer> {
        self.http.send(method, url, |request| match body {
            // Without a body its length is not said, and some services insist on it.
            Some(body) => request.header("content-length", body.len()).body(body),
            None => request,
        })
    }

    fn check(&self, key: &str) -> Result<()> {
        if fits(key) {
            return Ok(());
        }
        Err(Error::usage("bad_key", format!("no object can be called `{}`", key.escape_debug()))
            .caused_by("a part of it is a dot, or nothing at all"))
    }

    fn good(&self, what: &str, answer: Answer) -> Result<Answer> {
        if answer.is_good() { Ok(answer) } else { Err(self.refused(what, &answer)) }
    }

    fn refused(&self, what: &str, answer: &Answer) -> Error {
        let tag = |name: &str| {
            let (_, rest) = answer.body.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        let said = match (tag("Code"), tag("Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code,
            _ => format!("status {}", answer.status),
        };
        let (name, endpoint) = (self.bucket.name(), &self.place.endpoint);
        let missing = answer.status == 404;
        let error = Error::failed(format!("could not {what} in the bucket `{name}`"))
            .coded(if missing { "no_object" } else { "storage_refused" })
            .caused_by(format!("{endpoint} says: {said}"));
        match answer.status {
            401 | 403 => {
                error.hint("see whether the key is the right one: `hostkit storage status`")
            }
            _ => error,
        }
    }
}

/// As much as there is, up to a length.
fn part(from: &mut dyn Read, longest: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(longest as u64)
        .read_to_end(&mut bytes)
        .context(|| "could not read what to write".into())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backend;

    fn store(endpoint: &str) -> Result<Store> {
        let place = Place { kind: Backend::S3, endpoint: endpoint.into(), region: "garage".into() };
        Store::open(&place, "hostkit-shop", &Keys::generate().unwrap())
    }

    #[test]
    fn no_key_leads_out_of_its_bucket() {
        for key in ["../hostkit-wiki/x", "a/../../b", "..", ".", "", "a/./b", "a/.."] {
            assert!(!fits(key), "{key}");
            assert!(store("http://127.0.0.1:3900").unwrap().link(key, HOLDS).is_err(), "{key}");
        }
        for key in ["...", "%2e%2e/x", "a\\..\\b", "/a", "a//b", "a?b#c", "ü", "a\nb", "..a"] {
            assert!(fits(key), "{key}");
            let link = store("http://127.0.0.1:3900").unwrap().link(key, HOLDS).unwrap();
            assert!(link.starts_with("http://127.0.0.1:3900/hostkit-shop/"), "{key}: {link}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for endpoint in ["", "s3.example.com", "ftp://x", "http://localhost:1", "http://"] {
            assert!(store(endpoint).is_err(), "{endpoint}");
        }
    }
}

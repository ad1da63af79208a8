//! The server's own Prometheus: whom it asks, and what it knows, by its API on loopback.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{cmd, http, users};
use crate::error::{Error, Result};

pub const PACKAGE: &str = "prometheus";
pub const PROGRAM: &str = "/usr/bin/prometheus";
/// The unit that comes with the package, which listens on all addresses.
pub const PACKAGES_UNIT: &str = "prometheus.service";
pub const USER: &str = "prometheus";
pub const UNIT: &str = "hostkit-prometheus.service";
/// Next to those of object storage.
pub const PORT: u16 = 3909;

/// A little more than an expression may take there.
const LIMIT: Duration = Duration::from_secs(25);
const LONGEST: usize = 16 << 20;

pub fn is_installed() -> bool {
    cmd::installed(PROGRAM)
}

/// The number of its user, if there is one.
pub fn uid() -> Option<u32> {
    static UID: OnceLock<Option<u32>> = OnceLock::new();
    *UID.get_or_init(|| users::find(USER).ok().flatten().map(|user| user.owner.uid))
}

/// A page of a project that is read again and again.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub labels: BTreeMap<String, String>,
    pub scrape_url: String,
    pub last_error: String,
    /// A moment long ago where it was not read yet.
    pub last_scrape: String,
    #[serde(default)]
    pub last_scrape_duration: f64,
    /// up, down or unknown.
    pub health: String,
}

/// What an expression comes to.
#[derive(Debug)]
pub struct Answered {
    /// vector, matrix, scalar or string.
    pub kind: String,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub at: f64,
    pub value: String,
}

#[derive(Deserialize)]
struct Document<T> {
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "resultType", content = "result")]
enum Outcome {
    Matrix(Vec<Series>),
    Scalar((f64, String)),
    String((f64, String)),
    Vector(Vec<Series>),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

#[derive(Deserialize, Serialize)]
struct Nothing {}

/// Fails unless it answers.
pub fn check() -> Result<()> {
    ask::<Nothing>("/api/v1/status/runtimeinfo").map(|_| ())
}

pub fn targets() -> Result<Vec<Target>> {
    ask::<Targets>("/api/v1/targets?state=active").map(|found| found.active_targets)
}

/// What an expression comes to now.
pub fn query(expression: &str) -> Result<Answered> {
    let path = format!("/api/v1/query?query={}", encoded(expression));
    ask::<Outcome>(&path).map(Outcome::answered)
}

fn ask<T: DeserializeOwned>(path: &str) -> Result<T> {
    let answer = http::ask_service(PORT, path, LONGEST, LIMIT).map_err(|error| down(&error))?;
    let document: Document<T> = serde_json::from_str(&answer.body).map_err(|e| down(&e))?;
    match (document.data, document.error) {
        (Some(data), None) => Ok(data),
        (_, Some(why)) if answer.status == 400 => {
            Err(Error::usage("bad_query", "Prometheus does not take the expression").caused_by(why))
        }
        (_, why) => Err(Error::failed("Prometheus could not answer")
            .caused_by(why.unwrap_or_else(|| format!("it answered with {}", answer.status)))),
    }
}

fn down(cause: &dyn std::fmt::Display) -> Error {
    Error::not_ready("metrics_down", "Prometheus does not answer")
        .caused_by(cause)
        .hint(format!("start it: `systemctl start {UNIT}`, and see `journalctl -u {UNIT}`"))
}

impl Outcome {
    fn answered(self) -> Answered {
        let one = |(at, value)| Sample { labels: BTreeMap::new(), at, value };
        let (kind, samples) = match self {
            Self::Matrix(all) => ("matrix", all.into_iter().flat_map(Series::samples).collect()),
            Self::Scalar(value) => ("scalar", vec![one(value)]),
            Self::String(value) => ("string", vec![one(value)]),
            Self::Vector(all) => ("vector", all.into_iter().flat_map(Series::samples).collect()),
        };
        Answered { kind: kind.into(), samples }
    }
}

impl Series {
    fn samples(self) -> impl Iterator<Item = Sample> {
        let Self { metric, value, values } = self;
        let all = value.into_iter().chain(values);
        all.map(move |(at, value)| Sample { labels: metric.clone(), at, value })
    }
}

/// As a part of an address, whatever it holds.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(json: &str) -> Answered {
        serde_json::from_str::<Document<Outcome>>(json).unwrap().data.unwrap().answered()
    }

    #[test]
    fn each_kind_of_answer_is_read() {
        let vector = answered(
            r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","project":"shop"},"value":[1763802000.5,"1"]}]}}"#,
        );
        let labels = [("__name__", "up"), ("project", "shop")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let sample = Sample { labels, at: 1_763_802_000.5, value: "1".into() };
        assert_eq!((vector.kind.as_str(), &vector.samples), ("vector", &vec![sample]));
        let matrix = answered(
            r#"{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[3,"NaN"]]}]}}"#,
        );
        let values: Vec<&str> = matrix.samples.iter().map(|s| s.value.as_str()).collect();
        assert_eq!(values, ["2", "NaN"]);
        let scalar = answered(r#"{"data":{"resultType":"scalar","result":[1,"2"]}}"#);
        assert_eq!((scalar.kind.as_str(), scalar.samples[0].value.as_str()), ("scalar", "2"));
        assert_eq!(answered(r#"{"data":{"resultType":"string","result":[1,"x"]}}"#).kind, "string");
    }

    #[test]
    fn an_expression_is_no_more_than_one() {
        assert_eq!(
            encoded("up{a=\"b c\"}&x=1 \r\né"),
            "up%7Ba%3D%22b%20c%22%7D%26x%3D1%20%0D%0A%C3%A9"
        );
    }
}

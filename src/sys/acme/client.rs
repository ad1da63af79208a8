//! The conversation: account, order, challenges, certificate.

use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use reqwest::{Certificate, Response, redirect::Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Authority, Granted, Trouble, Why, jws::Signer, request::Request};
use crate::names::Domain;

/// How long one question may take, and all of an order.
const PATIENCE: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_mins(2);
/// An authority may refuse good nonces at random, and many of them.
const NONCES: usize = 100;
const LONGEST: usize = 256 << 10;

pub(super) struct Client<'a> {
    authority: &'a Authority<'a>,
    http: reqwest::Client,
    places: Places,
    /// The address of our account.
    account: String,
    nonce: Option<String>,
    until: Instant,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Places {
    new_nonce: String,
    new_account: String,
    new_order: String,
}

struct Answer {
    location: Option<String>,
    pause: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Trouble::unreachable(format!("it answers something else than JSON: {e}")))
    }
}

type Result<T, E = Trouble> = std::result::Result<T, E>;

impl<'a> Client<'a> {
    pub(super) async fn open(authority: &'a Authority<'a>) -> Result<Self> {
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .https_only(true)
            .timeout(PATIENCE)
            .user_agent(concat!("hostkit/", env!("CARGO_PKG_VERSION")));
        if let Some(trust) = &authority.trust {
            let trust = Certificate::from_pem_bundle(trust)
                .map_err(|e| Trouble::unreachable(format!("`ssl.ca_file` can't be used: {e}")))?;
            http = http.tls_certs_only(trust);
        }
        let http = http.build().map_err(|e| Trouble::unreachable(said(&e)))?;
        let mut client = Self {
            authority,
            http,
            places: Places::default(),
            account: String::new(),
            nonce: None,
            until: Instant::now() + DEADLINE,
        };
        let directory = client.http.get(authority.directory).send().await;
        let directory = client.read(directory.map_err(|e| Trouble::unreachable(said(&e)))?).await?;
        client.places = serde_json::from_slice(&directory.body)
            .map_err(|e| Trouble::unreachable(format!("it has no directory: {e}")))?;
        client.register().await?;
        Ok(client)
    }

    /// Who is known already is told the address that he has.
    async fn register(&mut self) -> Result<()> {
        let mut wanted = json!({"termsOfServiceAgreed": true});
        if !self.authority.email.is_empty() {
            wanted["contact"] = json!([format!("mailto:{}", self.authority.email)]);
        }
        let answer = self.post(&self.places.new_account.clone(), Some(&wanted)).await?;
        self.account = answer.location.ok_or_else(|| missing("an address of the account"))?;
        Ok(())
    }

    pub(super) async fn order(&mut self, domains: &[Domain]) -> Result<Granted> {
        let names: Vec<Value> =
            domains.iter().map(|d| json!({"type": "dns", "value": d.as_str()})).collect();
        let wanted = json!({"identifiers": names});
        let answer = self.post(&self.places.new_order.clone(), Some(&wanted)).await?;
        let place = answer.location.clone().ok_or_else(|| missing("an address of the order"))?;
        let order = answer.json()?;
        let tasks: Vec<String> = texts(&order["authorizations"]);
        if tasks.is_empty() {
            return Err(missing("what to prove"));
        }
        let mut begun = Vec::new();
        for task in tasks {
            if self.begin(&task).await? {
                begun.push(task);
            }
        }
        for task in begun {
            self.wait(&task, &["valid"]).await?;
        }
        let ready = self.wait(&place, &["ready", "valid"]).await?;
        let request = Request::new(domains)?;
        let finalize = text(&ready["finalize"]).ok_or_else(|| missing("where to end the order"))?;
        let csr = json!({"csr": BASE64URL_NOPAD.encode(&request.der)});
        self.post(&finalize, Some(&csr)).await?;
        let done = self.wait(&place, &["valid"]).await?;
        let place = text(&done["certificate"]).ok_or_else(|| missing("the certificate"))?;
        let chain = self.post(&place, None).await?.body;
        Ok(Granted { key: request.key, chain })
    }

    /// Lets the authority look whether a domain is ours; false where it knows already.
    async fn begin(&mut self, task: &str) -> Result<bool> {
        let is = self.post(task, None).await?.json()?;
        if is["status"] == "valid" {
            return Ok(false);
        }
        let challenges = is["challenges"].as_array().cloned().unwrap_or_default();
        let ours = challenges.iter().find(|challenge| challenge["type"] == "http-01");
        let place = ours.and_then(|challenge| text(&challenge["url"]));
        let place = place.ok_or_else(|| missing("a challenge over HTTP"))?;
        self.post(&place, Some(&json!({}))).await?;
        Ok(true)
    }

    /// Asks until it is one of these.
    async fn wait(&mut self, place: &str, wanted: &[&str]) -> Result<Value> {
        let mut pause = Duration::from_millis(250);
        loop {
            let answer = self.post(place, None).await?;
            let is = answer.json()?;
            let status = is["status"].as_str().unwrap_or_default();
            if wanted.contains(&status) {
                return Ok(is);
            }
            if !["pending", "processing", "ready"].contains(&status) {
                return Err(refused(&is));
            }
            let pause_now = answer.pause.map_or(pause, |asked| asked.min(Duration::from_secs(10)));
            if Instant::now() + pause_now > self.until {
                let what = format!("it did not come to an end in {} s", DEADLINE.as_secs());
                return Err(Trouble::unreachable(what));
            }
            tokio::time::sleep(pause_now).await;
            pause = (pause * 2).min(Duration::from_secs(4));
        }
    }

    /// A signed request; where the authority does not like its nonce, the same with another.
    async fn post(&mut self, place: &str, payload: Option<&Value>) -> Result<Answer> {
        let mut last = Trouble::unreachable("it takes no nonce that it gave");
        for _ in 0..NONCES {
            if Instant::now() > self.until {
                break;
            }
            let nonce = self.nonce().await?;
            let signer = match self.account.as_str() {
                "" => Signer::Key,
                account => Signer::Account(account),
            };
            let body = self.authority.account.sign(&signer, &nonce, place, payload)?;
            let request =
                self.http.post(place).header("content-type", "application/jose+json").body(body);
            let answer = request.send().await.map_err(|e| Trouble::unreachable(said(&e)))?;
            match self.read(answer).await {
                Err(trouble) if trouble.said.starts_with(BAD_NONCE) => last = trouble,
                done => return done,
            }
        }
        Err(last)
    }

    async fn nonce(&mut self) -> Result<String> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let answer = self.http.head(&self.places.new_nonce).send().await;
        self.read(answer.map_err(|e| Trouble::unreachable(said(&e)))?).await?;
        self.nonce.take().ok_or_else(|| missing("a nonce"))
    }

    /// An answer as far as it is expected, with the nonce for the next request.
    async fn read(&mut self, mut answer: Response) -> Result<Answer> {
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (location, pause) = (header("location"), header("retry-after"));
        let pause = pause.and_then(|value| seconds(&value));
        if let Some(nonce) = header("replay-nonce") {
            self.nonce = Some(nonce);
        }
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| Trouble::unreachable(said(&e)))? {
            body.extend_from_slice(&part);
            if body.len() > LONGEST {
                return Err(Trouble::unreachable("its answer has no end"));
            }
        }
        if status.is_success() {
            return Ok(Answer { location, pause, body });
        }
        Err(Trouble { pause, ..problem(status.as_u16(), &body) })
    }
}

const BAD_NONCE: &str = "badNonce";

/// A problem as the authority tells it (RFC 7807).
fn problem(status: u16, body: &[u8]) -> Trouble {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = told["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default();
    let detail = told["detail"].as_str().unwrap_or_default();
    let (why, domain) = (why(status, kind), first_domain(&told));
    let said = if kind.is_empty() {
        format!("it answers with status {status}")
    } else {
        format!("{kind}: {detail}")
    };
    Trouble { domain, ..Trouble::new(why, said) }
}

fn why(status: u16, kind: &str) -> Why {
    match (status, kind) {
        (429, _) | (_, "rateLimited") => Why::Limited,
        (500.., _) | (_, "serverInternal" | "badNonce" | "") => Why::Unreachable,
        _ => Why::Refused,
    }
}

/// Whose domain a problem is, where it is told for one.
fn first_domain(told: &Value) -> Option<Domain> {
    let parts = told["subproblems"].as_array()?;
    parts.iter().find_map(|part| part["identifier"]["value"].as_str()?.parse().ok())
}

/// An order or a proof that came to nothing.
fn refused(is: &Value) -> Trouble {
    let domain = is["identifier"]["value"].as_str().and_then(|name| name.parse().ok());
    let failed = is["challenges"].as_array().and_then(|all| {
        all.iter().map(|challenge| &challenge["error"]).find(|error| error.is_object())
    });
    let error = failed.unwrap_or(&is["error"]);
    let trouble = problem(400, error.to_string().as_bytes());
    let kind = if trouble.kind == Why::Limited { Why::Limited } else { Why::Refused };
    Trouble { kind, domain: domain.or(trouble.domain.clone()), ..trouble }
}

fn missing(what: &str) -> Trouble {
    Trouble::unreachable(format!("its answer lacks {what}"))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

/// `120`, or a moment.
fn seconds(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    at.duration_since(jiff::Timestamp::now()).try_into().ok()
}

/// The innermost cause: the outer ones only say that something failed.
fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "it took too long".into() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_whether_to_wait_or_to_give_up() {
        let of = |status, kind: &str| {
            let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "x"});
            problem(status, body.to_string().as_bytes()).kind
        };
        assert_eq!(of(429, "rateLimited"), Why::Limited);
        assert_eq!(of(403, "unauthorized"), Why::Refused);
        assert_eq!(of(500, "serverInternal"), Why::Unreachable);
        assert_eq!(problem(502, b"<html>").kind, Why::Unreachable);
        assert!(problem(400, br#"{"type":"urn:x:badNonce"}"#).said.starts_with(BAD_NONCE));
    }

    #[test]
    fn the_domain_at_fault_is_named() {
        let is = json!({"status": "invalid", "identifier": {"value": "b.test"},
            "challenges": [{"type": "http-01", "error": {"type": "urn:x:dns", "detail": "no\nname"}}]});
        let trouble = refused(&is);
        assert_eq!(trouble.domain, Some("b.test".parse().unwrap()));
        assert_eq!((trouble.kind, trouble.said.as_str()), (Why::Refused, "dns: noname"));
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_moment() {
        assert_eq!(seconds("120"), Some(Duration::from_mins(2)));
        assert!(seconds("Sun, 06 Nov 2044 08:49:37 GMT").is_some());
        assert_eq!(seconds("soon"), None);
    }
}

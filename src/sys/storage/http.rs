//! Requests to a service of object storage: small answers whole, objects piece by piece.

use std::{io, sync::OnceLock, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, Url, redirect::Policy};
use tokio::runtime::Runtime;

use crate::{
    error::{Error, Result},
    sys::systemd::runtime,
};

/// How long a service may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer that is no object.
const LONGEST: usize = 32 << 20;

/// One client for all threads, whose connections live on, and the runtime that they live in.
pub(super) struct Http {
    runtime: Runtime,
    client: Client,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Http {
    pub(super) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Http> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(shared);
        }
        let made = Self::new()?;
        Ok(SHARED.get_or_init(|| made))
    }

    fn new() -> Result<Self> {
        // Only the first call of a process has something to install.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(PATIENCE)
            .user_agent(concat!("hostkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::failed("could not start the client").caused_by(said(&e)))?;
        Ok(Self { runtime: runtime()?, client })
    }

    /// Sends a request and reads its answer, whatever that says.
    pub(super) fn send(
        &self,
        method: Method,
        url: Url,
        shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer> {
        let at = place(&url);
        self.runtime.block_on(async {
            let request = shape(self.client.request(method, url));
            let mut answer = request.send().await.map_err(|e| down(&at, &e))?;
            let status = answer.status().as_u16();
            let etag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
            let etag = etag.map(str::to_owned);
            let mut bytes = Vec::new();
            while let Some(part) = answer.chunk().await.map_err(|e| down(&at, &e))? {
                bytes.extend_from_slice(&part);
                if bytes.len() > LONGEST {
                    return Err(Error::failed(format!("`{at}` answers more than it was asked")));
                }
            }
            let body = String::from_utf8_lossy(&bytes).into_owned();
            Ok(Answer { status, etag, body })
        })
    }

    /// Asks for something that may be long.
    pub(super) fn open(&'static self, url: Url) -> Result<Result<Reading, Answer>> {
        let at = place(&url);
        let answer = self.runtime.block_on(async { self.client.get(url).send().await });
        let answer = answer.map_err(|e| down(&at, &e))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            let size = answer.content_length();
            return Ok(Ok(Reading { http: self, answer, rest: Vec::new(), at: 0, size }));
        }
        let body = self.runtime.block_on(answer.text()).map_err(|e| down(&at, &e))?;
        Ok(Err(Answer { status, etag: None, body }))
    }
}

/// An object on its way here.
pub struct Reading {
    http: &'static Http,
    answer: Response,
    rest: Vec<u8>,
    at: usize,
    size: Option<u64>,
}

impl Reading {
    /// How long it is, as the service says.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

impl io::Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            let part = self.http.runtime.block_on(self.answer.chunk());
            match part.map_err(|e| io::Error::other(said(&e)))? {
                Some(part) => self.rest = part.to_vec(),
                None => return Ok(0),
            }
            self.at = 0;
        }
        let n = into.len().min(self.rest.len() - self.at);
        into[..n].copy_from_slice(&self.rest[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Who is asked, without the signature that stands behind it.
fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn down(at: &str, error: &reqwest::Error) -> Error {
    Error::not_ready("storage_down", "the object storage does not answer")
        .caused_by(format!("`{at}`: {}", said(error)))
        .hint("see `hostkit storage status`, and `journalctl -u hostkit.garage` where it is here")
}

/// The innermost cause: the outer ones only say that something failed, and name the whole address.
fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "it took too long".into() } else { cause.to_string() }
}

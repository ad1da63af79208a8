//! What another server says, by HTTPS: as much of it as was expected, and no more.

use std::time::Duration;

use super::systemd::runtime;
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of another server.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Fetches a text that is no longer than `longest`. Redirects are not followed: whoever is asked
/// is whom the answer is from.
pub fn get(url: &str, longest: usize) -> Result<Answer> {
    let failed = |cause: String| {
        Error::failed(format!("could not fetch `{url}`"))
            .coded("not_fetched")
            .caused_by(cause)
            .hint("see whether the server can reach it, then run the command again")
    };
    // Only the first call of a process has something to install.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("hostkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(said(&e)))?;
        let mut answer = client.get(url).send().await.map_err(|e| failed(said(&e)))?;
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| failed(said(&e)))? {
            bytes.extend_from_slice(&part);
            if bytes.len() > longest {
                return Err(failed(format!("its answer is longer than {longest} bytes")));
            }
        }
        let body = String::from_utf8(bytes).map_err(|_| failed("it answers no text".into()))?;
        Ok(Answer { status: answer.status().as_u16(), body })
    })
}

/// Fetches something whose contents are known by their digest, from wherever it lies by now.
pub fn download(url: &str, longest: usize) -> Result<Vec<u8>> {
    let failed = |cause: String| {
        Error::failed(format!("could not fetch `{url}`")).coded("not_fetched").caused_by(cause)
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::limited(5))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .user_agent(concat!("hostkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(said(&e)))?;
        let mut answer = client.get(url).send().await.map_err(|e| failed(said(&e)))?;
        if !answer.status().is_success() {
            return Err(failed(format!("its status is {}", answer.status().as_u16())));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| failed(said(&e)))? {
            bytes.extend_from_slice(&part);
            if bytes.len() > longest {
                return Err(failed(format!("it is longer than {longest} bytes")));
            }
        }
        Ok(bytes)
    })
}

/// The innermost cause: the outer ones only say that something failed.
fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

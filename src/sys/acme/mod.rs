//! Certificates from an authority that speaks ACME (RFC 8555), with challenges that the web server
//! answers by itself.

mod client;
mod jws;
mod request;

use std::time::Duration;

pub use jws::Account;

use crate::{
    error::{Error, Result},
    names::Domain,
    secret::Secret,
};

/// Where the authority is asked, and as whom.
pub struct Authority<'a> {
    pub directory: &'a str,
    /// Who vouches for the authority itself, where that is nobody whom this server knows.
    pub trust: Option<Vec<u8>>,
    /// Where it may write to.
    pub email: &'a str,
    pub account: &'a Account,
}

/// A key and the certificates for it, as the authority gave them.
pub struct Granted {
    pub key: Secret,
    pub chain: Vec<u8>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct Trouble {
    pub kind: Why,
    /// Whose fault it is, where it is one domain's.
    pub domain: Option<Domain>,
    pub said: String,
    /// How long the authority wants to be left alone.
    pub pause: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// Too often, too much.
    Limited,
    /// It said no.
    Refused,
    /// Nobody answers, or nothing that makes sense.
    Unreachable,
}

impl Trouble {
    pub fn new(kind: Why, said: impl Into<String>) -> Self {
        // It comes from elsewhere, and goes to terminals and logs.
        let said: String = said.into().chars().filter(|c| !c.is_control()).take(500).collect();
        Self { kind, domain: None, said, pause: None }
    }

    fn unreachable(said: impl Into<String>) -> Self {
        Self::new(Why::Unreachable, said)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::unreachable(error.to_string())
    }
}

/// Orders one certificate for all of these domains.
pub fn order(authority: &Authority<'_>, domains: &[Domain]) -> Result<Granted, Trouble> {
    // Only the first call of a process has something to install.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = super::systemd::runtime()?;
    runtime.block_on(async { client::Client::open(authority).await?.order(domains).await })
}

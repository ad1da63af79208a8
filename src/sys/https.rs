//! What another server says, by HTTPS: as much of it as was expected, and no more.

use std::time::Duration;

use super::{resolve, systemd::runtime};
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

/// Sends a text to an address that is a secret: no error shows more of it than the host. Nobody is
/// reached who tells a machine its own secrets, and by http only this server; redirects are refused.
pub fn post(url: &str, kind: &str, body: String) -> Result<u16> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url: reqwest::Url = url.parse().map_err(|_| Error::failed("the address is none"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let failed = |cause: String| {
        Error::failed(format!("could not reach `{host}`")).coded("not_sent").caused_by(cause)
    };
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses = resolve::look_up(host.trim_matches(['[', ']']), port);
    if addresses.is_empty() {
        return Err(failed("its name leads nowhere".into()));
    }
    let refused = addresses.iter().find(|address| {
        resolve::is_metadata(address.ip()) || url.scheme() != "https" && !address.ip().is_loopback()
    });
    if let Some(address) = refused {
        return Err(failed(format!("it leads to {}, where nobody takes messages", address.ip())));
    }
    runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs(&host, &addresses)
            .timeout(PATIENCE)
            .user_agent(concat!("hostkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(said(&e)))?;
        let request = client.post(url).header("content-type", kind).body(body);
        let answer = request.send().await.map_err(|e| failed(said(&e.without_url())))?;
        Ok(answer.status().as_u16())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_who_hands_out_credentials() {
        for bad in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
        ] {
            assert!(resolve::is_metadata(bad.parse().unwrap()), "{bad}");
            let host = if bad.contains(':') { format!("[{bad}]") } else { bad.to_owned() };
            let error = post(&format!("https://{host}/SECRET"), "text/plain", "x".into());
            let error = error.unwrap_err();
            assert!(error.cause.as_ref().unwrap().contains("nobody takes"), "{error}");
            assert!(!format!("{error} {:?}", error.cause).contains("SECRET"));
        }
        for good in ["127.0.0.1", "192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(!resolve::is_metadata(good.parse().unwrap()), "{good}");
        }
        let plain = post("http://192.0.2.1/SECRET", "text/plain", "x".into()).unwrap_err();
        assert_eq!(plain.code, "not_sent");
        // Nobody listens: the address is not told.
        let error = post("http://127.0.0.1:1/SECRET", "text/plain", "x".into()).unwrap_err();
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
}

//! Which domains an authority would find here.

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use crate::{
    error::{Error, Result},
    names::Domain,
    projects::covers,
    sys::resolve,
};

/// How long a page of ours may take to come back to us.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all of one domain's may, with the asking where it leads.
const DEADLINE: Duration = Duration::from_secs(20);
/// Whoever has a domain says how many addresses it has.
const MOST: usize = 8;

/// A domain for which there can be no certificate now, and why.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Waiting {
    pub(super) domain: Domain,
    pub(super) why: String,
}

/// Those that lead here, and those that wait.
pub(super) struct Sorted {
    pub(super) ready: Vec<Domain>,
    pub(super) waiting: Vec<Waiting>,
}

/// Asks where each of them leads. Challenges are answered by now, by which we know our own server
/// from others.
pub(super) fn sort(domains: &[Domain], thumbprint: &str) -> Result<Sorted> {
    let mut sorted = Sorted { ready: Vec::new(), waiting: Vec::new() };
    for domain in domains {
        match why_not(domain, thumbprint)? {
            None => sorted.ready.push(domain.clone()),
            Some(why) => sorted.waiting.push(Waiting { domain: domain.clone(), why }),
        }
    }
    Ok(sorted)
}

impl Sorted {
    /// Whether one that had a certificate waits.
    pub(super) fn loses(&self, names: &[String]) -> bool {
        self.waiting.iter().any(|waiting| covers(names, &waiting.domain))
    }
}

fn why_not(domain: &Domain, thumbprint: &str) -> Result<Option<String>> {
    let is_local = domain.as_str().rsplit('.').next() == Some("localhost");
    if is_local || !domain.as_str().contains('.') {
        return Ok(Some("it means another machine everywhere else".into()));
    }
    let end = Instant::now() + DEADLINE;
    let addresses = resolve::addresses(domain);
    if addresses.is_empty() {
        return Ok(Some("it has no address yet (no A or AAAA record)".into()));
    }
    if addresses.len() > MOST {
        return Ok(Some("it has more addresses than can be looked at".into()));
    }
    for address in addresses {
        // What the server calls itself says nothing of what the world calls it: let the world look.
        // Nobody is reached at the first two, and the kernel takes them for its own.
        let is_one = !address.is_unspecified() && !address.is_multicast();
        if is_one && (address.is_loopback() || resolve::is_ours(address)) {
            continue;
        }
        if resolve::is_private(address) {
            return Ok(Some(format!("it leads to a private address ({address})")));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some("it could not be looked at in time".into()));
        }
        let token = token()?;
        let path = format!("/.well-known/acme-challenge/{token}");
        let page = resolve::page(address, domain, &path, PATIENCE.min(left));
        if page.is_none_or(|page| page != format!("{token}.{thumbprint}")) {
            return Ok(Some(format!("it leads to {address}, where this server does not answer")));
        }
    }
    Ok(None)
}

fn token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("could not read random bytes from the kernel").caused_by(e))?;
    Ok(format!("hostkit-{}", HEXLOWER.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_this_machine_is_nobodys_else() {
        for domain in ["shop.localhost", "localhost", "intranet"] {
            let why = why_not(&domain.parse().unwrap(), "x").unwrap().unwrap();
            assert!(why.contains("another machine"), "{domain}: {why}");
        }
    }
}

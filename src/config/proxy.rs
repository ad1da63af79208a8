//! Who stands between visitors and this server, and is believed.

use serde::{Deserialize, Serialize};

use crate::names::Network;

/// Of everybody else it is he himself who visits, whatever he claims.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Proxy {
    pub trusted: Vec<Network>,
    /// What those say in it is the visitor's address.
    pub header: String,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { trusted: Vec::new(), header: "X-Forwarded-For".into() }
    }
}

impl Proxy {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        if let Some(all) = self.trusted.iter().find(|network| network.is_everybody()) {
            return Some(format!(
                "`proxy.trusted` names `{all}`: then each visitor could choose his address"
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_name = (1..=64).contains(&self.header.len()) && self.header.chars().all(fits);
        (!is_name).then(|| "`proxy.header` wants the name of a header: X-Forwarded-For".into())
    }
}

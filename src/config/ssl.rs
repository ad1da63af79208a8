//! Where certificates come from.

use serde::{Deserialize, Serialize};

use super::refused;
use crate::error::Result;

/// Who gives certificates for the domains of projects.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Ssl {
    pub directory: String,
    pub email: String,
    /// Whether the authority's terms of service are agreed to.
    pub agree_tos: bool,
    /// Who vouches for an authority that this server does not know.
    pub ca_file: String,
}

impl Default for Ssl {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            email: String::new(),
            agree_tos: false,
            ca_file: String::new(),
        }
    }
}

impl Ssl {
    pub(super) fn check(&self) -> Result<()> {
        if !self.directory.starts_with("https://") {
            return Err(refused(
                None,
                "`ssl.directory` wants an address that begins with https://",
            ));
        }
        let odd = |c: char| c.is_control() || c.is_whitespace() || "<>,?".contains(c);
        if !self.email.is_empty() && (self.email.contains(odd) || !self.email.contains('@')) {
            return Err(refused(None, "`ssl.email` wants one address"));
        }
        if !self.ca_file.is_empty() && !self.ca_file.starts_with('/') {
            return Err(refused(None, "`ssl.ca_file` wants a path that begins with /"));
        }
        Ok(())
    }
}

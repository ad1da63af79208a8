//! What answers for which path of a project's site.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Texts in it hold letters, digits and a few signs that mean nothing to nginx: what reads a
/// manifest sees to that, and what renders a site once more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Route {
    /// With a slash at its end all that lies below, else that one page.
    pub path: String,
    pub to: Answer,
    /// Addresses and networks that alone may come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Those that may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Static(Files),
    Process(Proxied),
    Redirect(Redirect),
}

/// A directory of the release, or one file of it where the route is one page.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Files {
    /// Below the release.
    pub at: String,
    /// Whether its first page answers for what is no file.
    #[serde(default)]
    pub spa: bool,
    /// For how many seconds visitors may keep a file. Pages they ask for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proxied {
    pub process: String,
    /// Whether the process sees the path without the route's.
    #[serde(default)]
    pub strip: bool,
    #[serde(default)]
    pub websocket: bool,
    /// Seconds without a byte in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Bytes that a request may bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    /// Whether nginx collects an answer before it sends it on.
    pub buffering: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Redirect {
    /// A path or an address. With a slash at the end of both, the rest of the path goes along.
    pub to: String,
    pub status: u16,
}

impl Route {
    /// Whether it is one page, and not all that lies below.
    pub fn is_page(&self) -> bool {
        !self.path.ends_with('/')
    }

    pub fn files(&self) -> Option<&Files> {
        match &self.to {
            Answer::Static(files) => Some(files),
            Answer::Process(_) | Answer::Redirect(_) => None,
        }
    }

    pub fn files_mut(&mut self) -> Option<&mut Files> {
        match &mut self.to {
            Answer::Static(files) => Some(files),
            Answer::Process(_) | Answer::Redirect(_) => None,
        }
    }

    pub fn process(&self) -> Option<&str> {
        match &self.to {
            Answer::Process(proxied) => Some(&proxied.process),
            Answer::Static(_) | Answer::Redirect(_) => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, to, allow, deny } = self;
        match to {
            Answer::Static(files) if files.spa => write!(f, "{path}  {} (spa)", files.at),
            Answer::Static(files) => write!(f, "{path}  {}", files.at),
            Answer::Process(proxied) if proxied.strip => {
                write!(f, "{path}  the process {}, without {path}", proxied.process)
            }
            Answer::Process(proxied) => write!(f, "{path}  the process {}", proxied.process),
            Answer::Redirect(redirect) => {
                write!(f, "{path}  {} to {}", redirect.status, redirect.to)
            }
        }?;
        if !allow.is_empty() {
            write!(f, ", for {} alone", allow.join(" "))?;
        }
        if !deny.is_empty() {
            write!(f, ", not for {}", deny.join(" "))?;
        }
        Ok(())
    }
}

/// Whether a path is a directory, or lies in it.
pub fn lies_in(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

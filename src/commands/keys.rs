//! Public keys on the command line: the key itself, or a file of keys.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    names::PublicKey,
};

pub enum KeyArg {
    File(PathBuf),
    Key(String),
}

impl KeyArg {
    pub fn new(arg: &str, started_in: &Path) -> Self {
        let is_key =
            arg.split_ascii_whitespace().nth(1).is_some_and(|body| body.starts_with("AAAA"));
        if is_key || arg.contains("PRIVATE KEY") {
            Self::Key(arg.to_owned())
        } else {
            Self::File(started_in.join(arg))
        }
    }

    pub fn read(&self) -> Result<Vec<PublicKey>> {
        let path = match self {
            Self::Key(text) => return Ok(vec![text.parse()?]),
            Self::File(path) => path,
        };
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::usage("bad_key", format!("could not read keys from `{}`", path.display()))
                .caused_by(e)
                .hint("give a file of public keys, or a key itself in quotes")
        })?;
        if text.contains("PRIVATE KEY") {
            return text.parse().map(|key| vec![key]);
        }
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(str::parse).collect::<Result<Vec<PublicKey>>>()?;
        if keys.is_empty() {
            return Err(Error::usage(
                "bad_key",
                format!("there is no key in `{}`", path.display()),
            ));
        }
        Ok(keys)
    }
}

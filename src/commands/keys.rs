//! Public keys on the command line: the key itself, or a file of keys.

use std::path::{Path, PathBuf};

use crate::{
    config::Config,
    error::{Error, Result},
    names::PublicKey,
    sys::https,
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
        let keys = lines(&text).map(str::parse).collect::<Result<Vec<PublicKey>>>()?;
        if keys.is_empty() {
            return Err(Error::usage(
                "bad_key",
                format!("there is no key in `{}`", path.display()),
            ));
        }
        Ok(keys)
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The keys that somebody shows to everybody at GitHub, or at a forge that answers like it.
pub fn of_github(user: &str, config: &Config) -> Result<Vec<PublicKey>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if user.is_empty() || user.len() > 39 || !user.chars().all(plain) || user.starts_with('-') {
        return Err(Error::usage("bad_user", format!("`{}` is no user", user.escape_debug()))
            .caused_by("a name there has letters, digits and hyphens"));
    }
    let url = format!("{}/{user}.keys", config.ssh.github.trim_end_matches('/'));
    let answer = https::get(&url, 256 << 10)?;
    if answer.status == 404 {
        return Err(Error::missing("no_user", format!("there is no `{user}`"))
            .caused_by(format!("`{url}` answers 404")));
    }
    if answer.status != 200 {
        return Err(Error::failed(format!("could not fetch `{url}`"))
            .coded("not_fetched")
            .caused_by(format!("it answers {}", answer.status)));
    }
    // Who signs in there may have a key, too, of a kind that is let in nowhere any more.
    let keys: Vec<PublicKey> = lines(&answer.body)
        .filter_map(|line| line.parse::<PublicKey>().ok())
        .map(|key| key.or_called(&format!("{user}@github")))
        .collect();
    if keys.is_empty() {
        return Err(Error::missing("no_key", format!("`{user}` shows no key that can be used"))
            .caused_by(format!("`{url}` has none")));
    }
    Ok(keys)
}

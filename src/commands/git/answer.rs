//! `hostkit git answer`: tells git who we are, where the forge that asks is the one that it is for.

use std::{
    fmt,
    io::{Read, Write},
};

use crate::{
    error::{Context as _, Error, Result},
    secret::Secret,
};

/// Answer git's question for a credential
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What git wants done: only `get` is answered
    operation: String,
}

/// A user name and a token, for one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    pub host: String,
    pub username: String,
    pub token: Secret,
}

impl fmt::Display for Credential {
    /// Without the token: what may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.username, self.host)
    }
}

impl Credential {
    /// As the file that root alone may read holds it.
    pub fn file(&self) -> Secret {
        let Self { host, username, token } = self;
        Secret::new(format!("host={host}\nusername={username}\npassword={}\n", token.expose()))
    }

    pub fn parse(text: &str) -> Option<Self> {
        Some(Self {
            host: value(text, "host")?.to_owned(),
            username: value(text, "username")?.to_owned(),
            token: Secret::new(value(text, "password")?),
        })
    }

    /// What git reads, if its question is of that host and nobody in between listens.
    fn answer(&self, question: &str) -> Option<Secret> {
        let is_asked = value(question, "protocol") == Some("https")
            && value(question, "host").is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && value(question, "username").is_none_or(|name| name == self.username);
        let Self { username, token, .. } = self;
        is_asked.then(|| Secret::new(format!("username={username}\npassword={}\n", token.expose())))
    }
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

pub fn run(args: &Args) -> Result<()> {
    let failed = || "could not answer git".to_owned();
    let mut question = String::new();
    std::io::stdin().lock().take(64 << 10).read_to_string(&mut question).context(failed)?;
    if args.operation != "get" {
        return Ok(());
    }
    let path = std::env::var("HOSTKIT_GIT_CREDENTIAL")
        .map_err(|_| Error::usage("no_credential", "this is for git to run"))?;
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let answer = Credential::parse(&text).and_then(|credential| credential.answer(&question));
    let Some(answer) = answer else { return Ok(()) };
    std::io::stdout().lock().write_all(answer.expose().as_bytes()).context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_that_it_is_for_gets_it() {
        let credential = Credential {
            host: "forge.example:8443".into(),
            username: "git".into(),
            token: Secret::new("t0ken"),
        };
        let read = Credential::parse(credential.file().expose()).unwrap();
        assert_eq!(read, credential);
        assert!(!format!("{credential} {credential:?}").contains("t0ken"));
        let asked = "capability[]=authtype\nprotocol=https\nhost=forge.example:8443\n";
        assert_eq!(read.answer(asked).unwrap().expose(), "username=git\npassword=t0ken\n");
        for other in [
            "protocol=http\nhost=forge.example:8443\n",
            "protocol=https\nhost=forge.example\n",
            "protocol=https\nhost=evil.example\n",
            "protocol=https\nhost=forge.example:8443\nusername=root\n",
            "protocol=https\n",
            "",
        ] {
            assert!(read.answer(other).is_none(), "{other}");
        }
    }
}

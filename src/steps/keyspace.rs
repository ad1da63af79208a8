//! A project's Redis user, confined to one database.

use std::{collections::BTreeSet, path::Path};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Before, Check, Kept, Step};
use crate::{
    error::{Error, Kind, Result},
    secret::Secret,
    sys::{Host, Owner, redis::AclUser, users},
};

/// Where Redis itself keeps its users.
pub const ACL_FILE: &str = "/etc/redis/hostkit.acl";

#[derive(Debug, Deserialize, Serialize)]
pub struct Keyspace {
    pub user: String,
    pub database: u32,
    pub commands: Vec<String>,
    pub channels: Vec<String>,
    /// A second rule set that grants besides: these commands on these channels.
    pub selector: (Vec<String>, Vec<String>),
    #[serde(skip)]
    pub password: Option<Secret>,
}

impl Keyspace {
    fn wanted(&self) -> AclUser {
        let (commands, channels) = &self.selector;
        AclUser {
            is_on: true,
            hashes: self.password.iter().map(hash).collect(),
            commands: format!("-@all {}", self.commands.join(" ")),
            keys: "~*".into(),
            channels: self.channels.join(" "),
            selectors: vec![(
                format!("-@all {}", commands.join(" ")),
                String::new(),
                channels.join(" "),
            )],
        }
    }

    fn differs(&self, host: &Host, is: &AclUser) -> Result<Vec<String>> {
        let wanted = self.wanted();
        let mut differs = Vec::new();
        let mut compare = |what: &str, same: bool| {
            if !same {
                differs.push(what.to_owned());
            }
        };
        compare("switched off", is.is_on);
        compare("password", self.password.is_none() || is.hashes == wanted.hashes);
        compare("keys", is.keys == wanted.keys);
        compare("channels", is.channels == wanted.channels);
        let places = |user: &AclUser| -> Vec<(String, String)> {
            user.selectors
                .iter()
                .map(|(_, keys, channels)| (keys.clone(), channels.clone()))
                .collect()
        };
        compare("selectors", places(is) == places(&wanted));
        let rules = |user: &AclUser| -> Vec<String> {
            let further = user.selectors.iter().map(|(commands, ..)| commands.clone());
            std::iter::once(user.commands.clone()).chain(further).collect()
        };
        if rules(is) != rules(&wanted) {
            let commands = host.redis_commands()?;
            for (is, wanted) in rules(is).iter().zip(rules(&wanted)) {
                differs.extend(rights_differ(&commands.allowed(is), &commands.allowed(&wanted)));
            }
        }
        Ok(differs)
    }

    fn set(&self, host: &Host, to: &AclUser) -> Result<()> {
        let mut command = vec!["ACL".to_owned(), "SETUSER".into(), self.user.clone()];
        command.extend(
            ["reset", if to.is_on { "on" } else { "off" }, "sanitize-payload"].map(String::from),
        );
        command.extend(to.hashes.iter().map(|hash| format!("#{hash}")));
        command.extend(to.keys.split_ascii_whitespace().map(String::from));
        command.push("resetchannels".into());
        command.extend(to.channels.split_ascii_whitespace().map(String::from));
        command.extend(to.commands.split_ascii_whitespace().map(String::from));
        for (commands, keys, channels) in &to.selectors {
            command.push(format!("({keys} resetchannels {channels} {commands})"));
        }
        host.redis(&format!("make the Redis user `{}`", self.user), &command)?;
        save(host)
    }

    /// Takes the user away; where Redis is down, out of the file that it will start from.
    fn drop_user(&self, host: &Host) -> Result<()> {
        let known = match host.redis_user(&self.user) {
            Ok(known) => known,
            Err(error) if error.kind == Kind::NotReady => return self.drop_from_file(host),
            Err(error) => return Err(error),
        };
        if known.is_some() {
            let command = ["ACL", "DELUSER", &self.user].map(String::from);
            host.redis(&format!("remove the Redis user `{}`", self.user), &command)?;
        }
        // Also where it is gone already: whoever took it away may not have lived to save that.
        save(host)
    }

    fn drop_from_file(&self, host: &Host) -> Result<()> {
        let path = Path::new(ACL_FILE);
        let Some(text) = host.read_text(path)? else { return Ok(()) };
        let ours = format!("user {} ", self.user);
        let rest: String =
            text.lines().filter(|l| !l.starts_with(&ours)).map(|l| format!("{l}\n")).collect();
        if rest == text {
            return Ok(());
        }
        let owner = users::find("redis")?.map_or(Owner::ROOT, |user| user.owner);
        host.write(path, rest.as_bytes(), owner, 0o640)
    }
}

fn rights_differ(may: &BTreeSet<String>, should: &BTreeSet<String>) -> Vec<String> {
    let list = |of: Vec<&String>| of.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = list(may.difference(should).collect());
    let less = list(should.difference(may).collect());
    let mut differs = Vec::new();
    if !more.is_empty() {
        differs.push(format!("may run {more} (should not)"));
    }
    if !less.is_empty() {
        differs.push(format!("may not run {less} (should)"));
    }
    differs
}

fn save(host: &Host) -> Result<()> {
    host.redis("save the users of Redis", &["ACL", "SAVE"].map(String::from))
}

/// What Redis stores of a password.
pub fn hash(password: &Secret) -> String {
    HEXLOWER.encode(&Sha256::digest(password.expose().as_bytes()))
}

impl Step for Keyspace {
    fn title(&self) -> String {
        format!("redis user {}, database {}", self.user, self.database)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(is) = host.redis_user(&self.user)? else { return Ok(Check::absent()) };
        let differs = self.differs(host, &is)?;
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        let kept = serde_json::to_vec(&is)
            .map_err(|e| Error::failed("could not keep a Redis user").caused_by(e))?;
        Ok(Check::Missing { before: Before::Kept(Kept::new(kept)), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let mut wanted = self.wanted();
        if self.password.is_none() {
            wanted.hashes = host.redis_user(&self.user)?.unwrap_or_default().hashes;
        }
        self.set(host, &wanted)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.drop_user(host),
            Before::Kept(kept) => {
                let was: AclUser = serde_json::from_slice(&kept.bytes(host)?)
                    .map_err(|e| Error::failed("could not read a kept Redis user").caused_by(e))?;
                self.set(host, &was)
            }
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.drop_user(host)?;
        host.redis_flush(self.database)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        self.drop_user(host)
    }
}

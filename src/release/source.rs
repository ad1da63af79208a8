//! What a variable is made of that is another one by another name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envfile::EnvFile;

/// A variable of `.env`, or one part of the address that it holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Source {
    pub variable: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A part of `scheme://user:password@host:port/database`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Database,
    Host,
    Password,
    Port,
    User,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Database, Self::Host, Self::Password, Self::Port, Self::User];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Host => "host",
            Self::Password => "password",
            Self::Port => "port",
            Self::User => "user",
        }
    }

    fn of(self, address: &str) -> Option<&str> {
        let (login, place) = address.split_once("://")?.1.split_once('@')?;
        let (user, password) = login.split_once(':')?;
        let (server, database) = place.split_once('/')?;
        let (host, port) = server.rsplit_once(':')?;
        Some(match self {
            Self::Database => database,
            Self::Host => host,
            Self::Password => password,
            Self::Port => port,
            Self::User => user,
        })
    }
}

impl Source {
    /// Its value, where there is one. `file` wins over `env`, as in the environment itself.
    pub fn value<'a>(&self, file: &'a EnvFile, env: &'a EnvFile) -> Option<&'a str> {
        let whole = file.get(&self.variable).or_else(|| env.get(&self.variable))?;
        self.part.map_or(Some(whole), |part| part.of(whole))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "{}.{}", self.variable, part.as_str()),
            None => write!(f, "{}", self.variable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_parts() {
        let redis = "redis://my-shop:r3d1s@localhost:6379/1";
        let postgres = "postgresql+psycopg://my_shop_user:p@localhost:5432/my_shop_db";
        for (address, parts) in [
            (redis, ["1", "localhost", "r3d1s", "6379", "my-shop"]),
            (postgres, ["my_shop_db", "localhost", "p", "5432", "my_shop_user"]),
        ] {
            assert_eq!(Part::ALL.map(|part| part.of(address).unwrap()), parts);
        }
        for odd in ["", "x", "a://b", "a://b@c", "a://b:c@d/e"] {
            assert_eq!(Part::Host.of(odd), None, "{odd}");
        }
    }
}

//! What one project keeps in Redis: in its number of the server's, or in an instance of its own.

use std::path::PathBuf;

use redis::{Connection, ConnectionAddr, RedisConnectionInfo, RedisResult};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use super::{Host, Owner, redis::connect};
use crate::error::{Error, Result};

/// Where a project's keys are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Keys {
    /// In that database of the server's own Redis.
    Shared(u32),
    /// Behind a socket in a place of the project's, so that only its user goes there: a link of
    /// the project's would lead root astray.
    Own { socket: PathBuf, user: Owner },
}

#[derive(Debug, Serialize)]
pub struct KeysInfo {
    pub version: String,
    pub keys: u64,
    /// Keys that go by themselves some day.
    pub expiring: u64,
    /// Bytes that the whole instance takes, and may take; 0 is no limit.
    pub used: u64,
    pub limit: u64,
    pub clients: u64,
}

#[derive(Debug, Serialize)]
pub struct Key {
    pub name: String,
    pub kind: String,
    /// Seconds until it goes by itself.
    pub expires_in: Option<i64>,
    pub bytes: Option<u64>,
}

impl Host {
    pub(super) fn redis_of(&self, keys: &Keys) -> Result<Connection> {
        let (socket, user) = match keys {
            Keys::Shared(number) => {
                let mut connection = self.connect_redis()?;
                redis::cmd("SELECT").arg(*number).query::<()>(&mut connection).map_err(failed)?;
                return Ok(connection);
            }
            Keys::Own { socket, user } => (socket.clone(), *user),
        };
        // In a thread that is the project's user; we stay root.
        let connect = move || {
            let uid = rustix::process::Uid::from_raw(user.uid);
            let gid = rustix::process::Gid::from_raw(user.gid);
            let become_it =
                set_thread_res_gid(gid, gid, gid).and_then(|()| set_thread_res_uid(uid, uid, uid));
            become_it.map_err(|e| Error::failed("could not reach Redis").caused_by(e))?;
            connect(ConnectionAddr::Unix(socket), RedisConnectionInfo::default())
        };
        let died = |_| Err(Error::failed("could not reach Redis").caused_by("no thread"));
        std::thread::spawn(connect).join().unwrap_or_else(died)
    }

    pub fn keys_info(&self, keys: &Keys) -> Result<KeysInfo> {
        let mut connection = self.redis_of(keys)?;
        let info: String = redis::cmd("INFO").query(&mut connection).map_err(failed)?;
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("")
        };
        let number = |name: &str| field(name).trim().parse().unwrap_or(0);
        let database = match keys {
            Keys::Shared(number) => *number,
            Keys::Own { .. } => 0,
        };
        let (keys, expiring) = keyspace(field(&format!("db{database}")));
        Ok(KeysInfo {
            version: field("redis_version").trim().to_owned(),
            keys,
            expiring,
            used: number("used_memory"),
            limit: number("maxmemory"),
            clients: number("connected_clients"),
        })
    }

    /// Keys that fit a pattern, some at a time so that nobody has to wait for it; so many at most,
    /// and whether there may be more.
    pub fn keys_like(&self, keys: &Keys, pattern: &str, most: usize) -> Result<(Vec<Key>, bool)> {
        let mut connection = self.redis_of(keys)?;
        let mut names: std::collections::BTreeSet<Vec<u8>> = std::collections::BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let scan = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(500)
                .query::<(u64, Vec<Vec<u8>>)>(&mut connection);
            let (next, found) = scan.map_err(failed)?;
            names.extend(found);
            cursor = next;
            if cursor == 0 || names.len() > most {
                break;
            }
            super::signals::check()?;
        }
        let more = names.len() > most;
        let mut found = Vec::new();
        for name in names.iter().take(most) {
            found.push(look(&mut connection, name).map_err(failed)?);
        }
        Ok((found, more))
    }

    /// Empties what is one project's, and nothing else.
    pub fn flush_keys(&self, keys: &Keys) -> Result<()> {
        match keys {
            Keys::Shared(number) => self.redis_flush(*number),
            Keys::Own { .. } => self.effect("empty a project's Redis", || {
                let mut connection = self.redis_of(keys)?;
                redis::cmd("FLUSHALL").query::<()>(&mut connection).map_err(failed)
            }),
        }
    }
}

fn look(connection: &mut Connection, name: &[u8]) -> RedisResult<Key> {
    let (kind, ttl, bytes): (String, i64, Option<u64>) = redis::pipe()
        .cmd("TYPE")
        .arg(name)
        .cmd("TTL")
        .arg(name)
        .cmd("MEMORY")
        .arg("USAGE")
        .arg(name)
        .query(connection)?;
    Ok(Key {
        name: name.escape_ascii().to_string(),
        kind,
        expires_in: (ttl >= 0).then_some(ttl),
        bytes,
    })
}

/// `keys=2,expires=1,avg_ttl=0`
fn keyspace(line: &str) -> (u64, u64) {
    let number = |name: &str| {
        line.trim().split(',').find_map(|part| part.strip_prefix(name)?.parse().ok()).unwrap_or(0)
    };
    (number("keys="), number("expires="))
}

fn failed(error: redis::RedisError) -> Error {
    Error::failed("could not ask Redis").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_holds_is_told() {
        assert_eq!(keyspace("keys=12,expires=3,avg_ttl=77"), (12, 3));
        assert_eq!(keyspace(""), (0, 0));
    }
}

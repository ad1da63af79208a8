//! Redis by its own protocol over a socket of ours, as the one user that may do everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use redis::{
    Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, Value,
};
use serde::{Deserialize, Serialize};

use super::{Host, held};

use crate::{
    error::{Error, Result},
    secret::Secret,
};

pub const SOCKET: &str = "/run/redis/hostkit.sock";
pub const SECRET: &str = "/etc/hostkit/redis.secret";
pub const ADMIN: &str = "hostkit-admin";

/// An ACL user, as `ACL GETUSER` tells it: comparable as it stands.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AclUser {
    pub is_on: bool,
    pub hashes: Vec<String>,
    pub commands: String,
    pub keys: String,
    pub channels: String,
    /// Commands, keys and channels of each further selector.
    pub selectors: Vec<(String, String, String)>,
}

impl Host {
    fn with_redis<T>(
        &self,
        what: &str,
        talk: impl FnOnce(&mut Connection) -> redis::RedisResult<T>,
    ) -> Result<T> {
        let mut held = held(&self.redis);
        let connection = match held.take() {
            Some(connection) => held.insert(connection),
            None => held.insert(self.connect_redis()?),
        };
        let talked = talk(connection);
        if talked.as_ref().is_err_and(redis::RedisError::is_unrecoverable_error) {
            *held = None;
        }
        talked.map_err(|e| Error::failed(format!("could not {what}")).caused_by(e))
    }

    pub(super) fn connect_redis(&self) -> Result<Connection> {
        let secret = self.read_text(Path::new(SECRET))?.map(|text| Secret::new(text.trim()));
        let secret = secret.ok_or_else(|| {
            Error::not_ready("not_initialised", "hostkit has no access to Redis yet")
                .caused_by(format!("there is no `{SECRET}`"))
                .hint("prepare the server: `hostkit init`")
        })?;
        let settings =
            RedisConnectionInfo::default().set_username(ADMIN).set_password(secret.expose());
        connect(ConnectionAddr::Unix(SOCKET.into()), settings)
    }

    /// Runs a command that changes something.
    pub fn redis(&self, what: &str, command: &[String]) -> Result<()> {
        self.effect(what, || {
            self.with_redis(what, |c| {
                let [name, args @ ..] = command else { return Ok(()) };
                redis::cmd(name).arg(args).query::<Value>(c).map(|_| ())
            })
        })
    }

    /// Empties one database.
    pub fn redis_flush(&self, database: u32) -> Result<()> {
        let what = format!("empty Redis database {database}");
        self.effect(&what, || {
            self.with_redis(&what, |c| {
                redis::cmd("SELECT").arg(database).query::<()>(c)?;
                redis::cmd("FLUSHDB").query::<()>(c)?;
                redis::cmd("SELECT").arg(0).query::<()>(c)
            })
        })
    }

    pub fn redis_user(&self, name: &str) -> Result<Option<AclUser>> {
        self.with_redis("ask Redis for a user", |c| {
            let value: Value = redis::cmd("ACL").arg("GETUSER").arg(name).query(c)?;
            Ok(read_user(&value))
        })
    }

    /// Which commands each category holds, as this server has it.
    pub fn redis_commands(&self) -> Result<Commands> {
        self.with_redis("ask Redis for its commands", |c| {
            let names: Vec<String> = redis::cmd("ACL").arg("CAT").query(c)?;
            let mut ask = redis::pipe();
            for name in &names {
                ask.cmd("ACL").arg("CAT").arg(name);
            }
            let members: Vec<Vec<String>> = ask.query(c)?;
            Ok(Commands { categories: names.into_iter().zip(members).collect() })
        })
    }

    pub fn redis_users(&self) -> Result<Vec<String>> {
        self.with_redis("ask Redis for its users", |c| redis::cmd("ACL").arg("USERS").query(c))
    }

    /// How many keys each database holds that holds any.
    pub fn redis_keyspace(&self) -> Result<BTreeMap<u32, u64>> {
        let info: String = self.with_redis("ask Redis for its databases", |c| {
            redis::cmd("INFO").arg("keyspace").query(c)
        })?;
        Ok(keyspace(&info))
    }

    pub fn redis_setting(&self, name: &str) -> Result<Option<String>> {
        let found: Vec<String> = self.with_redis("ask Redis for a setting", |c| {
            redis::cmd("CONFIG").arg("GET").arg(name).query(c)
        })?;
        Ok(found.into_iter().nth(1))
    }

    pub fn redis_version(&self) -> Result<Version> {
        let info: String = self.with_redis("ask Redis for its version", |c| {
            redis::cmd("INFO").arg("server").query(c)
        })?;
        Ok(Version::of(&info))
    }

    /// Forgets the connection: the server is about to end, or its users to change.
    pub fn redis_hang_up(&self) {
        *held(&self.redis) = None;
    }
}

/// Asks a server that hostkit has not prepared yet, as anybody could.
pub fn info_before_init() -> Result<String> {
    redis::cmd("INFO").query(&mut as_anybody()?).map_err(|e| down(&e))
}

/// Has such a server write down what it holds.
pub fn save_before_init() -> Result<()> {
    redis::cmd("SAVE").query(&mut as_anybody()?).map_err(|e| down(&e))
}

fn as_anybody() -> Result<Connection> {
    let address = ConnectionAddr::Tcp("127.0.0.1".into(), 6379);
    connect(address, RedisConnectionInfo::default())
}

/// How many keys each database holds, from what `INFO` says.
pub fn keyspace(info: &str) -> BTreeMap<u32, u64> {
    info.lines().filter_map(keyspace_line).collect()
}

pub(super) fn connect(
    address: ConnectionAddr,
    settings: RedisConnectionInfo,
) -> Result<Connection> {
    let info: ConnectionInfo = address.into_connection_info().map_err(|e| down(&e))?;
    let client = redis::Client::open(info.set_redis_settings(settings.set_skip_set_lib_name()))
        .map_err(|e| down(&e))?;
    let connection =
        client.get_connection_with_timeout(Duration::from_secs(5)).map_err(|e| down(&e))?;
    for set in [Connection::set_read_timeout, Connection::set_write_timeout] {
        set(&connection, Some(Duration::from_secs(20))).map_err(|e| down(&e))?;
    }
    Ok(connection)
}

fn down(error: &redis::RedisError) -> Error {
    Error::not_ready("redis_down", "Redis does not answer")
        .caused_by(error)
        .hint("start it: `systemctl start redis-server`, and see `journalctl -u redis-server`")
}

/// The server's commands, by category. Servers write the same rights in different words, so that
/// only what the words come to can be compared.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    categories: BTreeMap<String, Vec<String>>,
}

impl Commands {
    /// The commands that rules like `-@all +@read -select +select|3` allow.
    pub fn allowed(&self, rules: &str) -> BTreeSet<String> {
        let mut allowed = BTreeSet::new();
        for rule in rules.split_ascii_whitespace() {
            let Some((sign, what)) = rule.split_at_checked(1) else { continue };
            let named = match what.strip_prefix('@') {
                Some("all") => self.categories.values().flatten().cloned().collect(),
                Some(category) => self.categories.get(category).cloned().unwrap_or_default(),
                None => {
                    let below = format!("{what}|");
                    let all = self.categories.values().flatten();
                    let mut named: Vec<String> =
                        all.filter(|c| c.starts_with(&below)).cloned().collect();
                    named.push(what.to_owned());
                    named
                }
            };
            match sign {
                "+" => allowed.extend(named),
                _ => allowed.retain(|command: &String| {
                    let first = command.split('|').next().unwrap_or(command);
                    !named.contains(command) && (what.starts_with('@') || first != what)
                }),
            }
        }
        // A command that is only a name for its parts has no right of its own.
        let is_family = |command: &String| {
            let below = format!("{command}|");
            self.categories.values().flatten().any(|c| c.starts_with(&below))
        };
        allowed.retain(|command| !is_family(command));
        allowed
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Of the text that `INFO server` gives. Valkey says which Redis it stands in for.
    pub fn of(info: &str) -> Self {
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let mut parts =
            version.unwrap_or_default().trim().split('.').map(|n| n.parse().unwrap_or(0));
        Self { major: parts.next().unwrap_or(0), minor: parts.next().unwrap_or(0) }
    }
}

/// `db3:keys=2,expires=0,avg_ttl=0`
fn keyspace_line(line: &str) -> Option<(u32, u64)> {
    let (database, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
    Some((database.parse().ok()?, rest.split(',').next()?.parse().ok()?))
}

fn read_user(value: &Value) -> Option<AclUser> {
    let fields = pairs(value)?;
    let text = |key: &str| fields.get(key).map(words).unwrap_or_default().join(" ");
    let list = |key: &str| fields.get(key).map(words).unwrap_or_default();
    let selectors = match fields.get("selectors") {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(pairs)
            .map(|s| {
                let text = |key: &str| s.get(key).map(words).unwrap_or_default().join(" ");
                (text("commands"), text("keys"), text("channels"))
            })
            .collect(),
        _ => Vec::new(),
    };
    Some(AclUser {
        is_on: list("flags").iter().any(|flag| flag == "on"),
        hashes: list("passwords"),
        commands: text("commands"),
        keys: text("keys"),
        channels: text("channels"),
        selectors,
    })
}

/// A reply of names and values, which is an array in one protocol and a map in the other.
fn pairs(value: &Value) -> Option<BTreeMap<String, Value>> {
    let name = |v: &Value| words(v).into_iter().next();
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.chunks_exact(2).map(|pair| Some((name(&pair[0])?, pair[1].clone()))).collect()
        }
        Value::Map(items) => items.iter().map(|(k, v)| Some((name(k)?, v.clone()))).collect(),
        _ => None,
    }
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::Array(items) | Value::Set(items) => items.iter().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_with_keys_is_told() {
        assert_eq!(keyspace_line("db3:keys=2,expires=0,avg_ttl=0"), Some((3, 2)));
        assert_eq!(keyspace_line("# Keyspace"), None);
    }

    #[test]
    fn rights_in_different_words_are_the_same_rights() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let commands = Commands {
            categories: [
                (
                    "connection".to_owned(),
                    words("ping select client client|id client|kill client|list"),
                ),
                ("dangerous".to_owned(), words("keys client|kill client|list")),
                ("read".to_owned(), words("get keys")),
            ]
            .into(),
        };
        let one = commands.allowed(
            "-@all +@read +@connection -@dangerous +keys -select +select|3 -client +client|id",
        );
        let two = commands
            .allowed("-@all +@connection +get +keys -select +select|3 -client|kill -client|list");
        assert_eq!(one, two);
        assert_eq!(
            one.into_iter().collect::<Vec<_>>(),
            ["client|id", "get", "keys", "ping", "select|3"]
        );
        assert!(commands.allowed("+@all").contains("client|kill"));
        assert!(commands.allowed("+@all -client").contains("get"));
    }

    #[test]
    fn versions_compare() {
        let of = |text: &str| Version::of(&format!("# Server\r\nredis_version:{text}\r\n"));
        assert!(of("7.0.15") < of("7.2.4") && of("6.0.16") < of("7.0.0"));
    }
}

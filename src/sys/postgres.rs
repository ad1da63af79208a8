//! PostgreSQL by its own protocol over its socket, known there as `postgres` without a password.

use std::{
    fmt::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, Row, types::ToSql};

use super::{Host, held, users};
use crate::{
    error::{Error, Result},
    secret::Secret,
};

/// A restart of the server takes no longer.
const RESTART: Duration = Duration::from_secs(30);

const SOCKET: &str = "/run/postgresql/.s.PGSQL.5432";

/// Membership marks hostkit's roles, for the rules of `pg_hba.conf`. It grants nothing.
pub const GROUP_ROLE: &str = "hostkit_projects";

pub(super) struct Session {
    runtime: Runtime,
    client: Client,
}

/// What may be said of a role in `ALTER ROLE`, and what it is a member of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Role {
    /// `LOGIN NOSUPERUSER …`
    pub attributes: String,
    pub connections: i32,
    pub groups: Vec<String>,
    pub comment: Option<String>,
    pub verifier: Option<String>,
    /// In whose name its sessions work, if not in its own.
    #[serde(default)]
    pub stands_for: Option<String>,
}

/// A role that can log in and do nothing beyond its own databases.
pub const PLAIN: &str = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Database {
    pub owner: String,
    /// What others than its owner may do with it.
    pub grants: Vec<Grant>,
    pub is_open: bool,
    pub comment: Option<String>,
}

/// A right to a database, of a role or of everybody.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    pub privilege: String,
    /// `None` is everybody.
    pub to: Option<String>,
    pub can_pass_on: bool,
}

impl Grant {
    pub fn sql(&self, database: &str) -> String {
        format!(
            "GRANT {} ON DATABASE {} TO {}{}",
            self.privilege,
            identifier(database),
            self.to.as_deref().map_or("PUBLIC".into(), identifier),
            if self.can_pass_on { " WITH GRANT OPTION" } else { "" }
        )
    }
}

impl Session {
    fn connect(database: &str) -> Result<Self> {
        let down = |cause: String| {
            Error::not_ready("postgres_down", "PostgreSQL does not answer").caused_by(cause).hint(
                "start it: `systemctl start postgresql`, and see `journalctl -u postgresql@*`",
            )
        };
        let stream = socket().map_err(|e| down(format!("`{SOCKET}`: {e}")))?;
        let runtime = super::systemd::runtime()?;
        let client = runtime.block_on(async {
            let stream = tokio::net::UnixStream::from_std(stream).map_err(|e| e.to_string())?;
            let mut config = Config::new();
            config.user("postgres").dbname(database);
            config.application_name(session_name(std::process::id()));
            config.options(
                // Whoever owns a database sets what sessions in it begin with, unless they say it.
                "-c statement_timeout=60s -c lock_timeout=20s -c client_min_messages=warning -c search_path=pg_catalog \
                 -c role=none -c standard_conforming_strings=on -c default_transaction_read_only=off",
            );
            let connect = config.connect_raw(stream, NoTls);
            let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
            let (client, connection) =
                connected.map_err(|_| "no answer in 10 s".to_owned())?.map_err(|e| said(&e))?;
            tokio::spawn(connection);
            Ok(client)
        });
        Ok(Self { runtime, client: client.map_err(down)? })
    }
}

/// Connects in a thread that is `postgres` for just that moment; we stay root.
fn socket() -> std::io::Result<UnixStream> {
    let postgres = users::find("postgres").ok().flatten();
    let owner = postgres.ok_or_else(|| std::io::Error::other("there is no user `postgres`"))?.owner;
    let connect = move || {
        let (uid, gid) =
            (rustix::process::Uid::from_raw(owner.uid), rustix::process::Gid::from_raw(owner.gid));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        let stream = UnixStream::connect(PathBuf::from(SOCKET))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    std::thread::spawn(connect).join().unwrap_or_else(|_| Err(std::io::Error::other("no thread")))
}

impl Host {
    fn with_postgres<T>(
        &self,
        what: &str,
        talk: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let mut held = held(&self.postgres);
        let session = match held.take() {
            Some(session) if !session.client.is_closed() => held.insert(session),
            _ => held.insert(Session::connect("postgres")?),
        };
        session
            .runtime
            .block_on(talk(&session.client))
            .map_err(|e| Error::failed(format!("could not {what}")).caused_by(said(&e)))
    }

    /// Whether the server went away, rather than that it did not like what it was asked.
    fn has_lost_postgres(&self) -> bool {
        std::thread::sleep(Duration::from_millis(10));
        let mut held = held(&self.postgres);
        let is_lost = held.as_ref().is_none_or(|session| session.client.is_closed());
        if is_lost {
            *held = None;
        }
        is_lost
    }

    /// Runs statements that change something.
    pub fn sql(&self, what: &str, statements: &str) -> Result<()> {
        self.effect(what, || self.with_postgres(what, async |c| c.batch_execute(statements).await))
    }

    pub fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let known = held(&self.postgres).is_some();
        let asked =
            || self.with_postgres("ask PostgreSQL", async |client| client.query(sql, params).await);
        let start = Instant::now();
        loop {
            let answer = asked();
            // Who talked to it a moment ago, and has perhaps to undo that, waits until it is back.
            let is_lost = answer.is_err() && known && self.has_lost_postgres();
            if !is_lost || start.elapsed() > RESTART {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs statements in another database than the server's own.
    pub fn sql_in(&self, database: &str, what: &str, statements: &str) -> Result<()> {
        self.effect(what, || {
            let session = Session::connect(database)?;
            session.runtime.block_on(session.client.batch_execute(statements)).map_err(|e| {
                Error::failed(format!("could not {what} in `{database}`")).caused_by(said(&e))
            })
        })
    }

    pub fn query_in(
        &self,
        database: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let session = Session::connect(database)?;
        session.runtime.block_on(session.client.query(sql, params)).map_err(|e| {
            Error::failed(format!("could not ask the database `{database}`")).caused_by(said(&e))
        })
    }

    /// Takes from a role all that others gave it, in their databases too, so that it can be
    /// dropped. What it made there stays, and is the database's owner's from then on.
    pub fn strip_role(&self, role: &str) -> Result<()> {
        let rows = self.query(
            "SELECT DISTINCT d.datname::text, o.rolname::text FROM pg_roles r \
             JOIN pg_shdepend s ON s.refobjid = r.oid AND s.refclassid = 'pg_authid'::regclass \
             JOIN pg_database d ON d.oid = s.dbid OR (s.dbid = 0 AND s.classid = 'pg_database'::regclass AND d.oid = s.objid) \
             JOIN pg_roles o ON o.oid = d.datdba WHERE r.rolname = $1",
            &[&role],
        )?;
        let what = format!("take from the role `{role}` what others gave it");
        for row in rows {
            let (database, owner): (String, String) = (row.get(0), row.get(1));
            let role = identifier(role);
            let sql =
                format!("REASSIGN OWNED BY {role} TO {}; DROP OWNED BY {role}", identifier(&owner));
            self.sql_in(&database, &what, &sql)?;
        }
        Ok(())
    }

    /// Ends what a hostkit that was killed had left the server to do: it would go on without us.
    pub fn end_sessions_of(&self, pid: u32) -> Result<()> {
        let name = session_name(pid);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ended = self.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()",
                &[&name],
            )?;
            if ended.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::failed("PostgreSQL is still busy with what was interrupted"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn postgres_version(&self) -> Result<u32> {
        let rows = self.query("SELECT current_setting('server_version_num')", &[])?;
        let text: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        Ok(text.parse::<u32>().unwrap_or_default() / 10_000)
    }

    pub fn role(&self, name: &str) -> Result<Option<Role>> {
        let flag = |column: &str, word: &str| {
            format!("CASE WHEN r.{column} THEN '{word}' ELSE 'NO{word}' END")
        };
        let attributes = [
            flag("rolcanlogin", "LOGIN"),
            flag("rolsuper", "SUPERUSER"),
            flag("rolcreatedb", "CREATEDB"),
            flag("rolcreaterole", "CREATEROLE"),
            flag("rolreplication", "REPLICATION"),
            flag("rolbypassrls", "BYPASSRLS"),
        ]
        .join(" || ' ' || ");
        let sql = format!(
            "SELECT {attributes}, r.rolconnlimit, \
             ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                 WHERE m.member = r.oid ORDER BY 1), \
             shobj_description(r.oid, 'pg_authid'), r.rolpassword, \
             (SELECT substr(c, 6) FROM pg_db_role_setting s, unnest(s.setconfig) c \
                 WHERE s.setrole = r.oid AND s.setdatabase = 0 AND c LIKE 'role=%') \
             FROM pg_authid r WHERE r.rolname = $1"
        );
        let rows = self.query(&sql, &[&name])?;
        Ok(rows.first().map(|row| Role {
            attributes: row.get(0),
            connections: row.get(1),
            groups: row.get(2),
            comment: row.get(3),
            verifier: row.get(4),
            stands_for: row.get(5),
        }))
    }

    pub fn database(&self, name: &str) -> Result<Option<Database>> {
        let rows = self.query(
            "SELECT r.rolname::text, d.datallowconn, shobj_description(d.oid, 'pg_database'), \
             a.privilege_type::text, g.rolname::text, coalesce(a.is_grantable, false) \
             FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba \
             LEFT JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a ON a.grantee <> d.datdba \
             LEFT JOIN pg_roles g ON g.oid = a.grantee \
             WHERE d.datname = $1 ORDER BY 4, 5",
            &[&name],
        )?;
        let grant = |row: &Row| {
            let privilege: Option<String> = row.get(3);
            privilege.map(|privilege| Grant { privilege, to: row.get(4), can_pass_on: row.get(5) })
        };
        Ok(rows.first().map(|row| Database {
            owner: row.get(0),
            is_open: row.get(1),
            comment: row.get(2),
            grants: rows.iter().filter_map(grant).collect(),
        }))
    }

    /// What everybody may do with a database: `CONNECT`, `TEMPORARY`.
    pub fn public_privileges(&self, database: &str) -> Result<Vec<String>> {
        let rows = self.query(
            "SELECT a.privilege_type::text FROM pg_database d, \
             aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a \
             WHERE d.datname = $1 AND a.grantee = 0 ORDER BY 1",
            &[&database],
        )?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// By which the server's list of sessions tells one hostkit from another.
fn session_name(pid: u32) -> String {
    format!("hostkit {pid}")
}

/// A name in SQL. Ours hold nothing that needs it; theirs may.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        format!("E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// What the server stores of a password, made here so that its logs never see the password.
pub fn verifier(password: &Secret) -> String {
    postgres_protocol::password::scram_sha_256(password.expose().as_bytes())
}

/// Whether the server's verifier belongs to that password.
pub fn verifies(verifier: &str, password: &Secret) -> bool {
    expected(verifier, password).is_some_and(|made| made == verifier)
}

/// `SCRAM-SHA-256$4096:salt$stored:server`, made anew with the same salt (RFC 5803).
fn expected(verifier: &str, password: &Secret) -> Option<String> {
    let rest = verifier.strip_prefix("SCRAM-SHA-256$")?;
    let (rounds, rest) = rest.split_once(':')?;
    let (salt, _) = rest.split_once('$')?;
    let salted = pbkdf2(
        password.expose().as_bytes(),
        &BASE64.decode(salt.as_bytes()).ok()?,
        rounds.parse().ok()?,
    )?;
    let client = hmac(&salted, b"Client Key")?;
    let server = hmac(&salted, b"Server Key")?;
    let mut made = format!("SCRAM-SHA-256${rounds}:{salt}$");
    let _ = write!(made, "{}:{}", BASE64.encode(&Sha256::digest(client)), BASE64.encode(&server));
    Some(made)
}

fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> Option<[u8; 32]> {
    let mut block = hmac(password, &[salt, &[0, 0, 0, 1]].concat())?;
    let mut sum = block;
    for _ in 1..rounds {
        block = hmac(password, &block)?;
        sum.iter_mut().zip(block).for_each(|(s, b)| *s ^= b);
    }
    Some(sum)
}

fn hmac(key: &[u8], text: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().into())
}

pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.detail() {
            Some(detail) => format!("{} ({detail})", db.message()),
            None => db.message().to_owned(),
        },
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_knows_its_password() {
        let password = Secret::new("pencil");
        let made = verifier(&password);
        assert!(verifies(&made, &password), "{made}");
        assert!(!verifies(&made, &Secret::new("pencils")));
        assert!(!verifies("md5abc", &password));
    }

    #[test]
    fn texts_and_names_end_where_they_should() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
    }
}

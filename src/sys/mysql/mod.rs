//! MariaDB by its own client over its socket, where root is known without a password.

mod account;
mod definer;
mod dump;
mod info;
mod moved;
mod tally;

use std::time::Duration;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

pub use account::{Account, filler, grant};
pub use dump::Entry;
pub use info::Table;

use super::{Cmd, Host, cmd};
use crate::{
    error::{Error, Kind, Result},
    secret::Secret,
};

pub const SOCKET: &str = "/run/mysqld/mysqld.sock";
pub const PORT: u16 = 3306;
pub const UNIT: &str = "mariadb.service";
pub const CONF: &str = "/etc/mysql/mariadb.conf.d/99-hostkit.cnf";
const SERVER: &str = "/usr/sbin/mariadbd";
const CLIENT: &str = "/usr/bin/mariadb";

/// Long enough for tables of many gigabytes to go.
const LIMIT: Duration = Duration::from_mins(10);

/// What every session of ours begins with: texts are read as [`literal`] writes them, and whoever
/// holds a lock for longer than that is not waited for.
const BEGIN: &str = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES', lock_wait_timeout = 20;\n";

/// Databases of the server's own.
pub const OWN: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// The client, as one that reads statements and nothing that would leave the server.
fn client(user: &str) -> Cmd {
    Cmd::new(CLIENT)
        .args(["--no-defaults", "--protocol=socket", "--socket", SOCKET, "--user", user])
        .args(["--batch", "--skip-column-names", "--binary-mode", "--local-infile=0"])
        .arg("--default-character-set=utf8mb4")
        .limit(LIMIT)
}

pub fn is_installed() -> bool {
    cmd::installed(SERVER) && cmd::installed(CLIENT)
}

impl Host {
    /// As the server's root, by standard input: arguments are seen by everybody.
    fn ask_mysql(&self, what: &str, statements: &str) -> Result<String> {
        if !is_installed() {
            return Err(not_installed());
        }
        let cmd = client("root").stdin(format!("{BEGIN}{statements};\n"));
        let out = self.ask(&cmd)?;
        if out.status.success() {
            return Ok(out.whole()?.stdout_text());
        }
        Err(failure(what, &out.stderr_text()))
    }

    /// Runs statements that change something.
    pub fn mysql(&self, what: &str, statements: &str) -> Result<()> {
        self.effect(what, || self.ask_mysql(what, statements).map(|_| ()))
    }

    /// The rows of a query, whose values may not be null.
    pub fn mysql_rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let text = self.ask_mysql("ask MariaDB", sql)?;
        Ok(rows(&text))
    }

    pub fn mysql_version(&self) -> Result<String> {
        let rows = self.mysql_rows("SELECT VERSION()")?;
        let text = rows.into_iter().flatten().next().unwrap_or_default();
        Ok(text.split('-').next().unwrap_or_default().to_owned())
    }

    pub fn mysql_database(&self, name: &str) -> Result<bool> {
        let sql = format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
            literal(name)
        );
        Ok(!self.mysql_rows(&sql)?.is_empty())
    }

    /// Databases that are not the server's own.
    pub fn mysql_databases(&self) -> Result<Vec<String>> {
        let rows =
            self.mysql_rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")?;
        Ok(rows.into_iter().flatten().filter(|name| !OWN.contains(&name.as_str())).collect())
    }

    /// How many bytes a database takes.
    pub fn mysql_size(&self, name: &str) -> Result<u64> {
        let sql = format!(
            "SELECT COALESCE(CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED), 0) \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
            literal(name)
        );
        let rows = self.mysql_rows(&sql)?;
        Ok(rows.into_iter().flatten().next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    pub fn make_mysql_database(&self, name: &str, comment: &str) -> Result<()> {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4 COMMENT {}",
            identifier(name),
            literal(comment)
        );
        self.mysql(&format!("make the database `{name}`"), &sql)
    }

    pub fn drop_mysql_database(&self, name: &str) -> Result<()> {
        if !self.mysql_database(name)? {
            return Ok(());
        }
        let sql = format!("DROP DATABASE IF EXISTS {}", identifier(name));
        self.mysql(&format!("remove the database `{name}`"), &sql)
    }
}

fn not_installed() -> Error {
    Error::not_ready("no_mysql", "this server has no MariaDB")
        .hint("install it and set it up: `hostkit init --with-mysql`")
}

fn down(said: &str) -> Error {
    Error::not_ready("mysql_down", "MariaDB does not answer")
        .caused_by(said)
        .hint("start it: `systemctl start mariadb`, and see `journalctl -u mariadb`")
}

fn failure(what: &str, said: &str) -> Error {
    let is_down = ["ERROR 2002", "ERROR 2003", "ERROR 2006", "ERROR 2013"];
    if is_down.iter().any(|code| said.starts_with(code)) {
        return down(said);
    }
    if said.starts_with("ERROR 1045") || said.starts_with("ERROR 1698") {
        return Error::new(Kind::NotReady, "mysql_closed", "MariaDB does not know root by its socket")
            .caused_by(said)
            .hint("ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket");
    }
    Error::failed(format!("could not {what}")).caused_by(said)
}

/// By the ends of lines that the client writes: a name may end with another sign of that kind.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.split_terminator('\n').map(|line| line.split('\t').map(plain).collect()).collect()
}

/// A value as the client writes it in a row: what would end it is behind a backslash.
fn plain(value: &str) -> String {
    let (mut text, mut signs) = (String::new(), value.chars());
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => match signs.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    text
}

/// A name in SQL. Ours hold nothing that needs it; theirs may.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database's name where rights are given: there `_` stands for any sign, and `%` for many.
fn pattern(name: &str) -> String {
    identifier(&name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

/// A text in SQL.
pub fn literal(text: &str) -> String {
    let mut quoted = String::from("'");
    for sign in text.chars() {
        match sign {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{1a}' => quoted.push_str("\\Z"),
            other => quoted.push(other),
        }
    }
    quoted + "'"
}

/// What the server stores of a password, made here so that its logs never see the password.
pub fn hash(password: &Secret) -> String {
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    format!("*{}", data_encoding::HEXUPPER.encode(twice.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_stored_as_the_server_does_it() {
        // SELECT PASSWORD('aaaa')
        assert_eq!(hash(&Secret::new("aaaa")), "*D54C8CF5290EDFF3AE9923A0C1F5EA80097221B3");
    }

    #[test]
    fn texts_and_names_end_where_they_should() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\' OR 1\n--\0"), "'a\\\\'' OR 1\\n--\\0'");
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(pattern("my_shop_db"), "`my\\_shop\\_db`");
        assert_eq!(pattern("a%\\"), "`a\\%\\\\`");
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        assert_eq!(plain("a\\tb\\nc\\\\d\\0"), "a\tb\nc\\d\0");
        assert_eq!(rows("a\r\nb\tc\n"), [vec!["a\r"], vec!["b", "c"]]);
    }
}

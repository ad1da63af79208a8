//! A project's account: one name, from wherever on this host, for one database.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, Host, hash, identifier, literal, pattern};
use crate::{
    error::{Error, Result},
    secret::Secret,
    sys::Owner,
};

/// What the server knows of an account.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Account {
    /// Any of these passwords lets it in.
    pub hashes: Vec<String>,
    pub connections: u64,
    pub is_locked: bool,
    /// Rights to the whole server.
    pub is_mighty: bool,
    /// What it may do, one right a line; not what it may do without any.
    pub grants: Vec<String>,
    /// How the server would make it.
    pub made_by: String,
}

/// How it is called where rights are given: it comes by the socket and by loopback.
fn named(name: &str) -> String {
    format!("{}@'%'", identifier(name))
}

/// The right to all that is in a database, as the server itself writes it.
pub fn grant(database: &str, name: &str) -> String {
    format!("GRANT ALL PRIVILEGES ON {}.* TO {}@`%`", pattern(database), identifier(name))
}

/// Who fills that database.
pub fn filler(database: &str) -> String {
    format!("{database}_in")
}

fn by(hashes: &[String]) -> String {
    let ways: Vec<String> = hashes
        .iter()
        .map(|hash| format!("mysql_native_password USING {}", literal(hash)))
        .collect();
    ways.join(" OR ")
}

impl Account {
    /// Of its record in `mysql.global_priv`.
    fn read(record: &str, grants: Vec<String>, made_by: String) -> Result<Self> {
        let record: Value = serde_json::from_str(record)
            .map_err(|e| Error::failed("could not read an account of MariaDB").caused_by(e))?;
        let hash = |way: &Value| {
            let plugin = way["plugin"].as_str().unwrap_or_default();
            let hash = way["authentication_string"].as_str().unwrap_or_default();
            if plugin == "mysql_native_password" {
                hash.to_owned()
            } else {
                format!("{plugin} {hash}")
            }
        };
        let mut hashes: Vec<String> = Vec::new();
        match record["auth_or"].as_array() {
            // The one that stands outside of the list has an empty place in it.
            Some(ways) => hashes.extend(ways.iter().map(|way| {
                if way.as_object().is_none_or(serde_json::Map::is_empty) {
                    hash(&record)
                } else {
                    hash(way)
                }
            })),
            None => hashes.push(hash(&record)),
        }
        Ok(Self {
            hashes,
            connections: record["max_user_connections"].as_u64().unwrap_or(0),
            is_locked: record["account_locked"].as_bool().unwrap_or(false),
            is_mighty: record["access"].as_u64().unwrap_or(0) != 0,
            grants,
            made_by,
        })
    }
}

impl Host {
    pub fn mysql_account(&self, name: &str) -> Result<Option<Account>> {
        let sql = format!(
            "SELECT Priv FROM mysql.global_priv WHERE User = {} AND Host = '%'",
            literal(name)
        );
        let Some(record) = self.mysql_rows(&sql)?.into_iter().flatten().next() else {
            return Ok(None);
        };
        let sql = format!("SHOW CREATE USER {0}; SHOW GRANTS FOR {0}", named(name));
        let mut lines = self.mysql_rows(&sql)?.into_iter().flatten();
        let made_by = lines.next().unwrap_or_default();
        let grants = lines.filter(|line| !line.starts_with("GRANT USAGE ON *.*")).collect();
        Account::read(&record, grants, made_by).map(Some)
    }

    /// From where accounts of that name may come.
    pub fn mysql_hosts_of(&self, name: &str) -> Result<Vec<String>> {
        let sql =
            format!("SELECT Host FROM mysql.global_priv WHERE User = {} ORDER BY 1", literal(name));
        Ok(self.mysql_rows(&sql)?.into_iter().flatten().collect())
    }

    /// Makes an account what it should be: so many connections, these passwords, and one right.
    pub fn set_mysql_account(
        &self,
        name: &str,
        database: &str,
        connections: u32,
        hashes: &[String],
    ) -> Result<()> {
        let user = named(name);
        let there = self.mysql_account(name)?;
        let verb = if there.is_some() { "ALTER" } else { "CREATE" };
        let mut sql = format!(
            "{verb} USER {user} IDENTIFIED VIA {} WITH MAX_USER_CONNECTIONS {connections} ACCOUNT UNLOCK; ",
            by(hashes)
        );
        let right = grant(database, name);
        if there.is_some_and(|is| is.is_mighty || is.grants.iter().any(|has| *has != right)) {
            sql += &format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}; ");
        }
        sql += &right;
        self.mysql(&format!("make the account `{name}`"), &sql)
    }

    /// Which passwords let an account in. Who is in stays.
    pub fn set_mysql_passwords(&self, name: &str, hashes: &[String]) -> Result<()> {
        let sql = format!("ALTER USER {} IDENTIFIED VIA {}", named(name), by(hashes));
        self.mysql(&format!("change the password of `{name}`"), &sql)
    }

    /// Rights to one more database, until they are taken back.
    pub fn lend_mysql(&self, name: &str, database: &str) -> Result<()> {
        self.mysql(&format!("open `{database}` to `{name}`"), &grant(database, name))
    }

    pub fn unlend_mysql(&self, name: &str, database: &str) -> Result<()> {
        let right = grant(database, name);
        let has = self.mysql_account(name)?.is_some_and(|is| is.grants.contains(&right));
        if !has {
            return Ok(());
        }
        let sql = format!("REVOKE ALL PRIVILEGES ON {}.* FROM {}", pattern(database), named(name));
        self.mysql(&format!("close `{database}` to `{name}`"), &sql)
    }

    /// Makes who fills a database, and knows no other one, whatever it is told to do.
    pub fn make_mysql_filler(&self, database: &str, user: Owner) -> Result<Entry> {
        let (account, password) = (filler(database), Secret::generate()?);
        self.set_mysql_account(&account, database, 4, &[hash(&password)])?;
        Ok(Entry { account, password, user })
    }

    pub fn end_mysql_filler(&self, database: &str) -> Result<()> {
        let account = filler(database);
        if self.mysql_account(&account)?.is_none() {
            return Ok(());
        }
        self.end_mysql_sessions(&account)?;
        self.drop_mysql_account(&account)
    }

    /// Puts an account back to what it was.
    pub fn put_mysql_account_back(&self, name: &str, was: &Account) -> Result<()> {
        let made = was.made_by.replacen("CREATE USER", "CREATE OR REPLACE USER", 1);
        let mut sql = made;
        for right in &was.grants {
            sql += &format!("; {right}");
        }
        self.mysql(&format!("put the account `{name}` back"), &sql)
    }

    /// Lets nobody in by that name any more, and ends who is in.
    pub fn lock_mysql_account(&self, name: &str, hash: &str) -> Result<()> {
        let sql = format!(
            "ALTER USER {} IDENTIFIED VIA {} ACCOUNT LOCK",
            named(name),
            by(&[hash.to_owned()])
        );
        self.mysql(&format!("close the account `{name}`"), &sql)?;
        self.end_mysql_sessions(name)
    }

    /// Ends whoever is in by that name.
    pub fn end_mysql_sessions(&self, name: &str) -> Result<()> {
        let user = literal(name);
        let sessions = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {user}");
        let start = std::time::Instant::now();
        while !self.mysql_rows(&sessions)?.is_empty() {
            if start.elapsed().as_secs() > 20 {
                return Err(Error::failed("somebody does not leave the database")
                    .hint("see who: `mariadb -e 'SHOW FULL PROCESSLIST'`"));
            }
            self.mysql(&format!("end the sessions of `{name}`"), &format!("KILL USER {user}"))?;
        }
        Ok(())
    }

    /// What lets in whoever comes without a name, as statements that make it.
    pub fn mysql_strangers(&self) -> Result<Vec<String>> {
        let mut made = Vec::new();
        for host in self.mysql_hosts_of("")? {
            let user = format!("''@{}", literal(&host));
            let sql = format!("SHOW CREATE USER {user}; SHOW GRANTS FOR {user}");
            made.extend(self.mysql_rows(&sql)?.into_iter().flatten());
        }
        made.extend(self.mysql_rights_of_all()?);
        Ok(made)
    }

    /// Rights of no account, which everybody has: to a database `test`, and to all that are called
    /// like it.
    fn mysql_rights_of_all(&self) -> Result<Vec<String>> {
        let rows = self.mysql_rows("SELECT * FROM mysql.db WHERE User = ''")?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.mysql_rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = 'db' ORDER BY ORDINAL_POSITION",
        )?;
        let columns: Vec<String> = columns.iter().flatten().map(|name| identifier(name)).collect();
        let columns = columns.join(", ");
        let made = |row: &Vec<String>| {
            let values: Vec<String> = row.iter().map(|value| literal(value)).collect();
            format!("INSERT IGNORE INTO mysql.db ({columns}) VALUES ({})", values.join(", "))
        };
        let mut made: Vec<String> = rows.iter().map(made).collect();
        made.push("FLUSH PRIVILEGES".into());
        Ok(made)
    }

    pub fn end_mysql_strangers(&self) -> Result<()> {
        let mut sql = String::from("DO 0");
        for host in self.mysql_hosts_of("")? {
            sql += &format!("; DROP USER IF EXISTS ''@{}", literal(&host));
        }
        sql += "; DELETE FROM mysql.db WHERE User = ''; FLUSH PRIVILEGES";
        self.mysql("let nobody in without a name", &sql)
    }

    pub fn drop_mysql_account(&self, name: &str) -> Result<()> {
        let sql = format!("DROP USER IF EXISTS {}", named(name));
        self.mysql(&format!("remove the account `{name}`"), &sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_its_record() {
        let two = r#"{"access":0,"plugin":"mysql_native_password","authentication_string":"*A",
            "auth_or":[{},{"plugin":"mysql_native_password","authentication_string":"*B"}],
            "max_user_connections":20}"#;
        let read = |text: &str| Account::read(text, Vec::new(), String::new()).unwrap();
        let is = read(two);
        assert_eq!((is.hashes, is.connections), (vec!["*A".into(), "*B".into()], 20));
        let one = r#"{"access":1024,"plugin":"unix_socket","account_locked":true}"#;
        let is = read(one);
        assert_eq!(
            (is.is_locked, is.is_mighty, is.hashes),
            (true, true, vec!["unix_socket ".into()])
        );
    }

    #[test]
    fn a_right_is_to_one_database_alone() {
        assert_eq!(
            grant("my_shop_db", "my_shop_user"),
            "GRANT ALL PRIVILEGES ON `my\\_shop\\_db`.* TO `my_shop_user`@`%`"
        );
    }
}

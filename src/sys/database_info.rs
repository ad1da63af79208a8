//! What a database holds and who is in it, as its server's own lists tell.

use serde::Serialize;

use super::{Cmd, Host, databases::Login, postgres::identifier};
use crate::error::{Error, Result};

#[derive(Debug, Serialize)]
pub struct DatabaseInfo {
    pub name: String,
    pub owner: String,
    pub size: u64,
    pub encoding: String,
    pub server: String,
    pub tables: Vec<TableInfo>,
    pub extensions: Vec<Installed>,
}

#[derive(Debug, Serialize)]
pub struct TableInfo {
    pub schema: String,
    pub name: String,
    /// As the server last estimated it.
    pub rows: i64,
    pub size: u64,
}

#[derive(Debug, Serialize)]
pub struct Installed {
    pub name: String,
    pub version: String,
    pub schema: String,
}

/// An extension that the server could make in a database.
#[derive(Debug, Serialize)]
pub struct Available {
    pub name: String,
    pub version: String,
    /// What is made already, if it is.
    pub installed: Option<String>,
    /// Whether who owns a database may make it there.
    pub trusted: bool,
    /// What has to be there first.
    pub requires: Vec<String>,
    pub about: String,
}

impl Host {
    pub fn database_info(&self, name: &str) -> Result<Option<DatabaseInfo>> {
        let sql = "SELECT r.rolname::text, pg_database_size(d.oid), pg_encoding_to_char(d.encoding)::text, \
                   current_setting('server_version') \
                   FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1";
        let Some(row) = self.query(sql, &[&name])?.pop() else { return Ok(None) };
        Ok(Some(DatabaseInfo {
            name: name.to_owned(),
            owner: row.get(0),
            size: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
            encoding: row.get(2),
            server: row.get(3),
            tables: self.tables(name)?,
            extensions: self.extensions(name)?,
        }))
    }

    /// Tables and what is kept like one, the largest first.
    fn tables(&self, database: &str) -> Result<Vec<TableInfo>> {
        let sql = "SELECT n.nspname::text, c.relname::text, \
                   CASE WHEN c.reltuples < 0 THEN coalesce(s.n_live_tup, 0) ELSE c.reltuples::int8 END, \
                   pg_total_relation_size(c.oid) \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
                   WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
                   AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 4 DESC, 1, 2";
        let rows = self.query_in(database, sql, &[])?;
        let table = |row: &tokio_postgres::Row| TableInfo {
            schema: row.get(0),
            name: row.get(1),
            rows: row.get(2),
            size: u64::try_from(row.get::<_, i64>(3)).unwrap_or(0),
        };
        Ok(rows.iter().map(table).collect())
    }

    fn extensions(&self, database: &str) -> Result<Vec<Installed>> {
        let sql = "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e \
                   JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1";
        let rows = self.query_in(database, sql, &[])?;
        let installed = |row: &tokio_postgres::Row| Installed {
            name: row.get(0),
            version: row.get(1),
            schema: row.get(2),
        };
        Ok(rows.iter().map(installed).collect())
    }

    /// Extensions that this server has, by name.
    pub fn available_extensions(&self, database: &str) -> Result<Vec<Available>> {
        let sql = "SELECT a.name::text, a.default_version, a.installed_version, \
                   coalesce(v.trusted OR NOT v.superuser, false), coalesce(v.requires::text[], '{}'), \
                   coalesce(a.comment, '') FROM pg_available_extensions a \
                   LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version \
                   ORDER BY 1";
        let rows = self.query_in(database, sql, &[])?;
        let available = |row: &tokio_postgres::Row| Available {
            name: row.get(0),
            version: row.get::<_, Option<String>>(1).unwrap_or_default(),
            installed: row.get(2),
            trusted: row.get(3),
            requires: row.get(4),
            about: row.get(5),
        };
        Ok(rows.iter().map(available).collect())
    }

    /// How many sessions these roles hold, and how many each of them may.
    pub fn sessions_of(&self, roles: &[&str]) -> Result<(i64, i32)> {
        let sql = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = ANY($1)), \
                   coalesce((SELECT max(rolconnlimit) FROM pg_roles WHERE rolname = ANY($1)), 0)";
        let rows = self.query(sql, &[&roles])?;
        Ok(rows.first().map_or((0, 0), |row| (row.get(0), row.get(1))))
    }

    /// Makes an extension with the project's own rights, which do for those that are trusted.
    pub fn make_extension(&self, database: &str, login: &Login, name: &str) -> Result<()> {
        let sql = format!("CREATE EXTENSION {};\n", identifier(name));
        self.psql(&format!("make the extension `{name}`"), database, login, &sql)
    }

    /// Makes one that only a superuser can make. Its script runs with a superuser's rights, and
    /// looks for names in its own schema first: so that one is new, and nobody else's.
    pub fn give_new_extension(&self, database: &str, owner: &str, name: &str) -> Result<()> {
        let (name, owner) = (identifier(name), identifier(owner));
        let sql = format!(
            "BEGIN; CREATE SCHEMA {name} AUTHORIZATION postgres; CREATE EXTENSION {name} SCHEMA {name}; \
             GRANT USAGE ON SCHEMA {name} TO {owner}; COMMIT"
        );
        self.sql_in(database, &format!("make the extension {name}"), &sql)
    }

    /// Schemas of these extensions that somebody else than the superuser may put things into.
    pub fn foreign_schemas(&self, database: &str, extensions: &[String]) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT n.nspname::text FROM pg_extension e \
                   JOIN pg_namespace n ON n.oid = e.extnamespace \
                   WHERE e.extname = ANY($1) AND n.nspname <> 'pg_catalog' AND n.nspowner <> 10 ORDER BY 1";
        let rows = self.query_in(database, sql, &[&extensions])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Whether a login gets in by its password, the way in which the project's processes come.
    pub fn try_login(&self, database: &str, login: &Login) -> Result<()> {
        self.psql(&format!("log in as `{}`", login.role), database, login, "SELECT 1;\n")
    }

    fn psql(&self, what: &str, database: &str, login: &Login, sql: &str) -> Result<()> {
        let cmd = Cmd::new("/usr/bin/psql")
            .args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"])
            .args(["--host=127.0.0.1", "--no-password", "--username", &login.role])
            .args(["--dbname", database])
            .env("PGPASSWORD", login.password.expose())
            .user(login.user)
            .stdin(sql);
        let done = self.run(&cmd, what)?.success();
        done.map(|_| ()).map_err(|error| {
            let cause = error.cause.unwrap_or(error.message);
            Error::failed(format!("could not {what}")).caused_by(cause)
        })
    }
}

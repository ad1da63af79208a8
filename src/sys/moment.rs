//! A database at one moment, by its own role: what a dump of it holds, and what it came to.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls};

use super::{
    Host,
    databases::Login,
    postgres::{identifier, said},
};
use crate::error::{Error, Result};

/// By which a database is known again: what is in it, and how many rows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shape {
    /// A hash of tables, columns, constraints, indexes, functions, types, and where sequences stand.
    pub schema: String,
    pub tables: BTreeMap<String, i64>,
    /// Extensions, each with its schema.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
}

/// As long as this lives others may look at the database as it was when it began.
pub struct Moment {
    runtime: Runtime,
    client: Client,
    pub id: String,
}

/// What is the same before and after: no name that the server makes up, no number of its own.
const SCHEMA: &str = "
SELECT 'column ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || a.attname || ' '
    || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.atthasdef || ' ' || a.attidentity::text
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL SELECT 'constraint ' || n.nspname || '.' || c.relname || ' ' || o.conname || ' ' || o.contype::text
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE o.contype <> 'n'
UNION ALL SELECT 'index ' || n.nspname || '.' || c.relname || ' ' || t.relname || ' ' || i.indisunique || ' ' || i.indisprimary
    || ' ' || i.indisvalid
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL SELECT 'sequence ' || schemaname || '.' || sequencename || ' ' || coalesce(last_value::text, '-')
  FROM pg_sequences
UNION ALL SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
    || md5(p.prosrc)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
UNION ALL SELECT 'trigger ' || n.nspname || '.' || c.relname || ' ' || t.tgname
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT t.tgisinternal
UNION ALL SELECT 'label ' || n.nspname || '.' || t.typname || ' ' || e.enumlabel
  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace
UNION ALL SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'comment ' || n.nspname || '.' || c.relname || ' ' || d.objsubid || ' ' || md5(d.description)
  FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
  JOIN pg_namespace n ON n.oid = c.relnamespace
";

/// Tables whose rows a dump of this database holds: not the ones of an extension, nor elsewhere.
const TABLES: &str = "SELECT n.nspname::text, c.relname::text FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' \
    AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    ORDER BY 1, 2";

const EXTENSIONS: &str = "SELECT e.extname::text, n.nspname::text FROM pg_extension e \
    JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql'";

impl Host {
    /// Begins a moment of a database. It ends when it is dropped.
    pub fn moment(&self, database: &str, login: &Login) -> Result<Moment> {
        let failed = |cause: String| {
            Error::failed(format!("could not open the database `{database}`")).caused_by(cause)
        };
        let runtime = super::systemd::runtime()?;
        let begun = runtime.block_on(async {
            let address = ("127.0.0.1", 5432);
            let connect = async {
                let stream =
                    tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
                let mut config = Config::new();
                config.user(&login.role).password(login.password.expose()).dbname(database);
                config.application_name("hostkit backup");
                // What a project sets for its role is not for us.
                config.options("-c search_path=pg_catalog -c statement_timeout=6h -c lock_timeout=20s -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=on");
                let (client, connection) =
                    config.connect_raw(stream, NoTls).await.map_err(|e| said(&e))?;
                tokio::spawn(connection);
                Ok::<_, String>(client)
            };
            let client = tokio::time::timeout(Duration::from_secs(20), connect)
                .await
                .map_err(|_| "no answer in 20 s".to_owned())??;
            client
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map_err(|e| said(&e))?;
            let row = client
                .query_one("SELECT pg_export_snapshot()", &[])
                .await
                .map_err(|e| said(&e))?;
            Ok((client, row.get(0)))
        });
        let (client, id) = begun.map_err(failed)?;
        Ok(Moment { runtime, client, id })
    }
}

impl Moment {
    pub fn shape(&self) -> Result<Shape> {
        let schema = self.text_of(SCHEMA)?;
        let mut tables = BTreeMap::new();
        for row in self.query(TABLES)? {
            let (schema, table): (String, String) = (row.get(0), row.get(1));
            let (of, name) = (identifier(&schema), identifier(&table));
            let counted = self.query(&format!("SELECT count(*) FROM ONLY {of}.{name}"))?;
            let count = counted.first().map_or(0, |row| row.get(0));
            tables.insert(format!("{schema}.{table}"), count);
        }
        let extensions = self.query(EXTENSIONS)?;
        let extensions = extensions.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Shape { schema: HEXLOWER.encode(&Sha256::digest(schema)), tables, extensions })
    }

    fn text_of(&self, sql: &str) -> Result<String> {
        let sql = format!(
            "SELECT line FROM ({sql}) s(line) WHERE line !~ '^[a-z]+ (pg_|information_schema)' ORDER BY line COLLATE \"C\""
        );
        let rows = self.query(&sql)?;
        Ok(rows.iter().flat_map(|row| [row.get::<_, String>(0), "\n".into()]).collect())
    }

    fn query(&self, sql: &str) -> Result<Vec<tokio_postgres::Row>> {
        self.runtime.block_on(self.client.query(sql, &[])).map_err(|e| {
            Error::failed("could not look at the database as it is kept").caused_by(said(&e))
        })
    }
}

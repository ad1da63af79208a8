//! What there is in the server, as its own lists tell.

use serde::Serialize;

use super::{Host, literal};
use crate::error::Result;

#[derive(Debug, Serialize)]
pub struct Table {
    pub name: String,
    pub engine: String,
    /// As the server last estimated it.
    pub rows: u64,
    pub size: u64,
}

fn pairs(rows: Vec<Vec<String>>) -> Vec<(String, u64)> {
    let pair = |row: Vec<String>| {
        let mut values = row.into_iter();
        Some((values.next()?, values.next()?.parse().ok()?))
    };
    rows.into_iter().filter_map(pair).collect()
}

impl Host {
    /// How many bytes each database takes.
    pub fn mysql_sizes(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT s.SCHEMA_NAME, COALESCE(CAST(SUM(t.DATA_LENGTH + t.INDEX_LENGTH) AS UNSIGNED), 0) \
                   FROM information_schema.SCHEMATA s LEFT JOIN information_schema.TABLES t \
                   ON t.TABLE_SCHEMA = s.SCHEMA_NAME GROUP BY 1";
        self.mysql_rows(sql).map(pairs)
    }

    /// How many connections each account has.
    pub fn mysql_sessions(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT USER, COUNT(*) FROM information_schema.PROCESSLIST GROUP BY 1";
        self.mysql_rows(sql).map(pairs)
    }

    /// The largest first.
    pub fn mysql_table_list(&self, database: &str) -> Result<Vec<Table>> {
        let sql = format!(
            "SELECT TABLE_NAME, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, 0), \
             COALESCE(DATA_LENGTH + INDEX_LENGTH, 0) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_TYPE NOT LIKE '%VIEW' ORDER BY 4 DESC, 1",
            literal(database)
        );
        let table = |row: Vec<String>| {
            let mut values = row.into_iter();
            Some(Table {
                name: values.next()?,
                engine: values.next()?,
                rows: values.next()?.parse().ok()?,
                size: values.next()?.parse().ok()?,
            })
        };
        Ok(self.mysql_rows(&sql)?.into_iter().filter_map(table).collect())
    }
}

//! Tables that change places with those of another database, in one statement.

use super::{Host, identifier, literal};
use crate::error::Result;

/// A table that is moved with the others: where it is tells whether they were.
const MARK: &str = "hostkit_swapped";

impl Host {
    fn mysql_tables(&self, database: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_TYPE NOT LIKE '%VIEW' ORDER BY 1",
            literal(database)
        );
        Ok(self.mysql_rows(&sql)?.into_iter().flatten().collect())
    }

    /// Takes away what can't move: triggers, views, routines and events.
    pub fn drop_mysql_programs(&self, database: &str) -> Result<()> {
        let of = literal(database);
        let rows = self.mysql_rows(&format!(
            "SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {of} \
             UNION ALL SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {of} \
             UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of} \
             UNION ALL SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of}"
        ))?;
        if rows.is_empty() {
            return Ok(());
        }
        let drop = |row: &Vec<String>| match row.as_slice() {
            [kind, name] => {
                format!("DROP {kind} IF EXISTS {}.{}", identifier(database), identifier(name))
            }
            _ => String::from("DO 0"),
        };
        let sql: Vec<String> = rows.iter().map(drop).collect();
        self.mysql(&format!("take away what `{database}` runs by itself"), &sql.join("; "))
    }

    /// Whether the server would run something there by itself, now.
    pub fn mysql_runs_events(&self, database: &str) -> Result<bool> {
        let sql = format!(
            "SELECT EVENT_NAME FROM information_schema.EVENTS \
             WHERE EVENT_SCHEMA = {} AND @@GLOBAL.event_scheduler = 'ON'",
            literal(database)
        );
        Ok(!self.mysql_rows(&sql)?.is_empty())
    }

    /// Puts the tables of `next` in the place of those of `live`, which are `aside` from then on:
    /// all of them or none, whoever stops it. None of them may have a trigger.
    pub fn swap_mysql(&self, live: &str, next: &str, aside: &str) -> Result<()> {
        let mark = format!(
            "CREATE TABLE IF NOT EXISTS {}.{} (id INT)",
            identifier(next),
            identifier(MARK)
        );
        self.mysql("mark what is to be swapped", &mark)?;
        self.move_tables(live, next, aside)
    }

    /// Puts them back; what was there is in `next` again.
    pub fn swap_mysql_back(&self, live: &str, next: &str, aside: &str) -> Result<()> {
        self.move_tables(live, aside, next)
    }

    /// Those of `to` go to `away`, and those of `from` to `to`. The mark goes from one to the other.
    fn move_tables(&self, to: &str, from: &str, away: &str) -> Result<()> {
        let moved = |table: &str, from: &str, to: &str| {
            let table = identifier(table);
            format!("{}.{table} TO {}.{table}", identifier(from), identifier(to))
        };
        let mut moves: Vec<String> =
            self.mysql_tables(to)?.iter().map(|table| moved(table, to, away)).collect();
        let coming = self.mysql_tables(from)?;
        let coming = coming.iter().filter(|table| *table != MARK);
        moves.extend(coming.map(|table| moved(table, from, to)));
        moves.push(moved(MARK, from, away));
        let sql = format!("RENAME TABLE {}", moves.join(", "));
        self.mysql(&format!("put other tables in the place of those of `{to}`"), &sql)
    }

    /// Whether tables lie there that others were put in the place of.
    pub fn is_mysql_swapped(&self, aside: &str) -> Result<bool> {
        Ok(self.mysql_tables(aside)?.iter().any(|table| table == MARK))
    }
}

//! Who did what, when, and how it ended.

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::{Outcome, Registry, lost};
use crate::{error::Result, names::ProjectName};

#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub project: Option<String>,
    pub verb: String,
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub milliseconds: i64,
}

/// Whoever asks without end must not fill the disk: the newest stay.
const LET_GO: &str = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 20000";

impl Registry {
    /// The newest events, the last one last.
    pub fn events(&self, project: Option<&ProjectName>, newest: u32) -> Result<Vec<Event>> {
        let sql = "SELECT id, at, actor, project, verb, outcome, detail, milliseconds FROM events \
                   WHERE ?1 IS NULL OR project = ?1 ORDER BY id DESC LIMIT ?2";
        let mut events =
            self.rows(sql, params![project.map(ProjectName::as_str), newest], |row| {
                Ok(Event {
                    id: row.get(0)?,
                    at: row.get::<_, String>(1)?.parse().unwrap_or_default(),
                    actor: row.get(2)?,
                    project: row.get(3)?,
                    verb: row.get(4)?,
                    outcome: row.get(5)?,
                    detail: row.get(6)?,
                    milliseconds: row.get(7)?,
                })
            })?;
        events.reverse();
        Ok(events)
    }

    /// Records what was no operation: a start, a stop, a refusal.
    pub fn add_event(
        &mut self,
        actor: &str,
        project: Option<&ProjectName>,
        verb: &str,
        outcome: &str,
        detail: Option<&str>,
    ) -> Result<()> {
        self.db
            .execute(
                "INSERT INTO events (at, actor, project, verb, outcome, detail, milliseconds) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
                params![
                    Timestamp::now().to_string(),
                    actor,
                    project.map(ProjectName::as_str),
                    verb,
                    outcome,
                    detail
                ],
            )
            .and_then(|_| self.db.execute(LET_GO, []))
            .map_err(|e| lost(&e))?;
        Ok(())
    }
}

pub(super) fn of_operation(
    tx: &Transaction<'_>,
    operation: i64,
    outcome: Outcome,
    detail: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let started: String =
        tx.query_row("SELECT started_at FROM operations WHERE id = ?1", [operation], |row| {
            row.get(0)
        })?;
    let started: Timestamp = started.parse().unwrap_or(now);
    let took = now.duration_since(started).as_millis();
    tx.execute(
        "INSERT INTO events (at, actor, project, verb, outcome, detail, milliseconds) \
         SELECT ?2, actor, project, verb, ?3, ?4, ?5 FROM operations WHERE id = ?1",
        params![
            operation,
            now.to_string(),
            outcome.as_str(),
            detail,
            i64::try_from(took).unwrap_or(i64::MAX)
        ],
    )?;
    tx.execute(LET_GO, []).map(|_| ())
}

//! What is wrong, and who knows of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Registry, lost};
use crate::error::Result;

/// Something that is wrong, or was.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alert {
    /// What it is about: `nginx`, `my-shop: web`.
    pub key: String,
    pub text: String,
    pub since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
    /// When each channel told it last.
    pub told: BTreeMap<String, Timestamp>,
}

impl Registry {
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        let time = |text: String| text.parse::<Timestamp>().unwrap_or_default();
        let sql = "SELECT key, text, since, over_at FROM alerts ORDER BY since, key";
        let mut alerts = self.rows(sql, [], |row| {
            Ok(Alert {
                key: row.get(0)?,
                text: row.get(1)?,
                since: time(row.get(2)?),
                over_at: row.get::<_, Option<String>>(3)?.map(time),
                told: BTreeMap::new(),
            })
        })?;
        let sql = "SELECT key, channel, told_at FROM alerts_told";
        let told: Vec<(String, String, String)> =
            self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (key, channel, at) in told {
            if let Some(alert) = alerts.iter_mut().find(|alert| alert.key == key) {
                alert.told.insert(channel, time(at));
            }
        }
        Ok(alerts)
    }

    /// Records all of them, instead of those that there were.
    pub fn keep_alerts(&mut self, alerts: &[Alert]) -> Result<()> {
        let keep = |db: &mut rusqlite::Connection| -> rusqlite::Result<()> {
            let tx = db.transaction()?;
            tx.execute("DELETE FROM alerts_told", [])?;
            tx.execute("DELETE FROM alerts", [])?;
            for Alert { key, text, since, over_at, told } in alerts {
                let over_at = over_at.map(|at| at.to_string());
                tx.execute(
                    "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4)",
                    params![key, text, since.to_string(), over_at],
                )?;
                for (channel, at) in told {
                    tx.execute(
                        "INSERT INTO alerts_told VALUES (?1, ?2, ?3)",
                        params![key, channel, at.to_string()],
                    )?;
                }
            }
            tx.commit()
        };
        keep(&mut self.db).map_err(|e| lost(&e))
    }
}

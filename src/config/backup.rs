//! Backups: how long they stay, and where else they go.

use serde::{Deserialize, Serialize};

/// How long backups stay, where else they go, and how often one is proven.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Backup {
    pub days: usize,
    pub weeks: usize,
    /// A second place: `sftp:user@host:/path`, `s3:https://host/bucket`, a directory; "" is none.
    pub offsite: String,
    pub offsite_days: usize,
    pub offsite_weeks: usize,
    pub drill: Drill,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Drill {
    /// After each backup that the timer makes.
    Always,
    Never,
    Weekly,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            days: 7,
            weeks: 4,
            offsite: String::new(),
            offsite_days: 30,
            offsite_weeks: 12,
            drill: Drill::Weekly,
        }
    }
}

//! A release's name: when it was made, in UTC, and a number where that second was taken.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use super::serde_by_str;
use crate::error::{Error, Result};

/// `20261121-093012`, or `20261121-093012-2`. Its order is the registry's, never the clock's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ReleaseId(String);

/// A checkpoint is named in the same way, by when it was taken.
pub type CheckpointId = ReleaseId;

/// And so is a backup.
pub type BackupId = ReleaseId;

impl ReleaseId {
    /// The n-th release of that second.
    pub fn at(moment: Timestamp, n: u16) -> Self {
        let stamp = moment.strftime("%Y%m%d-%H%M%S");
        Self(if n <= 1 { stamp.to_string() } else { format!("{stamp}-{n}") })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ReleaseId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits =
            |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = text.split('-').collect();
        let valid = match parts[..] {
            [day, time] => digits(day, 8) && digits(time, 6),
            [day, time, again] => {
                digits(day, 8)
                    && digits(time, 6)
                    && (1..=4).contains(&again.len())
                    && digits(again, again.len())
                    && !again.starts_with('0')
                    && again != "1"
            }
            _ => false,
        };
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage("bad_release", format!("`{}` is no release", text.escape_debug()))
            .caused_by("a release is named like `20261121-093012`"))
    }
}

serde_by_str!(ReleaseId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_moment_is_a_release() {
        for good in ["20261121-093012", "20261121-093012-2", "20261121-093012-17"] {
            assert!(good.parse::<ReleaseId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "..",
            "20261121",
            "20261121-093012-1",
            "20261121-093012-02",
            "2026112a-093012",
            "20261121-093012/..",
        ] {
            assert!(bad.parse::<ReleaseId>().is_err(), "{bad}");
        }
    }
}

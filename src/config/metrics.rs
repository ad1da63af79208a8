//! Figures of projects, as a Prometheus of the server's own keeps them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Size, refused};
use crate::error::Result;

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Metrics {
    /// Whether this server has one that hostkit has set up.
    pub enabled: bool,
    /// How long figures stay, and how much they may take: whatever comes first.
    pub retention: Retention,
    pub size: Size,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: false, retention: Retention(15 * 24), size: Size(1 << 30) }
    }
}

impl Metrics {
    pub(super) fn check(&self) -> Result<()> {
        // Below that Prometheus would throw away what it has hardly written.
        if !((256 << 20)..=(1 << 40)).contains(&self.size.0) {
            return Err(refused(None, "`metrics.size` wants 256M to 1024G"));
        }
        Ok(())
    }
}

/// Hours, written as `15d` or `36h`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Retention(pub u32);

/// Ten years.
const LONGEST: u32 = 3650 * 24;
/// Prometheus writes in pieces of two hours.
const SHORTEST: u32 = 6;

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            hours if hours % 24 == 0 => write!(f, "{}d", hours / 24),
            hours => write!(f, "{hours}h"),
        }
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hours = [("h", 1), ("d", 24), ("w", 7 * 24)].into_iter().find_map(|(unit, hours)| {
            text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(hours)
        });
        hours
            .filter(|hours| (SHORTEST..=LONGEST).contains(hours))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no time like `15d`, from 6h to 3650d"))
    }
}

impl TryFrom<String> for Retention {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn figures_stay_for_a_time_that_reads_back() {
        for (text, hours, back) in [("15d", 360, "15d"), ("36h", 36, "36h"), ("2w", 336, "14d")] {
            let retention: Retention = text.parse().unwrap();
            assert_eq!((retention.0, retention.to_string().as_str()), (hours, back));
        }
        for text in
            ["", "15", "d", "-1d", "1h", "0d", "3651d", "99999999999d", "4294967295w", "1d "]
        {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
        let error = Config::parse("[metrics]\nretention = \"soon\"\n").unwrap_err();
        assert!(error.cause.unwrap().starts_with("line 2: `soon` is no time"));
        assert!(Config::parse("[metrics]\nsize = \"1M\"\n").is_err());
    }
}

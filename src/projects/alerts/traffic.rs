//! What the web server noted of a site's last requests.

use jiff::{SignedDuration, Timestamp, fmt::strtime};

use crate::config::Alerts;

/// So far back counts.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// How a site's last requests went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    pub requests: u32,
    pub errors: u32,
    /// Whether all of them are known: something older was noted before.
    pub is_whole: bool,
    /// How long each answer of the project's own took to begin, in milliseconds.
    waits: Vec<u64>,
}

/// A line of nginx' log, as the site's `log_format` has it.
struct Line {
    at: Timestamp,
    status: u16,
    wait: Option<u64>,
}

impl Traffic {
    /// Of the end of a log, whose first line may be cut.
    pub fn read(log: &[u8], now: Timestamp) -> Self {
        let mut traffic = Self::default();
        for line in log.rsplit(|byte| *byte == b'\n') {
            let Some(line) = std::str::from_utf8(line).ok().and_then(Line::read) else { continue };
            let age = now.duration_since(line.at);
            // Lines are in the order in which requests ended, as near as makes no difference.
            if age > WINDOW {
                traffic.is_whole = true;
                break;
            }
            traffic.requests += 1;
            traffic.errors += u32::from(line.status >= 500);
            traffic.waits.extend(line.wait);
        }
        traffic.waits.sort_unstable();
        traffic
    }

    /// What is wrong with it, each under a name.
    pub fn faults(&self, limits: &Alerts) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let share = u64::from(self.errors) * 100 / u64::from(self.requests.max(1));
        let is_enough = self.requests >= limits.least.max(1);
        if is_enough && limits.errors.0 > 0 && share >= u64::from(limits.errors.0) {
            let text = format!(
                "{share}% of {} requests in five minutes were answered by an error (5xx)",
                self.requests
            );
            faults.push(("errors", text));
        }
        let slow = u64::try_from(limits.slow.0.as_millis()).unwrap_or(u64::MAX);
        let is_enough = self.waits.len() as u64 >= u64::from(limits.least.max(1));
        if let Some(wait) = self.slowest().filter(|wait| is_enough && slow > 0 && *wait >= slow) {
            let text = format!(
                "1 of 20 answers took {}.{} s or longer to begin, of the last five minutes",
                wait / 1000,
                wait % 1000 / 100
            );
            faults.push(("slow", text));
        }
        faults
    }

    /// By then 19 of 20 answers have begun.
    fn slowest(&self) -> Option<u64> {
        let nth = (self.waits.len() * 19).div_ceil(20);
        self.waits.get(nth.checked_sub(1)?).copied()
    }
}

impl Line {
    /// `… [22/Nov/2026:02:14:15 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8" 0.004 0.003`; nginx
    /// writes every quotation mark of a visitor's as `\x22`.
    fn read(text: &str) -> Option<Self> {
        let (head, rest) = text.split_once("] \"")?;
        let (_, at) = head.rsplit_once('[')?;
        let at = strtime::parse("%d/%b/%Y:%H:%M:%S %z", at).ok()?.to_timestamp().ok()?;
        let (_, rest) = rest.split_once("\" ")?;
        let status = rest.split(' ').next()?.parse().ok()?;
        let (_, times) = rest.rsplit_once('"')?;
        let waited = times.trim().split_once(' ').map(|(_, waited)| waited);
        Some(Self { at, status, wait: waited.and_then(millis) })
    }
}

/// `0.004`, or of several servers that were asked one after the other `0.001, 0.003`.
fn millis(times: &str) -> Option<u64> {
    let one = |time: &str| {
        let (whole, part) = time.split_once('.')?;
        let part: u64 = if part.len() == 3 { part.parse().ok()? } else { return None };
        Some(whole.parse::<u64>().ok()?.saturating_mul(1000).saturating_add(part))
    };
    let all = times.split([',', ':', ' ']).filter_map(|time| one(time.trim()));
    all.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, status: u16, times: &str) -> String {
        format!(
            "192.0.2.1 - - [22/Nov/2026:02:14:{second:02} +0000] \"GET /a\\x22] \\x22b HTTP/1.1\" {status} 612 \"-\" \"curl \\x22\"{times}\n"
        )
    }

    fn now() -> Timestamp {
        "2026-11-22T02:15:00Z".parse().unwrap()
    }

    fn of(log: &str) -> Traffic {
        Traffic::read(log.as_bytes(), now())
    }

    #[test]
    fn lines_are_read_whatever_visitors_wrote() {
        let log = line(1, 200, " 0.004 0.003")
            + &line(2, 502, " 10.100 5.000, 5.100")
            + &line(3, 304, "");
        let traffic = of(&log);
        assert_eq!((traffic.requests, traffic.errors), (3, 1));
        assert_eq!(traffic.waits, [3, 10_100]);
        assert_eq!(of(&line(1, 200, " 3.000 -")).waits, [0; 0]);
        for odd in ["", "x", "[] \"\" ", "a [22/Nov/2026:02:14:01 +0000] \"GET", "] \"\" 200"] {
            assert_eq!(of(odd), Traffic::default(), "{odd}");
        }
        // What was before counts no more.
        let old = log.replace("22/Nov/2026:02", "22/Nov/2026:01");
        assert_eq!(of(&old), Traffic { is_whole: true, ..Traffic::default() });
        let both = of(&(old + &line(1, 500, "")));
        assert_eq!((both.requests, both.is_whole, traffic.is_whole), (1, true, false));
        assert_eq!(of(&line(1, 200, "")[40..]).requests, 0);
    }

    #[test]
    fn a_site_has_to_fail_often_to_be_told() {
        let limits = Alerts::default();
        let log = |good: usize, bad: usize| {
            of(&(line(1, 200, " 0.1 0.100").repeat(good) + &line(2, 500, " 0.1 0.100").repeat(bad)))
        };
        assert_eq!(log(19, 0).faults(&limits), []);
        assert_eq!(log(0, 19).faults(&limits), [], "too few");
        assert_eq!(log(19, 1).faults(&limits), []);
        let faults = log(18, 2).faults(&limits);
        assert_eq!((faults.len(), faults[0].0), (1, "errors"));
        assert!(faults[0].1.starts_with("10% of 20 requests"), "{faults:?}");
        let never = Alerts { errors: crate::config::Percent(0), ..limits };
        assert_eq!(log(0, 100).faults(&never), []);
    }

    #[test]
    fn one_of_twenty_may_be_slow() {
        let limits = Alerts::default();
        let log = |slow: usize| {
            of(&(line(1, 200, " 0.1 0.100").repeat(40 - slow)
                + &line(2, 200, " 0.1 12.340").repeat(slow)))
        };
        assert_eq!(log(2).faults(&limits), []);
        let faults = log(3).faults(&limits);
        assert_eq!(faults[0].0, "slow");
        assert!(faults[0].1.contains("took 12.3 s or longer"), "{faults:?}");
    }
}

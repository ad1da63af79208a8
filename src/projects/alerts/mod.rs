//! Alerts: what is news to whom.

mod channel;
mod message;
mod traffic;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use channel::{Address, Channel, ChannelKind, Channels, check_name, find};
pub use message::message;
pub use traffic::{Traffic, WINDOW};

use crate::registry::Alert;

/// Something that is wrong now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// What it is about: it stays the same as long as the trouble does.
    pub key: String,
    pub text: String,
}

/// What is known after another look: what is new began now, and what is gone is over. Of what
/// nobody heard, and of channels that are gone, nothing is left.
pub fn settle(
    known: Vec<Alert>,
    seen: &[Problem],
    channels: &BTreeSet<&str>,
    now: Timestamp,
) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = known
        .into_iter()
        .map(|mut alert| {
            alert.told.retain(|channel, _| channels.contains(channel.as_str()));
            match seen.iter().find(|problem| problem.key == alert.key) {
                Some(problem) => {
                    alert.text.clone_from(&problem.text);
                    alert.over_at = None;
                }
                None => alert.over_at = alert.over_at.or(Some(now)),
            }
            alert
        })
        .collect();
    for problem in seen {
        if !alerts.iter().any(|alert| alert.key == problem.key) {
            let Problem { key, text } = problem.clone();
            let told = std::collections::BTreeMap::new();
            alerts.push(Alert { key, text, since: now, over_at: None, told });
        }
    }
    alerts.retain(|alert| alert.over_at.is_none() || !alert.told.is_empty());
    alerts
}

/// Whether a channel has to tell this now.
pub fn is_news(
    alert: &Alert,
    channel: &str,
    now: Timestamp,
    (after, again): (SignedDuration, SignedDuration),
) -> bool {
    match (alert.over_at, alert.told.get(channel)) {
        (Some(_), told) => told.is_some(),
        // A clock that was set back must not silence anybody for long.
        (None, Some(told)) => {
            let since = now.duration_since(*told);
            again > SignedDuration::ZERO && (since >= again || since < -again)
        }
        (None, None) => {
            let since = now.duration_since(alert.since);
            since >= after || since < SignedDuration::ZERO
        }
    }
}

/// Notes what a channel has told.
pub fn told(alert: &mut Alert, channel: &str, now: Timestamp) {
    if alert.over_at.is_some() {
        alert.told.remove(channel);
    } else {
        alert.told.insert(channel.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: (SignedDuration, SignedDuration) =
        (SignedDuration::from_mins(2), SignedDuration::from_hours(24));

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn problem(key: &str) -> Problem {
        Problem { key: key.into(), text: "is down".into() }
    }

    /// A minute with a look, and what one channel that always gets through tells.
    fn look(alerts: &mut Vec<Alert>, seen: &[Problem], minute: i64) -> Vec<String> {
        let channels = BTreeSet::from(["ops"]);
        *alerts = settle(std::mem::take(alerts), seen, &channels, at(minute));
        let mut said = Vec::new();
        for alert in alerts.iter_mut() {
            if is_news(alert, "ops", at(minute), TIMES) {
                let what = if alert.over_at.is_some() { "over" } else { "wrong" };
                said.push(format!("{} {what}", alert.key));
                told(alert, "ops", at(minute));
            }
        }
        said
    }

    #[test]
    fn what_lasts_is_told_once_and_so_is_its_end() {
        let (mut alerts, web) = (Vec::new(), [problem("shop: web")]);
        assert_eq!(look(&mut alerts, &web, 0), [""; 0]);
        assert_eq!(look(&mut alerts, &web, 1), [""; 0]);
        assert_eq!(look(&mut alerts, &web, 2), ["shop: web wrong"]);
        for minute in 3..60 {
            assert_eq!(look(&mut alerts, &web, minute), [""; 0]);
        }
        assert_eq!(look(&mut alerts, &[], 60), ["shop: web over"]);
        assert_eq!(look(&mut alerts, &[], 61), [""; 0]);
        assert!(alerts.is_empty());
    }

    #[test]
    fn what_does_not_last_is_nobodys_concern() {
        let (mut alerts, web) = (Vec::new(), [problem("shop: web")]);
        look(&mut alerts, &web, 0);
        look(&mut alerts, &web, 1);
        assert_eq!(look(&mut alerts, &[], 2), [""; 0]);
        assert!(alerts.is_empty());
        // It begins anew: the minutes before don't count.
        look(&mut alerts, &web, 3);
        assert_eq!(look(&mut alerts, &web, 4), [""; 0]);
    }

    #[test]
    fn a_day_later_it_is_told_again() {
        let (mut alerts, web) = (Vec::new(), [problem("shop: web")]);
        look(&mut alerts, &web, 0);
        assert_eq!(look(&mut alerts, &web, 5).len(), 1);
        assert_eq!(look(&mut alerts, &web, 24 * 60), [""; 0]);
        assert_eq!(look(&mut alerts, &web, 24 * 60 + 5), ["shop: web wrong"]);
        // The clock was wrong, by a year.
        let back = at(-365 * 24 * 60);
        assert!(is_news(&alerts[0], "ops", back, TIMES));
    }

    #[test]
    fn whom_it_did_not_reach_hears_later() {
        let web = [problem("shop: web")];
        let both = BTreeSet::from(["mail", "ops"]);
        let mut alerts = settle(Vec::new(), &web, &both, at(0));
        told(&mut alerts[0], "ops", at(2));
        assert!(is_news(&alerts[0], "mail", at(3), TIMES));
        assert!(!is_news(&alerts[0], "ops", at(3), TIMES));
        // It ends before the other one heard of it: he is not bothered.
        let mut alerts = settle(alerts, &[], &both, at(4));
        assert!(!is_news(&alerts[0], "mail", at(4), TIMES));
        assert!(is_news(&alerts[0], "ops", at(4), TIMES));
        // It comes back before its end was told.
        let again = settle(alerts.clone(), &web, &both, at(5));
        assert_eq!((again[0].over_at, again[0].since), (None, at(0)));
        // Whose channel is gone hears nothing more.
        assert!(
            settle(std::mem::take(&mut alerts), &[], &BTreeSet::from(["mail"]), at(5)).is_empty()
        );
    }
}

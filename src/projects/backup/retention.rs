//! Which backups have outlived their use.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::ISOWeekDate, tz::TimeZone};

/// How many days and weeks stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    pub days: usize,
    pub weeks: usize,
}

/// What decides whether a backup stays.
pub struct Candidate {
    pub made_at: Timestamp,
    pub is_complete: bool,
    pub is_proven: bool,
}

/// Of backups of one thing, the newest first by the order in which they were made: the places of
/// those that go. The newest of each of the last days and weeks that have any stay, and with them
/// the newest and the newest that was proven. What is not complete keeps nothing else from staying.
pub fn surplus(backups: &[Candidate], kept: Kept) -> Vec<usize> {
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    let (mut has_newest, mut has_proven) = (false, false);
    let mut gone = Vec::new();
    for (place, backup) in backups.iter().enumerate() {
        if !backup.is_complete {
            continue;
        }
        let date = backup.made_at.to_zoned(TimeZone::UTC).date();
        let week = ISOWeekDate::from(date);
        let mut stays = !has_newest || (backup.is_proven && !has_proven);
        has_newest = true;
        has_proven |= backup.is_proven;
        if days.len() < kept.days && days.insert(date) {
            stays = true;
        }
        if weeks.len() < kept.weeks && weeks.insert((week.year(), week.week())) {
            stays = true;
        }
        if !stays {
            gone.push(place);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Kept = Kept { days: 7, weeks: 4 };

    fn at(hours: i64, is_complete: bool, is_proven: bool) -> Candidate {
        let made_at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hours);
        Candidate { made_at, is_complete, is_proven }
    }

    #[test]
    fn seven_days_and_four_weeks_stay_of_a_year() {
        let year: Vec<Candidate> = (0..365).rev().map(|day| at(day * 24, true, false)).collect();
        let gone = surplus(&year, USUAL);
        // Seven days, and of four weeks three that those days do not hold the newest of.
        assert_eq!(year.len() - gone.len(), 7 + 4 - 2 + usize::from(gone.contains(&0)));
    }

    #[test]
    fn the_newest_proven_one_stays_however_old() {
        let mut all: Vec<Candidate> = (1..100).rev().map(|day| at(day * 24, true, false)).collect();
        all.push(at(0, true, true));
        assert!(!surplus(&all, USUAL).contains(&99));
        all[0].is_proven = true;
        assert!(surplus(&all, USUAL).contains(&99));
    }

    #[test]
    fn many_of_a_day_leave_one() {
        let all: Vec<Candidate> = (0..20).rev().map(|hour| at(hour, true, false)).collect();
        assert_eq!(all.len() - surplus(&all, USUAL).len(), 1);
    }

    proptest! {
        #[test]
        fn what_must_stay_stays(
            all in proptest::collection::vec((-5000_i64..50_000, any::<bool>(), any::<bool>()), 0..60),
            days in 0_usize..10,
            weeks in 0_usize..10,
        ) {
            let all: Vec<Candidate> =
                all.into_iter().map(|(hours, whole, proven)| at(hours, whole, whole && proven)).collect();
            let gone = surplus(&all, Kept { days, weeks });
            let newest = all.iter().position(|b| b.is_complete);
            let proven = all.iter().position(|b| b.is_proven);
            for stays in [newest, proven].into_iter().flatten() {
                prop_assert!(!gone.contains(&stays), "clock or not, {stays} stays");
            }
            // A failed one is never taken for one that replaces another.
            prop_assert!(gone.iter().all(|place| all[*place].is_complete));
            let without: Vec<usize> = (0..all.len()).filter(|p| all[*p].is_complete).collect();
            let whole: Vec<Candidate> = without.iter().map(|p| {
                let b = &all[*p];
                Candidate { made_at: b.made_at, is_complete: true, is_proven: b.is_proven }
            }).collect();
            let same: Vec<usize> =
                surplus(&whole, Kept { days, weeks }).into_iter().map(|p| without[p]).collect();
            prop_assert_eq!(&gone, &same, "failed ones age nothing out");
            prop_assert!(whole.len() - gone.len() <= days + weeks + 2);
        }
    }
}

//! When a timer runs: systemd's `OnCalendar=`, also said as `@daily` or in cron's five fields.

use std::collections::BTreeSet;

use crate::names::nearest;

const WORDS: &[&str] = &[
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "yearly",
    "annually",
];

const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What `OnCalendar=` says, or why there is no such time.
pub(in crate::projects) fn on_calendar(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(word) = text.strip_prefix('@') {
        return named(word);
    }
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_cron =
        |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-?#".contains(c));
    match parts[..] {
        [minute, hour, day, month, weekday] if parts.iter().all(is_cron) => {
            cron([minute, hour, day, month, weekday])
        }
        _ => calendar(&parts),
    }
}

fn named(word: &str) -> Result<String, String> {
    match word {
        "midnight" => Ok("daily".into()),
        "reboot" => {
            Err("`@reboot` is no time: a process without a schedule starts with the server".into())
        }
        _ => one_word(word),
    }
}

fn one_word(word: &str) -> Result<String, String> {
    if WORDS.contains(&word) {
        return Ok(word.into());
    }
    Err(match nearest(word, WORDS.iter().copied()) {
        Some(meant) => format!("`{}` is no time; did you mean `{meant}`?", super::printable(word)),
        None => format!(
            "`{}` is no time like `daily`, `*:0/15` or `30 3 * * *`",
            super::printable(word)
        ),
    })
}

/// Checks the shape only: systemd itself reads the rest.
fn calendar(parts: &[&str]) -> Result<String, String> {
    let is_clock = |part: &str| part.contains(':');
    let is_date = |part: &str| part.contains('-') && !is_clock(part) && !is_zone(part);
    let known = |part: &str| {
        let digits = |c: char| c.is_ascii_digit() || "*,./:~-".contains(c);
        ((is_clock(part) || is_date(part)) && part.chars().all(digits)) || is_weekdays(part)
    };
    let joined = parts.join(" ");
    let Some((last, others)) = parts.split_last() else { return Err("it is empty".into()) };
    if joined.len() > 200 || parts.len() > 4 {
        return Err("it is too long for a time".into());
    }
    if let ([], true) =
        (others, last.chars().all(|c| c.is_ascii_alphabetic()) && !is_weekdays(last))
    {
        return one_word(last);
    }
    let zoned = !others.is_empty() && is_zone(last);
    let odd = others.iter().chain((!zoned).then_some(last)).find(|part| {
        let shorthand = zoned && others.len() == 1 && WORDS.contains(*part);
        !known(part) && !shorthand
    });
    match odd {
        None => Ok(joined),
        Some(part) => Err(format!(
            "`{}` is no part of a time like `Mon *-*-* 03:30:00`, nor of cron's five fields",
            super::printable(part)
        )),
    }
}

fn is_zone(part: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    part == "UTC"
        || (part.contains('/')
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(letters))
}

fn is_weekdays(part: &str) -> bool {
    let is_day = |day: &str| {
        let day = day.to_ascii_lowercase();
        day.len() >= 3
            && ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
                .iter()
                .any(|full| *full == day || full[..3] == day)
    };
    part.split(',').all(|range| range.split("..").count() <= 2 && range.split("..").all(is_day))
}

/// Cron's five fields as one calendar expression; what it can't say is refused.
fn cron([minute, hour, day, month, weekday]: [&str; 5]) -> Result<String, String> {
    let minutes = Field::read("minute", minute, 0, 59, &[])?;
    let hours = Field::read("hour", hour, 0, 23, &[])?;
    let days = Field::read("day", day, 1, 31, &[])?;
    let months = Field::read("month", month, 1, 12, MONTHS)?;
    let weekdays = Field::read("weekday", weekday, 0, 7, DAYS)?;
    let weekdays: BTreeSet<u32> = weekdays.set.into_iter().map(|day| day % 7).collect();
    let every_weekday = weekdays.len() == 7;
    if !every_weekday && !days.is_full() {
        return Err(
            "cron runs it on that day of the month and on that weekday too, which one timer can't say: \
             write two processes"
                .into(),
        );
    }
    let longest = months.set.iter().filter_map(|month| LENGTHS.get(*month as usize - 1)).max();
    if days.set.first() > longest {
        return Err("no month of those has that day".into());
    }
    let weekdays = if every_weekday { String::new() } else { format!("{} ", told_days(&weekdays)) };
    Ok(format!(
        "{weekdays}*-{}-{} {}:{}:00",
        months.told(),
        days.told(),
        hours.told(),
        minutes.told()
    ))
}

/// From Monday on, as people and systemd count.
fn told_days(days: &BTreeSet<u32>) -> String {
    let names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let order: Vec<u32> = (1..7).chain([0]).filter(|day| days.contains(day)).collect();
    let told = |day: &u32| names[*day as usize % 7];
    let is_run = order.windows(2).all(|pair| (pair[0] + 1) % 7 == pair[1]);
    match order[..] {
        [first, .., last] if order.len() > 2 && is_run => {
            format!("{}..{}", told(&first), told(&last))
        }
        _ => order.iter().map(told).collect::<Vec<_>>().join(","),
    }
}

struct Field {
    set: BTreeSet<u32>,
    least: u32,
    most: u32,
}

impl Field {
    fn read(name: &str, text: &str, least: u32, most: u32, words: &[&str]) -> Result<Self, String> {
        let odd = || format!("`{}` is no {name} of cron's", super::printable(text));
        let number = |text: &str| -> Result<u32, String> {
            if let Some(at) = words.iter().position(|word| text.eq_ignore_ascii_case(word)) {
                return u32::try_from(at).map(|at| at + least).map_err(|_| odd());
            }
            let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_plain).ok_or_else(odd)?;
            if (least..=most).contains(&number) { Ok(number) } else { Err(odd()) }
        };
        let mut set = BTreeSet::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, step.parse::<usize>().map_err(|_| odd())?),
                None => (item, 1),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (least, most),
                Some((from, to)) => (number(from)?, number(to)?),
                None if item.contains('/') => (number(range)?, most),
                None => (number(range)?, number(range)?),
            };
            if from > to || step == 0 {
                return Err(odd());
            }
            set.extend((from..=to).step_by(step));
        }
        Ok(Self { set, least, most })
    }

    fn is_full(&self) -> bool {
        self.set.len() == (self.most - self.least + 1) as usize
    }

    fn told(&self) -> String {
        if self.is_full() {
            return "*".into();
        }
        let values: Vec<u32> = self.set.iter().copied().collect();
        let two = |value: &u32| format!("{value:02}");
        if let [first, second, third, .., last] | [first, second, third @ last] = values[..] {
            let step = second - first;
            let is_even = third - second == step && values.windows(2).all(|p| p[1] - p[0] == step);
            if is_even && step == 1 {
                return format!("{}..{}", two(&first), two(&last));
            }
            if is_even && last + step > self.most {
                return format!("{}/{step}", two(&first));
            }
        }
        values.iter().map(two).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn five_fields_become_a_calendar_expression() {
        for (cron, calendar) in [
            ("* * * * *", "*-*-* *:*:00"),
            ("30 3 * * *", "*-*-* 03:30:00"),
            ("*/15 * * * *", "*-*-* *:00/15:00"),
            ("5-59/10 * * * *", "*-*-* *:05/10:00"),
            ("0 9-17 * * 1-5", "Mon..Fri *-*-* 09..17:00:00"),
            ("0 0 1,15 * *", "*-*-01,15 00:00:00"),
            ("0 0 * * 0", "Sun *-*-* 00:00:00"),
            ("0 0 * * 7", "Sun *-*-* 00:00:00"),
            ("0 0 * * 6,sun", "Sat,Sun *-*-* 00:00:00"),
            ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00"),
            ("0 0 * * sun,mon,tue", "Mon,Tue,Sun *-*-* 00:00:00"),
            ("0 12 1 */3 *", "*-01/3-01 12:00:00"),
            ("0 12 1 jan-mar,Dec *", "*-01,02,03,12-01 12:00:00"),
            ("0 0 */2 * *", "*-*-01/2 00:00:00"),
            ("7/20 1,2 * * 0-6", "*-*-* 01,02:07/20:00"),
            ("0 0 29 2 *", "*-02-29 00:00:00"),
            ("1-10/4 * * * *", "*-*-* *:01,05,09:00"),
        ] {
            assert_eq!(on_calendar(cron).as_deref(), Ok(calendar), "{cron}");
        }
    }

    #[test]
    fn what_cron_has_and_a_timer_has_not_is_refused() {
        for (cron, why) in [
            ("0 0 1 * 1", "which one timer can't say"),
            ("0 0 31 2,4 *", "no month of those has that day"),
            ("60 * * * *", "`60` is no minute"),
            ("* 24 * * *", "`24` is no hour"),
            ("* * 0 * *", "`0` is no day"),
            ("* * * 13 *", "`13` is no month"),
            ("* * * * 8", "`8` is no weekday"),
            ("* * * * 5-1", "`5-1` is no weekday"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("1,,2 * * * *", "`1,,2` is no minute"),
            ("* * L * *", "`L` is no day"),
            ("* * * * 5#2", "`5#2` is no weekday"),
            ("@reboot", "no time"),
            ("dayly", "did you mean `daily`?"),
            ("@fortnightly", "no time like"),
            ("", "it is empty"),
            ("* * * *", "`*` is no part"),
            ("0 0 * * * *", "too long"),
            ("*-*-* 03:00\n[Service]", "is no part"),
        ] {
            let error = on_calendar(cron).unwrap_err();
            assert!(error.contains(why), "{cron}: {error}");
        }
    }

    #[test]
    fn systemd_reads_its_own() {
        for text in [
            "daily",
            "Mon",
            "Mon..Fri",
            "*-*-* 03:30:00",
            "Mon,Thu *-*-01..07 4:00",
            "*:0/15",
            "2026-*-01 00:00 Europe/Berlin",
            "hourly UTC",
            "*-*~01 12:00",
        ] {
            assert_eq!(on_calendar(text).as_deref(), Ok(text));
        }
        for (text, plain) in [("@daily", "daily"), ("@midnight", "daily"), (" weekly ", "weekly")] {
            assert_eq!(on_calendar(text).as_deref(), Ok(plain));
        }
    }

    proptest! {
        #[test]
        fn no_schedule_panics(text in "\\PC{0,30}|[0-9*/, -]{0,20}|([0-9*/,-]{1,5} ){4}[0-7*,-]{1,4}") {
            if let Ok(calendar) = on_calendar(&text) {
                prop_assert!(!calendar.contains(['\n', '%', '#']));
            }
        }
    }
}

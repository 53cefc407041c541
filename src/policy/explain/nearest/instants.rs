//! Times at which a policy's clock may turn: hours and days that conditions compare with, in their zones.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};

use super::facts::{Change, Idea};
use crate::model::Timestamp;
use crate::policy::bundle::Bundle;

/// Times that are tried.
pub(super) const INSTANTS_MAX: usize = 60;
/// Days ahead that are looked at: a week, so that every day of the week is there.
const DAYS_MAX: i64 = 7;
/// The farthest day that a date leads to, in days from now.
const FAR_DAYS_MAX: i64 = 3_660;

/// What one zone's clock is compared with.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Minutes of the day, of whole hours too.
    minutes: BTreeSet<i64>,
    /// Days since 1970-01-01.
    days: BTreeSet<i64>,
}

impl Clocks {
    /// Notes a number that a field is compared with; both sides of it may turn.
    pub(super) fn add(&mut self, field: &str, number: i64) {
        const HOUR_MAX: i64 = 24;
        const MINUTE_MAX: i64 = 24 * 60;
        match field {
            "hour" if (0..HOUR_MAX).contains(&number) => {
                self.minutes.extend([number * 60, (number + 1) * 60 % MINUTE_MAX]);
            }
            "minuteOfDay" if (0..MINUTE_MAX).contains(&number) => {
                self.minutes.extend([number, (number + 1) % MINUTE_MAX]);
            }
            // Days of the week all come within a week.
            "dayOfWeek" => drop(self.minutes.insert(0)),
            "epochDay" => self.days.extend([number.saturating_sub(1), number, number.saturating_add(1)]),
            _ => {}
        }
    }
}

/// Times to try, the next ones first.
pub(super) fn of(bundle: &Bundle, clocks: &BTreeMap<Option<String>, Clocks>, now: Timestamp) -> Vec<Idea> {
    let mut found: BTreeSet<Timestamp> = BTreeSet::new();
    for (zone, clocks) in clocks {
        let zone = match zone {
            None => Some(&TimeZone::UTC),
            Some(name) => bundle.world.zones.get(name),
        };
        found.extend(zone.into_iter().flat_map(|zone| instants(zone, clocks, now).unwrap_or_default()));
    }
    found.remove(&now);
    let mut found: Vec<Timestamp> = found.into_iter().collect();
    found.sort_by_key(|instant| instant.millis_since(now).unsigned_abs());
    let idea = |at| Idea { fact: "time".to_owned(), change: Change::At(at) };
    found.into_iter().take(INSTANTS_MAX).map(idea).collect()
}

fn instants(zone: &TimeZone, clocks: &Clocks, now: Timestamp) -> Option<Vec<Timestamp>> {
    let here = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?.to_zoned(zone.clone());
    let today = here.date();
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let mut days: Vec<i64> = (-1..=DAYS_MAX).collect();
    let now_day = i64::from(epoch.until(today).ok()?.get_days());
    days.extend(clocks.days.iter().map(|day| day - now_day).filter(|ahead| ahead.abs() <= FAR_DAYS_MAX));
    let mut times = vec![here.time()];
    for minute in &clocks.minutes {
        times.extend(Time::midnight().checked_add(SignedDuration::from_mins(*minute)).ok());
    }
    let mut found = Vec::new();
    for day in days {
        let Ok(date) = today.checked_add(day.days()) else { continue };
        for time in &times {
            let instant = date.to_datetime(*time).to_zoned(zone.clone()).ok()?.timestamp();
            found.push(Timestamp::from_millis(instant.as_millisecond()));
        }
    }
    Some(found)
}

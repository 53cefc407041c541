//! A moment at which the clocks show what a solver found.

use cedar_policy_core::ast::Value;
use jiff::tz::TimeZone;

use super::{Record, number, record};
use crate::model::Timestamp;
use crate::policy::clock::{self, CLOCK_FIELDS};
use crate::policy::prove::axioms::time::DAYS;
use crate::policy::prove::read::Looks;
use crate::policy::reads::Reach;

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// The day from which a moment is looked for: a Monday, 23 November 2026.
const FIRST_DAY: i64 = 20_780;

/// One clock, as far as it is read.
struct Clock {
    zone: TimeZone,
    shows: Vec<(&'static str, i64)>,
    minute: i64,
    second: i64,
}

/// A moment at which every clock shows what is read of it, the first from the end of 2026 on, else any.
pub(super) fn find(looks: &Looks, time: &Record) -> Option<Timestamp> {
    let read = looks.time();
    if let Some(exact) = exact(&read, time) {
        return Some(exact);
    }
    let zones = record(time.get("zones")).unwrap_or_default();
    let mut clocks = vec![clock(TimeZone::UTC, time, &read)?];
    for (name, zone) in &looks.zones {
        let shown = record(zones.get(name))?;
        clocks.push(clock(zone.clone(), &shown, &read.beneath("zones").beneath(name))?);
    }
    let named = number(time.get("epochDay")).filter(|day| DAYS.contains(day));
    let days = named.into_iter().chain(FIRST_DAY..DAYS.end).chain(DAYS.start..FIRST_DAY);
    // A moment follows from the day and from what any one of the clocks shows.
    let moments = days.flat_map(|day| clocks.iter().filter_map(move |clock| clock.at(day)));
    moments.into_iter().find(|moment| clocks.iter().all(|clock| clock.agrees(*moment)))
}

/// The moment that milliseconds name, where they are read.
fn exact(read: &Reach, time: &Record) -> Option<Timestamp> {
    (read.touches_name("epochMillis") || read.touches_name("now"))
        .then(|| number(time.get("epochMillis")).map(Timestamp::from_millis))?
}

fn clock(zone: TimeZone, shown: &Record, read: &Reach) -> Option<Clock> {
    let value = |name: &str| number(shown.get(name) as Option<&Value>);
    let read = CLOCK_FIELDS.into_iter().filter(|name| read.touches_name(name));
    let shows = read.map(|name| Some((name, value(name)?))).collect::<Option<Vec<_>>>()?;
    Some(Clock { zone, shows, minute: value("minuteOfDay")?, second: value("second")? })
}

impl Clock {
    /// When this clock shows its time on this day.
    fn at(&self, day: i64) -> Option<Timestamp> {
        let local = day * DAY_MS + self.minute * MINUTE_MS + self.second * 1000;
        let offset = |at: i64| {
            let at = jiff::Timestamp::from_millisecond(at).ok()?;
            Some(i64::from(self.zone.to_offset(at).seconds()) * 1000)
        };
        // Asked twice, since the offset is that of the moment and not of the wall.
        let near = local - offset(local)?;
        Some(Timestamp::from_millis(local - offset(near)?))
    }

    fn agrees(&self, moment: Timestamp) -> bool {
        let Some(shown) = clock::fields(moment, &self.zone) else { return false };
        self.shows.iter().all(|(name, value)| {
            CLOCK_FIELDS.iter().zip(shown).any(|(field, number)| field == name && number == *value)
        })
    }
}

//! `context.time`: what the clock of one decision says, in UTC and in each zone that a policy names
//! (decision 11).
//!
//! The time is an argument, read once for each call; the zones' rules are compiled in, so that a
//! decision does not depend on what the machine has installed.

use std::collections::BTreeMap;

use cedar_policy_core::ast::Value;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::extension;
use super::reads::Reach;
use crate::model::Timestamp;

/// The whole numbers that each clock shows; `Wicket::Clock` in the schema.
pub(super) const CLOCK_FIELDS: [&str; 9] =
    ["year", "month", "day", "hour", "minute", "second", "minuteOfDay", "dayOfWeek", "epochDay"];

/// The zones that a bundle's policies name.
pub(super) type Zones = BTreeMap<String, TimeZone>;

/// The zone with this IANA name, such as `Europe/Berlin`.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// The numbers on the clock of one zone, in the order of [`CLOCK_FIELDS`].
fn clock(now: jiff::Timestamp, zone: &TimeZone) -> [i64; 9] {
    const DAY_S: i64 = 86_400;
    let offset = zone.to_offset(now);
    let local = offset.to_datetime(now);
    let (hour, minute) = (i64::from(local.hour()), i64::from(local.minute()));
    let epoch_s = now.as_millisecond().div_euclid(1000) + i64::from(offset.seconds());
    let epoch_day = epoch_s.div_euclid(DAY_S);
    [
        i64::from(local.year()),
        i64::from(local.month()),
        i64::from(local.day()),
        hour,
        minute,
        i64::from(local.second()),
        hour * 60 + minute,
        i64::from(local.weekday().to_sunday_zero_offset()),
        epoch_day,
    ]
}

/// The same, of a moment of ours; `None` beyond what calendars hold.
pub(super) fn fields(now: Timestamp, zone: &TimeZone) -> Option<[i64; 9]> {
    jiff::Timestamp::from_millisecond(now.as_millis()).ok().map(|now| clock(now, zone))
}

fn clock_pairs(now: jiff::Timestamp, zone: &TimeZone) -> impl Iterator<Item = (&'static str, Value)> {
    CLOCK_FIELDS.into_iter().zip(clock(now, zone)).map(|(name, number)| (name, Value::from(number)))
}

/// `context.time`, as far as it is read; `None` for a time beyond what calendars hold.
pub(super) fn record(now: Timestamp, zones: &Zones, reach: &Reach) -> Option<Value> {
    let instant = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
    let mut pairs: Vec<(&str, Value)> = Vec::with_capacity(CLOCK_FIELDS.len() + 3);
    pairs.extend(clock_pairs(instant, &TimeZone::UTC).filter(|(name, _)| reach.touches_name(name)));
    if reach.touches_name("epochMillis") {
        pairs.push(("epochMillis", Value::from(now.as_millis())));
    }
    if reach.touches_name("now") {
        pairs.push(("now", extension::datetime(now)?));
    }
    if reach.touches_name("zones") {
        let zones_read = reach.beneath("zones");
        let read = zones.iter().filter(|(name, _)| zones_read.touches_name(name));
        let clocks =
            read.map(|(name, zone)| (name.as_str(), Value::record(clock_pairs(instant, zone), None)));
        pairs.push(("zones", Value::record(clocks, None)));
    }
    Some(Value::record(pairs, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_zone_has_its_own_day_and_hour() {
        let zones: Zones =
            ["Europe/Berlin", "Asia/Tokyo"].map(|name| (name.to_owned(), zone(name).unwrap())).into();
        let numbers = |time: &str, zone: &TimeZone| {
            let now = Timestamp::parse(time).unwrap();
            clock(jiff::Timestamp::from_millisecond(now.as_millis()).unwrap(), zone)
        };
        // A Sunday; Berlin is one hour ahead in winter, two in summer; Tokyo is nine.
        let sunday = "2026-11-22T23:30:05Z";
        assert_eq!(numbers(sunday, &TimeZone::UTC), [2026, 11, 22, 23, 30, 5, 1410, 0, 20_779]);
        assert_eq!(numbers(sunday, &zones["Europe/Berlin"]), [2026, 11, 23, 0, 30, 5, 30, 1, 20_780]);
        assert_eq!(numbers("2026-07-01T10:00:00Z", &zones["Europe/Berlin"])[3], 12);
        assert_eq!(numbers(sunday, &zones["Asia/Tokyo"])[3], 8);
        assert_eq!(numbers("1970-01-01T00:00:00Z", &TimeZone::UTC)[8], 0);
        assert!(zone("Europe/Atlantis").is_none());
    }

    #[test]
    fn only_what_is_read_is_there() {
        let zones: Zones = [("Asia/Tokyo".to_owned(), zone("Asia/Tokyo").unwrap())].into();
        let now = Timestamp::parse("2026-11-22T23:30:05Z").unwrap();
        let text = |reach: &Reach| record(now, &zones, reach).unwrap().to_string();
        let hour = text(&Reach::Paths([vec!["hour".to_owned()]].into()));
        assert!(hour.contains("hour: 23") && !hour.contains("zones") && !hour.contains("now"), "{hour}");
        let whole = text(&Reach::Whole);
        assert!(whole.contains("Tokyo") && whole.contains("datetime"), "{whole}");
        assert!(record(Timestamp::from_millis(i64::MAX), &zones, &Reach::Whole).is_none());
    }
}

//! When the clock alone may change what a caller sees.
//!
//! Invariant: between now and the edge every field of the clock that is read stands still.

use jiff::tz::TimeZone;

use crate::model::Timestamp;
use crate::policy::clock::Zones;
use crate::policy::reads::Reach;

/// How long something holds, as far as the clock is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The clock is not read.
    Never,
    /// Until this moment, not including it.
    At(Timestamp),
    /// The very instant is read: the next one may differ.
    Always,
}

impl Edge {
    /// The earlier of two.
    pub(super) fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Never, edge) | (edge, Self::Never) => edge,
            (Self::At(one), Self::At(two)) => Self::At(one.min(two)),
        }
    }
}

/// The next edge after `now` of what is read beneath `context.time`.
pub(super) fn next(time: &Reach, zones: &Zones, now: Timestamp) -> Edge {
    if time.is_nothing() {
        return Edge::Never;
    }
    let instant = jiff::Timestamp::from_millisecond(now.as_millis()).ok();
    let Some(instant) = instant.filter(|_| !time.touches_name("epochMillis") && !time.touches_name("now"))
    else {
        return Edge::Always;
    };
    let zones_read = time.beneath("zones");
    let zones = zones.iter().map(|(name, zone)| of_clock(&zones_read.beneath(name), zone, instant, now));
    zones.fold(of_clock(time, &TimeZone::UTC, instant, now), Edge::min)
}

/// The next edge of one zone's clock.
fn of_clock(read: &Reach, zone: &TimeZone, instant: jiff::Timestamp, now: Timestamp) -> Edge {
    let reads = |names: &[&str]| names.iter().any(|name| read.touches_name(name));
    let local = zone.to_offset(instant).to_datetime(instant);
    let second = i64::from(local.second());
    let in_hour = i64::from(local.minute()) * 60 + second;
    let in_day = i64::from(local.hour()) * 3_600 + in_hour;
    let left_s = if reads(&["second"]) {
        1
    } else if reads(&["minute", "minuteOfDay"]) {
        60 - second
    } else if reads(&["hour"]) {
        3_600 - in_hour
    } else if reads(&["year", "month", "day", "dayOfWeek", "epochDay"]) {
        86_400 - in_day
    } else {
        return Edge::Never;
    };
    let own = now.plus_millis(left_s * 1_000 - now.as_millis().rem_euclid(1_000));
    // Where the zone's clock is put forward or back in between, that is the edge.
    let shift = zone
        .following(instant)
        .next()
        .map(|shift| Timestamp::from_millis(shift.timestamp().as_millisecond()));
    Edge::At(shift.map_or(own, |shift| shift.min(own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::clock::zone;

    #[test]
    fn an_edge_is_the_next_change_of_a_field_that_is_read() {
        let zones: Zones =
            ["Europe/Berlin", "Asia/Kolkata"].map(|name| (name.to_owned(), zone(name).unwrap())).into();
        let edge = |now: &str, reads: &[&[&str]]| {
            let paths = reads.iter().map(|path| path.iter().map(|name| (*name).to_owned()).collect());
            match next(&Reach::Paths(paths.collect()), &zones, Timestamp::parse(now).unwrap()) {
                Edge::At(at) => at.to_string(),
                other => format!("{other:?}"),
            }
        };
        let now = "2026-11-22T09:30:05.250Z";
        let table: [(&[&[&str]], &str); 10] = [
            (&[], "Never"),
            (&[&["second"]], "2026-11-22T09:30:06.000Z"),
            (&[&["minute"], &["hour"]], "2026-11-22T09:31:00.000Z"),
            (&[&["minuteOfDay"]], "2026-11-22T09:31:00.000Z"),
            (&[&["hour"], &["dayOfWeek"]], "2026-11-22T10:00:00.000Z"),
            (&[&["dayOfWeek"]], "2026-11-23T00:00:00.000Z"),
            (&[&["zones", "Europe/Berlin", "day"]], "2026-11-22T23:00:00.000Z"),
            (&[&["zones", "Asia/Kolkata", "hour"], &["day"]], "2026-11-22T10:30:00.000Z"),
            (&[&["hour"], &["now"]], "Always"),
            (&[&["epochMillis"]], "Always"),
        ];
        for (reads, expected) in table {
            assert_eq!(edge(now, reads), expected, "{reads:?}");
        }
        // Berlin puts its clocks back at 01:00Z on 25 October 2026: a day is 25 hours long.
        let berlin: &[&[&str]] = &[&["zones", "Europe/Berlin", "day"]];
        assert_eq!(edge("2026-10-25T00:30:00.000Z", berlin), "2026-10-25T01:00:00.000Z");
        assert_eq!(edge("2026-10-25T01:00:00.000Z", berlin), "2026-10-25T23:00:00.000Z");
    }
}

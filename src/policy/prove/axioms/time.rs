//! What clocks say of each other: minutes and hours, days and weeks, and how far zones are apart.
//!
//! Invariant: true of every moment in the years 2020 to 2059. The calendar itself (which day of which month
//! a day is) is left to the search for a moment that a counterexample needs.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::policy::argument::quoted;
use crate::policy::prove::read::Looks;
use crate::policy::reads::Reach;

/// The first day that proofs speak of, and the one after the last, as days since 1970-01-01.
pub(in crate::policy::prove) const DAYS: std::ops::Range<i64> = 18_262..32_872;
/// The years that proofs speak of.
pub const YEARS: &str = "2020 to 2059";

const MINUTES_OF_DAY: i64 = 1_440;
const DAY_S: i64 = 86_400;
/// Fields that say which day it is, beside the day of the week.
const DATES: [&str; 6] = ["epochDay", "year", "month", "day", "epochMillis", "now"];

/// Adds the sentences.
pub(super) fn sentences(looks: &Looks, out: &mut Vec<String>) {
    let time = looks.time();
    if time.is_nothing() {
        return;
    }
    let zones = time.beneath("zones");
    let clocks: Vec<(String, Reach)> =
        looks.zones.keys().map(|name| (place(name), zones.beneath(name))).collect();
    let reads =
        |field: &str| time.touches_name(field) || clocks.iter().any(|(_, read)| read.touches_name(field));
    let (weekday, dated) = (reads("dayOfWeek"), DATES.into_iter().any(reads));
    for clock in clocks.iter().map(|(clock, _)| clock.as_str()).chain(["context.time"]) {
        out.extend(of_clock(clock, weekday, &reads));
    }
    let utc = "context.time";
    // A zone's clock may show the day before the first, and the one after the last.
    out.push(format!("{utc}.epochDay >= {} && {utc}.epochDay < {}", DAYS.start, DAYS.end));
    if weekday && dated {
        // 1970-01-01 was a Thursday. Cedar does not divide, so the week is the solver's to find.
        let weeks = (DAYS.start / 7, DAYS.end / 7 + 1);
        out.push(format!("context.proof.week >= {} && context.proof.week <= {}", weeks.0, weeks.1));
        out.push(format!("{utc}.epochDay + 4 == context.proof.week * 7 + {utc}.dayOfWeek"));
    }
    if reads("epochMillis") || reads("now") {
        let minutes = format!("({utc}.epochDay * {MINUTES_OF_DAY} + {utc}.minuteOfDay)");
        let millis = format!("({minutes} * 60 + {utc}.second) * 1000");
        out.push(format!("{utc}.epochMillis >= {millis} && {utc}.epochMillis <= {millis} + 999"));
    }
    if reads("now") {
        let since = format!("{utc}.now.durationSince(datetime(\"1970-01-01\")).toMilliseconds()");
        out.push(format!("{since} == {utc}.epochMillis"));
    }
    for (name, zone) in &looks.zones {
        out.extend(apart(&place(name), zone, weekday));
    }
}

/// A zone's clock in Cedar.
fn place(zone: &str) -> String {
    format!("context.time.zones[{}]", quoted(zone))
}

fn of_clock(clock: &str, weekday: bool, reads: &dyn Fn(&str) -> bool) -> Vec<String> {
    let between =
        |field: &str, low: i64, high: i64| format!("{clock}.{field} >= {low} && {clock}.{field} <= {high}");
    // A zone may be a day ahead of UTC, or behind it.
    let mut out = vec![
        between("epochDay", DAYS.start - 1, DAYS.end),
        between("minuteOfDay", 0, MINUTES_OF_DAY - 1),
        between("hour", 0, 23),
        between("minute", 0, 59),
        between("second", 0, 59),
        format!("{clock}.minuteOfDay == {clock}.hour * 60 + {clock}.minute"),
    ];
    out.extend(weekday.then(|| between("dayOfWeek", 0, 6)));
    for (field, low, high) in [("year", 2019, 2060), ("month", 1, 12), ("day", 1, 31)] {
        out.extend(reads(field).then(|| between(field, low, high)));
    }
    out
}

/// How a zone's clock differs from that of UTC.
fn apart(clock: &str, zone: &TimeZone, weekday: bool) -> Vec<String> {
    let utc = "context.time";
    let alternatives: Vec<String> = offsets(zone)
        .into_iter()
        .flat_map(|minutes| {
            [-1_i64, 0, 1].map(|days| {
                let minute = format!("{clock}.minuteOfDay + {} ==", days * MINUTES_OF_DAY);
                let minute = format!("{minute} {utc}.minuteOfDay + {minutes}");
                format!("({clock}.epochDay == {utc}.epochDay + {days} && {minute})")
            })
        })
        .collect();
    let mut out = vec![format!("{clock}.second == {utc}.second"), alternatives.join(" || ")];
    if weekday {
        let (own, other) = (format!("{clock}.dayOfWeek"), format!("{utc}.dayOfWeek"));
        let same = format!("{clock}.epochDay == {utc}.epochDay && {own} == {other}");
        let next = |first: &str, second: &str| {
            format!("(if {first} == 6 then {second} == 0 else {second} == {first} + 1)")
        };
        let ahead = format!("{clock}.epochDay == {utc}.epochDay + 1 && {}", next(&other, &own));
        let behind = format!("{clock}.epochDay == {utc}.epochDay - 1 && {}", next(&own, &other));
        out.push(format!("({same}) || ({ahead}) || ({behind})"));
    }
    out
}

/// How many minutes a zone is ahead of UTC, at one time or another in those years. Rules change on
/// nights, never for less than a day.
fn offsets(zone: &TimeZone) -> BTreeSet<i64> {
    let days = DAYS.start - 1..DAYS.end + 1;
    let at = |day: i64| jiff::Timestamp::from_second(day * DAY_S).ok();
    days.filter_map(at).map(|now| i64::from(zone.to_offset(now).seconds()).div_euclid(60)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::clock::zone;

    #[test]
    fn the_days_are_those_of_the_years() {
        let day = |text: &str| {
            let first = crate::model::Timestamp::parse(text).unwrap();
            first.as_millis() / 1000 / DAY_S
        };
        assert_eq!(DAYS, day("2020-01-01T00:00:00Z")..day("2060-01-01T00:00:00Z"));
    }

    #[test]
    fn a_zone_has_its_offsets_of_summer_and_winter() {
        let of = |name: &str| offsets(&zone(name).unwrap()).into_iter().collect::<Vec<_>>();
        assert_eq!(of("Europe/Berlin"), [60, 120]);
        assert_eq!(of("Asia/Kolkata"), [330]);
        assert_eq!(of("America/New_York"), [-300, -240]);
    }
}

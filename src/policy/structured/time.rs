//! Windows of time (specification 4.2, decision 11).

use std::collections::BTreeSet;

use super::Draft;
use super::expression::{Clause, Expression, listed, quoted};
use crate::model::TimeConstraints;
use crate::policy::clock;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const LAST_HOUR: u8 = 23;

/// The days and dates on which a window starts, and whether one began a day ago.
struct Starts<'a> {
    clock: &'a str,
    days: &'a BTreeSet<u8>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Starts<'_> {
    /// What must hold now for a window that started so many days ago.
    fn ago(&self, days_ago: u8) -> Vec<Expression> {
        let clock = self.clock;
        let shift = i64::from(days_ago);
        let mut parts = Vec::new();
        if !self.days.is_empty() && self.days.len() < DAYS.len() {
            let mut days: Vec<u8> = self.days.iter().map(|day| (day + days_ago) % 7).collect();
            days.sort_unstable();
            let days: Vec<String> = days.iter().map(ToString::to_string).collect();
            parts.push(Expression::atom(format!("[{}].contains({clock}.dayOfWeek)", days.join(", "))));
        }
        if let Some(first) = self.first {
            parts.push(Expression::atom(format!("{clock}.epochDay >= {}", first + shift)));
        }
        if let Some(last) = self.last {
            parts.push(Expression::atom(format!("{clock}.epochDay <= {}", last + shift)));
        }
        parts
    }
}

impl Draft<'_> {
    pub(super) fn time(&mut self) -> Option<Clause> {
        let time = self.policy.time_constraints.as_ref()?;
        let clock = self.clock(time);
        for day in time.days_of_week.iter().filter(|day| usize::from(**day) >= DAYS.len()) {
            self.fault(
                "timeConstraints.daysOfWeek",
                format!("{day} is no day"),
                "0 is Sunday, 6 is Saturday",
            );
        }
        for (name, hour) in [("hoursFrom", time.hours_from), ("hoursTo", time.hours_to)] {
            if hour.is_some_and(|hour| hour > LAST_HOUR) {
                self.fault(format!("timeConstraints.{name}"), "an hour is 0 to 23", "");
            }
        }
        let first = self.day("timeConstraints.activeFrom", time.active_from.as_deref());
        let last = self.day("timeConstraints.activeTo", time.active_to.as_deref());
        if first.zip(last).is_some_and(|(first, last)| first > last) {
            self.fault("timeConstraints.activeTo", "it ends before it begins", "");
        }
        let starts = Starts { clock: &clock, days: &time.days_of_week, first, last };
        let (from, to) = (time.hours_from.unwrap_or(0), time.hours_to.unwrap_or(LAST_HOUR));
        let since = Expression::atom(format!("{clock}.hour >= {from}"));
        let until = Expression::atom(format!("{clock}.hour <= {to}"));
        let when = if from <= to {
            let mut parts = starts.ago(0);
            parts.extend((from > 0).then_some(since));
            parts.extend((to < LAST_HOUR).then_some(until));
            Expression::all(parts)
        } else {
            // Past midnight the window is still the one that started the day before.
            let (mut evening, mut morning) = (starts.ago(0), starts.ago(1));
            evening.push(since);
            morning.push(until);
            Expression::any([evening, morning].into_iter().filter_map(Expression::all).collect())
        };
        when.map(|when| Clause::new(says(time, from, to), when))
    }

    fn clock(&mut self, time: &TimeConstraints) -> String {
        let Some(zone) = time.time_zone.as_deref().filter(|zone| *zone != "UTC") else {
            return "context.time".to_owned();
        };
        if clock::zone(zone).is_none() {
            let shown: String = zone.chars().take(80).collect();
            let detail = format!("there is no time zone `{}`", shown.escape_debug());
            self.fault("timeConstraints.timeZone", detail, "write an IANA name such as Europe/Berlin");
        }
        format!("context.time.zones[{}]", quoted(zone))
    }

    /// Days since 1970-01-01.
    fn day(&mut self, field: &str, text: Option<&str>) -> Option<i64> {
        let text = text?;
        let day = text.parse::<jiff::civil::Date>().ok().filter(|day| day.to_string() == text);
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let days = day.and_then(|day| epoch.until(day).ok()).map(|span| i64::from(span.get_days()));
        if days.is_none() {
            let shown: String = text.chars().take(40).collect();
            self.fault(field, format!("`{}` is no date", shown.escape_debug()), "write it as 2026-11-22");
        }
        days
    }
}

fn says(time: &TimeConstraints, from: u8, to: u8) -> String {
    let mut words = Vec::new();
    if !time.days_of_week.is_empty() && time.days_of_week.len() < DAYS.len() {
        let days = time.days_of_week.iter().filter_map(|day| DAYS.get(usize::from(*day)));
        words.push(format!("on {}", listed(days, "and")));
    }
    if (from, to) != (0, LAST_HOUR) {
        let next_day = if from > to { " of the next day" } else { "" };
        words.push(format!("from {from}:00 to {to}:59{next_day}"));
    }
    if let Some(first) = &time.active_from {
        words.push(format!("from {first} on"));
    }
    if let Some(last) = &time.active_to {
        words.push(format!("to the end of {last}"));
    }
    let zone = time.time_zone.as_deref().unwrap_or("UTC");
    format!("Only {} ({zone}).", words.join(", "))
}

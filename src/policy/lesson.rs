//! What a denied caller can do about it, where the policies that denied it let themselves be named: which
//! limit is reached, and when the same call would be permitted.
//!
//! Invariants: policies that are not `@show("actionable")` tell nothing here; a time is told only if the
//! whole set, asked again as of then, permits the call; nothing is counted and no door is opened; a lesson
//! costs at most [`INSTANTS_MAX`] decisions.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{Expr, ExprKind, Literal};

use super::bundle::Bundle;
use super::engine::{Body, rule};
use super::limits;
use super::question::{Effect, Question};
use super::reads::{children, place_of};
use crate::model::Show;
use crate::model::{CounterKey, CounterScope, Decision, History, Lesson, LimitReached, Reason, Timestamp};

/// How far ahead a time is looked for.
const HOURS_MAX: i64 = 7 * 24;
/// Times that are tried.
const INSTANTS_MAX: usize = 1_000;
/// Minutes within an hour that are tried.
const MINUTES_MAX: usize = 16;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

impl Bundle {
    /// What can be told of this denial. `falls_below` says when a counter of the member's last 24 hours
    /// will have fallen below a number.
    pub fn lesson(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        falls_below: impl Fn(&CounterKey, i64) -> Option<Timestamp>,
    ) -> Option<Lesson> {
        let asked = self.asked(question);
        let scope = asked.scope().ok()?;
        let candidates = asked.candidates(scope).iter().filter_map(|number| rule(&self.rules, *number));
        let told: Vec<&Body> = match decision.reason {
            Reason::Forbidden if decision.actionable => {
                let determines = |body: &&Body| decision.determining.contains(&body.reference);
                candidates.map(|rule| rule.body.as_ref()).filter(determines).collect()
            }
            Reason::NoPermit => {
                let told = |body: &&Body| body.effect == Effect::Permit && body.show == Show::Actionable;
                candidates.map(|rule| rule.body.as_ref()).filter(told).collect()
            }
            _ => return None,
        };
        let limits: Vec<LimitReached> =
            told.iter().flat_map(|body| reached(body, question.history)).collect();
        let opens_at = self
            .after_limits(question, &limits, falls_below)
            .or_else(|| self.after_edges(question, &told, asked.time_read(scope)));
        let lesson = Lesson { limits, opens_at };
        (!lesson.is_empty()).then_some(lesson)
    }

    /// When the member's counters will have fallen far enough, if the call is permitted then.
    fn after_limits(
        &self,
        question: &Question<'_>,
        limits: &[LimitReached],
        falls_below: impl Fn(&CounterKey, i64) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        let mut history = question.history.clone();
        let mut opens_at = None;
        for limit in limits.iter().filter(|limit| limit.scope == CounterScope::Member) {
            opens_at = opens_at.max(Some(falls_below(&limit.key, limit.limit)?));
            history.member.insert(limit.key.clone(), limit.limit.saturating_sub(1));
        }
        let now = opens_at?;
        self.decide(&Question { history: &history, now, ..*question }).allowed.then_some(now)
    }

    /// The first of the times at which a policy's clock may turn, if the call is permitted then.
    fn after_edges(
        &self,
        question: &Question<'_>,
        told: &[&Body],
        read: &super::reads::Reach,
    ) -> Option<Timestamp> {
        let fine = ["second", "now", "epochMillis"];
        if told.is_empty() || read.is_nothing() || fine.iter().any(|name| read.touches_name(name)) {
            return None;
        }
        let mut minutes = BTreeSet::from([0]);
        if read.touches_name("zones") {
            // Zones differ from UTC by whole quarters of an hour.
            minutes.extend([15, 30, 45]);
        }
        for body in told {
            body.condition.iter().for_each(|condition| numbers(condition, &mut minutes));
        }
        let first_hour = question.now.as_millis().div_euclid(HOUR_MS) * HOUR_MS;
        let instants = (0..=HOURS_MAX).flat_map(|hour| {
            let within = minutes.iter().take(MINUTES_MAX);
            within.map(move |minute| Timestamp::from_millis(first_hour + hour * HOUR_MS + minute * MINUTE_MS))
        });
        let mut later = instants.filter(|instant| *instant > question.now).take(INSTANTS_MAX);
        later.find(|instant| self.decide(&Question { now: *instant, ..*question }).allowed)
    }
}

/// The limits of a policy that are reached.
fn reached(body: &Body, history: &History) -> Vec<LimitReached> {
    let found = limits::of(body).into_iter().filter_map(|limit| {
        let value = history.get(limit.scope, &limit.counter);
        // Counters of policies would name others than this one.
        let named = !matches!(limit.counter, CounterKey::PolicyAllow(_) | CounterKey::PolicyDeny(_));
        (named && value >= limit.stops_at).then(|| LimitReached {
            policy: limit.policy.name,
            scope: limit.scope,
            counter: written(&limit.counter),
            key: limit.counter,
            limit: limit.stops_at,
            value,
        })
    });
    found.collect()
}

/// The counter as policies write it.
fn written(key: &CounterKey) -> String {
    match place_of(key) {
        (None, name) => name,
        (Some(record), name) if matches!(key, CounterKey::Tier(_)) => format!("{record}.{name}"),
        (Some(record), name) => format!("{record}[\"{name}\"]"),
    }
}

/// Minutes of an hour at which a comparison with a number of this condition may turn.
fn numbers(expr: &Expr, minutes: &mut BTreeSet<i64>) {
    if let ExprKind::Lit(Literal::Long(number)) = expr.expr_kind()
        && (0..=1_440).contains(number)
    {
        minutes.extend([number % 60, (number + 1) % 60]);
    }
    children(expr).into_iter().for_each(|part| numbers(part, minutes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Scenario;
    use crate::policy::fixtures::{bundle, sunday};

    fn lesson(policies: &str, calls: i64, falls: Option<&str>) -> String {
        let bundle = bundle(policies);
        let mut scenario = Scenario::new("notes__add", sunday());
        scenario.history.session.insert(CounterKey::Calls, calls);
        scenario.history.member.insert(CounterKey::Calls, calls);
        let falls = falls.map(|time| Timestamp::parse(time).unwrap());
        let teach = |question: &Question<'_>| {
            let decision = bundle.decide(question);
            assert!(!decision.allowed, "{policies}");
            bundle.lesson(question, &decision, |_, _| falls)
        };
        let Some(lesson) = scenario.ask(&bundle, teach).unwrap() else { return "nothing".to_owned() };
        let limits = lesson.limits.iter().map(|limit| {
            let scope = if limit.scope == CounterScope::Session { "session" } else { "member" };
            format!("{} {scope}.{} {}/{} ", limit.policy, limit.counter, limit.value, limit.limit)
        });
        limits.collect::<String>() + &lesson.opens_at.map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn what_an_actionable_policy_can_teach() {
        const ALL: &str = "@id(\"all\") permit(principal, action, resource);";
        let forbid = |show: &str, condition: &str| {
            format!("{ALL}@id(\"f\") @show(\"{show}\") forbid(principal, action, resource) {condition};")
        };
        let limit = "when { context.session.calls >= 3 }";
        let day = "when { context.member.calls > 2 }";
        let hours = "when { context.time.hour < 12 }";
        let minutes = "unless { context.time.minuteOfDay >= 615 && context.time.minuteOfDay < 630 }";
        let tokyo = "when { context.time.zones[\"Asia/Kolkata\"].hour < 18 }";
        let falls = Some("2026-11-22T20:00:00Z");
        let table = [
            (forbid("actionable", limit), None, "f session.calls 5/3 never"),
            (forbid("plain", limit), None, "nothing"),
            (forbid("hidden", limit), None, "nothing"),
            (forbid("actionable", day), falls, "f member.calls 5/3 2026-11-22T20:00:00.000Z"),
            (forbid("actionable", day), None, "f member.calls 5/3 never"),
            (forbid("actionable", hours), None, "2026-11-22T12:00:00.000Z"),
            (forbid("plain", hours), None, "nothing"),
            (forbid("actionable", minutes), None, "2026-11-22T10:15:00.000Z"),
            (forbid("actionable", tokyo), None, "2026-11-22T12:30:00.000Z"),
            (forbid("actionable", "when { context.time.dayOfWeek == 0 }"), None, "2026-11-23T00:00:00.000Z"),
            // Never, not within a week, and another policy that stands in the way.
            (forbid("actionable", ""), None, "nothing"),
            (forbid("actionable", "when { context.time.year < 2030 }"), None, "nothing"),
            (format!("{}@id(\"g\") @show(\"actionable\") forbid(principal, action, resource);", forbid("actionable", hours)), None, "nothing"),
            (format!("{}@id(\"g\") forbid(principal, action, resource) when {{ context.time.hour == 9 }};", forbid("actionable", hours)), None, "nothing"),
            // No permit: those that would permit at another time tell of themselves.
            ("@id(\"p\") @show(\"actionable\") permit(principal, action, resource) when { context.time.hour >= 20 };".to_owned(), None, "2026-11-22T20:00:00.000Z"),
            ("@id(\"p\") @show(\"actionable\") permit(principal, action, resource) when { context.session.calls < 5 };".to_owned(), None, "p session.calls 5/5 never"),
            ("@id(\"p\") permit(principal, action, resource) when { context.time.hour >= 20 };".to_owned(), None, "nothing"),
        ];
        for (policies, falls, expected) in table {
            assert_eq!(lesson(&policies, 5, falls), expected, "{policies}");
        }
    }
}

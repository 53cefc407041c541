//! Conditions of one policy that cannot hold together, as far as that can be seen without a solver:
//! `wicket policy prove` sees further.
//!
//! Invariant: what is found is so; what is not found may be so all the same.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;

use crate::model::{
    ArgumentCondition, ArgumentTest, Comparison, CounterCondition, CounterKind, IfUnknown, Over,
    PolicyEffect, RepositoryRestriction, StructuredPolicy, TimeConstraints, Timestamp,
};
use crate::policy::clock;
use crate::policy::finding::{Finding, FindingCode};

const DAYS_OF_A_WEEK: i64 = 7;

/// Everything that keeps the policy from ever matching. `now` is when it is looked at.
pub(super) fn of(policy: &StructuredPolicy, now: Option<Timestamp>) -> Vec<Finding> {
    let mut says: Vec<String> = Vec::new();
    if let Some(time) = &policy.time_constraints {
        says.extend(past(time, now));
        says.extend(no_such_day(time));
    }
    says.extend(networks(policy));
    says.extend(counters(&policy.session_conditions));
    says.extend(lists(policy));
    says.extend(arguments(policy));
    says.into_iter().map(|says| Finding::new(FindingCode::NeverMatches, says)).collect()
}

fn date(text: &str) -> Option<jiff::civil::Date> {
    text.parse().ok()
}

fn past(time: &TimeConstraints, now: Option<Timestamp>) -> Option<String> {
    let last = date(time.active_to.as_deref()?)?;
    let zone = clock::zone(time.time_zone.as_deref().unwrap_or("UTC"))?;
    let now = jiff::Timestamp::from_millisecond(now?.as_millis()).ok()?.to_zoned(zone);
    // A window that passes midnight ends on the day after.
    let wraps = time.hours_from.unwrap_or(0) > time.hours_to.unwrap_or(23);
    let over = now.date() > if wraps { last.tomorrow().ok()? } else { last };
    over.then(|| format!("it never matches: it ended on {last}"))
}

/// Days of the week that do not come between the first date and the last.
fn no_such_day(time: &TimeConstraints) -> Option<String> {
    let first = date(time.active_from.as_deref()?)?;
    let last = date(time.active_to.as_deref()?)?;
    let length = i64::from(first.until(last).ok()?.get_days());
    if time.days_of_week.is_empty() || !(0..DAYS_OF_A_WEEK).contains(&length) {
        return None;
    }
    let mut days = std::iter::successors(Some(first), |day| day.tomorrow().ok().filter(|day| *day <= last));
    let named = |day: jiff::civil::Date| {
        u8::try_from(day.weekday().to_sunday_zero_offset()).is_ok_and(|day| time.days_of_week.contains(&day))
    };
    let some = days.any(named);
    (!some).then(|| format!("it never matches: none of its days comes between {first} and {last}"))
}

fn networks(policy: &StructuredPolicy) -> Option<String> {
    let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    let (barred, within): (Vec<_>, Vec<_>) = policy.network_conditions.iter().partition(|one| one.not);
    let apart = within.iter().enumerate().any(|(at, one)| {
        within
            .iter()
            .skip(at + 1)
            .any(|other| !one.cidrs.iter().any(|a| other.cidrs.iter().any(|b| overlap(a, b))))
    });
    let taken = |network: &IpNet| barred.iter().any(|one| one.cidrs.iter().any(|bar| bar.contains(network)));
    let shut = within.iter().any(|one| !one.cidrs.is_empty() && one.cidrs.iter().all(taken));
    (apart || shut).then(|| "it never matches: no address lies in all of its networks".to_owned())
}

/// Bounds of the same counter that leave nothing between them.
fn counters(conditions: &[CounterCondition]) -> Option<String> {
    let mut bounds: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for condition in conditions {
        let kind =
            if condition.kind == CounterKind::ToolUsed { CounterKind::ToolCount } else { condition.kind };
        let over = if condition.over == Over::Session { "session" } else { "member" };
        let name = format!(
            "{over} {kind:?} {:?} {:?} {:?} {:?}",
            condition.tool, condition.service, condition.tier, condition.policy_key
        );
        let (least, most) = bounds.entry(name).or_insert((0, i64::MAX));
        let value = condition.value.unwrap_or(1);
        let op =
            if condition.kind == CounterKind::ToolUsed { Some(Comparison::AtLeast) } else { condition.op };
        match op {
            Some(Comparison::AtLeast) => *least = value.max(*least),
            Some(Comparison::MoreThan) => *least = value.saturating_add(1).max(*least),
            Some(Comparison::AtMost) => *most = value.min(*most),
            Some(Comparison::LessThan) => *most = value.saturating_sub(1).min(*most),
            Some(Comparison::Exactly) => (*least, *most) = (value.max(*least), value.min(*most)),
            Some(Comparison::NotExactly) | None => {}
        }
    }
    let impossible = bounds.values().any(|(least, most)| least > most);
    impossible.then(|| "it never matches: no count satisfies all of its conditions on one counter".to_owned())
}

/// Places that a policy is restricted to and excepted from.
fn lists(policy: &StructuredPolicy) -> Option<String> {
    let covers = |bar: &RepositoryRestriction, one: &RepositoryRestriction| {
        bar.owner.eq_ignore_ascii_case(&one.owner)
            && (bar.repo.is_empty() || bar.repo.eq_ignore_ascii_case(&one.repo))
    };
    let barred = |one: &RepositoryRestriction| policy.repo_exceptions.iter().any(|bar| covers(bar, one));
    let within = &policy.repo_restrictions;
    let repositories = !within.is_empty() && within.iter().all(barred);
    let ids = [
        (&policy.channel_restrictions, &policy.channel_exceptions),
        (&policy.page_restrictions, &policy.page_exceptions),
    ];
    let others = ids.iter().any(|(within, except)| !within.is_empty() && within.is_subset(except));
    let (says, end) = ("it is restricted to what it is excepted from", unknown_words(policy, None));
    (repositories || others).then(|| format!("{says}: {end}"))
}

/// How a policy whose conditions contradict each other ends: a forbid still takes the unknown.
fn unknown_words(policy: &StructuredPolicy, chosen: Option<IfUnknown>) -> &'static str {
    match (chosen, policy.effect) {
        (Some(IfUnknown::Met), _) | (None, PolicyEffect::Forbid) => {
            "it matches only calls that do not say which"
        }
        _ => "it never matches",
    }
}

fn arguments(policy: &StructuredPolicy) -> Vec<String> {
    let conditions = &policy.argument_conditions;
    let mut says: Vec<String> = Vec::new();
    for (at, one) in conditions.iter().enumerate() {
        let empty = matches!(one.op, ArgumentTest::Range | ArgumentTest::Length)
            && above(one.min.as_ref(), one.max.as_ref());
        let same = conditions.iter().skip(at + 1).filter(|other| other.argument == one.argument);
        let against = same.clone().any(|other| contradict(one, other) || contradict(other, one));
        if !empty && !against {
            continue;
        }
        let presence = |other: &ArgumentCondition| {
            matches!(other.op, ArgumentTest::Given | ArgumentTest::NotGiven)
                || other.if_unknown == Some(IfUnknown::NotMet)
        };
        let settled = presence(one) || same.clone().any(presence);
        let chosen = if settled { Some(IfUnknown::NotMet) } else { one.if_unknown };
        says.push(format!(
            "no value of `{}` satisfies all of its conditions: {}",
            one.argument,
            unknown_words(policy, chosen)
        ));
    }
    says.dedup();
    says
}

/// Whether no value satisfies both; looked at in both orders.
fn contradict(one: &ArgumentCondition, other: &ArgumentCondition) -> bool {
    use ArgumentTest as T;
    let values = |condition: &ArgumentCondition| match condition.op {
        T::Equals => condition.value.iter().cloned().collect(),
        T::In => condition.values.clone(),
        _ => Vec::new(),
    };
    let mine = values(one);
    match (one.op, other.op) {
        (T::Given, T::NotGiven) => true,
        (T::Equals | T::In, _) => !mine.is_empty() && mine.iter().all(|value| !satisfies(value, other)),
        (T::Range, T::Range) => {
            above(one.min.as_ref(), other.max.as_ref()) || above(other.min.as_ref(), one.max.as_ref())
        }
        (T::Contains, T::ContainsNone) => one.values.iter().any(|value| other.values.contains(value)),
        (T::Like, T::NotLike) => one.pattern == other.pattern,
        _ => false,
    }
}

/// Whether a value can satisfy a condition; true where that cannot be told here.
fn satisfies(value: &Value, condition: &ArgumentCondition) -> bool {
    use ArgumentTest as T;
    let same = |other: &Value| match (value.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => value == other,
    };
    match condition.op {
        T::Equals => condition.value.as_ref().is_none_or(same),
        T::NotEquals => !condition.value.as_ref().is_some_and(same),
        T::In => condition.values.iter().any(same),
        T::NotIn => !condition.values.iter().any(same),
        T::Range => {
            !above(condition.min.as_ref(), Some(value)) && !above(Some(value), condition.max.as_ref())
        }
        _ => true,
    }
}

/// Whether the first number is above the second.
fn above(one: Option<&Value>, other: Option<&Value>) -> bool {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    number(one).zip(number(other)).is_some_and(|(one, other)| one > other)
}

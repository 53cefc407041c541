//! What a structured policy means, written from the specification's words (4.1 to 4.6) and decisions 8 and
//! 11, without a look at the Cedar that it becomes: three truths, so that what is not known stays visible
//! until the very end.

use serde_json::Value as Json;

use super::lab::{Kind, Lab, above};
use crate::connector::{AttributeValue, Resource};
use crate::model::{
    ArgumentCondition, ArgumentTest, Comparison, CounterCondition, CounterKey, CounterKind, CounterScope,
    GroupName, History, IfUnknown, MatchMode, MemberId, NetworkCondition, Over, PolicyEffect,
    PolicyPrincipal, RepositoryRestriction, ResourceCondition, StructuredPolicy, TimeConstraints, ToolName,
};

/// One call, and all there is to know about it.
pub(super) struct Call<'a> {
    pub(super) tool: &'a Lab,
    pub(super) member: MemberId,
    pub(super) groups: &'a std::collections::BTreeSet<GroupName>,
    pub(super) arguments: &'a Json,
    pub(super) resource: &'a Resource,
    pub(super) ip: std::net::IpAddr,
    pub(super) millis: i64,
    pub(super) history: &'a History,
}

/// What a policy says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) matches: bool,
    /// It looks at something that was sent and cannot be read, so that the call is denied.
    pub(super) blind: bool,
}

/// Yes, no, or not known.
type Truth = Option<bool>;

fn any(parts: impl IntoIterator<Item = Truth>) -> Truth {
    let mut known = true;
    for part in parts {
        match part {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = false,
        }
    }
    known.then_some(false)
}

fn all(parts: impl IntoIterator<Item = Truth>) -> Truth {
    any(parts.into_iter().map(|part| part.map(|truth| !truth))).map(|truth| !truth)
}

/// What the policy says of the call.
pub(super) fn says(policy: &StructuredPolicy, call: &Call<'_>) -> Says {
    let door = |truth: Truth| truth.unwrap_or(policy.effect == PolicyEffect::Forbid);
    let speaks = policy.service.as_str() == call.tool.service
        && (policy.tools.contains(&ToolName::parse(call.tool.name).unwrap())
            || policy.tiers.iter().any(|tier| tier.as_str() == call.tool.tier));
    let (named, one) = match &policy.principal {
        PolicyPrincipal::AllMembers => (true, false),
        PolicyPrincipal::SpecificMembers { user_ids } => {
            (user_ids.contains(&call.member), user_ids.len() == 1)
        }
        PolicyPrincipal::Groups { groups } => {
            (groups.iter().any(|group| call.groups.contains(group)), groups.len() == 1)
        }
    };
    if !speaks || (one && !named) {
        return Says { matches: false, blind: false };
    }
    let id = |name: &str| text(call.resource.attributes.get(name));
    let listed = |ids: &std::collections::BTreeSet<String>, name: &str| id(name).map(|id| ids.contains(&id));
    let lists = [
        (&policy.channel_restrictions, "channelId", false),
        (&policy.channel_exceptions, "channelId", true),
        (&policy.page_restrictions, "pageId", false),
        (&policy.page_exceptions, "pageId", true),
    ];
    let lists = lists.iter().filter(|(ids, ..)| !ids.is_empty());
    let in_lists = lists.clone().all(|(ids, name, except)| door(listed(ids, name).map(|is| is != *except)));
    let repositories = [(&policy.repo_restrictions, false), (&policy.repo_exceptions, true)];
    let repositories = repositories.iter().filter(|(entries, _)| !entries.is_empty());
    let in_repositories = repositories.clone().all(|(entries, except)| {
        door(any(entries.iter().map(|entry| repository(entry, call))).map(|is| is != *except))
    });
    let looks_at_resource =
        lists.count() > 0 || repositories.count() > 0 || policy.resource_conditions.is_some();
    let looks = policy.argument_conditions.iter().any(|condition| look(condition, call).1);
    Says {
        matches: named
            && policy.time_constraints.as_ref().is_none_or(|time| window(time, call.millis))
            && in_repositories
            && in_lists
            && resource_conditions(policy, call)
            && policy.session_conditions.iter().all(|condition| counter(policy, condition, call.history))
            && policy.network_conditions.iter().all(|condition| network(condition, call))
            && policy.argument_conditions.iter().all(|condition| argument(policy, condition, call)),
        blind: looks || (looks_at_resource && !call.resource.unreadable.is_empty()),
    }
}

fn text(value: Option<&AttributeValue>) -> Option<String> {
    match value {
        Some(AttributeValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

fn repository(entry: &RepositoryRestriction, call: &Call<'_>) -> Truth {
    let is = |name: &str, wanted: &str| {
        text(call.resource.attributes.get(name)).map(|given| given == wanted.to_lowercase())
    };
    let repo = if entry.repo.is_empty() { Some(true) } else { is("repo", &entry.repo) };
    all([is("owner", &entry.owner), repo])
}

/// Local time: days since 1970-01-01, and milliseconds of that day.
fn local(zone: Option<&str>, millis: i64) -> (i64, i64) {
    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1_440 * MINUTE;
    let summer = || {
        // From the last Sunday of March to the last of October, at one in the morning in UTC.
        let year = 1970 + millis.div_euclid(DAY) * 400 / 146_097;
        let last_sunday = |month: i64| {
            let last = epoch_day(year, month, 31);
            (last - (last + 4).rem_euclid(7)) * DAY + 60 * MINUTE
        };
        last_sunday(3) <= millis && millis < last_sunday(10)
    };
    let minutes = match zone {
        None | Some("UTC") => 0,
        Some("Asia/Tokyo") => 540,
        Some("Asia/Kolkata") => 330,
        Some("America/Phoenix") => -420,
        Some("Europe/Berlin") => 60 + i64::from(summer()) * 60,
        Some(other) => panic!("{other}"),
    };
    let here = millis + minutes * MINUTE;
    (here.div_euclid(DAY), here.rem_euclid(DAY))
}

/// Days since 1970-01-01.
pub(super) fn epoch_day(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().take(usize::try_from(month - 1).unwrap()).sum();
    years + months + day - 1
}

/// Whether a window that started today or yesterday is open.
fn window(time: &TimeConstraints, millis: i64) -> bool {
    const HOUR: i64 = 3_600_000;
    let date = |text: &String| {
        let numbers: Vec<i64> = text.split('-').map(|part| part.parse().unwrap()).collect();
        epoch_day(numbers[0], numbers[1], numbers[2])
    };
    let (today, of_day) = local(time.time_zone.as_deref(), millis);
    let now = today * 24 * HOUR + of_day;
    let (from, to) = (i64::from(time.hours_from.unwrap_or(0)), i64::from(time.hours_to.unwrap_or(23)));
    let hours = if from <= to { to - from + 1 } else { 24 - from + to + 1 };
    [today - 1, today].into_iter().any(|day| {
        let weekday = u8::try_from((day + 4).rem_euclid(7)).unwrap();
        let may_start = (time.days_of_week.is_empty() || time.days_of_week.contains(&weekday))
            && time.active_from.as_ref().is_none_or(|first| date(first) <= day)
            && time.active_to.as_ref().is_none_or(|last| day <= date(last));
        let opens = (day * 24 + from) * HOUR;
        may_start && (opens..opens + hours * HOUR).contains(&now)
    })
}

fn resource_conditions(policy: &StructuredPolicy, call: &Call<'_>) -> bool {
    let Some(asked) = &policy.resource_conditions else { return true };
    let forbid = policy.effect == PolicyEffect::Forbid;
    let here = call.resource.type_name.rsplit("::").next().unwrap();
    let in_scope = asked.scope.as_deref().is_none_or(|scope| {
        let scope = match scope {
            "branch" => "Branch",
            "item" => "Item",
            "repository" => "Repository",
            "channel" => "Channel",
            other => panic!("{other}"),
        };
        let unnamed = call.tool.can_name(scope) && (here == "Service" || above(scope).contains(&here));
        here == scope || (forbid && unnamed)
    });
    let mut kinds: Vec<&str> = asked.conditions.iter().map(|condition| condition.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut met = kinds.iter().map(|kind| {
        let of_kind = asked.conditions.iter().filter(|condition| condition.kind == *kind);
        let if_unknown = of_kind.clone().next().unwrap().if_unknown;
        any(of_kind.map(|condition| attribute(condition, call))).unwrap_or(unknown(if_unknown, policy))
    });
    let joined = match asked.mode {
        MatchMode::All => met.all(|met| met),
        MatchMode::Any => asked.conditions.is_empty() || met.any(|met| met),
    };
    in_scope && joined
}

fn unknown(chosen: Option<IfUnknown>, policy: &StructuredPolicy) -> bool {
    match chosen {
        Some(IfUnknown::Met) => true,
        Some(IfUnknown::NotMet) => false,
        None => policy.effect == PolicyEffect::Forbid,
    }
}

fn attribute(condition: &ResourceCondition, call: &Call<'_>) -> Truth {
    let wanted = &condition.value;
    if let Some(kind) = [("itemRef", "Item"), ("repository", "Repository")]
        .iter()
        .find_map(|(written, kind)| (*written == condition.kind).then_some(*kind))
    {
        let wanted = wanted.as_str().unwrap().to_lowercase();
        return one_of_its_own(call.resource, kind).map(|id| id == wanted);
    }
    match call.resource.attributes.get(condition.kind.as_str())? {
        AttributeValue::String(given) => {
            let folds = ["owner", "repo"].contains(&condition.kind.as_str());
            let wanted = wanted.as_str().unwrap();
            Some(if folds { *given == wanted.to_lowercase() } else { given == wanted })
        }
        AttributeValue::Long(given) => Some(Some(*given) == wanted.as_i64()),
        AttributeValue::Bool(given) => Some(Some(*given) == wanted.as_bool()),
        AttributeValue::StringSet(given) => Some(given.contains(wanted.as_str().unwrap())),
        AttributeValue::Decimal(_) => panic!("none in the laboratory"),
    }
}

/// The id of the resource of this kind that the call acts on, or in.
fn one_of_its_own(resource: &Resource, kind: &str) -> Option<String> {
    if resource.type_name.rsplit("::").next() == Some(kind) {
        return Some(resource.id.clone());
    }
    resource.parents.iter().find_map(|parent| one_of_its_own(parent, kind))
}

fn counter(policy: &StructuredPolicy, condition: &CounterCondition, history: &History) -> bool {
    let scope = if condition.over == Over::Session { CounterScope::Session } else { CounterScope::Member };
    let written = match condition.kind {
        CounterKind::ToolUsed | CounterKind::ToolCount => {
            let tool = condition.tool.clone().unwrap();
            let whole = if tool.contains(':') { tool } else { format!("{}:{tool}", policy.service) };
            format!("tool/{whole}")
        }
        CounterKind::ServiceCount => format!("service/{}", condition.service.as_ref().unwrap()),
        CounterKind::TierCount => format!("tier/{}", condition.tier.unwrap()),
        CounterKind::TotalCallCount => "calls".to_owned(),
        CounterKind::TotalDenyCount => "denials".to_owned(),
        CounterKind::PolicyAllowCount => format!("allow/{}", condition.policy_key.as_ref().unwrap()),
        CounterKind::PolicyDenyCount => format!("deny/{}", condition.policy_key.as_ref().unwrap()),
    };
    let count = history.get(scope, &written.parse::<CounterKey>().unwrap());
    if condition.kind == CounterKind::ToolUsed {
        return count > 0;
    }
    let value = condition.value.unwrap();
    match condition.op.unwrap() {
        Comparison::AtLeast => count >= value,
        Comparison::MoreThan => count > value,
        Comparison::Exactly => count == value,
        Comparison::NotExactly => count != value,
        Comparison::LessThan => count < value,
        Comparison::AtMost => count <= value,
    }
}

fn network(condition: &NetworkCondition, call: &Call<'_>) -> bool {
    let inside = condition.cidrs.iter().any(|network| network.contains(&call.ip.to_canonical()));
    inside != condition.not
}

/// What is known of the argument, and whether something of it was sent that cannot be read.
fn look<'a>(condition: &ArgumentCondition, call: &Call<'a>) -> (Option<(Kind, &'a Json)>, bool) {
    let (mut members, mut value) = (call.tool.arguments, call.arguments);
    let mut found = None;
    for name in condition.argument.split('.') {
        let Some((_, kind)) = members.iter().find(|(declared, _)| *declared == name) else {
            return (None, false);
        };
        let Some(given) = value.get(name) else { return (None, false) };
        let counted = condition.op == ArgumentTest::Length && !matches!(kind, Kind::Record(_));
        let told = if counted { length(*kind, given).is_some() } else { readable(*kind, given) };
        if !told {
            return (None, true);
        }
        (found, value) = (Some((*kind, given)), given);
        members = if let Kind::Record(members) = kind { members } else { &[] };
    }
    // Whoever looks at a record looks at all that is in it.
    let blind =
        members.iter().any(|(name, kind)| value.get(name).is_some_and(|given| !readable(*kind, given)));
    (found, blind)
}

pub(super) fn readable(kind: Kind, given: &Json) -> bool {
    match kind {
        Kind::Text => given.is_string(),
        Kind::Bool => given.is_boolean(),
        Kind::Long => long(given).is_some(),
        Kind::Decimal => decimal(given).is_some(),
        Kind::Texts => given.as_array().is_some_and(|items| items.iter().all(Json::is_string)),
        Kind::Longs => given.as_array().is_some_and(|items| items.iter().all(|item| long(item).is_some())),
        Kind::Record(_) => given.is_object(),
    }
}

fn long(given: &Json) -> Option<i64> {
    let text = given.is_number().then(|| given.to_string())?;
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// Characters, or items.
fn length(kind: Kind, given: &Json) -> Option<u64> {
    let length = match kind {
        Kind::Text => given.as_str()?.chars().count(),
        Kind::Texts | Kind::Longs => given.as_array()?.len(),
        _ => return None,
    };
    u64::try_from(length).ok()
}

/// In ten-thousandths.
pub(super) fn decimal(given: &Json) -> Option<i64> {
    let text = given.is_number().then(|| given.to_string())?;
    let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let part: i64 = (part.len() <= 4).then(|| format!("{part:0<4}").parse().ok())??;
    Some(whole.parse::<i64>().ok()?.checked_mul(10_000)? + sign * part)
}

fn same(kind: Kind, given: &Json, wanted: &Json) -> bool {
    match kind {
        Kind::Long | Kind::Longs => long(given) == long(wanted),
        Kind::Decimal => decimal(given) == decimal(wanted),
        _ => given == wanted,
    }
}

fn argument(policy: &StructuredPolicy, condition: &ArgumentCondition, call: &Call<'_>) -> bool {
    use ArgumentTest as T;
    let (known, _) = look(condition, call);
    if matches!(condition.op, T::Given | T::NotGiven) {
        return known.is_some() == (condition.op == T::Given);
    }
    let Some((kind, given)) = known else { return unknown(condition.if_unknown, policy) };
    let holds = |wanted: &Json| given.as_array().unwrap().iter().any(|item| same(kind, item, wanted));
    let is = |wanted: &Json| same(kind, given, wanted);
    let value = condition.value.as_ref();
    match condition.op {
        T::Equals => is(value.unwrap()),
        T::NotEquals => !is(value.unwrap()),
        T::In => condition.values.iter().any(is),
        T::NotIn => !condition.values.iter().any(is),
        T::Like => fits(condition.pattern.as_ref().unwrap(), given.as_str().unwrap()),
        T::NotLike => !fits(condition.pattern.as_ref().unwrap(), given.as_str().unwrap()),
        T::Range => {
            let number = |json: &Json| if kind == Kind::Long { long(json) } else { decimal(json) }.unwrap();
            condition.min.as_ref().is_none_or(|min| number(given) >= number(min))
                && condition.max.as_ref().is_none_or(|max| number(given) <= number(max))
        }
        T::Length => {
            let length = length(kind, given).unwrap();
            condition.min.as_ref().is_none_or(|min| length >= min.as_u64().unwrap())
                && condition.max.as_ref().is_none_or(|max| length <= max.as_u64().unwrap())
        }
        T::Contains => condition.values.iter().all(holds),
        T::ContainsAny => condition.values.iter().any(holds),
        T::ContainsNone => !condition.values.iter().any(holds),
        T::Given | T::NotGiven => unreachable!("answered above"),
    }
}

/// Whether the text fits: `*` stands for any characters, a `\` before it makes it one.
fn fits(pattern: &str, text: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => text.is_empty(),
        Some('*') => {
            (0..=text.len()).filter_map(|at| text.get(at..)).any(|rest| fits(letters.as_str(), rest))
        }
        Some(letter) => {
            let wanted = if letter == '\\' { letters.next().unwrap() } else { letter };
            text.strip_prefix(wanted).is_some_and(|rest| fits(letters.as_str(), rest))
        }
    }
}

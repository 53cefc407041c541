//! A call in words: who, what, of what, when, from where, after what, and how it is decided.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{CounterKey, Decision, Role, Timestamp, TrustMode};
use crate::policy::Scenario;
use crate::policy::clock;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Characters of arguments that are shown.
const ARGUMENTS_CHARS_MAX: usize = 400;

/// A call that somebody could make, as the gate decides it.
#[derive(Debug, Clone)]
pub struct Told {
    pub scenario: Scenario,
    /// `GitHubMCP::Repository::"acme/site"`.
    pub resource: String,
    pub decision: Decision,
    /// Other tools of which the same can be said.
    pub also: Vec<String>,
    /// Whether what matters is that nothing forbids it.
    pub open: bool,
    /// Zones that matter, for which the hour is told as well.
    pub zones: Vec<String>,
}

impl Told {
    /// The decision in a few words.
    pub fn outcome(&self) -> String {
        let by: Vec<String> = self.decision.determining.iter().map(|one| format!("`{}`", one.key)).collect();
        match (self.decision.allowed, by.is_empty()) {
            (true, _) => format!("allowed by {}", by.join(", ")),
            (false, false) => format!("denied by {}", by.join(", ")),
            (false, true) if self.open && self.decision.errors.is_empty() => {
                "forbidden by nothing: any permit would allow it".to_owned()
            }
            (false, true) if self.decision.errors.is_empty() => {
                "denied, because no policy permits it".to_owned()
            }
            (false, true) => {
                let errors: Vec<String> = self
                    .decision
                    .errors
                    .iter()
                    .map(|error| format!("`{}`: {}", error.policy, error.message))
                    .collect();
                format!("denied, because a policy fails: {}", errors.join("; "))
            }
        }
    }

    /// Whether another call of this connector is decided by the same policies, for the same groups and
    /// after the same kinds of calls.
    pub(super) fn tells_the_same(&self, other: &Self) -> bool {
        fn story(told: &Told) -> (Option<&str>, impl PartialEq, bool, Vec<&CounterKey>) {
            let Scenario { tool, groups, history, .. } = &told.scenario;
            let determining: Vec<_> = told.decision.determining.iter().map(|one| &one.key).collect();
            let counters = history.session.keys().chain(history.member.keys()).collect();
            let service = tool.split_once("__").map(|(service, _)| service);
            (service, (groups, determining), told.decision.allowed, counters)
        }
        story(self) == story(other)
    }

    fn who(&self) -> String {
        let Scenario { groups, role, trust, ip, member_name, .. } = &self.scenario;
        let groups: Vec<String> = groups.iter().map(|group| format!("`{group}`")).collect();
        let in_groups = match groups.as_slice() {
            [] => "in no group that matters".to_owned(),
            [one] => format!("in the group {one}"),
            several => format!("in the groups {}", several.join(", ")),
        };
        let role = if *role == Role::Owner { "an owner" } else { "a member" };
        let trust = if *trust == TrustMode::Untrusted { "an untrusted agent" } else { "a trusted agent" };
        let name =
            if *member_name == some_name() { String::new() } else { format!(" named {member_name:?}") };
        format!("{role}{name} of {trust}, {in_groups}, from {ip}")
    }

    /// What was done before; nothing where it does not matter.
    fn after(&self) -> Option<String> {
        let history = &self.scenario.history;
        let counts = history.session.iter().map(|(key, count)| format!("{key} {count} in this session"));
        let member = history.member.iter().map(|(key, count)| format!("{key} {count} in 24 hours"));
        let all: Vec<String> = counts.chain(member).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// The name that a made-up caller has where none matters.
fn some_name() -> String {
    Scenario::new("", Timestamp::from_millis(0)).member_name
}

/// `Saturday 2026-11-28 at 03:00 UTC`.
fn when(at: Timestamp, zones: &[String]) -> String {
    let show = |zone: &str| {
        let fields = clock::fields(at, &clock::zone(zone)?)?;
        let [year, month, day, hour, minute, _, _, weekday, _] = fields;
        let weekday = DAYS.get(usize::try_from(weekday).ok()?)?;
        Some(format!("{weekday} {year}-{month:02}-{day:02} at {hour:02}:{minute:02}"))
    };
    let mut text = show("UTC").map_or_else(|| at.to_string(), |shown| format!("{shown} UTC"));
    for zone in zones {
        if let Some(shown) = show(zone) {
            text.push_str(&format!(" ({shown} in {zone})"));
        }
    }
    text
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { tool, arguments, at, .. } = &self.scenario;
        let shown = match arguments {
            Value::Null => "{}".to_owned(),
            other => other.to_string(),
        };
        let shown: String = shown.chars().take(ARGUMENTS_CHARS_MAX).collect();
        writeln!(f, "{tool} {shown}")?;
        writeln!(f, "  by     {}", self.who())?;
        writeln!(f, "  on     {}", self.resource)?;
        writeln!(f, "  when   {}", when(*at, &self.zones))?;
        if let Some(after) = self.after() {
            writeln!(f, "  after  {after}")?;
        }
        write!(f, "  is     {}", self.outcome())?;
        match self.also.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "\n  also   {one}"),
            [one, rest @ ..] => write!(f, "\n  also   {one} and {} more", rest.len()),
        }
    }
}

impl Serialize for Told {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Scenario { tool, arguments, at, groups, role, trust, ip, history, member_name, .. } =
            &self.scenario;
        let counters = |map: &std::collections::BTreeMap<crate::model::CounterKey, i64>| -> Value {
            map.iter().map(|(key, count)| (key.to_string(), Value::from(*count))).collect()
        };
        json!({
            "call": tool,
            "arguments": arguments,
            "who": {"groups": groups, "role": role, "trust": trust, "ip": ip, "name": member_name},
            "at": at.to_string(),
            "resource": self.resource,
            "session": counters(&history.session),
            "member": counters(&history.member),
            "allowed": self.decision.allowed,
            "reason": self.decision.reason,
            "determining": self.decision.determining,
            "also": self.also,
        })
        .serialize(serializer)
    }
}

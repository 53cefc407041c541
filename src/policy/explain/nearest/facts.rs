//! A call whose facts can be changed, and the changes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Changed;
use crate::connector::{AttributeValue, Resource, resource_of};
use crate::model::{Caller, CounterKey, CounterScope, GroupName, History, Member, Role, Timestamp};
use crate::policy::question::Question;
use crate::policy::reads::place_of;

/// One fact that could be another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Idea {
    /// As people are told it: `args.path`.
    pub(super) fact: String,
    pub(super) change: Change,
}

/// What becomes of a fact.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Arguments get these values; none where one is not given.
    Arguments {
        values: Vec<(Vec<String>, Option<Value>)>,
        resource: Option<String>,
    },
    /// Member of the group, or not.
    Group(GroupName, bool),
    Role(Role),
    At(Timestamp),
    Ip(IpAddr),
    Counter(CounterScope, CounterKey, i64),
    /// An attribute of the resource that arguments do not give; none where it is not known.
    Attribute(String, Option<AttributeValue>),
}

/// A call, as it would be asked.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    base: Question<'a>,
    pub(super) arguments: Value,
    pub(super) groups: BTreeSet<GroupName>,
    pub(super) role: Role,
    pub(super) at: Timestamp,
    pub(super) ip: IpAddr,
    pub(super) history: History,
    pub(super) resource: Resource,
    /// Beside those that arguments give.
    attributes: Vec<(String, Option<AttributeValue>)>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(question: &Question<'a>) -> Self {
        let member = &question.caller.member;
        Self {
            base: *question,
            arguments: question.arguments.clone(),
            groups: member.groups.clone(),
            role: member.role,
            at: question.now,
            ip: question.caller.ip,
            history: question.history.clone(),
            resource: question.resource.clone(),
            attributes: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, idea: &Idea) {
        match &idea.change {
            Change::Arguments { values, .. } => {
                for (path, value) in values {
                    put(&mut self.arguments, path, value.as_ref());
                }
                self.resource = resource_of(self.base.connector, self.base.tool, &self.arguments);
            }
            Change::Group(group, true) => drop(self.groups.insert(group.clone())),
            Change::Group(group, false) => drop(self.groups.remove(group)),
            Change::Role(role) => self.role = *role,
            Change::At(at) => self.at = *at,
            Change::Ip(ip) => self.ip = *ip,
            Change::Counter(scope, key, count) => {
                let counters = match scope {
                    CounterScope::Session => &mut self.history.session,
                    CounterScope::Member => &mut self.history.member,
                };
                counters.insert(key.clone(), *count);
            }
            Change::Attribute(name, value) => self.attributes.push((name.clone(), value.clone())),
        }
    }

    /// Puts the call as it now is.
    pub(super) fn ask<T>(&self, answer: impl FnOnce(&Question<'_>) -> T) -> T {
        let caller = self.base.caller;
        let same = caller.member.groups == self.groups && caller.member.role == self.role;
        let member = if same {
            Arc::clone(&caller.member)
        } else {
            let groups = self.groups.clone();
            Arc::new(Member { groups, role: self.role, ..caller.member.as_ref().clone() })
        };
        let caller = Caller { member, ip: self.ip, ..caller.clone() };
        let mut resource = self.resource.clone();
        for (name, value) in &self.attributes {
            match value {
                Some(value) => drop(resource.attributes.insert(name.clone(), value.clone())),
                None => drop(resource.attributes.remove(name)),
            }
        }
        answer(&Question {
            caller: &caller,
            arguments: &self.arguments,
            resource: &resource,
            history: &self.history,
            now: self.at,
            ..self.base
        })
    }
}

/// The value at this place of the arguments.
pub(super) fn get<'v>(arguments: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(arguments, |value, name| value.get(name))
}

/// Sets or removes it; objects on the way are made.
fn put(arguments: &mut Value, path: &[String], value: Option<&Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    if !arguments.is_object() {
        if value.is_none() {
            return;
        }
        *arguments = json!({});
    }
    let Value::Object(members) = arguments else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => drop(members.insert(first.clone(), value.clone())),
        (true, None) => drop(members.remove(first)),
        (false, _) => put(members.entry(first.clone()).or_insert(Value::Null), rest, value),
    }
}

impl Idea {
    /// The change, told.
    pub(super) fn changed(&self, now: &Facts<'_>) -> Changed {
        let (from, to, says) = match &self.change {
            Change::Arguments { values, resource } => {
                return self.arguments(now, values, resource.as_deref());
            }
            Change::Group(group, joined) => {
                let not = if *joined { "" } else { "not " };
                let mut groups = now.groups.clone();
                if *joined {
                    groups.insert(group.clone());
                } else {
                    groups.remove(group);
                }
                (json!(now.groups), json!(groups), format!("the member were {not}in the group `{group}`"))
            }
            Change::Role(role) => {
                (json!(now.role), json!(role), format!("the member's role were {}", json!(role)))
            }
            Change::At(at) => (json!(now.at), json!(at), format!("it came at {at}")),
            Change::Ip(ip) => (json!(now.ip), json!(ip), format!("it came from {ip}, say")),
            Change::Counter(scope, key, count) => {
                let before = now.history.get(*scope, key);
                let fact = &self.fact;
                (json!(before), json!(count), format!("`{fact}` were {count} (it is {before})"))
            }
            Change::Attribute(name, value) => {
                let says = match value {
                    Some(value) => format!("`{name}` of the resource were {}", attribute(value)),
                    None => format!("`{name}` of the resource were not known"),
                };
                let before = now.resource.attributes.get(name).map_or(Value::Null, attribute);
                (before, value.as_ref().map_or(Value::Null, attribute), says)
            }
        };
        Changed { fact: self.fact.clone(), from, to, says }
    }

    fn arguments(
        &self,
        now: &Facts<'_>,
        values: &[(Vec<String>, Option<Value>)],
        resource: Option<&str>,
    ) -> Changed {
        let before = |path: &[String]| get(&now.arguments, path).cloned();
        let one = |(path, value): &(Vec<String>, Option<Value>)| {
            let name = path.join(".");
            match value {
                Some(value) => format!("`{name}` were {value}"),
                None => format!("`{name}` were not given"),
            }
        };
        let says: Vec<String> = values.iter().map(one).collect();
        let says = match resource {
            Some(resource) => format!("it acted on {resource} ({})", says.join(", ")),
            None => says.join(" and "),
        };
        let (from, to) = match values {
            [(path, value)] => (json!(before(path)), json!(value)),
            many => {
                let mut from = serde_json::Map::new();
                let mut to = serde_json::Map::new();
                for (path, value) in many {
                    from.insert(path.join("."), json!(before(path)));
                    to.insert(path.join("."), json!(value));
                }
                (Value::Object(from), Value::Object(to))
            }
        };
        Changed { fact: self.fact.clone(), from, to, says }
    }
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::String(text) | AttributeValue::Decimal(text) => json!(text),
        AttributeValue::Long(number) => json!(number),
        AttributeValue::Bool(truth) => json!(truth),
        AttributeValue::StringSet(texts) => json!(texts),
    }
}

/// `session.tiersUsed["write"]`, as policies write it.
pub(super) fn counter_name(scope: CounterScope, key: &CounterKey) -> String {
    let scope = if scope == CounterScope::Session { "session" } else { "member" };
    match place_of(key) {
        (None, name) => format!("{scope}.{name}"),
        (Some(record), name) => format!("{scope}.{record}[\"{name}\"]"),
    }
}

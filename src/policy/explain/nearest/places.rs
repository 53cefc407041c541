//! What a chain of attributes in a condition is a fact of, and which values are worth a try there.

use cedar_policy_core::ast::Var;
use serde_json::{Value, json};

use super::facts::{Change, Facts, Idea, counter_name, get};
use crate::connector::{
    ArgumentPath, ArgumentStep, AttributeSource, AttributeType, AttributeValue, Candidate, Tool,
};
use crate::model::{CounterKey, CounterScope, Role};
use crate::policy::argument::{Members, Shape};
use crate::policy::reads::{CounterReach, Reach};

/// A text that nobody compares with.
const OTHER: &str = "something-else";

/// Where a fact stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Argument(Vec<String>),
    /// `context.time` of a zone (none: UTC), and the field.
    Time(Option<String>, String),
    Counter(CounterScope, CounterKey),
    Ip,
    Attribute(String),
    Role,
}

/// What this chain is a fact of, where anything could be changed about it.
pub(super) fn place(root: Var, path: &[String]) -> Option<Place> {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match (root, names.as_slice()) {
        (Var::Context, ["args", _, ..]) => Some(Place::Argument(path.get(1..)?.to_vec())),
        (Var::Context, ["time", "zones", zone, field]) => {
            Some(Place::Time(Some((*zone).to_owned()), (*field).to_owned()))
        }
        (Var::Context, ["time", field]) => Some(Place::Time(None, (*field).to_owned())),
        (Var::Context, ["caller", "ip"]) => Some(Place::Ip),
        (Var::Context, [scope @ ("session" | "member"), ..]) => {
            let reach = Reach::Paths([path.get(1..)?.to_vec()].into());
            let CounterReach::Keys(keys) = CounterReach::of(&reach) else { return None };
            let scope = if *scope == "session" { CounterScope::Session } else { CounterScope::Member };
            Some(Place::Counter(scope, keys.into_iter().next()?))
        }
        (Var::Resource, [attribute]) => Some(Place::Attribute((*attribute).to_owned())),
        (Var::Principal, ["role"]) => Some(Place::Role),
        _ => None,
    }
}

/// The tool, as far as ideas need it.
pub(super) struct Ground<'a> {
    pub(super) tool: &'a Tool,
    pub(super) shapes: &'a Members,
    pub(super) now: &'a Facts<'a>,
}

impl Ground<'_> {
    fn shape(&self, path: &[String]) -> Option<&Shape> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.shapes.get(first)?, |shape, name| match shape {
            Shape::Record(members) => members.get(name),
            _ => None,
        })
    }

    /// Values of a fact that a condition compares with this one.
    pub(super) fn near(&self, place: &Place, value: &Value) -> Vec<Idea> {
        match place {
            Place::Argument(path) => {
                let values = match self.shape(path) {
                    Some(Shape::Text) => vec![Some(value.clone()), Some(json!(OTHER)), None],
                    Some(Shape::Long) => {
                        numbers(value).into_iter().map(|n| Some(json!(n))).chain([None]).collect()
                    }
                    Some(Shape::Bool) => vec![Some(json!(true)), Some(json!(false)), None],
                    _ => Vec::new(),
                };
                self.arguments(path, values)
            }
            Place::Counter(scope, key) => {
                let before = self.now.history.get(*scope, key);
                let mut counts: Vec<i64> = numbers(value).into_iter().filter(|count| *count >= 0).collect();
                counts.sort_by_key(|count| count.abs_diff(before));
                let fact = counter_name(*scope, key);
                let change = |count| Change::Counter(*scope, key.clone(), count);
                counts
                    .into_iter()
                    .filter(|count| *count != before)
                    .map(|count| Idea { fact: fact.clone(), change: change(count) })
                    .collect()
            }
            Place::Attribute(name) => self.attribute(name, value),
            Place::Role => {
                let roles = [Role::Owner, Role::Member].into_iter().filter(|role| *role != self.now.role);
                roles.map(|role| Idea { fact: "role".to_owned(), change: Change::Role(role) }).collect()
            }
            Place::Time(..) | Place::Ip => Vec::new(),
        }
    }

    /// These values of an argument, but for the one that it has.
    pub(super) fn arguments(&self, path: &[String], values: Vec<Option<Value>>) -> Vec<Idea> {
        let before = get(&self.now.arguments, path);
        let fact = format!("args.{}", path.join("."));
        let idea = |value| Idea {
            fact: fact.clone(),
            change: Change::Arguments { values: vec![(path.to_vec(), value)], resource: None },
        };
        values.into_iter().filter(|value| value.as_ref() != before).map(idea).collect()
    }

    /// A text that a pattern is made into, or a number that an extension's value is.
    pub(super) fn texts(&self, place: &Place, texts: Vec<String>) -> Vec<Idea> {
        match place {
            Place::Argument(path) if self.shape(path) == Some(&Shape::Text) => {
                let values = texts.into_iter().map(|text| Some(json!(text))).chain([Some(json!(OTHER))]);
                self.arguments(path, values.collect())
            }
            Place::Attribute(name) => {
                texts.iter().flat_map(|text| self.attribute(name, &json!(text))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Numbers beside a decimal.
    pub(super) fn decimals(&self, place: &Place, written: &str) -> Vec<Idea> {
        let Place::Argument(path) = place else { return Vec::new() };
        let Ok(number) = written.parse::<f64>() else { return Vec::new() };
        // A hundredth is what people count in; all of it is decided before it is told.
        let near = [number, number - 0.01, number + 0.01, number - 0.000_1, number + 0.000_1];
        let values = near.into_iter().map(|number| (number * 10_000.0).round() / 10_000.0);
        let values =
            values.filter_map(serde_json::Number::from_f64).map(|number| Some(Value::Number(number)));
        self.arguments(path, values.collect())
    }

    /// A value for an argument that is asked for, or none for one that is given.
    pub(super) fn presence(&self, path: &[String]) -> Vec<Idea> {
        if get(&self.now.arguments, path).is_some() {
            return self.arguments(path, vec![None]);
        }
        let sample = match self.shape(path) {
            Some(Shape::Text) => json!(OTHER),
            Some(Shape::Long) => json!(1),
            Some(Shape::Bool) => json!(true),
            Some(Shape::Decimal) => json!(1.0),
            Some(Shape::Set(_)) => json!([]),
            Some(Shape::Record(_) | Shape::Length { .. }) | None => return Vec::new(),
        };
        self.arguments(path, vec![Some(sample)])
    }

    /// A list with these in it, without them, and these alone.
    pub(super) fn lists(&self, place: &Place, items: &[Value]) -> Vec<Idea> {
        match place {
            Place::Argument(path) => {
                let before = get(&self.now.arguments, path).and_then(Value::as_array).cloned();
                let before = before.unwrap_or_default();
                let with = before.iter().chain(items.iter().filter(|item| !before.contains(item)));
                let without = before.iter().filter(|item| !items.contains(item));
                let (with, without): (Vec<_>, Vec<_>) = (with.cloned().collect(), without.cloned().collect());
                let mut values = vec![Some(json!(with)), Some(json!(without)), None];
                values.extend(items.iter().map(|item| Some(json!([item]))));
                self.arguments(path, values)
            }
            Place::Attribute(name) => {
                let texts = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                [AttributeValue::StringSet(texts), AttributeValue::StringSet([OTHER.to_owned()].into())]
                    .into_iter()
                    .map(|value| self.harvested(name, Some(value)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// An attribute of the resource: by the argument that gives it, or as it would be harvested.
    pub(super) fn attribute(&self, name: &str, value: &Value) -> Vec<Idea> {
        let candidates = self.tool.resource.iter().flat_map(|mapping| &mapping.candidates);
        let given = candidates.clone().find_map(|candidate| candidate.arguments.get(name));
        if let Some(path) = given.and_then(member_names) {
            return self.near(&Place::Argument(path), value);
        }
        let declared = candidates.clone().find_map(|candidate| candidate.resource_type.attributes.get(name));
        if declared.is_none_or(|declared| declared.source != AttributeSource::Harvest) {
            return Vec::new();
        }
        let values = match value {
            Value::Bool(_) => vec![AttributeValue::Bool(true), AttributeValue::Bool(false)],
            Value::Number(_) => numbers(value).into_iter().map(AttributeValue::Long).collect(),
            Value::String(text) => {
                vec![AttributeValue::String(text.clone()), AttributeValue::String(OTHER.to_owned())]
            }
            _ => Vec::new(),
        };
        let known = self.now.resource.attributes.get(name);
        values.into_iter().filter(|v| Some(v) != known).map(|v| self.harvested(name, Some(v))).collect()
    }

    fn harvested(&self, name: &str, value: Option<AttributeValue>) -> Idea {
        Idea { fact: format!("resource.{name}"), change: Change::Attribute(name.to_owned(), value) }
    }

    /// The call on this resource, or on another of its kind, by the arguments that name it.
    pub(super) fn resource(&self, type_name: &str, id: &str) -> Vec<Idea> {
        let candidates = self.tool.resource.iter().flat_map(|mapping| &mapping.candidates);
        let mut ideas = Vec::new();
        for candidate in candidates.flat_map(lineage) {
            let name = candidate.resource_type.name.as_str();
            if type_name.rsplit("::").next() != Some(name) {
                continue;
            }
            let crate::connector::Identity::Template(template) = &candidate.identity else { continue };
            let Some(parts) = template.read(id) else { continue };
            let values: Option<Vec<_>> =
                parts.iter().map(|(attribute, text)| value(candidate, attribute, text)).collect();
            let Some(values) = values else { continue };
            let mut other = values.clone();
            if let Some((_, value)) =
                other.last_mut().filter(|(_, value)| value.as_ref().is_some_and(Value::is_string))
            {
                *value = Some(json!(OTHER));
            }
            for (values, told) in [(values, format!("{name} `{id}`")), (other, format!("another {name}"))] {
                let fact = "resource".to_owned();
                let idea = Idea { fact, change: Change::Arguments { values, resource: Some(told) } };
                if !ideas.contains(&idea) {
                    ideas.push(idea);
                }
            }
        }
        ideas
    }
}

/// A candidate and those above it.
fn lineage(candidate: &Candidate) -> Vec<&Candidate> {
    std::iter::successors(Some(candidate), |one| one.parent.as_deref()).take(16).collect()
}

/// The argument that gives the attribute, with the value as its type has it.
fn value(candidate: &Candidate, attribute: &str, text: &str) -> Option<(Vec<String>, Option<Value>)> {
    let path = member_names(candidate.arguments.get(attribute)?)?;
    let value = match candidate.resource_type.attributes.get(attribute)?.kind {
        AttributeType::Long => json!(text.parse::<i64>().ok()?),
        AttributeType::String => json!(text),
        _ => return None,
    };
    Some((path, Some(value)))
}

fn member_names(path: &ArgumentPath) -> Option<Vec<String>> {
    let names = path.steps().iter().map(|step| match step {
        ArgumentStep::Member(name) => Some(name.clone()),
        ArgumentStep::Each => None,
    });
    names.collect()
}

/// The number, and those beside it.
fn numbers(value: &Value) -> Vec<i64> {
    let Some(number) = value.as_i64() else { return Vec::new() };
    vec![number, number.saturating_sub(1), number.saturating_add(1)]
}

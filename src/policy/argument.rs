//! A tool's arguments as Cedar can hold them: the shape out of the tool's JSON schema, and values out
//! of a call's arguments.
//!
//! Invariants: a value has the type that the schema of the policies declares for it, or it is absent;
//! what was given but cannot be held is reported, so that a policy that looks at it denies instead of
//! taking it for "not given" (decision 8). `null` is "not given".
//!
//! Cedar can neither count the characters of a text nor the items of a list. So each text and each list has its
//! length beside it, as the gate counts it: `context.args["path#length"]` (decision 0058).

use std::collections::BTreeMap;

use cedar_policy_core::ast::Value as CedarValue;
use serde_json::Value;

use super::extension::{self, DECIMAL_DIGITS_MAX};
use super::reads::Reach;

/// Records within records that a shape describes; deeper ones are left out.
const DEPTH_MAX: usize = 5;
/// Values that the arguments of one call may hold as policies see them; more are unreadable.
const VALUES_MAX: usize = 20_000;

/// What the name of a length ends with.
const LENGTH_SUFFIX: &str = "#length";

/// The name of the length of the argument of this name.
pub(super) fn length_name(name: &str) -> String {
    format!("{name}{LENGTH_SUFFIX}")
}

/// The type of an argument in Cedar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Long,
    Bool,
    Decimal,
    /// Of scalars.
    Set(Box<Shape>),
    Record(Members),
    /// How many characters the text beside it has, or how many items the list.
    Length {
        of_list: bool,
    },
}

/// The members of a record, all optional: the gate does not check arguments against the JSON schema
/// before it decides.
pub(super) type Members = BTreeMap<String, Shape>;

impl Shape {
    /// The Cedar schema's notation.
    pub(super) fn to_cedar(&self) -> String {
        match self {
            Self::Text => "String".to_owned(),
            Self::Long | Self::Length { .. } => "Long".to_owned(),
            Self::Bool => "Bool".to_owned(),
            Self::Decimal => "decimal".to_owned(),
            Self::Set(item) => format!("Set<{}>", item.to_cedar()),
            Self::Record(members) => record_to_cedar(members),
        }
    }
}

/// A record type in the Cedar schema's notation.
pub(super) fn record_to_cedar(members: &Members) -> String {
    let parts: Vec<String> =
        members.iter().map(|(name, shape)| format!("{}?: {}", quoted(name), shape.to_cedar())).collect();
    format!("{{{}}}", parts.join(", "))
}

/// A string literal in Cedar's notation.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// The shape of a tool's arguments; what Cedar cannot hold is left out.
pub(super) fn members_of(input_schema: &Value) -> Members {
    members(input_schema, input_schema, DEPTH_MAX)
}

fn members(schema: &Value, root: &Value, depth: usize) -> Members {
    let properties = schema.get("properties").and_then(Value::as_object);
    let shape_of = |(name, schema): (&String, &Value)| Some((name.clone(), shape(schema, root, depth)?));
    let mut members: Members = properties.into_iter().flatten().filter_map(shape_of).collect();
    let length = |(name, shape): (&String, &Shape)| {
        let of_list = matches!(shape, Shape::Set(_));
        (of_list || *shape == Shape::Text).then(|| (length_name(name), Shape::Length { of_list }))
    };
    let lengths: Vec<(String, Shape)> = members.iter().filter_map(length).collect();
    for (name, shape) in lengths {
        // An argument that is really called so is itself.
        let taken = properties.is_some_and(|properties| properties.contains_key(&name));
        if !taken {
            members.insert(name, shape);
        }
    }
    members
}

fn shape(schema: &Value, root: &Value, depth: usize) -> Option<Shape> {
    let depth = depth.checked_sub(1)?;
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return shape(root.pointer(reference.strip_prefix('#')?)?, root, depth);
    }
    for union in ["anyOf", "oneOf", "allOf"] {
        if let Some(branches) = schema.get(union).and_then(Value::as_array) {
            return one_shape(branches.iter().filter(|b| !is_null(b)).map(|b| shape(b, root, depth)));
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) => typed(name, schema, root, depth),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            one_shape(names.map(|name| typed(name, schema, root, depth)))
        }
        _ => {
            let values = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
            let values = values.or_else(|| schema.get("const").map(std::slice::from_ref))?;
            let texts = values.iter().filter(|v| !v.is_null()).all(Value::is_string);
            (texts && !values.is_empty()).then_some(Shape::Text)
        }
    }
}

fn typed(name: &str, schema: &Value, root: &Value, depth: usize) -> Option<Shape> {
    match name {
        "string" => Some(Shape::Text),
        "integer" => Some(Shape::Long),
        "boolean" => Some(Shape::Bool),
        "number" => Some(Shape::Decimal),
        "array" => match shape(schema.get("items")?, root, depth)? {
            Shape::Set(_) | Shape::Record(_) => None,
            item => Some(Shape::Set(Box::new(item))),
        },
        "object" => {
            let members = members(schema, root, depth);
            (!members.is_empty()).then_some(Shape::Record(members))
        }
        _ => None,
    }
}

/// The shape that all branches share; a union of several has none.
fn one_shape(mut branches: impl Iterator<Item = Option<Shape>>) -> Option<Shape> {
    let first = branches.next()??;
    branches.all(|branch| branch.as_ref() == Some(&first)).then_some(first)
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
        || schema.get("const").is_some_and(Value::is_null)
}

/// An argument that was given and cannot be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Member names from the arguments' root.
    pub(super) path: Vec<String>,
    /// Why, without the value.
    pub(super) why: &'static str,
}

/// The arguments of one call as a Cedar record, as far as `reach` reads them, and what in them could
/// not be held.
pub(super) fn record(shape: &Members, arguments: &Value, reach: &Reach) -> (CedarValue, Vec<Unreadable>) {
    let mut reading = Reading { path: Vec::new(), unreadable: Vec::new(), values: 0 };
    let value = match arguments {
        Value::Object(_) | Value::Null => reading.arguments(shape, arguments, reach),
        _ => {
            reading.fault("not an object");
            CedarValue::empty_record(None)
        }
    };
    (value, reading.unreadable)
}

struct Reading<'a> {
    path: Vec<&'a str>,
    unreadable: Vec<Unreadable>,
    values: usize,
}

impl<'a> Reading<'a> {
    fn fault(&mut self, why: &'static str) {
        let path = self.path.iter().map(|name| (*name).to_owned()).collect();
        self.unreadable.push(Unreadable { path, why });
    }

    /// The members of the arguments themselves that `reach` reads; beneath them whole values are held.
    fn arguments(&mut self, shape: &'a Members, value: &Value, reach: &Reach) -> CedarValue {
        let Reach::Paths(paths) = reach else {
            return self.record(shape, value);
        };
        let mut pairs = Vec::with_capacity(paths.len());
        let mut last = None;
        // The paths are in order: those of one member follow each other.
        for name in paths.iter().filter_map(|path| path.first()) {
            if last.replace(name) != Some(name)
                && let Some((name, member)) = shape.get_key_value(name)
            {
                pairs.extend(self.member(name, member, value));
            }
        }
        CedarValue::record(pairs, None)
    }

    fn record(&mut self, shape: &'a Members, value: &Value) -> CedarValue {
        let pairs: Vec<_> =
            shape.iter().filter_map(|(name, member)| self.member(name, member, value)).collect();
        CedarValue::record(pairs, None)
    }

    fn member(&mut self, name: &'a str, member: &'a Shape, value: &Value) -> Option<(&'a str, CedarValue)> {
        let length = matches!(member, Shape::Length { .. });
        let given = value.get(if length { name.strip_suffix(LENGTH_SUFFIX)? } else { name })?;
        self.path.push(name);
        let held = if given.is_null() {
            self.fault("null");
            None
        } else {
            self.value(member, given)
        };
        self.path.pop();
        held.map(|held| (name, held))
    }

    fn value(&mut self, shape: &'a Shape, given: &Value) -> Option<CedarValue> {
        self.values += 1;
        if self.values > VALUES_MAX {
            self.fault("too many values");
            return None;
        }
        let held = match (shape, given) {
            (Shape::Text, Value::String(text)) => Ok(CedarValue::from(text.as_str())),
            (Shape::Bool, Value::Bool(truth)) => Ok(CedarValue::from(*truth)),
            (Shape::Long, Value::Number(number)) => long(number).map(CedarValue::from),
            (Shape::Decimal, Value::Number(number)) => decimal(number),
            (Shape::Length { of_list: false }, Value::String(text)) => count(text.chars().count()),
            (Shape::Length { of_list: true }, Value::Array(items)) => count(items.len()),
            (Shape::Set(item), Value::Array(items)) => return self.set(item, items),
            (Shape::Record(members), Value::Object(_)) => return Some(self.record(members, given)),
            _ => Err("another type than the tool's schema declares"),
        };
        held.map_err(|why| self.fault(why)).ok()
    }

    /// A set is held whole or not at all: a policy must not see part of a list.
    fn set(&mut self, item: &'a Shape, items: &[Value]) -> Option<CedarValue> {
        let before = self.unreadable.len();
        let mut held = Vec::with_capacity(items.len().min(VALUES_MAX));
        for given in items {
            held.push(self.value(item, given)?);
        }
        (self.unreadable.len() == before).then(|| CedarValue::set(held, None))
    }
}

fn count(number: usize) -> Result<CedarValue, &'static str> {
    i64::try_from(number).map(CedarValue::from).map_err(|_| "longer than can be counted")
}

/// An integer; also one that is written with a fraction of zero, as JSON Schema counts `5.0`.
fn long(number: &serde_json::Number) -> Result<i64, &'static str> {
    if let Some(integer) = number.as_i64() {
        return Ok(integer);
    }
    /// Up to here a double holds every integer: 2^53.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64()).ok_or("an integer beyond 64 bits")?;
    if float.fract() != 0.0 || float.abs() > EXACT_MAX {
        return Err("not an integer of 64 bits");
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as checked above")]
    Ok(float as i64)
}

/// A number with at most four decimals within Cedar's range.
fn decimal(number: &serde_json::Number) -> Result<CedarValue, &'static str> {
    /// Cedar's decimals are 64-bit integers of ten-thousandths; beyond 2^53 of those a double no
    /// longer tells neighbours apart.
    const UNITS_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(integer) = number.as_i64() {
        return extension::decimal(&format!("{integer}.0")).ok_or("a number beyond the range of decimals");
    }
    let float = number.as_f64().ok_or("a number beyond the range of decimals")?;
    if !float.is_finite() || (float * 10_000.0).abs() > UNITS_MAX {
        return Err("a number beyond the range of decimals");
    }
    let text = format!("{float:.DECIMAL_DIGITS_MAX$}");
    if text.parse::<f64>() != Ok(float) {
        return Err("a number with more than four decimals");
    }
    extension::decimal(&text).ok_or("a number beyond the range of decimals")
}

#[cfg(test)]
#[path = "argument/tests.rs"]
mod tests;

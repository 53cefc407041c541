//! Conditions on a tool's arguments, of the types that the tools' schemas declare.
//!
//! An argument that is not given, and one that Cedar cannot hold, is not known (decision 8).

use serde_json::Value;

use super::expression::{Clause, Expression, Test, listed, quoted, record_path};
use super::{CONDITIONS_MAX, Draft, TEXT_BYTES_MAX, VALUES_MAX};
use crate::model::{ArgumentCondition, ArgumentTest};
use crate::policy::argument::{Shape, length_name, members_of};
use crate::policy::finding::FindingCode;

/// Decimals that Cedar keeps (decision 8).
const DECIMALS_MAX: usize = 4;

impl Draft<'_> {
    pub(super) fn arguments(&mut self) -> Vec<Clause> {
        let conditions = &self.policy.argument_conditions;
        if !self.bounded("argumentConditions", conditions.len(), CONDITIONS_MAX) {
            return Vec::new();
        }
        let one = |(at, condition)| self.argument(&format!("argumentConditions[{at}]"), condition);
        conditions.iter().enumerate().filter_map(one).collect()
    }

    fn argument(&mut self, field: &str, condition: &ArgumentCondition) -> Option<Clause> {
        let names: Vec<&str> = condition.argument.split('.').collect();
        let shape = self.shape(field, &names)?;
        self.only_its_own_members(field, condition);
        let length;
        let names = if condition.op == ArgumentTest::Length {
            let (last, above) = names.split_last()?;
            length = length_name(last);
            above.iter().copied().chain([length.as_str()]).collect()
        } else {
            names
        };
        let (known, place) = record_path("context.args", &names);
        let met = self.unknown_is_met(condition.if_unknown);
        let name = &condition.argument;
        let given = |known| Expression::all(known);
        match condition.op {
            ArgumentTest::Given => Some(Clause::new(format!("`{name}` is given."), given(known)?)),
            ArgumentTest::NotGiven => {
                Some(Clause::new(format!("`{name}` is not given."), given(known)?.negated()))
            }
            _ => {
                let (words, test) = self.test(field, condition, &shape, &place)?;
                let unknown = if met { ", or not known" } else { "" };
                let says = format!("`{name}` {words}{unknown}.");
                Some(Clause::new(says, Expression::of_known(known, test, met)))
            }
        }
    }

    /// What the tools declare of this argument; a fault where none has it or they disagree.
    fn shape(&mut self, field: &str, names: &[&str]) -> Option<Shape> {
        let mut found: Option<Shape> = None;
        let mut without = Vec::new();
        let mut differ = false;
        for tool in self.tools() {
            match within(&tool.input_schema, names) {
                None => without.push(tool.name.to_string()),
                Some(shape) if found.as_ref().is_some_and(|other| *other != shape) => differ = true,
                Some(shape) => found = Some(shape),
            }
        }
        let field = format!("{field}.argument");
        if differ {
            self.fault(field, "the tools declare it with different types", "make a policy for each of them");
            return None;
        }
        if found.is_none() {
            self.fault(
                field,
                "none of the tools declares it, or not with one type",
                "the catalogue shows their schemas",
            );
        } else if !without.is_empty() {
            let says = format!(
                "{} {} no argument `{}`: there it counts as not known",
                listed(&without, "and"),
                if without.len() == 1 { "has" } else { "have" },
                names.join(".")
            );
            self.finding(FindingCode::NotNamed, says);
        }
        found
    }

    fn only_its_own_members(&mut self, field: &str, condition: &ArgumentCondition) {
        use ArgumentTest as T;
        let op = condition.op;
        let takes_values = matches!(op, T::In | T::NotIn | T::Contains | T::ContainsAny | T::ContainsNone);
        let given = [
            ("value", condition.value.is_some(), matches!(op, T::Equals | T::NotEquals)),
            ("values", !condition.values.is_empty(), takes_values),
            ("pattern", condition.pattern.is_some(), matches!(op, T::Like | T::NotLike)),
            ("min", condition.min.is_some(), matches!(op, T::Range | T::Length)),
            ("max", condition.max.is_some(), matches!(op, T::Range | T::Length)),
            ("ifUnknown", condition.if_unknown.is_some(), !matches!(op, T::Given | T::NotGiven)),
        ];
        for (member, _, _) in given.iter().filter(|(_, given, belongs)| *given && !belongs) {
            self.fault(format!("{field}.{member}"), "it does not belong to this `op`", "leave it out");
        }
        if takes_values {
            self.bounded(&format!("{field}.values"), condition.values.len(), VALUES_MAX);
        }
    }

    fn test(
        &mut self,
        field: &str,
        condition: &ArgumentCondition,
        shape: &Shape,
        place: &str,
    ) -> Option<(String, Test)> {
        use ArgumentTest as T;
        let (words, holds) = match condition.op {
            T::Equals | T::NotEquals => {
                let literal =
                    self.argument_literal(&format!("{field}.value"), shape, condition.value.as_ref())?;
                (format!("is {literal}"), Expression::atom(format!("{place} == {literal}")))
            }
            T::In | T::NotIn => {
                let literals = self.literals(field, shape, &condition.values)?;
                let set = Expression::atom(format!("[{}].contains({place})", literals.join(", ")));
                (format!("is {}", listed(&literals, "or")), set)
            }
            T::Like | T::NotLike => self.pattern(field, condition, shape, place)?,
            T::Range => self.range(field, condition, shape, place)?,
            T::Length => self.length(field, condition, shape, place)?,
            T::Contains | T::ContainsAny | T::ContainsNone => self.list(field, condition, shape, place)?,
            T::Given | T::NotGiven => return None,
        };
        let fails = holds.clone().negated();
        let turned = matches!(condition.op, T::NotEquals | T::NotIn | T::NotLike | T::ContainsNone);
        if turned {
            return Some((format!("not: {words}"), Test { holds: fails, fails: holds }));
        }
        Some((words, Test { holds, fails }))
    }

    fn pattern(
        &mut self,
        field: &str,
        condition: &ArgumentCondition,
        shape: &Shape,
        place: &str,
    ) -> Option<(String, Expression)> {
        let field = format!("{field}.pattern");
        if *shape != Shape::Text {
            self.fault(field, "only a text has a pattern", "");
            return None;
        }
        let pattern = condition.pattern.as_deref().unwrap_or_default();
        if !self.comparable(&field, pattern) {
            return None;
        }
        let Some(literal) = pattern_literal(pattern) else {
            self.fault(field, "a `\\` stands before `*` or `\\` alone", "write `\\\\` for the character");
            return None;
        };
        Some((format!("fits {literal}"), Expression::atom(format!("{place} like {literal}"))))
    }

    fn range(
        &mut self,
        field: &str,
        condition: &ArgumentCondition,
        shape: &Shape,
        place: &str,
    ) -> Option<(String, Expression)> {
        let mut parts = Vec::new();
        let mut words = Vec::new();
        for (member, bound, plain, method, word) in [
            ("min", &condition.min, ">=", "greaterThanOrEqual", "at least"),
            ("max", &condition.max, "<=", "lessThanOrEqual", "at most"),
        ] {
            let Some(bound) = bound else { continue };
            let field = format!("{field}.{member}");
            let literal = self.argument_literal(&field, shape, Some(bound))?;
            parts.push(Expression::atom(match shape {
                Shape::Long => format!("{place} {plain} {literal}"),
                Shape::Decimal => format!("{place}.{method}({literal})"),
                _ => {
                    self.fault(field, "only a number has bounds", "");
                    return None;
                }
            }));
            words.push(format!("{word} {bound}"));
        }
        if parts.is_empty() {
            self.fault(field, "`min` or `max` is missing", "");
        }
        Some((format!("is {}", words.join(" and ")), Expression::all(parts)?))
    }

    fn length(
        &mut self,
        field: &str,
        condition: &ArgumentCondition,
        shape: &Shape,
        place: &str,
    ) -> Option<(String, Expression)> {
        let noun = match shape {
            Shape::Text => "characters",
            Shape::Set(_) => "items",
            _ => {
                self.fault(format!("{field}.op"), "only a text and a list have a length", "");
                return None;
            }
        };
        let bounds = [("min", &condition.min, ">=", "at least"), ("max", &condition.max, "<=", "at most")];
        let (mut parts, mut words) = (Vec::new(), Vec::new());
        for (member, bound, operator, word) in bounds {
            let Some(bound) = bound else { continue };
            let Some(bound) = bound.as_i64().filter(|bound| *bound >= 0) else {
                self.fault(format!("{field}.{member}"), "a whole number from 0 on is expected", "");
                return None;
            };
            parts.push(Expression::atom(format!("{place} {operator} {bound}")));
            words.push(format!("{word} {bound}"));
        }
        if parts.is_empty() {
            self.fault(format!("{field}.min"), "`min` or `max` is missing", "");
        }
        Some((format!("has {} {noun}", words.join(" and ")), Expression::all(parts)?))
    }

    fn list(
        &mut self,
        field: &str,
        condition: &ArgumentCondition,
        shape: &Shape,
        place: &str,
    ) -> Option<(String, Expression)> {
        let Shape::Set(item) = shape else {
            self.fault(format!("{field}.op"), "the argument is no list", "");
            return None;
        };
        let literals = self.literals(field, item, &condition.values)?;
        let (method, joint) = if condition.op == ArgumentTest::Contains {
            ("containsAll", "and")
        } else {
            ("containsAny", "or")
        };
        let expression = Expression::atom(format!("{place}.{method}([{}])", literals.join(", ")));
        Some((format!("holds {}", listed(&literals, joint)), expression))
    }

    fn literals(&mut self, field: &str, shape: &Shape, values: &[Value]) -> Option<Vec<String>> {
        let field = format!("{field}.values");
        if values.is_empty() {
            self.fault(field, "there is no value", "name one at least");
            return None;
        }
        values.iter().map(|value| self.argument_literal(&field, shape, Some(value))).collect()
    }

    fn argument_literal(&mut self, field: &str, shape: &Shape, value: Option<&Value>) -> Option<String> {
        let literal = match (shape, value) {
            (Shape::Text, Some(Value::String(text))) if text.len() <= TEXT_BYTES_MAX => Some(quoted(text)),
            (Shape::Bool, Some(Value::Bool(value))) => Some(value.to_string()),
            (Shape::Long, Some(Value::Number(number))) => number.as_i64().map(|number| number.to_string()),
            (Shape::Decimal, Some(Value::Number(number))) => decimal(&number.to_string()),
            _ => None,
        };
        if literal.is_none() {
            let expected = match shape {
                Shape::Text => "a text of at most 1024 bytes is expected, as the tool declares it",
                Shape::Bool => "true or false is expected, as the tool declares it",
                Shape::Long => "a whole number of 64 bits is expected, as the tool declares it",
                Shape::Decimal => "a number with at most four decimals is expected, as the tool declares it",
                Shape::Length { .. } => "a length is asked for by `length`",
                Shape::Set(_) | Shape::Record(_) => "a list or an object is compared by its parts alone",
            };
            self.fault(field, expected, "");
        }
        literal
    }
}

/// The shape of the argument of these names.
fn within(schema: &Value, names: &[&str]) -> Option<Shape> {
    let (first, rest) = names.split_first()?;
    let mut shape = members_of(schema).remove(*first)?;
    for name in rest {
        let Shape::Record(mut members) = shape else { return None };
        shape = members.remove(*name)?;
    }
    Some(shape)
}

/// `decimal("12.5")`.
fn decimal(text: &str) -> Option<String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fits = digits(whole.strip_prefix('-').unwrap_or(whole))
        && digits(decimals)
        && decimals.len() <= DECIMALS_MAX;
    let text = format!("{whole}.{decimals}");
    crate::policy::extension::decimal(&text).filter(|_| fits).map(|_| format!("decimal({})", quoted(&text)))
}

/// A pattern as Cedar writes it: `*` alone stands for any characters.
fn pattern_literal(pattern: &str) -> Option<String> {
    let mut out = String::from("\"");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => out.push('*'),
            '\\' => match letters.next()? {
                '*' => out.push_str("\\*"),
                '\\' => out.push_str("\\\\"),
                _ => return None,
            },
            other => out.extend(other.escape_debug()),
        }
    }
    out.push('"');
    Some(out)
}

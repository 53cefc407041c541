//! Conditions on attributes of the resource, and on the resource itself (specification 4.4).

use std::collections::BTreeMap;

use serde_json::Value;

use super::known::{Known, always_within, lineage, may_be, type_of};
use crate::connector::{AttributeType, SERVICE_TYPE};
use crate::model::{MatchMode, ResourceCondition, ResourceConditions};
use crate::policy::finding::FindingCode;
use crate::policy::structured::expression::{Clause, Expression, Test, listed, quoted};
use crate::policy::structured::{CONDITIONS_MAX, Draft};

/// Conditions of one kind: values joined by "or".
type Kinds<'a> = BTreeMap<&'a str, Vec<(usize, &'a ResourceCondition)>>;

impl Draft<'_> {
    pub(in crate::policy::structured) fn resource_conditions(&mut self) -> Vec<Clause> {
        let Some(asked) = &self.policy.resource_conditions else { return Vec::new() };
        if !self.bounded("resourceConditions.conditions", asked.conditions.len(), CONDITIONS_MAX) {
            return Vec::new();
        }
        if asked.conditions.is_empty() && asked.scope.is_none() {
            self.fault("resourceConditions", "there is no condition", "leave it out");
        }
        let mut clauses = Vec::new();
        clauses.extend(asked.scope.as_deref().and_then(|scope| self.scope(scope)));
        let mut kinds = Kinds::new();
        for (at, condition) in asked.conditions.iter().enumerate() {
            kinds.entry(condition.kind.as_str()).or_default().push((at, condition));
        }
        let tests: Vec<Clause> = kinds.values().filter_map(|of_one| self.kind(of_one)).collect();
        clauses.extend(joined(asked, tests));
        clauses
    }

    /// Only where the call acts on such a resource. A forbid holds as well where the call could have named
    /// one and names only what lies above it.
    fn scope(&mut self, written: &str) -> Option<Clause> {
        let connector = self.connector;
        let Some(name) = type_of(connector, written) else {
            let known: Vec<&str> = connector.resource_types.iter().map(|one| one.name.as_str()).collect();
            let help = format!("the connector has {}", known.join(", "));
            self.fault("resourceConditions.scope", "there is no such kind of resource", &help);
            return None;
        };
        let is = |name: &str| Expression::atom(format!("resource is {}::{name}", connector.namespace));
        let met = self.unknown_is_met(None);
        self.find_blind_tools(&format!("a {name}"), |tool| may_be(tool, name), false);
        if !met {
            return Some(Clause::new(format!("On a {name} alone."), is(name)));
        }
        let naming = self.tools().into_iter().filter(|tool| may_be(tool, name));
        let naming: Vec<String> = naming.map(|tool| tool.action.clone()).collect();
        if naming.is_empty() {
            return Some(Clause::new(format!("On a {name} alone."), is(name)));
        }
        let mut above: Vec<Expression> = lineage(connector, name).into_iter().skip(1).map(is).collect();
        above.push(is(SERVICE_TYPE));
        let unnamed = Expression::All(vec![
            Expression::atom(format!("action in [{}]", naming.join(", "))),
            Expression::any(above)?,
        ]);
        let says = format!("On a {name}, or where a call that could name one does not.");
        Some(Clause::new(says, Expression::Any(vec![is(name), unnamed])))
    }

    /// The conditions of one kind.
    fn kind(&mut self, conditions: &[(usize, &ResourceCondition)]) -> Option<Clause> {
        let (at, first) = conditions.first()?;
        let field = format!("resourceConditions.conditions[{at}]");
        if conditions.iter().any(|(_, other)| other.if_unknown != first.if_unknown) {
            self.fault(format!("{field}.ifUnknown"), "conditions of one type must agree on it", "");
        }
        let met = self.unknown_is_met(first.if_unknown);
        let declared =
            self.connector.resource_types.iter().any(|one| one.attributes.contains_key(&first.kind));
        if !declared && let Some(name) = type_of(self.connector, &first.kind) {
            return self.resource_itself(&field, name, conditions, met);
        }
        let known = self.attribute(&format!("{field}.type"), &first.kind)?;
        self.find_unharvested(&first.kind, &known, met);
        let kind = first.kind.clone();
        let has = |tool: &crate::connector::Tool| {
            tool.resource
                .iter()
                .flat_map(|mapping| &mapping.candidates)
                .any(|candidate| candidate.resource_type.attributes.contains_key(&kind))
        };
        if !known.harvested {
            self.find_blind_tools(&format!("what has `{kind}`"), has, met);
        }
        let mut literals = Vec::with_capacity(conditions.len());
        for (at, condition) in conditions {
            literals.push(self.literal(
                &format!("resourceConditions.conditions[{at}].value"),
                &known,
                &condition.value,
            )?);
        }
        let test = test_of(&format!("resource.{}", first.kind), known.kind, &literals);
        let says = format!(
            "`{}` is {}{}.",
            first.kind,
            listed(&literals, "or"),
            if met { ", or not known" } else { "" }
        );
        let has = vec![Expression::atom(format!("resource has {}", first.kind))];
        Some(Clause::new(says, Expression::of_known(has, test, met)))
    }

    /// One of these resources, or what lies in it.
    fn resource_itself(
        &mut self,
        field: &str,
        name: &str,
        conditions: &[(usize, &ResourceCondition)],
        met: bool,
    ) -> Option<Clause> {
        let folds = self.connector.resource_type(name)?.attributes.values().any(|attribute| {
            matches!(attribute.source, crate::connector::AttributeSource::Argument { fold_case: true, .. })
        });
        let mut uids = Vec::with_capacity(conditions.len());
        for (_, condition) in conditions {
            let Some(id) = condition.value.as_str() else {
                self.fault(format!("{field}.value"), "a text is expected", "such as owner/repo#7");
                return None;
            };
            self.comparable(&format!("{field}.value"), id);
            let id = if folds { folded(id) } else { id.to_owned() };
            uids.push(format!("{}::{name}::{}", self.connector.namespace, quoted(&id)));
        }
        let one_of = match uids.as_slice() {
            [only] => Expression::atom(format!("resource in {only}")),
            _ => Expression::atom(format!("resource in [{}]", uids.join(", "))),
        };
        let shown = listed(conditions.iter().filter_map(|(_, condition)| condition.value.as_str()), "or");
        if !met {
            return Some(Clause::new(format!("On {name} {shown} alone."), one_of));
        }
        let is = |name: &str| Expression::atom(format!("resource is {}::{name}", self.connector.namespace));
        let mut naming = vec![is(name)];
        naming.extend(always_within(self.connector, name).into_iter().map(is));
        let known_other = Expression::All(vec![Expression::any(naming)?, one_of.negated()]);
        let says = format!("On {name} {shown}, or where it is not known which.");
        Some(Clause::new(says, known_other.negated()))
    }

    fn find_unharvested(&mut self, attribute: &str, known: &Known, met: bool) {
        if known.harvested {
            let how = if met { "counts as met" } else { "is never met" };
            let says = format!(
                "`{attribute}` is not known to the gate yet (it would be harvested): until then the condition {how}"
            );
            self.finding(FindingCode::NotKnownYet, says);
        }
    }

    fn literal(&mut self, field: &str, known: &Known, value: &Value) -> Option<String> {
        let literal = match (known.kind, value) {
            (AttributeType::Bool, Value::Bool(value)) => Some(value.to_string()),
            (AttributeType::Long, Value::Number(number)) => number.as_i64().map(|number| number.to_string()),
            (AttributeType::String | AttributeType::StringSet, Value::String(text)) => {
                self.comparable(field, text);
                Some(quoted(&if known.folds_case { text.to_lowercase() } else { text.clone() }))
            }
            _ => None,
        };
        if literal.is_none() {
            let expected = match known.kind {
                AttributeType::Bool => "true or false is expected",
                AttributeType::Long => "a whole number is expected",
                AttributeType::String | AttributeType::StringSet => "a text is expected",
                AttributeType::Decimal => "this attribute cannot be compared here",
            };
            self.fault(field, expected, "");
        }
        literal
    }
}

/// Whether a place holds one of these literals.
fn test_of(place: &str, kind: AttributeType, literals: &[String]) -> Test {
    match (kind, literals) {
        (AttributeType::StringSet, [only]) => {
            let holds = Expression::atom(format!("{place}.contains({only})"));
            Test { fails: holds.clone().negated(), holds }
        }
        (AttributeType::StringSet, many) => {
            let holds = Expression::atom(format!("{place}.containsAny([{}])", many.join(", ")));
            Test { fails: holds.clone().negated(), holds }
        }
        (AttributeType::Bool, [only]) => {
            let is = Expression::atom(place);
            let is_not = Expression::atom(format!("!{place}"));
            let (holds, fails) = if only == "true" { (is, is_not) } else { (is_not, is) };
            Test { holds, fails }
        }
        (_, [only]) => Test {
            holds: Expression::atom(format!("{place} == {only}")),
            fails: Expression::atom(format!("{place} != {only}")),
        },
        (_, many) => {
            let holds = Expression::atom(format!("[{}].contains({place})", many.join(", ")));
            Test { fails: holds.clone().negated(), holds }
        }
    }
}

/// All conditions are a clause each; of alternatives one clause is made.
fn joined(asked: &ResourceConditions, tests: Vec<Clause>) -> Vec<Clause> {
    if asked.mode == MatchMode::All || tests.len() < 2 {
        return tests;
    }
    let says: Vec<String> = tests.iter().map(|clause| clause.says.trim_end_matches('.').to_owned()).collect();
    let any = Expression::Any(tests.into_iter().map(|clause| clause.when).collect());
    vec![Clause::new(format!("{}.", says.join("; or ")), any)]
}

/// The part of an id that names owner and repository, in lower case; what follows keeps its case.
fn folded(id: &str) -> String {
    match id.find(['#', '@']) {
        Some(at) => {
            let (owner_and_repo, rest) = id.split_at(at);
            format!("{}{rest}", owner_and_repo.to_lowercase())
        }
        None => id.to_lowercase(),
    }
}

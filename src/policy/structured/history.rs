//! What the conversation, or the member, did so far (specification 4.5, decision 9).

use super::expression::{Clause, Expression, quoted};
use super::{CONDITIONS_MAX, Draft};
use crate::model::{Comparison, CounterCondition, CounterKind, Over, PolicyEffect, ServiceKey, Tier};
use crate::policy::finding::FindingCode;

/// A counter in Cedar, and in words.
struct Counter {
    place: String,
    says: String,
}

impl Draft<'_> {
    pub(super) fn history(&mut self) -> Vec<Clause> {
        let conditions = &self.policy.session_conditions;
        if !self.bounded("sessionConditions", conditions.len(), CONDITIONS_MAX) {
            return Vec::new();
        }
        let mut clauses = Vec::new();
        for (at, condition) in conditions.iter().enumerate() {
            let field = format!("sessionConditions[{at}]");
            let counter = self.counter(&field, condition);
            let limit = self.limit(&field, condition);
            let (Some(counter), Some((operator, words, value))) = (counter, limit) else { continue };
            let whose = match condition.over {
                Over::Session => "in this conversation",
                Over::Member => "by the member in 24 hours",
            };
            let says = format!("{} {whose}: {words} {value}.", counter.says);
            clauses
                .push(Clause::new(says, Expression::atom(format!("{} {operator} {value}", counter.place))));
        }
        let of_session = conditions.iter().any(|condition| condition.over == Over::Session);
        let of_member = conditions.iter().any(|condition| condition.over == Over::Member);
        if self.policy.effect == PolicyEffect::Forbid && of_session && !of_member {
            self.finding(
                FindingCode::SessionAlone,
                "the forbid rests on counters of the conversation alone: a client that opens a new one starts at 0; \
                 count over `member` as well",
            );
        }
        clauses
    }

    fn counter(&mut self, field: &str, condition: &CounterCondition) -> Option<Counter> {
        let root = match condition.over {
            Over::Session => "context.session",
            Over::Member => "context.member",
        };
        self.only_its_own(field, condition);
        let (place, says) = match condition.kind {
            CounterKind::ToolUsed | CounterKind::ToolCount => {
                let tool = self.tool(field, condition.tool.as_deref())?;
                (format!("{root}.toolsUsed[{}]", quoted(&tool)), format!("Allowed calls of {tool}"))
            }
            CounterKind::ServiceCount => {
                let service = self.service(field, condition.service.as_ref())?;
                (format!("{root}.servicesUsed[{}]", quoted(&service)), format!("Allowed calls of {service}"))
            }
            CounterKind::TierCount => {
                let tier = self.needed(field, "tier", condition.tier)?;
                (format!("{root}.tiersUsed.{tier}"), format!("Allowed calls of the tier {}", tier_name(tier)))
            }
            CounterKind::TotalCallCount => (format!("{root}.calls"), "Allowed calls".to_owned()),
            CounterKind::TotalDenyCount => (format!("{root}.denials"), "Denied calls".to_owned()),
            CounterKind::PolicyAllowCount | CounterKind::PolicyDenyCount => {
                let key = self.needed(field, "policyKey", condition.policy_key.clone())?;
                if !self.ground.policies.contains(&key) {
                    let detail = format!("there is no policy `{key}`");
                    self.fault(
                        format!("{field}.policyKey"),
                        detail,
                        "name one of this agent or of the files",
                    );
                }
                let (record, says) = match condition.kind {
                    CounterKind::PolicyAllowCount => ("policiesAllowCounts", "Calls that"),
                    _ => ("policiesDenyCounts", "Calls denied by"),
                };
                let what = if says == "Calls that" {
                    format!("{says} {key} allowed")
                } else {
                    format!("{says} {key}")
                };
                (format!("{root}.{record}[{}]", quoted(key.as_str())), what)
            }
        };
        Some(Counter { place, says })
    }

    /// Refuses members that belong to another kind: they would be ignored, and somebody meant them.
    fn only_its_own(&mut self, field: &str, condition: &CounterCondition) {
        use CounterKind as K;
        let kind = condition.kind;
        let given = [
            ("tool", condition.tool.is_some(), matches!(kind, K::ToolUsed | K::ToolCount)),
            ("service", condition.service.is_some(), kind == K::ServiceCount),
            ("tier", condition.tier.is_some(), kind == K::TierCount),
            (
                "policyKey",
                condition.policy_key.is_some(),
                matches!(kind, K::PolicyAllowCount | K::PolicyDenyCount),
            ),
            ("op", condition.op.is_some(), kind != K::ToolUsed),
            ("value", condition.value.is_some(), kind != K::ToolUsed),
        ];
        for (member, _, _) in given.iter().filter(|(_, given, belongs)| *given && !belongs) {
            self.fault(
                format!("{field}.{member}"),
                "it does not belong to this kind of condition",
                "leave it out",
            );
        }
    }

    fn needed<T>(&mut self, field: &str, member: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(format!("{field}.{member}"), "it is missing", "");
        }
        value
    }

    fn tool(&mut self, field: &str, given: Option<&str>) -> Option<String> {
        let given = self.needed(field, "tool", given)?;
        let (service, tool) = given.split_once(':').unwrap_or((self.policy.service.as_str(), given));
        let known =
            self.ground.connectors.get(service).is_some_and(|connector| connector.action(tool).is_some());
        if known {
            return Some(format!("{service}:{tool}"));
        }
        let shown: String = given.chars().take(100).collect();
        let detail = format!("there is no tool `{}`", shown.escape_debug());
        self.fault(format!("{field}.tool"), detail, "write it as service:tool");
        None
    }

    fn service(&mut self, field: &str, given: Option<&ServiceKey>) -> Option<String> {
        let service = self.needed(field, "service", given)?;
        if self.ground.connectors.get(service.as_str()).is_none() {
            self.fault(format!("{field}.service"), format!("there is no connector `{service}`"), "");
            return None;
        }
        Some(service.to_string())
    }

    /// Operator, in words, value.
    fn limit(
        &mut self,
        field: &str,
        condition: &CounterCondition,
    ) -> Option<(&'static str, &'static str, i64)> {
        if condition.kind == CounterKind::ToolUsed {
            return Some((">=", "at least", 1));
        }
        let operator = self.needed(field, "op", condition.op)?;
        let value = self.needed(field, "value", condition.value)?;
        if value < 0 {
            self.fault(format!("{field}.value"), "a counter is never below 0", "");
            return None;
        }
        let (operator, words) = match operator {
            Comparison::AtLeast => (">=", "at least"),
            Comparison::MoreThan => (">", "more than"),
            Comparison::Exactly => ("==", "exactly"),
            Comparison::NotExactly => ("!=", "not"),
            Comparison::LessThan => ("<", "fewer than"),
            Comparison::AtMost => ("<=", "at most"),
        };
        Some((operator, words, value))
    }
}

const fn tier_name(tier: Tier) -> &'static str {
    tier.as_str()
}

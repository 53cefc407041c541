//! What a policy is beside the others: taken away by one, given already by one, or alone.

use cedar_policy_core::ast::{ActionConstraint, EntityUID, PrincipalOrResourceConstraint as Constraint};

use super::{Preview, Surroundings, Touched};
use crate::model::{PolicyEffect, PolicyPrincipal, StructuredPolicy, Tier};
use crate::policy::engine::Rule;
use crate::policy::finding::{Finding, FindingCode};
use crate::policy::{Bundle, Effect};

/// Names that a sentence lists.
const NAMED_MAX: usize = 5;

impl Bundle {
    /// What the other policies of this bundle make of the draft.
    pub(super) fn beside(&self, policy: &StructuredPolicy, touched: &[Touched]) -> Vec<Finding> {
        let mut found = Vec::new();
        match policy.effect {
            PolicyEffect::Permit => {
                found.extend(self.shadows(policy, touched));
                found.extend(self.already(policy, touched, Effect::Permit, "permits"));
            }
            PolicyEffect::Forbid => {
                found.extend(self.already(policy, touched, Effect::Forbid, "forbids"));
                found.extend(self.nothing_permitted(policy, touched));
            }
        }
        found
    }

    /// Forbids that hold whatever the call is, so that this permit opens nothing there.
    fn shadows(&self, policy: &StructuredPolicy, touched: &[Touched]) -> Vec<Finding> {
        let mut found = Vec::new();
        for rule in self.rules.iter().filter(|rule| always(rule, Effect::Forbid)) {
            let count = self.spoken_of(rule, policy, touched);
            if count > 0 {
                let which = which(count, touched);
                let key = &rule.body.reference.key;
                let says = format!(
                    "`{key}` forbids {which} of its tools whatever else is permitted: there this permit opens nothing"
                );
                found.push(Finding::new(FindingCode::Shadowed, says).with(key));
            }
        }
        found
    }

    /// A policy of the same effect, without conditions, that speaks of all of its tools.
    fn already(
        &self,
        policy: &StructuredPolicy,
        touched: &[Touched],
        effect: Effect,
        does: &str,
    ) -> Option<Finding> {
        let covers = |rule: &&Rule| {
            always(rule, effect)
                && !touched.is_empty()
                && self.spoken_of(rule, policy, touched) == touched.len()
        };
        let rule = self.rules.iter().find(covers)?;
        let key = &rule.body.reference.key;
        let says =
            format!("`{key}` {does} all of that already, for everybody and on everything: this adds nothing");
        Some(Finding::new(FindingCode::Implied, says).with(key))
    }

    /// A forbid of what no permit speaks of.
    fn nothing_permitted(&self, policy: &StructuredPolicy, touched: &[Touched]) -> Option<Finding> {
        let permits = self.rules.iter().filter(|rule| rule.body.effect == Effect::Permit);
        let none = permits.into_iter().all(|rule| self.spoken_of(rule, policy, touched) == 0);
        let says = "it forbids what nothing permits: without it the calls are denied as well";
        (none && !touched.is_empty()).then(|| Finding::new(FindingCode::ForbidsNothing, says))
    }

    /// How many of the draft's tools the rule's scope holds.
    fn spoken_of(&self, rule: &Rule, policy: &StructuredPolicy, touched: &[Touched]) -> usize {
        let Some(connector) = self.connectors().get(policy.service.as_str()) else { return 0 };
        let speaks_of = |one: &&Touched| {
            connector.action(one.tool.as_str()).is_some_and(|tool| self.names(rule, &tool.action))
        };
        touched.iter().filter(speaks_of).count()
    }

    /// Whether the rule's scope holds this action.
    fn names(&self, rule: &Rule, action: &str) -> bool {
        let Ok(uid) = action.parse::<EntityUID>() else { return false };
        let is_in = |group: &EntityUID| {
            let group_id = self.validator.schema().get_action_id(group);
            *group == uid || group_id.is_some_and(|id| id.descendants().any(|below| *below == uid))
        };
        match &rule.body.scope.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => **named == uid,
            ActionConstraint::In(named) => named.iter().any(|group| is_in(group)),
        }
    }
}

/// All, or how many of them.
fn which(count: usize, touched: &[Touched]) -> String {
    if count == touched.len() { "all".to_owned() } else { format!("{count} of {}", touched.len()) }
}

/// Of everybody, on everything, under no condition.
fn always(rule: &Rule, effect: Effect) -> bool {
    rule.body.effect == effect
        && rule.body.condition.is_none()
        && matches!(rule.body.scope.principal, Constraint::Any)
        && matches!(rule.body.scope.resource, Constraint::Any)
}

/// A permit of what writes or destroys, under no condition.
pub(super) fn widening(policy: &StructuredPolicy, touched: &[Touched]) -> Option<Finding> {
    let unconditional = policy.effect == PolicyEffect::Permit
        && policy.time_constraints.is_none()
        && policy.repo_restrictions.is_empty()
        && policy.repo_exceptions.is_empty()
        && policy.channel_restrictions.is_empty()
        && policy.channel_exceptions.is_empty()
        && policy.page_restrictions.is_empty()
        && policy.page_exceptions.is_empty()
        && policy.resource_conditions.is_none()
        && policy.session_conditions.is_empty()
        && policy.network_conditions.is_empty()
        && policy.argument_conditions.is_empty();
    let by_tier = policy.tiers.contains(&Tier::Destructive);
    let destructive = touched.iter().filter(|one| one.tier == Tier::Destructive).count();
    if !unconditional || (!by_tier && destructive == 0) {
        return None;
    }
    let what = if by_tier {
        "every destructive tool".to_owned()
    } else {
        format!("destructive tools ({destructive})")
    };
    let to_come = if by_tier { ", those to come too," } else { "" };
    let whom = match policy.principal {
        PolicyPrincipal::AllMembers => "to every member, ",
        _ => "",
    };
    let says = format!("it permits {what} of `{}`{to_come} {whom}on everything", policy.service);
    Some(Finding::new(FindingCode::WidensEverything, says))
}

/// Groups and members that are not there, and groups that nobody is in.
pub(super) fn strangers(policy: &StructuredPolicy, around: &Surroundings) -> Vec<Finding> {
    let found = |code: FindingCode, names: Vec<String>, says: fn(String) -> String| {
        (!names.is_empty()).then(|| Finding::new(code, says(listed(names))))
    };
    let mut strangers = Vec::new();
    match (&policy.principal, &around.groups, &around.members) {
        (PolicyPrincipal::Groups { groups }, Some(known), _) => {
            let of_size = |size: Option<u64>| -> Vec<String> {
                let fitting = groups.iter().filter(|group| known.get(*group).copied() == size);
                fitting.map(|group| format!("`{group}`")).collect()
            };
            strangers.extend(found(FindingCode::UnknownGroup, of_size(None), |names| {
                format!("there is no group {names}: nobody is in it")
            }));
            strangers.extend(found(FindingCode::EmptyGroup, of_size(Some(0)), |names| {
                format!("no member is in the group {names} yet")
            }));
        }
        (PolicyPrincipal::SpecificMembers { user_ids }, _, Some(known)) => {
            let gone = user_ids.iter().filter(|id| !known.contains(*id)).map(ToString::to_string).collect();
            strangers.extend(found(FindingCode::UnknownMember, gone, |names| {
                format!("the agent has no member {names}")
            }));
        }
        _ => {}
    }
    strangers
}

/// The first of them, and how many more there are.
fn listed(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut shown = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown.push_str(&format!(" and {more} more"));
    }
    shown
}

impl Preview {
    /// The kinds of what was found, for tests and for programs that ask for one.
    pub fn codes(&self) -> Vec<FindingCode> {
        self.findings.iter().map(|finding| finding.code).collect()
    }
}

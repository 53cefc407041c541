//! What a structured policy would be, before it is saved (specification 5): its Cedar text, the tools that
//! it touches, and what its author should know.
//!
//! Invariants: nothing is stored and nothing is swapped; the text was validated, strictly, together with
//! the policies in force, so that what is previewed loads.

use std::collections::BTreeSet;

use cedar_policy_core::ast::PrincipalOrResourceConstraint;
use serde::Serialize;

use super::engine::Rule;
use super::finding::{Finding, FindingCode};
use super::structured::{self, Compiled, Fault, Ground};
use super::{Bundle, Effect, Sources};
use crate::model::{PolicyEffect, PolicyKey, SourceFile, StructuredPolicy, Tier, ToolName};

/// The file that a draft stands in while it is tried.
const DRAFT: &str = "policies/draft.cedar";

/// A structured policy, previewed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    pub policy_key: PolicyKey,
    /// Exactly what would be evaluated.
    pub cedar: String,
    /// The tools that it speaks of as things stand, by name.
    pub tools: Vec<Touched>,
    /// What its author should know.
    pub findings: Vec<Finding>,
}

/// A tool that a policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Touched {
    pub tool: ToolName,
    pub tier: Tier,
}

impl Bundle {
    /// Previews a policy beside those of this bundle, which these sources made.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its field.
    pub fn preview(&self, policy: &StructuredPolicy, sources: &Sources) -> Result<Preview, Vec<Fault>> {
        let taken: BTreeSet<PolicyKey> = self.policies().iter().map(|info| info.key.clone()).collect();
        let fault = |detail: String| vec![Fault { field: "policy".to_owned(), detail, help: None }];
        let key = structured::key_of(&policy.name, &taken)
            .ok_or_else(|| fault("no key can be made of its name".to_owned()))?;
        let ground = Ground { connectors: self.connectors(), policies: &taken };
        let Compiled { key, text, mut findings } = structured::compile(policy, &key, ground)?;
        let mut tried = sources.clone();
        tried.policies.push(SourceFile::new(DRAFT, &text));
        let tried = Self::rebuild(&tried, self).map_err(|diagnostics| {
            diagnostics
                .iter()
                .flat_map(|one| fault(format!("its text does not load: {}", one.message)))
                .collect::<Vec<_>>()
        })?;
        let (tools, remarks) = self.remarks(policy);
        findings.extend(remarks);
        let new = tried.warnings().iter().filter(|warning| warning.file == DRAFT);
        // What rests on the conversation alone was found in the form already.
        let new = new.filter(|warning| !warning.message.contains("context.session"));
        findings.extend(new.map(|warning| Finding::new(FindingCode::Lint, warning.message.clone())));
        Ok(Preview { policy_key: key, cedar: text, tools, findings })
    }

    /// The tools that a policy speaks of as things stand, and what its author should know beside the policies
    /// of this bundle.
    pub fn remarks(&self, policy: &StructuredPolicy) -> (Vec<Touched>, Vec<Finding>) {
        let tools = self.touched(policy);
        let mut findings = self.shadows(policy, &tools);
        findings.extend(self.widening(policy));
        (tools, findings)
    }

    fn touched(&self, policy: &StructuredPolicy) -> Vec<Touched> {
        let Some(connector) = self.connectors().get(policy.service.as_str()) else { return Vec::new() };
        let spoken_of =
            |name: &ToolName, tier: Tier| policy.tools.contains(name) || policy.tiers.contains(&tier);
        let actions = connector.actions().filter(|(name, tool)| spoken_of(name, tool.tier));
        actions.map(|(name, tool)| Touched { tool: name.clone(), tier: tool.tier }).collect()
    }

    /// Forbids that hold whatever the call is, so that this permit opens nothing there.
    fn shadows(&self, policy: &StructuredPolicy, touched: &[Touched]) -> Vec<Finding> {
        if policy.effect == PolicyEffect::Forbid {
            return Vec::new();
        }
        let Some(connector) = self.connectors().get(policy.service.as_str()) else { return Vec::new() };
        let mut found = Vec::new();
        for rule in self.rules.iter().filter(|rule| always_forbids(rule)) {
            let speaks_of = |touched: &&Touched| {
                connector.action(touched.tool.as_str()).is_some_and(|tool| self.names(rule, &tool.action))
            };
            let count = touched.iter().filter(speaks_of).count();
            if count > 0 {
                let which = if count == touched.len() {
                    "all".to_owned()
                } else {
                    format!("{count} of {}", touched.len())
                };
                let key = &rule.body.reference.key;
                let says = format!(
                    "`{key}` forbids {which} of its tools whatever else is permitted: there this permit opens nothing"
                );
                found.push(Finding::new(FindingCode::Shadowed, says).with(key));
            }
        }
        found
    }

    /// Whether the rule's scope holds this action.
    fn names(&self, rule: &Rule, action: &str) -> bool {
        use cedar_policy_core::ast::ActionConstraint as Scope;
        let Ok(uid) = action.parse::<cedar_policy_core::ast::EntityUID>() else { return false };
        let is_in = |group: &cedar_policy_core::ast::EntityUID| {
            let group_id = self.validator.schema().get_action_id(group);
            *group == uid || group_id.is_some_and(|id| id.descendants().any(|below| *below == uid))
        };
        match &rule.body.scope.action {
            Scope::Any => true,
            Scope::Eq(named) => **named == uid,
            Scope::In(named) => named.iter().any(|group| is_in(group)),
        }
    }

    fn widening(&self, policy: &StructuredPolicy) -> Option<Finding> {
        let unconditional = policy.effect == PolicyEffect::Permit
            && policy.tiers.contains(&Tier::Destructive)
            && policy.time_constraints.is_none()
            && policy.repo_restrictions.is_empty()
            && policy.channel_restrictions.is_empty()
            && policy.page_restrictions.is_empty()
            && policy.resource_conditions.is_none()
            && policy.argument_conditions.is_empty();
        unconditional.then(|| {
            let says = format!(
                "it permits every destructive tool of `{}`, those to come too, on everything",
                policy.service
            );
            Finding::new(FindingCode::WidensEverything, says)
        })
    }
}

/// A forbid of everybody, on everything, under no condition.
fn always_forbids(rule: &Rule) -> bool {
    rule.body.effect == Effect::Forbid
        && rule.body.condition.is_none()
        && matches!(rule.body.scope.principal, PrincipalOrResourceConstraint::Any)
        && matches!(rule.body.scope.resource, PrincipalOrResourceConstraint::Any)
}

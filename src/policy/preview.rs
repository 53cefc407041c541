//! What a structured policy would be, before it is saved (specification 5): its Cedar text, the tools that
//! it touches, and what its author should know.
//!
//! Invariants: nothing is stored and nothing is swapped; the text was validated, strictly, together with
//! the policies in force, so that what is previewed loads.

mod beside;
mod contradictions;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::finding::{Finding, FindingCode};
use super::structured::{self, Compiled, Fault, Ground};
use super::{Bundle, Sources};
use crate::model::{GroupName, MemberId, PolicyKey, SourceFile, StructuredPolicy, Tier, Timestamp, ToolName};

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

/// What is known of whom and when a policy speaks of; nothing is looked for where nothing is known.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The agent's groups, as far as the policy names them, and how many members each has.
    pub groups: Option<BTreeMap<GroupName, u64>>,
    /// The agent's members, as far as the policy names them.
    pub members: Option<BTreeSet<MemberId>>,
    /// When it is looked at.
    pub now: Option<Timestamp>,
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
        self.preview_in(policy, sources, &Surroundings::default())
    }

    /// The same, where more is known of whom and when the policy speaks of.
    ///
    /// # Errors
    /// As [`Bundle::preview`].
    pub fn preview_in(
        &self,
        policy: &StructuredPolicy,
        sources: &Sources,
        around: &Surroundings,
    ) -> Result<Preview, Vec<Fault>> {
        let taken: BTreeSet<PolicyKey> = self.policies().iter().map(|info| info.key.clone()).collect();
        let fault = |detail: String| vec![Fault { field: "policy".to_owned(), detail, help: None }];
        let key = structured::key_of(&policy.name, &taken)
            .ok_or_else(|| fault("no key can be made of its name".to_owned()))?;
        let ground = Ground { connectors: self.connectors(), policies: &taken };
        let Compiled { key, text, mut findings } = structured::compile(policy, &key, ground)?;
        let mut tried = sources.clone();
        tried.policies.push(SourceFile::new(DRAFT, &text));
        let tried = Self::rebuild(&tried, self).map_err(|diagnostics| {
            // Strict validation says that it is impossible; the form may say by which conditions.
            let known = contradictions::of(policy, around.now).into_iter().map(|finding| finding.says);
            let refused = diagnostics.iter().map(|one| format!("its text does not load: {}", one.message));
            known.chain(refused).flat_map(fault).collect::<Vec<_>>()
        })?;
        let (tools, remarks) = self.remarks_in(policy, around);
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
        self.remarks_in(policy, &Surroundings::default())
    }

    /// The same, where more is known of whom and when the policy speaks of.
    pub fn remarks_in(
        &self,
        policy: &StructuredPolicy,
        around: &Surroundings,
    ) -> (Vec<Touched>, Vec<Finding>) {
        let tools = self.touched(policy);
        let mut findings = contradictions::of(policy, around.now);
        findings.extend(self.beside(policy, &tools));
        findings.extend(beside::widening(policy, &tools));
        findings.extend(beside::strangers(policy, around));
        (tools, findings)
    }

    fn touched(&self, policy: &StructuredPolicy) -> Vec<Touched> {
        let Some(connector) = self.connectors().get(policy.service.as_str()) else { return Vec::new() };
        let spoken_of =
            |name: &ToolName, tier: Tier| policy.tools.contains(name) || policy.tiers.contains(&tier);
        let actions = connector.actions().filter(|(name, tool)| spoken_of(name, tool.tier));
        actions.map(|(name, tool)| Touched { tool: name.clone(), tier: tool.tier }).collect()
    }
}

#[cfg(test)]
mod tests;

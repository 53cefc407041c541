//! Policies and connectors as one immutable whole, and the questions it answers.
//!
//! Invariants: a bundle exists only if every file was read and every policy passed strict validation
//! against the schema of these connectors; there is no partial one. It never changes; a reload makes
//! another.

mod build;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::Request;
use cedar_policy_core::entities::Entities;
use cedar_policy_core::validator::Validator;

use super::argument::Unreadable;
use super::engine::{self, Found, Rule, rule};
use super::index::{Index, Place};
use super::limits::{self, CounterLimit};
use super::needs::Needs;
use super::permit::Verdict;
use super::question::{Effect, PolicyInfo, Question};
use super::reads::{CounterReach, Reach, Reads};
use super::schema::{self, Ground};
use super::world::{Unaskable, World};
use crate::connector::{Connector, Connectors, Resource, Tool};
use crate::model::{
    Caller, CounterKey, Decision, Diagnostic, Digest, History, PolicyKey, Reason, Timestamp, TrustMode,
};

/// Everything that a decision needs, but for the call and its history.
#[derive(Debug)]
pub struct Bundle {
    pub(in crate::policy) rules: Vec<Rule>,
    pub(in crate::policy) index: Index,
    pub(in crate::policy) world: World,
    pub(in crate::policy) infos: Vec<PolicyInfo>,
    pub(in crate::policy) warnings: Vec<Diagnostic>,
    pub(in crate::policy) connectors: Arc<Connectors>,
    pub(in crate::policy) digest: Digest,
    /// What the policies were validated with; kept, because to read the schema of 1,500 tools takes
    /// longer than to validate a few policies.
    pub(in crate::policy) validator: Arc<Validator>,
    /// Of the schema that the policies were validated against.
    pub(in crate::policy) schema_digest: Digest,
    /// Digests of the policies' texts, which a later build under the same schema need not check again, and
    /// what their check warned of, with lines counted from the policy's own.
    pub(in crate::policy) checked: BTreeMap<Digest, Vec<Diagnostic>>,
    pub(in crate::policy) schema_text: OnceLock<String>,
}

/// One question on its way into Cedar.
pub(super) struct Prepared {
    pub(super) principal: Place,
    pub(super) resource: Place,
    pub(super) candidates: Vec<u32>,
    pub(super) request: Request,
    pub(super) entities: Entities,
    /// Policies that look at something which cannot be read, each with why.
    pub(super) blind: Vec<(u32, String)>,
}

/// A call that is denied before Cedar is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    NoPoliciesForMember,
    UnknownTool,
    Unaskable(Unaskable),
}

impl Refused {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NoPoliciesForMember => Reason::NoPoliciesForMember,
            Self::UnknownTool => Reason::UnknownTool,
            Self::Unaskable(_) => Reason::EvaluationError,
        }
    }
}

impl Bundle {
    /// The digest of the policies and the connectors together.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The connectors that this bundle speaks of.
    pub fn connectors(&self) -> &Arc<Connectors> {
        &self.connectors
    }

    /// The policies, in the order of their files and of their places therein.
    pub fn policies(&self) -> &[PolicyInfo] {
        &self.infos
    }

    /// What the operator should know, though the bundle is in force.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The limits that the policies set on counters, in the order of the policies.
    pub fn limits(&self) -> Vec<CounterLimit> {
        self.rules.iter().flat_map(limits::of).collect()
    }

    /// The whole Cedar schema as text, for reading and for writing policies against.
    pub fn schema_text(&self) -> &str {
        self.schema_text.get_or_init(|| {
            let ground = Ground { connectors: &self.connectors, zones: &self.world.zones };
            schema::text(&ground, &self.world.counters, &self.world.counters)
        })
    }

    /// What the policies that speak of this call read; nothing for a call that is denied before Cedar
    /// is asked.
    pub fn needs(
        &self,
        caller: &Caller,
        connector: &Connector,
        tool: &Tool,
        resource: &Resource,
    ) -> Arc<Needs> {
        let history = History::default();
        let question = Question {
            call: crate::model::CallId::from_uuid(uuid::Uuid::nil()),
            caller,
            connector,
            tool,
            arguments: &serde_json::Value::Null,
            resource,
            history: &history,
            now: Timestamp::default(),
        };
        let Ok((_, _, _, candidates)) = self.scope(&question) else {
            return Arc::default();
        };
        let reach = self.reach(&candidates);
        let counters = |name: &str| match CounterReach::of(&reach.beneath(name)) {
            CounterReach::Keys(keys) => keys.into_iter().collect(),
            CounterReach::Whole => self.world.counters.iter().cloned().collect::<Vec<CounterKey>>(),
        };
        Arc::new(Needs {
            arguments: !reach.beneath("args").is_nothing(),
            time: !reach.beneath("time").is_nothing(),
            session: counters("session"),
            member: counters("member"),
        })
    }

    /// The decision as data. It opens nothing.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        match self.prepare(question) {
            Err(refused) => Decision::denied(refused.reason()),
            Ok(prepared) => engine::conclude(&self.rules, &self.found(prepared)),
        }
    }

    /// The decision as a door: the only maker of a permit.
    pub fn authorise(&self, question: &Question<'_>) -> Verdict {
        Verdict::of(question.call, self.decide(question), self.digest)
    }

    /// What became of the candidates, with those that look at something unreadable among the errors.
    fn found(&self, prepared: Prepared) -> Found {
        let Prepared { candidates, request, entities, blind, .. } = prepared;
        let mut found = engine::evaluate(&self.rules, &candidates, request, &entities);
        found.errors.extend(blind);
        found
    }

    /// Who, on what, under which action, judged by which policies.
    fn scope(
        &self,
        question: &Question<'_>,
    ) -> Result<(Place, Place, &super::world::Action, Vec<u32>), Refused> {
        // Stored policies take their place here (decision 6): an untrusted caller is judged by the
        // calling member's own, together with the guardrails. There are none yet, so none applies.
        let stored_policies_of_member: &[PolicyKey] = &[];
        if question.caller.agent.trust == TrustMode::Untrusted && stored_policies_of_member.is_empty() {
            return Err(Refused::NoPoliciesForMember);
        }
        let known = self.world.action(&question.connector.service, &question.tool.name);
        let action = known.ok_or(Refused::UnknownTool)?;
        let principal = self.world.principal(question);
        let resource = self.world.resource(question).map_err(Refused::Unaskable)?;
        let candidates = self.index.candidates(&principal, action.entity.uid(), &resource);
        Ok((principal, resource, action, candidates))
    }

    /// Everything that Cedar is asked with.
    pub(super) fn prepare(&self, question: &Question<'_>) -> Result<Prepared, Refused> {
        let (principal, resource, action, candidates) = self.scope(question)?;
        let reads: Vec<&Reads> = self.reads(&candidates).collect();
        let entities =
            self.world.entities(question, &principal, action, &reads).map_err(Refused::Unaskable)?;
        let reach = self.reach(&candidates);
        let places = (&principal, &resource);
        let (request, unreadable) =
            self.world.request(question, places, action, &reach).map_err(Refused::Unaskable)?;
        let mut blind = self.blind_to_arguments(&candidates, &unreadable);
        if !question.resource.unreadable.is_empty() {
            let addressed = self.index.addressed(&principal, action.entity.uid());
            blind.extend(self.blind_to_resource(&addressed, &resource, question.resource));
        }
        Ok(Prepared { principal, resource, candidates, request, entities, blind })
    }

    fn reads<'a>(&'a self, candidates: &'a [u32]) -> impl Iterator<Item = &'a Reads> {
        candidates.iter().filter_map(|number| rule(&self.rules, *number)).map(|rule| &rule.reads)
    }

    /// What the candidates read of the context together.
    fn reach(&self, candidates: &[u32]) -> Reach {
        let mut reach = Reach::default();
        self.reads(candidates).for_each(|reads| reach.join(&reads.context));
        reach
    }

    /// Candidates that read an argument which was given but cannot be held: they would take it for
    /// absent, and a forbid would let it pass (decision 8).
    fn blind_to_arguments(&self, candidates: &[u32], unreadable: &[Unreadable]) -> Vec<(u32, String)> {
        let mut blind = Vec::new();
        for fault in unreadable {
            for number in candidates {
                let Some(rule) = rule(&self.rules, *number) else { continue };
                if rule.reads.context.beneath("args").touches(&fault.path) {
                    let path = fault.path.join(".").escape_default().to_string();
                    blind.push((*number, format!("the argument `{path}` cannot be judged: {}", fault.why)));
                }
            }
        }
        blind
    }

    /// Policies that look at a resource which claims less than the call does: forbids whose scope
    /// misses it, and conditions that mention it.
    fn blind_to_resource(&self, addressed: &[u32], place: &Place, resource: &Resource) -> Vec<(u32, String)> {
        let names: Vec<String> = resource.unreadable.iter().map(|path| format!("`{path}`")).collect();
        let why = format!("the resource cannot be told from the arguments: {}", names.join(", "));
        let looks = |number: &&u32| {
            let (Some(rule), Some(scope)) = (rule(&self.rules, **number), self.index.scope(**number)) else {
                return true;
            };
            let within = place.is_within(&scope.resource);
            if within { rule.reads.resource } else { rule.effect == Effect::Forbid }
        };
        addressed.iter().filter(looks).map(|number| (*number, why.clone())).collect()
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

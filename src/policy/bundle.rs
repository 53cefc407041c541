//! Policies and connectors as one immutable whole, and the questions it answers.
//!
//! Invariants: a bundle exists only if every file was read and every policy passed strict validation
//! against the schema of these connectors; there is no partial one. It never changes; a reload makes
//! another.

mod agent;
mod asked;
mod build;
mod shadow;

use std::sync::{Arc, OnceLock};

use cedar_policy_core::validator::Validator;

use super::cache::Cache;
use super::engine::Rule;
use super::index::Index;
use super::limits::{self, CounterLimit};
use super::needs::Needs;
use super::permit::Verdict;
use super::question::{PolicyInfo, Question};
use super::schema::{self, Ground};
use super::slice::Slices;
use super::world::{Principal, Unaskable, World};
use crate::connector::{Connector, Connectors, Resource, Tool};
use crate::model::{Caller, Decision, Diagnostic, Digest, MemberId, Reason, Show, TrustMode};

use agent::Stored;
pub use agent::{AgentSet, BrokenPolicy, Instead};
pub use asked::Asked;
pub(super) use asked::{Prepared, Scope};
use build::Checked;
use build::check::Offered;
use shadow::Shadow;

/// Everything that a decision needs, but for the call and its history.
#[derive(Debug)]
pub struct Bundle {
    pub(in crate::policy) rules: Vec<Rule>,
    pub(in crate::policy) index: Arc<Index>,
    pub(in crate::policy) world: World,
    pub(in crate::policy) infos: Vec<PolicyInfo>,
    pub(in crate::policy) warnings: Vec<Diagnostic>,
    pub(in crate::policy) connectors: Arc<Connectors>,
    pub(in crate::policy) digest: Digest,
    /// What the policies were validated with; kept, because to read the schema of 1,500 tools takes
    /// longer than to validate a few policies.
    pub(in crate::policy) validator: Arc<Validator>,
    /// Of what the schema was generated from that the policies were validated against.
    pub(in crate::policy) schema_digest: Digest,
    /// What of counters and zones that schema declares.
    pub(in crate::policy) offered: Arc<Offered>,
    /// The policies by their texts, each with the verdict on it, for a later build.
    pub(in crate::policy) checked: Checked,
    pub(in crate::policy) schema_text: OnceLock<String>,
    /// What earlier calls asked for, worked out once.
    pub(in crate::policy) slices: Slices,
    pub(in crate::policy) principals: Cache<MemberId, Arc<Principal>>,
    /// The stored policies of the agent whose set it is; none in the set of the files.
    pub(in crate::policy) stored: Stored,
    /// What policies without a `@show` tell of themselves.
    pub(in crate::policy) show: Show,
    /// The policies in shadow mode, which no other question sees; `None` where there are none.
    pub(in crate::policy) shadow: Option<Box<Shadow>>,
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

    /// The policies, in the order of their files and of their places therein, then the stored ones by key;
    /// those in shadow mode and, of the files, those that are off too.
    pub fn policies(&self) -> &[PolicyInfo] {
        &self.infos
    }

    /// What the operator should know, though the bundle is in force; of the set of an agent what there is to
    /// say of its stored policies alone.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The limits that the policies set on counters, in the order of the policies.
    pub fn limits(&self) -> Vec<CounterLimit> {
        self.rules.iter().flat_map(|rule| limits::of(&rule.body)).collect()
    }

    /// The whole Cedar schema as text, for reading and for writing policies against.
    pub fn schema_text(&self) -> &str {
        self.schema_text.get_or_init(|| {
            let ground = Ground { connectors: &self.connectors, zones: &self.world.zones };
            schema::text(&ground, &self.world.counters, &self.world.counters)
        })
    }

    /// Who asks for what, of what: the first half of a question, to which [`Asked::needs`] says what
    /// else has to be at hand.
    pub fn ask<'a>(
        &'a self,
        caller: &'a Caller,
        connector: &'a Connector,
        tool: &'a Tool,
        resource: &'a Resource,
    ) -> Asked<'a> {
        Asked::new(self, caller, connector, tool, resource)
    }

    /// The counters that the policies read which speak of this call; none for a call that is denied
    /// before Cedar is asked.
    pub fn needs(
        &self,
        caller: &Caller,
        connector: &Connector,
        tool: &Tool,
        resource: &Resource,
    ) -> Arc<Needs> {
        self.ask(caller, connector, tool, resource).shared_needs()
    }

    /// The decision as data. It opens nothing.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        self.asked(question).decide(&question.moment())
    }

    /// The decision as data, with what policies in shadow mode would have made of it.
    pub fn decide_beside(&self, question: &Question<'_>) -> Decision {
        let (asked, moment) = (self.asked(question), question.moment());
        asked.shadowed(asked.decide(&moment), &moment, |_| question.history.clone())
    }

    /// The decision as a door: with [`Asked::authorise`] the only maker of a permit.
    pub fn authorise(&self, question: &Question<'_>) -> Verdict {
        self.asked(question).authorise(&question.moment(), |_| question.history.clone())
    }

    /// Whether the caller is denied everything: a member of an untrusted agent without an enforced policy of
    /// its own (decision 6).
    pub(super) fn lacks_policies(&self, caller: &Caller) -> bool {
        caller.agent.trust == TrustMode::Untrusted && !self.stored.is_owner(&caller.member.id)
    }

    pub(super) fn asked<'a>(&'a self, question: &Question<'a>) -> Asked<'a> {
        self.ask(question.caller, question.connector, question.tool, question.resource)
    }
}

#[cfg(test)]
mod kept;
#[cfg(test)]
pub(in crate::policy) mod oracle;
#[cfg(test)]
mod tests;

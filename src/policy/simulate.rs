//! What a set of policies would have said to a call that the audit recorded (specification 5).
//!
//! Invariants: it is decided by the very functions that decide real calls, and opens nothing; nothing is
//! guessed: where the record does not hold what a policy looks at (an argument that was masked or cut, an
//! unknown address or counter, a tool that is gone), the call is unmatched and says why.

mod gap;
mod report;

use std::fmt;

use cedar_policy_core::ast::PrincipalOrResourceConstraint as Constraint;
use serde::Serialize;
use serde_json::Value;

use super::Bundle;
use super::bundle::{Asked, Scope};
use super::engine::rule;
use super::needs::Needs;
use super::reads::Reads;
use super::slice::Plan;
use super::world::Moment;
use crate::connector::{Connector, Tool, resource_of};
use crate::model::{CallId, Caller, Decision, History, Timestamp};

pub use gap::{Gap, GapKind};
pub use report::{
    Certainty, Judged, Meant, PolicyTally, Report, Row, RowMember, Simulation, Split, ToolTally,
};

/// One recorded call, as far as policies look at it.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    pub call: CallId,
    /// As they were then; `ip` of them holds only where [`Self::ip_known`].
    pub caller: &'a Caller,
    pub ip_known: bool,
    pub service: &'a str,
    /// The tool's own name, or an operation's.
    pub tool: &'a str,
    /// As recorded, redacted.
    pub arguments: &'a Value,
    /// Where the recorded arguments are not those that were sent.
    pub gaps: &'a [Gap],
    pub at: Timestamp,
}

/// Why a recorded call cannot be decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// The connector, or the tool in its lock, is not there any more.
    ToolGone,
    /// A policy looks at an argument of which the audit holds a mask or a part.
    ArgumentRedacted,
    /// A policy looks at the resource, which comes from such an argument.
    ResourceRedacted,
    /// A policy looks at the caller's address, which the record does not hold.
    CallerIpUnknown,
    /// A policy reads a counter whose value then cannot be told.
    CountersUnknown,
    /// The record does not say in which groups the member was, and the member is gone.
    MemberUnknown,
    /// Nobody knows the agent any more.
    AgentUnknown,
    /// The entry lacks a field, or cannot be read.
    Unreadable,
}

impl Unmatched {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::ToolGone,
        Self::ArgumentRedacted,
        Self::ResourceRedacted,
        Self::CallerIpUnknown,
        Self::CountersUnknown,
        Self::MemberUnknown,
        Self::AgentUnknown,
        Self::Unreadable,
    ];

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToolGone => "tool_gone",
            Self::ArgumentRedacted => "argument_redacted",
            Self::ResourceRedacted => "resource_redacted",
            Self::CallerIpUnknown => "caller_ip_unknown",
            Self::CountersUnknown => "counters_unknown",
            Self::MemberUnknown => "member_unknown",
            Self::AgentUnknown => "agent_unknown",
            Self::Unreadable => "unreadable",
        }
    }

    /// The reason as a sentence.
    pub const fn says(self) -> &'static str {
        match self {
            Self::ToolGone => "the tool is in no connector's lock any more",
            Self::ArgumentRedacted => "a policy looks at an argument that the audit masked or cut",
            Self::ResourceRedacted => {
                "a policy looks at the resource, which comes from an argument that the audit masked or cut"
            }
            Self::CallerIpUnknown => "a policy looks at the caller's address, which is not recorded",
            Self::CountersUnknown => "a policy reads a counter whose value then is not known",
            Self::MemberUnknown => "the member is gone, and the entry does not hold its groups",
            Self::AgentUnknown => "the agent is gone",
            Self::Unreadable => "the entry cannot be read",
        }
    }
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Bundle {
    /// Decides a recorded call with these policies. `counters` gives the counters that they read, as they
    /// would have stood.
    ///
    /// # Errors
    /// Why it cannot be decided, `counters`' own reason among them.
    pub fn replay(
        &self,
        recorded: &Recorded<'_>,
        counters: impl FnOnce(&Needs) -> Result<History, Unmatched>,
    ) -> Result<Decision, Unmatched> {
        let connector = self.connectors().get(recorded.service).ok_or(Unmatched::ToolGone)?;
        let tool = connector.action(recorded.tool).ok_or(Unmatched::ToolGone)?;
        let resource = resource_of(connector, tool, recorded.arguments);
        let asked = self.ask(recorded.caller, connector, tool, &resource);
        if let Ok(scope) = asked.scope() {
            self.can_be_told(recorded, (connector, tool), &asked, scope)?;
        }
        let history = counters(asked.needs())?;
        let moment = Moment {
            call: recorded.call,
            arguments: recorded.arguments,
            history: &history,
            now: recorded.at,
        };
        Ok(asked.decide(&moment))
    }

    /// Whether the record holds everything that the candidates look at.
    fn can_be_told(
        &self,
        recorded: &Recorded<'_>,
        (connector, tool): (&Connector, &Tool),
        asked: &Asked<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unmatched> {
        if !recorded.gaps.is_empty() {
            let of_resource = gap::any_in_resource(recorded.gaps, tool);
            if of_resource && self.looks_at_resource(recorded.caller, connector, tool) {
                return Err(Unmatched::ResourceRedacted);
            }
            if recorded.gaps.iter().any(|gap| gap.is_read(&asked.plan(scope).arguments)) {
                return Err(Unmatched::ArgumentRedacted);
            }
        }
        if !recorded.ip_known && asked.plan(scope).caller.touches_name("ip") {
            return Err(Unmatched::CallerIpUnknown);
        }
        Ok(())
    }

    /// Whether any policy that speaks of such a call could come out otherwise for another resource.
    fn looks_at_resource(&self, caller: &Caller, connector: &Connector, tool: &Tool) -> bool {
        let service = connector.service_resource();
        let asked = self.ask(caller, connector, tool, &service);
        let Ok(scope) = asked.scope() else { return false };
        self.index.addressed(scope.classes()).iter().any(|(number, holds_service)| {
            let Some(rule) = rule(&self.rules, *number) else { return true };
            let anywhere = match &rule.body.scope.resource {
                Constraint::Any => true,
                // Every resource of the connector stands in its service.
                Constraint::In(_) => *holds_service,
                _ => false,
            };
            !anywhere || !rule.body.reads().resource.is_nothing()
        })
    }

    /// Every counter that any of the policies reads.
    pub fn counters_read(&self) -> Needs {
        let mut reads = Reads::default();
        self.rules.iter().for_each(|rule| reads.join(rule.body.reads()));
        Plan::with_needs(reads, &self.world.counters).1
    }
}

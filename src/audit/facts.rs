//! What the data plane and the control plane know about an entry, before it is redacted and written.

use crate::connector::ArgumentPath;
use crate::model::{
    AgentId, CallId, Caller, ClientInfo, ConversationId, History, SessionId, Tier, Timestamp,
};

/// Everything that is recorded of one `tools/call` beside its decision (specification 7.1).
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// The call; must be the permit's own.
    pub call: CallId,
    /// The clock of the decision.
    pub at: Timestamp,
    pub caller: &'a Caller,
    /// The tool session that the call is counted in.
    pub session: Option<SessionId>,
    /// The conversation that the client named, digested.
    pub conversation: Option<ConversationId>,
    /// What the client said of itself.
    pub client: Option<&'a ClientInfo>,
    /// The connector's key; as it came where it names none.
    pub service: &'a str,
    /// The tool's own name, without prefix.
    pub tool: &'a str,
    /// The tool's tier, where it is known.
    pub tier: Option<Tier>,
    /// Cedar's action, as in `GitHubMCP::Action::"delete_file"`.
    pub action: &'a str,
    /// Cedar's resource.
    pub resource: &'a str,
    /// Cedar's principal.
    pub principal: &'a str,
    /// The arguments' JSON text, byte for byte as it is decided and sent.
    pub arguments: &'a str,
    /// The connector's own sensitive paths, beside those that are always redacted.
    pub redact: &'a [ArgumentPath],
    /// The counters that the decision read.
    pub history: &'a History,
}

/// Where an administrative change stands (decision 17: intent, commit, completion).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministrativePhase {
    /// About to be made.
    Intent,
    /// Made.
    Completed,
    /// Not made.
    Failed,
}

impl AdministrativePhase {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// One change of an agent, member, key, group, policy or setting.
#[derive(Debug, Clone, Copy)]
pub struct AdministrativeFacts<'a> {
    /// Joins the phases of one change.
    pub change: CallId,
    pub at: Timestamp,
    pub phase: AdministrativePhase,
    /// Who: an account, or `operator` for the local socket.
    pub who: &'a str,
    /// What was done, as in `key.revoke`.
    pub what: &'a str,
    /// What it was done to, as in `key/0192…`.
    pub target: &'a str,
    /// The agent that it concerns, where it concerns one.
    pub agent: Option<AgentId>,
    /// The state before, redacted like arguments.
    pub before: Option<&'a serde_json::Value>,
    /// The state after, redacted like arguments.
    pub after: Option<&'a serde_json::Value>,
}

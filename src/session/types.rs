//! The plain data of sessions: limits, refusals, facts of a call, views.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::{
    AgentId, ClientInfo, ConversationId, CounterKey, MemberId, PolicyRef, ServiceKey, SessionId, Tier,
    Timestamp, ToolName,
};
use crate::store::EndReason;

/// How much may be kept. Where a limit is reached, calls are refused; nothing is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session that was idle for this many milliseconds has ended.
    pub idle_ms_max: u32,
    /// Sessions in all, those that ended but are not yet written to the store among them.
    pub sessions_max: u32,
    /// Live sessions of one member.
    pub sessions_per_member_max: u32,
    /// Sessions that one member may open in an hour.
    pub new_per_member_per_hour_max: u32,
    /// Different counters of one session.
    pub counters_per_session_max: u32,
    /// Different counters of one member's 24 hours.
    pub counters_per_member_max: u32,
    /// Counts (one counter in one five-minute bucket, 8 bytes) of one member's 24 hours.
    pub window_counts_per_member_max: u32,
    /// `Mcp-Session-Id`s of one session; the oldest gives way.
    pub mcp_ids_per_session_max: u32,
    /// Bytes of all sessions and member windows together, as estimated.
    pub bytes_max: u64,
    /// The audit gets a checkpoint of a session's counters after so many calls …
    pub checkpoint_calls_max: u32,
    /// … or so many milliseconds with calls, whichever comes first.
    pub checkpoint_ms_max: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle_ms_max: 1_800_000,
            sessions_max: 100_000,
            sessions_per_member_max: 1_000,
            new_per_member_per_hour_max: 600,
            counters_per_session_max: 512,
            counters_per_member_max: 2_048,
            window_counts_per_member_max: 32_768,
            mcp_ids_per_session_max: 8,
            bytes_max: 512 * 1024 * 1024,
            checkpoint_calls_max: 1_000,
            checkpoint_ms_max: 900_000,
        }
    }
}

/// Why no session can be entered. The call is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionRefusal {
    /// The gate holds as many sessions, or bytes of them, as it may.
    TooMany,
    /// The member has as many live sessions as it may.
    TooManyOfMember,
    /// The member opened as many sessions in the past hour as it may.
    TooManyNew {
        /// When to try again, in seconds, at least 1.
        retry_after_s: u32,
    },
}

impl fmt::Display for SessionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many sessions on this gate; retry later"),
            Self::TooManyOfMember => {
                f.write_str("too many open sessions of this member; keep using one conversation id")
            }
            Self::TooManyNew { retry_after_s } => write!(
                f,
                "too many new sessions of this member; keep using one conversation id, or retry in \
                 {retry_after_s} s"
            ),
        }
    }
}

impl std::error::Error for SessionRefusal {}

/// Why a call could not be reserved. The call is not forwarded unless a new try succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveFault {
    /// A counter that the decision read has moved since: read, decide and reserve again.
    Changed,
    /// The session ended since it was entered: enter again, and decide again.
    Ended,
    /// The session, the member or the gate can hold no more counters: deny.
    Full,
}

impl fmt::Display for ReserveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "a counter moved while the call was decided",
            Self::Ended => "the session ended while the call was decided",
            Self::Full => "no more counters can be held; reset the session, or raise the session limits",
        })
    }
}

impl std::error::Error for ReserveFault {}

/// What an allowed call counts in: `calls`, its tool, its tier, its service, and each determining
/// permit.
#[derive(Debug, Clone, Copy)]
pub struct CallCounts<'a> {
    pub service: &'a ServiceKey,
    pub tool: &'a ToolName,
    pub tier: Tier,
    pub permits: &'a [PolicyRef],
}

/// Which sessions to list; all of what is given must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionFilter {
    pub agent: Option<AgentId>,
    pub member: Option<MemberId>,
}

/// In which order to list sessions; what is alike in time stands by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOrder {
    /// By their creation, or by their last call.
    pub by_creation: bool,
    /// The latest first.
    pub descending: bool,
}

/// A session as people see it (specification 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub member_id: MemberId,
    /// A digest of the conversation's id (decision 10).
    #[serde(skip)]
    pub conversation: ConversationId,
    /// The client's name, from `initialize`.
    #[serde(rename = "agentType", skip_serializing_if = "Option::is_none", serialize_with = "name_of")]
    pub client: Option<ClientInfo>,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated_reason: Option<EndReason>,
    /// Allowed calls.
    pub calls: i64,
    /// Denied calls.
    pub denials: i64,
    /// `service:tool` to allowed calls.
    pub tools_used: BTreeMap<String, i64>,
    /// Policy key to allowed calls.
    pub policies_allow_counts: BTreeMap<String, i64>,
    /// Policy key to denied calls.
    pub policies_deny_counts: BTreeMap<String, i64>,
    /// Every counter of the session in its written form.
    #[serde(skip)]
    pub counters: BTreeMap<CounterKey, i64>,
}

/// What `Sessions::restore` made of the stored rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions that live on.
    pub sessions: u32,
    /// Sessions that had been idle too long.
    pub expired: u32,
    /// Sessions that a limit kept out; they end with `proxy_restart`.
    pub refused: u32,
    /// Members whose 24 hours were restored.
    pub members: u32,
}

fn name_of<S: serde::Serializer>(client: &Option<ClientInfo>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(client.as_ref().map_or("", |client| &client.name))
}

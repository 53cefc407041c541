//! What a session and its member had done at one moment: the counters that the audit keeps so that a
//! replay can go on from there (decision 9).

use std::collections::BTreeMap;

use super::{AgentId, ConversationId, CounterKey, MemberId, SessionId, Timestamp};

/// Every counter of a session, and what changed in its member's sliding window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCheckpoint {
    pub at: Timestamp,
    pub session: SessionId,
    pub agent: AgentId,
    pub member: MemberId,
    pub conversation: ConversationId,
    pub cause: CheckpointCause,
    /// No call was counted or uncounted for a while: what is counted here is what the journal holds of
    /// this session before this entry, calls that were released left out.
    pub settled: bool,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    /// When and why the session ended.
    pub ended: Option<(Timestamp, &'static str)>,
    /// Those above 0.
    pub counters: BTreeMap<CounterKey, i64>,
    /// Absent where the member's window is as the last checkpoint of any of its sessions says.
    pub window: Option<WindowCheckpoint>,
}

/// Part of a member's sliding window. A bucket that is named replaces what was said of it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCheckpoint {
    /// Milliseconds of one bucket.
    pub bucket_ms: i64,
    /// All buckets of the window stand here, not only those that changed.
    pub whole: bool,
    pub settled: bool,
    /// Number of the bucket (milliseconds since the epoch, divided by `bucket_ms`), and its counts.
    pub buckets: Vec<(i64, BTreeMap<CounterKey, i64>)>,
}

/// Why a checkpoint was taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointCause {
    /// The session was taken up at a start.
    Restored,
    /// So many calls were counted since the last one.
    Calls,
    /// So much time has passed since the last one, with calls.
    Time,
    Ended,
}

impl CheckpointCause {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Calls => "calls",
            Self::Time => "time",
            Self::Ended => "ended",
        }
    }
}

//! How a journal is configured, how it stands, and how it fails.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use crate::model::Timestamp;

/// This node: one journal chain each, named in every entry.
pub type NodeId = Uuid;

/// What "recorded" means (reliability P2, P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Written: survives a killed process, not a power cut.
    Process,
    /// Written and synced to the disk, in groups: survives a power cut.
    Durable,
}

/// Where and how the journal writes.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The directory of the segments, created if absent.
    pub dir: PathBuf,
    /// The file that signed checkpoints are appended to as well.
    pub witness: PathBuf,
    pub mode: Durability,
    /// A segment that has grown past this is closed and the next one begun.
    pub segment_bytes_max: u64,
    /// All segments together; at the cap calls are refused.
    pub journal_bytes_max: u64,
    /// Free space of the file system below which calls are refused.
    pub free_bytes_min: u64,
    /// A checkpoint is signed after so many entries …
    pub checkpoint_entries_max: u32,
    /// … or so many milliseconds, whichever comes first, if anything was written.
    pub checkpoint_ms_max: u32,
    /// Calls whose intent is recorded and whose end is not: what a killed process leaves open. Set it
    /// to the gate's cap of calls in flight. Beyond it a call waits for its predecessors' ends to be
    /// written, then is refused.
    pub open_intents_max: u32,
    /// How long a call waits for its record before it is refused.
    pub commit_ms_max: u32,
}

impl JournalConfig {
    /// The defaults, for a journal in `<data>/journal` with its witness in `<data>/checkpoints.jsonl`.
    pub fn in_data_dir(data: &Path, mode: Durability) -> Self {
        Self {
            dir: data.join("journal"),
            witness: data.join("checkpoints.jsonl"),
            mode,
            segment_bytes_max: 64 << 20,
            journal_bytes_max: 16 << 30,
            free_bytes_min: 256 << 20,
            checkpoint_entries_max: 1_000,
            checkpoint_ms_max: 1_000,
            open_intents_max: 65_536,
            commit_ms_max: 250,
        }
    }
}

/// What opening found of earlier boots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Intents without completion, each completed now as `unknown`.
    pub open_intents: u64,
    /// Bytes at the end of the last segment that are no whole entry.
    pub torn_bytes: u64,
    /// Segments found.
    pub segments: u64,
    /// The journal is not what it was: unreadable lines, or fewer entries than its witness knows.
    pub damaged: Option<String>,
}

impl Recovery {
    /// Says in the log what was found amiss.
    pub(in crate::audit) fn tell(&self) {
        if let Some(damaged) = &self.damaged {
            tracing::error!(damaged, "the journal of an earlier boot is not what it was");
        }
        if self.open_intents > 0 || self.torn_bytes > 0 {
            let (open, torn) = (self.open_intents, self.torn_bytes);
            tracing::warn!(
                open,
                torn,
                "the gate did not stop in order: open calls are recorded as `unknown`"
            );
        }
    }
}

/// The journal cannot be opened or read. Says what to do.
#[derive(Debug)]
pub struct JournalError(pub(in crate::audit) String);

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}

/// The entry is not recorded, so the call must not leave: 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotRecord(pub(in crate::audit) String);

impl fmt::Display for CannotRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal cannot record: {}", self.0)
    }
}

impl std::error::Error for CannotRecord {}

/// How the journal stands, for `wicket status`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    pub healthy: bool,
    pub mode: Durability,
    /// Entries of this boot.
    pub entries: u64,
    /// Sequence number and chain value of the last entry.
    pub last_seq: u64,
    pub head: String,
    /// The segment being written.
    pub segment: String,
    /// How many segments there are.
    pub segments: u64,
    /// Bytes of all segments, and their cap.
    pub bytes: u64,
    pub bytes_max: u64,
    /// Whether the cap or the free space is near: act before calls are refused.
    pub alarm: Option<String>,
    /// What an earlier boot's journal lacks or has too much: look at it, whatever else is well.
    pub damaged: Option<String>,
    pub last_checkpoint: Option<Timestamp>,
    /// Calls whose intent is recorded and whose end is not yet.
    pub open_intents: u64,
    /// The last failure, kept after recovery.
    pub last_error: Option<String>,
}

impl JournalStatus {
    /// Nothing is known yet: the disk has never answered.
    pub(in crate::audit) fn unknown(mode: Durability) -> Self {
        Self {
            healthy: false,
            mode,
            entries: 0,
            last_seq: 0,
            head: String::new(),
            segment: String::new(),
            segments: 0,
            bytes: 0,
            bytes_max: 0,
            alarm: None,
            damaged: None,
            last_checkpoint: None,
            open_intents: 0,
            last_error: None,
        }
    }
}

//! The chain and where it stands: the one place that appends to a segment.
//!
//! In mode `process` an entry is written by whoever appends it. In mode `durable` it waits in memory
//! for the sync thread, which writes and syncs a group without the lock, so that no caller ever waits
//! for the disk under it ([`group`]).
//!
//! Invariants: what was acknowledged is never cut; what failed to be written or synced is cut back or,
//! where even that fails, disowned by the next segment's opening entry; after a failure nothing is
//! accepted until a new segment has been begun and synced (fail closed).

mod ends;
mod group;
mod segments;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::body::{Completion, to_bytes};
use super::chain::{ChainHash, EntryKind, seal};
use super::checkpoint::Checkpoint;
use super::disk::{Disk, Segment};
use super::journal::{Durability, JournalConfig};
use super::segment::{Ending, Previous, SegmentNumber};
use crate::keys::SigningKey;
use crate::model::{CallId, Timestamp};

pub(super) use segments::{mend, prepare_next};

/// Where the journal stands after an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// Sequence number of the last entry.
    pub seq: u64,
    pub head: ChainHash,
    /// Bytes and entries of the segment.
    pub bytes: u64,
    pub entries: u64,
    /// Entries of this boot.
    pub boot_entries: u64,
}

/// Whether an entry may be refused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Intents, denials, administrative entries: refused at the cap.
    Needed,
    /// Completions, checkpoints and what makes room: what was begun may end.
    Always,
}

/// What would begin the next segment.
struct Broken {
    previous: Previous,
}

pub(super) struct Writer {
    pub config: JournalConfig,
    pub node: Uuid,
    pub boot: Uuid,
    pub signing: SigningKey,
    pub disk: Arc<dyn Disk>,
    current: Option<Arc<Segment>>,
    /// The last entry of the chain: written in mode `process`, waiting for its group in `durable`.
    pub at: Position,
    /// Written and synced; entries behind it are cut when a group fails (mode `durable`).
    pub synced: Position,
    /// Lines that wait for the sync thread (mode `durable`), and the buffer they take turns with.
    pending: Vec<u8>,
    idle: Vec<u8>,
    /// Bytes of all other segments, and how many those are.
    pub older_bytes: u64,
    pub older_segments: u64,
    last_number: SegmentNumber,
    /// The next segment, empty, made ahead.
    spare: Option<Arc<Segment>>,
    /// The journal's thread has been asked for the next segment.
    pub spare_asked: bool,
    /// A segment that failed while it was begun: to be gone before the journal goes on.
    debris: Option<PathBuf>,
    broken: Option<Broken>,
    pub closed: bool,
    /// Counts cuts, so that a waiter knows that its entry is gone.
    pub epoch: u64,
    /// Intents of this boot that have no completion in the journal.
    open: BTreeMap<u64, CallId>,
    /// What earlier boots left is being completed: `open` does not speak of it.
    pub recovering: bool,
    /// Completions that are not synced (mode `durable`).
    unsynced: VecDeque<(u64, Completion)>,
    /// Completions that wait for the journal to be whole again.
    pub carried: VecDeque<Completion>,
    /// Segments left behind in mode `process`, not yet synced.
    pub left_behind: Vec<Arc<Segment>>,
    /// Checkpoint lines that the witness lacks, oldest first.
    pub witness_lines: VecDeque<(u64, Vec<u8>)>,
    pub entries_since_checkpoint: u32,
    pub last_checkpoint: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Somebody waits for a sync.
    pub sync_wanted: bool,
    /// Nobody waits, but what is pending should be written.
    pub write_wanted: bool,
    /// When the group that is under way was begun.
    pub sync_started: Option<std::time::Instant>,
    /// The sync thread is to end once nothing is wanted.
    pub sync_stop: bool,
    buffer: Vec<u8>,
    staged: Position,
}

/// Checkpoint lines kept for a witness that cannot be written, oldest dropped first: they stand in
/// the journal all the same.
const WITNESS_LINES_MAX: usize = 1_024;
/// Bytes that may wait for the sync thread; a disk that is slower than that refuses calls.
const PENDING_BYTES_MAX: usize = 8 << 20;

impl Writer {
    pub fn new(
        config: JournalConfig,
        disk: Arc<dyn Disk>,
        node: Uuid,
        boot: Uuid,
        signing: SigningKey,
    ) -> Self {
        Self {
            config,
            node,
            boot,
            signing,
            disk,
            current: None,
            at: Position::default(),
            synced: Position::default(),
            pending: Vec::new(),
            idle: Vec::new(),
            older_bytes: 0,
            older_segments: 0,
            last_number: SegmentNumber(0),
            spare: None,
            spare_asked: false,
            debris: None,
            broken: None,
            closed: false,
            epoch: 0,
            open: BTreeMap::new(),
            recovering: true,
            unsynced: VecDeque::new(),
            carried: VecDeque::new(),
            left_behind: Vec::new(),
            witness_lines: VecDeque::new(),
            entries_since_checkpoint: 0,
            last_checkpoint: None,
            last_error: None,
            sync_wanted: false,
            write_wanted: false,
            sync_started: None,
            sync_stop: false,
            buffer: Vec::new(),
            staged: Position::default(),
        }
    }

    pub const fn current(&self) -> Option<&Arc<Segment>> {
        self.current.as_ref()
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some() || self.current.is_none()
    }

    pub fn bytes(&self) -> u64 {
        self.older_bytes.saturating_add(self.at.bytes)
    }

    pub const fn segments(&self) -> u64 {
        self.older_segments.saturating_add(1)
    }

    /// Calls that a killed process would leave without a completion that its mode promises: intents
    /// without one, and completions that are not yet where intents are.
    pub fn unfinished(&self) -> usize {
        self.open.len().saturating_add(self.unsynced.len())
    }

    /// The oldest intent of this boot without a completion.
    pub fn oldest_open(&self) -> Option<u64> {
        self.open.first_key_value().map(|(seq, _)| *seq)
    }

    /// Appends an intent: its call is open from now on.
    ///
    /// # Errors
    /// Why it is not recorded.
    pub fn append_intent(&mut self, call: CallId, body: &[u8], now: Timestamp) -> Result<u64, String> {
        self.append_intents(std::iter::once((call, body)), now)
    }

    /// Appends these intents with one write, all or none; says the number of the first. The others follow it.
    ///
    /// # Errors
    /// Why they are not recorded.
    pub fn append_intents<'a>(
        &mut self,
        intents: impl Iterator<Item = (CallId, &'a [u8])> + Clone,
        now: Timestamp,
    ) -> Result<u64, String> {
        let first = self.at.seq.saturating_add(1);
        self.ready(Room::Needed, intents.clone().map(|(_, body)| body.len()).sum())?;
        for (_, body) in intents.clone() {
            self.stage(body);
        }
        self.flush()?;
        // First: the opening of a segment that begins behind them says which is the oldest open one.
        self.open.extend((first..).zip(intents.map(|(call, _)| call)));
        self.after_write(now);
        Ok(first)
    }

    /// Appends one entry; says its number.
    ///
    /// # Errors
    /// Why it is not recorded.
    pub fn append(&mut self, body: &[u8], room: Room, now: Timestamp) -> Result<u64, String> {
        self.ready(room, body.len())?;
        self.stage(body);
        self.flush()?;
        let seq = self.at.seq;
        self.after_write(now);
        Ok(seq)
    }

    fn ready(&self, room: Room, bytes: usize) -> Result<(), String> {
        if self.closed {
            return Err("it is closed".to_owned());
        }
        if self.is_broken() {
            return Err(self.last_error.clone().unwrap_or_else(|| "its last write failed".to_owned()));
        }
        if room == Room::Always {
            return Ok(());
        }
        if self.bytes().saturating_add(bytes as u64) > self.config.journal_bytes_max {
            return Err(at_cap(self.bytes(), self.config.journal_bytes_max));
        }
        if self.pending.len().saturating_add(bytes) > PENDING_BYTES_MAX {
            return Err(format!("{PENDING_BYTES_MAX} bytes wait for the disk, which is too slow"));
        }
        Ok(())
    }

    fn after_write(&mut self, now: Timestamp) {
        if self.entries_since_checkpoint >= self.config.checkpoint_entries_max {
            self.checkpoint(EntryKind::Checkpoint, now);
        }
        // What fails here is said by the next entry.
        let _broken = self.turn_in_process(now);
    }

    /// Signs the chain so far and writes that. Failing is no reason to fail the entry before it.
    pub fn checkpoint(&mut self, kind: EntryKind, now: Timestamp) {
        if self.ready(Room::Always, 0).is_err() {
            return;
        }
        let unsigned = Checkpoint {
            timestamp: now,
            node: self.node,
            boot: self.boot,
            entries: self.at.boot_entries,
            head: self.at.head,
            key: String::new(),
            signature: String::new(),
        };
        let seq = self.at.seq.saturating_add(1);
        let signed = unsigned.sign(kind, seq, &self.signing);
        self.stage(&with_type(kind, &signed));
        let line = self.buffer.clone();
        if self.flush().is_ok() {
            self.entries_since_checkpoint = 0;
            self.last_checkpoint = Some(now);
            if self.witness_lines.len() >= WITNESS_LINES_MAX {
                self.witness_lines.pop_front();
            }
            self.witness_lines.push_back((seq, line));
        }
    }

    fn stage(&mut self, body: &[u8]) {
        if self.buffer.is_empty() {
            self.staged = self.at;
        }
        let before = self.buffer.len();
        self.staged.seq = self.staged.seq.saturating_add(1);
        self.staged.head = seal(&self.staged.head, self.staged.seq, body, &mut self.buffer);
        let bytes = self.buffer.len().saturating_sub(before) as u64;
        self.staged.bytes = self.staged.bytes.saturating_add(bytes);
        self.staged.entries = self.staged.entries.saturating_add(1);
        self.staged.boot_entries = self.staged.boot_entries.saturating_add(1);
    }

    /// What is staged is handed on: to the file, or to the next group. Not whole is not at all: the
    /// file is cut back.
    fn flush(&mut self) -> Result<(), String> {
        if self.config.mode == Durability::Durable {
            self.pending.append(&mut self.buffer);
        } else {
            let written = self.write_staged();
            self.buffer.clear();
            if let Err(error) = written {
                self.staged = self.at;
                self.fail(&format!("writing failed: {error}"), self.at);
                return Err(self.last_error.clone().unwrap_or_default());
            }
        }
        let entries = self.staged.entries.saturating_sub(self.at.entries);
        let count = u32::try_from(entries).unwrap_or(u32::MAX);
        self.entries_since_checkpoint = self.entries_since_checkpoint.saturating_add(count);
        self.at = self.staged;
        Ok(())
    }

    fn write_staged(&self) -> std::io::Result<()> {
        let current = self.current.as_ref().ok_or_else(|| std::io::Error::other("no segment"))?;
        current.write(&*self.disk, &self.buffer)
    }

    /// Stops accepting entries and cuts the segment back to `good`.
    fn fail(&mut self, error: &str, good: Position) {
        self.last_error = Some(error.to_owned());
        let Some(current) = &self.current else { return };
        let cut = current.file.set_len(good.bytes);
        let torn_bytes = match cut {
            Ok(()) => 0,
            Err(_) => current.file.metadata().map_or(u64::MAX, |m| m.len()).saturating_sub(good.bytes),
        };
        let previous = Previous {
            segment: current.number.file_name(),
            chain: good.head,
            last_seq: good.seq,
            entries: good.entries,
            torn_bytes,
            ending: Ending::Cut,
        };
        self.broken = Some(Broken { previous });
    }
}

/// Why a journal at its cap refuses, and what to do.
pub(super) fn at_cap(bytes: u64, bytes_max: u64) -> String {
    format!(
        "it holds {bytes} bytes of at most {bytes_max}, and retention may drop none; shorten \
         `retention_days_max`, set `retention_bytes_max`, or raise `journal_bytes_max`"
    )
}

/// The body of an entry whose members are those of `members`, behind its type.
pub(super) fn with_type<T: serde::Serialize>(kind: EntryKind, members: &T) -> Vec<u8> {
    let mut body = format!("{{\"type\":\"{}\",", kind.as_str()).into_bytes();
    body.extend_from_slice(to_bytes(members).strip_prefix(b"{").unwrap_or_default());
    body
}

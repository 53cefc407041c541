//! The one place that writes to a segment: under the journal's lock, whole lines or nothing.
//!
//! Invariants: what was acknowledged is never cut; what failed to be written or synced is cut back or,
//! where even that fails, disowned by the next segment's opening entry; after a failure nothing is
//! accepted until a new segment has been begun and synced (fail closed).

mod segments;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use uuid::Uuid;

use super::body::{Completion, CompletionNote, to_bytes};
use super::chain::{ChainHash, EntryKind, seal};
use super::checkpoint::Checkpoint;
use super::journal::{Durability, JournalConfig};
use super::segment::{Ending, Previous, SegmentNumber};
use crate::keys::SigningKey;
use crate::model::Timestamp;

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

/// The segment being written.
pub(super) struct Current {
    pub file: Arc<File>,
    pub number: SegmentNumber,
}

/// Whether an entry may be refused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Intents, denials, administrative entries: refused at the cap.
    Needed,
    /// Completions and checkpoints: what was begun may end.
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
    current: Option<Current>,
    /// Written.
    pub at: Position,
    /// Written and synced; entries behind it are cut when a sync fails (mode `durable`).
    pub synced: Position,
    /// Bytes of all other segments.
    pub older_bytes: u64,
    last_number: SegmentNumber,
    broken: Option<Broken>,
    pub closed: bool,
    /// Counts cuts, so that a waiter knows that its entry is gone.
    pub epoch: u64,
    /// Intents of this boot that have no completion in the journal.
    open: BTreeSet<u64>,
    /// What earlier boots left is being completed: `open` does not speak of it.
    pub recovering: bool,
    /// Completions that are written and not synced.
    unsynced: VecDeque<(u64, Completion)>,
    /// Completions that wait for the journal to be whole again.
    pub carried: VecDeque<Completion>,
    /// Segments left behind by a roll in mode `process`, not yet synced.
    pub left_behind: Vec<Arc<File>>,
    /// Checkpoint lines that the witness lacks, oldest first.
    pub witness_lines: VecDeque<(u64, Vec<u8>)>,
    pub entries_since_checkpoint: u32,
    pub last_checkpoint: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Somebody waits for a sync.
    pub sync_wanted: bool,
    /// When the sync that is under way began.
    pub sync_started: Option<std::time::Instant>,
    /// The sync thread is to end once nothing is wanted.
    pub sync_stop: bool,
    buffer: Vec<u8>,
    staged: Position,
}

/// How the body of an intent begins.
const INTENT_START: &[u8] = b"{\"type\":\"intent\"";

/// Checkpoint lines kept for a witness that cannot be written, oldest dropped first: they stand in
/// the journal all the same.
const WITNESS_LINES_MAX: usize = 1_024;

impl Writer {
    pub fn new(config: JournalConfig, node: Uuid, boot: Uuid, signing: SigningKey) -> Self {
        Self {
            config,
            node,
            boot,
            signing,
            current: None,
            at: Position::default(),
            synced: Position::default(),
            older_bytes: 0,
            last_number: SegmentNumber(0),
            broken: None,
            closed: false,
            epoch: 0,
            open: BTreeSet::new(),
            recovering: true,
            unsynced: VecDeque::new(),
            carried: VecDeque::new(),
            left_behind: Vec::new(),
            witness_lines: VecDeque::new(),
            entries_since_checkpoint: 0,
            last_checkpoint: None,
            last_error: None,
            sync_wanted: false,
            sync_started: None,
            sync_stop: false,
            buffer: Vec::new(),
            staged: Position::default(),
        }
    }

    pub const fn current(&self) -> Option<&Current> {
        self.current.as_ref()
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some() || self.current.is_none()
    }

    pub fn bytes(&self) -> u64 {
        self.older_bytes.saturating_add(self.at.bytes)
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// Why it is not recorded.
    pub fn append(&mut self, body: &[u8], room: Room, now: Timestamp) -> Result<u64, String> {
        self.ready(room, body.len())?;
        self.stage(body);
        self.flush()?;
        let seq = self.at.seq;
        if body.starts_with(INTENT_START) {
            self.open.insert(seq);
        }
        self.after_write(now);
        Ok(seq)
    }

    /// Writes completions with one `write(2)`; those that cannot be written are carried.
    pub fn append_completions(&mut self, batch: &[Completion], now: Timestamp) {
        if self.ready(Room::Always, 0).is_err() {
            return self.carry(batch);
        }
        let before = self.at.seq;
        for completion in batch {
            self.stage(&completion.body());
        }
        if self.flush().is_err() {
            return self.carry(batch);
        }
        for completion in batch {
            self.open.remove(&completion.intent);
        }
        if self.config.mode == Durability::Durable {
            self.unsynced.extend((before.saturating_add(1)..).zip(batch.iter().copied()));
        }
        self.after_write(now);
    }

    fn carry(&mut self, batch: &[Completion]) {
        // Calls in flight bound what can end while nothing is accepted; beyond the cap the next
        // start completes the intent as `unknown`.
        let max = self.config.completion_queue_max as usize;
        let room = max.saturating_sub(self.carried.len());
        self.carried.extend(batch.iter().take(room));
        if batch.len() > room && !self.closed {
            self.last_error = Some(format!(
                "{} completions could not be kept: their calls will be shown as `unknown` after the next start",
                batch.len() - room
            ));
        }
    }

    fn ready(&self, room: Room, bytes: usize) -> Result<(), String> {
        if self.closed {
            return Err("it is closed".to_owned());
        }
        if self.is_broken() {
            return Err(self.last_error.clone().unwrap_or_else(|| "its last write failed".to_owned()));
        }
        let wanted = self.bytes().saturating_add(bytes as u64);
        if room == Room::Needed && wanted > self.config.journal_bytes_max {
            return Err(format!(
                "it holds {} bytes of at most {}; archive old segments or raise `journal_bytes_max`",
                self.bytes(),
                self.config.journal_bytes_max
            ));
        }
        Ok(())
    }

    fn after_write(&mut self, now: Timestamp) {
        if self.entries_since_checkpoint >= self.config.checkpoint_entries_max {
            self.checkpoint(EntryKind::Checkpoint, now);
        }
        // In mode `durable` the sync thread rolls, when everything is synced.
        if self.config.mode == Durability::Process {
            self.roll_if_full(now);
        }
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

    /// One `write(2)` of what is staged. Not whole is not at all: the file is cut back.
    fn flush(&mut self) -> Result<(), String> {
        let written = self.write_staged();
        self.buffer.clear();
        if let Err(error) = written {
            self.staged = self.at;
            self.fail(&format!("writing failed: {error}"), self.at);
            return Err(self.last_error.clone().unwrap_or_default());
        }
        let entries = self.staged.entries.saturating_sub(self.at.entries);
        let count = u32::try_from(entries).unwrap_or(u32::MAX);
        self.entries_since_checkpoint = self.entries_since_checkpoint.saturating_add(count);
        self.at = self.staged;
        Ok(())
    }

    fn write_staged(&self) -> io::Result<()> {
        let current = self.current.as_ref().ok_or_else(|| io::Error::other("no segment"))?;
        // A file that was deleted still takes writes, and loses them.
        let links = rustix::fs::fstat(&*current.file).map_err(io::Error::from)?.st_nlink;
        if links == 0 {
            return Err(io::Error::other(format!(
                "{} was deleted; see that {} exists",
                current.number.file_name(),
                self.config.dir.display()
            )));
        }
        loop {
            match (&*current.file).write(&self.buffer) {
                Ok(n) if n == self.buffer.len() => return Ok(()),
                Ok(n) => return Err(io::Error::other(format!("only {n} of {} bytes", self.buffer.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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

    /// A sync of this position has succeeded.
    pub fn sync_succeeded(&mut self, position: Position) {
        if position.seq > self.synced.seq {
            self.synced = position;
        }
        while self.unsynced.front().is_some_and(|(seq, _)| *seq <= self.synced.seq) {
            self.unsynced.pop_front();
        }
    }

    /// A sync has failed: in mode `durable` nothing behind the last good sync counts.
    pub fn sync_failed(&mut self, error: &str) {
        let error = format!("syncing failed: {error}");
        if self.config.mode == Durability::Process {
            return self.fail(&error, self.at);
        }
        let good = self.synced;
        self.fail(&error, good);
        self.at = good;
        self.epoch = self.epoch.saturating_add(1);
        self.witness_lines.retain(|(seq, _)| *seq <= good.seq);
        self.open.split_off(&good.seq.saturating_add(1));
        let again: Vec<Completion> = self.unsynced.drain(..).map(|(_, completion)| completion).collect();
        // Intents of earlier boots are not this boot's to list.
        let reopened = again.iter().filter(|c| c.note != CompletionNote::Recovered && c.intent <= good.seq);
        self.open.extend(reopened.map(|c| c.intent));
        self.carry(&again);
    }
}

/// The body of an entry whose members are those of `members`, behind its type.
fn with_type<T: serde::Serialize>(kind: EntryKind, members: &T) -> Vec<u8> {
    let mut body = format!("{{\"type\":\"{}\",", kind.as_str()).into_bytes();
    body.extend_from_slice(to_bytes(members).strip_prefix(b"{").unwrap_or_default());
    body
}

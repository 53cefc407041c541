//! Beginning segments: at a start, when one is full, and after a failure.
//!
//! The next segment's file is made ahead, empty, by the journal's thread; beginning it is one write of
//! its opening entry. At a start and after a failure that entry is synced before anything follows it.
//! An empty file is no segment to any reader.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Durability, Position, Segment, Writer, with_type};
use crate::audit::body::Completion;
use crate::audit::chain::{ChainHash, EntryKind, seal};
use crate::audit::disk::Disk;
use crate::audit::recover::Past;
use crate::audit::segment::{Ending, FORMAT_VERSION, Opening, Previous, SegmentNumber};
use crate::model::Timestamp;

/// The step into the next segment: its file, its opening entry, and where the chain stands behind it.
pub(super) struct Turn {
    pub next: Arc<Segment>,
    line: Vec<u8>,
    pub position: Position,
}

impl Turn {
    /// Writes and syncs the opening entry.
    pub fn put(&self, disk: &dyn Disk) -> io::Result<()> {
        self.next.write(disk, &self.line)?;
        disk.sync(&self.next.file)
    }
}

/// Makes the next segment's file, without the lock while the disk works.
///
/// # Errors
/// The file cannot be made.
pub(in crate::audit) fn prepare_next(writer: &Mutex<Writer>) -> io::Result<()> {
    let (number, dir, disk) = {
        let mut writer = writer.lock();
        writer.drop_deleted_spare();
        if writer.spare.is_some() || writer.closed {
            return Ok(());
        }
        // The number is used up whatever becomes of it.
        writer.last_number = SegmentNumber(writer.last_number.0.saturating_add(1));
        (writer.last_number, writer.config.dir.clone(), Arc::clone(&writer.disk))
    };
    let made = Segment::create(&*disk, &dir, number);
    let mut writer = writer.lock();
    match made {
        Ok(segment) => {
            writer.spare = Some(Arc::new(segment));
            Ok(())
        }
        Err(error) => {
            let taken = error.kind() == io::ErrorKind::AlreadyExists;
            if !taken && writer.last_number == number && !dir.join(number.file_name()).exists() {
                writer.last_number = SegmentNumber(number.0.saturating_sub(1));
            }
            Err(error)
        }
    }
}

/// After a failure: begins a new segment, and so finds out whether the journal is whole again. The
/// lock is not held while the disk works; nothing else moves a broken journal.
///
/// # Errors
/// Why not yet.
pub(in crate::audit) fn mend(shared: &Mutex<Writer>, now: Timestamp) -> Result<(), String> {
    if !shared.lock().is_broken() {
        return Ok(());
    }
    clear_debris(shared)?;
    let failed = |error: io::Error| format!("beginning a segment failed: {error}");
    prepare_next(shared).map_err(failed)?;
    let (turn, disk, epoch) = {
        let mut writer = shared.lock();
        let Some(broken) = &writer.broken else { return Ok(()) };
        let previous = broken.previous.clone();
        let Some(next) = writer.spare.take() else { return Err("no segment is prepared".to_owned()) };
        let turn = writer.turn_behind(next, Some(previous), None, now);
        (turn, Arc::clone(&writer.disk), writer.epoch)
    };
    let put = turn.put(&*disk);
    let mut writer = shared.lock();
    if let Err(error) = put {
        writer.debris = Some(turn.next.path.clone());
        return Err(failed(error));
    }
    let Some(broken) = writer.broken.take() else { return Ok(()) };
    if writer.epoch != epoch {
        writer.broken = Some(broken);
        writer.debris = Some(turn.next.path.clone());
        return Err("the disk failed again meanwhile".to_owned());
    }
    writer.mended(&broken.previous, turn, now);
    Ok(())
}

/// A half-begun segment must be gone before another follows the one that it followed.
fn clear_debris(shared: &Mutex<Writer>) -> Result<(), String> {
    let Some(path) = shared.lock().debris.clone() else { return Ok(()) };
    let removed = std::fs::remove_file(&path);
    let gone = removed.or_else(|error| if path.exists() { Err(error) } else { Ok(()) });
    gone.map_err(|error| format!("{} was half begun and cannot be removed: {error}", path.display()))?;
    shared.lock().debris = None;
    Ok(())
}

impl Writer {
    /// Begins the first segment of this boot, synced.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn begin(&mut self, past: &Past, now: Timestamp) -> io::Result<()> {
        let number = SegmentNumber(past.last_number.saturating_add(1));
        let next = Arc::new(Segment::create(&*self.disk, &self.config.dir, number)?);
        self.last_number = number;
        self.older_bytes = past.bytes;
        self.older_segments = past.segments;
        self.at.seq = past.last_seq;
        let turn = self.turn_behind(Arc::clone(&next), past.previous.clone(), Some(past), now);
        let put = turn.put(&*self.disk);
        if put.is_err() {
            let _stays = std::fs::remove_file(&next.path);
        }
        put?;
        self.arrive(turn);
        Ok(())
    }

    /// Whether the next entries belong in another segment.
    pub fn is_full(&self) -> bool {
        self.at.bytes >= self.config.segment_bytes_max && self.at.entries > 1 && !self.closed
    }

    /// Whether the current segment is to be left, and there is one to go to.
    pub fn can_turn(&self) -> bool {
        self.is_full() && self.spare.is_some()
    }

    /// Whether it is time to make the next segment's file.
    pub fn wants_spare(&self) -> bool {
        let soon = self.config.segment_bytes_max / 4 * 3;
        self.spare.is_none() && self.at.bytes >= soon && !self.is_broken() && !self.closed
    }

    /// Leaves a full segment in mode `process`, if the next one is prepared: one short write, as an
    /// intent's. The segment left behind is synced before the witness hears of anything later.
    ///
    /// # Errors
    /// Why the journal is broken now.
    pub fn turn_in_process(&mut self, now: Timestamp) -> Result<(), String> {
        if self.config.mode == Durability::Durable || !self.is_full() || self.is_broken() {
            return Ok(());
        }
        let Some(next) = self.spare.take() else { return Ok(()) };
        self.checkpoint(EntryKind::Checkpoint, now);
        let (before, left) = (self.at, self.current.clone());
        if self.is_broken() {
            self.spare = Some(next);
            return Err(self.last_error.clone().unwrap_or_default());
        }
        let turn = self.turn(next, now);
        if let Err(error) = turn.next.write(&*self.disk, &turn.line) {
            self.left_again(before);
            self.debris = Some(turn.next.path.clone());
            let error = format!("beginning a segment failed: {error}");
            self.at = before;
            self.staged = before;
            self.fail(&error, before);
            return Err(error);
        }
        self.left_behind.extend(left);
        self.current = Some(turn.next);
        Ok(())
    }

    /// Chains the opening entry of the segment that follows the current one.
    pub(super) fn turn(&mut self, next: Arc<Segment>, now: Timestamp) -> Turn {
        let previous = self.current.as_ref().map(|current| Previous {
            segment: current.number.file_name(),
            chain: self.at.head,
            last_seq: self.at.seq,
            entries: self.at.entries,
            torn_bytes: 0,
            ending: Ending::Rolled,
        });
        let turn = self.turn_behind(next, previous, None, now);
        self.older_bytes = self.older_bytes.saturating_add(self.at.bytes);
        self.older_segments = self.older_segments.saturating_add(1);
        self.at = turn.position;
        self.staged = turn.position;
        self.entries_since_checkpoint = self.entries_since_checkpoint.saturating_add(1);
        turn
    }

    /// The turn was not taken: the segment that was left is the current one still.
    pub(super) fn left_again(&mut self, position: Position) {
        self.older_bytes = self.older_bytes.saturating_sub(position.bytes);
        self.older_segments = self.older_segments.saturating_sub(1);
    }

    fn turn_behind(
        &self,
        next: Arc<Segment>,
        previous: Option<Previous>,
        past: Option<&Past>,
        now: Timestamp,
    ) -> Turn {
        let opening = Opening {
            timestamp: now,
            format: FORMAT_VERSION,
            node: self.node,
            boot: self.boot,
            segment: next.number.file_name(),
            mode: self.config.mode,
            verifying_key: self.signing.verifying_key().to_string(),
            previous,
            open_intents: past.map(|past| past.open.len() as u64),
            oldest_open_intent: (!self.recovering).then(|| self.oldest_open().unwrap_or(0)),
            shorter_than_witness: past.and_then(|past| past.shorter_than_witness),
        };
        let before = opening.previous.as_ref().map_or(ChainHash::GENESIS, |p| p.chain);
        let mut line = Vec::new();
        let seq = self.at.seq.saturating_add(1);
        let head = seal(&before, seq, &with_type(EntryKind::Open, &opening), &mut line);
        let boot_entries = self.at.boot_entries.saturating_add(1);
        let position = Position { seq, head, bytes: line.len() as u64, entries: 1, boot_entries };
        Turn { next, line, position }
    }

    /// A new segment is there, and synced.
    fn arrive(&mut self, turn: Turn) {
        self.current = Some(turn.next);
        self.at = turn.position;
        self.staged = turn.position;
        self.entries_since_checkpoint = self.entries_since_checkpoint.saturating_add(1);
        self.sync_succeeded(turn.position);
    }

    fn mended(&mut self, previous: &Previous, turn: Turn, now: Timestamp) {
        self.older_bytes = self.older_bytes.saturating_add(self.at.bytes).saturating_add(previous.torn_bytes);
        self.older_segments = self.older_segments.saturating_add(1);
        if self.config.mode == Durability::Process {
            // What stands in it was acknowledged and never synced.
            let left = self.current.take();
            self.left_behind.extend(left);
        }
        self.arrive(turn);
        let carried: Vec<Completion> = self.carried.drain(..).collect();
        for batch in carried.chunks(256) {
            self.append_completions(batch, now);
        }
    }

    /// Removes the file that was made ahead and is not needed.
    pub fn discard_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            // An empty file that stays is passed over by every reader.
            let _stays = std::fs::remove_file(&spare.path);
        }
    }

    /// Forgets a prepared file that somebody deleted.
    fn drop_deleted_spare(&mut self) {
        if self.spare.as_ref().is_some_and(|spare| spare.is_deleted().unwrap_or(true)) {
            self.spare = None;
        }
    }
}

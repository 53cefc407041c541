//! Group commit: what waits goes to the disk in one write and one sync, without the lock.
//!
//! One group is under way at a time, and only the sync thread (or, before it starts and after it has
//! ended, opening and closing) has one. A full segment is left within a group: what belongs to it is
//! written and synced first, then the next one's opening entry; only then do entries go there. So
//! what can still be cut stands in one segment.

use std::io;
use std::sync::Arc;

use super::segments::Turn;
use super::{EntryKind, Position, Segment, Timestamp, Writer};
use crate::audit::disk::Disk;

/// Lines on their way to the disk.
pub(in crate::audit) struct Group {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    /// Where the chain stands behind them.
    position: Position,
    sync: bool,
    turn: Option<Turn>,
}

/// How far a group has come.
#[derive(Debug)]
pub(in crate::audit) enum Reached {
    /// Written, and synced if that was wanted; the next segment begun, if this one was full.
    All,
    /// Synced to the end of a full segment; the next one could not be begun.
    ThisSegment(io::Error),
    Nothing(io::Error),
}

impl Group {
    /// Writes and syncs. May take as long as the disk takes: not to be called under the lock.
    pub fn put(&self, disk: &dyn Disk) -> Reached {
        let sync = self.sync || self.turn.is_some();
        let write = || if self.bytes.is_empty() { Ok(()) } else { self.segment.write(disk, &self.bytes) };
        let written = write().and_then(|()| if sync { disk.sync(&self.segment.file) } else { Ok(()) });
        match (written, &self.turn) {
            (Err(error), _) => Reached::Nothing(error),
            (Ok(()), None) => Reached::All,
            (Ok(()), Some(turn)) => turn.put(disk).map_or_else(Reached::ThisSegment, |()| Reached::All),
        }
    }
}

impl Writer {
    /// Whether a sync would attest anything.
    pub const fn has_unsynced(&self) -> bool {
        self.at.seq > self.synced.seq
    }

    /// Whether lines wait for a write.
    pub const fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes everything that waits; `None` where there is nowhere to put it. The next segment's opening
    /// entry is chained here, so that entries may come while the group is under way.
    pub fn take_group(&mut self, sync: bool, now: Timestamp) -> Option<Group> {
        if self.is_broken() {
            return None;
        }
        let segment = Arc::clone(self.current()?);
        let next = if self.is_full() { self.spare.take() } else { None };
        if next.is_some() {
            self.checkpoint(EntryKind::Checkpoint, now);
        }
        let bytes = std::mem::replace(&mut self.pending, std::mem::take(&mut self.idle));
        let position = self.at;
        let turn = next.map(|next| self.turn(next, now));
        Some(Group { segment, bytes, position, sync, turn })
    }

    /// Takes note of what became of a group.
    ///
    /// # Errors
    /// Why the journal is broken now.
    pub fn group_ended(&mut self, group: Group, reached: Reached) -> Result<(), String> {
        let Group { mut bytes, position, sync, turn, .. } = group;
        bytes.clear();
        self.idle = bytes;
        match (reached, turn) {
            (Reached::All, turn) => {
                if sync || turn.is_some() {
                    self.sync_succeeded(position);
                }
                if let Some(turn) = turn {
                    self.sync_succeeded(turn.position);
                    self.current = Some(turn.next);
                }
                Ok(())
            }
            (Reached::ThisSegment(error), turn) => {
                self.sync_succeeded(position);
                self.undo(turn, position);
                self.lost(&format!("beginning a segment failed: {error}"))
            }
            (Reached::Nothing(error), turn) => {
                self.undo(turn, position);
                self.lost(&format!("writing or syncing failed: {error}"))
            }
        }
    }

    fn undo(&mut self, turn: Option<Turn>, position: Position) {
        if let Some(turn) = turn {
            self.left_again(position);
            self.debris = Some(turn.next.path.clone());
        }
    }

    fn lost(&mut self, error: &str) -> Result<(), String> {
        self.lose(error);
        Err(error.to_owned())
    }

    /// Writes and syncs everything here and now: at a start and at a stop, when nobody else does.
    ///
    /// # Errors
    /// Why the journal is broken now.
    pub fn put_everything(&mut self, now: Timestamp) -> Result<(), String> {
        let Some(group) = self.take_group(true, now) else { return Ok(()) };
        let reached = group.put(&*Arc::clone(&self.disk));
        self.group_ended(group, reached)
    }
}

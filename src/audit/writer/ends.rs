//! How calls end in the chain: their completions, through syncs and failures of the disk.
//!
//! Invariant: a completion that was handed over is in the journal, waits for its sync, or is carried
//! until the journal is whole again; one whose intent was cut is dropped with it.

use super::{Durability, Position, Room, Writer};
use crate::audit::body::{Completion, CompletionNote};
use crate::model::Timestamp;

/// Completions carried over a failure, as a multiple of the calls that may be open: those that had not
/// been synced come again.
const CARRIED_FACTOR: usize = 8;

impl Writer {
    /// Appends completions with one write; those that cannot be written are carried.
    pub fn append_completions(&mut self, batch: &[Completion], now: Timestamp) {
        if self.ready(Room::Always, 0).is_err() {
            return self.carry(batch);
        }
        let kept: Vec<Completion> = batch.iter().filter(|c| self.has_intent(c)).copied().collect();
        let before = self.at.seq;
        for completion in &kept {
            self.stage(&completion.body());
        }
        if self.flush().is_err() {
            return self.carry(&kept);
        }
        for completion in &kept {
            self.open.remove(&completion.intent);
        }
        if self.config.mode == Durability::Durable {
            self.unsynced.extend((before.saturating_add(1)..).zip(kept));
        }
        self.after_write(now);
    }

    /// Whether the intent is still in the journal: a cut may have taken it while its call gave up, and
    /// its number may be another's by now.
    fn has_intent(&self, completion: &Completion) -> bool {
        let recovered = completion.note == CompletionNote::Recovered;
        recovered || self.open.get(&completion.intent) == Some(&completion.call)
    }

    fn carry(&mut self, batch: &[Completion]) {
        // Calls in flight bound what can end while nothing is accepted; beyond the cap the next
        // start completes the intent as `unknown`.
        let max = (self.config.open_intents_max as usize).saturating_mul(CARRIED_FACTOR);
        let room = max.saturating_sub(self.carried.len());
        self.carried.extend(batch.iter().take(room));
        if batch.len() > room && !self.closed {
            self.last_error = Some(format!(
                "{} completions could not be kept: their calls will be shown as `unknown` after the next start",
                batch.len() - room
            ));
        }
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

    /// A sync has failed in mode `process`: what was written stays, in a segment that has ended.
    pub fn sync_failed(&mut self, error: &str) {
        self.fail(&format!("syncing failed: {error}"), self.at);
    }

    /// A group has failed in mode `durable`: nothing behind the last good sync counts.
    pub(super) fn lose(&mut self, error: &str) {
        let good = self.synced;
        self.fail(error, good);
        self.pending.clear();
        self.at = good;
        self.epoch = self.epoch.saturating_add(1);
        self.witness_lines.retain(|(seq, _)| *seq <= good.seq);
        self.open.split_off(&good.seq.saturating_add(1));
        let again: Vec<Completion> = self.unsynced.drain(..).map(|(_, completion)| completion).collect();
        // Intents of earlier boots are not this boot's to list.
        let reopened = again.iter().filter(|c| c.note != CompletionNote::Recovered && c.intent <= good.seq);
        self.open.extend(reopened.map(|c| (c.intent, c.call)));
        self.carry(&again);
    }
}

//! What keeps the journal in order beside the calls: retention, sessions' checkpoints, its figures.
//! Off the data plane, on the background; everything here may fail and is tried again.

use parking_lot::Mutex;

use crate::audit::index::Indexed;
use crate::audit::retention::{self, Dropped, RetentionLimits};
use crate::audit::{Journal, JournalStatus};
use crate::model::Timestamp;
use crate::session::Sessions;
use crate::store::Store;
use crate::telemetry;

/// Checkpoints of sessions in one round; after a start with many sessions they take their turns.
const CHECKPOINTS_MAX: usize = 512;

/// What upkeep does and has done.
#[derive(Debug, Default)]
pub struct Upkeep {
    pub retention: RetentionLimits,
    /// How far the index has come.
    pub indexed: Indexed,
    last_drop: Mutex<Option<(Timestamp, Dropped)>>,
    /// What keeps retention from dropping, for as long as it does.
    hindrance: Mutex<Option<String>>,
}

impl Upkeep {
    /// Nothing done yet, under these limits.
    pub fn new(retention: RetentionLimits) -> Self {
        Self { retention, ..Self::default() }
    }

    /// Drops what may and should go.
    pub async fn retain(&self, journal: &Journal, store: &Store) {
        let now = Timestamp::now();
        match retention::retain(journal, store, self.retention, now).await {
            Ok(None) => *self.hindrance.lock() = None,
            Ok(Some(dropped)) => {
                *self.hindrance.lock() = None;
                tracing::info!(
                    first = dropped.first_segment,
                    last = dropped.last_segment,
                    entries = dropped.entries,
                    bytes = dropped.bytes,
                    reason = dropped.reason.as_str(),
                    "retention dropped segments of the journal; their checkpoints are kept"
                );
                telemetry::segments_dropped(dropped.segments);
                *self.last_drop.lock() = Some((now, dropped));
            }
            Err(reason) => {
                // Once for each reason: the rounds go on.
                let before = self.hindrance.lock().replace(reason.clone());
                if before.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "retention drops nothing for now");
                }
            }
        }
    }

    /// Hands the journal the sessions' checkpoints that are due.
    pub fn checkpoint(&self, journal: &Journal, sessions: &Sessions) {
        if !journal.takes_checkpoints() {
            return;
        }
        for checkpoint in sessions.take_checkpoints(CHECKPOINTS_MAX, Timestamp::now()) {
            if !journal.session(&checkpoint) {
                tracing::warn!(session = %checkpoint.session, "a checkpoint has no room; the next one says more");
            }
        }
    }

    /// Puts the journal's figures into the metrics.
    pub fn measure(&self, journal: &Journal) {
        let status = journal.status();
        telemetry::journal_healthy(journal.healthy());
        telemetry::journal(status.bytes, status.segments, status.open_intents);
        telemetry::journal_damaged(status.damaged.is_some());
        if let Some(lag) = self.index_lag(&status) {
            telemetry::index_lag(lag);
        }
    }

    /// Entries that the index lacks; `None` before it has read the first.
    pub fn index_lag(&self, status: &JournalStatus) -> Option<u64> {
        self.indexed.seq().map(|seq| status.last_seq.saturating_sub(seq))
    }

    /// Retention in one line, for people.
    pub fn said(&self) -> String {
        let RetentionLimits { days_max, bytes_max } = self.retention;
        let mut said = match (days_max, bytes_max) {
            (0, 0) => "kept for ever".to_owned(),
            (days, 0) => format!("kept {days} days"),
            (0, bytes) => format!("kept to {bytes} bytes"),
            (days, bytes) => format!("kept {days} days and to {bytes} bytes"),
        };
        if let Some((at, dropped)) = &*self.last_drop.lock() {
            said.push_str(&format!(", dropped up to {} at {at}", dropped.last_segment));
        }
        if let Some(hindrance) = &*self.hindrance.lock() {
            said.push_str(&format!(", drops nothing: {hindrance}"));
        }
        said
    }
}

//! The data plane's side: one entry into the chain, and the wait until it counts.
//!
//! A call never waits for a lock longer than a moment: it tries, lets its thread do other things, and
//! tries again until its time is over. What then cannot be recorded is refused.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{CannotRecord, Durability, Progress, Shared};
use crate::audit::body::Completion;
use crate::audit::writer::{Room, Writer};
use crate::model::{CallId, Timestamp};

/// A thread of the data plane waits at most so long for the journal's lock: many times what a write
/// takes, little beside what a call takes.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(2);
/// A call that found the lock taken, or no place, tries again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// Completions written with one write.
pub(super) const BATCH_MAX: usize = 256;

/// An entry that is in the chain: its number, the epoch that it was written in, and how long its
/// caller waits for it.
pub(super) struct Written {
    seq: u64,
    epoch: u64,
    deadline: Instant,
}

impl Written {
    pub const fn seq(&self) -> u64 {
        self.seq
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSynced {
    /// The entry was cut from the journal.
    Gone,
    /// The entry may yet be synced, but not in time.
    Late,
}

/// Why an entry is not in the chain.
enum Try {
    Refused(CannotRecord),
    /// Somebody has the lock.
    Locked,
    /// As many calls as may be are without a recorded end.
    NoPlace,
}

impl Shared {
    /// Puts one entry into the chain; `intent` is the call that it opens.
    pub(super) async fn write(&self, intent: Option<CallId>, body: &[u8]) -> Result<Written, CannotRecord> {
        let deadline = Instant::now() + self.commit_max;
        loop {
            let busy = match self.try_write(intent, body, deadline) {
                Ok(written) => return Ok(written),
                Err(Try::Refused(refused)) => return Err(refused),
                Err(busy) => busy,
            };
            if Instant::now() >= deadline {
                return Err(self.gave_up(&busy));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The last entry of the chain, as something to wait for.
    pub(super) const fn written(&self, writer: &Writer, deadline: Instant) -> Written {
        Written { seq: writer.at.seq, epoch: writer.epoch, deadline }
    }

    fn gave_up(&self, busy: &Try) -> CannotRecord {
        if matches!(busy, Try::NoPlace) {
            return CannotRecord(format!(
                "{} calls wait for their end to be recorded; the disk is too slow",
                self.open_intents_max
            ));
        }
        // Whoever comes next need not wait for the same; the journal's thread takes it back.
        self.refuse("the disk does not answer");
        CannotRecord("the disk does not answer".to_owned())
    }

    fn try_write(&self, intent: Option<CallId>, body: &[u8], deadline: Instant) -> Result<Written, Try> {
        let refused = |reason: &str| Try::Refused(CannotRecord(reason.to_owned()));
        if !self.accepting.load(Ordering::Acquire) {
            return Err(Try::Refused(CannotRecord(self.refusal.lock().clone())));
        }
        let mut writer = self.writer.try_lock_for(LOCK_WAIT).ok_or(Try::Locked)?;
        if writer.sync_started.is_some_and(|started| started.elapsed() > self.commit_max) {
            return Err(refused("the disk does not answer a sync"));
        }
        let now = Timestamp::now();
        if intent.is_some() && !self.has_places(&mut writer, 1, now) {
            return Err(Try::NoPlace);
        }
        let epoch = writer.epoch;
        let appended = match intent {
            Some(call) => writer.append_intent(call, body, now),
            None => writer.append(body, Room::Needed, now),
        };
        match appended {
            Ok(seq) => {
                self.ask_for_sync(&mut writer);
                self.ask_for_spare(&mut writer);
                Ok(Written { seq, epoch, deadline })
            }
            Err(reason) => {
                if writer.is_broken() {
                    self.refuse(&reason);
                }
                Err(refused(&reason))
            }
        }
    }

    /// Whether so many more calls may be open. Where ends wait to be written, who asks writes them: so the
    /// bound costs nobody anything who has ended.
    pub(super) fn has_places(&self, writer: &mut Writer, calls: usize, now: Timestamp) -> bool {
        let fit = |writer: &Writer| writer.unfinished().saturating_add(calls) <= self.open_intents_max;
        if fit(writer) {
            return true;
        }
        while self.end_some(writer, now) {
            if fit(writer) {
                return true;
            }
        }
        // In mode `durable` the ends count once they are synced.
        self.ask_for_sync(writer);
        false
    }

    /// Asks the journal's thread for the next segment: once for a segment, not for a record.
    pub(super) fn ask_for_spare(&self, writer: &mut Writer) {
        if !writer.spare_asked && writer.wants_spare() {
            writer.spare_asked = true;
            self.poll_signal.notify_all();
        }
    }

    /// Asks the sync thread of mode `durable`; the lock is held.
    pub(super) fn ask_for_sync(&self, writer: &mut Writer) {
        if self.mode == Durability::Durable {
            writer.sync_wanted = true;
            self.sync_signal.notify_one();
        }
    }

    /// Appends completions that wait, one batch; says whether there were any.
    pub(super) fn end_some(&self, writer: &mut Writer, now: Timestamp) -> bool {
        let batch: Vec<Completion> = std::iter::from_fn(|| self.completions.pop()).take(BATCH_MAX).collect();
        if batch.is_empty() {
            return false;
        }
        writer.append_completions(&batch, now);
        true
    }

    /// Waits until the entry is recorded as the mode promises.
    pub(super) async fn recorded(&self, written: &Written) -> Result<(), NotSynced> {
        if self.mode == Durability::Process {
            return Ok(());
        }
        self.synced(written).await
    }

    /// Waits until the entry is synced.
    pub(super) async fn synced(&self, written: &Written) -> Result<(), NotSynced> {
        let mut progress = self.progress.subscribe();
        let settled = |p: &Progress| p.epoch != written.epoch || p.synced >= written.seq;
        match tokio::time::timeout_at(written.deadline, progress.wait_for(settled)).await {
            Ok(Ok(p)) if p.epoch == written.epoch => Ok(()),
            Ok(Ok(p)) if p.epoch == written.epoch.saturating_add(1) && written.seq <= p.kept => Ok(()),
            Ok(_) => Err(NotSynced::Gone),
            Err(_) => Err(NotSynced::Late),
        }
    }

    pub(super) async fn record(&self, body: &[u8]) -> Result<(), CannotRecord> {
        let written = self.write(None, body).await?;
        self.recorded(&written).await.map_err(|fault| self.explain(fault))
    }

    pub(super) fn explain(&self, fault: NotSynced) -> CannotRecord {
        CannotRecord(match fault {
            NotSynced::Gone => self.refusal.lock().clone(),
            NotSynced::Late => format!("no sync within {} ms", self.commit_max.as_millis()),
        })
    }

    /// Queues a completion. Each has a place, since its intent had one; should there be none all the
    /// same, its caller writes it, and if the disk does not answer that the next start says `unknown`.
    pub(in crate::audit) fn complete(&self, completion: Completion) {
        let Err(completion) = self.completions.push(completion) else { return };
        match self.writer.try_lock_for(LOCK_WAIT) {
            Some(mut writer) => writer.append_completions(&[completion], Timestamp::now()),
            None => tracing::error!(call = %completion.call, "its end could not be recorded"),
        }
    }

    pub(in crate::audit) fn intent_opened(&self) {
        self.open_intents.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::audit) fn intent_ended(&self) {
        self.open_intents.fetch_sub(1, Ordering::Relaxed);
    }

    /// From now on entries are refused without taking the lock.
    pub(super) fn refuse(&self, reason: &str) {
        let mut refusal = self.refusal.lock();
        if self.accepting.swap(false, Ordering::AcqRel) {
            tracing::error!(reason, "the journal cannot record: calls are refused until it can");
        }
        reason.clone_into(&mut refusal);
    }

    pub(super) fn accept(&self) {
        if !self.dead.load(Ordering::Acquire) && !self.accepting.swap(true, Ordering::AcqRel) {
            tracing::info!("the journal records again");
        }
    }
}

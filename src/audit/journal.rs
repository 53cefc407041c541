//! The journal's public face: what is recorded when its functions return.
//!
//! In mode `process` the caller writes under a short lock and is done. In mode `durable` it then waits,
//! bounded, until the sync thread has synced the group that its entry is in. Completions go through
//! a bounded queue that the journal's thread polls, so that no thread is woken for a record.

mod threads;
mod types;

pub use types::{CannotRecord, Durability, JournalConfig, JournalError, JournalStatus, NodeId, Recovery};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::body::{Completion, CompletionNote, administrative_body, call_body};
use super::chain::EntryKind;
use super::recover::{Past, survey};
use super::segment::SegmentNumber;
use super::writer::{Room, Writer};
use super::{AdministrativeFacts, CallFacts, Receipt};
use crate::keys::SigningKey;
use crate::model::{CallId, Decision, Digest, Timestamp};
use crate::policy::{Denial, Permit};

/// How far the disk is, for those who wait.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Sequence number up to which everything is synced.
    synced: u64,
    /// Counts cuts; an entry of an earlier epoch beyond `kept` is gone.
    epoch: u64,
    /// What the last cut left.
    kept: u64,
}

/// What the journal, its threads and its receipts share.
pub(super) struct Shared {
    writer: Mutex<Writer>,
    /// Wakes the sync thread, under the writer's lock.
    sync_signal: Condvar,
    progress: watch::Sender<Progress>,
    completions: ArrayQueue<Completion>,
    open_intents: AtomicU64,
    /// Whether entries are accepted; refusals do not take the lock.
    accepting: AtomicBool,
    /// Why not, for the refused.
    refusal: Mutex<String>,
    low_space: AtomicBool,
    /// A thread of the journal has ended before its time.
    dead: AtomicBool,
    poll_stop: Mutex<bool>,
    poll_signal: Condvar,
    commit_max: Duration,
    mode: Durability,
    node: NodeId,
    digest_key: zeroize::Zeroizing<[u8; 32]>,
    /// Holds the directory against a second gate until the journal is closed.
    lock: Mutex<Option<std::fs::File>>,
}

/// An entry that is written: its number, and the epoch that it was written in.
#[derive(Clone, Copy)]
struct Written {
    seq: u64,
    epoch: u64,
}

enum NotSynced {
    /// The entry was cut from the journal.
    Gone,
    /// The entry may yet be synced, but not in time.
    Late,
}

impl Shared {
    /// One short write under the lock.
    fn write(&self, body: &[u8]) -> Result<Written, CannotRecord> {
        if !self.accepting.load(Ordering::Acquire) {
            return Err(CannotRecord(self.refusal.lock().clone()));
        }
        let Some(mut writer) = self.writer.try_lock_for(self.commit_max) else {
            return Err(CannotRecord("the disk does not answer".to_owned()));
        };
        if writer.sync_started.is_some_and(|started| started.elapsed() > self.commit_max) {
            return Err(CannotRecord("the disk does not answer a sync".to_owned()));
        }
        let epoch = writer.epoch;
        match writer.append(body, Room::Needed, Timestamp::now()) {
            Ok(seq) => {
                if self.mode == Durability::Durable {
                    writer.sync_wanted = true;
                    self.sync_signal.notify_one();
                }
                Ok(Written { seq, epoch })
            }
            Err(reason) => {
                if writer.is_broken() {
                    self.refuse(&reason);
                }
                Err(CannotRecord(reason))
            }
        }
    }

    /// Waits until the entry is recorded as the mode promises.
    async fn recorded(&self, written: Written) -> Result<(), NotSynced> {
        if self.mode == Durability::Process {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let settled = |p: &Progress| p.epoch != written.epoch || p.synced >= written.seq;
        match tokio::time::timeout(self.commit_max, progress.wait_for(settled)).await {
            Ok(Ok(p)) if p.epoch == written.epoch => Ok(()),
            Ok(Ok(p)) if p.epoch == written.epoch.saturating_add(1) && written.seq <= p.kept => Ok(()),
            Ok(_) => Err(NotSynced::Gone),
            Err(_) => Err(NotSynced::Late),
        }
    }

    async fn record(&self, body: &[u8]) -> Result<(), CannotRecord> {
        let written = self.write(body)?;
        self.recorded(written).await.map_err(|fault| self.explain(&fault))
    }

    fn explain(&self, fault: &NotSynced) -> CannotRecord {
        CannotRecord(match fault {
            NotSynced::Gone => "the disk refused to sync".to_owned(),
            NotSynced::Late => format!("no sync within {} ms", self.commit_max.as_millis()),
        })
    }

    /// Queues a completion; when the queue is full the caller writes it.
    pub(super) fn complete(&self, completion: Completion) {
        if let Err(completion) = self.completions.push(completion) {
            self.writer.lock().append_completions(&[completion], Timestamp::now());
        }
    }

    pub(super) fn intent_opened(&self) {
        self.open_intents.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn intent_ended(&self) {
        self.open_intents.fetch_sub(1, Ordering::Relaxed);
    }

    /// From now on entries are refused without taking the lock.
    fn refuse(&self, reason: &str) {
        let mut refusal = self.refusal.lock();
        if self.accepting.swap(false, Ordering::AcqRel) {
            tracing::error!(reason, "the journal cannot record: calls are refused until it can");
        }
        reason.clone_into(&mut refusal);
    }

    fn accept(&self) {
        if !self.dead.load(Ordering::Acquire) && !self.accepting.swap(true, Ordering::AcqRel) {
            tracing::info!("the journal records again");
        }
    }
}

/// The append-only journal of this node. Dropping it closes it.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({})", self.shared.node)
    }
}

/// Each intent that an earlier boot left open gets its completion.
fn end_open_calls(writer: &mut Writer, past: &Past, now: Timestamp) {
    let ended = past.open.iter();
    let ended =
        ended.map(|(call, intent)| Completion::unknown(*call, *intent, now, CompletionNote::Recovered));
    for batch in ended.collect::<Vec<_>>().chunks(256) {
        writer.append_completions(batch, now);
    }
}

impl Journal {
    /// Opens the journal: recovers what earlier boots left, then begins a new segment. Each intent
    /// that an earlier boot left open gets a completion `unknown` here.
    ///
    /// # Errors
    /// [`JournalError`] where the directory cannot be read or written, or another process holds it.
    pub fn open(
        config: JournalConfig,
        node: NodeId,
        signing: SigningKey,
        now: Timestamp,
    ) -> Result<(Self, Recovery), JournalError> {
        let lock = threads::hold(&config.dir)?;
        threads::mend_witness(&config.witness)?;
        let past = survey(&config.dir)?;
        let mut random = [0u8; 10];
        getrandom::fill(&mut random).map_err(|e| JournalError(format!("no random bytes: {e}")))?;
        let boot = *CallId::mint(now, random).as_uuid();
        let digest_key = signing.derive("wicket/arguments/v1");
        let fault = |dir: &std::path::Path, error: &dyn fmt::Display| {
            JournalError(format!(
                "cannot write to {}: {error}; check its owner, mode and space",
                dir.display()
            ))
        };
        let mut writer = Writer::new(config.clone(), node, boot, signing);
        writer
            .begin(
                SegmentNumber(past.last_number),
                past.last_seq,
                past.bytes,
                past.previous.clone(),
                past.open.len() as u64,
                now,
            )
            .map_err(|error| fault(&config.dir, &error))?;
        end_open_calls(&mut writer, &past, now);
        writer.recovering = false;
        writer.checkpoint(EntryKind::Checkpoint, now);
        writer.sync_wanted = true;
        if writer.is_broken() {
            return Err(fault(&config.dir, &writer.last_error.unwrap_or_default()));
        }
        let recovery = past.recovery();
        recovery.tell();
        let shared = Arc::new(Shared {
            progress: watch::Sender::new(Progress { synced: writer.synced.seq, ..Progress::default() }),
            writer: Mutex::new(writer),
            sync_signal: Condvar::new(),
            completions: ArrayQueue::new(config.completion_queue_max.max(1) as usize),
            open_intents: AtomicU64::new(0),
            accepting: AtomicBool::new(true),
            refusal: Mutex::new(String::new()),
            low_space: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            poll_stop: Mutex::new(false),
            poll_signal: Condvar::new(),
            commit_max: Duration::from_millis(config.commit_ms_max.into()),
            mode: config.mode,
            node,
            digest_key,
            lock: Mutex::new(Some(lock)),
        });
        let threads = threads::start(&shared).map_err(|error| fault(&config.dir, &error))?;
        Ok((Self { shared, threads: Mutex::new(threads) }, recovery))
    }

    /// Records that a permitted call is about to be sent. When this returns, the intent is recorded
    /// as the mode promises; no byte may go upstream before.
    ///
    /// # Errors
    /// [`CannotRecord`]: the call must be refused.
    pub async fn intent(&self, permit: &Permit, facts: &CallFacts<'_>) -> Result<Receipt, CannotRecord> {
        if permit.call() != facts.call {
            return Err(CannotRecord("the permit is for another call".to_owned()));
        }
        self.record_intent(permit.decision(), permit.bundle_digest(), facts).await
    }

    pub(super) async fn record_intent(
        &self,
        decision: &Decision,
        bundle: Digest,
        facts: &CallFacts<'_>,
    ) -> Result<Receipt, CannotRecord> {
        let shared = &self.shared;
        let body = call_body(facts, decision, bundle, shared.node, &shared.digest_key);
        let written = shared.write(&body)?;
        // From here on whoever drops this future leaves a completion behind: nothing was sent.
        let receipt = Receipt::pending(Arc::clone(shared), facts.call, written.seq);
        match shared.recorded(written).await {
            Ok(()) => Ok(receipt.recorded()),
            Err(NotSynced::Gone) => {
                receipt.forget();
                Err(shared.explain(&NotSynced::Gone))
            }
            Err(NotSynced::Late) => Err(shared.explain(&NotSynced::Late)),
        }
    }

    /// Records a denied call, as durably as an intent.
    ///
    /// # Errors
    /// [`CannotRecord`]: the call must be refused as such.
    pub async fn denial(&self, denial: &Denial, facts: &CallFacts<'_>) -> Result<(), CannotRecord> {
        if denial.call() != facts.call {
            return Err(CannotRecord("the denial is for another call".to_owned()));
        }
        self.record_denial(denial.decision(), denial.bundle_digest(), facts).await
    }

    pub(super) async fn record_denial(
        &self,
        decision: &Decision,
        bundle: Digest,
        facts: &CallFacts<'_>,
    ) -> Result<(), CannotRecord> {
        let shared = &self.shared;
        shared.record(&call_body(facts, decision, bundle, shared.node, &shared.digest_key)).await
    }

    /// Records one phase of an administrative change.
    ///
    /// # Errors
    /// [`CannotRecord`]: the change must not be made.
    pub async fn administrative(&self, facts: &AdministrativeFacts<'_>) -> Result<(), CannotRecord> {
        self.shared.record(&administrative_body(facts, self.shared.node)).await
    }

    /// Whether calls can be recorded now.
    pub fn healthy(&self) -> bool {
        self.shared.accepting.load(Ordering::Acquire)
    }

    /// Writes what waits, signs a closing checkpoint and stops. Entries after it are refused; calls
    /// that are still open are completed as `unknown` at the next start. Blocks for a sync.
    pub fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        if !threads.is_empty() {
            threads::stop(&self.shared, threads);
        }
    }

    /// How the journal stands.
    pub fn status(&self) -> JournalStatus {
        threads::status(&self.shared)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

//! The journal's public face: what is recorded when its functions return.
//!
//! In mode `process` the caller writes under a short lock and is done; under load the first of a turn of
//! the event loop writes for all ([`turn`]). In mode `durable` it hands its
//! entry to the sync thread and waits, bounded, until the group that it is in is synced. Completions
//! go through a bounded queue that the journal's thread polls, so that no thread is woken for a record.
//!
//! Invariants: a thread of the data plane never waits for the lock longer than `record::LOCK_WAIT` at a time,
//! and a call never longer than `commit_ms_max` in all; no more calls than `open_intents_max` can be
//! left without a known end by a killed process (P2).

mod record;
mod room;
mod threads;
mod turn;
mod types;

use record::NotSynced;
pub use types::{CannotRecord, Durability, JournalConfig, JournalError, JournalStatus, NodeId, Recovery};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::body::{Completion, CompletionNote, administrative_body, call_body};
use super::chain::EntryKind;
use super::checkpointed;
use super::disk::{Disk, Local};
use super::recover::{Past, survey};
use super::writer::Writer;
use super::{AdministrativeFacts, CallFacts, Receipt};
use crate::keys::SigningKey;
use crate::model::{CallId, Decision, Digest, SessionCheckpoint, Timestamp};
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
    turns: turn::Turns,
    /// Wakes the sync thread, under the writer's lock.
    sync_signal: Condvar,
    progress: watch::Sender<Progress>,
    completions: ArrayQueue<Completion>,
    /// Bodies that nobody waits for: sessions' checkpoints.
    asides: ArrayQueue<Vec<u8>>,
    open_intents: AtomicU64,
    open_intents_max: usize,
    /// Whether entries are accepted; refusals do not take the lock.
    accepting: AtomicBool,
    /// Why not, for the refused.
    refusal: Mutex<String>,
    /// What an earlier boot left amiss, for as long as this one runs.
    damaged: Option<String>,
    /// How the journal stood when it was last asked and answered.
    last_status: Mutex<Option<JournalStatus>>,
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

/// Bodies that may wait for the journal's thread without anybody waiting for them.
const ASIDES_MAX: usize = 1_024;

impl Shared {
    fn new(
        writer: Writer,
        config: &JournalConfig,
        node: NodeId,
        digest_key: zeroize::Zeroizing<[u8; 32]>,
        lock: std::fs::File,
        damaged: Option<String>,
    ) -> Self {
        let open_intents_max = config.open_intents_max.max(1) as usize;
        Self {
            progress: watch::Sender::new(Progress { synced: writer.synced.seq, ..Progress::default() }),
            writer: Mutex::new(writer),
            turns: turn::Turns::default(),
            sync_signal: Condvar::new(),
            completions: ArrayQueue::new(open_intents_max),
            asides: ArrayQueue::new(ASIDES_MAX),
            open_intents: AtomicU64::new(0),
            open_intents_max,
            accepting: AtomicBool::new(true),
            refusal: Mutex::new(String::new()),
            damaged,
            last_status: Mutex::new(None),
            low_space: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            poll_stop: Mutex::new(false),
            poll_signal: Condvar::new(),
            commit_max: Duration::from_millis(config.commit_ms_max.into()),
            mode: config.mode,
            node,
            digest_key,
            lock: Mutex::new(Some(lock)),
        }
    }
}

/// The append-only journal of this node. Dropping it closes it.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Option<threads::Threads>>,
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
        Self::open_on(Arc::new(Local), config, node, signing, now)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        config: JournalConfig,
        node: NodeId,
        signing: SigningKey,
        now: Timestamp,
    ) -> Result<(Self, Recovery), JournalError> {
        let lock = threads::hold(&config.dir)?;
        threads::mend_witness(&config.witness)?;
        let past = survey(&config.dir, &config.witness, node, &signing.verifying_key())?;
        let mut random = [0u8; 10];
        getrandom::fill(&mut random).map_err(|e| JournalError(format!("no random bytes: {e}")))?;
        let boot = *CallId::mint(now, random).as_uuid();
        let digest_key = signing.derive("wicket/arguments/v1");
        let fault = |error: &dyn fmt::Display| {
            let dir = config.dir.display();
            JournalError(format!("cannot write to {dir}: {error}; check its owner, mode and space"))
        };
        let mut writer = Writer::new(config.clone(), disk, node, boot, signing);
        writer.begin(&past, now).map_err(|error| fault(&error))?;
        end_open_calls(&mut writer, &past, now);
        writer.recovering = false;
        writer.checkpoint(EntryKind::Checkpoint, now);
        if config.mode == Durability::Durable {
            writer.put_everything(now).map_err(|error| fault(&error))?;
        }
        if writer.is_broken() {
            return Err(fault(&writer.last_error.unwrap_or_default()));
        }
        let recovery = past.recovery();
        recovery.tell();
        let shared = Shared::new(writer, &config, node, digest_key, lock, recovery.damaged.clone());
        let shared = Arc::new(shared);
        // From here on a witness without this boot's first checkpoint is one that lost it.
        threads::hand_over(&shared);
        let threads = threads::start(&shared).map_err(|error| fault(&error))?;
        Ok((Self { shared, threads: Mutex::new(Some(threads)) }, recovery))
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
        if let Some(receipt) = turn::receipt(shared, facts.call, &body).await {
            return Ok(receipt.recorded());
        }
        let written = shared.write(Some(facts.call), &body).await?;
        // From here on whoever drops this future leaves a completion behind: nothing was sent.
        let receipt = Receipt::pending(Arc::clone(shared), facts.call, written.seq());
        match shared.recorded(&written).await {
            Ok(()) => Ok(receipt.recorded()),
            Err(fault) => {
                if fault == NotSynced::Gone {
                    receipt.forget();
                }
                Err(shared.explain(fault))
            }
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

    /// Whether all sessions' checkpoints that were handed over are in the chain, so that more may come.
    pub fn takes_checkpoints(&self) -> bool {
        self.healthy() && self.shared.asides.is_empty()
    }

    /// Hands over a session's checkpoint; the journal's thread records it within a moment. Nobody waits
    /// for it. False where there was no room for all of it: [`Journal::takes_checkpoints`] tells before.
    pub fn session(&self, checkpoint: &SessionCheckpoint) -> bool {
        let bodies = checkpointed::bodies(checkpoint, self.shared.node);
        bodies.into_iter().all(|body| self.shared.asides.push(body).is_ok())
    }

    /// Whether calls can be recorded now.
    pub fn healthy(&self) -> bool {
        self.shared.accepting.load(Ordering::Acquire)
    }

    /// Writes what waits, signs a closing checkpoint and stops. Entries after it are refused; calls
    /// that are still open are completed as `unknown` at the next start. Blocks for a sync.
    pub fn close(&self) {
        if let Some(threads) = self.threads.lock().take() {
            threads::stop(&self.shared, threads);
        }
    }

    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.shared.writer.lock().is_full()
    }

    /// How the journal stands; while its disk does not answer, how it stood and that. Waits for at
    /// most a moment.
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

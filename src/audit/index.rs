//! From the journal to the store's table, for queries.
//!
//! The table is an index: filled behind the journal in batches, each with the place behind it in one
//! transaction, so that a stop at any point neither loses nor repeats a row; rebuilt by forgetting
//! the place. The store may be away: the journal goes on, the index catches up.

mod pace;
mod rows;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

pub use rows::{matches, write_of};

use self::pace::Pace;
use super::journal::JournalError;
use super::segment::SegmentNumber;
use super::tail::{Place, Reader};
use crate::model::CallId;
use crate::store::{AuditPosition, AuditWrite, Store};

/// Entries read and appended at once; large, because an intent and its completion in one batch are
/// one row written once.
const BATCH_ENTRIES_MAX: usize = 2_000;
/// How often the end of the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stop may be held up by what is not indexed yet; the next start goes on there.
const STOP_MAX: Duration = Duration::from_secs(2);
/// How often a store that is away is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How far the index has come since the start.
#[derive(Debug, Default)]
pub struct Indexed {
    seq: AtomicU64,
    /// How many batches were written; told to whoever shows calls as they come.
    batches: watch::Sender<u64>,
}

impl Indexed {
    /// The number of the last entry that was read; `None` before the first.
    pub fn seq(&self) -> Option<u64> {
        Some(self.seq.load(Ordering::Relaxed)).filter(|seq| *seq > 0)
    }

    /// Tells of each batch behind it.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.batches.subscribe()
    }

    fn come_to(&self, seq: u64) {
        self.seq.fetch_max(seq, Ordering::Relaxed);
        self.batches.send_modify(|batches| *batches += 1);
    }
}

/// Follows the journal into the store until `stop` turns true, then for two seconds at most to the
/// journal's end.
pub async fn run(dir: PathBuf, node: Uuid, store: Store, indexed: &Indexed, mut stop: watch::Receiver<bool>) {
    let mut failing = false;
    let mut pace = Pace::default();
    loop {
        let begun = Instant::now();
        let wait = match follow(&dir, node, &store, indexed).await {
            Ok(more) => {
                failing = false;
                if more { pace.rest(&dir, begun) } else { LOOK_EVERY }
            }
            Err(reason) => {
                if !failing {
                    tracing::warn!(reason, "the audit index falls behind; the journal is complete");
                }
                failing = true;
                RETRY_EVERY
            }
        };
        // A dropped sender asks to stop as well.
        if tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await.is_ok() {
            let last = tokio::time::timeout(STOP_MAX, catch_up(&dir, node, &store)).await;
            if !matches!(last, Ok(Ok(_))) {
                tracing::info!("the audit index is behind; the next start goes on there");
            }
            return;
        }
    }
}

/// Forgets the node's rows and indexes its journal from the beginning. Returns the entries read.
///
/// # Errors
/// A sentence that says what could not be read or written.
pub async fn rebuild(dir: &Path, node: Uuid, store: &Store) -> Result<u64, String> {
    store.audit().clear(node).await.map_err(|e| e.to_string())?;
    catch_up(dir, node, store).await
}

/// Indexes what is new. Returns the entries read.
///
/// # Errors
/// A sentence that says what could not be read or written.
pub async fn catch_up(dir: &Path, node: Uuid, store: &Store) -> Result<u64, String> {
    let mut place = position(node, store).await?;
    let mut entries = 0u64;
    while let Some(batch) = index_batch(dir, node, store, place).await? {
        entries = entries.saturating_add(batch.entries);
        place = batch.place;
    }
    Ok(entries)
}

/// Indexes one batch of what is new; whether there may be more.
async fn follow(dir: &Path, node: Uuid, store: &Store, indexed: &Indexed) -> Result<bool, String> {
    let place = position(node, store).await?;
    let batch = index_batch(dir, node, store, place).await?;
    if let Some(batch) = &batch {
        indexed.come_to(batch.last_seq);
    }
    Ok(batch.is_some_and(|batch| batch.entries >= BATCH_ENTRIES_MAX as u64))
}

/// Reads and appends what comes next; `None` at the end of the journal.
async fn index_batch(dir: &Path, node: Uuid, store: &Store, place: Place) -> Result<Option<Batch>, String> {
    let dir = dir.to_owned();
    let read = tokio::task::spawn_blocking(move || read_batch(&dir, place)).await;
    let batch = read.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    if batch.place == place {
        return Ok(None);
    }
    let position =
        AuditPosition { segment: SegmentNumber(batch.place.segment).file_name(), offset: batch.place.offset };
    store.audit().append(node, &batch.writes, &position).await.map_err(|e| e.to_string())?;
    Ok(Some(batch))
}

async fn position(node: Uuid, store: &Store) -> Result<Place, String> {
    Ok(place_of(store.audit().position(node).await.map_err(|e| e.to_string())?))
}

fn place_of(position: Option<AuditPosition>) -> Place {
    position
        .and_then(|p| Some(Place { segment: SegmentNumber::parse(&p.segment)?.0, offset: p.offset }))
        .unwrap_or_default()
}

struct Batch {
    writes: Vec<AuditWrite>,
    /// Where the row of each call of this batch stands in `writes`.
    calls: HashMap<CallId, usize>,
    entries: u64,
    /// The number of the last entry read.
    last_seq: u64,
    place: Place,
}

impl Batch {
    /// A completion whose intent is in the batch too is written with it.
    fn add(&mut self, write: AuditWrite) {
        match &write {
            AuditWrite::Entry(row) if row.allowed => {
                self.calls.insert(row.call, self.writes.len());
            }
            AuditWrite::Entry(_) | AuditWrite::Change(_) => {}
            AuditWrite::Completion { call, outcome } => {
                let row = self.calls.get(call).and_then(|at| self.writes.get_mut(*at));
                if let Some(AuditWrite::Entry(row)) = row {
                    // As in the store: the first completion of a call stands.
                    row.outcome.get_or_insert(*outcome);
                    return;
                }
            }
        }
        self.writes.push(write);
    }
}

fn read_batch(dir: &Path, from: Place) -> Result<Batch, JournalError> {
    let mut reader = Reader::at(dir, from);
    let mut batch = Batch { writes: Vec::new(), calls: HashMap::new(), entries: 0, last_seq: 0, place: from };
    while batch.entries < BATCH_ENTRIES_MAX as u64 {
        let before = reader.place();
        match reader.read() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                batch.last_seq = entry.seq;
                match write_of(&entry) {
                    Ok(write) => write.into_iter().for_each(|write| batch.add(write)),
                    Err(reason) => {
                        tracing::error!(segment = entry.segment, seq = entry.seq, reason, "not indexed")
                    }
                }
            }
            // The reader has passed over a line that is no entry: `verify` says what it is.
            Err(error) if reader.place() != before => tracing::error!(%error, "not indexed"),
            Err(error) => return Err(error),
        }
        batch.entries = batch.entries.saturating_add(1);
        batch.place = reader.place();
    }
    Ok(batch)
}

#[cfg(test)]
mod tests;

//! From the journal to the store's table, for queries.
//!
//! The table is an index: filled behind the journal in batches, each with the place behind it in one
//! transaction, so that a stop at any point neither loses nor repeats a row; rebuilt by forgetting
//! the place. The store may be away: the journal goes on, the index catches up.

mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

pub use rows::{matches, write_of};

use super::journal::JournalError;
use super::segment::SegmentNumber;
use super::tail::{Place, Reader};
use crate::store::{AuditPosition, AuditWrite, Store};

/// Entries read and appended at once.
const BATCH_ENTRIES_MAX: usize = 1_000;
/// How often the end of the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a store that is away is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Follows the journal into the store until `stop` turns true, then once more to the journal's end.
pub async fn run(dir: PathBuf, node: Uuid, store: Store, mut stop: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let stopping = *stop.borrow();
        let wait = match catch_up(&dir, node, &store).await {
            Ok(_) => {
                failing = false;
                LOOK_EVERY
            }
            Err(reason) => {
                if !failing {
                    tracing::warn!(reason, "the audit index falls behind; the journal is complete");
                }
                failing = true;
                RETRY_EVERY
            }
        };
        if stopping {
            return;
        }
        // A dropped sender asks to stop as well.
        let asked = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
        if matches!(asked, Ok(Err(_))) {
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
    let position = store.audit().position(node).await.map_err(|e| e.to_string())?;
    let mut place = place_of(position);
    let mut entries = 0u64;
    loop {
        let dir = dir.to_owned();
        let read = tokio::task::spawn_blocking(move || read_batch(&dir, place)).await;
        let batch = read.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        if batch.place == place {
            return Ok(entries);
        }
        let position = AuditPosition {
            segment: SegmentNumber(batch.place.segment).file_name(),
            offset: batch.place.offset,
        };
        store.audit().append(node, &batch.writes, &position).await.map_err(|e| e.to_string())?;
        entries = entries.saturating_add(batch.entries);
        place = batch.place;
    }
}

fn place_of(position: Option<AuditPosition>) -> Place {
    position
        .and_then(|p| Some(Place { segment: SegmentNumber::parse(&p.segment)?.0, offset: p.offset }))
        .unwrap_or_default()
}

struct Batch {
    writes: Vec<AuditWrite>,
    entries: u64,
    place: Place,
}

fn read_batch(dir: &Path, from: Place) -> Result<Batch, JournalError> {
    let mut reader = Reader::at(dir, from);
    let mut batch = Batch { writes: Vec::new(), entries: 0, place: from };
    while batch.entries < BATCH_ENTRIES_MAX as u64 {
        let before = reader.place();
        match reader.read() {
            Ok(None) => break,
            Ok(Some(entry)) => match write_of(&entry) {
                Ok(write) => batch.writes.extend(write),
                Err(reason) => {
                    tracing::error!(segment = entry.segment, seq = entry.seq, reason, "not indexed")
                }
            },
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

//! Dropping the oldest segments, so that the journal can still prove the rest and say what went.
//!
//! Invariants: only whole segments go, the oldest first, never the one being written, one with a call
//! that has not ended, one that is not in the index, or one that does not prove: that is evidence.
//! Before a file goes, what proves it is in [`KEPT_FILE`], and an entry that names both stands in the
//! journal under a signature, all of it synced. A kill at any point leaves files that were named and are
//! still there, which the next round takes; never a file that went unnamed.

mod kept;
mod select;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::ChainHash;
use super::journal::Journal;
use super::segment::SegmentNumber;
use crate::model::Timestamp;
use crate::store::Store;

pub(super) use kept::read as read_kept;
pub use kept::{KEPT_FILE, Kept};

/// Segments dropped with one entry; more go in the next round.
const SEGMENTS_MAX: usize = 64;

/// When segments are dropped. 0 means never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Segments whose last entry is older than so many days.
    pub days_max: u32,
    /// The oldest ones, as long as all together hold more bytes than this.
    pub bytes_max: u64,
}

/// Why segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionReason {
    Age,
    Bytes,
}

impl RetentionReason {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
        }
    }
}

/// The entry that names what goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetentionEntry {
    pub timestamp: Timestamp,
    pub node: Uuid,
    pub reason: RetentionReason,
    pub first_segment: String,
    pub last_segment: String,
    pub segments: u64,
    pub entries: u64,
    pub bytes: u64,
    /// The last dropped entry, and the chain value behind it: where the rest begins.
    pub last_seq: u64,
    pub last_chain: ChainHash,
    /// So many bytes of the file of what is kept have this digest.
    pub kept_bytes: u64,
    pub kept_sha256: String,
}

/// What was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub segments: u64,
    pub entries: u64,
    pub bytes: u64,
    pub first_segment: String,
    pub last_segment: String,
    pub reason: RetentionReason,
}

/// How the journal stands, as far as retention must know.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub dir: PathBuf,
    pub current: SegmentNumber,
    /// Segments before this entry's have no open call.
    pub oldest_open: Option<u64>,
    pub bytes: u64,
}

/// Drops what may and should go, once.
///
/// # Errors
/// A sentence that says what is in the way; nothing went then that was not named before.
pub async fn retain(
    journal: &Journal,
    store: &Store,
    limits: RetentionLimits,
    now: Timestamp,
) -> Result<Option<Dropped>, String> {
    if limits == RetentionLimits::default() {
        return Ok(None);
    }
    let node = journal.node();
    let position = store.audit().position(node).await.map_err(|error| error.to_string())?;
    let indexed = position.and_then(|position| SegmentNumber::parse(&position.segment));
    let Some(standing) = journal.standing() else { return Err("the journal does not answer".to_owned()) };
    let dir = standing.dir.clone();
    let before = SegmentNumber(indexed.map_or(0, |number| number.0).min(standing.current.0));
    let chosen = blocking(move || select::select(&standing, before, limits, now)).await?;
    let (Some(first), Some(last)) = (chosen.segments.first(), chosen.segments.last()) else {
        return Ok(None);
    };
    let (first, last) = (first.clone(), last.clone());
    let sum = |of: fn(&Kept) -> u64| chosen.segments.iter().map(of).fold(0, u64::saturating_add);
    let dropped = Dropped {
        segments: chosen.segments.len() as u64,
        entries: sum(|one| one.entries),
        bytes: sum(|one| one.bytes),
        first_segment: first.segment.clone(),
        last_segment: last.segment.clone(),
        reason: chosen.reason,
    };
    let (keep_in, segments) = (dir.clone(), chosen.segments);
    let (segments, kept) = blocking(move || {
        let kept = kept::append(&keep_in, &segments).map_err(|error| error.to_string())?;
        Ok((segments, kept))
    })
    .await?;
    let entry = RetentionEntry {
        timestamp: now,
        node,
        reason: dropped.reason,
        first_segment: dropped.first_segment.clone(),
        last_segment: dropped.last_segment.clone(),
        segments: dropped.segments,
        entries: dropped.entries,
        bytes: dropped.bytes,
        last_seq: last.last_seq,
        last_chain: last.chain,
        kept_bytes: kept.bytes,
        kept_sha256: kept.sha256,
    };
    journal.retention(&entry).await.map_err(|error| error.to_string())?;
    let (removed, files) = blocking(move || Ok(remove(&dir, &segments))).await?;
    journal.dropped(removed, files);
    let upto = SegmentNumber::parse(&last.segment).map_or(0, |number| number.0);
    if let Err(error) = store.audit().forget(node, upto).await {
        tracing::warn!(%error, "rows of dropped segments stay in the index until the next round");
    }
    Ok(Some(dropped))
}

/// Removes the files, oldest first, up to the first that cannot be. Says how many bytes and files went.
fn remove(dir: &Path, segments: &[Kept]) -> (u64, u64) {
    let (mut bytes, mut files) = (0u64, 0u64);
    for one in segments {
        if let Err(error) = std::fs::remove_file(dir.join(&one.segment)) {
            tracing::warn!(segment = one.segment, %error, "a segment is to be dropped and cannot be removed");
            break;
        }
        bytes = bytes.saturating_add(one.bytes);
        files = files.saturating_add(1);
    }
    (bytes, files)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests;

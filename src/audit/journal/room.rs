//! Making room: the journal's side of retention.

use std::time::Duration;

use tokio::time::Instant;

use super::{CannotRecord, Journal, NodeId};
use crate::audit::chain::EntryKind;
use crate::audit::retention::{RetentionEntry, Standing};
use crate::audit::writer::{Room, with_type};
use crate::model::Timestamp;

/// Retention waits at most so long for the lock and for the disk; then it tries again in its next round.
const LOCK_WAIT: Duration = Duration::from_millis(100);
const SYNC_WAIT: Duration = Duration::from_secs(20);

impl Journal {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Where the journal stands; `None` while it does not answer or is broken.
    pub(in crate::audit) fn standing(&self) -> Option<Standing> {
        let writer = self.shared.writer.try_lock_for(LOCK_WAIT)?;
        let current = writer.current().filter(|_| !writer.is_broken())?.number;
        let (dir, oldest_open, bytes) = (writer.config.dir.clone(), writer.oldest_open(), writer.bytes());
        Some(Standing { dir, current, oldest_open, bytes })
    }

    /// Records what is about to be dropped, signs it, and waits until both are synced, in either mode.
    /// There is room for this at the cap, since it makes room.
    pub(in crate::audit) async fn retention(&self, entry: &RetentionEntry) -> Result<(), CannotRecord> {
        let shared = &self.shared;
        let written = {
            let locked = shared.writer.try_lock_for(LOCK_WAIT);
            let mut writer = locked.ok_or_else(|| CannotRecord("the disk does not answer".to_owned()))?;
            let (body, now) = (with_type(EntryKind::Retention, entry), Timestamp::now());
            writer.append(&body, Room::Always, now).map_err(CannotRecord)?;
            writer.checkpoint(EntryKind::Checkpoint, now);
            shared.ask_for_sync(&mut writer);
            shared.written(&writer, Instant::now() + SYNC_WAIT)
        };
        shared.synced(&written).await.map_err(|fault| shared.explain(fault))
    }

    /// So many bytes and segments are gone.
    pub(in crate::audit) fn dropped(&self, bytes: u64, segments: u64) {
        let mut writer = self.shared.writer.lock();
        writer.older_bytes = writer.older_bytes.saturating_sub(bytes);
        writer.older_segments = writer.older_segments.saturating_sub(segments);
    }
}

//! How the journal stands, asked by people and by metrics: answered also while its disk hangs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use crate::audit::journal::JournalStatus;
use crate::audit::writer::Writer;

/// Share of the cap, in percent, from which the status alarms.
const ALARM_PERCENT: u64 = 80;
/// Whoever asks waits at most so long for the lock.
const LOCK_WAIT: Duration = Duration::from_millis(50);

pub(in crate::audit::journal) fn status(shared: &Shared) -> JournalStatus {
    let mut last = shared.last_status.lock();
    if let Some(writer) = shared.writer.try_lock_for(LOCK_WAIT) {
        let now = status_of(&writer, shared);
        drop(writer);
        *last = Some(now.clone());
        return now;
    }
    let known = last.clone().unwrap_or_else(|| JournalStatus::unknown(shared.mode));
    let alarm = Some("its disk does not answer: these are the figures from before".to_owned());
    JournalStatus { healthy: shared.accepting.load(Ordering::Acquire), alarm, ..known }
}

fn status_of(writer: &Writer, shared: &Shared) -> JournalStatus {
    let (bytes, bytes_max) = (writer.bytes(), writer.config.journal_bytes_max);
    let alarm = if !shared.accepting.load(Ordering::Acquire) {
        Some(shared.refusal.lock().clone())
    } else if bytes >= bytes_max / 100 * ALARM_PERCENT {
        Some(format!("{bytes} of {bytes_max} bytes are used; at the cap calls are refused"))
    } else {
        None
    };
    JournalStatus {
        healthy: shared.accepting.load(Ordering::Acquire),
        mode: shared.mode,
        entries: writer.at.boot_entries,
        last_seq: writer.at.seq,
        head: writer.at.head.to_string(),
        segment: writer.current().map(|current| current.number.file_name()).unwrap_or_default(),
        segments: writer.segments(),
        bytes,
        bytes_max,
        alarm,
        damaged: shared.damaged.clone(),
        last_checkpoint: writer.last_checkpoint,
        open_intents: shared.open_intents.load(Ordering::Relaxed),
        last_error: writer.last_error.clone(),
    }
}

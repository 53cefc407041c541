//! Handing the signed checkpoints to the witness, which must never know more than the journal's disk.
//!
//! A thread of its own, since the witness should lie on another disk, and that may hang or be away: the
//! journal goes on, and checkpoints wait for it, a bounded number. In mode `process` it is this thread
//! that syncs the journal, so that completions do not wait for that either.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Durability, JournalError, Shared, publish};
use crate::audit::disk::Segment;

/// How often it is looked whether there is something to hand over.
const LOOK: Duration = Duration::from_millis(100);

/// Cuts a witness back to its last whole line: what a crash left behind it stands in the journal.
pub(in crate::audit::journal) fn mend_witness(path: &Path) -> Result<(), JournalError> {
    let mend = || -> io::Result<()> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
        }
        Ok(())
    };
    mend().map_err(|error| JournalError(format!("cannot read the witness {}: {error}", path.display())))
}

/// Until the journal is stopped.
pub(super) fn run(shared: &Shared) {
    loop {
        let mut stop = shared.poll_stop.lock();
        if !*stop {
            shared.poll_signal.wait_for(&mut stop, LOOK);
        }
        if *stop {
            return;
        }
        drop(stop);
        hand_over(shared);
    }
}

/// Hands over the checkpoints that are synced.
pub(in crate::audit::journal) fn hand_over(shared: &Shared) {
    if shared.mode == Durability::Process && !sync_in_process_mode(shared) {
        return;
    }
    let mut writer = shared.writer.lock();
    if !writer.left_behind.is_empty() {
        return;
    }
    let synced = writer.synced.seq;
    let ready = writer.witness_lines.iter().take_while(|(seq, _)| *seq <= synced).count();
    if ready == 0 {
        return;
    }
    let lines: Vec<(u64, Vec<u8>)> = writer.witness_lines.drain(..ready).collect();
    let path = writer.config.witness.clone();
    drop(writer);
    let bytes: Vec<u8> = lines.iter().flat_map(|(_, line)| line.iter().copied()).collect();
    if let Err(error) = append(&path, &bytes) {
        let mut writer = shared.writer.lock();
        writer.last_error = Some(format!("cannot write the witness {}: {error}", path.display()));
        for line in lines.into_iter().rev() {
            writer.witness_lines.push_front(line);
        }
    }
}

/// In mode `process` nothing but a checkpoint asks for a sync, about once a second. False where the
/// witness must wait.
fn sync_in_process_mode(shared: &Shared) -> bool {
    let writer = shared.writer.lock();
    if writer.closed {
        return true;
    }
    if writer.witness_lines.is_empty() || writer.is_broken() {
        return false;
    }
    let Some(current) = writer.current().map(Arc::clone) else { return false };
    let left: Vec<Arc<Segment>> = writer.left_behind.clone();
    let (position, disk) = (writer.at, Arc::clone(&writer.disk));
    drop(writer);
    let synced = left.iter().chain([&current]).try_for_each(|segment| disk.sync(&segment.file));
    let mut writer = shared.writer.lock();
    // Synced or not, they are not asked again: after a failed sync nobody knows what the disk holds.
    writer.left_behind.retain(|segment| !left.iter().any(|one| Arc::ptr_eq(one, segment)));
    if let Err(error) = synced {
        writer.witness_lines.retain(|(seq, _)| *seq > position.seq);
        writer.sync_failed(&error.to_string());
        shared.refuse(writer.last_error.as_deref().unwrap_or_default());
        return false;
    }
    writer.sync_succeeded(position);
    publish(&writer, shared);
    true
}

/// Whole lines or nothing: a short write is cut back, so that the next try starts a line.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        file.set_len(before)?;
    }
    written
}

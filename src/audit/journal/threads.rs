//! What the journal does beside its callers: group commit, completions, checkpoints, repair.
//!
//! The sync thread runs `fdatasync` as soon as the previous one has ended and somebody waits. The
//! journal's thread wakes by the clock: it writes completions, signs checkpoints, hands them to the
//! witness once they are synced, and after a failure tries to begin a new segment. If either thread
//! ends before its time, calls are refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Durability, JournalError, JournalStatus, Progress, Shared};
use crate::audit::chain::EntryKind;
use crate::audit::writer::Writer;
use crate::model::Timestamp;

/// How often the journal's thread looks.
const POLL: Duration = Duration::from_millis(25);
/// How often a broken journal is tried.
const MEND_EVERY: Duration = Duration::from_millis(250);
/// How often free space is measured.
const SPACE_EVERY: Duration = Duration::from_secs(1);
/// Completions written with one `write(2)`.
const BATCH_MAX: usize = 256;

/// Creates the directory, private to this user, and holds it against a second gate.
pub(super) fn hold(dir: &Path) -> Result<File, JournalError> {
    let fault = |error: &dyn std::fmt::Display| {
        JournalError(format!("cannot use {} for the journal: {error}", dir.display()))
    };
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir).map_err(|e| fault(&e))?;
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.create(true).append(true).open(dir.join("lock")).map_err(|e| fault(&e))?;
    file.try_lock().map_err(|_| fault(&"another gate writes to it; stop that one first"))?;
    Ok(file)
}

/// Cuts a witness back to its last whole line: what a crash left behind it stands in the journal.
pub(super) fn mend_witness(path: &Path) -> Result<(), JournalError> {
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

/// Starts the journal's threads.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |name: &str, run: fn(&Shared)| {
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let watch = RefuseWhenDropped(Arc::clone(&shared));
            run(&shared);
            drop(watch);
        })
    };
    let mut threads = vec![spawn("journal", poll)?];
    if shared.mode == Durability::Durable {
        threads.push(spawn("journal-sync", sync)?);
    }
    Ok(threads)
}

/// A thread that ends takes the journal with it.
struct RefuseWhenDropped(Arc<Shared>);

impl Drop for RefuseWhenDropped {
    fn drop(&mut self) {
        self.0.dead.store(true, Ordering::Release);
        if !*self.0.poll_stop.lock() {
            self.0.refuse("a thread of the journal has ended; restart the gate");
        }
    }
}

/// Ends the threads, writes what waits and closes the chain.
pub(super) fn stop(shared: &Shared, threads: Vec<JoinHandle<()>>) {
    *shared.poll_stop.lock() = true;
    shared.accepting.store(false, Ordering::Release);
    "the gate is stopping".clone_into(&mut shared.refusal.lock());
    shared.poll_signal.notify_all();
    shared.writer.lock().sync_stop = true;
    shared.sync_signal.notify_all();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the journal panicked");
        }
    }
    drain(shared);
    let mut writer = shared.writer.lock();
    writer.checkpoint(EntryKind::Close, Timestamp::now());
    writer.closed = true;
    let synced = sync_files(&writer);
    settle(&mut writer, shared, synced);
    drop(writer);
    witness(shared);
    drop(shared.lock.lock().take());
}

fn sync_files(writer: &Writer) -> io::Result<()> {
    writer.left_behind.iter().try_for_each(|file| file.sync_data())?;
    writer.current().map_or(Ok(()), |current| current.file.sync_data())
}

fn settle(writer: &mut Writer, shared: &Shared, synced: io::Result<()>) {
    match synced {
        Ok(()) => {
            writer.left_behind.clear();
            let at = writer.at;
            writer.sync_succeeded(at);
        }
        Err(error) => {
            writer.sync_failed(&error.to_string());
            shared.refuse(writer.last_error.as_deref().unwrap_or_default());
        }
    }
    publish(writer, shared);
}

fn publish(writer: &Writer, shared: &Shared) {
    let (synced, epoch) = (writer.synced.seq, writer.epoch);
    shared.progress.send_modify(|p: &mut Progress| {
        if p.epoch != epoch {
            p.kept = synced;
        }
        p.synced = synced;
        p.epoch = epoch;
    });
}

/// The sync thread of mode `durable`.
fn sync(shared: &Shared) {
    loop {
        let mut writer = shared.writer.lock();
        while !writer.sync_wanted || writer.at.seq <= writer.synced.seq {
            if writer.sync_stop {
                return;
            }
            shared.sync_signal.wait_for(&mut writer, Duration::from_millis(500));
        }
        writer.sync_wanted = false;
        let Some(file) = writer.current().map(|current| Arc::clone(&current.file)) else { continue };
        let position = writer.at;
        writer.sync_started = Some(Instant::now());
        drop(writer);

        let synced = file.sync_data();

        let mut writer = shared.writer.lock();
        writer.sync_started = None;
        match synced {
            Ok(()) => {
                writer.sync_succeeded(position);
                publish(&writer, shared);
                roll(&mut writer, shared);
            }
            Err(error) => {
                writer.sync_failed(&error.to_string());
                shared.refuse(writer.last_error.as_deref().unwrap_or_default());
                publish(&writer, shared);
            }
        }
    }
}

/// Rolls a full segment under the lock, with everything in it synced: entries that could still be
/// cut are in the current segment only.
fn roll(writer: &mut Writer, shared: &Shared) {
    if writer.is_broken() || writer.at.bytes < writer.config.segment_bytes_max {
        return;
    }
    writer.checkpoint(EntryKind::Checkpoint, Timestamp::now());
    let synced = sync_files(writer);
    settle(writer, shared, synced);
    writer.roll_if_full(Timestamp::now());
    publish(writer, shared);
}

/// The journal's own thread.
fn poll(shared: &Shared) {
    let mut last_checkpoint = Instant::now();
    let mut last_mend = Instant::now();
    let mut last_space: Option<Instant> = None;
    loop {
        let mut stop = shared.poll_stop.lock();
        if !*stop {
            shared.poll_signal.wait_for(&mut stop, POLL);
        }
        if *stop {
            return;
        }
        drop(stop);
        if last_space.is_none_or(|at| at.elapsed() >= SPACE_EVERY) {
            measure_space(shared);
            last_space = Some(Instant::now());
        }
        if shared.writer.lock().is_broken() {
            if last_mend.elapsed() >= MEND_EVERY {
                last_mend = Instant::now();
                mend(shared);
            }
            continue;
        }
        drain(shared);
        let every = Duration::from_millis(shared.writer.lock().config.checkpoint_ms_max.into());
        if last_checkpoint.elapsed() >= every {
            last_checkpoint = Instant::now();
            checkpoint(shared);
        }
        witness(shared);
        reconsider(shared);
    }
}

fn drain(shared: &Shared) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // At most one queueful, so that a steady stream cannot keep this thread from its other work.
    for _ in 0..=shared.completions.capacity() / BATCH_MAX {
        batch.extend(std::iter::from_fn(|| shared.completions.pop()).take(BATCH_MAX));
        if batch.is_empty() {
            return;
        }
        shared.writer.lock().append_completions(&batch, Timestamp::now());
        batch.clear();
    }
}

fn checkpoint(shared: &Shared) {
    let mut writer = shared.writer.lock();
    if writer.entries_since_checkpoint > 0 {
        writer.checkpoint(EntryKind::Checkpoint, Timestamp::now());
        writer.sync_wanted = true;
        shared.sync_signal.notify_one();
    }
}

/// Hands the witness the checkpoints that are synced: it must never know more than the journal.
fn witness(shared: &Shared) {
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
    if let Err(error) = append_to_witness(&path, &bytes) {
        let mut writer = shared.writer.lock();
        writer.last_error = Some(format!("cannot write the witness {}: {error}", path.display()));
        for line in lines.into_iter().rev() {
            writer.witness_lines.push_front(line);
        }
    }
}

/// In mode `process` nothing but a checkpoint asks for a sync, about once a second.
fn sync_in_process_mode(shared: &Shared) -> bool {
    let writer = shared.writer.lock();
    if writer.witness_lines.is_empty() || writer.is_broken() {
        return false;
    }
    let Some(file) = writer.current().map(|current| Arc::clone(&current.file)) else { return false };
    let left: Vec<Arc<File>> = writer.left_behind.clone();
    let position = writer.at;
    drop(writer);
    let synced = left.iter().chain([&file]).try_for_each(|file| file.sync_data());
    let mut writer = shared.writer.lock();
    match synced {
        Ok(()) => {
            writer.left_behind.drain(..left.len());
            writer.sync_succeeded(position);
            true
        }
        Err(error) => {
            writer.sync_failed(&error.to_string());
            shared.refuse(writer.last_error.as_deref().unwrap_or_default());
            false
        }
    }
}

/// Whole lines or nothing: a short write is cut back, so that the next try starts a line.
fn append_to_witness(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

fn mend(shared: &Shared) {
    let mut writer = shared.writer.lock();
    // Completions ask for no sync of their own; what was written before the fault must not wait for
    // an intent that nobody may record.
    if writer.synced.seq < writer.at.seq {
        writer.sync_wanted = true;
        shared.sync_signal.notify_one();
    }
    match writer.mend(Timestamp::now()) {
        Ok(()) => publish(&writer, shared),
        Err(reason) => {
            let first = writer.last_error.clone().unwrap_or_default();
            drop(writer);
            shared.refuse(&format!("{first} ({reason})"));
            return;
        }
    }
    drop(writer);
    reconsider(shared);
}

fn measure_space(shared: &Shared) {
    let (dir, least) = {
        let writer = shared.writer.lock();
        (writer.config.dir.clone(), writer.config.free_bytes_min)
    };
    let free = rustix::fs::statvfs(&dir).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    // A directory that cannot be measured shows when it is written to.
    shared.low_space.store(free.is_ok_and(|free| free < least), Ordering::Release);
}

/// Opens or closes the gate for new entries by what is known now.
fn reconsider(shared: &Shared) {
    let writer = shared.writer.lock();
    if writer.is_broken() || writer.closed {
        return;
    }
    let (bytes, bytes_max) = (writer.bytes(), writer.config.journal_bytes_max);
    let least = writer.config.free_bytes_min;
    drop(writer);
    if shared.low_space.load(Ordering::Acquire) {
        shared.refuse(&format!("less than {least} bytes are free on its disk; free some"));
    } else if bytes >= bytes_max {
        shared.refuse(&format!(
            "it holds {bytes} bytes of at most {bytes_max}; archive old segments or raise `journal_bytes_max`"
        ));
    } else {
        shared.accept();
    }
}

/// Share of the cap, in percent, from which the status alarms.
const ALARM_PERCENT: u64 = 80;

pub(super) fn status(shared: &Shared) -> JournalStatus {
    let writer = shared.writer.lock();
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
        bytes,
        bytes_max,
        alarm,
        last_checkpoint: writer.last_checkpoint,
        open_intents: shared.open_intents.load(Ordering::Relaxed),
        last_error: writer.last_error.clone(),
    }
}

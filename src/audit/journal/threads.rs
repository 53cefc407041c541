//! What the journal does beside its callers: completions, checkpoints, segments, repair.
//!
//! The journal's thread wakes by the clock: it hands on completions, signs checkpoints, makes the next
//! segment ahead and begins it, and after a failure tries to begin a new one. In mode `durable` the sync
//! thread ([`sync`]) writes and syncs groups as soon as the previous one has ended and somebody waits.
//! The witness has a thread of its own ([`witness`]): another disk may hang by itself. If one of the
//! first two ends before its time, calls are refused.

mod status;
mod sync;
mod witness;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Durability, JournalError, Progress, Shared};
use crate::audit::chain::EntryKind;
use crate::audit::writer::{Room, Writer, at_cap, mend, prepare_next};
use crate::model::Timestamp;

pub(super) use status::status;
pub(super) use witness::{hand_over, mend_witness};

/// How often the journal's thread looks.
const POLL: Duration = Duration::from_millis(25);
/// How often a broken journal is tried, and a segment that could not be made ahead.
const MEND_EVERY: Duration = Duration::from_millis(250);
/// How often free space is measured.
const SPACE_EVERY: Duration = Duration::from_secs(1);
/// A witness that hangs is not waited for longer than this at a stop.
const WITNESS_END: Duration = Duration::from_secs(2);

/// The journal's threads while it is open.
pub(super) struct Threads {
    /// Those without which nothing is recorded.
    needed: Vec<JoinHandle<()>>,
    /// Disconnected once the witness's thread has ended; nothing is ever sent.
    witness: Receiver<()>,
}

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

/// Starts the journal's threads.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Threads> {
    let spawn = |name: &str, run: fn(&Shared)| {
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let watch = RefuseWhenDropped(Arc::clone(&shared));
            run(&shared);
            drop(watch);
        })
    };
    let mut needed = vec![spawn("journal", poll)?];
    if shared.mode == Durability::Durable {
        needed.push(spawn("journal-sync", sync::run)?);
    }
    let (runs, witness) = std::sync::mpsc::sync_channel(1);
    let witnessed = Arc::clone(shared);
    std::thread::Builder::new().name("journal-witness".to_owned()).spawn(move || {
        witness::run(&witnessed);
        drop(runs);
    })?;
    Ok(Threads { needed, witness })
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
pub(super) fn stop(shared: &Shared, threads: Threads) {
    *shared.poll_stop.lock() = true;
    shared.accepting.store(false, Ordering::Release);
    "the gate is stopping".clone_into(&mut shared.refusal.lock());
    shared.poll_signal.notify_all();
    shared.writer.lock().sync_stop = true;
    shared.sync_signal.notify_all();
    for thread in threads.needed {
        if thread.join().is_err() {
            tracing::error!("a thread of the journal panicked");
        }
    }
    // It ends by dropping its half.
    let witness_ended = threads.witness.recv_timeout(WITNESS_END) == Err(RecvTimeoutError::Disconnected);
    drain(shared);
    let mut writer = shared.writer.lock();
    writer.checkpoint(EntryKind::Close, Timestamp::now());
    writer.closed = true;
    writer.discard_spare();
    let synced = match shared.mode {
        Durability::Durable => writer.put_everything(Timestamp::now()),
        Durability::Process => sync_all(&mut writer),
    };
    if let Err(reason) = synced {
        tracing::error!(reason, "the journal's end is not synced");
    }
    publish(&writer, shared);
    drop(writer);
    if witness_ended {
        hand_over(shared);
    } else {
        tracing::error!("the witness does not answer: it lacks the last checkpoints");
    }
    drop(shared.lock.lock().take());
}

/// At the stop of mode `process`.
fn sync_all(writer: &mut Writer) -> Result<(), String> {
    let disk = Arc::clone(&writer.disk);
    let mut files = writer.left_behind.iter().chain(writer.current());
    if let Err(error) = files.try_for_each(|segment| disk.sync(&segment.file)) {
        writer.sync_failed(&error.to_string());
        return Err(error.to_string());
    }
    writer.left_behind.clear();
    let at = writer.at;
    writer.sync_succeeded(at);
    Ok(())
}

/// Tells those who wait how far the disk is.
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

/// The journal's own thread.
fn poll(shared: &Shared) {
    let mut last_checkpoint = Instant::now();
    let mut last_mend: Option<Instant> = None;
    let mut last_space: Option<Instant> = None;
    let due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
    loop {
        let mut stop = shared.poll_stop.lock();
        if !*stop {
            shared.poll_signal.wait_for(&mut stop, POLL);
        }
        if *stop {
            return;
        }
        drop(stop);
        if due(last_space, SPACE_EVERY) {
            measure_space(shared);
            last_space = Some(Instant::now());
        }
        if shared.writer.lock().is_broken() {
            if due(last_mend, MEND_EVERY) {
                last_mend = Some(Instant::now());
                try_to_mend(shared);
            }
            continue;
        }
        drain(shared);
        let every = Duration::from_millis(shared.writer.lock().config.checkpoint_ms_max.into());
        if last_checkpoint.elapsed() >= every {
            last_checkpoint = Instant::now();
            checkpoint(shared);
        }
        if shared.writer.lock().wants_spare() && due(last_mend, MEND_EVERY) {
            prepare(shared, &mut last_mend);
            shared.writer.lock().spare_asked = false;
        }
        turn(shared);
        reconsider(shared);
    }
}

/// Hands on what waits: ends of calls, and what nobody waits for. At most a queueful of each, so that
/// a steady stream cannot keep this thread from its other work.
fn drain(shared: &Shared) {
    for _ in 0..=shared.completions.capacity() / super::record::BATCH_MAX {
        if !shared.end_some(&mut shared.writer.lock(), Timestamp::now()) {
            break;
        }
    }
    for _ in 0..shared.asides.capacity() {
        let Some(body) = shared.asides.pop() else { break };
        let recorded = shared.writer.lock().append(&body, Room::Needed, Timestamp::now());
        if let Err(reason) = recorded {
            // The next one of its session says the same and more.
            tracing::warn!(reason, "a session's checkpoint is not recorded");
        }
    }
    let mut writer = shared.writer.lock();
    if writer.has_pending() {
        writer.write_wanted = true;
        shared.sync_signal.notify_one();
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

fn prepare(shared: &Shared, last_try: &mut Option<Instant>) {
    if let Err(error) = prepare_next(&shared.writer) {
        *last_try = Some(Instant::now());
        let reason = format!("the next segment cannot be made: {error}");
        tracing::warn!(reason, "the journal goes on in a segment that is too long");
        shared.writer.lock().last_error = Some(reason);
    }
}

/// In mode `process`; the sync thread does it in mode `durable`.
fn turn(shared: &Shared) {
    let mut writer = shared.writer.lock();
    if let Err(reason) = writer.turn_in_process(Timestamp::now()) {
        shared.refuse(&reason);
    }
    // A full segment is left with a group, and nobody may come to ask for one.
    if shared.mode == Durability::Durable && writer.can_turn() {
        writer.sync_wanted = true;
        shared.sync_signal.notify_one();
    }
}

fn try_to_mend(shared: &Shared) {
    match mend(&shared.writer, Timestamp::now()) {
        Ok(()) => publish(&shared.writer.lock(), shared),
        Err(reason) => {
            let first = shared.writer.lock().last_error.clone().unwrap_or_default();
            shared.refuse(&format!("{first} ({reason})"));
            return;
        }
    }
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
        shared.refuse(&at_cap(bytes, bytes_max));
    } else {
        shared.accept();
    }
}

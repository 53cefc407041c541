//! Mode `process` under load: the intents that come in one turn of the event loop are one write.
//!
//! The first call of a turn lets the others that are ready go before, and then writes what all of them wait
//! for. So their requests leave together as well, and an upstream is woken once for many. A call that gets no
//! receipt here, for whatever reason, writes by itself: what refuses, and what is said then, stands in one
//! place ([`super::record`]).
//!
//! Invariants: a receipt is made for what is written and for nothing else, and one that nobody takes any more
//! leaves a completion behind as any other does; calls wait for their own thread alone; no lock is held over
//! an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::record::LOCK_WAIT;
use super::{Durability, Receipt, Shared};
use crate::model::{CallId, Timestamp};

/// With fewer calls under way a turn holds one or two of them, and to wait for others is a loss.
pub(super) const UNDER_WAY_MIN: u64 = 8;
/// Calls of one write; whoever comes then writes by itself.
pub(super) const TURN_CALLS_MAX: usize = 256;
/// Threads with a list of their own; more of them share these.
const LISTS: usize = 32;

/// A call that waits for its turn's write.
struct Waiting {
    call: CallId,
    body: Vec<u8>,
    answer: oneshot::Sender<Receipt>,
}

/// The calls of a thread that wait.
#[derive(Default)]
struct List(Mutex<Vec<Waiting>>);

/// The calls that wait, by thread.
#[derive(Default)]
pub(super) struct Turns([List; LISTS]);

impl Turns {
    /// This thread's.
    fn mine(&self) -> Option<&List> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        self.0.get(THREAD.with(|thread| thread % LISTS))
    }
}

/// The duty of a turn's first call. Dropped before it is done, the others hear that they write by themselves.
struct First<'a>(&'a List);

impl First<'_> {
    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.0.lock())
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The receipt of this intent, written together with the others of its turn; `None` where the call has to
/// write it by itself.
pub(super) async fn receipt(shared: &Arc<Shared>, call: CallId, body: &[u8]) -> Option<Receipt> {
    if shared.mode != Durability::Process || shared.open_intents.load(Ordering::Relaxed) < UNDER_WAY_MIN {
        return None;
    }
    let list = shared.turns.mine()?;
    let (answer, answered) = oneshot::channel();
    let first = {
        let mut waiting = list.0.lock();
        if waiting.len() >= TURN_CALLS_MAX {
            return None;
        }
        waiting.push(Waiting { call, body: body.to_vec(), answer });
        (waiting.len() == 1).then(|| First(list))
    };
    if let Some(first) = first {
        tokio::task::yield_now().await;
        write(shared, first.take());
    }
    answered.await.ok()
}

/// Writes all of these, or none; those that are not written hear nothing.
fn write(shared: &Arc<Shared>, all: Vec<Waiting>) {
    if !shared.accepting.load(Ordering::Acquire) {
        return;
    }
    let Some(mut writer) = shared.writer.try_lock_for(LOCK_WAIT) else { return };
    let now = Timestamp::now();
    if !shared.has_places(&mut writer, all.len(), now) {
        return;
    }
    let intents = all.iter().map(|waiting| (waiting.call, waiting.body.as_slice()));
    let Ok(first) = writer.append_intents(intents, now) else { return };
    shared.ask_for_spare(&mut writer);
    drop(writer);
    for (seq, Waiting { call, answer, .. }) in (first..).zip(all) {
        // Who is gone leaves it here, and it says that nothing was sent.
        let _gone = answer.send(Receipt::pending(Arc::clone(shared), call, seq));
    }
}

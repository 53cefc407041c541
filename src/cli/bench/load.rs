//! The load generator: so many MCP clients, in closed loop or at a fixed rate (open loop).
//!
//! Invariants: in open loop a call's time begins when it was meant to be sent, whether or not a
//! connection was free, so that a target that stalls cannot hide the calls it kept from being sent
//! (coordinated omission); calls that were due and never sent are counted as failed; a call counts when
//! it was due within the measured time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::busy;
use super::peer::{Dial, Peer};
use super::plan::{Load, Plan};
use super::tally::{Report, Tally};
use super::verdict::{Fault, Verdict};

/// A connection that cannot be made anew is tried again after this.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
/// Connections that shake hands at a time, on each thread.
const HANDSHAKES_MAX: usize = 16;

/// Why a load did not begin.
#[derive(Debug)]
pub struct LoadFault {
    pub message: String,
    pub fault: Option<Fault>,
}

/// When the load began and when it ends.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Instant,
    counted_from: Instant,
    until: Instant,
}

/// What all connections share.
struct Shared {
    plan: Plan,
    dial: Dial,
    clock: watch::Receiver<Option<Clock>>,
    /// Open loop: a permit for each call that is due.
    due: Semaphore,
    /// Open loop: the next call to take.
    next: AtomicU64,
    handshakes: Semaphore,
}

/// Runs the load; `begun` is called when the warm-up is over.
///
/// # Errors
/// [`LoadFault`] where a connection cannot be made at the start.
pub fn run(plan: &Plan, begun: impl FnOnce()) -> Result<Report, LoadFault> {
    let plain = |message: String| LoadFault { message, fault: None };
    let dial = Dial::new(&plan.target, plan.load.call_max).map_err(plain)?;
    let (announce, clock) = watch::channel(None);
    let shared = Shared {
        plan: plan.clone(),
        dial,
        clock,
        due: Semaphore::new(0),
        next: AtomicU64::new(0),
        handshakes: Semaphore::new(HANDSHAKES_MAX),
    };
    let load = plan.load;
    std::thread::scope(|scope| {
        let (ready, connected) = mpsc::sync_channel(load.threads);
        let threads: Vec<_> = (0..load.threads)
            .map(|number| {
                let share = share_of(load.connections, load.threads, number);
                let (ready, shared) = (ready.clone(), &shared);
                scope.spawn(move || lane(shared, share, &ready))
            })
            .collect();
        drop(ready);
        let mut outcome = Ok(());
        for _ in 0..load.threads {
            let one = connected.recv().unwrap_or_else(|_| Err(plain("the generator panicked".to_owned())));
            outcome = outcome.and(one);
        }
        // Without a clock the connections end at once.
        let conducted = outcome.map(|()| conduct(&shared, &announce, begun));
        drop(announce);
        let lanes: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        conducted.map(|(clock, dues)| add_up(&shared, clock, dues, lanes))
    })
}

fn share_of(connections: usize, threads: usize, number: usize) -> usize {
    connections / threads + usize::from(number < connections % threads)
}

/// Announces the clock, keeps the pace, and returns at the end. Gives the calls that were due.
fn conduct(shared: &Shared, announce: &watch::Sender<Option<Clock>>, begun: impl FnOnce()) -> (Clock, u64) {
    let Load { warm_up, measured, rate, .. } = shared.plan.load;
    let start = Instant::now();
    let counted_from = start + warm_up;
    let clock = Clock { start, counted_from, until: counted_from + measured };
    announce.send_replace(Some(clock));
    let mut begun = Some(begun);
    let mut dues = 0;
    busy::wake_punctually();
    loop {
        let now = Instant::now();
        if now >= counted_from
            && let Some(begun) = begun.take()
        {
            begun();
        }
        if now >= clock.until {
            break;
        }
        let edge = if now < counted_from { counted_from } else { clock.until };
        let Some(rate) = rate else {
            std::thread::park_timeout(edge - now);
            continue;
        };
        let ready = ((now - start).as_secs_f64() * rate).floor() as u64 + 1;
        if ready > dues {
            shared.due.add_permits(usize::try_from(ready - dues).unwrap_or(0));
            dues = ready;
        }
        let next = start + Duration::from_secs_f64(dues as f64 / rate);
        std::thread::park_timeout(next.min(edge).saturating_duration_since(now));
    }
    shared.due.close();
    (clock, dues)
}

/// What one thread saw.
struct Lane {
    tally: Tally,
    last_end: Option<Instant>,
    busy: Duration,
}

/// One thread: connects its share, reports, and runs until the end.
fn lane(shared: &Shared, connections: usize, ready: &mpsc::SyncSender<Result<(), LoadFault>>) -> Lane {
    let nothing = || Lane { tally: Tally::default(), last_end: None, busy: Duration::ZERO };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("no runtime: {error}");
            drop(ready.send(Err(LoadFault { message, fault: None })));
            return nothing();
        }
    };
    let connect = async || -> Result<Peer, LoadFault> {
        let _slot = shared.handshakes.acquire().await;
        shared.dial.connect().await.map_err(|fault| LoadFault {
            message: "a connection could not be made".to_owned(),
            fault: Some(fault),
        })
    };
    runtime.block_on(async {
        let peers = futures_util::future::join_all((0..connections).map(|_| connect())).await;
        let peers = match peers.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(peers) => peers,
            Err(fault) => {
                drop(ready.send(Err(fault)));
                return nothing();
            }
        };
        drop(ready.send(Ok(())));
        let mut clock = shared.clock.clone();
        let Ok(Some(clock)) = clock.wait_for(Option::is_some).await.map(|clock| *clock) else {
            futures_util::future::join_all(peers.into_iter().map(Peer::end)).await;
            return nothing();
        };
        let before = busy::of_this_thread();
        let seen =
            futures_util::future::join_all(peers.into_iter().map(|peer| work(shared, clock, peer))).await;
        let mut lane = Lane { busy: busy::of_this_thread().saturating_sub(before), ..nothing() };
        for (tally, last_end) in &seen {
            lane.tally.add(tally);
            lane.last_end = lane.last_end.max(*last_end);
        }
        lane
    })
}

/// One connection, until the end.
async fn work(shared: &Shared, clock: Clock, peer: Peer) -> (Tally, Option<Instant>) {
    let mut tally = Tally::default();
    let mut last_end = None;
    let mut connected = Some(peer);
    while let Some(began) = next(shared, clock, &mut tally).await {
        let verdict = one(shared, &mut connected).await;
        if began >= clock.counted_from {
            let ended = Instant::now();
            tally.record(verdict, ended.saturating_duration_since(began));
            last_end = Some(ended);
        }
    }
    if let Some(peer) = connected {
        peer.end().await;
    }
    (tally, last_end)
}

/// When the next call begins: now, or when it was due. `None` at the end.
async fn next(shared: &Shared, clock: Clock, tally: &mut Tally) -> Option<Instant> {
    let Some(rate) = shared.plan.load.rate else {
        let now = Instant::now();
        return (now < clock.until).then_some(now);
    };
    let (permit, waited) = match shared.due.try_acquire() {
        Ok(permit) => (permit, false),
        Err(tokio::sync::TryAcquireError::Closed) => return None,
        Err(tokio::sync::TryAcquireError::NoPermits) => (shared.due.acquire().await.ok()?, true),
    };
    permit.forget();
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    let due = clock.start + Duration::from_secs_f64(number as f64 / rate);
    if waited && due >= clock.counted_from {
        tally.record_late(Instant::now().saturating_duration_since(due));
    }
    Some(due)
}

/// Makes one call, on a new connection where the last one is gone.
async fn one(shared: &Shared, connected: &mut Option<Peer>) -> Verdict {
    let mut peer = match connected.take() {
        Some(peer) => peer,
        None => match shared.dial.connect().await {
            Ok(peer) => peer,
            Err(fault) => {
                tokio::time::sleep(RECONNECT_AFTER).await;
                return Verdict::Failed(fault);
            }
        },
    };
    match peer.call(&shared.plan.call).await {
        Ok(verdict) => {
            *connected = Some(peer);
            verdict
        }
        Err(fault) => Verdict::Failed(fault),
    }
}

fn add_up(shared: &Shared, clock: Clock, dues: u64, lanes: Vec<Lane>) -> Report {
    let mut tally = Tally::default();
    let mut busy = Duration::ZERO;
    let mut last_end = clock.until;
    let threads = lanes.len();
    for lane in lanes {
        tally.add(&lane.tally);
        busy += lane.busy;
        last_end = last_end.max(lane.last_end.unwrap_or(clock.until));
    }
    let mut unsent = 0;
    if let Some(rate) = shared.plan.load.rate {
        for number in shared.next.load(Ordering::Relaxed)..dues {
            let due = clock.start + Duration::from_secs_f64(number as f64 / rate);
            if due >= clock.counted_from {
                unsent += 1;
                let fault = Fault::new("never sent", "it was due, but every connection was waiting");
                tally.record(Verdict::Failed(fault), clock.until.saturating_duration_since(due));
            }
        }
    }
    let had = (last_end - clock.start).as_secs_f64() * threads.max(1) as f64;
    let seconds = (last_end - clock.counted_from).as_secs_f64();
    tally.report(seconds, unsent, if had > 0.0 { busy.as_secs_f64() / had } else { 0.0 })
}

//! One sick upstream must not take the gate with it: a cap on calls in flight and a circuit
//! breaker, as pure state machines; `now` is an argument.
//!
//! Invariants: at most `in_flight_max` slots exist at a time; while the breaker is open nothing is
//! sent; half open lets exactly one probe through; a probe that ends without a verdict gives its
//! place back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::UpstreamFailure;

/// Dial failures or silences in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long the breaker stays open the first time; doubled each time a probe fails.
const OPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest time that the breaker stays open before a probe.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// What a call was let through as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The breaker is closed.
    Call,
    /// The breaker is half open and this call tries the upstream.
    Probe,
}

/// Where the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant, lasted: Duration },
    Probing { lasted: Duration },
}

/// The circuit breaker of one upstream.
#[derive(Debug)]
pub struct Breaker {
    phase: Phase,
}

impl Breaker {
    /// Closed: nothing is known against the upstream.
    pub const fn new() -> Self {
        Self { phase: Phase::Closed { failures: 0 } }
    }

    /// Whether a call may try the upstream now.
    ///
    /// # Errors
    /// How long to wait, while the breaker is open or a probe is under way.
    pub fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        match self.phase {
            Phase::Closed { .. } => Ok(Admission::Call),
            Phase::Open { until, .. } if now < until => Err(until - now),
            Phase::Open { lasted, .. } => {
                self.phase = Phase::Probing { lasted };
                Ok(Admission::Probe)
            }
            Phase::Probing { .. } => Err(OPEN_FIRST),
        }
    }

    /// The upstream gave a sign of life.
    pub fn succeeded(&mut self, admission: Admission) {
        match (self.phase, admission) {
            (Phase::Closed { .. }, _) | (Phase::Probing { .. }, Admission::Probe) => {
                self.phase = Phase::Closed { failures: 0 };
            }
            // A late answer to a call from before the breaker opened says nothing about now.
            (Phase::Open { .. } | Phase::Probing { .. }, _) => {}
        }
    }

    /// A dial failed or the upstream was silent. True if this opened the breaker.
    pub fn failed(&mut self, admission: Admission, now: Instant) -> bool {
        let lasts = match (self.phase, admission) {
            (Phase::Closed { failures }, _) if failures + 1 < FAILURES_MAX => {
                self.phase = Phase::Closed { failures: failures + 1 };
                return false;
            }
            (Phase::Closed { .. }, _) => OPEN_FIRST,
            (Phase::Probing { lasted }, Admission::Probe) => (lasted * 2).min(OPEN_MAX),
            (Phase::Open { .. } | Phase::Probing { .. }, _) => return false,
        };
        self.phase = Phase::Open { until: now + lasts, lasted: lasts };
        true
    }

    /// A call ended without a verdict on the upstream's health (cancelled, refused by a limit).
    pub fn abandoned(&mut self, admission: Admission, now: Instant) {
        if let (Phase::Probing { lasted }, Admission::Probe) = (self.phase, admission) {
            self.phase = Phase::Open { until: now, lasted };
        }
    }

    /// Whether calls are refused without trying.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    in_flight: u32,
    last_error: Option<Arc<str>>,
}

/// The way into one upstream: its bulkhead and its breaker.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    in_flight_max: u32,
}

impl Gate {
    /// A gate that lets so many calls in at a time.
    pub fn new(in_flight_max: u32) -> Arc<Self> {
        let state = State { breaker: Breaker::new(), in_flight: 0, last_error: None };
        Arc::new(Self { state: Mutex::new(state), in_flight_max })
    }

    /// Takes a slot for a call.
    ///
    /// # Errors
    /// [`UpstreamFailure::Busy`] at the cap, [`UpstreamFailure::Unreachable`] while the breaker is
    /// open.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Result<Slot, UpstreamFailure> {
        self.admit(now, true)
    }

    /// Lets the gate itself ask something: the breaker counts, the cap is left to the calls.
    ///
    /// # Errors
    /// [`UpstreamFailure::Unreachable`] while the breaker is open.
    pub fn look(self: &Arc<Self>, now: Instant) -> Result<Slot, UpstreamFailure> {
        self.admit(now, false)
    }

    fn admit(self: &Arc<Self>, now: Instant, is_call: bool) -> Result<Slot, UpstreamFailure> {
        let mut state = self.state.lock();
        if is_call && state.in_flight >= self.in_flight_max {
            return Err(UpstreamFailure::Busy { limit: self.in_flight_max });
        }
        let admission = state.breaker.admit(now).map_err(|wait| {
            let last = state.last_error.as_deref().unwrap_or("unknown");
            UpstreamFailure::unreachable(format!(
                "it failed {FAILURES_MAX} times in a row, the next try is in {} ms; last: {last}",
                wait.as_millis()
            ))
        })?;
        state.in_flight += u32::from(is_call);
        Ok(Slot { gate: Arc::clone(self), admission, is_call, judged: false })
    }

    /// Calls in flight now.
    pub fn in_flight(&self) -> u32 {
        self.state.lock().in_flight
    }

    /// Whether the breaker refuses calls, and the last error that counted against the upstream.
    pub fn health(&self) -> (bool, Option<Arc<str>>) {
        let state = self.state.lock();
        (state.breaker.is_open(), state.last_error.clone())
    }
}

/// One call's place in flight; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    gate: Arc<Gate>,
    admission: Admission,
    is_call: bool,
    judged: bool,
}

impl Slot {
    /// The upstream answered: it is alive. Only the first verdict counts.
    pub fn succeeded(&mut self) {
        if !std::mem::replace(&mut self.judged, true) {
            self.gate.state.lock().breaker.succeeded(self.admission);
        }
    }

    /// The call failed; only dial failures and silence count against the upstream. True if this
    /// opened the breaker.
    pub fn failed(&mut self, failure: &UpstreamFailure, now: Instant) -> bool {
        let mut state = self.gate.state.lock();
        if !matches!(
            failure,
            UpstreamFailure::Cancelled
                | UpstreamFailure::Busy { .. }
                | UpstreamFailure::TooManyWatched { .. }
        ) {
            state.last_error = Some(Arc::from(failure.to_string()));
        }
        if self.judged || !failure.is_sickness() {
            return false;
        }
        self.judged = true;
        state.breaker.failed(self.admission, now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.in_flight = state.in_flight.saturating_sub(u32::from(self.is_call));
        if !self.judged {
            state.breaker.abandoned(self.admission, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;

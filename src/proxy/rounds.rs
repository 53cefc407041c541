//! Requests that go on in another round: what a client of the stateless era carries back in
//! `requestState`, and the calls that wait for it (MCP 2026-07-28, multi round-trip requests).
//!
//! Two kinds of state. For an upstream of the stateless era the client carries that upstream's own
//! `requestState`, sealed inside ours. For an upstream of the session era the call is still running: it is
//! parked here, and the state names it.
//!
//! Invariants: a state is bound to member, method, what was asked and its arguments, ends with its time,
//! and is used once; what is not ours never reaches an upstream; parked calls are capped in number and
//! time, and one that nobody resumes is cancelled upstream; whoever leaves gives its place back
//! (`rounds/table.rs`), and nothing waits for a call that has left. Keys are made at each start, so that a state
//! that lands on another gate, or after a restart, is refused with a clear error.

mod table;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub(super) use self::table::Full;
use self::table::{Kept, Open, Table, Waiting};

use crate::keys::{STATE_NONCE_BYTES, StateSeal};
use crate::mcp::{CallRequest, Refusal};
use crate::model::{Digest, MemberId, Timestamp, canonical_json};
use crate::session::Rebate;

/// Bytes of an upstream's own state that are carried.
const INNER_BYTES_MAX: usize = 64 * 1024;

type Nonce = [u8; STATE_NONCE_BYTES];

/// How long a client may take for a round, and how many calls may wait for one.
#[derive(Debug, Clone, Copy)]
pub struct RoundLimits {
    pub parked_max: u32,
    pub round_ms_max: u64,
}

impl Default for RoundLimits {
    fn default() -> Self {
        Self { parked_max: 1_000, round_ms_max: 300_000 }
    }
}

/// What a state is bound to.
pub(super) struct Binding {
    member: MemberId,
    bytes: Vec<u8>,
}

impl Binding {
    /// The request that the next round must repeat.
    pub fn of(member: MemberId, call: &CallRequest) -> Self {
        let arguments = Digest::of(canonical_json(call.arguments_value()).as_bytes());
        let bound = (member, call.method().as_str(), call.name(), arguments.to_string());
        Self { member, bytes: serde_json::to_vec(&bound).unwrap_or_default() }
    }
}

/// What is inside the seal.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Unix milliseconds.
    until: i64,
    parked: bool,
    /// The upstream's own state.
    inner: Option<String>,
}

/// What a state leads to.
pub(super) enum Opened<P> {
    /// The upstream's own state, and what takes its round out of the counters.
    Upstream(Option<String>, Option<Rebate>),
    /// The call that waits.
    Parked(P),
}

/// Why a round cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// The rounds that are open; `P` is a parked call.
pub(super) struct Rounds<P> {
    seal: StateSeal,
    limits: RoundLimits,
    open: Mutex<Table<P>>,
}

impl<P: Send + 'static> Rounds<P> {
    /// None open yet; `None` where the machine has no randomness.
    pub fn new(limits: RoundLimits) -> Option<Arc<Self>> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).ok()?;
        let seal = StateSeal::new(&key)?;
        let open = Mutex::new(Table::new(limits.parked_max as usize));
        Some(Arc::new(Self { seal, limits, open }))
    }

    /// A state that carries the upstream's own. `rebate` takes this round out of the counters when the
    /// next one begins: rounds of one request count once.
    ///
    /// # Errors
    /// [`NoRoom`]: too many are open, or the upstream's state is too long.
    pub fn carry(
        &self,
        binding: &Binding,
        inner: Option<String>,
        rebate: Rebate,
        now: Timestamp,
    ) -> Result<String, NoRoom> {
        if inner.as_ref().is_some_and(|inner| inner.len() > INNER_BYTES_MAX) {
            return Err(NoRoom);
        }
        let until = self.until(now);
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce).map_err(|_| NoRoom)?;
        let sealed = Sealed { until, parked: false, inner };
        let state = self.sealed(nonce, binding, &sealed).ok_or(NoRoom)?;
        let open = Open { member: binding.member, until, kept: Kept::Carried(rebate) };
        let entered = self.open.lock().enter(nonce, open, now.as_millis());
        entered.map(|()| state).map_err(|_| NoRoom)
    }

    /// Parks a call until then. What nobody resumes in time is handed to `expired`.
    ///
    /// # Errors
    /// There is no room: the call, and who has none.
    pub fn park(
        self: &Arc<Self>,
        binding: &Binding,
        parked: P,
        (now, until): (Timestamp, i64),
        expired: impl FnOnce(P) + Send + 'static,
    ) -> Result<String, (P, Full)> {
        let mut random = Nonce::default();
        let left_ms = u64::try_from(until.saturating_sub(now.as_millis())).unwrap_or(0);
        let sealed = Sealed { until, parked: true, inner: None };
        let state = getrandom::fill(&mut random).ok().and_then(|()| self.sealed(random, binding, &sealed));
        let Some(state) = state else { return Err((parked, Full::All)) };
        let resumed = CancellationToken::new();
        let kept = Kept::Parked(Waiting::until(parked, &resumed));
        let entered =
            self.open.lock().enter(random, Open { member: binding.member, until, kept }, now.as_millis());
        if let Err((Open { kept: Kept::Parked(waiting), .. }, full)) = entered {
            return Err((waiting.call, full));
        }
        let rounds = Arc::downgrade(self);
        drop(tokio::spawn(async move {
            tokio::select! {
                biased;
                // Nothing is left behind of a call that went on.
                () = resumed.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(left_ms)) => {}
            }
            let late = rounds.upgrade().and_then(|rounds| rounds.open.lock().leave(&random));
            if let Some(Open { kept: Kept::Parked(waiting), .. }) = late {
                expired(waiting.call);
            }
        }));
        Ok(state)
    }

    /// Opens a state, once.
    ///
    /// # Errors
    /// It is none of this gate's, belongs to something else, was used, or is over.
    pub fn open(&self, binding: &Binding, state: &str, now: Timestamp) -> Result<Opened<P>, Refusal> {
        let refused = Refusal::InvalidParams {
            what: "`requestState` is not valid here: it was changed, used, is over, or belongs to another request; send the request anew without it",
        };
        let Some((nonce, sealed)) = self.seal.open(state, &binding.bytes) else { return Err(refused) };
        let sealed: Option<Sealed> = serde_json::from_slice(&sealed).ok();
        // A call that is over is left to its deadline, which ends it as what it is.
        let Some(sealed) = sealed.filter(|sealed| sealed.until >= now.as_millis()) else {
            return Err(refused);
        };
        let open = self.open.lock().leave(&nonce);
        match (sealed.parked, open.map(|open| open.kept)) {
            (true, Some(Kept::Parked(waiting))) => Ok(Opened::Parked(waiting.call)),
            (false, Some(Kept::Carried(rebate))) => Ok(Opened::Upstream(sealed.inner, Some(rebate))),
            _ => Err(refused),
        }
    }

    /// When a round that begins now is over, in Unix milliseconds.
    pub fn until(&self, now: Timestamp) -> i64 {
        now.as_millis().saturating_add(i64::try_from(self.limits.round_ms_max).unwrap_or(i64::MAX))
    }

    fn sealed(&self, nonce: Nonce, binding: &Binding, sealed: &Sealed) -> Option<String> {
        self.seal.seal(nonce, &binding.bytes, &serde_json::to_vec(sealed).ok()?)
    }
}

#[cfg(test)]
#[path = "rounds/tests.rs"]
mod tests;

//! Requests that go on in another round: what a client of the stateless era carries back in
//! `requestState`, and the calls that wait for it (MCP 2026-07-28, multi round-trip requests).
//!
//! Two kinds of state. For an upstream of the stateless era the client carries that upstream's own
//! `requestState`, sealed inside ours. For an upstream of the session era the call is still running: it is
//! parked here, and the state names it.
//!
//! Invariants: a state is bound to member, method, what was asked and its arguments, ends with its time,
//! and is used once; what is not ours never reaches an upstream; parked calls are capped in number and
//! time, and one that nobody resumes is cancelled upstream. Keys are made at each start, so that a state
//! that lands on another gate, or after a restart, is refused with a clear error.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::keys::{STATE_NONCE_BYTES, StateSeal};
use crate::mcp::{CallRequest, Refusal};
use crate::model::{Digest, MemberId, Timestamp, canonical_json};
use crate::session::Rebate;

/// States that were given out and are neither used nor over.
const OPEN_MAX: usize = 100_000;
/// Calls of one member that wait: each holds a place at its upstream.
const PARKED_PER_MEMBER_MAX: usize = 8;
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
    open: Mutex<HashMap<Nonce, Open<P>>>,
}

struct Open<P> {
    member: MemberId,
    until: i64,
    rebate: Option<Rebate>,
    parked: Option<P>,
}

impl<P: Send + 'static> Rounds<P> {
    /// None open yet; `None` where the machine has no randomness.
    pub fn new(limits: RoundLimits) -> Option<Arc<Self>> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).ok()?;
        let seal = StateSeal::new(&key)?;
        Some(Arc::new(Self { seal, limits, open: Mutex::default() }))
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
        let open = Open { member: binding.member, until, rebate: Some(rebate), parked: None };
        self.give(binding, Sealed { until, parked: false, inner }, open, now).map(|(state, _)| state)
    }

    /// Parks a call until then. What nobody resumes in time is handed to `expired`.
    ///
    /// # Errors
    /// [`NoRoom`], and the call.
    pub fn park(
        self: &Arc<Self>,
        binding: &Binding,
        parked: P,
        (now, until): (Timestamp, i64),
        expired: impl FnOnce(P) + Send + 'static,
    ) -> Result<String, P> {
        let mut random = Nonce::default();
        let left_ms = u64::try_from(until.saturating_sub(now.as_millis())).unwrap_or(0);
        let sealed = Sealed { until, parked: true, inner: None };
        let state = getrandom::fill(&mut random).ok().and_then(|()| self.sealed(random, binding, &sealed));
        let Some(state) = state else { return Err(parked) };
        {
            // Looked at and taken under one lock: many come at once.
            let mut all = self.open.lock();
            if !has_room(&all, binding.member, &self.limits) {
                return Err(parked);
            }
            let open = Open { member: binding.member, until, rebate: None, parked: Some(parked) };
            all.insert(random, open);
        }
        let rounds = Arc::clone(self);
        drop(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
            let late = rounds.open.lock().remove(&random).and_then(|open| open.parked);
            if let Some(parked) = late {
                expired(parked);
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
        let open = self.open.lock().remove(&nonce);
        let (Some(sealed), Some(open)) = (sealed, open) else { return Err(refused) };
        if sealed.until < now.as_millis() || open.until < now.as_millis() {
            return Err(refused);
        }
        match (sealed.parked, open.parked) {
            (true, Some(parked)) => Ok(Opened::Parked(parked)),
            (false, None) => Ok(Opened::Upstream(sealed.inner, open.rebate)),
            _ => Err(refused),
        }
    }

    /// When a round that begins now is over, in Unix milliseconds.
    pub fn until(&self, now: Timestamp) -> i64 {
        now.as_millis().saturating_add(i64::try_from(self.limits.round_ms_max).unwrap_or(i64::MAX))
    }

    fn give(
        &self,
        binding: &Binding,
        sealed: Sealed,
        open: Open<P>,
        now: Timestamp,
    ) -> Result<(String, Nonce), NoRoom> {
        let mut random = Nonce::default();
        getrandom::fill(&mut random).map_err(|_| NoRoom)?;
        let state = self.sealed(random, binding, &sealed).ok_or(NoRoom)?;
        let mut all = self.open.lock();
        if all.len() >= OPEN_MAX {
            // What is over makes room; parked calls have a task of their own for that.
            all.retain(|_, open| open.parked.is_some() || open.until >= now.as_millis());
        }
        if all.len() >= OPEN_MAX {
            return Err(NoRoom);
        }
        all.insert(random, open);
        Ok((state, random))
    }

    fn sealed(&self, nonce: Nonce, binding: &Binding, sealed: &Sealed) -> Option<String> {
        self.seal.seal(nonce, &binding.bytes, &serde_json::to_vec(sealed).ok()?)
    }
}

/// Whether one more call of this member may wait.
fn has_room<P>(open: &HashMap<Nonce, Open<P>>, member: MemberId, limits: &RoundLimits) -> bool {
    let parked = open.values().filter(|open| open.parked.is_some());
    let (mut all, mut of_member) = (0, 0);
    for open in parked {
        all += 1;
        of_member += usize::from(open.member == member);
    }
    all < limits.parked_max as usize && of_member < PARKED_PER_MEMBER_MAX
}

#[cfg(test)]
#[path = "rounds/tests.rs"]
mod tests;

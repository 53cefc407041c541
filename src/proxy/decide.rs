//! Read the counters, decide, reserve: one step that no other call can come between (decision 9).
//!
//! Invariant: a permit leaves here only together with a reservation that was made while every counter
//! that the decision read still stood where it was read.

use crate::connector::{Connector, Resource, Tool};
use crate::model::{CallId, Caller, CounterKey, Decision, History, Lesson, Reason, Timestamp};
use crate::policy::{Asked, Bundle, Denial, Moment, Needs, Permit, Question, Verdict};
use crate::session::{CallCounts, Reservation, ReserveFault, Session};
use crate::telemetry;
use serde_json::Value;

/// Optimistic rounds before the decision is taken under the session's lock.
const ROUNDS_MAX: u32 = 8;

/// One call, resolved: what is asked of what.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    pub call_id: CallId,
    pub caller: &'a Caller,
    pub connector: &'a Connector,
    pub tool: &'a Tool,
    /// What is decided on: a tool's arguments, an operation's parameters.
    pub arguments: &'a Value,
    pub resource: &'a Resource,
    pub now: Timestamp,
}

/// The outcome: leave to send with a reservation, or a denial; and the counters that it saw.
#[derive(Debug)]
pub enum Decided {
    Allowed {
        permit: Permit,
        reservation: Reservation,
        history: History,
    },
    /// Also where the call could not be counted: what cannot be counted is not allowed.
    Denied {
        denial: Denial,
        history: History,
    },
}

/// Decides a resolved call for this session.
pub fn decide(bundle: &Bundle, session: &Session, resolved: &Resolved<'_>) -> Decided {
    let asked = bundle.ask(resolved.caller, resolved.connector, resolved.tool, resolved.resource);
    let needs = asked.needs();
    for _ in 0..ROUNDS_MAX {
        let (history, version) = session.read(&needs.session, &needs.member, resolved.now);
        let shadow = |needs: &Needs| session.read(&needs.session, &needs.member, resolved.now).0;
        let permit = match asked.authorise(&resolved.moment(&history), shadow) {
            Verdict::Deny(denial) => return denied(session, denial, history, resolved.now),
            Verdict::Allow(permit) => permit,
        };
        match session.reserve(&version, &resolved.counts(permit.decision()), resolved.now) {
            Ok(reservation) => return Decided::Allowed { permit, reservation, history },
            Err(ReserveFault::Changed) => telemetry::decision_retried(),
            Err(ReserveFault::Ended | ReserveFault::Full) => {
                return denied(session, unaccountable(bundle, resolved), history, resolved.now);
            }
        }
    }
    decide_locked(bundle, session, resolved, &asked)
}

/// The way out when other calls keep moving the counters: decide while they stand still.
fn decide_locked(bundle: &Bundle, session: &Session, resolved: &Resolved<'_>, asked: &Asked<'_>) -> Decided {
    let needs = asked.needs();
    let decided = session.with_locked(resolved.now, |locked| {
        let history = locked.read(&needs.session, &needs.member);
        let shadow = |needs: &Needs| locked.read(&needs.session, &needs.member);
        match asked.authorise(&resolved.moment(&history), shadow) {
            Verdict::Deny(denial) => (Verdict::Deny(denial), history),
            Verdict::Allow(permit) => match locked.reserve(&resolved.counts(permit.decision())) {
                Ok(()) => (Verdict::Allow(permit), history),
                Err(_) => (Verdict::Deny(unaccountable(bundle, resolved)), history),
            },
        }
    });
    match decided {
        Ok(((Verdict::Allow(permit), history), Some(reservation))) => {
            Decided::Allowed { permit, reservation, history }
        }
        Ok(((Verdict::Deny(denial), history), _)) => denied(session, denial, history, resolved.now),
        Ok(((Verdict::Allow(_), _), None)) | Err(_) => {
            denied(session, unaccountable(bundle, resolved), History::default(), resolved.now)
        }
    }
}

/// What a denied caller can do about it.
pub fn lesson(
    bundle: &Bundle,
    session: &Session,
    resolved: &Resolved<'_>,
    denial: &Denial,
    history: &History,
) -> Option<Lesson> {
    let question = Question {
        call: resolved.call_id,
        caller: resolved.caller,
        connector: resolved.connector,
        tool: resolved.tool,
        arguments: resolved.arguments,
        resource: resolved.resource,
        history,
        now: resolved.now,
    };
    let falls_below = |key: &CounterKey, number| session.falls_below(key, number, resolved.now);
    bundle.lesson(&question, denial.decision(), falls_below)
}

fn unaccountable(bundle: &Bundle, resolved: &Resolved<'_>) -> Denial {
    Denial::of(resolved.call_id, Reason::Unaccountable, bundle.digest())
}

fn denied(session: &Session, denial: Denial, history: History, now: Timestamp) -> Decided {
    session.count_denial(&denial.decision().determining, now);
    Decided::Denied { denial, history }
}

impl<'a> Resolved<'a> {
    /// What the decision still has to know, with this history.
    fn moment(&self, history: &'a History) -> Moment<'a> {
        Moment { call: self.call_id, arguments: self.arguments, history, now: self.now }
    }

    fn counts(&self, decision: &'a Decision) -> CallCounts<'a> {
        CallCounts {
            service: &self.connector.service,
            tool: &self.tool.name,
            tier: self.tool.tier,
            permits: &decision.determining,
        }
    }
}

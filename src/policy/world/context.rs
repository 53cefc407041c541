//! The request of one call, with the context as far as its candidates read it.

use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityUID, EntityUIDEntry, Request, Value};
use serde_json::Value as Json;

use super::{Action, Principal, Service, Unaskable, World};
use crate::connector::Resource;
use crate::model::{CallId, Caller, CounterKey, CounterScope, History, Timestamp};
use crate::policy::argument::{self, Unreadable};
use crate::policy::reads::COUNTER_RECORDS;
use crate::policy::slice::{Counted, CounterPlaces, Plan};
use crate::policy::{clock, extension};

/// What of a call its slice does not depend on.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub call: CallId,
    /// An object, or null for no arguments; the parsed form of the bytes that will be sent.
    pub arguments: &'a Json,
    /// At least the counters that [`crate::policy::Needs`] lists.
    pub history: &'a History,
    /// The clock of this decision, read once.
    pub now: Timestamp,
}

/// Who and what a request names.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Named<'a> {
    pub(in crate::policy) caller: &'a Caller,
    pub(in crate::policy) principal: &'a Principal,
    pub(in crate::policy) service: &'a Service,
    pub(in crate::policy) action: &'a Action,
    pub(in crate::policy) resource: &'a Resource,
}

impl World {
    /// The request of one call, with the context as far as `plan` reads it, and the arguments that it
    /// could not hold.
    pub(in crate::policy) fn request(
        &self,
        plan: &Plan,
        named: Named<'_>,
        moment: &Moment<'_>,
    ) -> Result<(Request, Vec<Unreadable>), Unaskable> {
        let mut pairs: Vec<(&str, Value)> = Vec::with_capacity(5);
        let mut unreadable = Vec::new();
        if !plan.arguments.is_nothing() {
            let shape = &named.action.arguments;
            let (value, faults) = argument::record(shape, moment.arguments, &plan.arguments);
            pairs.push(("args", value));
            unreadable = faults;
        }
        if !plan.time.is_nothing() {
            let time = clock::record(moment.now, &self.zones, &plan.time).ok_or(Unaskable::Time)?;
            pairs.push(("time", time));
        }
        for (name, scope, counted) in [
            ("session", CounterScope::Session, &plan.session),
            ("member", CounterScope::Member, &plan.member),
        ] {
            match counted {
                None => {}
                Some(Counted::These(places)) => pairs.push((name, count(places, moment.history, scope))),
                Some(Counted::All) => {
                    let mut places = CounterPlaces::of(&*self.counters);
                    // A record that counts nothing is there all the same.
                    for name in COUNTER_RECORDS {
                        places.records.entry(name).or_default();
                    }
                    pairs.push((name, count(&places, moment.history, scope)));
                }
            }
        }
        if !plan.caller.is_nothing() {
            pairs.push(("caller", caller(plan, named.caller)?));
        }
        let context = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let resource = match plan.resource.is_nothing() {
            // An unknown entity evaluates to nothing at all: whoever looked at it would fail.
            true => EntityUIDEntry::unknown(),
            false => known(Arc::new(named.service.uid(named.resource)?)),
        };
        let request = Request::new_unchecked(
            known(Arc::clone(&named.principal.uid)),
            known(Arc::clone(&named.action.uid)),
            resource,
            Some(Context::Value(Arc::new(context))),
        );
        Ok((request, unreadable))
    }
}

/// `context.session` or `context.member` with these counters.
fn count(places: &CounterPlaces, history: &History, scope: CounterScope) -> Value {
    let number =
        |(name, key): &(Box<str>, CounterKey)| (name.as_ref().into(), Value::from(history.get(scope, key)));
    let record = |list: &Vec<(Box<str>, CounterKey)>| {
        Value::record_arc(Arc::new(list.iter().map(number).collect()), None)
    };
    let records = places.records.iter().map(|(name, list)| ((*name).into(), record(list)));
    Value::record_arc(Arc::new(places.plain.iter().map(number).chain(records).collect()), None)
}

fn known(uid: Arc<EntityUID>) -> EntityUIDEntry {
    EntityUIDEntry::Known { euid: uid, loc: None }
}

/// `context.caller`, as far as it is read.
fn caller(plan: &Plan, caller: &Caller) -> Result<Value, Unaskable> {
    let reads = |name: &str| plan.caller.touches_name(name);
    let ip = reads("ip").then(|| extension::ip(caller.ip).ok_or(Unaskable::Value)).transpose()?;
    let key = reads("keyId").then(|| Value::from(caller.key.to_string()));
    let pairs = ip.map(|ip| ("ip", ip)).into_iter().chain(key.map(|key| ("keyId", key)));
    Ok(Value::record(pairs, None))
}

//! Whether a caller may do something that is not a call: see a list, hear of a resource. Decided as the
//! calls are, by the same policies over the same counters, but nothing is counted.
//!
//! Invariant: what cannot be decided is not permitted.

use serde_json::Value;

use crate::connector::Connector;
use crate::model::{CallId, Caller, History, Timestamp};
use crate::policy::{Bundle, Needs, Question};

/// Who asks, under which policies.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    pub bundle: &'a Bundle,
    pub caller: &'a Caller,
    /// Reads the counters that are asked for, as the caller's next call would.
    pub counters: &'a (dyn Fn(&Needs) -> History + Sync),
}

impl Asker<'_> {
    /// Whether the operation (`prompts/list` …) of this connector is permitted now. The connector must be
    /// enabled for the caller's agent.
    pub fn may(&self, connector: &Connector, operation: &str, arguments: &Value) -> bool {
        let Self { bundle, caller, counters } = *self;
        if !caller.agent.services.contains(&connector.service) {
            return false;
        }
        let Some(tool) = connector.operations.get(operation) else { return false };
        let (resource, now) = (connector.service_resource(), Timestamp::now());
        let needs = bundle.needs(caller, connector, tool, &resource);
        let history = if needs.reads_counters() { counters(&needs) } else { History::default() };
        let call = CallId::from_uuid(uuid::Uuid::nil());
        let question = Question {
            call,
            caller,
            connector,
            tool,
            arguments,
            resource: &resource,
            history: &history,
            now,
        };
        bundle.decide(&question).allowed
    }
}

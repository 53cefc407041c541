//! Whether a caller may do something that is not a call: see a list, hear of a resource. Decided as the
//! calls are, by the same policies over the same counters, but nothing is counted.
//!
//! Invariant: what cannot be decided is not permitted.

use serde_json::Value;

use crate::connector::Connector;
use crate::model::{CallId, Caller, History, Timestamp};
use crate::policy::{Bundle, Question};
use crate::session::Session;

/// Who asks, under which policies.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub bundle: &'a Bundle,
    pub caller: &'a Caller,
    /// Whose counters are read; without one, whatever reads counters is denied.
    pub session: Option<&'a Session>,
}

impl Asker<'_> {
    /// Whether the operation (`prompts/list` …) of this connector is permitted now. The connector must be
    /// enabled for the caller's agent.
    pub fn may(&self, connector: &Connector, operation: &str, arguments: &Value) -> bool {
        let Self { bundle, caller, session } = *self;
        if !caller.agent.services.contains(&connector.service) {
            return false;
        }
        let Some(tool) = connector.operations.get(operation) else { return false };
        let (resource, now) = (connector.service_resource(), Timestamp::now());
        let needs = bundle.needs(caller, connector, tool, &resource);
        let history = match session {
            Some(session) => session.read(&needs.session, &needs.member, now).0,
            None if needs.reads_counters() => return false,
            None => History::default(),
        };
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

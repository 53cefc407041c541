//! What a call is about, in the words of the audit, and the record of a denial.
//!
//! Invariant: each `tools/call` of a known caller is recorded, allowed or denied, also one that names
//! no connector, or that cannot be counted.

use std::borrow::Cow;

use crate::audit::CallFacts;
use crate::connector::{ArgumentPath, Connector, Resource, Tool, operation};
use crate::mcp::Refusal;
use crate::mcp::reply::Asked;
use crate::model::{CallId, Caller, ClientInfo, History, Tier, Timestamp};
use crate::policy::{Bundle, Denial};
use crate::session::Session;
use crate::telemetry;

use super::decide::{Resolved, lesson};
use super::gate::Gate;
use super::refusal::cannot_record;

/// Characters of a name that the audit keeps where nobody checked it (MCP: tools have 128).
const NAME_CHARS_MAX: usize = 128;

/// What a call is asked of: principal, action and resource as Cedar writes them.
#[derive(Debug)]
pub struct Subject<'a> {
    pub service: &'a str,
    pub tool: &'a str,
    pub tier: Option<Tier>,
    pub action: Cow<'a, str>,
    pub resource: String,
    pub redact: &'a [ArgumentPath],
}

impl<'a> Subject<'a> {
    /// A tool of the connector's lock.
    pub fn of(connector: &'a Connector, tool: &'a Tool, resource: &Resource) -> Self {
        Self {
            service: connector.service.as_str(),
            tool: tool.name.as_str(),
            tier: Some(tool.tier),
            action: Cow::Borrowed(&tool.action),
            resource: resource.uid(),
            redact: &connector.redact,
        }
    }

    /// A tool that is not decided, by its name as it came.
    pub fn named(connector: &'a Connector, tool: &'a str) -> Self {
        Self {
            service: connector.service.as_str(),
            tool,
            tier: None,
            action: Cow::Owned(uid(&connector.namespace, "Action", tool)),
            resource: connector.service_resource().uid(),
            redact: &connector.redact,
        }
    }

    /// An operation that is asked of what nobody has: a resource, or something of a service.
    pub fn unowned(operation: &'a str, name: &'a str) -> Self {
        let service = name.split_once("__").map(|(service, _)| service).filter(|it| !it.contains(':'));
        Self {
            service: service.unwrap_or_default(),
            tool: operation,
            tier: None,
            action: Cow::Owned(uid("Wicket", "Action", operation)),
            resource: match service {
                Some(service) => uid("Wicket", "Service", service),
                None => uid("Wicket", "Resource", name),
            },
            redact: &[],
        }
    }

    /// A name that leads to no connector.
    pub fn nowhere(name: &'a str) -> Self {
        let (service, tool) = name.split_once("__").unwrap_or(("", name));
        Self {
            service,
            tool,
            tier: None,
            action: Cow::Owned(uid("Wicket", "Action", name)),
            resource: uid("Wicket", "Service", service),
            redact: &[],
        }
    }
}

/// A Cedar uid of a name that may be anything.
fn uid(namespace: &str, kind: &str, name: &str) -> String {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("{namespace}::{kind}::\"{}\"", name.escape_default())
}

/// One call with everything that its record states beside the decision.
pub struct Record<'a> {
    pub call_id: CallId,
    pub now: Timestamp,
    pub caller: &'a Caller,
    /// The principal, as Cedar writes it.
    pub principal: String,
    /// Absent where the call got no session.
    pub session: Option<&'a Session>,
    pub client: Option<ClientInfo>,
    /// What was asked, by its name as it came.
    name: &'a str,
    /// Raw JSON, an object.
    arguments: &'a str,
    pub subject: Subject<'a>,
}

impl<'a> Record<'a> {
    /// A record of this call in this session.
    pub fn new(
        (call_id, now): (CallId, Timestamp),
        caller: &'a Caller,
        session: Option<&'a Session>,
        (name, arguments): (&'a str, &'a str),
        subject: Subject<'a>,
    ) -> Self {
        let principal = format!("Wicket::Member::\"{}\"", caller.member.id.as_uuid());
        let client = session.and_then(Session::client);
        Self { call_id, now, caller, principal, session, client, name, arguments, subject }
    }

    /// The facts for the journal.
    pub fn facts<'f>(&'f self, history: &'f History) -> CallFacts<'f> {
        CallFacts {
            call: self.call_id,
            at: self.now,
            caller: self.caller,
            session: self.session.map(Session::id),
            conversation: self.session.map(Session::conversation),
            client: self.client.as_ref(),
            service: self.subject.service,
            tool: self.subject.tool,
            tier: self.subject.tier,
            action: &self.subject.action,
            resource: &self.subject.resource,
            principal: &self.principal,
            arguments: self.arguments,
            redact: self.subject.redact,
            history,
        }
    }

    /// The row for this denial.
    pub fn refusal(&self, denial: &Denial) -> Refusal {
        let agent = &self.caller.agent.name;
        let of = match operation::is_operation(self.subject.tool) {
            true => Asked::Operation,
            false => Asked::Tool,
        };
        Refusal::of_decision(self.name, (of, self.subject.tool), agent, denial.decision())
    }
}

impl Gate {
    /// Records a denial that policies decided, and says what the client sees and can learn of it.
    pub(super) async fn deny_decided(
        &self,
        bundle: &Bundle,
        record: &Record<'_>,
        resolved: &Resolved<'_>,
        denial: &Denial,
        history: &History,
    ) -> Refusal {
        let lesson = record.session.and_then(|session| lesson(bundle, session, resolved, denial, history));
        let seen = record.refusal(denial).teaching(lesson, record.now);
        self.deny(record, denial, history, seen).await
    }

    /// Records a denial and says what the client sees of it. A denial that cannot be recorded is
    /// refused all the same, as what nobody can record (503).
    pub(super) async fn deny(
        &self,
        record: &Record<'_>,
        denial: &Denial,
        history: &History,
        seen: Refusal,
    ) -> Refusal {
        telemetry::decision(denial.decision());
        if let Err(error) = self.journal.denial(denial, &record.facts(history)).await {
            tracing::error!(request_id = %record.call_id, %error, "cannot record a denial");
            return cannot_record();
        }
        seen
    }
}

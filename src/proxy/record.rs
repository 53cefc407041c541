//! What a call is about, in the words of the audit, and the record of a denial.

use std::borrow::Cow;

use http::Response;

use crate::audit::CallFacts;
use crate::connector::{Connector, Resource, Tool};
use crate::mcp::{CallRequest, Refusal};
use crate::model::{Caller, ClientInfo, History, Tier, Timestamp};
use crate::policy::Denial;
use crate::session::Session;
use crate::telemetry;

use super::body::Body;
use super::gate::Gate;
use super::refusal::{Refused, cannot_record};

/// Characters of a tool name that the audit keeps (MCP: 128).
const TOOL_CHARS_MAX: usize = 128;

/// What a call is asked of: principal, action and resource as Cedar writes them.
#[derive(Debug)]
pub struct Subject<'a> {
    pub connector: &'a Connector,
    pub tool: Cow<'a, str>,
    pub tier: Option<Tier>,
    pub principal: String,
    pub action: String,
    pub resource: String,
}

impl<'a> Subject<'a> {
    /// A tool of the connector's lock.
    pub fn of(caller: &Caller, connector: &'a Connector, tool: &'a Tool, resource: &Resource) -> Self {
        Self {
            connector,
            tool: Cow::Borrowed(tool.name.as_str()),
            tier: Some(tool.tier),
            principal: principal_uid(caller),
            action: action_uid(connector, tool.name.as_str()),
            resource: resource.uid(),
        }
    }

    /// A tool that is not decided, by its name as it came.
    pub fn named(caller: &Caller, connector: &'a Connector, tool: &'a str) -> Self {
        Self {
            connector,
            tool: Cow::Borrowed(tool),
            tier: None,
            principal: principal_uid(caller),
            action: action_uid(connector, tool),
            resource: connector.service_resource().uid(),
        }
    }
}

/// The principal, as Cedar writes it.
fn principal_uid(caller: &Caller) -> String {
    format!("Wicket::Member::\"{}\"", caller.member.id)
}

/// The action, as Cedar writes it; a name that was never checked is escaped.
fn action_uid(connector: &Connector, tool: &str) -> String {
    let tool: String = tool.chars().take(TOOL_CHARS_MAX).collect();
    format!("{}::Action::\"{}\"", connector.namespace, tool.escape_default())
}

/// One call with everything that its record states beside the decision.
pub struct Record<'a> {
    pub call_id: crate::model::CallId,
    pub now: Timestamp,
    pub caller: &'a Caller,
    pub session: &'a Session,
    pub client: Option<ClientInfo>,
    pub call: &'a CallRequest,
    pub subject: Subject<'a>,
}

impl Record<'_> {
    /// The facts for the journal.
    pub fn facts<'f>(&'f self, history: &'f History) -> CallFacts<'f> {
        CallFacts {
            call: self.call_id,
            at: self.now,
            caller: self.caller,
            session: Some(self.session.id()),
            conversation: Some(self.session.conversation()),
            client: self.client.as_ref(),
            service: &self.subject.connector.service,
            tool: &self.subject.tool,
            tier: self.subject.tier,
            action: &self.subject.action,
            resource: &self.subject.resource,
            principal: &self.subject.principal,
            arguments: self.call.arguments(),
            redact: &self.subject.connector.redact,
            history,
        }
    }
}

impl Gate {
    /// Records a denial and answers with it. A denial that cannot be recorded is refused all the
    /// same, as what nobody can record (503).
    pub(super) async fn deny(
        &self,
        record: &Record<'_>,
        denial: Denial,
        history: &History,
    ) -> Result<Response<Body>, Refused> {
        telemetry::decision(denial.decision());
        if let Err(error) = self.journal.denial(&denial, &record.facts(history)).await {
            tracing::error!(request_id = %record.call_id, %error, "cannot record a denial");
            return Err(cannot_record().into());
        }
        let agent = &record.caller.agent.name;
        let refusal =
            Refusal::of_decision(record.call.name(), &record.subject.tool, agent, denial.decision());
        Err(refusal.into())
    }
}

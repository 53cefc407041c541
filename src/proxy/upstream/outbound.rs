//! One request on its way out, together with who asks it.

use std::sync::Arc;

use bytes::Bytes;

use crate::connector::Connector;
use crate::mcp::{CallRequest, ClientFace, Retry, Revision, Target, ToUpstream};
use crate::model::{CallId, Caller, ToolName, split_prefixed};
use crate::session::Session;

/// One call on its way out.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The connector that the call was decided for.
    pub connector: Arc<Connector>,
    /// What was decided: a tool of the lock, or an operation.
    pub tool: ToolName,
    pub call: Arc<CallRequest>,
    /// Who asks, as it presents itself, and what it can be asked.
    pub client: Arc<ClientFace>,
    /// The answers of an earlier round, with the upstream's own state.
    pub retry: Option<Retry>,
    /// Also the `x-request-id` that goes upstream.
    pub call_id: CallId,
    /// Who calls; an upstream's session is the member's own.
    pub caller: Caller,
    /// The tool session that the call is counted in.
    pub session: Session,
}

impl Outbound {
    /// The message for an upstream of this revision, under this id and progress token of the gate's.
    pub(super) fn message(&self, id: u64, token: Option<u64>, revision: Revision) -> Bytes {
        let (client, retry) = (self.client.as_ref(), self.retry.as_ref());
        self.call.to_upstream(&ToUpstream { id, name: self.tool.as_str(), token, revision, client, retry })
    }

    /// Whether the request is what it is sent as: it names the tool, or its method is the operation.
    pub(super) fn is_named(&self) -> bool {
        let service = self.connector.service.as_str();
        let Some(operation) = self.call.method().operation() else {
            return split_prefixed(self.call.name()) == Some((service, self.tool.as_str()));
        };
        let of_service = match self.call.target() {
            Some(Target::Named { service: named, .. }) => named == service,
            Some(Target::Uri(_) | Target::All) => true,
            None => false,
        };
        operation == self.tool.as_str() && of_service
    }
}

//! The one table of what a client sees when it is refused (decision 13, specification 2.1 and 2.2),
//! and the messages that the gate itself writes.
//!
//! Invariants: `message` is the fixed string of its row; facts go to `error.data`; user input in a
//! message is cut short; no row carries a secret; no code of -32000 to -32099 but the three that
//! MCP 2026-07-28 gives to the stateless era.

mod answer;
mod client_role;
mod facts;
mod rounds;
mod table;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

pub use answer::{
    complete, discover_result, empty_result, initialize_result, list_result, tool_raw_result,
    tool_text_result, tools_list_result,
};
pub use client_role::{
    call_failed, upstream_answer, upstream_cancelled, upstream_initialize, upstream_initialized,
    upstream_method_refused, upstream_ping, upstream_request, upstream_roots_changed, upstream_unanswered,
};

pub use rounds::{
    InputResponses, client_cancelled, error_status, input_required, progress_token, retag, server_request,
    with_progress_token, with_request_state, with_taken_back,
};

use super::message::RequestId;
use super::revision::Era;
use super::scan::JsonFault;
use crate::model::{CallId, Decision, Lesson, MemberStatus, PolicyRef, Reason, Timestamp};

/// What JSON-RPC 2.0 and MCP 2026-07-28 call the faults.
pub(in crate::mcp) mod code {
    pub const PARSE_ERROR: i32 = -32700;
    pub const INVALID_REQUEST: i32 = -32600;
    pub const METHOD_NOT_FOUND: i32 = -32601;
    pub const INVALID_PARAMS: i32 = -32602;
    pub const INTERNAL_ERROR: i32 = -32603;
    /// Stateless era: a mirrored header differs from the body.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// Stateless era: the client lacks a capability.
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// Stateless era: the revision is not offered.
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// The code of a stateless request whose headers differ from its body.
pub const HEADER_MISMATCH: i32 = code::HEADER_MISMATCH;
/// The code of a method that a server does not have.
pub const METHOD_NOT_FOUND: i32 = code::METHOD_NOT_FOUND;

/// Why a client does not get what it asked for: one variant for each row of the table, with the facts
/// of this case. `service`, `tool` and the like are user input or names of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Denied by policy, service not enabled, or quarantined. `tool` without its prefix, or the method
    /// where no tool is called; `agent` by its display name; `policies` only where they are actionable.
    Denied {
        of: Asked,
        tool: String,
        agent: String,
        reason: Reason,
        deny_message: Option<Arc<str>>,
        policies: Vec<PolicyRef>,
        /// What can be done about it, and the time at which it was denied.
        lesson: Option<Box<(Lesson, Timestamp)>>,
    },
    /// Unknown, or hidden from this caller: the two look the same.
    UnknownTool { name: String },
    /// A resource that no enabled upstream has, or that is hidden from this caller.
    UnknownResource { uri: String },
    /// A tool name without `service__`.
    NoPrefix { name: String },
    /// No connector of that prefix.
    UnknownService { era: Era, service: String },
    /// A method that the gate does not serve.
    UnknownMethod { era: Era, method: String },
    /// The body is no strict JSON.
    NotJson { fault: JsonFault },
    /// JSON, but not one JSON-RPC message.
    InvalidRequest { what: &'static str },
    /// An array of messages.
    Batch,
    /// The method is known, its parameters have the wrong shape.
    InvalidParams { what: &'static str },
    /// A cursor that the gate did not give, or not for this catalogue.
    BadCursor,
    /// No `Authorization: Bearer`.
    NoBearer,
    /// No such key, or no longer.
    UnknownKey,
    /// The kill switch is on.
    AgentDisabled { agent: String },
    /// The membership is pending or rejected.
    MembershipNotApproved { status: MemberStatus },
    /// The browser's page may not speak to the gate.
    OriginNotAllowed,
    /// No such path.
    NoSuchPath,
    /// A session id that the gate did not mint, or that has ended: the client starts anew.
    UnknownSession,
    /// An HTTP method that this path does not take; `allow` lists those it does.
    MethodNotAllowed { allow: &'static str },
    /// The client does not accept both JSON and event streams.
    NotAcceptable,
    /// The body did not come in time.
    BodyTooSlow,
    /// The body is larger than so many bytes.
    TooLarge { bytes_max: u64 },
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// Authorised, but the member has no credential for the service.
    NoCredential { service: String },
    /// The key's bucket is empty.
    RateLimited { retry_after_s: u32 },
    /// The member has so many calls under way that one more is refused.
    TooManyInFlight { retry_after_s: u32 },
    /// The member opened more conversations than it may.
    TooManySessions { retry_after_s: u32 },
    /// The gate as a whole has no slot left.
    Overloaded { retry_after_s: u32 },
    /// The gate is stopping.
    Draining { retry_after_s: u32 },
    /// The journal cannot take the record: no record, no call.
    CannotRecord { retry_after_s: u32 },
    /// What the gate knows of callers is older than it may be: nobody can say who was revoked since.
    DirectoryStale { retry_after_s: u32 },
    /// The service has as many calls under way as it may.
    UpstreamBusy { service: String, retry_after_s: u32 },
    /// No connection to the service: nothing was sent.
    UpstreamUnreachable { service: String },
    /// The service broke off, or answered what is no MCP reply.
    UpstreamBroken { service: String },
    /// The service's reply is larger than the connector allows.
    UpstreamTooLarge { service: String },
    /// The service answered, but too many large replies wait for their clients for this one to be kept.
    ReplyDropped { service: String },
    /// The service was silent past its limit.
    UpstreamSilent { service: String, after_s: u32 },
    /// The call outlived its life, though the service still spoke.
    CallTooLong { service: String, after_s: u32 },
    /// A fault of the gate itself; the log has the request id.
    Internal,
    /// Stateless era: a header that mirrors the body is missing, malformed or different.
    HeaderMismatch { header: &'static str },
    /// A revision that is not offered, by header or `_meta`.
    UnsupportedVersion { era: Era, requested: String, supported: Vec<&'static str> },
    /// Stateless era: the request needs what the client did not declare.
    MissingCapability { required: Vec<String> },
}

/// What a denied request asks for, as its message names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Tool,
    /// A method of MCP beside `tools/call`.
    Operation,
}

impl Refusal {
    /// The row for a denied call. `prefixed` is the name as the client sent it, `tool` the same
    /// without its prefix; policies are named only where the decision says that they may be.
    pub fn of_decision(prefixed: &str, (of, tool): (Asked, &str), agent: &str, decision: &Decision) -> Self {
        if decision.reason == Reason::UnknownTool {
            return Self::UnknownTool { name: prefixed.to_owned() };
        }
        Self::Denied {
            of,
            tool: tool.to_owned(),
            agent: agent.to_owned(),
            reason: decision.reason,
            deny_message: decision.deny_message.clone(),
            policies: if decision.actionable { decision.determining.clone() } else { Vec::new() },
            lesson: None,
        }
    }

    /// The same denial, with what can be done about it as of this time.
    #[must_use]
    pub fn teaching(mut self, taught: Option<Lesson>, now: Timestamp) -> Self {
        if let Self::Denied { lesson, .. } = &mut self {
            *lesson = taught.map(|taught| Box::new((taught, now)));
        }
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.row().status
    }

    /// The JSON-RPC code.
    pub fn code(&self) -> i32 {
        self.row().code
    }

    /// The short name: metric label, and `reason` in `error.data` where a decision gives no other.
    pub fn kind(&self) -> &'static str {
        self.row().kind
    }

    /// Seconds after which the same may succeed, for `Retry-After`.
    pub const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_s }
            | Self::TooManyInFlight { retry_after_s }
            | Self::TooManySessions { retry_after_s }
            | Self::Overloaded { retry_after_s }
            | Self::Draining { retry_after_s }
            | Self::CannotRecord { retry_after_s }
            | Self::DirectoryStale { retry_after_s }
            | Self::UpstreamBusy { retry_after_s, .. } => Some(*retry_after_s),
            _ => None,
        }
    }

    /// The value of `Allow`, which a 405 must carry (RFC 9110, 15.5.6).
    pub const fn allow_header(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(*allow),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`, which a 401 must carry (RFC 9110, 15.5.2). It names no
    /// `resource_metadata` while the gate serves no OAuth.
    pub const fn authenticate_header(&self) -> Option<&'static str> {
        match self {
            Self::NoBearer => Some(r#"Bearer realm="wicket""#),
            Self::UnknownKey => Some(r#"Bearer realm="wicket", error="invalid_token""#),
            _ => None,
        }
    }

    /// Every header that this row adds, by lower-case name.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let allow = self.allow_header().map(|value| ("allow", value.to_owned()));
        let authenticate = self.authenticate_header().map(|value| ("www-authenticate", value.to_owned()));
        let retry = self.retry_after_s().map(|seconds| ("retry-after", seconds.to_string()));
        [allow, authenticate, retry].into_iter().flatten().collect()
    }

    /// The JSON-RPC error. Without an id the member is left out, as MCP has it (transports: "a JSON-RPC
    /// error response that has no `id`").
    pub fn body(&self, id: Option<&RequestId>, request_id: &CallId) -> Bytes {
        let error: Value = json!({
            "code": self.code(),
            "message": self.message(),
            "data": self.data(request_id),
        });
        let id = id.map_or_else(String::new, |id| format!(r#""id":{id},"#));
        Bytes::from(format!(r#"{{"jsonrpc":"2.0",{id}"error":{error}}}"#))
    }
}

#[cfg(test)]
mod lint_tests;
#[cfg(test)]
mod tests;

//! What each row says: its fixed message, and the facts in `error.data`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Asked, Refusal};
use crate::model::{CallId, CounterScope, Lesson, MemberStatus, Timestamp};

/// Characters of user input that a message repeats.
const INPUT_CHARS_MAX: usize = 128;

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(INPUT_CHARS_MAX).collect()
}

impl Refusal {
    /// The sentence for a person. Fixed strings of specification 2.2, the others in their manner.
    pub fn message(&self) -> String {
        match self {
            Self::Denied { of, tool, agent, .. } => format!(
                "Authorization denied: {} '{}' is not permitted for agent '{}'",
                match of {
                    Asked::Tool => "tool",
                    Asked::Operation => "operation",
                },
                clip(tool),
                clip(agent)
            ),
            Self::UnknownTool { name } => {
                format!("Unknown tool '{}' — list the tools to see which are offered", clip(name))
            }
            Self::UnknownResource { uri } => {
                format!("Unknown resource '{}' — list the resources to see which are offered", clip(uri))
            }
            Self::NoPrefix { name } => {
                format!("Tool name '{}' lacks its service — call tools as service__tool", clip(name))
            }
            Self::UnknownService { service, .. } => {
                format!("Unknown service '{}' — list the tools to see which are offered", clip(service))
            }
            Self::UnknownMethod { method, .. } => format!("Method '{}' is not supported", clip(method)),
            Self::NotJson { fault } => format!("Body is not valid JSON — {fault}"),
            Self::InvalidRequest { what } => format!("Body is not one JSON-RPC 2.0 message — {what}"),
            Self::Batch => "Batches are not accepted — send each message on its own".to_owned(),
            Self::InvalidParams { what } => format!("Invalid params — {what}"),
            Self::BadCursor => "Invalid cursor — list again from the start".to_owned(),
            Self::MethodNotAllowed { allow } => format!("HTTP method not allowed — use {allow}"),
            Self::TooLarge { bytes_max } => {
                format!("Body is too large — at most {bytes_max} bytes are taken")
            }
            Self::UnsupportedVersion { supported, .. } => {
                format!("Unsupported protocol version — use one of {}", supported.join(", "))
            }
            Self::MissingCapability { required } => {
                format!("Missing client capability — declare {}", clip(&required.join(", ")))
            }
            Self::HeaderMismatch { header } => format!("Header {header} does not match the body"),
            other => other.message_about_a_service().unwrap_or_else(|| other.fixed_message().to_owned()),
        }
    }

    fn message_about_a_service(&self) -> Option<String> {
        Some(match self {
            Self::NoCredential { service } => {
                format!("No credential for service '{}' — connect it at the UI first", clip(service))
            }
            Self::UpstreamBusy { service, .. } => {
                format!("Service '{}' is busy — too many calls to it are under way", clip(service))
            }
            Self::UpstreamUnreachable { service } => {
                format!("Service '{}' cannot be reached — the call was not sent", clip(service))
            }
            Self::UpstreamBroken { service } => {
                format!("Service '{}' broke off — the call may have had an effect", clip(service))
            }
            Self::UpstreamTooLarge { service } => {
                format!(
                    "Service '{}' sent too large a reply — the call may have had an effect",
                    clip(service)
                )
            }
            Self::ReplyDropped { service } => format!(
                "Service '{}' answered, but too many large replies wait to be read — the call may have had an effect",
                clip(service)
            ),
            Self::UpstreamSilent { service, after_s } => format!(
                "Service '{}' was silent for {after_s} s — the call may have had an effect",
                clip(service)
            ),
            Self::CallTooLong { service, after_s } => format!(
                "Service '{}' did not finish within {after_s} s — the call may have had an effect",
                clip(service)
            ),
            _ => return None,
        })
    }

    const fn fixed_message(&self) -> &'static str {
        match self {
            Self::NoBearer => "Missing Bearer token — add your member key to the MCP client config",
            Self::UnknownKey => "Unknown member key — re-authenticate at the UI to get a new key",
            Self::AgentDisabled { .. } => "Agent is disabled — ask its owner to enable it",
            Self::MembershipNotApproved { status: MemberStatus::Rejected } => {
                "Membership is rejected — ask the agent's owner"
            }
            Self::MembershipNotApproved { .. } => {
                "Membership is not approved — wait for the agent's owner to approve it"
            }
            Self::OriginNotAllowed => "Origin is not allowed — add it to the gate's allowed origins",
            Self::NoSuchPath => "Nothing is served here — use POST /mcp",
            Self::UnknownSession => "Unknown session — initialize again",
            Self::NotAcceptable => "Not acceptable — accept both application/json and text/event-stream",
            Self::BodyTooSlow => "Body came too slowly — send the whole message at once",
            Self::UnsupportedMediaType => "Unsupported media type — send application/json",
            Self::RateLimited { .. } => "Rate limit exceeded — too many requests per key",
            Self::TooManyInFlight { .. } => "Too many calls under way — wait for one to end",
            Self::TooManySessions { .. } => "Too many conversations — reuse the ones you have",
            Self::Overloaded { .. } => "Overloaded — try again later",
            Self::Draining { .. } => "Shutting down — try again later",
            Self::CannotRecord { .. } => "Call cannot be recorded — try again later",
            Self::DirectoryStale { .. } => "Callers cannot be checked now — try again later",
            _ => "Internal error — give the request id to the gate's operator",
        }
    }

    /// `error.data`: machine-readable facts of this case.
    pub(super) fn data(&self, request_id: &CallId) -> Value {
        let mut data = Map::new();
        data.insert("reason".to_owned(), json!(self.kind()));
        match self {
            Self::Denied { reason, deny_message, policies, lesson, .. } => {
                put(&mut data, "reason", reason);
                if let Some(message) = deny_message {
                    put(&mut data, "denyMessage", message);
                }
                if !policies.is_empty() {
                    put(&mut data, "policies", policies);
                }
                if let Some(lesson) = lesson {
                    let (lesson, now) = lesson.as_ref();
                    teach(&mut data, lesson, *now);
                }
            }
            Self::NotJson { fault } => {
                put(&mut data, "fault", fault.kind().as_str());
                put(&mut data, "offset", &fault.offset());
            }
            Self::TooLarge { bytes_max } => put(&mut data, "bytesMax", bytes_max),
            Self::UnsupportedVersion { requested, supported, .. } => {
                put(&mut data, "supported", supported);
                put(&mut data, "requested", &clip(requested));
            }
            Self::MissingCapability { required } => {
                // MCP 2026-07-28: the shape of `ClientCapabilities`.
                let capabilities = required.iter().map(|name| (name.clone(), json!({})));
                put(&mut data, "requiredCapabilities", &capabilities.collect::<Map<String, Value>>());
            }
            Self::HeaderMismatch { header } => put(&mut data, "header", header),
            Self::UpstreamBusy { service, .. }
            | Self::UpstreamUnreachable { service }
            | Self::UpstreamBroken { service }
            | Self::UpstreamTooLarge { service }
            | Self::ReplyDropped { service }
            | Self::UpstreamSilent { service, .. }
            | Self::CallTooLong { service, .. }
            | Self::NoCredential { service } => put(&mut data, "service", &clip(service)),
            _ => {}
        }
        if let Some(seconds) = self.retry_after_s() {
            put(&mut data, "retryAfterSeconds", &seconds);
        }
        put(&mut data, "requestId", request_id);
        Value::Object(data)
    }
}

/// What a caller can do about a denial: the limits that it reached, and when to come back.
fn teach(data: &mut Map<String, Value>, lesson: &Lesson, now: Timestamp) {
    let limits = lesson.limits.iter().map(|limit| {
        let scope = match limit.scope {
            CounterScope::Session => "session",
            CounterScope::Member => "member",
        };
        json!({"policy": limit.policy, "scope": scope, "counter": limit.counter, "limit": limit.limit, "value": limit.value})
    });
    let limits: Vec<Value> = limits.collect();
    if !limits.is_empty() {
        put(data, "limits", &limits);
    }
    if let Some(opens_at) = lesson.opens_at {
        let wait_s = opens_at.millis_since(now).max(0).unsigned_abs().div_ceil(1_000);
        put(data, "opensAt", &opens_at.to_string());
        put(data, "retryAfterSeconds", &wait_s);
    }
}

fn put<T: Serialize + ?Sized>(data: &mut Map<String, Value>, key: &str, fact: &T) {
    data.insert(key.to_owned(), serde_json::to_value(fact).unwrap_or_default());
}

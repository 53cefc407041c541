//! What the gate says and hears as an upstream's client, whatever the transport: the handshake, what
//! is relayed of a call's messages, and what is answered to a server's own requests.
//!
//! Invariants: a call's answer carries its own id or the exchange is broken; a member sees only what
//! concerns its own call; a server's requests are answered here and never relayed.

use bytes::Bytes;

use super::{ReplyEvent, UpstreamFailure, news};
use crate::mcp::envelope::{UpstreamInfo, read_initialize_result};
use crate::mcp::{self, FromUpstream, NotificationBody, ReplyBody, RequestId};
use crate::model::OutcomeKind;

/// Progress of a request.
const PROGRESS: &str = "notifications/progress";
/// What concerns the gate as a client, or what no member asked for.
const NOT_RELAYED: [&str; 3] =
    ["notifications/cancelled", "notifications/initialized", "notifications/roots/list_changed"];

/// Reads the answer to `initialize`.
///
/// # Errors
/// What the server said instead, for the operator.
pub(super) fn agreed(body: &ReplyBody) -> Result<UpstreamInfo, String> {
    let Some(result) = body.result() else {
        let (code, message) = body.error().unwrap_or_default();
        let message: String = message.chars().take(200).collect();
        return Err(format!("it refused `initialize`: {code} `{}`", message.escape_default()));
    };
    read_initialize_result(result).map_err(|fault| fault.to_string())
}

/// The gate's answer to a server's own request: `ping` works, nothing else is offered.
pub(super) fn answer(id: &RequestId, method: &str) -> Bytes {
    match method {
        "ping" => mcp::reply::empty_result(id),
        _ => mcp::reply::upstream_method_refused(id, method),
    }
}

/// What is to be done with one message.
#[derive(Debug)]
pub(super) enum Step {
    /// The call's answer, with the client's id.
    Answer { body: Bytes, kind: OutcomeKind },
    /// A notification for the client.
    Relay(Bytes),
    /// What concerns no call, though it came with one: a list or a resource is another now.
    News { method: String, raw: NotificationBody },
    /// Our answer to a server's request, to be sent to it.
    Reply(Bytes),
    /// Nothing.
    Skip,
}

/// One call: how it is known upstream and downstream.
#[derive(Debug)]
pub(super) struct Exchange {
    pub upstream_id: u64,
    client_id: RequestId,
    client_token: Option<Box<str>>,
}

impl Exchange {
    /// A call under this id of ours.
    pub fn new(upstream_id: u64, call: &mcp::CallRequest) -> Self {
        Self { upstream_id, client_id: call.id().clone(), client_token: call.progress_token().map(Box::from) }
    }

    /// Our progress token, if the client gave one: the id, so that it is unique upstream.
    pub fn token(&self) -> Option<u64> {
        self.client_token.as_ref().map(|_| self.upstream_id)
    }

    /// The call's answer, as the client gets it.
    pub fn answer(&self, body: &ReplyBody) -> ReplyEvent {
        ReplyEvent::Json { body: body.with_id(&self.client_id), kind: body.kind() }
    }

    /// What to do with a message of this call's stream.
    ///
    /// # Errors
    /// It answers a request that was not asked.
    pub fn step(&self, message: FromUpstream) -> Result<Step, UpstreamFailure> {
        Ok(match message {
            FromUpstream::Response { id, body } if id == self.upstream_id => {
                Step::Answer { body: body.with_id(&self.client_id), kind: body.kind() }
            }
            FromUpstream::Response { .. } => {
                return Err(UpstreamFailure::broken("it answered a request that was not asked"));
            }
            FromUpstream::Request { id, method, .. } => Step::Reply(answer(&id, &method)),
            FromUpstream::Notification { method, raw } => match (method.as_str(), &self.client_token) {
                (PROGRESS, Some(token)) if raw.progress_token() == Some(self.upstream_id) => {
                    Step::Relay(raw.with_token(token))
                }
                (PROGRESS, _) => Step::Skip,
                (name, _) if news::is_news(name) => Step::News { method, raw },
                (method, _) if NOT_RELAYED.contains(&method) => Step::Skip,
                _ => Step::Relay(Bytes::copy_from_slice(raw.as_str().as_bytes())),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(meta: &str) -> mcp::CallRequest {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{{"name":"s__t","arguments":{{}}{meta}}}}}"#
        );
        match mcp::read(Bytes::from(text), mcp::Limits::REQUEST) {
            Ok(mcp::Message::Request(mcp::Request::Call(call))) => call,
            _ => panic!("not a call"),
        }
    }

    fn step(exchange: &Exchange, text: &str) -> String {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let show = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match exchange.step(mcp::read_upstream(text, mcp::Limits::REPLY).unwrap()) {
            Ok(Step::Answer { body, kind }) => format!("answer {} {}", kind.as_str(), show(body)),
            Ok(Step::Relay(bytes)) => format!("relay {}", show(bytes)),
            Ok(Step::Reply(bytes)) => format!("reply {}", show(bytes)),
            Ok(Step::News { method, .. }) => format!("news {method}"),
            Ok(Step::Skip) => "skip".to_owned(),
            Err(failure) => format!("broken {failure}"),
        }
    }

    #[test]
    fn each_message_of_a_stream_goes_where_it_belongs() {
        let with_token = Exchange::new(7, &call(r#","_meta":{"progressToken":"mine"}"#));
        let without = Exchange::new(7, &call(""));
        assert_eq!((with_token.token(), without.token()), (Some(7), None));
        for (text, expect) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{"content":[ ]}}"#,
                r#"answer result {"jsonrpc":"2.0","id":"c-1","result":{"content":[ ]}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
                "broken broke off: it answered a request that was not asked",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#,
                r#"relay {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine","progress":1}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":8,"progress":1}}"#,
                "skip",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                "news notifications/tools/list_changed",
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#, "skip"),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#,
                r#"relay {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#,
                r#"reply {"jsonrpc":"2.0","id":"p","result":{}}"#,
            ),
        ] {
            assert_eq!(step(&with_token, text), expect);
        }
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
        assert_eq!(step(&without, progress), "skip");
        for method in ["sampling/createMessage", "elicitation/create", "roots/list", "tools/call"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
            let reply = step(&without, &text);
            assert!(reply.starts_with("reply ") && reply.contains("-32601"), "{reply}");
        }
    }
}

//! What an upstream says outside of calls, on its way to those who asked for it.
//!
//! Invariant: what is passed on is the upstream's own text, but for the id of a subscription, which is
//! the receiver's: every receiver has another.

use std::sync::Arc;

use serde_json::json;

use super::message::RequestId;
use super::primitive::Primitive;
use super::reply::code;
use super::scan::{self, Kind, Limits};

/// Under which `_meta` names the request that a message of `subscriptions/listen` belongs to.
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A notification without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    method: String,
    /// The members of `params` but for `_meta`, as they came, comma between them.
    params: String,
    /// The members of `_meta` but for the id of a subscription.
    meta: String,
}

impl Told {
    /// A notification of the gate's own without parameters.
    pub fn bare(method: &str) -> Self {
        Self { method: method.to_owned(), params: String::new(), meta: String::new() }
    }

    /// That a list is another one now. Templates have no word of their own: resources stand for both.
    pub fn list_changed(of: Primitive) -> Self {
        Self::bare(match of {
            Primitive::Tools => "notifications/tools/list_changed",
            Primitive::Prompts => "notifications/prompts/list_changed",
            Primitive::Resources | Primitive::Templates => "notifications/resources/list_changed",
        })
    }

    /// That a resource is another one now.
    pub fn updated(uri: &str) -> Self {
        let uri = serde_json::Value::from(uri);
        Self { params: format!("\"uri\":{uri}"), ..Self::bare("notifications/resources/updated") }
    }

    /// A line for the log, of the gate's own.
    pub fn line(level: &str, data: &serde_json::Value) -> Self {
        let level = serde_json::Value::from(level);
        let params = format!("\"level\":{level},\"logger\":\"wicket\",\"data\":{data}");
        Self { params, ..Self::bare("notifications/message") }
    }

    /// What a `subscriptions/listen` is answered first: the part of the filter that is honoured.
    pub fn acknowledged(notifications: &serde_json::Value) -> Self {
        let params = format!("\"notifications\":{notifications}");
        Self { params, ..Self::bare("notifications/subscriptions/acknowledged") }
    }

    /// Takes a notification apart, as the upstream sent it.
    pub fn read(notification: &str) -> Option<Self> {
        let document = scan::scan_text(notification, Limits::REPLY).ok()?;
        let method = document.get("method")?.string()?.into_owned();
        let params = document.get("params").filter(|value| value.kind() == Kind::Object);
        let params = params.map_or("{}", |value| value.raw());
        let inner = scan::scan_text(params, Limits::REPLY).ok()?;
        let meta = inner.get("_meta").filter(|value| value.kind() == Kind::Object).map(|value| value.raw());
        let meta = meta.map(|meta| members_but(meta, SUBSCRIPTION_ID)).unwrap_or_default();
        Some(Self { method, params: members_but(params, "_meta"), meta })
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// A member of its parameters that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        let params = format!("{{{}}}", self.params);
        let document = scan::scan_text(&params, Limits::REPLY).ok()?;
        Some(document.get(key)?.string()?.into_owned())
    }

    /// Bytes that it takes, about.
    pub const fn len(&self) -> usize {
        self.method.len() + self.params.len() + self.meta.len() + 80
    }

    /// Never: it has a method.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The message for one receiver: tagged with its `subscriptions/listen`, where it has one.
    pub fn message(&self, subscription: Option<&RequestId>) -> String {
        let tag = subscription.map(|id| format!("\"{SUBSCRIPTION_ID}\":{id}")).unwrap_or_default();
        let meta = joined(&tag, &self.meta);
        let meta = if meta.is_empty() { meta } else { format!("\"_meta\":{{{meta}}}") };
        let params = joined(&meta, &self.params);
        let params = if params.is_empty() { params } else { format!(",\"params\":{{{params}}}") };
        let method = serde_json::Value::from(self.method.as_str());
        format!(r#"{{"jsonrpc":"2.0","method":{method}{params}}}"#)
    }
}

/// The answer that ends a `subscriptions/listen` in order.
pub fn listen_result(id: &RequestId) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}}}"#
    )
}

/// What precedes the end of a `subscriptions/listen` that its server tears down, for whatever reason (MCP 2026-07-28,
/// cancellation).
pub fn listen_torn_down(id: &RequestId, reason: &str) -> String {
    let reason = serde_json::Value::from(reason);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason},"_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}}}"#
    )
}

/// The answer that ends a `subscriptions/listen` which was accepted for more than is told now: its client
/// asks anew, and reads in the acknowledgement what is left. No result, because a result says that all is
/// in order, and clients leave it at that.
pub fn listen_withdrawn(id: &RequestId, uris: &[Arc<str>]) -> String {
    let error = json!({
        "code": code::INTERNAL_ERROR,
        "message": "Subscription ended — some of it is not told of any more, listen again and read what is acknowledged",
        "data": {"reason": "subscription_withdrawn", "resourceSubscriptions": uris},
    });
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

fn joined(one: &str, other: &str) -> String {
    let between = if one.is_empty() || other.is_empty() { "" } else { "," };
    format!("{one}{between}{other}")
}

fn members_but(object: &str, left_out: &str) -> String {
    let Ok(document) = scan::scan_text(object, Limits::REPLY) else { return String::new() };
    let kept = document.members().filter(|member| member.key != left_out);
    kept.filter_map(|member| object.get(member.range)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_passes_as_it_came_but_for_the_subscription() {
        let id = RequestId::parse("\"l-1\"").unwrap();
        for (came, plain, tagged) in [
            (
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://\u00e9", "x": 1.0}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://\u00e9","x": 1.0}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l-1"},"uri":"x://\u00e9","x": 1.0}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7,"k":[1]}}}"#,
                r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"k":[1]}}}"#,
                r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l-1","k":[1]}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m"}"#,
                r#"{"jsonrpc":"2.0","method":"m"}"#,
                r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l-1"}}}"#,
            ),
        ] {
            let told = Told::read(came).unwrap();
            assert_eq!(told.message(None), plain);
            assert_eq!(told.message(Some(&id)), tagged);
        }
        let updated = Told::updated("x://\"1");
        assert_eq!(updated.text("uri").as_deref(), Some("x://\"1"));
        assert_eq!(Told::read(&updated.message(None)), Some(updated));
        assert_eq!(Told::read("[]"), None);
        let ended: serde_json::Value = serde_json::from_str(&listen_result(&id)).unwrap();
        assert_eq!(ended["result"]["_meta"][SUBSCRIPTION_ID], "l-1");
    }

    #[test]
    fn the_gates_own_words_are_whole() {
        let id = RequestId::parse("7").unwrap();
        let ended: serde_json::Value =
            serde_json::from_str(&listen_withdrawn(&id, &[Arc::from("x://\"1\"")])).unwrap();
        assert_eq!((&ended["id"], &ended["error"]["code"]), (&json!(7), &json!(-32603)));
        assert_eq!(ended["error"]["data"]["resourceSubscriptions"], json!(["x://\"1\""]));
        let torn: serde_json::Value = serde_json::from_str(&listen_torn_down(&id, "a \"why\"")).unwrap();
        assert_eq!(torn["method"], "notifications/cancelled");
        assert_eq!(
            torn["params"],
            json!({"requestId": 7, "reason": "a \"why\"", "_meta": {SUBSCRIPTION_ID: 7}})
        );
        let line = Told::line("warning", &json!({"uri": "x://1"}));
        let line: serde_json::Value = serde_json::from_str(&line.message(None)).unwrap();
        let params = json!({"level": "warning", "logger": "wicket", "data": {"uri": "x://1"}});
        assert_eq!((&line["method"], &line["params"]), (&json!("notifications/message"), &params));
    }
}

//! What an upstream says outside of calls, on its way to those who asked for it.
//!
//! Invariant: what is passed on is the upstream's own text, but for the id of a subscription, which is
//! the receiver's: every receiver has another.

use super::message::RequestId;
use super::primitive::Primitive;
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
}

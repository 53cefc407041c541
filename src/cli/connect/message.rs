//! What the client writes, as far as the bridge must understand it: whose answer is awaited, which
//! era it is, what its headers say. The line itself is forwarded byte for byte.
//!
//! Invariant: nothing here judges. A message that the gate would refuse is still forwarded, so that
//! its refusal is the gate's; only what is no JSON-RPC at all is answered here.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where a message of the stateless era names its revision (2026-07-28, basic: `_meta`).
#[cfg(test)]
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// One message of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The line as it was written, without its end.
    pub line: Bytes,
    pub kind: Kind,
    /// The revision that the message itself names: only those of the stateless era do.
    pub stateless: Option<String>,
    /// What `Mcp-Name` mirrors; only for the methods that have one.
    pub name: Option<String>,
    /// `arguments` of a tool call, raw.
    pub arguments: Option<String>,
    /// `_meta`, raw: what a request of the bridge's own says of the same client.
    pub meta: Option<String>,
}

/// What a message wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An answer with this id, kept as it was written.
    Request { id: String, method: String },
    Notification {
        method: String,
        /// Of `notifications/cancelled`: the raw id of what is no longer wanted.
        cancels: Option<String>,
    },
    /// The client answers a request of the server.
    Response,
}

/// Why a line is no message; for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMessage(pub &'static str);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a RawValue>,
}

impl Message {
    /// Reads one line.
    ///
    /// # Errors
    /// The line is not one JSON object.
    pub fn read(line: Bytes) -> Result<Self, NoMessage> {
        let text = std::str::from_utf8(&line).map_err(|_| NoMessage("the message is not UTF-8"))?;
        let no_object = NoMessage("the message is not one JSON object");
        if !text.trim_start().starts_with('{') {
            return Err(no_object);
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| no_object)?;
        let params: Params<'_> = parsed(envelope.params).unwrap_or_default();
        let meta: Meta<'_> = parsed(params.meta).unwrap_or_default();
        let method = string(envelope.method);
        let name = match method.as_deref() {
            Some("tools/call" | "prompts/get") => string(params.name),
            Some("resources/read") => string(params.uri),
            _ => None,
        };
        let kind = match (method, envelope.id) {
            (Some(method), Some(id)) => Kind::Request { id: id.get().to_owned(), method },
            (Some(method), None) => {
                let cancels = (method == "notifications/cancelled").then_some(params.request_id).flatten();
                Kind::Notification { method, cancels: cancels.map(|id| id.get().to_owned()) }
            }
            (None, _) => Kind::Response,
        };
        let stateless = string(meta.version);
        let arguments = params.arguments.map(|raw| raw.get().to_owned());
        let meta = params.meta.map(|raw| raw.get().to_owned());
        Ok(Self { kind, stateless, name, arguments, meta, line })
    }

    /// The method, where it has one.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method, .. } => Some(method),
            Kind::Response => None,
        }
    }

    /// A request of the bridge's own in the name of the client that sent `like`.
    pub fn list_of_tools(like: &Self, id: &str, cursor: Option<&str>) -> Self {
        let mut meta: serde_json::Map<String, serde_json::Value> =
            like.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok()).unwrap_or_default();
        meta.remove("progressToken");
        let mut params = serde_json::json!({ "_meta": meta });
        if let (Some(params), Some(cursor)) = (params.as_object_mut(), cursor) {
            params.insert("cursor".to_owned(), cursor.into());
        }
        let body =
            serde_json::json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": params });
        Self {
            line: Bytes::from(body.to_string()),
            kind: Kind::Request { id: format!("\"{id}\""), method: "tools/list".to_owned() },
            stateless: like.stateless.clone(),
            name: None,
            arguments: None,
            meta: None,
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

fn string(raw: Option<&RawValue>) -> Option<String> {
    parsed(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Message {
        Message::read(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_line_is_a_request_a_notification_or_an_answer() {
        let request = |id: &str, method: &str| Kind::Request { id: id.to_owned(), method: method.to_owned() };
        let note = |method: &str, cancels: Option<&str>| Kind::Notification {
            method: method.to_owned(),
            cancels: cancels.map(str::to_owned),
        };
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, request("1", "ping")),
            (r#"{"id":"a\u0062","method":"ping"}"#, request(r#""a\u0062""#, "ping")),
            (r#"{"id":null,"method":"ping"}"#, note("ping", None)),
            (
                r#"{"method":"notifications/cancelled","params":{"requestId":7}}"#,
                note("notifications/cancelled", Some("7")),
            ),
            (
                r#"{"method":"notifications/progress","params":{"requestId":7}}"#,
                note("notifications/progress", None),
            ),
            (r#"{"id":3,"result":{}}"#, Kind::Response),
            // Whatever else it is, the gate says so.
            (r#"{"id":3,"method":5}"#, Kind::Response),
            (r#"{"id":1,"method":"tools/call","params":[]}"#, request("1", "tools/call")),
        ] {
            assert_eq!(read(text).kind, expected, "{text}");
            assert_eq!(read(text).line, text.as_bytes());
        }
        for text in ["", "[]", "{", r#"{"id":1} {"id":2}"#, r#"{"id":1,"id":2}"#, "7"] {
            assert!(Message::read(Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
        }
        assert_eq!(
            Message::read(Bytes::from_static(b"{\"a\":\"\xff\"}")),
            Err(NoMessage("the message is not UTF-8"))
        );
    }

    #[test]
    fn a_message_of_the_stateless_era_names_its_revision_and_what_it_is_about() {
        let meta = format!(r#""_meta":{{"{VERSION_KEY}":"2026-07-28"}}"#);
        for (method, rest, name) in [
            ("tools/call", r#""name":"fs__read","uri":"x""#, Some("fs__read")),
            ("prompts/get", r#""name":"fs__p""#, Some("fs__p")),
            ("resources/read", r#""uri":"file:///a","name":"x""#, Some("file:///a")),
            ("tools/list", r#""name":"x""#, None),
            ("tools/call", r#""name":5"#, None),
        ] {
            let message = read(&format!(r#"{{"id":1,"method":"{method}","params":{{{rest},{meta}}}}}"#));
            assert_eq!(message.stateless.as_deref(), Some("2026-07-28"), "{method}");
            assert_eq!(message.name.as_deref(), name, "{method}");
        }
        assert_eq!(read(r#"{"id":1,"method":"tools/list","params":{"_meta":{}}}"#).stateless, None);
    }

    #[test]
    fn a_request_of_our_own_speaks_as_the_client_does() {
        let like = read(&format!(
            r#"{{"id":1,"method":"tools/call","params":{{"_meta":{{"{VERSION_KEY}":"2026-07-28","progressToken":1}}}}}}"#
        ));
        let own = Message::list_of_tools(&like, "wicket-1", Some("next"));
        let sent = read(std::str::from_utf8(&own.line).unwrap());
        assert_eq!(sent.kind, own.kind);
        assert_eq!(sent.stateless, like.stateless);
        assert_eq!(sent.meta.as_deref(), Some(format!(r#"{{"{VERSION_KEY}":"2026-07-28"}}"#).as_str()));
        assert!(String::from_utf8_lossy(&own.line).contains(r#""cursor":"next""#));
    }
}

//! The arguments that are decided are the bytes that are sent, for any call (invariant I2).

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{CallRequest, Message, Request, read};
use crate::mcp::client::ClientFace;
use crate::mcp::envelope::read_upstream;
use crate::mcp::message::ToUpstream;
use crate::mcp::revision::Revision;
use crate::mcp::scan::property_tests::{cases, grown, mutated};
use crate::mcp::scan::{Limits, scan_text};

/// Objects only, and valid ones mostly.
fn object() -> impl Strategy<Value = String> {
    prop::collection::vec(("[a-z]{1,6}", grown()), 0..5).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
        format!("{{{}}}", members.join(" ,"))
    })
}

fn token() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof!["[1-9][0-9]{0,20}", "\"[a-z]{0,8}\""])
}

/// The text of a call and its arguments and `_meta`; the parts stand in any order.
fn call_text() -> impl Strategy<Value = (String, String, Json)> {
    (object(), object(), token(), any::<u8>()).prop_map(|(arguments, extra, token, order)| {
        let extra = extra.trim_start_matches('{').trim_end_matches('}');
        let token = token.map(|token| format!("\"progressToken\": {token}"));
        let parts: Vec<&str> = if order & 1 == 0 {
            token.as_deref().into_iter().chain((!extra.is_empty()).then_some(extra)).collect()
        } else {
            (!extra.is_empty()).then_some(extra).into_iter().chain(token.as_deref()).collect()
        };
        let meta = format!("{{ {} }}", parts.join(" , "));
        let mut params = [
            "\"name\":\"github__old\"".to_owned(),
            format!("\"arguments\": {arguments}"),
            format!("\"_meta\":{meta}"),
        ];
        params.rotate_left(usize::from(order >> 1) % 3);
        let params = params.join(", ");
        let text =
            format!(r#"{{"params":{{{params}}},"jsonrpc":"2.0","id":"client","method":"tools/call"}}"#);
        let meta = serde_json::from_str(&meta).unwrap_or_default();
        (text, arguments, meta)
    })
}

fn call(text: &str) -> Option<CallRequest> {
    match read(Bytes::copy_from_slice(text.as_bytes()), Limits::REQUEST) {
        Ok(Message::Request(Request::Call(call))) => Some(call),
        _ => None,
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn the_upstream_gets_the_decided_arguments_under_its_own_name_and_id(
        (text, arguments, meta) in call_text(), id: u64, token: Option<u64>, ask_first: bool
    ) {
        let Some(call) = call(&text) else {
            // Refused is right only if it is not strict JSON.
            prop_assert!(scan_text(&text, Limits::REQUEST).is_err(), "{}", text);
            return Ok(());
        };
        prop_assert_eq!(call.arguments(), &arguments);
        let expected: Json = serde_json::from_str(&arguments).unwrap();
        if ask_first {
            prop_assert_eq!(call.arguments_value(), &expected);
        }
        let sent = call.to_upstream(&to_upstream(id, "new.name", token, &ClientFace::unknown()));
        prop_assert!(holds(&sent, arguments.as_bytes()), "arguments appear verbatim");
        prop_assert!(scan_text(std::str::from_utf8(&sent).unwrap(), Limits::REQUEST).is_ok());
        let sent: Json = serde_json::from_slice(&sent).unwrap();
        let mut meta = meta;
        let members = meta.as_object_mut().unwrap();
        members.remove("progressToken");
        if let Some(token) = token {
            members.insert("progressToken".to_owned(), json!(token));
        }
        prop_assert_eq!(&sent["_meta"], &Json::Null);
        prop_assert_eq!(sent, json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "new.name", "arguments": expected, "_meta": meta},
        }));
    }

    #[test]
    fn one_changed_byte_never_panics((text, _, _) in call_text(), place: prop::sample::Index, with: u8, how: u8) {
        let bytes = Bytes::from(mutated(text.into_bytes(), place, with, how));
        let parsed = serde_json::from_slice::<Json>(&bytes);
        if let Ok(Message::Request(Request::Call(call))) = read(bytes.clone(), Limits::REQUEST) {
            let parsed = parsed.unwrap();
            prop_assert_eq!(&parsed["params"]["name"], call.name());
            let decided = call.arguments_value().clone();
            let theirs = parsed["params"].get("arguments").cloned().unwrap_or(json!({}));
            prop_assert_eq!(&theirs, &decided);
            let sent = call.to_upstream(&to_upstream(1, "t", Some(2), &ClientFace::unknown()));
            let sent: Json = serde_json::from_slice(&sent).unwrap();
            prop_assert_eq!(&sent["params"]["arguments"], &decided);
        }
        let _ = read_upstream(bytes, Limits::REPLY);
    }
}

fn to_upstream<'a>(id: u64, name: &'a str, token: Option<u64>, client: &'a ClientFace) -> ToUpstream<'a> {
    ToUpstream { id, name, token, revision: Revision::R2025_11_25, client, retry: None }
}

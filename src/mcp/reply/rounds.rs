//! What a server asks of a client, in both eras: as a request of its own (session era), or inside an
//! `input_required` result (MCP 2026-07-28, multi round-trip requests).
//!
//! Invariant: parameters and results are carried byte for byte; only ids, tokens and `requestState` change.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::mcp::envelope::InputRequest;
use crate::mcp::message::RequestId;
use crate::mcp::scan::{self, Kind, Limits};
use crate::mcp::splice::splice_into;

/// Where a result says which questions were taken back before their answers came.
const TAKEN_BACK: &str = "wicket/takenBack";

/// Answers by key, raw.
pub type InputResponses = BTreeMap<String, Box<RawValue>>;

/// A request of the gate to a client of the session era.
pub fn server_request(id: &str, method: &str, params: &str) -> Bytes {
    let (id, method) = (Value::from(id), Value::from(method));
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#))
}

/// The progress token of a request of a server, by its raw parameters.
pub fn progress_token(params: &str) -> Option<RequestId> {
    let document = scan::scan_text(params, Limits::REPLY).ok()?;
    RequestId::of(&document.get_in("_meta", "progressToken")?)
}

/// The parameters with this text in the place of their progress token; as they are where they have none.
pub fn with_progress_token(params: &str, token: &str) -> String {
    let Ok(document) = scan::scan_text(params, Limits::REPLY) else { return params.to_owned() };
    let Some(place) = document.get_in("_meta", "progressToken") else { return params.to_owned() };
    let mut out = String::with_capacity(params.len() + token.len());
    splice_into(&mut out, params, &[(place.range(), &Value::from(token).to_string())]);
    out
}

/// Tells a client of the session era that nobody waits for its answer to the request of this id any more.
pub fn client_cancelled(id: &str) -> Bytes {
    let id = Value::from(id);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the service does not ask any more"}}}}"#
    ))
}

/// The result that asks these, to be answered together with this state.
pub fn input_required(id: &RequestId, questions: &[InputRequest], state: &str) -> Bytes {
    let asked = questions.iter().map(|question| {
        let (key, method) = (Value::from(question.key.as_str()), Value::from(question.method.as_str()));
        format!(r#"{key}:{{"method":{method},"params":{}}}"#, question.params)
    });
    let asked: Vec<String> = asked.collect();
    let state = Value::from(state);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{{{}}},"requestState":{state}}}}}"#,
        asked.join(",")
    ))
}

/// The response with this `requestState` in the place of the server's, or added where it has none.
pub fn with_request_state(body: &[u8], state: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let document = scan::scan_text(text, Limits::REPLY).ok()?;
    let state = Value::from(state).to_string();
    let mut out = String::with_capacity(text.len() + state.len() + 20);
    match document.get_in("result", "requestState") {
        Some(old) => splice_into(&mut out, text, &[(old.range(), &state)]),
        None => {
            let result = document.get("result").filter(|value| value.kind() == Kind::Object)?;
            // `resultType` is there, so a comma follows.
            let at = result.range().start + 1;
            splice_into(&mut out, text, &[(at..at, &format!(r#""requestState":{state},"#))]);
        }
    }
    Some(Bytes::from(out))
}

/// The result with a note in its `_meta`: the questions of these keys were taken back before their answers came, which
/// went nowhere. An error says nothing of it.
pub fn with_taken_back(body: &[u8], keys: &[String]) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let document = scan::scan_text(text, Limits::REPLY).ok()?;
    let result = document.get("result").filter(|value| value.kind() == Kind::Object)?;
    let note = format!(r#""{TAKEN_BACK}":{}"#, Value::from(keys));
    let meta = document.get_in("result", "_meta");
    let (object, note) = match &meta {
        Some(meta) if meta.kind() == Kind::Object => (meta, note),
        Some(_) => return None,
        None => (&result, format!(r#""_meta":{{{note}}}"#)),
    };
    let is_empty = object.raw().trim_start_matches('{').trim_start().starts_with('}');
    let note = if is_empty { note } else { format!("{note},") };
    let at = object.range().start + 1;
    let mut out = String::with_capacity(text.len() + note.len());
    splice_into(&mut out, text, &[(at..at, &note)]);
    Some(Bytes::from(out))
}

/// The HTTP status of an error that a server answers with, for a client of the stateless era: 400 where the
/// client lacks a capability (MCP 2026-07-28, transports), else 200, since clients discard bodies of others.
pub fn error_status(body: &[u8]) -> u16 {
    let code =
        serde_json::from_slice::<Value>(body).ok().and_then(|body| body.pointer("/error/code")?.as_i64());
    if code == Some(super::code::MISSING_CAPABILITY.into()) { 400 } else { 200 }
}

/// A message under the names of a later round: a response's id, a progress notification's token.
/// Progress is dropped from what it says by giving nothing where the client has no token now.
pub fn retag(message: &[u8], id: &RequestId, token: Option<&str>) -> Option<Bytes> {
    let text = std::str::from_utf8(message).ok()?;
    let document = scan::scan_text(text, Limits::REPLY).ok()?;
    let (place, by) = match document.get("id") {
        Some(old) if document.get("method").is_none() => (old.range(), id.raw()),
        _ => (document.get_in("params", "progressToken")?.range(), token?),
    };
    let mut out = String::with_capacity(text.len() + by.len());
    splice_into(&mut out, text, &[(place, by)]);
    Some(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::envelope::InputRequired;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_round_is_written_and_read() {
        let id = RequestId::parse("7").unwrap();
        let question = InputRequest {
            key: "k\"".to_owned(),
            method: "elicitation/create".to_owned(),
            params: r#"{"message": "x",  "n": 1.0}"#.to_owned(),
        };
        let body = input_required(&id, std::slice::from_ref(&question), "sealed");
        let read = InputRequired::of_response(&body).unwrap();
        assert_eq!((read.requests, read.state.as_deref()), (vec![question], Some("sealed")));
        let other = with_request_state(&body, "ours").unwrap();
        assert_eq!(InputRequired::of_response(&other).unwrap().state.as_deref(), Some("ours"));
        let bare = br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}}"#;
        let other = with_request_state(bare, "ours").unwrap();
        let read = InputRequired::of_response(&other).unwrap();
        assert_eq!((read.state.as_deref(), read.requests[0].params.as_str()), (Some("ours"), "{}"));
        for bad in ["", "{}", r#"{"result":{}}"#, r#"{"result":[]}"#, r#"{"result":{"inputRequests":[]}}"#] {
            assert!(InputRequired::of_response(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_result_says_which_answers_came_too_late() {
        let keys = ["question1".to_owned(), "q\"2".to_owned()];
        for result in
            ["{}", "{ }", r#"{"a":[1.0]}"#, r#"{"_meta":{}}"#, r#"{"x":1,"_meta": { "k":{"_meta":2} }}"#]
        {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            let Some(noted) = with_taken_back(body.as_bytes(), &keys) else { panic!("{result}") };
            let read: Value = serde_json::from_slice(&noted).unwrap();
            assert_eq!(
                read["result"]["_meta"][TAKEN_BACK],
                serde_json::json!(["question1", "q\"2"]),
                "{result}"
            );
            let mut rest = read["result"].clone();
            rest["_meta"].as_object_mut().unwrap().remove(TAKEN_BACK);
            let mut expect: Value = serde_json::from_str(result).unwrap();
            if expect.get("_meta").is_none() {
                expect["_meta"] = serde_json::json!({});
            }
            assert_eq!(rest, expect);
        }
        assert_eq!(with_taken_back(br#"{"id":1,"result":{"_meta":7}}"#, &keys), None);
        assert_eq!(with_taken_back(br#"{"id":1,"error":{"code":1,"message":""}}"#, &keys), None);
    }

    #[test]
    fn a_question_goes_down_under_a_token_of_the_gates_own() {
        let params = r#"{"message":"?", "_meta":{"progressToken": 7,"x":1.0}}"#;
        assert_eq!(progress_token(params).unwrap().raw(), "7");
        let ours = r#"{"message":"?", "_meta":{"progressToken": "w-1","x":1.0}}"#;
        assert_eq!(with_progress_token(params, "w-1"), ours);
        for without in ["{}", r#"{"_meta":{}}"#, r#"{"progressToken":1}"#] {
            assert_eq!(
                (progress_token(without), with_progress_token(without, "w")),
                (None, without.to_owned())
            );
        }
        assert_eq!(progress_token(r#"{"_meta":{"progressToken":null}}"#), None);
    }

    #[test]
    fn messages_go_on_under_new_names() {
        let id = RequestId::parse("\"n\"").unwrap();
        let response = br#"{"jsonrpc":"2.0","id":1,"result":{"id":2}}"#;
        assert_eq!(
            text(&retag(response, &id, None).unwrap()),
            r#"{"jsonrpc":"2.0","id":"n","result":{"id":2}}"#
        );
        let progress = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":2}}"#;
        assert!(text(&retag(progress, &id, Some("\"t\"")).unwrap()).contains(r#""progressToken":"t""#));
        let log = br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#;
        assert!(retag(log, &id, Some("1")).is_none());
    }
}

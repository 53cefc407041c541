use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::mcp::Revision;
use crate::mcp::scan::property_tests::{cases, grown, mutated};
use crate::model::ClientInfo;

fn read_text(text: &str) -> Result<FromUpstream, EnvelopeFault> {
    read_upstream(Bytes::copy_from_slice(text.as_bytes()), Limits::REPLY)
}

fn reply(text: &str) -> (u64, ReplyBody) {
    match read_text(text).unwrap() {
        FromUpstream::Response { id, body } => (id, body),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_id_of_a_response_changes() {
    let text = "{ \"result\" : {\"content\":[],\"id\":3,\"n\":1.0e1} ,\n \"x\":\"é\", \"id\" : 7 , \"jsonrpc\":\"2.0\"}";
    let (id, body) = reply(text);
    assert_eq!((id, body.kind(), body.len()), (7, OutcomeKind::Result, text.len()));
    let sent = body.with_id(&RequestId::parse(r#""client\u002d1""#).unwrap());
    assert_eq!(sent, text.replace(" 7 ", " \"client\\u002d1\" ").as_bytes());
    assert_eq!(body.result(), Some(r#"{"content":[],"id":3,"n":1.0e1}"#));
    assert_eq!(body.error(), None);
}

#[test]
fn results_tool_errors_and_errors_are_told_apart() {
    for (content, kind) in [
        (r#""result":{}"#, OutcomeKind::Result),
        (r#""result":{"isError":false}"#, OutcomeKind::Result),
        (r#""result":{"content":{"isError":true}}"#, OutcomeKind::Result),
        (r#""result":{"isError":true}"#, OutcomeKind::ToolError),
        (r#""result":{"is\u0045rror":true}"#, OutcomeKind::ToolError),
        (r#""result":{"resultType":"complete"}"#, OutcomeKind::Result),
        (r#""result":{"resultType":"input_required","isError":true}"#, OutcomeKind::InputRequired),
        (r#""result":{"content":{"resultType":"input_required"}}"#, OutcomeKind::Result),
        (r#""error":{"code":-32000,"message":"no"}"#, OutcomeKind::RpcError),
    ] {
        assert_eq!(reply(&format!(r#"{{"jsonrpc":"2.0","id":0,{content}}}"#)).1.kind(), kind, "{content}");
    }
    let (_, error) = reply(r#"{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"\u006eo"}}"#);
    assert_eq!(error.error(), Some((-1, "no".to_owned())));
    assert_eq!(error.result(), None);
}

#[test]
fn notifications_carry_the_clients_token_and_requests_their_own_id() {
    let text =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken" : 42}}"#;
    let FromUpstream::Notification { method, raw } = read_text(text).unwrap() else { panic!() };
    assert_eq!((method.as_str(), raw.progress_token()), ("notifications/progress", Some(42)));
    assert_eq!(raw.with_token("\"t\""), text.replace("42", "\"t\"").as_bytes());

    let text = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":{"progressToken":1}}}"#;
    let FromUpstream::Notification { raw, .. } = read_text(text).unwrap() else { panic!() };
    assert_eq!((raw.progress_token(), raw.with_token("9").as_ref()), (None, text.as_bytes()));
    assert_eq!(raw.as_str(), text);

    for token in ["\"42\"", "-1", "4.2", "99999999999999999999"] {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token}}}}}"#
        );
        let FromUpstream::Notification { raw, .. } = read_text(&text).unwrap() else { panic!() };
        assert_eq!(raw.progress_token(), None, "{token} is none of ours");
    }

    for (given, expect) in
        [(r#","params":{ "a":1.0 }"#, r#"{ "a":1.0 }"#), ("", "{}"), (r#","params":null"#, "{}")]
    {
        let text = format!(r#"{{"jsonrpc":"2.0","id":"srv-1","method":"elicitation/create"{given}}}"#);
        let FromUpstream::Request { id, method, params } = read_text(&text).unwrap() else { panic!() };
        assert_eq!(
            (id.raw(), method.as_str(), params.as_str()),
            (r#""srv-1""#, "elicitation/create", expect)
        );
    }
}

#[test]
fn what_is_no_message_of_an_upstream_is_refused() {
    for text in [
        "",
        "[]",
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}]",
        "null",
        "{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"id":2}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false,"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":-1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":99999999999999999999,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#,
        r#"{"jsonrpc":"2.0","method":1}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
    ] {
        assert!(read_text(text).is_err(), "{text}");
    }
    assert!(read_upstream(Bytes::from_static(b"{\"a\":\"\xff\"}"), Limits::REPLY).is_err());
}

#[test]
fn the_answer_to_initialize_is_read() {
    let info = read_initialize_result(
        r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fs","version":"1"}}"#,
    );
    let server = ClientInfo { name: "fs".to_owned(), version: "1".to_owned() };
    let offers = Offers { tools: true, ..Offers::default() };
    assert_eq!(info, Ok(UpstreamInfo { revision: Revision::R2025_06_18, server, offers }));
    let bare = read_initialize_result(r#"{"protocolVersion":"2025-11-25"}"#).unwrap();
    assert_eq!(bare, UpstreamInfo::of(Revision::R2025_11_25));
    for bad in [
        r#"{"protocolVersion":"2024-11-05"}"#,
        r#"{"protocolVersion":"2026-07-28"}"#,
        "{}",
        "[",
        r#"{"protocolVersion":1}"#,
    ] {
        assert!(read_initialize_result(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_answer_to_discover_is_read() {
    let of = |versions: &str| {
        let meta = r#"{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"2"}}"#;
        read_discover_result(&format!(
            r#"{{"supportedVersions":{versions},"capabilities":{{"tools":{{"listChanged":true}},"resources":{{"subscribe":true}}}},"_meta":{meta}}}"#
        ))
    };
    let info = of(r#"["2025-11-25","2026-07-28","2031-01-01"]"#).unwrap();
    assert_eq!((info.revision, info.server.name.as_str()), (Revision::R2026_07_28, "s"));
    let offers = Offers {
        tools: true,
        tools_changed: true,
        resources: true,
        resources_subscribe: true,
        ..Offers::default()
    };
    assert_eq!(info.offers, offers);
    for bad in ["[]", r#"["2025-11-25"]"#, r#"["2031-01-01"]"#, "7", r#"[7,"2026-07-28"]"#] {
        assert_eq!(of(bad), None, "{bad}");
    }
    assert_eq!(read_discover_result("{}"), None);
}

#[test]
fn an_error_says_of_which_era_its_sender_is() {
    let newest = SaysEra::Stateless(Revision::NEWEST);
    for (error, expect) in [
        (r#"{"code":-32022,"data":{"supported":["2025-11-25","2026-07-28"]}}"#, newest),
        (r#"{"code":-32022,"data":{"supported":["2025-11-25"]}}"#, SaysEra::Session),
        (r#"{"code":-32022,"data":{"supported":["2031-01-01"]}}"#, SaysEra::Foreign),
        (r#"{"code":-32022}"#, SaysEra::Foreign),
        (r#"{"code":-32020}"#, newest),
        (r#"{"code":-32021}"#, newest),
        (r#"{"code":-32601}"#, SaysEra::Unknown),
        (r#"{"code":-32602,"data":{"supported":["2026-07-28"]}}"#, SaysEra::Unknown),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#);
        assert_eq!(RpcRefusal::of_body(body.as_bytes()).unwrap().says_era(), expect, "{error}");
    }
    for body in ["", "no", "{}", r#"{"error":{}}"#, r#"{"error":{"code":"-32022"}}"#] {
        assert_eq!(RpcRefusal::of_body(body.as_bytes()), None, "{body}");
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_response_keeps_every_byte_but_its_id(result in grown(), id: u64, order: bool) {
        let (a, b) = (format!("\"id\":{id}"), format!("\"result\": {{\"x\":{result}}}"));
        let (a, b) = if order { (a, b) } else { (b, a) };
        let text = format!("{{{a} , {b},\"jsonrpc\":\"2.0\"}}");
        let Ok(FromUpstream::Response { id: read, body }) = read_text(&text) else { return Ok(()) };
        prop_assert_eq!(read, id);
        let sent = body.with_id(&RequestId::parse("\"c\"").unwrap());
        prop_assert_eq!(sent, text.replacen(&format!("\"id\":{id}"), "\"id\":\"c\"", 1).into_bytes());
        let value: Json = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<Json>(body.result().unwrap()).unwrap(), value["result"].clone());
    }

    #[test]
    fn one_changed_byte_never_panics(value in grown(), place: prop::sample::Index, with: u8, how: u8) {
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"isError":{value}}}}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{value}}}}}"#),
        ] {
            let bytes = Bytes::from(mutated(text.into_bytes(), place, with, how));
            match read_upstream(bytes, Limits::REPLY) {
                Ok(FromUpstream::Response { body, .. }) => {
                    let sent = body.with_id(&RequestId::from_u64(9));
                    prop_assert_eq!(&serde_json::from_slice::<Json>(&sent).unwrap()["id"], &json!(9));
                }
                Ok(FromUpstream::Notification { raw, .. }) => {
                    prop_assert!(serde_json::from_slice::<Json>(&raw.with_token("9")).is_ok());
                }
                _ => {}
            }
        }
    }
}

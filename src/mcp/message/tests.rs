use super::*;
use crate::mcp::revision::Revision;

fn read_text(text: &str) -> Result<Message, MessageFault> {
    read(Bytes::copy_from_slice(text.as_bytes()), Limits::REQUEST)
}

fn request_of(text: &str) -> Request {
    match read_text(text).unwrap() {
        Message::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn call_of(params: &str) -> CallRequest {
    match request_of(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)) {
        Request::Call(call) => call,
        other => panic!("{other:?}"),
    }
}

fn upstream(call: &CallRequest, token: Option<u64>) -> String {
    let client = ClientFace::unknown();
    let (revision, retry) = (Revision::R2025_11_25, None);
    let to = ToUpstream { id: 7, name: "get", token, revision, client: &client, retry };
    String::from_utf8(call.to_upstream(&to).to_vec()).unwrap()
}

#[test]
fn requests_are_read_by_method() {
    let Request::Initialize { id, params } = request_of(
        r#"{"jsonrpc":"2.0","id":"a\"b","method":"initialize","params":{"protocolVersion":"2025-06-18",
            "capabilities":{},"clientInfo":{"name":"codex","version":"0.165\u0007"}}}"#,
    ) else {
        panic!("no initialize")
    };
    assert_eq!(id.raw(), r#""a\"b""#);
    assert_eq!(params.protocol_version, "2025-06-18");
    assert_eq!((params.client.name.as_str(), params.client.version.as_str()), ("codex", "0.165"));

    let bare = request_of(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"x","clientInfo":[]}}"#,
    );
    assert!(matches!(bare, Request::Initialize { params, .. } if params.client == ClientInfo::default()));

    assert!(matches!(request_of(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Request::Ping { .. }));
    let list =
        |params: &str| request_of(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#));
    assert!(matches!(list(""), Request::List { of: Primitive::Tools, cursor: None, .. }));
    assert!(matches!(list(r#","params":{}"#), Request::List { cursor: None, .. }));
    let Request::List { cursor, .. } = list(r#","params":{"cursor":"a\u0062"}"#) else { panic!() };
    assert_eq!(cursor.as_deref(), Some("ab"));
    let other = request_of(r#"{"jsonrpc":"2.0","id":1,"method":"tasks/list"}"#);
    assert!(matches!(&other, Request::Unsupported { method, .. } if method == "tasks/list"));
    assert_eq!(other.id().raw(), "1");
}

#[test]
fn notifications_and_responses_are_read() {
    let note = |method: &str, params: &str| match read_text(&format!(
        r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#
    ))
    .unwrap()
    {
        Message::Notification(notification) => notification,
        other => panic!("{other:?}"),
    };
    assert_eq!(note("notifications/initialized", ""), Notification::Initialized);
    for bad in [
        "{}",
        r#"{"progressToken":"a"}"#,
        r#"{"progressToken":"a","progress":"1"}"#,
        r#"{"progressToken":null,"progress":1}"#,
        r#"{"progressToken":1.5,"progress":1}"#,
        &format!(r#"{{"progressToken":"a","progress":1,"message":"{}"}}"#, "x".repeat(8_192)),
    ] {
        assert_eq!(
            note("notifications/progress", &format!(r#","params":{bad}"#)),
            Notification::Progress(None)
        );
    }
    let report = note(
        "notifications/progress",
        r#","params":{ "progress":0.50, "progressToken" : "a", "message":"h\u00e9"}"#,
    );
    let Notification::Progress(Some(report)) = report else { panic!("{report:?}") };
    assert_eq!((report.token.raw(), report.amount()), ("\"a\"", 0.5));
    assert_eq!(
        report.with_token(&RequestId::parse("7").unwrap()),
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{ "progress":0.50, "progressToken" : 7, "message":"h\u00e9"}}"#
    );
    assert_eq!(note("notifications/roots/list_changed", ""), Notification::RootsListChanged);
    assert_eq!(note("notifications/x", ""), Notification::Other("notifications/x".to_owned()));
    let cancelled = |params: &str| note("notifications/cancelled", params);
    assert_eq!(
        cancelled(r#","params":{"requestId":"r","reason":"changed\nmy mind"}"#),
        Notification::Cancelled {
            request_id: RequestId::parse("\"r\"").unwrap(),
            reason: Some("changedmy mind".to_owned())
        }
    );
    assert!(matches!(
        cancelled(r#","params":{"requestId":3}"#),
        Notification::Cancelled { reason: None, .. }
    ));

    let response = |rest: &str| match read_text(&format!(r#"{{"jsonrpc":"2.0","id":5,{rest}}}"#)).unwrap() {
        Message::Response(response) => response,
        other => panic!("{other:?}"),
    };
    assert!(!response(r#""result":{}"#).error);
    assert!(response(r#""error":{"code":1,"message":"x"}"#).error);
}

#[test]
fn what_is_no_message_is_refused_with_its_row_and_its_id() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(255));
    let method = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(129));
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("", "not_json", None),
        ("{", "not_json", None),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "not_json", None),
        ("[]", "batch", None),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "batch", None),
        ("1", "invalid_request", None),
        ("null", "invalid_request", None),
        ("{}", "invalid_request", None),
        (r#"{"jsonrpc":"2.0"}"#, "invalid_request", None),
        (r#"{"id":1,"method":"ping"}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "invalid_request", None),
        (&long, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, "invalid_request", Some("1")),
        (&method, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "invalid_request", Some("1")),
        (r#"{"jsonrpc":"2.0","method":"ping"}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a__b"}}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "invalid_request", None),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "invalid_params", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, "invalid_params", Some("1")),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":1}}"#,
            "invalid_params",
            Some("1"),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, "invalid_params", Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "invalid_params", Some("1")),
        (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#, "invalid_params", None),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":null}}"#,
            "invalid_params",
            None,
        ),
    ];
    for (text, kind, id) in cases {
        let fault = read_text(text).unwrap_err();
        assert_eq!((fault.refusal().kind(), fault.id().map(RequestId::raw)), (*kind, *id), "{text}");
    }
}

#[test]
fn a_call_with_parts_of_the_wrong_kind_is_refused() {
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(257));
    for params in [
        long.as_str(),
        r#"{"name":""}"#,
        r#"{"name":1}"#,
        r#"{"arguments":{}}"#,
        r#"{"name":"a__b","arguments":[]}"#,
        r#"{"name":"a__b","arguments":null}"#,
        r#"{"name":"a__b","_meta":[]}"#,
        r#"{"name":"a__b","_meta":{"progressToken":null}}"#,
        r#"{"name":"a__b","_meta":{"progressToken":1.5}}"#,
        r#"{"name":"a__b","_meta":{"progressToken":{}}}"#,
    ] {
        let fault =
            read_text(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#));
        assert_eq!(fault.unwrap_err().refusal().kind(), "invalid_params", "{params}");
    }
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    for raw in ["1", "-7", "0", "123456789012345678901234567890", r#""x""#, r#""\u0041/\/""#, r#""""#] {
        let request = request_of(&format!(r#"{{"jsonrpc":"2.0","id": {raw} ,"method":"ping"}}"#));
        assert_eq!(request.id().raw(), raw);
        assert_eq!(RequestId::parse(raw).as_ref(), Some(request.id()));
    }
    assert_eq!(RequestId::from_u64(7), RequestId::parse("7").unwrap());
    for bad in ["null", "1.5", "{}", "1 2", "", "\"\n\""] {
        assert_eq!(RequestId::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_call_gives_its_parts() {
    let call = call_of(
        r#"{"name":"git\u0068ub__get","arguments": {"a": 1.50, "b":"\u0041"} ,"_meta":{"progressToken":"t\"",
            "baggage":"x=1,gen_ai.conversation.id=c%201"}}"#,
    );
    assert_eq!(call.name(), "github__get");
    assert_eq!(call.arguments(), r#"{"a": 1.50, "b":"\u0041"}"#);
    assert_eq!(call.arguments_value(), &serde_json::json!({"a": 1.5, "b": "A"}));
    assert_eq!(call.progress_token(), Some(r#""t\"""#));
    assert_eq!(call.conversation_id(), Some("c 1"));

    let bare = call_of(r#"{"name":"github__get"}"#);
    assert_eq!((bare.arguments(), bare.progress_token(), bare.conversation_id()), ("{}", None, None));
    assert_eq!(bare.arguments_value(), &serde_json::json!({}));
}

#[test]
fn only_name_id_and_token_change_on_the_way_to_the_upstream() {
    let head = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get","arguments":"#;
    let cases: &[(&str, Option<u64>, &str)] = &[
        (r#""arguments":{ "x" : 1e2 }"#, None, r#"{ "x" : 1e2 }}}"#),
        (r#""arguments":{}"#, Some(9), r#"{},"_meta":{"progressToken":9}}}"#),
        (r#""_meta":{}"#, Some(9), r#"{},"_meta":{"progressToken":9}}}"#),
        (r#""_meta":{ "a":1 }"#, Some(9), r#"{},"_meta":{"progressToken":9, "a":1 }}}"#),
        (r#""_meta":{ "a":1 }"#, None, r#"{},"_meta":{ "a":1 }}}"#),
        (r#""_meta":{"progressToken":"t"}"#, None, r#"{},"_meta":{}}}"#),
        (r#""_meta":{"progressToken":"t"}"#, Some(9), r#"{},"_meta":{"progressToken":9}}}"#),
        (
            r#""_meta":{"traceparent":"00-a","progressToken":"t","k":{"progressToken":1}}"#,
            None,
            r#"{},"_meta":{"traceparent":"00-a","k":{"progressToken":1}}}}"#,
        ),
        (
            r#""_meta":{"traceparent":"00-a", "progressT\u006fken" : 12345678901234567890}"#,
            Some(9),
            r#"{},"_meta":{"traceparent":"00-a", "progressT\u006fken" : 9}}}"#,
        ),
        // What was not read is not sent: neither other parameters nor other members of the envelope.
        (r#""task":{"ttl":1},"arguments":{"y":[]}"#, None, r#"{"y":[]}}}"#),
    ];
    for (rest, token, expected) in cases {
        let call = call_of(&format!(r#"{{"name":"github__get",{rest}}}"#));
        assert_eq!(upstream(&call, *token), format!("{head}{expected}"), "{rest}");
    }
}

#[test]
fn asking_for_the_value_does_not_change_what_is_sent() {
    let call = call_of(r#"{"name":"a__get","arguments":{"z":1,"a":18446744073709551616}}"#);
    let before = upstream(&call, None);
    assert!(call.arguments_value().is_object());
    assert_eq!(upstream(&call.clone(), None), before);
}

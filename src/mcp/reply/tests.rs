//! Every row of decision 13, one test each, as a client sees it.

use serde_json::{Value as Json, json};

use super::*;
use crate::mcp::revision::Revision;
use crate::mcp::scan::{Limits, scan};
use crate::mcp::{Capabilities, Primitive};
use crate::model::{ClientInfo, PolicyKey, Timestamp};

fn request_id() -> CallId {
    CallId::mint(Timestamp::from_millis(1_795_310_401_020), [1; 10])
}

/// What the client gets: status, code, message, the facts but for the request id.
#[track_caller]
fn check(refusal: &Refusal, status: u16, code: i32, message: &str, facts: Json) {
    let id = RequestId::parse(r#""c-1""#).unwrap();
    let body: Json = serde_json::from_slice(&refusal.body(Some(&id), &request_id())).unwrap();
    assert_eq!(refusal.status(), status);
    let mut data = facts;
    data["requestId"] = json!(request_id().to_string());
    let expected =
        json!({"jsonrpc": "2.0", "id": "c-1", "error": {"code": code, "message": message, "data": data}});
    assert_eq!(body, expected);
    let retry =
        refusal.headers().into_iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value);
    assert_eq!(retry, data["retryAfterSeconds"].as_u64().map(|seconds| seconds.to_string()));
    assert_eq!(refusal.headers().iter().any(|(name, _)| *name == "allow"), status == 405);
    assert_eq!(refusal.headers().iter().any(|(name, _)| *name == "www-authenticate"), status == 401);
}

fn decision(reason: Reason, actionable: bool) -> Decision {
    let key = PolicyKey::parse("no-deletes").unwrap();
    Decision {
        deny_message: Some(Arc::from("ask first")),
        determining: vec![PolicyRef { key, name: Arc::from("No deletes"), version: 0, id: None }],
        actionable,
        ..Decision::denied(reason)
    }
}

fn denied(decision: &Decision) -> Refusal {
    Refusal::of_decision("github__delete_file", (Asked::Tool, "delete_file"), "my-first-agent", decision)
}

const DENIED: &str = "Authorization denied: tool 'delete_file' is not permitted for agent 'my-first-agent'";

#[test]
fn denied_by_policy() {
    let hidden = denied(&decision(Reason::Forbidden, false));
    check(&hidden, 200, -32600, DENIED, json!({"reason": "forbidden", "denyMessage": "ask first"}));
    let named = json!([{"key": "no-deletes", "name": "No deletes", "version": 0}]);
    let facts = json!({"reason": "forbidden", "denyMessage": "ask first", "policies": named});
    check(&denied(&decision(Reason::Forbidden, true)), 200, -32600, DENIED, facts);
    let bare = denied(&Decision::denied(Reason::NoPermit));
    check(&bare, 200, -32600, DENIED, json!({"reason": "no_permit"}));
}

#[test]
fn a_denied_operation_is_not_called_a_tool() {
    let decision = decision(Reason::Forbidden, false);
    let asked = (Asked::Operation, "prompts/get");
    let refusal = Refusal::of_decision("github__review", asked, "my-first-agent", &decision);
    let message = "Authorization denied: operation 'prompts/get' is not permitted for agent 'my-first-agent'";
    check(&refusal, 200, -32600, message, json!({"reason": "forbidden", "denyMessage": "ask first"}));
}

#[test]
fn service_not_enabled() {
    let refusal = denied(&Decision::denied(Reason::ServiceNotEnabled));
    check(&refusal, 200, -32600, DENIED, json!({"reason": "service_not_enabled"}));
}

#[test]
fn quarantined() {
    check(
        &denied(&Decision::denied(Reason::Quarantined)),
        200,
        -32600,
        DENIED,
        json!({"reason": "quarantined"}),
    );
}

#[test]
fn unknown_or_hidden_tool() {
    let message = "Unknown tool 'github__delete_file' — list the tools to see which are offered";
    let facts = json!({"reason": "unknown_tool"});
    check(&denied(&decision(Reason::UnknownTool, true)), 200, -32602, message, facts);
}

#[test]
fn name_without_service() {
    let message = "Tool name 'get' lacks its service — call tools as service__tool";
    check(
        &Refusal::NoPrefix { name: "get".to_owned() },
        400,
        -32602,
        message,
        json!({"reason": "no_prefix"}),
    );
}

#[test]
fn unknown_service_prefix() {
    let message = "Unknown service 'gitlab' — list the tools to see which are offered";
    for (era, code) in [(Era::Session, -32601), (Era::Stateless, -32602)] {
        let refusal = Refusal::UnknownService { era, service: "gitlab".to_owned() };
        check(&refusal, 200, code, message, json!({"reason": "unknown_service"}));
    }
}

#[test]
fn unknown_method() {
    for (era, status) in [(Era::Session, 200), (Era::Stateless, 404)] {
        let refusal = Refusal::UnknownMethod { era, method: "a/b".to_owned() };
        check(&refusal, status, -32601, "Method 'a/b' is not supported", json!({"reason": "unknown_method"}));
    }
}

#[test]
fn not_json() {
    let fault = scan(b"{\"a\":1,}", Limits::REQUEST).unwrap_err();
    let message = "Body is not valid JSON — a key in quotes should stand here (byte 7)";
    let facts = json!({"reason": "not_json", "fault": "expected_key", "offset": 7});
    check(&Refusal::NotJson { fault }, 400, -32700, message, facts);
}

#[test]
fn not_one_message() {
    let refusal = Refusal::InvalidRequest { what: "`jsonrpc` is not \"2.0\"" };
    let message = "Body is not one JSON-RPC 2.0 message — `jsonrpc` is not \"2.0\"";
    check(&refusal, 400, -32600, message, json!({"reason": "invalid_request"}));
}

#[test]
fn a_batch() {
    let message = "Batches are not accepted — send each message on its own";
    check(&Refusal::Batch, 400, -32600, message, json!({"reason": "batch"}));
}

#[test]
fn invalid_params() {
    let refusal = Refusal::InvalidParams { what: "`name` is not a string" };
    let message = "Invalid params — `name` is not a string";
    check(&refusal, 400, -32602, message, json!({"reason": "invalid_params"}));
}

#[test]
fn a_bad_cursor() {
    let message = "Invalid cursor — list again from the start";
    check(&Refusal::BadCursor, 200, -32602, message, json!({"reason": "bad_cursor"}));
}

#[test]
fn no_bearer() {
    let message = "Missing Bearer token — add your member key to the MCP client config";
    check(&Refusal::NoBearer, 401, -32600, message, json!({"reason": "no_bearer"}));
    assert_eq!(Refusal::NoBearer.authenticate_header(), Some(r#"Bearer realm="wicket""#));
}

#[test]
fn an_unknown_key() {
    let message = "Unknown member key — re-authenticate at the UI to get a new key";
    check(&Refusal::UnknownKey, 401, -32600, message, json!({"reason": "unknown_key"}));
    assert!(!Refusal::UnknownKey.authenticate_header().unwrap().contains("resource_metadata"));
}

#[test]
fn agent_disabled() {
    let refusal = Refusal::AgentDisabled { agent: "a".to_owned() };
    let message = "Agent is disabled — ask its owner to enable it";
    check(&refusal, 403, -32600, message, json!({"reason": "agent_disabled"}));
}

#[test]
fn membership_not_approved() {
    for (status, message) in [
        (MemberStatus::Pending, "Membership is not approved — wait for the agent's owner to approve it"),
        (MemberStatus::Rejected, "Membership is rejected — ask the agent's owner"),
    ] {
        let refusal = Refusal::MembershipNotApproved { status };
        check(&refusal, 403, -32600, message, json!({"reason": "membership_not_approved"}));
    }
}

#[test]
fn origin_not_allowed() {
    let message = "Origin is not allowed — add it to the gate's allowed origins";
    check(&Refusal::OriginNotAllowed, 403, -32600, message, json!({"reason": "origin_not_allowed"}));
}

#[test]
fn unknown_path_or_session() {
    let message = "Nothing is served here — use POST /mcp";
    check(&Refusal::NoSuchPath, 404, -32600, message, json!({"reason": "no_such_path"}));
    let message = "Unknown session — initialize again";
    check(&Refusal::UnknownSession, 404, -32600, message, json!({"reason": "unknown_session"}));
}

#[test]
fn wrong_method() {
    let refusal = Refusal::MethodNotAllowed { allow: "POST" };
    let message = "HTTP method not allowed — use POST";
    check(&refusal, 405, -32600, message, json!({"reason": "method_not_allowed"}));
    assert_eq!(refusal.headers(), [("allow", "POST".to_owned())]);
}

#[test]
fn wrong_accept() {
    let message = "Not acceptable — accept both application/json and text/event-stream";
    check(&Refusal::NotAcceptable, 406, -32600, message, json!({"reason": "not_acceptable"}));
}

#[test]
fn wrong_content_type() {
    let message = "Unsupported media type — send application/json";
    check(&Refusal::UnsupportedMediaType, 415, -32600, message, json!({"reason": "unsupported_media_type"}));
}

#[test]
fn too_large_or_too_slow() {
    let refusal = Refusal::TooLarge { bytes_max: 4_194_304 };
    let message = "Body is too large — at most 4194304 bytes are taken";
    check(&refusal, 413, -32600, message, json!({"reason": "too_large", "bytesMax": 4_194_304}));
    let message = "Body came too slowly — send the whole message at once";
    check(&Refusal::BodyTooSlow, 408, -32600, message, json!({"reason": "body_too_slow"}));
}

#[test]
fn no_credential_for_the_service() {
    let refusal = Refusal::NoCredential { service: "github".to_owned() };
    let message = "No credential for service 'github' — connect it at the UI first";
    check(&refusal, 412, -32603, message, json!({"reason": "no_credential", "service": "github"}));
}

#[test]
fn rate_limited() {
    let facts = |reason: &str| json!({"reason": reason, "retryAfterSeconds": 3});
    let message = "Rate limit exceeded — too many requests per key";
    check(&Refusal::RateLimited { retry_after_s: 3 }, 429, -32600, message, facts("rate_limited"));
    let message = "Too many calls under way — wait for one to end";
    check(&Refusal::TooManyInFlight { retry_after_s: 3 }, 429, -32600, message, facts("too_many_in_flight"));
    let message = "Too many conversations — reuse the ones you have";
    check(&Refusal::TooManySessions { retry_after_s: 3 }, 429, -32600, message, facts("too_many_sessions"));
}

#[test]
fn overloaded() {
    let facts = |reason: &str| json!({"reason": reason, "retryAfterSeconds": 1});
    let message = "Overloaded — try again later";
    check(&Refusal::Overloaded { retry_after_s: 1 }, 503, -32603, message, facts("overloaded"));
    let message = "Shutting down — try again later";
    check(&Refusal::Draining { retry_after_s: 1 }, 503, -32603, message, facts("draining"));
}

#[test]
fn nothing_can_record() {
    let facts = json!({"reason": "cannot_record", "retryAfterSeconds": 1});
    let message = "Call cannot be recorded — try again later";
    check(&Refusal::CannotRecord { retry_after_s: 1 }, 503, -32603, message, facts);
}

#[test]
fn nobody_knows_who_was_revoked() {
    let facts = json!({"reason": "directory_stale", "retryAfterSeconds": 1});
    let message = "Callers cannot be checked now — try again later";
    check(&Refusal::DirectoryStale { retry_after_s: 1 }, 503, -32603, message, facts);
}

#[test]
fn upstream_busy() {
    let refusal = Refusal::UpstreamBusy { service: "github".to_owned(), retry_after_s: 1 };
    let message = "Service 'github' is busy — too many calls to it are under way";
    let facts = json!({"reason": "upstream_busy", "service": "github", "retryAfterSeconds": 1});
    check(&refusal, 503, -32603, message, facts);
}

#[test]
fn upstream_unreachable_or_broken() {
    let service = || "github".to_owned();
    let facts = |reason: &str| json!({"reason": reason, "service": "github"});
    let refusal = Refusal::UpstreamUnreachable { service: service() };
    let message = "Service 'github' cannot be reached — the call was not sent";
    check(&refusal, 502, -32603, message, facts("upstream_unreachable"));
    let refusal = Refusal::UpstreamBroken { service: service() };
    let message = "Service 'github' broke off — the call may have had an effect";
    check(&refusal, 502, -32603, message, facts("upstream_broken"));
    let refusal = Refusal::UpstreamTooLarge { service: service() };
    let message = "Service 'github' sent too large a reply — the call may have had an effect";
    check(&refusal, 502, -32603, message, facts("upstream_too_large"));
    let refusal = Refusal::ReplyDropped { service: service() };
    let message = "Service 'github' answered, but too many large replies wait to be read — the call may have had an effect";
    check(&refusal, 502, -32603, message, facts("reply_dropped"));
}

#[test]
fn upstream_silent_too_long() {
    let refusal = Refusal::UpstreamSilent { service: "github".to_owned(), after_s: 30 };
    let message = "Service 'github' was silent for 30 s — the call may have had an effect";
    check(&refusal, 504, -32603, message, json!({"reason": "upstream_silent", "service": "github"}));
    let refusal = Refusal::CallTooLong { service: "github".to_owned(), after_s: 600 };
    let message = "Service 'github' did not finish within 600 s — the call may have had an effect";
    check(&refusal, 504, -32603, message, json!({"reason": "call_too_long", "service": "github"}));
}

#[test]
fn internal_fault() {
    let message = "Internal error — give the request id to the gate's operator";
    check(&Refusal::Internal, 502, -32603, message, json!({"reason": "internal"}));
}

#[test]
fn mirrored_header_differs() {
    let refusal = Refusal::HeaderMismatch { header: "Mcp-Name" };
    let facts = json!({"reason": "header_mismatch", "header": "Mcp-Name"});
    check(&refusal, 400, -32020, "Header Mcp-Name does not match the body", facts);
}

#[test]
fn unsupported_version() {
    for (era, code, names) in
        [(Era::Session, -32600, "2025-03-26, 2025-06-18, 2025-11-25"), (Era::Stateless, -32022, "2026-07-28")]
    {
        let supported = Revision::names_of(era);
        let refusal = Refusal::UnsupportedVersion { era, requested: "1999-01-01".to_owned(), supported };
        let message = format!("Unsupported protocol version — use one of {names}");
        let names: Vec<&str> = names.split(", ").collect();
        let facts = json!({"reason": "unsupported_version", "requested": "1999-01-01", "supported": names});
        check(&refusal, 400, code, &message, facts);
    }
}

#[test]
fn missing_capability() {
    let refusal = Refusal::MissingCapability { required: vec!["elicitation".to_owned()] };
    let facts = json!({"reason": "missing_capability", "requiredCapabilities": {"elicitation": {}}});
    check(&refusal, 400, -32021, "Missing client capability — declare elicitation", facts);
}

#[test]
fn without_an_id_the_member_is_left_out_and_input_is_cut_short() {
    let refusal = Refusal::NoPrefix { name: format!("\"\n{}", "x".repeat(10_000)) };
    let body = refusal.body(None, &request_id());
    let value: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["jsonrpc", "error"]);
    assert!(body.len() < 500, "{}", body.len());
    assert!(!value["error"]["message"].as_str().unwrap().contains('\n'));
}

#[test]
fn results_are_written() {
    let id = RequestId::parse("7").unwrap();
    let value = |bytes: Bytes| serde_json::from_slice::<Json>(&bytes).unwrap();
    assert_eq!(empty_result(&id), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    let result = value(initialize_result(&id, Revision::R2025_06_18, Some("Ask \"first\".")));
    assert_eq!(result["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(result["result"]["capabilities"]["tools"], json!({"listChanged": true}));
    let found = &value(discover_result(&id, None))["result"];
    assert_eq!(found["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(found["capabilities"], result["result"]["capabilities"]);
    assert_eq!((&found["resultType"], &found["cacheScope"]), (&json!("complete"), &json!("private")));
    assert_eq!(result["result"]["serverInfo"]["name"], "wicket");
    assert_eq!(result["result"]["instructions"], "Ask \"first\".");
    let tools = [r#"{ "name":"a" }"#, r#"{"name":"b"}"#];
    let expected =
        r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{ "name":"a" },{"name":"b"}],"nextCursor":"\"c"}}"#;
    assert_eq!(tools_list_result(&id, &tools, Some("\"c")), expected);
    let empty = tools_list_result::<&str>(&id, &[], None);
    assert_eq!(empty, r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#);
    let kept = &value(list_result(&id, Primitive::Tools, &tools, None, Some(5_000)))["result"];
    assert_eq!(
        (&kept["resultType"], &kept["ttlMs"], &kept["cacheScope"]),
        (&json!("complete"), &json!(5_000), &json!("private"))
    );
    assert_eq!(kept["tools"], json!([{"name": "a"}, {"name": "b"}]));
    let found = value(tool_raw_result(&id, r#"{"tools":[{ "name":"a" }]}"#, Era::Session))["result"].clone();
    let text = r#"{"tools":[{ "name":"a" }]}"#;
    assert_eq!(found["content"], json!([{"type": "text", "text": text}]));
    assert_eq!(found["structuredContent"], json!({"tools": [{"name": "a"}]}));
    let result = value(tool_text_result(&id, &json!({"agent": "a"}), false, Era::Session))["result"].clone();
    let content = json!([{"type": "text", "text": "{\"agent\":\"a\"}"}]);
    assert_eq!(result, json!({"content": content, "structuredContent": {"agent": "a"}, "isError": false}));
    let result = value(tool_text_result(&id, &json!("no"), true, Era::Session))["result"].clone();
    assert_eq!(result, json!({"content": [{"type": "text", "text": "\"no\""}], "isError": true}));
}

#[test]
fn what_the_gate_says_as_a_client_is_written() {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let none = ClientInfo::default();
    let own = upstream_initialize(1, Revision::R2025_11_25, Capabilities::default(), &none);
    let initialize: Json = serde_json::from_slice(&own).unwrap();
    assert_eq!((&initialize["id"], &initialize["method"]), (&json!(1), &json!("initialize")));
    assert_eq!(initialize["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(initialize["params"]["capabilities"], json!({}));
    assert_eq!(initialize["params"]["clientInfo"]["name"], "wicket");
    let client = ClientInfo { name: "a \"b\"".to_owned(), version: "3".to_owned() };
    let theirs = upstream_initialize(1, Revision::R2025_11_25, Capabilities::ALL, &client);
    let initialize: Json = serde_json::from_slice(&theirs).unwrap();
    assert_eq!(initialize["params"]["clientInfo"], json!({"name": "a \"b\"", "version": "3"}));
    let all: Json = serde_json::from_str(&Capabilities::ALL.to_json()).unwrap();
    assert_eq!(initialize["params"]["capabilities"], all);
    assert_eq!(text(upstream_initialized()), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(text(upstream_ping(3)), r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#);
    let of = |params, revision| text(upstream_request(4, "tools/list", params, revision));
    assert_eq!(of(None, Revision::R2025_11_25), r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"}"#);
    let listed = r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"cursor":"\"x"}}"#;
    assert_eq!(of(Some(r#"{"cursor":"\"x"}"#), Revision::R2025_11_25), listed);
    for params in [None, Some(" { } "), Some(r#"{"cursor":"x"}"#)] {
        let said: Json = serde_json::from_str(&of(params, Revision::R2026_07_28)).unwrap();
        let meta = &said["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "wicket");
        assert_eq!(said["params"].get("cursor").is_some(), params.is_some_and(|p| p.contains("cursor")));
    }
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9,"reason":"gone"}}"#;
    assert_eq!(text(upstream_cancelled(9, Some("gone"))), cancelled);
    let id = RequestId::parse("\"s\"").unwrap();
    let refused = r#"{"jsonrpc":"2.0","id":"s","error":{"code":-32601,"message":"method not found: `a`"}}"#;
    assert_eq!(text(upstream_method_refused(&id, "a")), refused);
}

use super::*;
use crate::mcp::{Capabilities, Revision};

fn call(meta: &str) -> mcp::CallRequest {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{{"name":"s__t","arguments":{{}}{meta}}}}}"#
    );
    match mcp::read(Bytes::from(text), mcp::Limits::REQUEST) {
        Ok(mcp::Message::Request(mcp::Request::Call(call))) => call,
        _ => panic!("not a call"),
    }
}

/// A call of this client to an upstream of this revision.
fn of(call: &mcp::CallRequest, client: ClientFace, revision: Revision) -> Exchange {
    Exchange {
        shared: false,
        upstream_id: 7,
        upstream: Arc::new(UpstreamInfo::of(revision)),
        client_id: call.id().clone(),
        client_token: call.progress_token().map(Box::from),
        client: Arc::new(client),
        method: call.method(),
    }
}

fn old(call: &mcp::CallRequest) -> Exchange {
    of(call, ClientFace::unknown(), Revision::R2025_11_25)
}

fn face(revision: Revision, log_level: Option<&str>) -> ClientFace {
    let capabilities = Capabilities { elicitation: true, ..Capabilities::default() };
    ClientFace { revision, capabilities, log_level: log_level.map(Arc::from), ..ClientFace::unknown() }
}

fn step(exchange: &Exchange, text: &str) -> String {
    let text = Bytes::copy_from_slice(text.as_bytes());
    let show = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    match exchange.step(mcp::read_upstream(text, mcp::Limits::REPLY).unwrap()) {
        Ok(Step::Answer { body, kind }) => format!("answer {} {}", kind.as_str(), show(body)),
        Ok(Step::Relay(bytes)) => format!("relay {}", show(bytes)),
        Ok(Step::Reply(bytes)) => format!("reply {}", show(bytes)),
        Ok(Step::Input(body)) => format!("input {}", body.result().unwrap()),
        Ok(Step::Ask { id, method, params }) => format!("ask {id} {method} {params}"),
        Ok(Step::News { method, .. }) => format!("news {method}"),
        Ok(Step::Withdraw(id)) => format!("withdraw {id}"),
        Ok(Step::Skip) => "skip".to_owned(),
        Err(failure) => format!("broken {failure}"),
    }
}

#[test]
fn each_message_of_a_stream_goes_where_it_belongs() {
    let with_token = old(&call(r#","_meta":{"progressToken":"mine"}"#));
    let without = old(&call(""));
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
        (r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#, r#"reply {"jsonrpc":"2.0","id":"p","result":{}}"#),
    ] {
        assert_eq!(step(&with_token, text), expect);
    }
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
    assert_eq!(step(&without, progress), "skip");
    for method in ["sampling/createMessage", "elicitation/create", "roots/list", "tools/call"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
        let reply = step(&without, &text);
        assert!(reply.starts_with("reply ") && reply.contains("-32601"), "{reply}");
    }
}

const NEW: Revision = Revision::R2026_07_28;
const OLD: Revision = Revision::R2025_11_25;

#[test]
fn a_server_asks_only_what_the_client_declared_and_only_in_the_session_era() {
    let ask = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}","params":{params}}}"#)
    };
    let form = ask("elicitation/create", r#"{"message":"m" }"#);
    let exchange = of(&call(""), face(OLD, None), OLD);
    assert_eq!(step(&exchange, &form), r#"ask "q" elicitation/create {"message":"m" }"#);
    for text in [
        ask("elicitation/create", r#"{"mode":"url","url":"https://x.example"}"#),
        ask("sampling/createMessage", "{}"),
        ask("roots/list", "{}"),
        ask("tools/call", "{}"),
    ] {
        assert!(step(&exchange, &text).contains("-32601"), "{text}");
    }
    assert!(step(&of(&call(""), face(NEW, None), OLD), &form).starts_with("ask "), "parked by the gate");
    assert!(step(&of(&call(""), face(OLD, None), NEW), &form).contains("-32601"));
}

#[test]
fn a_result_reaches_each_client_in_its_own_era() {
    let text = |content: &str| format!(r#"{{"jsonrpc":"2.0","id":7,{content}}}"#);
    let plain = text(r#""result":{"content":[ ]}"#);
    let asks = text(r#""result":{"resultType":"input_required","requestState":"s"}"#);
    let code = |code: i32| text(&format!(r#""error":{{"code":{code},"message":"m"}}"#));
    let of = |client, upstream| of(&call(""), face(client, None), upstream);

    assert_eq!(
        step(&of(OLD, NEW), &plain),
        r#"answer result {"jsonrpc":"2.0","id":"c-1","result":{"content":[ ]}}"#
    );
    for upstream in [OLD, NEW] {
        let answer = step(&of(NEW, upstream), &plain);
        assert!(answer.contains(r#""resultType":"complete""#) && answer.contains("wicket"), "{answer}");
    }

    assert!(step(&of(OLD, NEW), &asks).starts_with("input "));
    assert!(step(&of(NEW, NEW), &asks).starts_with("answer input_required "));
    assert!(step(&of(OLD, OLD), &asks).starts_with("answer result "), "the word means nothing there");
    assert!(step(&of(NEW, OLD), &asks).starts_with("broken "));

    for (given, client, expect) in [
        (-32602, NEW, "-32602"),
        (-32002, OLD, "-32002"),
        (-32021, NEW, "-32021"),
        (-32021, OLD, "-32603"),
        (-32020, NEW, "broken"),
        (-32020, OLD, "broken"),
        (-32022, OLD, "broken"),
    ] {
        let answer = step(&of(client, NEW), &code(given));
        assert!(answer.contains(expect), "{given}: {answer}");
    }
    assert!(step(&of(OLD, OLD), &code(-32020)).contains("-32020"), "there it is the server's own code");
}

#[test]
fn a_client_of_the_stateless_era_hears_the_logs_that_it_asked_for() {
    let log = |level: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
        )
    };
    for (client, wanted, level, heard) in [
        (OLD, None, "debug", true),
        (NEW, None, "emergency", false),
        (NEW, Some("warning"), "info", false),
        (NEW, Some("warning"), "warning", true),
        (NEW, Some("warning"), "critical", true),
        (NEW, Some("warning"), "loud", false),
        (NEW, Some("loud"), "critical", false),
    ] {
        let exchange = of(&call(""), face(client, wanted), OLD);
        assert_eq!(step(&exchange, &log(level)).starts_with("relay"), heard, "{wanted:?} {level}");
    }
}

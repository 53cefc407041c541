//! What reading and writing messages costs: the strict scan, a call read and spliced for the upstream, a
//! reply read and given the client's id, events of a stream, one merged list of tools. Time, allocations
//! and bytes of each operation; `cargo bench --bench codec` measures.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected should stop there and say where"
)]

#[path = "shared/catalogues.rs"]
mod catalogues;
#[path = "shared/measure.rs"]
#[expect(dead_code, reason = "shared by several benchmarks, each of which uses some of it")]
mod measure;

use bytes::Bytes;
use measure::operation;
use wicket::mcp::catalog::{self, Definition};
use wicket::mcp::sse::{self, Decoder, Event};
use wicket::mcp::{
    self, CallRequest, ClientFace, FromUpstream, Limits, Message, Request, RequestId, Revision, ToUpstream,
    reply, scan,
};
use wicket::model::ServiceKey;

/// The gate's default page of tools.
const PAGE: usize = 500;

fn call(arguments: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"github__create_issue","arguments":{arguments}}}}}"#
    ))
}

fn read(body: &Bytes) -> CallRequest {
    match mcp::read(body.clone(), Limits::REQUEST) {
        Ok(Message::Request(Request::Call(call))) => call,
        other => panic!("{other:?}"),
    }
}

fn main() {
    let small =
        call(r#"{"path":"/home/user/project/src/main.rs","text":"a few words that an agent might send"}"#);
    let large = call(&format!(r#"{{"path":"/a","text":"{}"}}"#, "words and \\\"quotes\\\" ".repeat(3_000)));
    for (name, body) in [("small", &small), ("large", &large)] {
        let length = body.len();
        operation(&format!("scan a call, {name} ({length} bytes)"), || {
            scan::scan(body, Limits::REQUEST).is_ok()
        });
        operation(&format!("read a call, {name}"), || read(body));
        let call = read(body);
        let client = ClientFace::unknown();
        let (revision, token) = (Revision::R2025_11_25, Some(9));
        let to =
            ToUpstream { id: 4_711, name: "create_issue", token, revision, client: &client, retry: None };
        operation(&format!("splice a call for its upstream, {name}"), || call.to_upstream(&to));
    }
    replies();
    events();
    lists();
}

fn replies() {
    let id = RequestId::parse("\"client-7\"").unwrap();
    for (name, text) in [("small", "the answer".to_owned()), ("large", "a line of a file\\n".repeat(4_000))] {
        let body = Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":4711,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
        ));
        operation(
            &format!("read a reply and give it the client's id, {name} ({} bytes)", body.len()),
            || match mcp::read_upstream(body.clone(), Limits::REPLY) {
                Ok(FromUpstream::Response { body, .. }) => body.with_id(&id),
                other => panic!("{other:?}"),
            },
        );
    }
}

fn events() {
    let event = Event::of_data(
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":9,"progress":3,"total":10}}"#,
    );
    let text = sse::encode(&event);
    operation("write one event", || sse::encode(&event));
    operation("read one event", || {
        let mut decoder = Decoder::new(1 << 20);
        decoder.push(&text).unwrap().len()
    });
    operation("read one event in pieces of 16 bytes", || {
        let mut decoder = Decoder::new(1 << 20);
        text.chunks(16).map(|piece| decoder.push(piece).unwrap().len()).sum::<usize>()
    });
}

/// What the gate does for each page of `tools/list`: prefix all, digest all, cut one page, write it.
fn lists() {
    let id = RequestId::parse("7").unwrap();
    let services: Vec<(ServiceKey, Vec<Definition>)> = catalogues::services()
        .into_iter()
        .map(|(name, _, tools)| {
            let tools = tools.iter().map(|tool| Definition::read(&tool.to_string()).unwrap()).collect();
            (ServiceKey::parse(&name).unwrap(), tools)
        })
        .collect();
    let count: usize = services.iter().map(|(_, tools)| tools.len()).sum();
    operation(&format!("merge {count} tools, first page of {PAGE}"), || {
        let merged: Vec<String> = services
            .iter()
            .flat_map(|(service, tools)| tools.iter().map(|tool| catalog::prefixed(service, tool)))
            .collect();
        let version = catalog::catalogue_digest(merged.iter().map(String::as_str));
        let page = catalog::page(&merged, &version, None, PAGE).unwrap();
        reply::tools_list_result(&id, page.items, page.next_cursor.as_deref())
    });
}

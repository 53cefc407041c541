//! Requests that are almost right, and some that are not at all.

use serde_json::json;

use crate::harness::Random;

/// Where and as whom requests are sent.
pub struct Target {
    pub host: String,
    pub key: String,
}

/// What the sender does behind its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The framing is whole: reads one reply and keeps the connection.
    Keep,
    /// Waits for the gate to close.
    Wait,
    /// Closes its own side first.
    HalfClose,
}

/// Bytes to send.
pub struct Request {
    pub bytes: Vec<u8>,
    pub ending: Ending,
}

const TOOLS: &[&str] = &[
    "recorder__echo",
    "recorder__echo",
    "recorder__echo",
    "python__echo",
    "recorder__write_note",
    "recorder__delete_thing",
    "python__delete_thing",
    "recorder__no_such",
    "nobody__echo",
    "echo",
    "wicket__whoami",
    "recorder__count",
];

/// Texts that parsers disagree on, spliced into bodies.
const SPLINTERS: &[&str] = &[
    "\"text\":\"secret\",",
    "\"name\":\"recorder__delete_thing\",",
    "\"method\":\"tools/call\",",
    "\"arguments\":{},",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{2028}",
    "1e400",
    "-0",
    "01",
    "+1",
    "0x10",
    "NaN",
    "Infinity",
    "null",
    "true",
    "[]",
    "{}",
    "[[[[",
    "}}}}",
    ",,",
    "::",
    "//x\n",
    "/*x*/",
    "'",
    "\"",
    "\\",
    "\t",
    "\r\n",
    "\u{0}",
    "123456789012345678901234567890",
    "1.00000000000000000001",
    "\"id\":2,",
    "\"\\u0069d\":3,",
    "\"jsonrpc\":\"1.0\",",
    "\"params\":[],",
    "\"_meta\":{\"progressToken\":{}},",
    "secret",
    "\\u0073ecret",
];

const HEADERS: &[&str] = &[
    "content-length: 5",
    "content-length: 0",
    "transfer-encoding: chunked",
    "transfer-encoding: identity",
    "expect: 100-continue",
    "accept: text/html",
    "accept: */*",
    "content-type: text/plain",
    "content-type: application/json; charset=utf-16",
    "origin: null",
    "origin: https://evil.example",
    "mcp-session-id: x",
    "mcp-protocol-version: 2025-06-18",
    "mcp-protocol-version: 2026-07-28",
    "mcp-method: tools/list",
    "mcp-name: recorder__delete_thing",
    "authorization: Bearer",
    "authorization: Bearer x",
    "cookie: a=b",
    "upgrade: websocket",
    "connection: upgrade",
    "connection: close, authorization",
    "x-wicket-session-id: s1",
    "host: elsewhere",
    "x-forwarded-for: 10.0.0.1",
    "te: trailers",
    "content-encoding: gzip",
    "x-http-method-override: DELETE",
    "x: \u{1}",
    "a b: c",
    ": x",
    " folded",
    "last-event-id: 7",
    "baggage: gen_ai.conversation.id=1",
];

/// One request.
pub fn request(random: &mut Random, target: &Target, number: u64) -> Request {
    match random.below(20) {
        0 => noise(random),
        1..=3 => bent_head(random, target, number),
        4 => cut(random, target, number),
        5..=7 => {
            let body = body(random, number);
            whole(target, &body, &[])
        }
        _ => {
            let mut body = body(random, number);
            for _ in 0..1 + random.below(2) {
                mutate(random, &mut body);
            }
            whole(target, &body, &[])
        }
    }
}

fn body(random: &mut Random, number: u64) -> Vec<u8> {
    let text = *random.pick(&["hello", "secret", "ünïcode", "no secret here", ""]);
    let call = json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call",
        "params": { "name": random.pick(TOOLS), "arguments": { "nonce": format!("n{number}"), "text": text } } });
    let other = [
        json!({ "jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {} }),
        json!({ "jsonrpc": "2.0", "id": number, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": number, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": number } }),
        json!({ "jsonrpc": "2.0", "id": number, "method": "server/discover", "params": {} }),
    ];
    if random.once_in(8) {
        random.pick(&other).to_string().into_bytes()
    } else {
        call.to_string().into_bytes()
    }
}

fn mutate(random: &mut Random, body: &mut Vec<u8>) {
    let at = random.below(body.len() + 1);
    let to = (at + random.below(12)).min(body.len());
    match random.below(11) {
        0 if at < body.len() => body[at] ^= 1 << random.below(8),
        1 => drop(body.drain(at..to)),
        2 => drop(body.splice(at..at, random.pick(SPLINTERS).bytes())),
        // Behind a brace a splinter is often still JSON: the duplicates that matter.
        3 | 8..=10 => {
            let braces: Vec<usize> =
                body.iter().enumerate().filter(|(_, b)| **b == b'{').map(|(at, _)| at + 1).collect();
            if !braces.is_empty() {
                let at = *random.pick(&braces);
                body.splice(at..at, random.pick(SPLINTERS).bytes());
            }
        }
        4 => {
            let piece = body[at..to].to_vec();
            body.splice(at..at, piece);
        }
        5 => {
            let noise = random.bytes(1 + to - at);
            body.splice(at..at, noise);
        }
        6 => body.truncate(at),
        _ => {
            let depth = random.below(100);
            let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            body.splice(at..at, nested.bytes());
        }
    }
}

fn head(target: &Target, length: usize, extra: &[String]) -> Vec<String> {
    let mut lines = vec![
        "POST /mcp HTTP/1.1".to_owned(),
        format!("host: {}", target.host),
        format!("authorization: Bearer {}", target.key),
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("content-length: {length}"),
    ];
    lines.extend_from_slice(extra);
    lines
}

fn assemble(lines: &[String], body: &[u8]) -> Vec<u8> {
    let mut bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn whole(target: &Target, body: &[u8], extra: &[String]) -> Request {
    Request { bytes: assemble(&head(target, body.len(), extra), body), ending: Ending::Keep }
}

fn bent_head(random: &mut Random, target: &Target, number: u64) -> Request {
    let body = body(random, number);
    let mut lines = head(target, body.len(), &["connection: close".to_owned()]);
    for _ in 0..1 + random.below(4) {
        let at = random.below(lines.len() + 1);
        match random.below(5) {
            0 if lines.len() > 1 => drop(lines.remove(at.min(lines.len() - 1))),
            1 if at < lines.len() => {
                let copy = lines[at].clone();
                lines.push(copy);
            }
            2 if at < lines.len() => {
                let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
                mutate(random, &mut bytes);
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ => lines.insert(at.max(1).min(lines.len()), (*random.pick(HEADERS)).to_owned()),
        }
    }
    Request { bytes: assemble(&lines, &body), ending: Ending::HalfClose }
}

/// A good request that stops in the middle.
fn cut(random: &mut Random, target: &Target, number: u64) -> Request {
    let body = body(random, number);
    let mut bytes = assemble(&head(target, body.len(), &["connection: close".to_owned()]), &body);
    bytes.truncate(random.below(bytes.len()));
    // Without its own end the gate must give up by its time limits; seldom, for each takes a second.
    let ending = if random.once_in(50) { Ending::Wait } else { Ending::HalfClose };
    Request { bytes, ending }
}

fn noise(random: &mut Random) -> Request {
    let length = 1 + random.below(600);
    let mut bytes = random.bytes(length);
    if random.once_in(2) {
        bytes.splice(0..0, *b"POST /mcp HTTP/1.1\r\n");
    }
    Request { bytes, ending: Ending::HalfClose }
}

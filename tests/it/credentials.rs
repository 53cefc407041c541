//! No inbound credential or header that was not chosen passes to an upstream, and no key is in a file,
//! a log or a reply.

use serde_json::json;

use crate::harness::{Connector, Gate, GateOptions, Random};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Requests with canaries. Names are drawn anew for each.
const REQUESTS: usize = 2_000;

const NAMES: &[&str] = &[
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-forwarded-for",
    "forwarded",
    "x-forwarded-host",
    "via",
    "referer",
    "user-agent",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "baggage",
    "x-wicket-session-id",
    "x-claude-code-session-id",
    "openai-conversation-id",
    "x-mcp-session-id",
    "if-none-match",
    "range",
    "te",
    "from",
    "x-amz-security-token",
    "cf-access-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "authorization-2",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-param-region",
    "accept-language",
    "priority",
    "x-http-method-override",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_in_every_header_never_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions { synced: false }).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let gate = Gate::start(GateOptions::new(vec![connector]).with_audit_mode("process")).await;
    let client = gate.client();
    let mut random = Random::announced("credentials");
    let mut passed = 0;
    for number in 0..REQUESTS {
        let canary = format!("canary-{:016x}", random.next());
        let body = client.call_body("recorder__echo", &json!({ "nonce": number.to_string() }));
        let mut request = client.request(body);
        for _ in 0..1 + random.below(12) {
            let name = if random.once_in(3) {
                format!("x-random-{:x}", random.next() % 10_000)
            } else {
                (*random.pick(NAMES)).to_owned()
            };
            let name: hyper::header::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, canary.parse().unwrap());
        }
        let reply = client.send(request).await;
        passed += usize::from(reply.succeeded());
        assert!(reply.status.as_u16() < 500, "{reply:?}");
    }
    assert!(passed > REQUESTS / 2, "only {passed} calls passed, which shows little");
    let received = upstream.received();
    assert!(received.len() > passed);
    for request in &received {
        for (name, value) in &request.headers {
            assert!(!value.contains("canary-"), "`{name}: {value}` reached the upstream");
            assert!(!value.contains(gate.key()), "the member key reached the upstream in `{name}`");
        }
        assert!(!request.body.contains(gate.key()) && !request.body.contains("canary-"), "{}", request.body);
    }
    let mut names: Vec<&str> =
        received.iter().flat_map(|request| request.headers.iter().map(|(name, _)| name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    let chosen = [
        "accept",
        "content-length",
        "content-type",
        "host",
        // Of the gate's own question in which era the upstream is.
        "mcp-method",
        "mcp-protocol-version",
        "mcp-session-id",
        "user-agent",
        "x-request-id",
    ];
    let strange: Vec<_> = names.iter().filter(|name| !chosen.contains(name)).collect();
    assert!(strange.is_empty(), "headers that nobody chose: {strange:?}");
    assert_no_key_at_rest(&gate).await;
}

/// The key is in no file of the gate's folder: not the database, journal, log, sockets' folder.
async fn assert_no_key_at_rest(gate: &Gate) {
    let mut folders = vec![gate.dir().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files += 1;
                let bytes = std::fs::read(&path).unwrap();
                let key = gate.key().as_bytes();
                let found = bytes.windows(key.len()).any(|window| window == key);
                assert!(!found, "the member key stands in {}", path.display());
            }
        }
    }
    assert!(files > 5, "only {files} files were read");
}

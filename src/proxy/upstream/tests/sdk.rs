//! The official Python SDK as the upstream, in both eras, over both transports: four kinds of client and
//! server in each.
//!
//! Needs `.tools/python/mcp2` (`.ci/tools` makes it); says loudly where it is not there.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sdk_server.py");
const LIMITS: &str = "[limits]\ndial_ms_max = 30000\nsilence_ms_max = 20000\n";
const ALL: Capabilities = Capabilities { sampling_tools: false, elicitation_url: false, ..Capabilities::ALL };

fn interpreter() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/mcp2/bin/python");
    if !path.exists() {
        let why = format!("{} is missing, run .ci/tools", path.display());
        let setting = |name: &str| std::env::vars().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v);
        assert!(
            setting("WICKET_TEST_REQUIRE_ALL").is_none(),
            "REQUIRE_ALL is set, but upstream-sdk cannot run: {why}"
        );
        eprintln!("SKIPPED upstream-sdk: {why}");
        if let Some(dir) = setting("WICKET_TEST_SKIPPED_DIR") {
            std::fs::write(Path::new(&dir).join("upstream-sdk"), why).unwrap();
        }
        return None;
    }
    Some(path)
}

/// A server process that ends with the test.
struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    async fn start(python: &Path) -> Self {
        let mut command = Command::new(python);
        command.args(["-B", SCRIPT, "http"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        let server = Self(child, port);
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not listen");
    }
}

fn descriptor(python: &Path, transport: &str, port: u16, era: &str) -> String {
    match transport {
        "http" => format!(
            "[transport]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/mcp\"\nallow_private = true\nera = \"{era}\"\n{LIMITS}"
        ),
        _ => format!(
            "[transport]\nkind = \"stdio\"\ncommand = \"{}\"\nargs = [\"-B\", \"{SCRIPT}\"]\nera = \"{era}\"\n{LIMITS}",
            python.display()
        ),
    }
}

fn tools() -> Vec<Value> {
    let mut tools: Vec<Value> = ["greet", "where", "think", "roots"].map(definition).into();
    tools.push(json!({"name": "region", "inputSchema": {"type": "object", "properties": {
        "name": {"type": "string", "x-mcp-header": "Region"}}}}));
    tools
}

fn answer(method: &str, params: &Value) -> Option<ClientAnswer> {
    let said = match method {
        "elicitation/create" => {
            assert_eq!(params["message"], "Which city?");
            r#"{"action":"accept","content":{"name":"Bern"}}"#
        }
        "sampling/createMessage" => {
            r#"{"role":"assistant","content":{"type":"text","text":"deep"},"model":"m","stopReason":"endTurn"}"#
        }
        _ => r#"{"roots":[{"uri":"file:///a"},{"uri":"file:///b"}]}"#,
    };
    Some(ClientAnswer::Result(said.to_owned()))
}

async fn text_of(rig: &Rig, tool: &str, arguments: Value, face: &Arc<ClientFace>) -> (String, Vec<String>) {
    let mut outbound = rig.outbound("peer", tool, &arguments, Some(json!("t")));
    outbound.client = Arc::clone(face);
    let mut asked = Vec::new();
    loop {
        let (call, retry) = (outbound.call.clone(), outbound.retry.take());
        let mut next = rig.outbound("peer", tool, &arguments, Some(json!("t")));
        (next.client, next.call) = (Arc::clone(face), call);
        outbound.retry = retry;
        let (went, said) = rig.converse(outbound, |method, params| answer(method, &params)).await;
        asked.extend(said);
        let answered = went.answer();
        let result = &answered["result"];
        if face.revision == Revision::R2026_07_28 {
            assert!(result["resultType"].is_string(), "{answered}");
            assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "asking", "{answered}");
        }
        if result["resultType"] != "input_required" {
            return (
                result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answered}")).to_owned(),
                asked,
            );
        }
        // What a client of the stateless era does with a question.
        let mut responses = serde_json::Map::new();
        for (key, request) in result["inputRequests"].as_object().unwrap() {
            let method = request["method"].as_str().unwrap();
            asked.push(method.to_owned());
            let Some(ClientAnswer::Result(raw)) = answer(method, &request["params"]) else { panic!() };
            responses.insert(key.clone(), serde_json::from_str(&raw).unwrap());
        }
        next.retry = Some(mcp::Retry {
            input_responses: Some(Value::Object(responses).to_string()),
            request_state: result["requestState"].as_str().map(str::to_owned),
        });
        outbound = next;
    }
}

async fn check(transport: &str) {
    let Some(python) = interpreter() else { return };
    let server = match transport {
        "http" => Some(Server::start(&python).await),
        _ => None,
    };
    let port = server.as_ref().map_or(0, |server| server.1);
    for (era, spoken) in [("auto", "stateless"), ("session", "session"), ("stateless", "stateless")] {
        let rig = Rig::new(&descriptor(&python, transport, port, era), &tools());
        for revision in [Revision::R2025_11_25, Revision::R2026_07_28] {
            let face = client(revision, ALL);
            for (tool, arguments, expect, asks) in [
                ("greet", json!({"name": "you"}), "hello you", None),
                ("region", json!({"name": "süd"}), "region süd", None),
                ("where", json!({}), "in Bern", Some("elicitation/create")),
                ("think", json!({}), "thought deep", Some("sampling/createMessage")),
                ("roots", json!({}), "2 roots", Some("roots/list")),
            ] {
                let (text, asked) = text_of(&rig, tool, arguments, &face).await;
                let case = format!("{tool}: {transport}, upstream {era}, client {revision}");
                assert_eq!(text, expect, "{case}");
                assert_eq!(asked, asks.into_iter().collect::<Vec<_>>(), "{case}");
            }
        }
        let status = rig.status();
        assert_eq!(status.era, Some(spoken), "{transport} {era}");
        let catalogue = rig.upstreams.catalogue(&rig.service()).await.unwrap();
        assert_eq!(
            catalogue.definitions.len() + catalogue.quarantined.len(),
            5,
            "its list is read in its era"
        );
        rig.upstreams.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_server_is_spoken_to_in_each_era_over_http() {
    check("http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_server_is_spoken_to_in_each_era_over_stdio() {
    check("stdio").await;
}

//! Official clients against real servers, the gate in between: Python (both lines) and TypeScript;
//! `everything` over stdio and over HTTP, `filesystem` over stdio.
//!
//! Needs what `make tools` installs; says so where it is missing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::harness::{Connector, Gate, GateOptions, skip, until};

/// One suite; each of its checks has 60 s of its own.
const SUITE_MAX: Duration = Duration::from_secs(300);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn server(name: &str) -> PathBuf {
    root().join(format!(".tools/node/node_modules/@modelcontextprotocol/server-{name}/dist/index.js"))
}

pub fn missing(parts: &[&Path]) -> Option<String> {
    let part = parts.iter().find(|part| !part.exists())?;
    Some(format!("{} is not there (make tools installs it)", part.display()))
}

/// The tool definitions of a server over stdio, asked as any client would.
async fn definitions_of(arguments: &[&str]) -> Vec<Value> {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut child = Command::new("node")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let asked = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
    ];
    for line in asked {
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    while let Some(line) = lines.next_line().await.unwrap() {
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["id"] == 2 {
            return message["result"]["tools"].as_array().unwrap().clone();
        }
    }
    panic!("{arguments:?} answered no tools/list");
}

/// `everything` over streamable HTTP, on a port that was free a moment ago.
async fn everything_over_http() -> (Child, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("node")
        .arg(server("everything"))
        .arg("streamableHttp")
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the everything server to listen", Duration::from_secs(20), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    (child, format!("http://127.0.0.1:{port}/mcp"))
}

pub struct Setup {
    gate: Gate,
    scratch: tempfile::TempDir,
    _server: Child,
}

pub async fn setup() -> Setup {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("hello.txt"), "hello from the scratch folder\n").unwrap();
    let (everything, files) = (server("everything"), server("filesystem"));
    let everything_arguments = [everything.to_str().unwrap(), "stdio"];
    let files_arguments = [files.to_str().unwrap(), scratch.path().to_str().unwrap()];
    let (child, url) = everything_over_http().await;
    let offered = definitions_of(&everything_arguments).await;
    let connectors = vec![
        Connector::stdio("everything", "node", &everything_arguments, offered.clone()),
        Connector::stdio("files", "node", &files_arguments, definitions_of(&files_arguments).await),
        Connector::http("remote", &url, offered),
    ];
    let options = GateOptions::new(connectors).with_config("[limits]\ntools_page_max = 7\n");
    Setup { gate: Gate::start(options).await, scratch, _server: child }
}

pub async fn run(mut suite: Command, setup: &Setup) {
    let running = suite
        .env("WICKET_URL", setup.gate.url())
        .env("WICKET_KEY", setup.gate.key())
        .env("WICKET_SCRATCH", setup.scratch.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SUITE_MAX, running).await.expect("the suite hangs").unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success(), "the suite failed:\n{text}");
}

async fn python(line: &str) {
    let interpreter = root().join(format!(".tools/python/{line}/bin/python"));
    let (everything, files) = (server("everything"), server("filesystem"));
    if let Some(why) = missing(&[&interpreter, &everything, &files]) {
        return skip(&format!("clients-python-{line}"), &why);
    }
    let setup = setup().await;
    let mut suite = Command::new(interpreter);
    suite.args(["-B", "suite.py", line]).current_dir(root().join("tests/clients/python"));
    run(suite, &setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_first_line() {
    python("mcp1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_second_line() {
    python("mcp2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript() {
    let sdk = root().join(".tools/typescript");
    let (everything, files) = (server("everything"), server("filesystem"));
    if let Some(why) = missing(&[&sdk.join("node_modules"), &everything, &files]) {
        return skip("clients-typescript", &why);
    }
    let setup = setup().await;
    let mut suite = Command::new("node");
    suite.arg("suite.mjs").current_dir(root().join("tests/clients/typescript")).env("WICKET_SDK", sdk);
    run(suite, &setup).await;
}

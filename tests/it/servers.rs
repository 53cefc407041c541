//! Real servers behind the gate, taken in the way that the guide shows: a file (or `wicket connector
//! add`), `sync`, `agent services`, a call. Over HTTP and over stdio; one with a key of its own, one that
//! refuses a foreign `Host`.
//!
//! Needs what `make tools` installs; says so where it is missing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::clients::{missing, root, server};
use crate::harness::{Client, Gate, GateOptions, Reply, skip, until};

/// The reading baseline alone would let no query and no note pass.
const EVERYTHING: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

/// A server over HTTP, on a port that was free a moment ago.
struct Remote {
    _child: Child,
    port: u16,
}

impl Remote {
    /// `PORT` in the arguments stands for the port.
    async fn start(program: &Path, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| argument.replace("PORT", &port.to_string()));
        let child = Command::new(program)
            .args(arguments)
            .env("PORT", port.to_string())
            .env("NOTION_TOKEN", "ntn_of_nobody")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Some listen on one kind of address only.
        until("a server over HTTP to listen", Duration::from_secs(60), async || {
            tokio::net::TcpStream::connect(("localhost", port)).await.ok()
        })
        .await;
        Self { _child: child, port }
    }
}

fn test_server(path: &str) -> PathBuf {
    root().join(".tools/test-servers/node_modules").join(path)
}

async fn gate() -> Gate {
    let gate = Gate::start(GateOptions::new(Vec::new()).with_policy("all.cedar", EVERYTHING)).await;
    // What shipped connectors name is relative to the gate's folder.
    std::os::unix::fs::symlink(root().join(".tools"), gate.dir().join(".tools")).unwrap();
    gate
}

/// Takes a server in by a file of its own.
async fn by_file(gate: &Gate, service: &str, transport: &str) -> (bool, String) {
    let text = format!("[transport]\nkind = \"http\"\nallow_private = true\n{transport}");
    let file = gate.dir().join(format!("connectors/{service}.toml"));
    std::fs::write(&file, text).unwrap();
    let (synced, page) = gate.command(&["connector", "sync", service]).await;
    if synced {
        assert!(gate.command(&["agent", "services", "tester", "--add", service]).await.0);
    } else {
        // A descriptor without its lock loads nowhere.
        std::fs::remove_file(file).unwrap();
    }
    (synced, page)
}

/// Takes a server in as it comes with the gate, and finds it as its lock says.
async fn by_name(gate: &Gate, service: &str) {
    for words in [&["connector", "add", service][..], &["agent", "services", "tester", "--add", service]] {
        let (fine, page) = gate.command(words).await;
        assert!(fine && !page.contains("the file "), "{words:?}: {page}");
    }
    as_its_lock_says(gate, service).await;
}

async fn as_its_lock_says(gate: &Gate, service: &str) {
    let (same, page) = gate.command(&["connector", "diff", service]).await;
    assert!(same && page.contains("all as in its lock"), "{page}");
}

/// A client of a new session: what was listed before does not count.
async fn client(gate: &Gate) -> Client {
    let mut client = gate.client();
    client.initialize().await;
    client
}

/// The text of a call's result.
async fn text(client: &Client, tool: &str, arguments: Value) -> String {
    let reply = until("the first answer", Duration::from_secs(60), async || {
        let reply: Reply = client.call(tool, arguments.clone()).await;
        // A child process that has just been started, or a list that is not there yet.
        let starting = matches!(reply.status.as_u16(), 502 | 503);
        (!starting).then_some(reply)
    })
    .await;
    let result = reply.result().unwrap_or_else(|| panic!("{tool}: {:?}", reply.message()));
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_over_http_and_a_database_with_sql() {
    let (everything, python) = (server("everything"), root().join(".tools/python/servers/bin"));
    if let Some(why) = missing(&[&everything, &python]) {
        return skip("servers-http", &why);
    }
    let node = Remote::start(Path::new("node"), &[everything.to_str().unwrap(), "streamableHttp"]).await;
    let program = python.join("mcp-server-motherduck");
    let database = ["--transport", "http", "--port", "PORT", "--db-path", ":memory:", "--read-write"];
    let database = Remote::start(&program, &database).await;
    let gate = gate().await;
    for (service, port) in [("everything", node.port), ("sql", database.port)] {
        let (fine, page) = by_file(&gate, service, &format!("url = \"http://127.0.0.1:{port}/mcp\"\n")).await;
        assert!(fine && page.contains("wrote"), "{page}");
        as_its_lock_says(&gate, service).await;
    }
    let client = client(&gate).await;
    assert!(text(&client, "everything__echo", json!({"message": "grüße"})).await.contains("grüße"));
    text(&client, "sql__execute_query", json!({"sql": "create table t as select 20 + 22 as answer"})).await;
    assert!(text(&client, "sql__execute_query", json!({"sql": "select answer from t"})).await.contains("42"));
    assert!(text(&client, "sql__list_tables", json!({"database": "memory"})).await.contains("\"t\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_key_of_its_own_gets_that_and_never_the_members() {
    let notion = test_server("@notionhq/notion-mcp-server/bin/cli.mjs");
    if let Some(why) = missing(&[&notion]) {
        return skip("servers-key", &why);
    }
    let arguments = [
        notion.to_str().unwrap(),
        "--transport",
        "http",
        "--port",
        "PORT",
        "--auth-token",
        "the-key-of-the-server",
    ];
    let remote = Remote::start(Path::new("node"), &arguments).await;
    let url = format!("url = \"http://127.0.0.1:{}/mcp\"\n", remote.port);
    let gate = gate().await;
    let (fine, page) = by_file(&gate, "bare", &url).await;
    assert!(!fine && page.contains("401"), "it let somebody in without its key: {page}");
    let with_key =
        format!("{url}headers = {{ Authorization = {{ env = \"WICKET_TEST_AUTHORIZATION\" }} }}\n");
    let (fine, page) = by_file(&gate, "notion", &with_key).await;
    assert!(fine, "{page}");
    let names = client(&gate).await.tool_names().await;
    assert!(names.iter().any(|name| name == "notion__API-get-self"), "{names:?}");
    assert!(!page.contains("the-key-of-the-server") && !gate.log().contains("the-key-of-the-server"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_a_foreign_host_is_given_its_own() {
    let playwright = test_server("@playwright/mcp/cli.js");
    if let Some(why) = missing(&[&playwright]) {
        return skip("servers-host", &why);
    }
    let arguments = [
        playwright.to_str().unwrap(),
        "--headless",
        "--isolated",
        "--host",
        "127.0.0.1",
        "--port",
        "PORT",
        "--allowed-hosts",
        "localhost:PORT",
    ];
    let remote = Remote::start(Path::new("node"), &arguments).await;
    let url = format!("url = \"http://127.0.0.1:{}/mcp\"\n", remote.port);
    let gate = gate().await;
    let (fine, page) = by_file(&gate, "foreign", &url).await;
    assert!(!fine && page.contains("403"), "it took a foreign host: {page}");
    let (fine, page) =
        by_file(&gate, "browser", &format!("{url}host = \"localhost:{}\"\n", remote.port)).await;
    assert!(fine, "{page}");
    let client = client(&gate).await;
    // There is no browser; closing one that was never opened is answered by the server itself.
    assert!(!text(&client, "browser__browser_close", json!({})).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_both_eras_lists_over_http() {
    let context7 = test_server("@upstash/context7-mcp/dist/index.js");
    if let Some(why) = missing(&[&context7]) {
        return skip("servers-context7", &why);
    }
    let arguments = [context7.to_str().unwrap(), "--transport", "http", "--port", "PORT"];
    let remote = Remote::start(Path::new("node"), &arguments).await;
    let gate = gate().await;
    let url = format!("url = \"http://localhost:{}/mcp\"\n", remote.port);
    let (fine, page) = by_file(&gate, "docs", &url).await;
    assert!(fine, "{page}");
    let names = client(&gate).await.tool_names().await;
    assert!(names.iter().any(|name| name == "docs__resolve-library-id"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connectors_that_come_with_the_gate_are_as_their_locks_say() {
    let (files, memory) = (server("filesystem"), server("memory"));
    let python = root().join(".tools/python/servers/bin");
    if let Some(why) = missing(&[&files, &memory, &python]) {
        return skip("servers-stdio", &why);
    }
    let gate = gate().await;
    let repository = gate.dir().join("repository");
    for words in [
        &["init", "--quiet", repository.to_str().unwrap()][..],
        &[
            "-C",
            repository.to_str().unwrap(),
            "-c",
            "user.name=it",
            "-c",
            "user.email=it@example.com",
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "the first of all commits",
        ],
    ] {
        assert!(Command::new("git").args(words).status().await.unwrap().success(), "{words:?}");
    }
    let notes = gate.dir().join("notes.jsonl");
    let scratch = gate.dir().join("data/scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    std::fs::write(scratch.join("hello.txt"), "hello from the scratch folder\n").unwrap();
    for end in [".tools.json", ".toml"] {
        let from = root().join(format!("config/connectors/filesystem{end}"));
        std::fs::copy(from, gate.dir().join(format!("connectors/filesystem{end}"))).unwrap();
    }
    for service in ["git", "time", "memory", "fetch", "motherduck"] {
        by_name(&gate, service).await;
    }
    // As its file says: where the notes are kept.
    let file = gate.dir().join("connectors/memory.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let place =
        written.replace("# env = {", "env = {").replace("/srv/wicket/memory.jsonl", notes.to_str().unwrap());
    assert_ne!(place, written);
    std::fs::write(&file, place).unwrap();
    assert!(gate.command(&["reload"]).await.0);
    assert!(gate.command(&["agent", "services", "tester", "--add", "filesystem"]).await.0);
    as_its_lock_says(&gate, "filesystem").await;

    let client = client(&gate).await;
    let hello = json!({"path": scratch.join("hello.txt")});
    assert_eq!(text(&client, "filesystem__read_text_file", hello).await, "hello from the scratch folder\n");
    let log = text(&client, "git__git_log", json!({"repo_path": repository})).await;
    assert!(log.contains("the first of all commits"), "{log}");
    let noon = json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"});
    assert!(text(&client, "time__convert_time", noon).await.contains("21:00"));
    let note = json!({"entities": [{"name": "gate", "entityType": "thing", "observations": ["is open"]}]});
    text(&client, "memory__create_entities", note).await;
    assert!(text(&client, "memory__search_nodes", json!({"query": "gate"})).await.contains("is open"));
    assert!(std::fs::read_to_string(&notes).unwrap().contains("is open"));
    let sum = text(&client, "motherduck__execute_query", json!({"sql": "select 40 + 2"})).await;
    assert!(sum.contains("42"), "{sum}");

    // Their policies hold although everything is permitted.
    for (tool, arguments, part) in [
        ("git__git_log", json!({"repo_path": "repository"}), "absolute path"),
        ("fetch__fetch", json!({"url": "http://127.0.0.1:9/"}), "public web"),
        ("fetch__fetch", json!({"url": "http://good.example@127.0.0.1:9/"}), "plain http"),
        ("motherduck__execute_query", json!({"sql": "select * from read_text('/etc/passwd')"}), "read files"),
    ] {
        let error = client.call(tool, arguments.clone()).await.error().unwrap();
        assert_eq!(error.code, -32600, "{tool} {arguments}");
        assert!(error.data["denyMessage"].as_str().unwrap().contains(part), "{tool}: {:?}", error.data);
    }
}

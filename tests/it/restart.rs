//! A restart forgives nothing: counters, sessions and revocations are what they were.

use serde_json::json;

use crate::harness::{Connector, Database, Gate, GateOptions, databases};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const THREE: &str = "@id(\"three\")\nforbid (principal, action == Recorder::Action::\"echo\", resource)\n\
                     when { context.session.calls >= 3 || context.member.calls >= 30 };\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_and_the_clients_session_outlive_the_process() {
    for database in databases() {
        outlive_on(&database).await;
    }
}

async fn outlive_on(database: &Database) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let options = GateOptions::new(vec![connector]).with_policy("three.cedar", THREE);
    let mut gate = Gate::start(options.with_config(&database.config)).await;
    let mut client = gate.client();
    client.initialize().await;
    for _ in 0..3 {
        assert!(client.call("recorder__echo", json!({ "nonce": "a" })).await.succeeded());
    }
    let session = client.session().expect("an Mcp-Session-Id").to_owned();
    assert!(gate.stop().await.success());
    gate.launch().await;

    let client = gate.client().with_session(&session);
    let reply = client.call("recorder__echo", json!({ "nonce": "b" })).await;
    assert_eq!(reply.error().expect("the fourth call is denied").code, -32600, "{reply:?}");
    assert_eq!(upstream.calls().len(), 3);
    let (clean, text) = gate.command(&["audit", "verify"]).await;
    assert!(clean, "{text}");
}

/// The plain binary makes what the shipped file server needs, as `make run` does; an agent that is there stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_makes_the_folder_of_the_file_server() {
    let mut gate = Gate::start(GateOptions::new(Vec::new())).await;
    let scratch = gate.data_dir().join("scratch");
    assert!(gate.stop().await.success());
    assert!(!scratch.exists());
    gate.launch_with("--first-run").await;
    assert!(scratch.is_dir());
    assert!(gate.client().call("wicket__whoami", json!({})).await.succeeded());
}

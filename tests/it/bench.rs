//! `wicket bench` tells the truth about a gate and about a bare MCP server: what it says was answered is
//! what the upstream received, what was denied or failed is told apart, and the key is nowhere to be
//! seen.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{Connector, Gate, GateOptions, binary};
use crate::recorder::Recorder;

/// Runs the verb with this key on its standard input: exit code, standard output, standard error.
async fn bench(url: &str, key: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(binary())
        .args(["bench", url])
        .args(if key.is_empty() { &[][..] } else { &["-"][..] })
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(key.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(key.is_empty() || !format!("{out}{err}").contains(key), "the key was printed");
    (output.status.code().unwrap(), out, err)
}

async fn json_of(url: &str, key: &str, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = bench(url, key, &[arguments, &["--json"]].concat()).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}{err}")))
}

async fn recorder() -> (Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = crate::recorder::RecorderOptions { synced: false };
    (Recorder::start(dir.path(), options).await, dir)
}

async fn gate(upstream: &Recorder) -> Gate {
    let connector = Connector::http("recorder", &upstream.url(), crate::recorder::definitions());
    Gate::start(GateOptions::new(vec![connector]).with_audit_mode("process")).await
}

const SHORT: [&str; 4] = ["--duration", "0.5", "--warm-up", "0"];

fn calls(report: &Value, sort: &str) -> u64 {
    report["report"][sort]["calls"].as_u64().unwrap()
}

#[tokio::test]
async fn what_was_answered_is_what_the_upstream_received() {
    let (upstream, _dir) = recorder().await;
    let gate = gate(&upstream).await;
    let arguments = ["--tool", "recorder__echo", "--arguments", r#"{"text": "as it is"}"#, "-c", "3"];
    let (code, report) = json_of(&gate.url(), gate.key(), &[&arguments[..], &SHORT].concat()).await;
    assert_eq!(code, 0, "{report}");
    let received = upstream.calls();
    assert!(received.len() > 3, "{report}");
    assert_eq!(calls(&report, "answered"), received.len() as u64, "{report}");
    assert_eq!((calls(&report, "denied"), calls(&report, "failed")), (0, 0), "{report}");
    assert!(received.iter().all(|call| call.arguments == r#"{"text": "as it is"}"#));
    let times = &report["report"]["answered"];
    let quantiles = ["p50Us", "p90Us", "p99Us", "p999Us", "maxUs"].map(|name| times[name].as_f64().unwrap());
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{quantiles:?}");
}

#[tokio::test]
async fn denials_and_faults_are_told_apart_from_answers() {
    let (upstream, _dir) = recorder().await;
    let gate = gate(&upstream).await;
    let (code, report) =
        json_of(&gate.url(), gate.key(), &[&["--tool", "recorder__delete_thing"][..], &SHORT].concat()).await;
    assert_eq!((code, calls(&report, "answered"), calls(&report, "failed")), (0, 0, 0), "{report}");
    assert!(calls(&report, "denied") > 0 && upstream.calls().is_empty(), "{report}");
    assert_eq!(report["report"]["kinds"][0]["denial"], true, "{report}");
    assert_eq!(report["report"]["kinds"][0]["kind"], "no_permit", "{report}");
    for (tool, kind) in [("recorder__tool_error", "tool_error"), ("recorder__nothing", "unknown_tool")] {
        let (code, report) =
            json_of(&gate.url(), gate.key(), &[&["--tool", tool][..], &SHORT].concat()).await;
        assert_eq!((code, calls(&report, "answered")), (1, 0), "{report}");
        let kinds = report["report"]["kinds"].as_array().unwrap();
        assert!(kinds.iter().any(|one| one["kind"] == kind && one["denial"] == false), "{tool}: {report}");
    }
}

/// A server that takes 100 ms for each call and has one client cannot take 50 a second. A generator
/// that waits for it would say 100 ms; who calls every 20 ms waits for seconds.
#[tokio::test]
async fn a_slow_server_cannot_hide_the_calls_that_it_kept_waiting() {
    let (upstream, _dir) = recorder().await;
    let slow =
        ["--tool", "count", "--arguments", r#"{"steps": 1, "gap_ms": 100}"#, "-c", "1", "--warm-up", "0"];
    let with = |more: &[&'static str]| [&slow[..], &["--duration", "2"], more].concat();
    let (code, closed) = json_of(&upstream.url(), "", &with(&[])).await;
    assert_eq!(code, 0, "{closed}");
    let (code, open) = json_of(&upstream.url(), "", &with(&["--rate", "50"])).await;
    assert_eq!(code, 1, "{open}");
    let p50_ms = |report: &Value| report["report"]["answered"]["p50Us"].as_f64().unwrap() / 1e3;
    assert!(p50_ms(&closed) < 500.0, "{closed}");
    assert!(p50_ms(&open) > 500.0, "{open}");
    let unsent = open["report"]["unsent"].as_u64().unwrap();
    assert!(unsent > 50, "{open}");
    assert_eq!(calls(&open, "answered") + calls(&open, "failed"), 100, "{open}");
    assert_eq!(calls(&open, "failed"), unsent, "{open}");
}

#[tokio::test]
async fn at_a_fixed_rate_every_call_that_was_due_is_accounted_for() {
    let (upstream, _dir) = recorder().await;
    let arguments = ["--tool", "echo", "--rate", "100", "--duration", "1", "--warm-up", "0.5", "-c", "4"];
    let (code, report) = json_of(&upstream.url(), "", &arguments).await;
    let (answered, unsent) = (calls(&report, "answered"), report["report"]["unsent"].as_u64().unwrap());
    assert_eq!(answered + unsent, 100, "{report}");
    assert!(code == 0 || unsent > 0, "{code} {report}");
    // Half a second of warm-up was sent, too, and not counted.
    assert!(upstream.calls().len() as u64 >= answered + 40, "{report}");
    let (code, page, _) = bench(&upstream.url(), "", &["--tool", "echo", "--duration", "0.2"]).await;
    assert!(code == 0 && page.contains("answered") && page.contains("recorder 1.0.0"), "{page}");
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_called() {
    let (upstream, _dir) = recorder().await;
    let gate = gate(&upstream).await;
    let (url, key) = (gate.url(), gate.key());
    for (to, key, arguments, code, says) in [
        (url.as_str(), key, &["--connections", "0"][..], 2, "1 to 4096"),
        (&url, key, &["--duration", "-1"], 2, "--duration"),
        (&url, key, &["--duration", "x"], 2, "invalid value"),
        (&url, key, &["--rate", "0"], 2, "rate"),
        (&url, key, &["--threads", "99"], 2, "threads"),
        (&url, key, &["--arguments", "[1]"], 2, "JSON object"),
        (&url, key, &["--tool", ""], 2, "--tool"),
        ("localhost:7400/mcp", key, &[], 2, "http://"),
        ("http://127.0.0.1:1/mcp", key, &[], 1, "cannot connect"),
        (&url, "not-a-key-that-anybody-has-minted", &["--tool", "recorder__echo"], 1, "unknown_key"),
        (&url, "", &["--tool", "recorder__echo"], 1, "no_bearer"),
        (&upstream.url(), "", &[], 2, "the server lists: "),
        (&format!("http://{}/healthz", gate.control()), "", &[], 1, "a client is not let in"),
    ] {
        let (got, out, err) = bench(to, key, arguments).await;
        assert!(got == code && err.contains(says), "{to} {arguments:?}: {got}\n{out}{err}");
    }
    assert!(upstream.calls().is_empty());
    let (code, report) = json_of(&url, key, &SHORT).await;
    assert_eq!((code, &report["tool"]), (0, &json!("wicket__whoami")), "the gate's own tool is the default");
}

#[tokio::test]
async fn a_server_that_breaks_is_called_anew_and_its_faults_are_counted() {
    let (upstream, _dir) = recorder().await;
    let url = upstream.url();
    let arguments = ["--tool", "echo", "--duration", "2", "--warm-up", "0", "-c", "2"];
    let running = tokio::spawn(async move { json_of(&url, "", &arguments).await });
    crate::harness::until("the first calls", Duration::from_secs(20), async || {
        (upstream.calls().len() > 5).then_some(())
    })
    .await;
    upstream.set_broken(true);
    let before = upstream.received().len();
    crate::harness::until("calls to the broken", Duration::from_secs(20), async || {
        (upstream.received().len() > before + 5 || running.is_finished()).then_some(())
    })
    .await;
    let (code, report) = running.await.unwrap();
    assert!(calls(&report, "answered") > 0 && calls(&report, "failed") > 0 && code == 1, "{code} {report}");
    assert_eq!(report["report"]["kinds"][0]["kind"], "HTTP 500", "{report}");
}

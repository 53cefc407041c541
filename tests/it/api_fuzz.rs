//! schemathesis against the REST API, by a token and by a browser: `tests/api-fuzz/run`, which
//! `make api-fuzz` runs as well with ten times as many cases.
//!
//! Needs what `.ci/tools api-fuzz` installs; says so where it is missing.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{binary, setting_or, skip};

/// The short form takes a minute and a half; on two busy processors several times that.
const RUN_MAX: Duration = Duration::from_secs(540);
/// Cases of the short form.
const CASES: u64 = 2_000;
/// The same requests in each run of the short form, so that a change is red for what it did; `make api-fuzz` draws.
const SEED: u64 = 11_422;
/// The runner's exit code where something that it needs is not installed.
const MISSING: i32 = 3;

#[tokio::test]
async fn schemathesis_finds_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let running = Command::new("python3")
        .arg(root.join("tests/api-fuzz/run"))
        .arg("--binary")
        .arg(binary())
        .arg("--output")
        .arg(root.join("target/api-fuzz"))
        .arg("--cases")
        .arg(setting_or("WICKET_TEST_API_CASES", CASES).to_string())
        .arg("--seed")
        .arg(setting_or("WICKET_TEST_API_SEED", SEED).to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(RUN_MAX, running).await.expect("the run hangs");
    let Ok(output) = ended else { return skip("api-fuzz", "python3 is not there") };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    if output.status.code() == Some(MISSING) {
        return skip("api-fuzz", text.lines().last().unwrap_or_default());
    }
    assert!(output.status.success(), "schemathesis is red:\n{text}");
}

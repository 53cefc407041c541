//! The official conformance suite, directly against our own backend and through the gate, in every pairing
//! of eras: `tests/conformance/run`, which `make conformance` runs as well.
//!
//! Needs what `.ci/tools conformance` installs; says so where it is missing. Takes about half a minute.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{binary, skip};

/// Ten runs of the suite with their programs, on two busy processors.
const RUN_MAX: Duration = Duration::from_secs(480);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The runner's exit code where something that it needs is not installed.
const MISSING: i32 = 3;

#[tokio::test]
async fn nothing_is_lost_on_the_way() {
    let running = Command::new("python3")
        .arg(root().join("tests/conformance/run"))
        .arg("--binary")
        .arg(binary())
        .arg("--output")
        .arg(root().join("target/conformance"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(RUN_MAX, running).await.expect("the conformance run hangs");
    let Ok(output) = ended else { return skip("conformance", "python3 is not there") };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    if output.status.code() == Some(MISSING) {
        return skip("conformance", text.lines().last().unwrap_or_default());
    }
    assert!(output.status.success(), "the conformance run is red:\n{text}");
}

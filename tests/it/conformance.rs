//! The official conformance suite, directly against our own backend and through the gate, in every pairing
//! of eras: `tests/conformance/run`, which `make conformance` runs as well.
//!
//! Needs what `.ci/tools conformance` installs; says so where it is missing. Takes about half a minute.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{binary, skip};

/// Ten runs of the suite with their programs, on two busy processors.
const RUN_MAX: Duration = Duration::from_secs(480);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the runner needs, and is not there.
fn missing() -> Option<PathBuf> {
    let needed = [
        ".tools/conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js",
        ".tools/python/mcp2/bin/python",
    ];
    needed.iter().map(|part| root().join(part)).find(|part| !part.exists())
}

#[tokio::test]
async fn nothing_is_lost_on_the_way() {
    if let Some(part) = missing() {
        return skip("conformance", &format!("{} is not there (make tools installs it)", part.display()));
    }
    let running = Command::new(root().join(".tools/python/mcp2/bin/python"))
        .arg(root().join("tests/conformance/run"))
        .arg("--binary")
        .arg(binary())
        .arg("--output")
        .arg(root().join("target/conformance"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(RUN_MAX, running).await.expect("the conformance run hangs").unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success(), "the conformance run is red:\n{text}");
}

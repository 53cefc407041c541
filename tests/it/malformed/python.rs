//! The Python recorder as a child process: an upstream with another parser.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// One request as Python's parser understood it.
#[derive(Debug, Deserialize)]
pub struct PythonReceived {
    pub headers: Vec<(String, String)>,
    pub method: String,
    pub tool: Value,
    pub arguments: Value,
    pub fault: Option<String>,
}

/// The running upstream; it ends with this value.
pub struct PythonRecorder {
    _child: Child,
    address: String,
    file: PathBuf,
    definitions: Vec<Value>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstreams/recorder.py")
}

impl PythonRecorder {
    /// None where there is no python3.
    pub async fn start(dir: &Path) -> Option<Self> {
        let listed = Command::new("python3")
            .arg(script())
            .args(["--tools", "--file", "unused"])
            .output()
            .await
            .ok()?;
        let definitions = serde_json::from_slice(&listed.stdout).ok()?;
        let file = dir.join("received-python.jsonl");
        let mut child = Command::new("python3")
            .arg(script())
            .arg("--file")
            .arg(&file)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.next_line().await.unwrap().expect("the Python recorder ended");
        let address = ready.strip_prefix("listening ").unwrap().to_owned();
        Some(Self { _child: child, address, file, definitions })
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn definitions(&self) -> Vec<Value> {
        self.definitions.clone()
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<PythonReceived> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

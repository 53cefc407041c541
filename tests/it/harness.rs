//! Starts the real binary in a folder of its own and speaks to it as its users do: agents over
//! `/mcp`, operators over the admin socket and the command line.
//!
//! Invariants: a gate's process ends with its `Gate`; a panic in the gate makes the test red even
//! where the reply looked right ([`Gate::stop`] and `Drop` read its log).

#[path = "harness/api.rs"]
mod api;
#[path = "harness/beside.rs"]
mod beside;
#[path = "harness/client.rs"]
mod client;
#[path = "harness/files.rs"]
mod files;
#[path = "harness/journal.rs"]
mod journal;
#[path = "harness/people.rs"]
mod people;
#[path = "harness/postgresql.rs"]
mod postgresql;
#[path = "harness/random.rs"]
mod random;
#[path = "harness/skip.rs"]
mod skip;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

pub use api::{Answer, Api, SCOPES};
pub use beside::{Database, databases};
pub use client::{Client, Reply, sse_messages};
pub use files::{Connector, GateOptions, READ_BASELINE};
pub use journal::Journal;
pub use people::{People, each, invite, join};
pub use postgresql::Server;
pub use random::Random;
pub use skip::{setting, setting_or, skip};

/// A gate that is not up by then will not come up (debug build on a busy two-core machine).
const START_MAX: Duration = Duration::from_secs(60);
/// SIGTERM to exit: the drain of the test configuration is 2 s.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Where the binary under test is.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wicket"))
}

/// A running gate with one agent (`tester`), one member (`alice`) and her key.
pub struct Gate {
    dir: TempDir,
    child: Option<Child>,
    agents: SocketAddr,
    control: SocketAddr,
    key: String,
}

impl Gate {
    /// Writes the files, starts the gate, makes the agent, its member and a key.
    pub async fn start(options: GateOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("wicket-it-").tempdir().unwrap();
        files::write(dir.path(), &options);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gate = Self { dir, child: None, agents: nowhere, control: nowhere, key: String::new() };
        gate.launch().await;
        gate.key = gate.new_member("tester", "alice", &options.services()).await;
        gate
    }

    /// Starts the process again over the same folder, after [`Gate::kill`] or [`Gate::stop`].
    pub async fn launch(&mut self) {
        self.launch_with("").await;
    }

    /// The same with more words for `wicket run`.
    pub async fn launch_with(&mut self, words: &str) {
        let addresses = self.data_dir().join("addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let start = format!("exec \"$0\" run {words} --config wicket.toml");
        let child = Command::new("bash")
            .args(["-c", &start])
            .arg(binary())
            .current_dir(self.dir.path())
            .env("RUST_BACKTRACE", "1")
            // No child of the gate may see this (clients.rs asks one).
            .env("WICKET_TEST_CANARY", "canary-in-the-environment")
            // What a server behind the gate asks for (servers.rs).
            .env("WICKET_TEST_AUTHORIZATION", "Bearer the-key-of-the-server")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        loop {
            if let Some((agents, control)) = read_addresses(&addresses) {
                (self.agents, self.control) = (agents, control);
                return;
            }
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "the gate ended at start ({exited:?}):\n{}", self.log());
            assert!(began.elapsed() < START_MAX, "the gate is not up:\n{}", self.log());
            pause(5).await;
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }

    /// SIGTERM; the exit status. Red when the gate panicked at any time.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(STOP_MAX, child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("still there after SIGTERM:\n{}", self.log())).unwrap();
        self.assert_no_panic();
        status
    }

    /// Nothing panicked so far.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains("panicked at"), "the gate panicked:\n{}", tail(&log));
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id().unwrap()
    }

    /// The agents' listener.
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// The control listener.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// `http://…/mcp`.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.agents)
    }

    /// Alice's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A client with alice's key.
    pub fn client(&self) -> Client {
        Client::new(self.agents, &self.key)
    }

    /// The folder that holds everything of this gate.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("gate.log")
    }

    /// The journal as it stands on disk.
    pub fn journal(&self) -> Journal {
        Journal::read(&self.data_dir())
    }

    /// Writes (or replaces) a policy file, as an editor does: whole, by rename.
    pub fn write_policy(&self, name: &str, text: &str) {
        files::replace(&self.dir.path().join("policies").join(name), text);
    }

    /// Takes a policy file away.
    pub fn remove_policy(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join("policies").join(name)).unwrap();
    }

    /// One operation over the admin socket: the `value` of its reply, or the fault.
    pub async fn ask(&self, request: Value) -> Result<Value, Value> {
        let stream = tokio::net::UnixStream::connect(self.data_dir().join("admin.sock")).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post("/v1/admin")
            .header("host", "wicket")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(request.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let done = response.status().is_success();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let reply: Value = serde_json::from_slice(&body).unwrap();
        if done { Ok(reply["value"].clone()) } else { Err(reply) }
    }

    /// The same, where nothing may go wrong.
    pub async fn admin(&self, request: Value) -> Value {
        let shown = request.to_string();
        self.ask(request).await.unwrap_or_else(|fault| panic!("{shown}: {fault}"))
    }

    /// A new member (of a new agent where there is none of this name): the member's key.
    pub async fn new_member(&self, agent: &str, member: &str, services: &[String]) -> String {
        if self.ask(json!({ "do": "agent_show", "agent": agent })).await.is_err() {
            self.admin(
                json!({ "do": "agent_create", "name": agent, "trust": "trusted", "services": services }),
            )
            .await;
        }
        self.admin(json!({ "do": "member_add", "agent": agent, "name": member, "role": "member",
            "status": "approved" }))
            .await;
        let minted = self.admin(json!({ "do": "key_create", "agent": agent, "member": member })).await;
        minted["key"].as_str().unwrap().to_owned()
    }

    /// An account of this address (made where there is none yet), by a token of all scopes.
    pub async fn account(&self, email: &str) -> Api {
        self.account_with(email, SCOPES).await
    }

    /// The same, by a token of these scopes.
    pub async fn account_with(&self, email: &str, scopes: &[&str]) -> Api {
        let _made_before = self.ask(json!({ "do": "account_create", "email": email })).await;
        let minted = self
            .admin(
                json!({ "do": "token_create", "email": email, "name": "tests", "scopes": scopes, "days": 1 }),
            )
            .await;
        Api::new(self.control, minted["token"].as_str())
    }

    /// A browser in which the account of this address (made where there is none yet) is signed in.
    pub async fn browser(&self, email: &str) -> Api {
        let _made_before = self.ask(json!({ "do": "account_create", "email": email })).await;
        let link = self.admin(json!({ "do": "account_link", "email": email })).await;
        Api::by_link(self.control, link["url"].as_str().unwrap()).await
    }

    /// A client of the REST API that is nobody.
    pub fn nobody(&self) -> Api {
        Api::new(self.control, None)
    }

    /// A metric as the control port tells it, by its name with labels; `None` where it was never set.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let mut stream = tokio::net::TcpStream::connect(self.control).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.control);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.trim().parse::<f64>().unwrap() as u64)
    }

    /// The command line, against this gate's folder.
    pub async fn command(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(binary())
            .args(arguments)
            .args(["--config", "wicket.toml"])
            .current_dir(self.dir.path())
            .output()
            .await
            .unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_panic();
            return;
        }
        eprintln!("-- log of the gate (its end)\n{}", tail(&self.log()));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn read_addresses(path: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(path).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    Some((value["agents"].as_str()?.parse().ok()?, value["control"].as_str()?.parse().ok()?))
}

/// Waits a little; for polls of something that no event tells.
pub async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Polls until `check` gives something, at most `max`.
pub async fn until<T>(what: &str, max: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(began.elapsed() < max, "waited {max:?} in vain for: {what}");
        pause(5).await;
    }
}

//! The gate as it is benchmarked: the release binary, one connector, 100 policies of which five can
//! matter to the call, a key whose rate is never reached.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wicket::connector::Lock;
use wicket::model::ServiceKey;

use super::process::Part;
use super::upstream::definitions;

/// Threads of every plane that is measured: the machine has two processors, and load and upstream
/// need theirs.
pub const THREADS: usize = 1;

/// The gate.
pub const BINARY: &str = env!("CARGO_BIN_EXE_wicket");
/// It is up by then, beneath valgrind too.
const START_MAX: Duration = Duration::from_secs(120);

/// A gate's folder: what an operator would write.
pub struct Home {
    dir: PathBuf,
    /// Keys of its connectors.
    services: Vec<String>,
}

/// A connector: its key, the URL's path at the upstream, its tools.
pub type Service = (String, String, Vec<Value>);

impl Home {
    /// The benchmark's own gate, in `dir/<mode>`: one connector, 100 policies.
    pub fn usual(dir: &Path, mode: &str, upstream: SocketAddr) -> Self {
        let service = ("bench".to_owned(), "/mcp".to_owned(), definitions());
        Self::write(&dir.join(mode), mode, upstream, &super::policies::text(100), &[service])
    }

    /// Any other.
    pub fn write(dir: &Path, mode: &str, upstream: SocketAddr, policies: &str, services: &[Service]) -> Self {
        let connectors = dir.join("connectors");
        std::fs::create_dir_all(&connectors).unwrap();
        std::fs::create_dir_all(dir.join("policies")).unwrap();
        for (name, path, definitions) in services {
            let service = ServiceKey::parse(name).unwrap();
            let lock = Lock::from_definitions(&service, definitions, None).unwrap();
            std::fs::write(connectors.join(format!("{name}.tools.json")), lock.to_json().unwrap()).unwrap();
            let mut namespace = name.clone();
            namespace.get_mut(..1).unwrap().make_ascii_uppercase();
            let text = format!(
                "namespace = \"{namespace}\"\n[transport]\nkind = \"http\"\nurl = \"http://{upstream}{path}\"\n\
                 allow_private = true\n[limits]\nin_flight_max = 1024\n"
            );
            std::fs::write(connectors.join(format!("{name}.toml")), text).unwrap();
        }
        std::fs::write(dir.join("policies/all.cedar"), policies).unwrap();
        std::fs::write(dir.join("wicket.toml"), configuration(mode)).unwrap();
        let services = services.iter().map(|(name, ..)| name.clone()).collect();
        Self { dir: dir.to_owned(), services }
    }

    /// Starts the gate, beneath another program where `command` is one (it ends where the gate's
    /// arguments begin), and waits until it listens: agents and control.
    pub fn launch(&self, mut command: Command) -> Result<(Part, SocketAddr, SocketAddr), String> {
        let addresses = self.dir.join("data/addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let log = std::fs::File::create(self.dir.join("gate.log")).unwrap();
        command.args(["run", "--config", "wicket.toml"]).current_dir(&self.dir);
        let part = Part::spawn(command.stdout(log.try_clone().unwrap()).stderr(log));
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&addresses).unwrap_or_default();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            if let (Some(agents), Some(control)) = (value["agents"].as_str(), value["control"].as_str()) {
                return Ok((part, agents.parse().unwrap(), control.parse().unwrap()));
            }
            if part.ended() || began.elapsed() > START_MAX {
                return Err(std::fs::read_to_string(self.dir.join("gate.log")).unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// An agent that has all services, a member, and the member's key.
    pub fn key(&self) -> Result<String, String> {
        let services = &self.services;
        let agent =
            json!({ "do": "agent_create", "name": "bench", "trust": "trusted", "services": services });
        ask(&self.dir, agent)?;
        ask(
            &self.dir,
            json!({ "do": "member_add", "agent": "bench", "name": "loader", "role": "member", "status": "approved" }),
        )?;
        // What is measured is the set that is named: not one policy more for each service.
        for service in services {
            let policy = format!("baseline-{service}-read-tools");
            ask(&self.dir, json!({ "do": "policy_delete", "agent": "bench", "policy": policy }))?;
        }
        let minted = ask(&self.dir, json!({ "do": "key_create", "agent": "bench", "member": "loader" }))?;
        minted["value"]["key"].as_str().map(str::to_owned).ok_or_else(|| "no key in the reply".to_owned())
    }
}

/// The configuration: ports of the system's choice, limits that stand in nobody's way.
fn configuration(mode: &str) -> String {
    format!(
        "[listen.agents]\naddress = \"127.0.0.1:0\"\n[listen.control]\naddress = \"127.0.0.1:0\"\n\
         [limits]\nrate_burst = 1_000_000_000\nrate_per_second = 1_000_000_000.0\nin_flight_max = 4096\n\
         in_flight_per_member_max = 4096\n[policies]\ndir = \"policies\"\n[connectors]\ndir = \"connectors\"\n\
         [audit]\nmode = \"{mode}\"\njournal_bytes_max = 21_474_836_480\n[threads]\nagents = {THREADS}\n\
         [sessions]\nsessions_per_member_max = 100_000\nnew_per_member_per_hour_max = 1_000_000\n"
    )
}

/// One operation over the admin socket.
fn ask(home: &Path, request: Value) -> Result<Value, String> {
    use http_body_util::{BodyExt, Full};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream =
            tokio::net::UnixStream::connect(home.join("data/admin.sock")).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post("/v1/admin")
            .header("host", "wicket")
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(request.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let done = response.status().is_success();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        if done {
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        } else {
            Err(String::from_utf8_lossy(&body).into_owned())
        }
    })
}

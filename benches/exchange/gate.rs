//! The gate as it is benchmarked: the release binary, one connector, 100 policies of which five can
//! matter to the call, a key whose rate is never reached.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
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

/// Starts a gate in `dir/<mode>`; its process, address and a member key.
pub fn start(dir: &Path, mode: &str, upstream: SocketAddr) -> Result<(Part, SocketAddr, String), String> {
    start_as(Command::new(BINARY), dir, mode, upstream, "")
}

/// The same beneath another program (`command` ends where the gate's arguments begin), with more of the
/// configuration.
pub fn start_as(
    mut command: Command,
    dir: &Path,
    mode: &str,
    upstream: SocketAddr,
    configuration: &str,
) -> Result<(Part, SocketAddr, String), String> {
    let home = dir.join(mode);
    write(&home, mode, upstream, configuration);
    let log = std::fs::File::create(home.join("gate.log")).unwrap();
    command.args(["run", "--config", "wicket.toml"]).current_dir(&home);
    let part = Part::spawn(command.stdout(log.try_clone().unwrap()).stderr(log));
    let began = Instant::now();
    let address = loop {
        let text = std::fs::read_to_string(home.join("data/addresses.json")).unwrap_or_default();
        let addresses: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(address) = addresses["agents"].as_str() {
            break address.parse().unwrap();
        }
        if part.ended() || began.elapsed() > START_MAX {
            return Err(std::fs::read_to_string(home.join("gate.log")).unwrap_or_default());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    Ok((part, address, key(&home)?))
}

fn key(home: &Path) -> Result<String, String> {
    ask(home, r#"{"do":"agent_create","name":"bench","trust":"trusted","services":["bench"]}"#)?;
    ask(home, r#"{"do":"member_add","agent":"bench","name":"loader","role":"member","status":"approved"}"#)?;
    let minted = ask(home, r#"{"do":"key_create","agent":"bench","member":"loader"}"#)?;
    minted["value"]["key"].as_str().map(str::to_owned).ok_or_else(|| "no key in the reply".to_owned())
}

/// One operation over the admin socket.
fn ask(home: &Path, request: &'static str) -> Result<Value, String> {
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
            .body(Full::new(bytes::Bytes::from_static(request.as_bytes())))
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

fn write(home: &Path, mode: &str, upstream: SocketAddr, more: &str) {
    let connectors = home.join("connectors");
    let policies = home.join("policies");
    std::fs::create_dir_all(&connectors).unwrap();
    std::fs::create_dir_all(&policies).unwrap();
    let service = ServiceKey::parse("bench").unwrap();
    let lock = Lock::from_definitions(&service, &definitions(), None).unwrap();
    std::fs::write(connectors.join("bench.tools.json"), lock.to_json().unwrap()).unwrap();
    std::fs::write(
        connectors.join("bench.toml"),
        format!(
            "namespace = \"Bench\"\n[transport]\nkind = \"http\"\nurl = \"http://{upstream}/mcp\"\n\
             allow_private = true\n[limits]\nin_flight_max = 1024\n"
        ),
    )
    .unwrap();
    std::fs::write(policies.join("hundred.cedar"), super::policies::hundred()).unwrap();
    std::fs::write(
        home.join("wicket.toml"),
        format!(
            "[listen.agents]\naddress = \"127.0.0.1:0\"\n[listen.control]\naddress = \"127.0.0.1:0\"\n\
             [limits]\nrate_burst = 1_000_000_000\nrate_per_second = 1_000_000_000.0\nin_flight_max = 4096\n\
             in_flight_per_member_max = 4096\n[policies]\ndir = \"policies\"\n[connectors]\ndir = \"connectors\"\n\
             [audit]\nmode = \"{mode}\"\njournal_bytes_max = 21_474_836_480\n[threads]\nagents = {THREADS}\n\
             [sessions]\nsessions_per_member_max = 100_000\nnew_per_member_per_hour_max = 1_000_000\n{more}"
        ),
    )
    .unwrap();
}

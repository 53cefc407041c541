//! Putting the parts together, running them, and ending them in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::audit::{Durability, Journal, JournalConfig};
use crate::control::admin::Places as AdminPlaces;
use crate::control::health::{Health, HostRule};
use crate::control::lock::{DataLock, SOCKET_FILE};
use crate::control::secrets::Secrets;
use crate::control::socket::AdminSocket;
use crate::control::status::ListenerStatus;
use crate::control::Admin;
use crate::mcp;
use crate::model::{RateLimit, Timestamp};
use crate::proxy::body::Body;
use crate::proxy::listener::{Bound, Handler, ListenerLimits, Peer};
use crate::proxy::upstream::{self, Environment, Upstreams};
use crate::proxy::{Directory, Gate, GateLimits, GateParts, Itself, Live};
use crate::session::{self, SessionLimits, Sessions};
use crate::store::Store;

use super::config::{AuditMode, Config, Listener};
use super::drain::Drained;
use super::reload::{self, Reloader, Watch};
use super::running::RunningGate;
use super::sources::{Files, Places};
use super::workers::{self, Charge};
use super::{StartFault, Stop, config};

/// Connections of the operator's socket at once.
const ADMIN_CONNECTIONS_MAX: u32 = 64;
/// The listeners' runtimes are given so long to end, in seconds, once the calls have.
const RUNTIMES_END_S: u64 = 1;
/// The background's tasks are given so long to end.
const BACKGROUND_END: Duration = Duration::from_secs(5);

/// What a started gate tells its handle.
pub struct Started {
    pub agents_address: SocketAddr,
    pub control_address: SocketAddr,
    pub data_dir: PathBuf,
    pub admin: Arc<Admin>,
    pub background: Handle,
}

/// A gate that is put together and bound, but serves nobody yet.
pub struct Composed {
    started: Started,
    server: Server,
    drained: Drained,
    charge: Charge,
    upstreams: Arc<Upstreams>,
    background: Runtime,
    watch: Watch,
    _lock: DataLock,
}

/// Parts that live before anything listens.
struct Core {
    live: Arc<Live>,
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    journal: Arc<Journal>,
    upstreams: Arc<Upstreams>,
    reloader: Arc<Reloader>,
}

/// Puts the gate together.
pub fn compose(config: Config, stops: Stop, stopped: watch::Receiver<bool>) -> Result<Composed, StartFault> {
    let started_at = Timestamp::now();
    // rustls is built with one provider; naming it keeps builders from panicking if that changes.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let lock = DataLock::take(&config.data_dir, "`wicket run`")
        .map_err(|fault| StartFault::Other(format!("{fault} ({})", fault.help())))?;
    let environment = config::environment();
    let pepper = environment.get(config::PEPPER_VARIABLE).map(String::as_str);
    let secrets = Secrets::open(&config.data_dir, pepper).map_err(StartFault::other)?;
    let background = background(&config)?;
    let store = background.block_on(Store::open(&config.store_url())).map_err(StartFault::other)?;

    let places = Places { policies: config.policies.dir.clone(), connectors: config.connectors.dir.clone() };
    let pepper = secrets.pepper.clone();
    let core = background.block_on(core(&config, &places, secrets, &store, background.handle()))?;
    let draining = Arc::new(AtomicBool::new(false));
    let (listeners, drain) = watch::channel(false);

    let (agents, agents_address) = bind(&config, "agents", &config.listen.agents, &core.gate, &drain)?;
    let late = Arc::new(OnceLock::new());
    let control = Arc::new(Control { health: Arc::clone(&late) });
    let (control, control_address) = bind(&config, "control", &config.listen.control, &control, &drain)?;
    let running = Arc::new(RunningGate {
        live: Arc::clone(&core.live),
        gate: Arc::clone(&core.gate),
        store: store.clone(),
        journal: Arc::clone(&core.journal),
        sessions: Arc::clone(&core.sessions),
        upstreams: Arc::clone(&core.upstreams),
        reloader: Arc::clone(&core.reloader),
        default_rate: default_rate(&config),
        listeners: vec![
            ListenerStatus { name: "agents".to_owned(), address: agents_address.to_string() },
            ListenerStatus { name: "control".to_owned(), address: control_address.to_string() },
        ],
        data_dir: config.data_dir.display().to_string(),
        started_at,
        draining: Arc::clone(&draining),
    });
    let (metrics, ready) = (recorder()?, Arc::clone(&running));
    let _first = late.set(Health::new(
        Arc::new(move || ready.readiness()),
        Arc::new(move || metrics.render()),
        HostRule::for_listener(control_address.ip()),
    ));
    let admin = admin(&config, &store, &running, pepper, agents_address);
    let socket = config.data_dir.join(SOCKET_FILE);
    let admin_limits = ListenerLimits { connections_max: ADMIN_CONNECTIONS_MAX, ..listener_limits(&config, &config.listen.control) };
    let operator = Arc::new(Operator { socket: AdminSocket::new(Arc::clone(&admin)), background: background.handle().clone() });
    let operator = Bound::unix("operator", &socket, operator, admin_limits, drain.clone()).map_err(StartFault::other)?;

    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.add_service(agents.threads(threads(config.threads.agents)));
    server.add_service(control.threads(threads(config.threads.control)));
    server.add_service(operator.threads(1));
    super::write_addresses(&config.data_dir, agents_address, control_address).map_err(StartFault::other)?;
    let watch = reload::watch(Arc::clone(&core.reloader), &places).map_err(StartFault::other)?;
    let charge = Charge {
        store,
        sessions: core.sessions,
        journal: core.journal,
        gate: Arc::clone(&core.gate),
        journal_dir: config.journal_dir(),
        write_behind: Duration::from_millis(config.sessions.write_behind_ms.into()),
    };
    let drained = Drained { stops, stopped, limits: config.drain, gate: core.gate, draining, listeners };
    let handle = background.handle().clone();
    let started =
        Started { agents_address, control_address, data_dir: config.data_dir, admin, background: handle };
    Ok(Composed { started, server, drained, charge, upstreams: core.upstreams, background, watch, _lock: lock })
}

impl Composed {
    /// What the handle needs.
    pub fn handle(&self) -> Started {
        Started {
            agents_address: self.started.agents_address,
            control_address: self.started.control_address,
            data_dir: self.started.data_dir.clone(),
            admin: Arc::clone(&self.started.admin),
            background: self.started.background.clone(),
        }
    }

    /// Serves until the gate is stopped, then ends everything in order.
    pub fn run(self) {
        let (stop, stopping) = watch::channel(false);
        let workers = workers::start(self.background.handle(), &self.charge, &stopping);
        let (agents, control) = (self.started.agents_address, self.started.control_address);
        tracing::info!(%agents, %control, "listening");
        self.server.run(RunArgs { shutdown_signal: Box::new(self.drained) });
        drop(self.watch);
        self.background.block_on(async {
            self.upstreams.shutdown().await;
            stop.send_replace(true);
            let ended = futures_util::future::join_all(workers);
            if tokio::time::timeout(BACKGROUND_END, ended).await.is_err() {
                tracing::warn!("some counters may not be written; they are restored from what is");
            }
        });
        self.charge.journal.close();
        self.background.shutdown_timeout(BACKGROUND_END);
        tracing::info!("stopped");
    }
}

async fn core(
    config: &Config,
    places: &Places,
    secrets: Secrets,
    store: &Store,
    background: &Handle,
) -> Result<Core, StartFault> {
    let files = Files::read(places).map_err(StartFault::Files)?;
    let files_digest = files.digest();
    let bundle = files.build().map_err(StartFault::Files)?;
    for warning in bundle.warnings() {
        tracing::warn!("{warning}");
    }
    let now = Timestamp::now();
    let (journal, recovery) =
        Journal::open(journal_config(config), store.node_id(), secrets.signing, now).map_err(StartFault::other)?;
    if recovery.open_intents > 0 || recovery.torn_bytes > 0 {
        let (open_intents, torn_bytes) = (recovery.open_intents, recovery.torn_bytes);
        tracing::warn!(open_intents, torn_bytes, "the last run ended early: these calls are recorded as `unknown`");
    }
    let sessions = Arc::new(Sessions::new(session_limits(config)));
    let rows = store.sessions().load_active().await.map_err(StartFault::other)?;
    let counters = store.sessions().load_counters(session::first_bucket(now)).await.map_err(StartFault::other)?;
    let restored = sessions.restore(rows, counters, now);
    tracing::debug!(?restored, "counters restored");
    let directory = Directory::new(store.directory().await.map_err(StartFault::other)?, default_rate(config));
    let connectors = Arc::clone(bundle.connectors());
    let live = Arc::new(Live::new(directory, bundle));
    let upstreams = Arc::new(Upstreams::new(upstream::Config {
        background: background.clone(),
        environment: Environment::new(config::environment()),
        in_process: Arc::new(Itself { live: Arc::clone(&live) }),
    }));
    upstreams.apply(&connectors);
    let journal = Arc::new(journal);
    let gate = Arc::new(Gate::new(GateParts {
        live: Arc::clone(&live),
        sessions: Arc::clone(&sessions),
        journal: Arc::clone(&journal),
        upstreams: Arc::clone(&upstreams),
        pepper: secrets.pepper,
        limits: gate_limits(config),
    }));
    let reloader = Reloader::new(places.clone(), Arc::clone(&live), Arc::clone(&upstreams), files_digest);
    Ok(Core { live, gate, sessions, journal, upstreams, reloader: Arc::new(reloader) })
}

fn admin(
    config: &Config,
    store: &Store,
    running: &Arc<RunningGate>,
    pepper: crate::keys::Pepper,
    agents_address: SocketAddr,
) -> Arc<Admin> {
    let scheme = if config.listen.agents.has_tls() { "https" } else { "http" };
    let places = AdminPlaces {
        data_dir: config.data_dir.clone(),
        connectors_dir: config.connectors.dir.clone(),
        agents_url: format!("{scheme}://{agents_address}/mcp"),
    };
    let live: Arc<dyn crate::control::live::Live> = Arc::clone(running) as _;
    Arc::new(Admin::new(store.clone(), live, pepper, places))
}

/// Health, readiness and metrics on the control port.
struct Control {
    health: Arc<OnceLock<Health>>,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        match self.health.get() {
            Some(health) => health.handle(&request).map(Body::of_full),
            None => {
                let mut early = Response::new(Body::empty());
                *early.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                early
            }
        }
    }
}

/// The operator's socket. Its work runs in the background: it may wait for the store.
struct Operator {
    socket: AdminSocket,
    background: Handle,
}

impl Handler for Operator {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        let background = self.background.clone();
        let answered = background.spawn(async move { self.socket.handle(request).await }).await;
        answered.map_or_else(
            |_| {
                let mut failed = Response::new(Body::whole("{\"error\":\"the gate failed; its log says how\"}"));
                *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                failed
            },
            |response| response.map(Body::of_full),
        )
    }
}

fn bind<H: Handler>(
    config: &Config,
    name: &str,
    listener: &Listener,
    handler: &Arc<H>,
    drain: &watch::Receiver<bool>,
) -> Result<(Bound<H>, SocketAddr), StartFault> {
    let tls = (Path::new(&listener.tls_certificate_file), Path::new(&listener.tls_key_file));
    let tls = listener.has_tls().then_some(tls);
    let limits = listener_limits(config, listener);
    Bound::tcp(name, listener.address, tls, Arc::clone(handler), limits, drain.clone()).map_err(StartFault::other)
}

fn background(config: &Config) -> Result<Runtime, StartFault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads.background.max(1).into())
        .thread_name("wicket-background")
        .enable_all()
        .build()
        .map_err(StartFault::other)
}

/// The recorder is the process's: tests start several gates in one.
fn recorder() -> Result<PrometheusHandle, StartFault> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().map_err(|e| e.to_string()));
    handle.clone().map_err(StartFault::Other)
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        daemon: false,
        threads: threads(config.threads.agents),
        // The drain waits for the calls itself; pingora would sleep through a fixed period.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(RUNTIMES_END_S),
        upgrade_sock: config.data_dir.join("upgrade.sock").display().to_string(),
        pid_file: config.data_dir.join("wicket.pid").display().to_string(),
        ..ServerConf::default()
    }
}

fn threads(asked: u16) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    }
}

fn default_rate(config: &Config) -> RateLimit {
    RateLimit { burst: config.limits.rate_burst, per_second: config.limits.rate_per_second }
}

fn listener_limits(config: &Config, listener: &Listener) -> ListenerLimits {
    ListenerLimits {
        connections_max: config.limits.connections_max,
        headers_max: config.limits.headers_max as usize,
        header_bytes_max: config.limits.header_bytes_max as usize,
        header_read_ms_max: config.limits.header_read_ms_max.into(),
        reply_write_ms_max: config.limits.reply_write_ms_max.into(),
        http2_streams_max: config.limits.http2_streams_max,
        trusted_proxies: config.trusted_networks(),
        proxy_protocol: listener.proxy_protocol,
    }
}

fn gate_limits(config: &Config) -> GateLimits {
    let limits = &config.limits;
    GateLimits {
        body_bytes_max: limits.body_bytes_max,
        body_read_ms_max: limits.body_read_ms_max.into(),
        reply_write_ms_max: limits.reply_write_ms_max.into(),
        json: mcp::Limits { depth_max: limits.json_depth_max, keys_max: limits.json_keys_max },
        tools_page_max: limits.tools_page_max as usize,
        in_flight_max: limits.in_flight_max,
        in_flight_per_member_max: limits.in_flight_per_member_max,
        trusted_proxies: config.trusted_networks(),
        allowed_origins: config.trust.allowed_origins.clone(),
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        idle_ms_max: config.sessions.idle_ms_max,
        sessions_max: config.sessions.sessions_max,
        sessions_per_member_max: config.sessions.sessions_per_member_max,
        new_per_member_per_hour_max: config.sessions.new_per_member_per_hour_max,
        ..SessionLimits::default()
    }
}

fn journal_config(config: &Config) -> JournalConfig {
    let mode = match config.audit.mode {
        AuditMode::Process => Durability::Process,
        AuditMode::Durable => Durability::Durable,
    };
    JournalConfig {
        dir: config.journal_dir(),
        witness: config.witness_file(),
        segment_bytes_max: config.audit.segment_bytes_max,
        journal_bytes_max: config.audit.journal_bytes_max,
        checkpoint_entries_max: config.audit.checkpoint_entries_max,
        checkpoint_ms_max: config.audit.checkpoint_ms_max,
        commit_ms_max: config.audit.record_ms_max,
        ..JournalConfig::in_data_dir(&config.data_dir, mode)
    }
}

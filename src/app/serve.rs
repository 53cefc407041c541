//! Putting the parts together, running them, and ending them in order.

mod limits;
mod surfaces;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pingora_core::server::{RunArgs, Server};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::audit::Journal;
use crate::control::Admin;
use crate::control::admin::Places as AdminPlaces;
use crate::control::api::{Api, Shared};
use crate::control::health::{Health, HostRule};
use crate::control::lock::{DataLock, SOCKET_FILE};
use crate::control::node;
use crate::control::secrets::Secrets;
use crate::control::socket::AdminSocket;
use crate::control::status::ListenerStatus;
use crate::model::Timestamp;
use crate::proxy::listener::{Bound, Handler, ListenerLimits};
use crate::proxy::upstream::{self, Environment, Upstreams};
use crate::proxy::{Directory, Gate, GateParts, Itself, Lists, Live};
use crate::session::{self, Sessions};
use crate::store::Store;

use super::config::{Config, Listener};
use super::drain::Drained;
use super::prove::Keeper;
use super::reload::{self, Reloader, Watch};
use super::running::RunningGate;
use super::sources::{Files, Places};
use super::upkeep::Upkeep;
use super::workers::{self, Charge};
use super::{StartFault, Stop, config};
use limits::{
    api_settings, default_rate, gate_limits, listener_limits, server_conf, session_limits, threads,
    tool_lists,
};
use surfaces::{Control, ControlSurfaces, Operator};

/// Connections of the operator's socket at once.
const ADMIN_CONNECTIONS_MAX: u32 = 64;
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

/// Puts the gate together: parts, then sockets, then what runs beside them.
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
    outlive_file_limits(background.handle());
    let password = environment.get(config::STORE_PASSWORD_VARIABLE).map(String::as_str);
    let opening = config.opening(password).map_err(StartFault::Other)?;
    let opened = node::open_store(&config.data_dir, opening, &secrets.pepper);
    let store = background.block_on(opened).map_err(StartFault::other)?;
    let places = Places {
        policies: config.policies.dir.clone(),
        connectors: config.connectors.dir.clone(),
        show: config.policies.show,
    };
    let pepper = secrets.pepper.clone();
    let core = background.block_on(core(&config, &places, secrets, &store, background.handle()))?;

    let draining = Arc::new(AtomicBool::new(false));
    let (listeners, drain) = watch::channel(false);
    let (agents, agents_address) = bind(&config, "agents", &config.listen.agents, &core.gate, &drain)?;
    let connections = agents.connections().unwrap_or_default();
    let surfaces = Arc::new(OnceLock::new());
    let control = Arc::new(Control::new(&surfaces, background.handle(), config.trusted_networks()));
    let (control, control_address) = bind(&config, "control", &config.listen.control, &control, &drain)?;
    let addresses = [("agents", agents_address), ("control", control_address)];
    let running = running(&config, &core, &store, addresses, started_at, &draining);
    let metrics = recorder()?;
    let admin = admin(&config, &store, &running, pepper, [agents_address, control_address])?;
    let health = health_of(&running, &metrics, control_address);
    let _first = surfaces.set(ControlSurfaces { health, api: api(&config, &admin, control_address)? });
    let operator = bind_operator(&config, &admin, background.handle(), &drain)?;

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
        upkeep: Arc::clone(&running.upkeep),
        running: Arc::clone(&running),
        metrics,
        journal_dir: config.journal_dir(),
        write_behind: Duration::from_millis(config.sessions.write_behind_ms.into()),
        session_idle: Duration::from_millis(config.sessions.idle_ms_max.into()),
    };
    let limits = config.drain;
    let drained = Drained { stops, stopped, limits, gate: core.gate, draining, listeners, connections };
    let handle = background.handle().clone();
    let data_dir = config.data_dir;
    let started = Started { agents_address, control_address, data_dir, admin, background: handle };
    let upstreams = core.upstreams;
    Ok(Composed { started, server, drained, charge, upstreams, background, watch, _lock: lock })
}

fn running(
    config: &Config,
    core: &Core,
    store: &Store,
    addresses: [(&str, SocketAddr); 2],
    started_at: Timestamp,
    draining: &Arc<AtomicBool>,
) -> Arc<RunningGate> {
    let listeners = addresses
        .map(|(name, address)| ListenerStatus { name: name.to_owned(), address: address.to_string() });
    Arc::new(RunningGate {
        live: Arc::clone(&core.live),
        gate: Arc::clone(&core.gate),
        store: store.clone(),
        journal: Arc::clone(&core.journal),
        upkeep: Arc::new(Upkeep::new(config.retention())),
        sessions: Arc::clone(&core.sessions),
        upstreams: Arc::clone(&core.upstreams),
        reloader: Arc::clone(&core.reloader),
        default_rate: default_rate(config),
        listeners: listeners.to_vec(),
        data_dir: config.data_dir.display().to_string(),
        started_at,
        draining: Arc::clone(draining),
    })
}

fn health_of(running: &Arc<RunningGate>, metrics: &PrometheusHandle, address: SocketAddr) -> Health {
    let (ready, metrics) = (Arc::clone(running), metrics.clone());
    let rule = HostRule::for_listener(address.ip());
    Health::new(Arc::new(move || ready.readiness()), Arc::new(move || metrics.render()), rule)
}

fn api(config: &Config, admin: &Arc<Admin>, address: SocketAddr) -> Result<Api, StartFault> {
    let settings = api_settings(config, address).map_err(StartFault::Other)?;
    Ok(Api::new(Shared::new(Arc::clone(admin), settings)))
}

fn bind_operator(
    config: &Config,
    admin: &Arc<Admin>,
    background: &Handle,
    drain: &watch::Receiver<bool>,
) -> Result<Bound<Operator>, StartFault> {
    let limits = listener_limits(config, &config.listen.control);
    let limits = ListenerLimits { connections_max: ADMIN_CONNECTIONS_MAX, ..limits };
    let operator = Operator { socket: AdminSocket::new(Arc::clone(admin)), background: background.clone() };
    let socket = config.data_dir.join(SOCKET_FILE);
    Bound::unix("operator", &socket, Arc::new(operator), limits, drain.clone()).map_err(StartFault::other)
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
    let files_read = (files.digest(), files.invariants());
    let bundle = files.build().map_err(StartFault::Files)?;
    let keeper = Keeper::new(&config.policies, &config::environment());
    for warning in bundle.warnings() {
        tracing::warn!("{warning}");
    }
    let now = Timestamp::now();
    let (journal, _recovery) =
        Journal::open(config.journal(), store.node_id(), secrets.signing, now).map_err(StartFault::other)?;
    let sessions = Arc::new(Sessions::new(session_limits(config)));
    let rows = store.sessions().load_active().await.map_err(StartFault::other)?;
    let counters =
        store.sessions().load_counters(session::first_bucket(now)).await.map_err(StartFault::other)?;
    let restored = sessions.restore(rows, counters, now);
    tracing::debug!(?restored, "counters restored");
    store.nodes().started(env!("CARGO_PKG_VERSION"), now).await.map_err(StartFault::other)?;
    let asked = Instant::now();
    let directory = Directory::new(store.directory().await.map_err(StartFault::other)?, default_rate(config));
    let connectors = Arc::clone(bundle.connectors());
    let mut live = Live::new(directory, bundle);
    if store.is_shared() {
        live = live.believed_for(Duration::from_millis(config.store.stale_ms_max.into()));
    }
    live.confirm(asked);
    let live = Arc::new(live);
    if let Some(keeper) = &keeper {
        // What a reload or a save refuses, a restart must not let in.
        let in_force = live.load();
        reload::keep(keeper, &in_force.bundle, files_read.1.as_ref(), &in_force)
            .map_err(StartFault::Files)?;
    }
    let lists = Arc::new(Lists::new(tool_lists(config)));
    let upstreams = Arc::new(Upstreams::new(upstream::Config {
        background: background.clone(),
        environment: Environment::new(config::environment()),
        in_process: Arc::new(Itself { live: Arc::clone(&live), lists: Arc::clone(&lists) }),
    }));
    upstreams.apply(&connectors);
    let journal = Arc::new(journal);
    let gate = Gate::new(GateParts {
        live: Arc::clone(&live),
        sessions: Arc::clone(&sessions),
        journal: Arc::clone(&journal),
        upstreams: Arc::clone(&upstreams),
        lists,
        pepper: secrets.pepper,
        limits: gate_limits(config),
    });
    let gate = Arc::new(gate.map_err(StartFault::other)?);
    let parts = (Arc::clone(&live), Arc::clone(&upstreams));
    let reloader = Reloader::new(places.clone(), parts, files_read, keeper);
    Ok(Core { live, gate, sessions, journal, upstreams, reloader: Arc::new(reloader) })
}

fn admin(
    config: &Config,
    store: &Store,
    running: &Arc<RunningGate>,
    pepper: crate::keys::Pepper,
    [agents, control]: [SocketAddr; 2],
) -> Result<Arc<Admin>, StartFault> {
    let scheme = if config.listen.agents.has_tls() { "https" } else { "http" };
    let public_url = config.public_url(control).map_err(StartFault::Other)?;
    let places = AdminPlaces {
        data_dir: config.data_dir.clone(),
        journal_dir: config.journal_dir(),
        connectors_dir: config.connectors.dir.clone(),
        agents_url: format!("{scheme}://{agents}/mcp"),
        public_url: public_url.to_string(),
    };
    let live: Arc<dyn crate::control::live::Live> = Arc::clone(running) as _;
    Ok(Arc::new(Admin::new(store.clone(), live, pepper, places)))
}

fn bind<H: Handler>(
    config: &Config,
    name: &'static str,
    listener: &Listener,
    handler: &Arc<H>,
    drain: &watch::Receiver<bool>,
) -> Result<(Bound<H>, SocketAddr), StartFault> {
    let tls = (Path::new(&listener.tls_certificate_file), Path::new(&listener.tls_key_file));
    let tls = listener.has_tls().then_some(tls);
    let limits = listener_limits(config, listener);
    Bound::tcp(name, listener.address, tls, Arc::clone(handler), limits, drain.clone())
        .map_err(StartFault::other)
}

fn background(config: &Config) -> Result<Runtime, StartFault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads.background.max(1).into())
        .thread_name("wicket-background")
        // Parsing policies recurses as deep as they are nested.
        .thread_stack_size(super::STACK_BYTES)
        .enable_all()
        .build()
        .map_err(StartFault::other)
}

/// A file that grows beyond a limit of the system would kill the process; handled, the write fails and
/// the journal refuses.
fn outlive_file_limits(background: &Handle) {
    background.spawn(async {
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        if let Ok(mut signals) = signal(kind) {
            while signals.recv().await.is_some() {}
        }
    });
}

/// The recorder is the process's: tests start several gates in one.
fn recorder() -> Result<PrometheusHandle, StartFault> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle =
        HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().map_err(|e| e.to_string()));
    handle.clone().map_err(StartFault::Other)
}

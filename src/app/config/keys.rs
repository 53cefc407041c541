//! The keys of the configuration and their defaults. What each means stands in `config/wicket.toml`.

mod policies;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proxy::Presentation;
use crate::store;

pub use self::policies::{Policies, Prove, ProveUnknown};

/// The whole configuration; field docs stand in `config/wicket.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: Listen,
    pub control: Control,
    pub trust: Trust,
    pub limits: Limits,
    pub tools: Tools,
    pub sessions: Sessions,
    pub policies: Policies,
    pub connectors: Connectors,
    pub audit: Audit,
    pub store: Store,
    pub threads: Threads,
    pub drain: Drain,
    pub log: Log,
}

/// The two listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub agents: Listener,
    pub control: Listener,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    pub address: SocketAddr,
    pub tls_certificate_file: String,
    pub tls_key_file: String,
    pub plaintext_allowed: bool,
    pub proxy_protocol: bool,
}

/// How sign-in links reach people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryWay {
    Outbox,
    Stdout,
}

/// The REST API (specification 13) and signing in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub public_url: String,
    pub delivery: DeliveryWay,
    pub session_idle_ms_max: u32,
    pub session_ms_max: u32,
    pub rate_burst: u32,
    pub rate_per_second: f64,
    pub address_rate_burst: u32,
    pub address_rate_per_second: f64,
}

/// Whom the gate believes about addresses and origins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    pub trusted_proxies: Vec<String>,
    pub allowed_origins: Vec<String>,
}

/// Limits of the agents' listener (decisions 14 and 15).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub connections_max: u32,
    pub in_flight_max: u32,
    pub in_flight_per_member_max: u32,
    pub body_bytes_max: u32,
    pub json_depth_max: u16,
    pub json_keys_max: u32,
    pub headers_max: u32,
    pub header_bytes_max: u32,
    pub header_read_ms_max: u32,
    pub body_read_ms_max: u32,
    pub reply_write_ms_max: u32,
    pub reply_bytes_waiting_max: u32,
    pub connection_idle_ms_max: u32,
    pub http2_streams_max: u32,
    pub rate_burst: u32,
    pub rate_per_second: f64,
    pub tools_page_max: u32,
    pub rounds_parked_max: u32,
    pub round_ms_max: u32,
}

/// How lists of tools are presented.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    pub presentation: Presentation,
    pub pinned: Vec<String>,
}

/// Tool sessions and their counters (decisions 9 and 10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    pub idle_ms_max: u32,
    pub sessions_max: u32,
    pub sessions_per_member_max: u32,
    pub new_per_member_per_hour_max: u32,
    pub write_behind_ms: u32,
}

/// Where the connector files are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connectors {
    pub dir: PathBuf,
}

/// How far an intent has come before its call may leave (decision 17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditMode {
    Process,
    Durable,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    pub mode: AuditMode,
    pub dir: PathBuf,
    pub witness_file: PathBuf,
    pub segment_bytes_max: u64,
    pub journal_bytes_max: u64,
    pub checkpoint_entries_max: u32,
    pub checkpoint_ms_max: u32,
    pub record_ms_max: u32,
    pub retention_days_max: u32,
    pub retention_bytes_max: u64,
    pub session_checkpoint_calls_max: u32,
    pub session_checkpoint_ms_max: u32,
}

/// The database.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub url: String,
    pub password_file: PathBuf,
    pub stale_ms_max: u32,
}

/// Threads of each runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threads {
    pub agents: u16,
    pub control: u16,
    pub background: u16,
}

/// How the gate stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    pub delay_ms: u32,
    pub ms_max: u32,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            listen: Listen::default(),
            control: Control::default(),
            trust: Trust::default(),
            limits: Limits::default(),
            tools: Tools::default(),
            sessions: Sessions::default(),
            policies: Policies::default(),
            connectors: Connectors::default(),
            audit: Audit::default(),
            store: Store::default(),
            threads: Threads::default(),
            drain: Drain::default(),
            log: Log::default(),
        }
    }
}

impl Listener {
    fn on_loopback(port: u16) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            plaintext_allowed: false,
            proxy_protocol: false,
        }
    }

    /// Whether both PEM files are named.
    pub fn has_tls(&self) -> bool {
        !self.tls_certificate_file.is_empty() && !self.tls_key_file.is_empty()
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::on_loopback(0)
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { agents: Listener::on_loopback(7400), control: Listener::on_loopback(7401) }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            public_url: String::new(),
            delivery: DeliveryWay::Outbox,
            session_idle_ms_max: 43_200_000,
            session_ms_max: 604_800_000,
            rate_burst: 240,
            rate_per_second: 20.0,
            address_rate_burst: 60,
            address_rate_per_second: 5.0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            in_flight_max: 1_024,
            in_flight_per_member_max: 128,
            body_bytes_max: 4 << 20,
            json_depth_max: 64,
            json_keys_max: 100_000,
            headers_max: 100,
            header_bytes_max: 32 << 10,
            header_read_ms_max: 10_000,
            body_read_ms_max: 30_000,
            reply_write_ms_max: 30_000,
            reply_bytes_waiting_max: 256 << 20,
            connection_idle_ms_max: 60_000,
            http2_streams_max: 128,
            rate_burst: 60,
            rate_per_second: 1.0,
            tools_page_max: 500,
            rounds_parked_max: 1_000,
            round_ms_max: 300_000,
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            idle_ms_max: 1_800_000,
            sessions_max: 100_000,
            sessions_per_member_max: 1_000,
            new_per_member_per_hour_max: 600,
            write_behind_ms: 500,
        }
    }
}

impl Default for Connectors {
    fn default() -> Self {
        Self { dir: PathBuf::from("./config/connectors") }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            mode: AuditMode::Durable,
            dir: PathBuf::new(),
            witness_file: PathBuf::new(),
            segment_bytes_max: 64 << 20,
            journal_bytes_max: 10 << 30,
            checkpoint_entries_max: 1_000,
            checkpoint_ms_max: 1_000,
            record_ms_max: 250,
            retention_days_max: 400,
            retention_bytes_max: 0,
            session_checkpoint_calls_max: 1_000,
            session_checkpoint_ms_max: 900_000,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: String::new(), password_file: PathBuf::new(), stale_ms_max: 30_000 }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("url", &store::without_password(&self.url))
            .field("password_file", &self.password_file)
            .field("stale_ms_max", &self.stale_ms_max)
            .finish()
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self { agents: 0, control: 1, background: 2 }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay_ms: 0, ms_max: 30_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

//! The configuration's numbers, as each part takes them.

use std::net::SocketAddr;

use pingora_core::server::configuration::ServerConf;

use crate::app::config::{Config, DeliveryWay, Listener};
use crate::control::admin::accounts;
use crate::control::api::ApiSettings;
use crate::control::api::pace::Rates;
use crate::control::delivery::{Delivery, OUTBOX_DIR};
use crate::control::health::HostRule;
use crate::mcp;
use crate::model::RateLimit;
use crate::proxy::listener::ListenerLimits;
use crate::proxy::{GateLimits, RoundLimits, ToolLists};
use crate::session::SessionLimits;

/// The listeners' runtimes are given so long to end, in seconds, once the calls have.
const RUNTIMES_END_S: u64 = 1;

pub fn server_conf(config: &Config) -> ServerConf {
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

pub fn threads(asked: u16) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    }
}

pub fn default_rate(config: &Config) -> RateLimit {
    RateLimit { burst: config.limits.rate_burst, per_second: config.limits.rate_per_second }
}

/// What the REST API is told, at the control port's address.
pub fn api_settings(config: &Config, address: SocketAddr) -> Result<ApiSettings, String> {
    let control = &config.control;
    Ok(ApiSettings {
        public_url: config.public_url(address)?,
        host_rule: HostRule::for_listener(address.ip()),
        sessions: accounts::SessionLimits {
            idle_ms_max: control.session_idle_ms_max.into(),
            ms_max: control.session_ms_max.into(),
        },
        rates: Rates {
            account: RateLimit { burst: control.rate_burst, per_second: control.rate_per_second },
            address: RateLimit {
                burst: control.address_rate_burst,
                per_second: control.address_rate_per_second,
            },
        },
        delivery: match control.delivery {
            DeliveryWay::Outbox => Delivery::Outbox(config.data_dir.join(OUTBOX_DIR)),
            DeliveryWay::Stdout => Delivery::Stdout,
        },
    })
}

pub fn listener_limits(config: &Config, listener: &Listener) -> ListenerLimits {
    ListenerLimits {
        connections_max: config.limits.connections_max,
        headers_max: config.limits.headers_max as usize,
        header_bytes_max: config.limits.header_bytes_max as usize,
        header_read_ms_max: config.limits.header_read_ms_max.into(),
        reply_write_ms_max: config.limits.reply_write_ms_max.into(),
        http2_streams_max: config.limits.http2_streams_max,
        connection_idle_ms_max: config.limits.connection_idle_ms_max.into(),
        trusted_proxies: config.trusted_networks(),
        proxy_protocol: listener.proxy_protocol,
    }
}

pub fn gate_limits(config: &Config) -> GateLimits {
    let limits = &config.limits;
    GateLimits {
        body_bytes_max: limits.body_bytes_max,
        body_read_ms_max: limits.body_read_ms_max.into(),
        reply_write_ms_max: limits.reply_write_ms_max.into(),
        json: mcp::Limits { depth_max: limits.json_depth_max, keys_max: limits.json_keys_max },
        tools_page_max: limits.tools_page_max as usize,
        rounds: RoundLimits {
            parked_max: limits.rounds_parked_max,
            round_ms_max: limits.round_ms_max.into(),
        },
        in_flight_max: limits.in_flight_max,
        in_flight_per_member_max: limits.in_flight_per_member_max,
        reply_bytes_waiting_max: limits.reply_bytes_waiting_max.into(),
        trusted_proxies: config.trusted_networks(),
        allowed_origins: config.trust.allowed_origins.clone(),
    }
}

pub fn tool_lists(config: &Config) -> ToolLists {
    ToolLists { presentation: config.tools.presentation, pinned: config.tools.pinned.clone() }
}

pub fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        idle_ms_max: config.sessions.idle_ms_max,
        sessions_max: config.sessions.sessions_max,
        sessions_per_member_max: config.sessions.sessions_per_member_max,
        new_per_member_per_hour_max: config.sessions.new_per_member_per_hour_max,
        checkpoint_calls_max: config.audit.session_checkpoint_calls_max,
        checkpoint_ms_max: config.audit.session_checkpoint_ms_max,
        ..SessionLimits::default()
    }
}

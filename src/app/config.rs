//! The configuration: `config/wicket.toml` and the environment, read once at start.
//!
//! Invariants: every key has a default, and the shipped file states exactly the defaults (a test
//! compares them); unknown keys are refused; a value that cannot hold is refused with file and line.

mod keys;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::audit::retention::RetentionLimits;
use crate::audit::{Durability, JournalConfig};
use crate::control::api::public_url::PublicUrl;
use crate::model::{Diagnostic, SourceFile};
use crate::store::{self, Opening, Password};

pub use keys::{
    Audit, AuditMode, Config, Connectors, Control, DeliveryWay, Drain, Limits, Listen, Listener, Log,
    LogFormat, Policies, Prove, ProveUnknown, Sessions, Store, Threads, Tools, Trust,
};

/// The name under which faults of the embedded defaults and of the environment are reported.
const ENVIRONMENT: &str = "environment";
/// Variables `WICKET__SECTION__KEY` override keys. The double underscore keeps clear of variables
/// such as `WICKET_PORT` that container platforms set on their own.
const ENVIRONMENT_PREFIX: &str = "WICKET__";

/// Holds the pepper of the key index instead of the file in the data directory.
pub const PEPPER_VARIABLE: &str = "WICKET_PEPPER";

/// Holds the database's password instead of `store.password_file`.
pub const STORE_PASSWORD_VARIABLE: &str = "WICKET_STORE_PASSWORD";

/// The member key that `wicket connect` presents.
pub const KEY_VARIABLE: &str = "WICKET_KEY";

/// The process's environment: the only place where it is read. Names and values that are not UTF-8
/// are nobody's configuration.
pub fn environment() -> BTreeMap<String, String> {
    let pairs = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    pairs.collect()
}

impl Config {
    /// Reads the file (the embedded defaults where `path` is `None`) and the environment over it.
    ///
    /// # Errors
    /// Every fault found, with file, line and what to do.
    pub fn load(
        path: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let source = match path {
            None => SourceFile::new("embedded defaults", ""),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| {
                    vec![
                        Diagnostic::of_file(&name, format!("cannot be read: {error}"))
                            .with_help("name another file with --config, or none for the defaults"),
                    ]
                })?;
                SourceFile::new(&name, &text)
            }
        };
        Self::parse(&source, environment)
    }

    /// The same, from text that was read elsewhere.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        source: &SourceFile,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let config: Self = toml::from_str(&source.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![
                Diagnostic::at(source, offset, error.message().to_owned())
                    .with_help("config/wicket.toml in the repository lists every key"),
            ]
        })?;
        let config = config.overridden_by(environment).map_err(|fault| vec![fault])?;
        let faults = config.faults(&source.name);
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// A configuration for tests: everything under `dir`, ports chosen by the system, limits that
    /// do not stand in a test's way.
    pub fn for_tests(dir: &Path) -> Self {
        let mut config = Self { data_dir: dir.join("data"), ..Self::default() };
        config.listen.agents.address.set_port(0);
        config.listen.control.address.set_port(0);
        config.policies.dir = dir.join("policies");
        config.connectors.dir = dir.join("connectors");
        config.limits.rate_burst = 1_000_000;
        config.limits.rate_per_second = 1_000_000.0;
        config.control.rate_burst = 1_000_000;
        config.control.rate_per_second = 1_000_000.0;
        config.control.address_rate_burst = 1_000_000;
        config.control.address_rate_per_second = 1_000_000.0;
        config.threads.agents = 2;
        config.drain.ms_max = 2_000;
        config.audit.record_ms_max = 5_000;
        config
    }

    /// The journal, as the gate and the commands that stand in for it open it.
    pub fn journal(&self) -> JournalConfig {
        let mode = match self.audit.mode {
            AuditMode::Process => Durability::Process,
            AuditMode::Durable => Durability::Durable,
        };
        JournalConfig {
            dir: self.journal_dir(),
            witness: self.witness_file(),
            segment_bytes_max: self.audit.segment_bytes_max,
            journal_bytes_max: self.audit.journal_bytes_max,
            checkpoint_entries_max: self.audit.checkpoint_entries_max,
            checkpoint_ms_max: self.audit.checkpoint_ms_max,
            commit_ms_max: self.audit.record_ms_max,
            // What a killed process leaves without a known end: as many calls as may be in flight (P2).
            open_intents_max: self.limits.in_flight_max,
            ..JournalConfig::in_data_dir(&self.data_dir, mode)
        }
    }

    /// When the journal drops its oldest segments.
    pub fn retention(&self) -> RetentionLimits {
        RetentionLimits { days_max: self.audit.retention_days_max, bytes_max: self.audit.retention_bytes_max }
    }

    /// The journal's directory.
    pub fn journal_dir(&self) -> PathBuf {
        or_default(&self.audit.dir, || self.data_dir.join("journal"))
    }

    /// The file that checkpoints are copied to.
    pub fn witness_file(&self) -> PathBuf {
        or_default(&self.audit.witness_file, || self.data_dir.join("checkpoints.jsonl"))
    }

    /// The database's URL.
    pub fn store_url(&self) -> String {
        if self.store.url.is_empty() {
            format!("sqlite://{}?mode=rwc", self.data_dir.join("wicket.db").display())
        } else {
            self.store.url.clone()
        }
    }

    /// Where browsers reach the control port that listens at this address.
    ///
    /// # Errors
    /// What is wrong with the configured URL.
    pub fn public_url(&self, listens: std::net::SocketAddr) -> Result<PublicUrl, String> {
        let scheme = if self.listen.control.has_tls() { "https" } else { "http" };
        if let Some(url) = self.control.url()? {
            return Ok(url);
        }
        match listens.ip().is_unspecified() {
            true => PublicUrl::parse(&format!("{scheme}://localhost:{}", listens.port())),
            false => PublicUrl::parse(&format!("{scheme}://{listens}")),
        }
    }

    /// The networks of `trusted_proxies`.
    pub fn trusted_networks(&self) -> Vec<IpNet> {
        self.trust.trusted_proxies.iter().filter_map(|text| network(text)).collect()
    }

    /// How the store is opened; `password` is what [`STORE_PASSWORD_VARIABLE`] holds, and goes before
    /// the file.
    ///
    /// # Errors
    /// The password's file cannot be read, or others may read it.
    pub fn opening(&self, password: Option<&str>) -> Result<Opening, String> {
        let password = match password {
            Some(text) => Password::new(text),
            None if self.store.password_file.as_os_str().is_empty() => None,
            None => password_of(&self.store.password_file)?,
        };
        Ok(Opening { url: self.store_url(), password, node: None })
    }

    /// The configuration in force, as a file would state it, but for a password in a URL.
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        shown.store.url = store::without_password(&self.store.url);
        toml::to_string_pretty(&shown).unwrap_or_default()
    }

    fn overridden_by(self, environment: &BTreeMap<String, String>) -> Result<Self, Diagnostic> {
        let overrides: Vec<_> =
            environment.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
        if overrides.is_empty() {
            return Ok(self);
        }
        let mut table = toml::Table::try_from(&self)
            .map_err(|error| Diagnostic::of_file(ENVIRONMENT, error.to_string()))?;
        for (name, value) in overrides {
            set(&mut table, name, value)
                .map_err(|message| Diagnostic::of_file(ENVIRONMENT, format!("`{name}`: {message}")))?;
        }
        table
            .try_into()
            .map_err(|error: toml::de::Error| Diagnostic::of_file(ENVIRONMENT, error.message().to_owned()))
    }

    fn faults(&self, file: &str) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        let mut fault = |message: String, help: &str| {
            faults.push(Diagnostic::of_file(file, message).with_help(help));
        };
        for (name, listener) in [("agents", &self.listen.agents), ("control", &self.listen.control)] {
            if listener.tls_certificate_file.is_empty() != listener.tls_key_file.is_empty() {
                fault(
                    format!("`listen.{name}` names only one of certificate and key"),
                    "set both `tls_certificate_file` and `tls_key_file`, or neither",
                );
            }
            if !listener.address.ip().is_loopback() && !listener.has_tls() && !listener.plaintext_allowed {
                fault(
                    format!(
                        "`listen.{name}.address` is {}, reachable from outside without TLS",
                        listener.address
                    ),
                    "set the TLS files, or `plaintext_allowed = true` behind a proxy that speaks TLS",
                );
            }
            if listener.proxy_protocol && listener.has_tls() {
                fault(
                    format!("`listen.{name}` asks for the PROXY protocol together with TLS"),
                    "let the proxy in front end TLS, or pass the address in `Forwarded`",
                );
            }
        }
        for text in self.trust.trusted_proxies.iter().filter(|text| network(text).is_none()) {
            fault(
                format!("`trust.trusted_proxies` holds `{}`", text.escape_default()),
                "an address like 10.0.0.7 or a network like 10.0.0.0/8 is expected",
            );
        }
        if let Err(reason) = self.control.url() {
            fault(
                format!("`control.public_url`: {reason}"),
                "the address that browsers show: https with a host and perhaps a port, or http for loopback",
            );
        }
        for (name, value) in self.positive_numbers() {
            if value <= 0.0 || !value.is_finite() {
                fault(format!("`{name}` is {value}"), "a number above 0 is expected");
            }
        }
        faults
    }

    fn positive_numbers(&self) -> [(&'static str, f64); 32] {
        let limits = &self.limits;
        let of = f64::from;
        [
            ("limits.connections_max", of(limits.connections_max)),
            ("limits.in_flight_max", of(limits.in_flight_max)),
            ("limits.in_flight_per_member_max", of(limits.in_flight_per_member_max)),
            ("limits.body_bytes_max", of(limits.body_bytes_max)),
            ("limits.json_depth_max", limits.json_depth_max.into()),
            ("limits.json_keys_max", of(limits.json_keys_max)),
            ("limits.headers_max", of(limits.headers_max)),
            ("limits.header_read_ms_max", of(limits.header_read_ms_max)),
            ("limits.body_read_ms_max", of(limits.body_read_ms_max)),
            ("limits.reply_write_ms_max", of(limits.reply_write_ms_max)),
            ("limits.reply_bytes_waiting_max", of(limits.reply_bytes_waiting_max)),
            ("limits.connection_idle_ms_max", of(limits.connection_idle_ms_max)),
            ("limits.http2_streams_max", of(limits.http2_streams_max)),
            ("limits.rate_burst", of(limits.rate_burst)),
            ("limits.rate_per_second", limits.rate_per_second),
            ("limits.tools_page_max", of(limits.tools_page_max)),
            ("limits.round_ms_max", of(limits.round_ms_max)),
            ("control.session_idle_ms_max", of(self.control.session_idle_ms_max)),
            ("control.session_ms_max", of(self.control.session_ms_max)),
            ("control.rate_burst", of(self.control.rate_burst)),
            ("control.rate_per_second", self.control.rate_per_second),
            ("control.address_rate_burst", of(self.control.address_rate_burst)),
            ("control.address_rate_per_second", self.control.address_rate_per_second),
            ("sessions.idle_ms_max", of(self.sessions.idle_ms_max)),
            ("sessions.sessions_max", of(self.sessions.sessions_max)),
            ("store.stale_ms_max", of(self.store.stale_ms_max)),
            ("audit.checkpoint_entries_max", of(self.audit.checkpoint_entries_max)),
            ("audit.record_ms_max", of(self.audit.record_ms_max)),
            ("audit.session_checkpoint_calls_max", of(self.audit.session_checkpoint_calls_max)),
            ("audit.session_checkpoint_ms_max", of(self.audit.session_checkpoint_ms_max)),
            ("policies.prove_question_ms_max", of(self.policies.prove_question_ms_max)),
            ("policies.prove_ms_max", of(self.policies.prove_ms_max)),
        ]
    }
}

impl Control {
    /// The URL that is configured, if one is.
    fn url(&self) -> Result<Option<PublicUrl>, String> {
        if self.public_url.is_empty() {
            return Ok(None);
        }
        let url = PublicUrl::parse(&self.public_url)?;
        match url.may_sign_in() {
            true => Ok(Some(url)),
            false => Err(format!("`{url}` would have cookies and links sent in the clear")),
        }
    }
}

fn or_default(path: &Path, default: impl FnOnce() -> PathBuf) -> PathBuf {
    if path.as_os_str().is_empty() { default() } else { path.to_owned() }
}

fn password_of(file: &Path) -> Result<Option<Password>, String> {
    let fault = |reason: String| format!("`store.password_file`, `{}`, {reason}", file.display());
    let metadata = std::fs::metadata(file).map_err(|error| fault(format!("cannot be read: {error}")))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(fault("is open to other accounts; give it mode 600".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let text = Zeroizing::new(text);
    let password = Password::new(text.trim_end_matches(['\r', '\n']));
    password.map(Some).ok_or_else(|| fault("is empty".to_owned()))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

/// Sets the key that a variable names, in the type that the key has.
fn set(table: &mut toml::Table, name: &str, value: &str) -> Result<(), String> {
    let path = name.trim_start_matches(ENVIRONMENT_PREFIX).to_ascii_lowercase();
    let keys: Vec<&str> = path.split("__").collect();
    let (last, sections) = keys.split_last().ok_or("names no key")?;
    let mut table = table;
    for section in sections {
        table = table
            .get_mut(*section)
            .and_then(toml::Value::as_table_mut)
            .ok_or_else(|| format!("there is no section `{section}`"))?;
    }
    let slot = table.get_mut(*last).ok_or_else(|| format!("there is no key `{last}`"))?;
    let expected = |what: &str| format!("`{}` is not {what}", value.escape_default());
    *slot = match slot {
        toml::Value::Boolean(_) => {
            value.parse().map(toml::Value::Boolean).map_err(|_| expected("true or false"))?
        }
        toml::Value::Integer(_) => value
            .replace('_', "")
            .parse()
            .map(toml::Value::Integer)
            .map_err(|_| expected("a whole number"))?,
        toml::Value::Float(_) => value.parse().map(toml::Value::Float).map_err(|_| expected("a number"))?,
        toml::Value::Array(_) => toml::Value::Array(
            value.split(',').map(str::trim).filter(|v| !v.is_empty()).map(|v| v.to_owned().into()).collect(),
        ),
        toml::Value::Table(_) => return Err("names a section, not a key".to_owned()),
        _ => toml::Value::String(value.to_owned()),
    };
    Ok(())
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;

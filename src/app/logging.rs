//! The log: structured lines on standard error, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::telemetry;

use super::config::{Log, LogFormat};

/// Libraries that say too much at `info`.
const QUIET: &str = "pingora_core=warn,sqlx=warn,sea_orm_migration=warn,hyper=warn,h2=warn";

/// Starts the log and counts panics. A second call changes nothing, as in tests.
///
/// # Errors
/// The filter's fault, for the operator.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter))
        .map_err(|error| format!("`log.filter` is `{}`: {error}", log.filter.escape_default()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => builder.with_timer(Clock).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_timer(Clock).try_init(),
    };
    if started.is_ok() {
        count_panics();
    }
    Ok(())
}

/// RFC 3339 in UTC.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        match crate::model::Timestamp::now() {
            now if now.as_millis() > 0 => write!(writer, "{now}"),
            _ => SystemTime.format_time(writer),
        }
    }
}

/// A panic is caught by its task and ends in a refusal; it is counted and logged here.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        telemetry::panicked();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: this is a fault of the gate, please report it");
        before(panic);
    }));
}

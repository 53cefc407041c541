//! Metric names and fields: the only place where a metric is named (`metrics` facade, Prometheus text
//! at `/metrics` of the control port). Every function here is cheap enough for the data plane; labels
//! have few values, all known in advance.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::{Decision, OutcomeKind, Reason};

/// Every metric: name, kind, meaning with its unit. `docs/guide/metrics.md` is made of this list.
pub const METRICS: &[(&str, &str, &str)] = &[
    (REQUESTS_IN_FLIGHT, "gauge", "requests being answered now"),
    (CONNECTIONS, "gauge", "open connections, by `listener`"),
    (CONNECTIONS_REFUSED, "counter", "connections closed at once: too many, or a broken PROXY head"),
    (REFUSALS, "counter", "requests answered with a refusal, by `kind`"),
    (DECISIONS, "counter", "decided tool calls, by `decision` and `reason`"),
    (
        SHADOW_DIFFERENCES,
        "counter",
        "decided tool calls that policies in shadow mode would have decided otherwise, by the `decision` they would \
         have taken",
    ),
    (DECISION_RETRIES, "counter", "decisions taken again because a counter moved meanwhile"),
    (CALLS, "counter", "forwarded calls that ended, by `service` and `outcome`"),
    (CALL_SECONDS, "histogram", "seconds from a call's arrival to its end, upstream included, by `service`"),
    (RELOADS, "counter", "reloads of policies and connectors, by `result`"),
    (SESSIONS, "gauge", "live tool sessions"),
    (REPLY_BYTES_WAITING, "gauge", "bytes of replies of more than 64 KiB that wait for their clients"),
    (
        UPSTREAM_BREAKER_OPEN,
        "gauge",
        "1 while the circuit breaker keeps calls from an upstream, else 0, by `service`",
    ),
    (TOOLS_QUARANTINED, "gauge", "tools that are refused until they are accepted, by `service`"),
    (UPSTREAM_RESTARTS, "counter", "child processes started again, by `service`"),
    (
        SUBSCRIPTIONS_LOST,
        "counter",
        "subscriptions that an upstream began to refuse while clients held them, by `service`",
    ),
    (JOURNAL_HEALTHY, "gauge", "1 while the journal can record, else 0"),
    (JOURNAL_BYTES, "gauge", "bytes of all segments of the journal"),
    (JOURNAL_SEGMENTS, "gauge", "segments of the journal"),
    (JOURNAL_OPEN_INTENTS, "gauge", "recorded calls that have not ended"),
    (JOURNAL_DAMAGED, "gauge", "1 where the start found the journal cut or unreadable, else 0"),
    (JOURNAL_DROPPED, "counter", "segments that retention dropped"),
    (INDEX_LAG, "gauge", "entries of the journal that the index lacks"),
    (PANICS, "counter", "panics caught; alert at 1"),
];

static ALLOWED: AtomicU64 = AtomicU64::new(0);
static DENIED: AtomicU64 = AtomicU64::new(0);

const REQUESTS_IN_FLIGHT: &str = "wicket_requests_in_flight";
const CONNECTIONS: &str = "wicket_connections";
const CONNECTIONS_REFUSED: &str = "wicket_connections_refused_total";
const REFUSALS: &str = "wicket_refusals_total";
const DECISIONS: &str = "wicket_decisions_total";
const SHADOW_DIFFERENCES: &str = "wicket_shadow_differences_total";
const DECISION_RETRIES: &str = "wicket_decision_retries_total";
const CALLS: &str = "wicket_calls_total";
const CALL_SECONDS: &str = "wicket_call_seconds";
const RELOADS: &str = "wicket_reloads_total";
const SESSIONS: &str = "wicket_sessions";
const REPLY_BYTES_WAITING: &str = "wicket_reply_bytes_waiting";
const UPSTREAM_BREAKER_OPEN: &str = "wicket_upstream_breaker_open";
const TOOLS_QUARANTINED: &str = "wicket_tools_quarantined";
const UPSTREAM_RESTARTS: &str = "wicket_upstream_restarts_total";
const SUBSCRIPTIONS_LOST: &str = "wicket_subscriptions_lost_total";
const JOURNAL_HEALTHY: &str = "wicket_journal_healthy";
const JOURNAL_BYTES: &str = "wicket_journal_bytes";
const JOURNAL_SEGMENTS: &str = "wicket_journal_segments";
const JOURNAL_OPEN_INTENTS: &str = "wicket_journal_open_intents";
const JOURNAL_DAMAGED: &str = "wicket_journal_damaged";
const JOURNAL_DROPPED: &str = "wicket_journal_segments_dropped_total";
const INDEX_LAG: &str = "wicket_audit_index_lag_entries";
const PANICS: &str = "wicket_panics_total";

/// Upper bounds of every histogram, in seconds.
pub const SECONDS_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];

// What every call touches is looked up once, by the first call: the recorder is installed by then.
static IN_FLIGHT: LazyLock<Gauge> = LazyLock::new(|| gauge!(REQUESTS_IN_FLIGHT));
static PERMITTED: LazyLock<Counter> = LazyLock::new(|| decisions("allow", Reason::Permitted));
/// By service: bounded by the connectors that are configured.
static ENDED: LazyLock<DashMap<String, Ended>> = LazyLock::new(DashMap::new);

/// The handles of one service.
struct Ended {
    results: Counter,
    seconds: Histogram,
}

/// Requests being answered now.
pub fn in_flight(count: u32) {
    IN_FLIGHT.set(f64::from(count));
}

/// Open connections of a listener.
pub fn connections(listener: &'static str, count: u32) {
    gauge!(CONNECTIONS, "listener" => listener).set(f64::from(count));
}

/// A connection that was closed at once.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// A refusal, by the name of its row.
pub fn refused(kind: &'static str) {
    counter!(REFUSALS, "kind" => kind).increment(1);
}

/// Tool calls that were allowed and denied since the start, for `wicket status`.
pub fn decided() -> (u64, u64) {
    (ALLOWED.load(Ordering::Relaxed), DENIED.load(Ordering::Relaxed))
}

/// A decided tool call.
pub fn decision(decision: &Decision) {
    if decision.allowed { &ALLOWED } else { &DENIED }.fetch_add(1, Ordering::Relaxed);
    match (decision.allowed, decision.reason) {
        (true, Reason::Permitted) => PERMITTED.increment(1),
        (allowed, reason) => decisions(if allowed { "allow" } else { "deny" }, reason).increment(1),
    }
    if let Some(shadow) = decision.shadow.as_ref().filter(|shadow| shadow.allowed != decision.allowed) {
        let would = if shadow.allowed { "allow" } else { "deny" };
        counter!(SHADOW_DIFFERENCES, "decision" => would).increment(1);
    }
}

fn decisions(decision: &'static str, reason: Reason) -> Counter {
    counter!(DECISIONS, "decision" => decision, "reason" => reason.as_str())
}

/// A decision that had to be taken again.
pub fn decision_retried() {
    counter!(DECISION_RETRIES).increment(1);
}

/// A forwarded call that ended.
pub fn call_ended(service: &str, outcome: OutcomeKind, elapsed: Duration) {
    if let Some(ended) = ENDED.get(service) {
        return ended.count(service, outcome, elapsed);
    }
    let new = || Ended {
        results: calls(service, OutcomeKind::Result),
        seconds: histogram!(CALL_SECONDS, "service" => service.to_owned()),
    };
    ENDED.entry(service.to_owned()).or_insert_with(new).count(service, outcome, elapsed);
}

fn calls(service: &str, outcome: OutcomeKind) -> Counter {
    counter!(CALLS, "service" => service.to_owned(), "outcome" => outcome.as_str())
}

impl Ended {
    fn count(&self, service: &str, outcome: OutcomeKind, elapsed: Duration) {
        match outcome {
            OutcomeKind::Result => self.results.increment(1),
            other => calls(service, other).increment(1),
        }
        self.seconds.record(elapsed.as_secs_f64());
    }
}

/// A reload of policies and connectors.
pub fn reloaded(accepted: bool) {
    counter!(RELOADS, "result" => if accepted { "accepted" } else { "rejected" }).increment(1);
}

/// Live sessions.
pub fn sessions(count: u32) {
    gauge!(SESSIONS).set(f64::from(count));
}

/// Bytes of large replies that wait for their clients.
pub fn reply_bytes_waiting(bytes: u64) {
    gauge!(REPLY_BYTES_WAITING).set(metric_value(bytes));
}

/// How an upstream stands: whether its breaker keeps calls away, and how many of its tools are refused.
pub fn upstream(service: &str, breaker_open: bool, quarantined: usize) {
    let open = if breaker_open { 1.0 } else { 0.0 };
    gauge!(UPSTREAM_BREAKER_OPEN, "service" => service.to_owned()).set(open);
    gauge!(TOOLS_QUARANTINED, "service" => service.to_owned()).set(metric_value(quarantined as u64));
}

/// A child process was started again.
pub fn upstream_restarted(service: &str) {
    counter!(UPSTREAM_RESTARTS, "service" => service.to_owned()).increment(1);
}

/// A subscription that an upstream began to refuse while clients held it.
pub fn subscription_lost(service: &str) {
    counter!(SUBSCRIPTIONS_LOST, "service" => service.to_owned()).increment(1);
}

/// Whether the journal can record.
pub fn journal_healthy(healthy: bool) {
    gauge!(JOURNAL_HEALTHY).set(if healthy { 1.0 } else { 0.0 });
}

/// How large the journal is, and how many recorded calls have not ended.
pub fn journal(bytes: u64, segments: u64, open_intents: u64) {
    gauge!(JOURNAL_BYTES).set(metric_value(bytes));
    gauge!(JOURNAL_SEGMENTS).set(metric_value(segments));
    gauge!(JOURNAL_OPEN_INTENTS).set(metric_value(open_intents));
}

/// Whether the start found the journal cut or unreadable.
pub fn journal_damaged(damaged: bool) {
    gauge!(JOURNAL_DAMAGED).set(if damaged { 1.0 } else { 0.0 });
}

/// Segments that retention dropped.
pub fn segments_dropped(count: u64) {
    counter!(JOURNAL_DROPPED).increment(count);
}

/// Entries of the journal that the index lacks.
pub fn index_lag(entries: u64) {
    gauge!(INDEX_LAG).set(metric_value(entries));
}

/// A panic was caught.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a double; these counts stay far below 2^53")]
const fn metric_value(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_metrics_is_this() {
        let list: String =
            METRICS.iter().map(|(name, kind, what)| format!("{name} ({kind}): {what}\n")).collect();
        insta::assert_snapshot!("metrics", list);
    }

    #[test]
    fn the_guide_lists_every_metric_as_it_is() {
        let guide = include_str!("../docs/guide/metrics.md");
        let rows: Vec<String> = METRICS
            .iter()
            .map(|(name, kind, meaning)| format!("| `{name}` | {kind} | {meaning} |"))
            .collect();
        let listed: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `wicket_")).collect();
        assert_eq!(listed, rows);
    }
}

//! Metric and field names: the only place where a metric is named (`metrics` facade, Prometheus text
//! at `/metrics` of the control port). Every function here is cheap enough for the data plane.

/// Every metric with its kind, unit and meaning: kept as a golden list, printed in `docs/guide/metrics.md`.
pub const METRICS: &[(&str, &str, &str)] = &[];

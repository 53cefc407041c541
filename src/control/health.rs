//! The control port: is the process alive, is it ready, what does it count.
//!
//! Invariants: nothing here changes anything or shows a secret; `/readyz` is 200 only when a call could
//! be decided and recorded now; on loopback a foreign `Host` or `Origin` is refused, so that a web page
//! cannot read the port through a rebound name.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// One thing that must hold before the gate takes calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `bundle`, `journal`, `store`, `drain`.
    pub name: &'static str,
    pub ok: bool,
    /// The reason where it does not hold; the state where it does.
    pub detail: String,
}

impl Part {
    /// A part and where it stands.
    pub fn new(name: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        Self { name, ok, detail: detail.into() }
    }
}

/// Whether the gate takes calls, part by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    pub parts: Vec<Part>,
}

impl Readiness {
    /// Ready when every part is; with no part at all, not ready.
    pub fn of(parts: Vec<Part>) -> Self {
        Self { ready: !parts.is_empty() && parts.iter().all(|part| part.ok), parts }
    }
}

/// Which `Host` and `Origin` the control port answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// The listener is on loopback: loopback names only.
    Loopback,
    /// The listener is reachable from outside, by names that we do not know: any `Host`, no `Origin`.
    Any,
}

impl HostRule {
    /// The rule for a listener's address.
    pub fn for_listener(address: IpAddr) -> Self {
        if address.is_loopback() { Self::Loopback } else { Self::Any }
    }

    /// Whether a request's `Host` is one that the port answers to: by this rule, or as `named` says.
    pub fn admits_host(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        named: impl Fn(&str) -> bool,
    ) -> bool {
        let host = match (authority, headers.get(header::HOST)) {
            (Some(authority), _) => Some(authority),
            (None, Some(value)) => match value.to_str() {
                Ok(text) => Some(text),
                Err(_) => return false,
            },
            (None, None) => None,
        };
        if headers.get_all(header::HOST).iter().count() > 1 {
            return false;
        }
        *self == Self::Any || host.is_some_and(|host| is_loopback(host) || named(host))
    }

    fn admits(&self, headers: &HeaderMap, authority: Option<&str>) -> bool {
        let origin_is_fine = match headers.get(header::ORIGIN) {
            None => true,
            Some(value) => {
                *self == Self::Loopback
                    && value
                        .to_str()
                        .ok()
                        .and_then(|origin| origin.split_once("://"))
                        .is_some_and(|(_, authority)| is_loopback(authority))
            }
        };
        origin_is_fine && self.admits_host(headers, authority, |_| false)
    }
}

/// Whether `host` or `host:port` names this machine from within.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads readiness at the moment of asking.
pub type ReadinessSource = Arc<dyn Fn() -> Readiness + Send + Sync>;
/// Renders the metrics in Prometheus' text form.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers on the control port.
#[derive(Clone)]
pub struct Health {
    readiness: ReadinessSource,
    metrics: MetricsSource,
    rule: HostRule,
}

impl Health {
    /// Both sources are asked for each request; they must not block.
    pub fn new(readiness: ReadinessSource, metrics: MetricsSource, rule: HostRule) -> Self {
        Self { readiness, metrics, rule }
    }

    /// Answers one request; the body is never read.
    pub fn handle<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        if !self.rule.admits(request.headers(), authority) {
            return fault(StatusCode::FORBIDDEN, "this `Host` or `Origin` is not answered here");
        }
        let known = matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics");
        if !known {
            return fault(StatusCode::NOT_FOUND, "nothing is here; try /healthz, /readyz or /metrics");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = fault(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
            response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/healthz" => json(StatusCode::OK, &serde_json::json!({ "alive": true })),
            "/readyz" => {
                let readiness = (self.readiness)();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                json(status, &readiness)
            }
            _ => plain((self.metrics)()),
        }
    }
}

/// A JSON answer; `no-store`, for each is true for a moment only.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, b"{\"error\":\"cannot be written\"}".to_vec()),
    };
    answer(status, "application/json", body.into())
}

pub(super) fn fault(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    json(status, &serde_json::json!({ "error": message }))
}

fn plain(text: String) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;

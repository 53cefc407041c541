//! Where the gate may dial: names are resolved here and the resolved address is what is checked
//! and what is dialled, so that no spelling of an address and no second DNS answer gets past.
//!
//! Invariants: loopback, private, link-local (cloud metadata), multicast, reserved and IPv4-in-IPv6
//! addresses are dialled only for a connector that says `allow_private = true`; the whole dial, TLS
//! included, ends within `dial_ms_max`.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

/// Addresses of one name that are tried, in the resolver's order.
const ADDRESSES_MAX: usize = 8;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A connection, in TLS or without.
pub type Dialled = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Why no connection was made. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialFault(String);

impl fmt::Display for DialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DialFault {}

/// What keeps an address from being dialled without the connector's word; `None` for a public one.
///
/// Source: the IANA special-purpose address registries (RFC 6890 and its updates).
pub fn denied(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => denied_v4(address),
        IpAddr::V6(address) => denied_v6(address),
    }
}

fn denied_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "unspecified",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "shared (carrier-grade NAT)",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation",
        [198, 18..=19, ..] => "for benchmarks",
        [224..=239, ..] => "multicast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn denied_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        // ::/96 and ::ffff:0:0/96: IPv4 in another dress. A resolver has no reason to give these.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => "IPv4 written as IPv6",
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            return denied_v4(Ipv4Addr::new(a, b, c, d));
        }
        [0x64, 0xff9b, 1, ..] => "private",
        [0x100, 0, 0, 0, ..] => "reserved",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => "for documentation",
        [0x2001, 0..=0x01ff, ..] => "reserved",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "private",
        [0xff00..=0xffff, ..] => "multicast",
        _ => return None,
    })
}

/// The answers that may be dialled, at most eight.
///
/// # Errors
/// Names the host, the first address and what it is, if none may be dialled.
pub fn allowed(
    host: &str,
    answers: impl Iterator<Item = SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, DialFault> {
    let mut first_denied = None;
    let mut dialled = Vec::new();
    for answer in answers.take(ADDRESSES_MAX) {
        match denied(answer.ip()).filter(|_| !allow_private) {
            Some(kind) => first_denied = first_denied.or(Some((answer.ip(), kind))),
            None => dialled.push(answer),
        }
    }
    if !dialled.is_empty() {
        return Ok(dialled);
    }
    let host = host.escape_default();
    Err(DialFault(match first_denied {
        Some((address, kind)) => format!(
            "`{host}` resolves to {address}, which is {kind}: set `allow_private = true` in the connector's \
             file if that is meant"
        ),
        None => format!("`{host}` resolves to no address"),
    }))
}

/// Dials one upstream by the rules of its connector.
#[derive(Clone)]
pub struct Dialer {
    https: HttpsConnector<Guarded>,
    dial_max: Duration,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer(within {:?})", self.dial_max)
    }
}

impl Dialer {
    /// A dialer with the trusted roots of `tls`. Without `http2` only HTTP/1.1 is offered, for
    /// upstreams whose `Host` differs from the address (HTTP/2 has one name for both).
    pub fn new(tls: rustls::ClientConfig, allow_private: bool, dial_max: Duration, http2: bool) -> Self {
        let guarded = Guarded { allow_private, dial_max };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        // Plain HTTP is for upstreams on this machine or in this network only.
        let builder = if allow_private { builder.https_or_http() } else { builder.https_only() };
        let https = if http2 {
            builder.enable_http1().enable_http2().wrap_connector(guarded)
        } else {
            builder.enable_http1().wrap_connector(guarded)
        };
        Self { https, dial_max }
    }
}

impl Dialer {
    /// Dials the upstream of this URI.
    ///
    /// # Errors
    /// Why there is no connection; nothing was sent.
    pub async fn dial(&self, uri: Uri) -> Result<Dialled, BoxError> {
        let mut dialer = self.clone();
        std::future::poll_fn(|context| dialer.poll_ready(context)).await?;
        dialer.call(uri).await
    }
}

impl Service<Uri> for Dialer {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.https.call(uri);
        let dial_max = self.dial_max;
        Box::pin(async move {
            match tokio::time::timeout(dial_max, dial).await {
                Ok(done) => done,
                Err(_) => Err(timed_out(dial_max).into()),
            }
        })
    }
}

fn timed_out(dial_max: Duration) -> DialFault {
    DialFault(format!("no connection within {} ms", dial_max.as_millis()))
}

/// Resolves, checks and dials TCP.
#[derive(Clone)]
struct Guarded {
    allow_private: bool,
    dial_max: Duration,
}

impl Service<Uri> for Guarded {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { allow_private, dial_max } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(&uri, allow_private, dial_max).await?)) })
    }
}

async fn dial(uri: &Uri, allow_private: bool, dial_max: Duration) -> Result<TcpStream, DialFault> {
    let deadline = Instant::now() + dial_max;
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let answers = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| DialFault(format!("`{}` does not resolve: {error}", host.escape_default())))?;
    let addresses = allowed(host, answers, allow_private)?;
    let mut fault = timed_out(dial_max);
    let mut left = addresses.len();
    for address in addresses {
        // Each address gets its share of the time that is left, so that one black hole is survived.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        left = left.saturating_sub(1);
        match tokio::time::timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A call is one small write that waits for its answer: never hold it back.
                stream.set_nodelay(true).map_err(|error| DialFault(format!("{address}: {error}")))?;
                return Ok(stream);
            }
            Ok(Err(error)) => fault = DialFault(format!("{address}: {error}")),
            Err(_) => fault = DialFault(format!("{address}: {}", timed_out(share))),
        }
    }
    Err(fault)
}

/// The TLS client settings with the operating system's trusted roots.
///
/// # Errors
/// What keeps the roots from being read, and how to give others.
pub fn tls() -> Result<rustls::ClientConfig, DialFault> {
    use hyper_rustls::ConfigBuilderExt as _;

    let builder = tls_builder()?.with_native_roots().map_err(|error| {
        DialFault(format!(
            "no trusted certificate is found: {error}; install ca-certificates or set SSL_CERT_FILE"
        ))
    })?;
    Ok(builder.with_no_client_auth())
}

/// TLS client settings that trust nobody, for upstreams over plain HTTP.
///
/// # Errors
/// None that a person can act on.
pub fn no_tls() -> Result<rustls::ClientConfig, DialFault> {
    Ok(tls_builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn tls_builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, DialFault> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DialFault(format!("TLS cannot be set up: {error}")))
}

#[cfg(test)]
mod tests;

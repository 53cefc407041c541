//! The pass-through, in two forms. `gate's stack`: the gate's own listener code and limits (a pingora
//! service, the guarded stream, hyper with its timers) and the upstream client that a plain proxy on this
//! stack would have (hyper-util's pool over hyper-rustls, with timers; the gate has one of its own), and
//! nothing else of the gate: it is what the gate's own work is measured from. `bare`: a pingora listener, hyper and a pool with no limits at
//! all, to show what the first form's limits cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Server, ShutdownWatch};
use pingora_core::services::listening::Service;
use wicket::app::config::Config;
use wicket::proxy::body::Body;
use wicket::proxy::listener::{Bound, Handler, ListenerLimits, Peer};

/// Idle connections to the upstream that are kept: more than the benchmark has calls at a time.
const IDLE_MAX: usize = 256;

fn server() -> Server {
    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf { threads: super::gate::THREADS, ..ServerConf::default() },
    );
    server.bootstrap();
    server
}

/// Forwards whole messages, as the gate does: head and body in, head and body out.
struct Pass {
    uri: Uri,
    pool: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Pass {
    async fn forward(&self, request: Request<Incoming>) -> Option<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let mut onward = Request::new(Full::new(body));
        *onward.method_mut() = head.method;
        *onward.uri_mut() = self.uri.clone();
        // Hop by hop, and what the client sets by itself.
        let kept = head.headers.into_iter();
        let kept =
            kept.filter(|(name, _)| name.as_ref().is_none_or(|name| name != "host" && name != "connection"));
        *onward.headers_mut() = kept.filter_map(|(name, value)| Some((name?, value))).collect::<HeaderMap>();
        let (head, body) = self.pool.request(onward).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response::from_parts(head, Body::whole(body)))
    }
}

impl Handler for Pass {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        self.forward(request).await.unwrap_or_else(|| {
            let mut broken = Response::new(Body::empty());
            *broken.status_mut() = hyper::StatusCode::BAD_GATEWAY;
            broken
        })
    }
}

/// The limits that the gate has by default.
fn limits() -> ListenerLimits {
    let limits = Config::default().limits;
    ListenerLimits {
        connections_max: limits.connections_max,
        headers_max: limits.headers_max as usize,
        header_bytes_max: limits.header_bytes_max as usize,
        header_read_ms_max: limits.header_read_ms_max.into(),
        connection_idle_ms_max: limits.connection_idle_ms_max.into(),
        reply_write_ms_max: limits.reply_write_ms_max.into(),
        http2_streams_max: limits.http2_streams_max,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
    }
}

fn pool() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(IDLE_MAX)
        .build(https.enable_http1().enable_http2().wrap_connector(tcp))
}

/// Serves until it is killed; as many threads as the gate has in the benchmark.
pub fn main(upstream: SocketAddr) {
    let uri = format!("http://{upstream}/mcp").parse().unwrap();
    let handler = Arc::new(Pass { uri, pool: pool() });
    let (_never, drain) = tokio::sync::watch::channel(false);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (bound, address) = Bound::tcp("pass", any, None, handler, limits(), drain).unwrap();
    let mut server = server();
    server.add_service(bound.threads(super::gate::THREADS));
    announce(address);
    server.run_forever();
}

fn announce(address: SocketAddr) {
    std::thread::spawn(move || {
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        println!("listening {address}");
    });
}

/// The bare form.
struct Bare {
    upstream: SocketAddr,
    pool: Client<HttpConnector, Full<Bytes>>,
}

#[async_trait]
impl ServerApp for Bare {
    async fn process_new(self: &Arc<Self>, stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        let service = service_fn(move |request| forward(Arc::clone(self), request));
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ended = pin!(builder.serve_connection(TokioIo::new(stream), service)).await;
        None
    }
}

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

async fn forward(
    pass: Arc<Bare>,
    request: Request<Incoming>,
) -> Result<Reply, hyper_util::client::legacy::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    head.uri = format!("http://{}{}", pass.upstream, head.uri.path()).parse::<Uri>().unwrap_or_default();
    let response = pass.pool.request(Request::from_parts(head, Full::new(body))).await?;
    Ok(response.map(BodyExt::boxed))
}

/// Serves the bare form until it is killed.
pub fn bare(upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector);
    let mut server = server();
    let mut service = Service::new("bare".to_owned(), Bare { upstream, pool });
    let address = super::process::free_address();
    service.add_tcp(&address.to_string());
    server.add_service(service);
    announce(address);
    server.run_forever();
}

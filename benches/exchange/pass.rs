//! The pass-through: the gate's own stack (a pingora listener, hyper for HTTP, hyper-util's pool) and
//! nothing of the gate. What the gate costs beyond this is its own work.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Server, ShutdownWatch};
use pingora_core::services::listening::Service;

struct Pass {
    upstream: SocketAddr,
    pool: Client<HttpConnector, Full<Bytes>>,
}

#[async_trait]
impl ServerApp for Pass {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let service = service_fn(move |request| forward(Arc::clone(self), request));
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut shutdown = shutdown.clone();
        tokio::select! {
            _ = connection.as_mut() => {}
            _ = shutdown.changed() => connection.as_mut().graceful_shutdown(),
        }
        None
    }
}

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

async fn forward(
    pass: Arc<Pass>,
    request: Request<Incoming>,
) -> Result<Reply, hyper_util::client::legacy::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    head.uri = format!("http://{}{}", pass.upstream, head.uri.path()).parse::<Uri>().unwrap_or_default();
    let response = pass.pool.request(Request::from_parts(head, Full::new(body))).await?;
    Ok(response.map(BodyExt::boxed))
}

/// Serves until it is killed; as many threads as the gate has in the benchmark.
pub fn main(upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector);
    let conf = ServerConf { threads: super::gate::THREADS, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = Service::new("pass".to_owned(), Pass { upstream, pool });
    let address = super::process::free_address();
    service.add_tcp(&address.to_string());
    server.add_service(service);
    std::thread::spawn(move || {
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        println!("listening {address}");
    });
    server.run_forever();
}

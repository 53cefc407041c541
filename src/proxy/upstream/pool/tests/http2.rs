//! Over TLS, with a server that speaks HTTP/2.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Response;
use hyper::service::service_fn;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const AUTHORITY: &[u8] = include_bytes!("../../../../../tests/data/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../../../tests/data/tls/localhost.pem");
const KEY: &[u8] = include_bytes!("../../../../../tests/data/tls/localhost.key");

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>().unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

fn dialer() -> Dialer {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    Dialer::new(config, true, Duration::from_secs(2), true)
}

/// Answers with the number of the connection; one that was asked so often takes leave (GOAWAY).
async fn serve(requests_max: u32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        for number in 0.. {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            tokio::spawn(async move {
                let (asked, enough) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Notify::new()));
                let leaves = Arc::clone(&enough);
                let service = service_fn(move |_| {
                    if asked.fetch_add(1, Ordering::SeqCst) + 1 == requests_max {
                        leaves.notify_one();
                    }
                    std::future::ready(Ok::<_, Infallible>(
                        Response::builder()
                            .header("content-type", "application/json")
                            .header("mcp-session-id", format!("s-{number}"))
                            .body(Full::new(Bytes::from(number.to_string())))
                            .unwrap(),
                    ))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(builder.serve_connection(io, service));
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = enough.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ended = connection.await;
            });
        }
    });
    port
}

fn post(port: u16) -> Request<Bytes> {
    Request::post(format!("https://localhost:{port}/mcp")).body(Bytes::from_static(b"{}")).unwrap()
}

#[tokio::test]
async fn requests_share_a_connection_that_is_closed_once_nobody_used_it_for_long() {
    let port = serve(u32::MAX).await;
    let pool = Pool::new(dialer(), 8);
    let first = pool.request(post(port), &mut false).await.unwrap();
    assert_eq!((first.status.as_u16(), first.is_encoded), (200, false));
    assert_eq!(first.content_type.unwrap(), "application/json");
    assert_eq!(first.session_id.unwrap(), "s-0");
    let asked = futures_util::future::join_all((0..20).map(|_| ask(&pool, post(port)))).await;
    assert!(asked.iter().all(|answer| *answer == Ok((200, "0".to_owned()))), "{asked:?}");
    assert!(format!("{pool:?}").contains("Idle(0 of 8 and HTTP/2)"), "{pool:?}");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(format!("{pool:?}").contains("Idle(0 of 8)"), "{pool:?}");
    tokio::time::resume();
    assert_eq!(ask(&pool, post(port)).await, Ok((200, "1".to_owned())));
}

#[tokio::test]
async fn a_server_that_takes_leave_is_asked_over_another_connection() {
    let port = serve(3).await;
    let pool = Pool::new(dialer(), 8);
    let mut answered = Vec::new();
    // One after the other: what is on its way when the server goes may have run, and is not asked again.
    for _ in 0..20 {
        answered.push(ask(&pool, post(port)).await.unwrap().1);
    }
    assert!(answered.last().unwrap().parse::<u32>().unwrap() >= 2, "{answered:?}");
    // Silence makes a connection doubtful that others share.
    let before = answered.pop().unwrap();
    pool.doubt();
    assert_ne!(ask(&pool, post(port)).await, Ok((200, before)));
}

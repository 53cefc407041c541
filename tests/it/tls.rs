//! The agents' listener speaks TLS, HTTP/1.1 and HTTP/2, and serves the same calls over both.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::harness::{Connector, Gate, GateOptions};
use crate::recorder::{Recorder, RecorderOptions, definitions};

fn trusting_the_test_authority() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/ca.pem");
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_pass_over_tls_in_both_versions_of_http() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let pem = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
    let config = format!(
        "[listen.agents]\naddress = \"127.0.0.1:0\"\ntls_certificate_file = {:?}\ntls_key_file = {:?}\n",
        pem("localhost.pem"),
        pem("localhost.key")
    );
    let gate = Gate::start(GateOptions::new(vec![connector]).with_config(&config)).await;
    for (version, number) in [(http::Version::HTTP_11, 1), (http::Version::HTTP_2, 2)] {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(trusting_the_test_authority()).https_only();
        let connector = match number {
            1 => connector.enable_http1().build(),
            _ => connector.enable_http2().build(),
        };
        let pool: Pool<_, Full<Bytes>> =
            Pool::builder(TokioExecutor::new()).http2_only(number == 2).build(connector);
        let body = json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call",
            "params": { "name": "recorder__echo", "arguments": { "nonce": "tls" } } });
        let request = http::Request::post(format!("https://localhost:{}/mcp", gate.agents().port()))
            .header("authorization", format!("Bearer {}", gate.key()))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = pool.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let reply = response.into_body().collect().await.unwrap().to_bytes();
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!(reply["id"], number, "{reply}");
        assert!(reply["result"].is_object(), "{reply}");
    }
    assert_eq!(upstream.calls().len(), 2);
}

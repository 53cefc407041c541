//! A fast MCP upstream that always answers the same: what is measured is what stands before it.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::policies::OTHER_TOOLS;

/// The tools, as `tools/list` has them; the first is the one that is called.
pub fn definitions() -> Vec<Value> {
    let names = std::iter::once("echo").chain(OTHER_TOOLS);
    let define = |name: &str| {
        json!({ "name": name, "description": "answers",
            "inputSchema": { "type": "object",
                "properties": { "path": { "type": "string" }, "text": { "type": "string" } } },
            "annotations": { "readOnlyHint": true, "destructiveHint": false } })
    };
    names.map(define).collect()
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    method: String,
    #[serde(borrow)]
    id: Option<&'a serde_json::value::RawValue>,
}

/// Serves these tools until it is killed; one thread, so that there is a processor left for what is measured.
pub fn main(tools: &[Value]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening {}", listener.local_addr().unwrap());
        let list: &'static str = Box::leak(json!({ "tools": tools }).to_string().into_boxed_str());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, list));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>, list: &'static str) -> Result<Response<Full<Bytes>>, Infallible> {
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
        return Ok(Response::builder().status(400).body(Full::default()).unwrap());
    };
    let Some(id) = envelope.id else {
        return Ok(Response::builder().status(202).body(Full::default()).unwrap());
    };
    let result = match envelope.method.as_str() {
        "tools/call" => {
            r#"{"content":[{"type":"text","text":"the answer to everything that a benchmark asks"}],"isError":false}"#
        }
        "tools/list" => list,
        "initialize" => {
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#
        }
        _ => "{}",
    };
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.get());
    Ok(Response::builder().header("content-type", "application/json").body(Full::from(reply)).unwrap())
}

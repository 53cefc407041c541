//! How tests hear what is said unasked: requests of both eras whose answer is a stream, and its events.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::EVENT_MAX;
use crate::harness::{Client, skip};

/// The interpreter of the SDK; nothing, and loud, where it is missing.
pub fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/mcp2/bin/python");
    if python.exists() {
        return Some(python);
    }
    skip(test, &format!("{} is not there (make tools installs it)", python.display()));
    None
}

/// A request of the stateless era.
pub fn stateless(
    client: &Client,
    id: &str,
    method: &str,
    name: Option<&str>,
    mut params: Value,
) -> Request<Full<Bytes>> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let mut request = client.request(body.to_string());
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", method.parse().unwrap());
    if let Some(name) = name {
        headers.insert("mcp-name", name.parse().unwrap());
    }
    request
}

/// The stream that `GET` opens.
pub async fn get(client: &Client, last: Option<&str>) -> Response<Incoming> {
    let mut request = client.request("");
    *request.method_mut() = Method::GET;
    if let Some(last) = last {
        request.headers_mut().insert("last-event-id", last.parse().unwrap());
    }
    client.open(request).await
}

/// Events of an open stream: their ids and messages.
pub struct Events {
    body: Incoming,
    text: String,
    pub last: Option<String>,
}

impl Events {
    pub fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new(), last: None }
    }

    /// The next message; nothing where the stream ended in order. An `Err` is a cut.
    pub async fn try_next(&mut self) -> Result<Option<Value>, String> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let data = field("data: ").map(str::to_owned);
                self.last = field("id: ").map(str::to_owned).or(self.last.take());
                self.text = rest.to_owned();
                if let Some(message) = data.and_then(|data| serde_json::from_str(&data).ok()) {
                    return Ok(Some(message));
                }
            }
            let frame = tokio::time::timeout(EVENT_MAX, self.body.frame()).await.map_err(|_| "a hang")?;
            match frame {
                None => return Ok(None),
                Some(frame) => {
                    let data = frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default();
                    self.text.push_str(std::str::from_utf8(&data).unwrap());
                }
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        self.try_next().await.unwrap().expect("the stream goes on")
    }

    /// The next message of this method; others that come before it are passed over.
    pub async fn next_of(&mut self, method: &str) -> Value {
        let wanted = async {
            loop {
                let message = self.next().await;
                if message["method"] == method {
                    return message;
                }
            }
        };
        let heard = tokio::time::timeout(EVENT_MAX, wanted).await;
        heard.unwrap_or_else(|_| panic!("no {method}"))
    }

    /// Reads until the first event, the one that only carries an id.
    pub async fn primed(mut self) -> Self {
        while !self.text.contains("\n\n") {
            let frame = tokio::time::timeout(EVENT_MAX, self.body.frame()).await.unwrap().unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        self
    }
}

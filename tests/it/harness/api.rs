//! A client of the REST API, thin enough that a test sees every status, header and byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// No answer may take longer: a hang is red.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// Every scope.
pub const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "members:read",
    "members:write",
    "keys:write",
    "sessions:read",
    "sessions:write",
    "audit:read",
    "policies:read",
    "policies:write",
    "credentials:read",
    "credentials:write",
    "account:read",
];

/// Speaks to one gate's control port as one account, by a token or a browser's session, or as nobody.
pub struct Api {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
    session: Option<Session>,
}

/// What a signed-in browser and its page know.
#[derive(Debug, Clone)]
pub struct Session {
    /// `name=secret`.
    pub cookie: String,
    /// What the page sends as `x-csrf-token`.
    pub word: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body, where the status is this one; else the test ends with what was answered.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Api {
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { pool, address, token: token.map(str::to_owned), session: None }
    }

    /// A browser in which somebody signs in with this link, on the gate's own page.
    pub async fn by_link(address: SocketAddr, link: &str) -> Self {
        let mut browser = Self::new(address, None);
        let (_, secret) = link.split_once("/sign-in#").unwrap();
        let body = serde_json::json!({ "secret": secret });
        let origin = browser.origin();
        let answer =
            browser.send(Method::POST, "/api/auth/sign-in", Some(body), &[("origin", &origin)]).await;
        let word = answer.expect(200)["csrfToken"].as_str().unwrap().to_owned();
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        browser.session = Some(Session { cookie, word });
        browser
    }

    /// The session of this browser.
    pub fn session(&self) -> &Session {
        self.session.as_ref().unwrap()
    }

    /// What a browser on the gate's own page sends as `Origin`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body), &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, &[]).await
    }

    /// Any request, with more headers (`cookie`, `origin` …).
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let response = self.sent(method, path, body, headers).await;
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(ANSWER_MAX, body.collect()).await.unwrap().unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// The head of an answer that lasts, and its body to be read as it comes.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.sent(Method::GET, path, None, headers).await
    }

    async fn sent(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let unsafe_method = method != Method::GET && method != Method::HEAD;
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(session) = &self.session {
            request = request.header("cookie", &session.cookie);
            if unsafe_method {
                request = request.header("origin", self.origin()).header("x-csrf-token", &session.word);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let sent = self.pool.request(request.body(Full::new(bytes)).unwrap());
        tokio::time::timeout(ANSWER_MAX, sent).await.unwrap().unwrap()
    }
}

//! Requests to an HTTP upstream, built afresh out of an allow-list, and the reading of what comes
//! back.
//!
//! Invariants: no header of the downstream request can get here, since none is given; a redirect is
//! never followed; a body is read up to its cap and is whole or an error; "nothing was sent" is said
//! only when no connection was handed the request.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::session::Established;
use crate::connector::HeaderValueSource;
use crate::mcp::Revision;
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::egress::DialFault;
use crate::proxy::upstream::environment::Environment;
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::{Answer, NoAnswer, Pool, SESSION_ID};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a session id that are kept; a longer one is refused.
const SESSION_ID_BYTES_MAX: usize = 1_024;
/// What a connector's own headers may not be: they frame the message or belong to the gate.
const RESERVED: [HeaderName; 12] = [
    ACCEPT,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    HOST,
    http::header::CONNECTION,
    http::header::TRANSFER_ENCODING,
    http::header::TE,
    http::header::UPGRADE,
    SESSION_ID,
    PROTOCOL_VERSION,
    REQUEST_ID,
];

/// The headers of every request to one upstream.
///
/// # Errors
/// Names the header, and what is wrong with it; never its value.
pub fn base_headers(
    configured: &[(String, HeaderValueSource)],
    host: Option<&str>,
    environment: &Environment,
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(configured.len() + 8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("wicket/", env!("CARGO_PKG_VERSION"))));
    for (name, source) in configured {
        let shown = name.escape_default();
        let parsed =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("`{shown}` is no header name"))?;
        if RESERVED.contains(&parsed) {
            return Err(format!("the header `{shown}` is the gate's own and cannot be configured"));
        }
        let text = match source {
            HeaderValueSource::Literal(text) => text.as_str(),
            HeaderValueSource::Env(variable) => environment.get(variable).ok_or_else(|| {
                format!("the header `{shown}` needs the environment variable `{variable}`, which is not set")
            })?,
        };
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| format!("the value of the header `{shown}` cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    if let Some(host) = host {
        let value = HeaderValue::try_from(host).map_err(|_| "`host` cannot be sent".to_owned())?;
        headers.insert(HOST, value);
    }
    Ok(headers)
}

/// A request to an upstream: its headers are the base, the session's and the request id.
pub fn request(
    method: Method,
    uri: &Uri,
    base: &HeaderMap,
    session: Option<&Established>,
    request_id: Option<&str>,
    body: Bytes,
) -> Request<Bytes> {
    let mut headers = base.clone();
    if let Some(session) = session {
        if let Some(id) = &session.id {
            headers.insert(SESSION_ID, id.clone());
        }
        // The header came with 2025-06-18.
        if session.revision() >= Revision::R2025_06_18 {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(session.revision().as_str()));
        }
    }
    if let Some(id) = request_id.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(REQUEST_ID, id);
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

/// A request that has no response.
#[derive(Debug)]
pub struct NoResponse {
    pub failure: UpstreamFailure,
    /// Whether a connection was handed the request: it may have arrived.
    pub sent: bool,
}

/// Sends a request once and waits for the head of its response.
///
/// # Errors
/// [`NoResponse`] says whether the request may have arrived.
pub async fn send(pool: &Pool, request: Request<Bytes>, patience: &Patience) -> Result<Answer, NoResponse> {
    let mut sent = false;
    let answered = patience.wait(Instant::now(), pin!(pool.request(request, &mut sent))).await;
    let failure = match answered {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(NoAnswer::Broken(error))) if sent => UpstreamFailure::broken(root(&*error)),
        Ok(Err(NoAnswer::Dial(error) | NoAnswer::Broken(error))) => {
            UpstreamFailure::unreachable(root(&*error))
        }
        Err(UpstreamFailure::Silent { after_ms }) if !sent => {
            UpstreamFailure::unreachable(format!("no connection within {after_ms} ms"))
        }
        Err(failure) => {
            if failure != UpstreamFailure::Cancelled {
                pool.doubt();
            }
            failure
        }
    };
    Err(NoResponse { failure, sent })
}

/// The innermost reason of a client's error: it is the one that an operator can act on.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        if inner.is::<DialFault>() {
            break;
        }
        inner = source;
    }
    inner.to_string()
}

/// What the body of a response is.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    Json,
    Events,
}

/// Accepts a response to a JSON-RPC request: 200 with JSON or an event stream.
///
/// # Errors
/// Any other response, by its status and what is wrong; its body is not looked at.
pub fn content(answer: &Answer) -> Result<Content, UpstreamFailure> {
    let status = answer.status;
    let broken = |why: &'static str| {
        Err(UpstreamFailure::Broken { status: status.as_u16(), why: std::borrow::Cow::Borrowed(why) })
    };
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return broken("it does not accept the gate's credential");
        }
        StatusCode::TOO_MANY_REQUESTS => return broken("it limits the rate of calls"),
        _ if status.is_redirection() => return broken("it redirects, which is never followed"),
        _ if status.is_success() => return broken("it accepted the request without an answer"),
        _ => return broken("it refused the request"),
    }
    if answer.is_encoded {
        return broken("its body is encoded, which was not asked for");
    }
    let media = answer.content_type.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") {
        Ok(Content::Json)
    } else if media.eq_ignore_ascii_case(b"text/event-stream") {
        Ok(Content::Events)
    } else {
        broken("its body is neither JSON nor an event stream")
    }
}

/// The session id that a response to `initialize` gives.
///
/// # Errors
/// It is not visible ASCII, or too long.
pub fn session_id(answer: &Answer) -> Result<Option<HeaderValue>, UpstreamFailure> {
    let Some(id) = &answer.session_id else { return Ok(None) };
    let visible = id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
    if id.is_empty() || id.len() > SESSION_ID_BYTES_MAX || !visible {
        return Err(UpstreamFailure::broken("its `Mcp-Session-Id` is not 1 to 1024 visible characters"));
    }
    let mut id = id.clone();
    id.set_sensitive(true);
    Ok(Some(id))
}

/// Reads a whole body. It has the time of one silence, so that a trickle is not taken for life.
///
/// # Errors
/// Too large, broken off, silent.
pub async fn whole(answer: Answer, bytes_max: u32, patience: &Patience) -> Result<Bytes, UpstreamFailure> {
    let (status, body) = (answer.status.as_u16(), answer.body);
    let too_large = UpstreamFailure::TooLarge { bytes_max };
    let cap = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if body.size_hint().lower() > u64::from(bytes_max) {
        return Err(too_large);
    }
    let mut body = match body.into_whole() {
        Ok(whole) => return Ok(whole),
        Err(body) => body,
    };
    let read = async {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| UpstreamFailure::Broken { status, why: root(&error).into() })?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + all.len() + data.len() > cap {
                return Err(too_large);
            }
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    };
    patience.wait(Instant::now(), pin!(read)).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::envelope::UpstreamInfo;

    fn check(name: &str, source: HeaderValueSource, expect: Result<&str, &str>) {
        let environment = Environment::new([("TOKEN".to_owned(), "s3cret".to_owned())]);
        let got = base_headers(&[(name.to_owned(), source)], None, &environment);
        match (got, expect) {
            (Ok(headers), Ok(value)) => {
                let sent = headers.get(name).unwrap();
                assert_eq!((sent.to_str().unwrap(), sent.is_sensitive()), (value, true), "{name}");
                assert!(!format!("{headers:?}").contains(value));
            }
            (Err(why), Err(part)) => assert!(why.contains(part) && !why.contains("s3cret"), "{name}: {why}"),
            (got, expect) => panic!("{name}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn a_connectors_headers_are_sent_unless_they_are_the_gates_own() {
        let literal = |text: &str| HeaderValueSource::Literal(text.to_owned());
        check("Authorization", literal("Bearer x"), Ok("Bearer x"));
        check("X-Key", HeaderValueSource::Env("TOKEN".to_owned()), Ok("s3cret"));
        check("X-Key", HeaderValueSource::Env("OTHER".to_owned()), Err("`OTHER`, which is not set"));
        check("X-Key", literal("s3cret\r\nx: y"), Err("cannot be sent"));
        check("a b", literal("x"), Err("no header name"));
        for name in RESERVED {
            check(name.as_str(), literal("x"), Err("the gate's own"));
        }
    }

    #[test]
    fn a_request_carries_what_the_list_names_and_nothing_else() {
        let base = base_headers(&[], Some("mcp.example"), &Environment::default()).unwrap();
        let uri = Uri::from_static("https://127.0.0.1/mcp");
        let mut session = Established::of(UpstreamInfo::of(Revision::R2025_06_18));
        session.id = Some(HeaderValue::from_static("s-1"));
        let request =
            request(Method::POST, &uri, &base, Some(&session), Some("r-1"), Bytes::from_static(b"{}"));
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "content-type",
                "host",
                "mcp-protocol-version",
                "mcp-session-id",
                "user-agent",
                "x-request-id"
            ]
        );
        assert_eq!(request.headers().get(HOST).unwrap(), "mcp.example");
    }
}

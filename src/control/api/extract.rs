//! Bodies and queries, read strictly: what is unknown, missing, twice, too large or of another kind is
//! refused with its place.
//!
//! Invariants: no byte that is not UTF-8 and no NUL reaches a handler (PostgreSQL holds neither); what a
//! refusal repeats of a request is bounded; a refusal names no type of ours.

mod words;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 8 << 10;

/// A JSON body, in or out. In: one object.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response<axum::body::Body> {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body_of(request, state).await?;
        read(&bytes).map(Self)
    }
}

/// A JSON body that may be left out, or be `null`.
pub struct Optional<T>(pub Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let empty = axum::body::HttpBody::size_hint(request.body()).exact() == Some(0);
        if empty && !typed {
            return Ok(Self(None));
        }
        let bytes = body_of(request, state).await?;
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(None));
        }
        read(&bytes).map(|body| Self(Some(body)))
    }
}

/// The whole of a JSON body.
async fn body_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    is_json(request.headers())?;
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(Code::TooLarge, "the body is larger than this route takes")
        } else {
            Problem::invalid("the body broke off")
        }
    })
}

/// One media type, in one encoding.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: &str| {
        Problem::new(Code::UnsupportedMediaType, detail)
            .with_help("send `Content-Type: application/json`, not compressed")
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).map(str::trim);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Err(unsupported("the body must be JSON"));
    }
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
        return Err(unsupported("the body must not be compressed"));
    }
    Ok(())
}

/// Reads a JSON text of a request.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::field("body", "is empty; a JSON object is taken"));
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(Problem::field("body", format!("is not UTF-8 after byte {}", error.valid_up_to())));
    }
    // serde takes an array of the fields' values for an object.
    if bytes.trim_ascii_start().first().is_some_and(|first| b"[0123456789\"tfn-".contains(first)) {
        return Err(Problem::field("body", "is no JSON object"));
    }
    if words::has_nul(bytes) {
        return Err(Problem::field("body", "holds the letter U+0000, which no text may have"));
    }
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut text).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        if error.classify() == serde_json::error::Category::Data {
            return words::refused("body", &path, &error.to_string());
        }
        Problem::field("body", format!("is not JSON: {}", words::plain(&error.to_string())))
    })?;
    text.end().map_err(|error| {
        Problem::field("body", format!("is more than one JSON value: {}", words::plain(&error.to_string())))
    })?;
    Ok(value)
}

/// The query's parameters.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri).map(Self)
    }
}

fn query<T: DeserializeOwned>(uri: &http::Uri) -> Result<T, Problem> {
    let text = uri.query().unwrap_or_default();
    if text.len() > QUERY_BYTES_MAX {
        return Err(Problem::field("query", format!("{QUERY_BYTES_MAX} bytes are taken at most")));
    }
    words::query_is_text(text)?;
    axum::extract::Query::try_from_uri(uri).map(|axum::extract::Query(query)| query).map_err(|rejection| {
        let mut cause = std::error::Error::source(&rejection);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<QueryError>() {
                return words::refused("query", &error.path().to_string(), &error.inner().to_string());
            }
            cause = error.source();
        }
        Problem::field("query", words::plain(&rejection.body_text()))
    })
}

/// What axum wraps.
type QueryError = serde_path_to_error::Error<serde::de::value::Error>;

#[cfg(test)]
mod tests;

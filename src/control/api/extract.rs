//! Bodies and queries, read strictly: what is unknown, missing or of another kind is said with its place.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// A JSON body, in or out.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response<axum::body::Body> {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let json = json.and_then(|value| value.split(';').next()).map(str::trim);
        if !json.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(Code::UnsupportedMediaType, "the body must be JSON")
                .with_help("send `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Code::TooLarge, "the body is larger than this route takes")
            } else {
                Problem::invalid("the body broke off")
            }
        })?;
        read(&bytes).map(Self)
    }
}

/// Reads a JSON text of a request.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = match error.classify() {
            serde_json::error::Category::Data => "is not as documented",
            _ => "is not JSON",
        };
        Problem::field("body", format!("{place}: {error}"))
    })
}

/// The query's parameters.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| Problem::field("query", rejection.body_text()))
    }
}

//! Around every route: an id for the request, who asks, a limit for its body, its time and their number,
//! headers that keep browsers from guessing and caching, and the body of what went wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, Response, header};
use tokio::sync::Semaphore;

use super::ApiState;
use super::caller::{self, Asked};
use super::problem::{Code, Problem};
use crate::model::{CallId, Timestamp};

/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// A request that has no answer by then is refused; what it changes goes on to its end.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Requests that are worked on at once; more are refused.
const IN_FLIGHT_MAX: usize = 64;
/// The request's id in the answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Clone)]
struct Edge {
    state: ApiState,
    places: Arc<Semaphore>,
}

/// The routes with the edge around them.
pub(super) fn around(router: Router, state: &ApiState) -> Router {
    let edge = Edge { state: Arc::clone(state), places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)) };
    router
        .fallback(async || {
            Problem::new(Code::NotFound, "nothing is at this path")
                .with_help("`GET /api/openapi.json` lists what is")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(edge, at_the_edge))
}

async fn at_the_edge(State(edge): State<Edge>, request: Request, next: Next) -> Response<Body> {
    let id = request_id();
    let answered = match edge.places.try_acquire() {
        Ok(_place) => {
            let worked = tokio::time::timeout(ANSWER_MAX, answer(&edge.state, request, next)).await;
            worked.unwrap_or_else(|_| {
                Problem::new(
                    Code::Unavailable,
                    "no answer in time; look whether a change was made before repeating it",
                )
                .after(Duration::from_secs(1))
                .into_response()
            })
        }
        Err(_) => Problem::new(Code::Unavailable, "too many requests are worked on")
            .after(Duration::from_secs(1))
            .into_response(),
    };
    finished(answered, &id)
}

async fn answer(state: &ApiState, request: Request, next: Next) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let asked = caller::of_request(state, &parts).await;
    parts.extensions.insert(Asked(Arc::new(asked)));
    next.run(Request::from_parts(parts, body)).await
}

/// Writes the body of a problem, and the headers of every answer.
fn finished(mut answered: Response<Body>, id: &str) -> Response<Body> {
    let problem = answered.extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        let before = std::mem::take(answered.headers_mut());
        answered = problem.respond(id);
        for (name, value) in before.iter().filter(|(name, _)| *name == header::ALLOW) {
            answered.headers_mut().insert(name, value.clone());
        }
    }
    let headers = answered.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    answered
}

fn request_id() -> String {
    let mut random = [0u8; 10];
    // Without random bytes the id is not unique; it authenticates nothing.
    let _ = getrandom::fill(&mut random);
    CallId::mint(Timestamp::now(), random).to_string()
}

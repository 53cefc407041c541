//! Around every route: an id for the request, who asks and how often, a limit for its body, its time and
//! their number, headers that keep browsers from guessing and caching, and the body of what went wrong.
//!
//! Invariants: nothing is worked on for a `Host` that is not the gate's, nor for another page than its
//! own; a request counts against its account, or, where no account makes it, against its address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, header};
use tokio::sync::Semaphore;

use super::ApiState;
use super::caller::{self, Asked, Caller, CallerAddress};
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
    let answered = match Arc::clone(&edge.places).try_acquire_owned() {
        Ok(place) => {
            let state = Arc::clone(&edge.state);
            // In a task of its own: what is changed goes on to its end when nobody waits any longer.
            let work = tokio::spawn(async move {
                let _place = place;
                answer(&state, request, next).await
            });
            match tokio::time::timeout(ANSWER_MAX, work).await {
                Ok(worked) => worked.unwrap_or_else(|_| broke()),
                Err(_) => late(),
            }
        }
        Err(_) => Problem::new(Code::Unavailable, "too many requests are worked on")
            .after(Duration::from_secs(1))
            .into_response(),
    };
    finished(answered, &id)
}

fn broke() -> Response<Body> {
    Problem::new(Code::Internal, "the work broke off within the gate; look what was done of it")
        .with_help("the operator finds the cause in the gate's log")
        .into_response()
}

fn late() -> Response<Body> {
    Problem::new(Code::Unavailable, "no answer in time; look whether a change was made before repeating it")
        .after(Duration::from_secs(1))
        .into_response()
}

async fn answer(state: &ApiState, request: Request, next: Next) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    if let Err(problem) = at_the_right_host(state, &parts) {
        return problem.into_response();
    }
    let asked = caller::of_request(state, &parts).await;
    if let Err(problem) = in_pace(state, &parts, &asked) {
        return problem.into_response();
    }
    parts.extensions.insert(Asked(Arc::new(asked)));
    next.run(Request::from_parts(parts, body)).await
}

/// A page of another host or origin cannot ask, not even through a name that it has rebound.
fn at_the_right_host(state: &ApiState, parts: &Parts) -> Result<(), Problem> {
    let (rule, at) = (&state.settings.host_rule, &state.settings.public_url);
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if !rule.admits_host(&parts.headers, authority, |host| at.is_host(host)) {
        return Err(Problem::new(Code::Forbidden, "this `Host` is not answered here").with_help(format!(
            "use the gate at {at}; `control.public_url` must be what the browser shows"
        )));
    }
    match parts.headers.contains_key(header::ORIGIN) {
        true => caller::no_other_page(&parts.headers, at),
        false => Ok(()),
    }
}

/// Counts the request. An account that is known never waits for what others at its address did.
fn in_pace(state: &ApiState, parts: &Parts, asked: &Result<Caller, Problem>) -> Result<(), Problem> {
    let (pace, now) = (&state.pace, Timestamp::now());
    let address = parts.extensions.get::<CallerAddress>().copied();
    // Unknown only to a server of another making than ours: all of those are one.
    let address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0);
    let waited = match asked {
        Ok(caller) => pace.account(caller.account.id, now),
        // Whoever it is, it is not them who failed.
        Err(problem) if matches!(problem.code(), Code::Unavailable | Code::Internal) => Ok(()),
        Err(_) => {
            let spent = pace.nobody(address, now);
            if caller::claims(state, &parts.headers) {
                pace.wrong(address, now);
            }
            spent
        }
    };
    waited.map_err(too_many)
}

/// The answer to whoever asks too often.
pub(super) fn too_many(wait: Duration) -> Problem {
    Problem::new(Code::RateLimited, "too many requests of this account or address")
        .with_help("wait as `Retry-After` says; `control.rate_burst` and its neighbours are the operator's")
        // Rounded up: who waits for so long is let in.
        .after(wait.saturating_add(Duration::from_millis(999)))
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

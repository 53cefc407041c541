//! The REST API of the control plane (`wicket-rest-api.txt`, specification 13): HTTP in, [`super::Admin`]
//! and the store behind.
//!
//! A request goes one way: `edge` gives it an id, a limit and a time; [`caller`] says who asks; an
//! extractor of [`access`] in the handler's own signature says whether they may, and is the only place
//! where a handler gets its agent or member from; what went wrong leaves as a [`problem`] (RFC 9457).
//! A handler's documentation is written on it, and [`openapi`] is made of that and of nothing else.
//!
//! Invariants: each route under `/api` but those of [`access::Open`] asks for an account; a stranger's
//! question about an agent is answered as if there were none; a change goes through `Admin`, so that it
//! is in the journal before it is made and holds for the next call before it is answered; no answer
//! holds a secret but the one that shows a new one, once.

mod absent;
pub mod access;
mod account_sessions;
mod agents;
mod audit;
mod auth;
pub mod caller;
mod catalog;
mod changes;
mod connectors;
mod docs;
mod edge;
mod extract;
mod groups;
mod invites;
mod keys;
mod members;
mod onboarding;
pub mod openapi;
pub mod pace;
pub mod page;
mod part;
mod policies;
pub mod problem;
pub mod public_url;
mod service;
mod sessions;
mod sign_in;
mod simulate;
mod statistics;
mod tokens;
mod uses;

use std::sync::Arc;

use axum::Router;
use http::{Request, Response};
use tower_service::Service as _;
use utoipa_axum::router::OpenApiRouter;

use self::pace::{Pace, Rates};
use self::public_url::PublicUrl;
use self::sign_in::Underway;
use self::uses::Uses;
use crate::control::Admin;
use crate::control::admin::accounts::SessionLimits;
use crate::control::delivery::Delivery;
use crate::control::health::HostRule;

/// What the API is told of its surroundings.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where browsers reach the control port: links of invites and sign-ins begin with it, and a browser's
    /// `Origin` must be it.
    pub public_url: PublicUrl,
    /// Which `Host` is answered beside that of `public_url`.
    pub host_rule: HostRule,
    pub sessions: SessionLimits,
    pub rates: Rates,
    /// How links reach people.
    pub delivery: Delivery,
}

/// What every handler shares.
pub struct Shared {
    pub admin: Arc<Admin>,
    pub settings: ApiSettings,
    pace: Pace,
    uses: Uses,
    links_underway: Underway,
}

impl Shared {
    /// Nobody has asked anything yet.
    pub fn new(admin: Arc<Admin>, settings: ApiSettings) -> Self {
        let (pace, uses) = (Pace::new(settings.rates), Uses::new(admin.store().clone()));
        Self { admin, settings, pace, uses, links_underway: Underway::default() }
    }
}

/// The state that handlers are given.
pub type ApiState = Arc<Shared>;

/// The API, ready to answer. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    router: Router,
}

impl Api {
    /// Puts the routes together.
    pub fn new(shared: Shared) -> Self {
        let state = Arc::new(shared);
        let (router, _) = routes().with_state(Arc::clone(&state)).split_for_parts();
        Self { router: edge::around(openapi::served(router), &state) }
    }

    /// Whether the path is one of the API's.
    pub fn answers(path: &str) -> bool {
        path == "/api" || path.starts_with("/api/") || path == "/sign-in" || path.starts_with("/join/")
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<axum::body::Body>) -> Response<axum::body::Body> {
        let mut router = self.router.clone();
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Every route, with what its handler documents.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    openapi::begun()
        .merge(service::routes())
        .merge(agents::routes())
        .merge(members::routes())
        .merge(invites::routes())
        .merge(keys::routes())
        .merge(onboarding::routes())
        .merge(groups::routes())
        .merge(connectors::routes())
        .merge(catalog::routes())
        .merge(sessions::routes())
        .merge(auth::routes())
        .merge(sign_in::routes())
        .merge(account_sessions::routes())
        .merge(tokens::routes())
        .merge(policies::routes())
        .merge(audit::routes())
        .merge(changes::routes())
        .merge(statistics::routes())
        .merge(simulate::routes())
        .merge(absent::routes())
}

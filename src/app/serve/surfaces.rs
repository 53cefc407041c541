//! The surfaces of the control plane on the data plane's listener code.

use std::sync::{Arc, OnceLock};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use ipnet::IpNet;
use tokio::runtime::Handle;

use crate::control::api::Api;
use crate::control::api::caller::CallerAddress;
use crate::control::health::Health;
use crate::control::socket::AdminSocket;
use crate::proxy::body::Body;
use crate::proxy::caller_ip;
use crate::proxy::listener::{Handler, Peer};

/// The control port: health, readiness and metrics, and the REST API, whose work runs in the background,
/// for it waits for the store.
pub struct Control {
    surfaces: Arc<OnceLock<ControlSurfaces>>,
    background: Handle,
    trusted_proxies: Vec<IpNet>,
}

impl Control {
    /// Answers once `surfaces` is filled; callers' addresses are what these proxies say (decision 21).
    pub fn new(
        surfaces: &Arc<OnceLock<ControlSurfaces>>,
        background: &Handle,
        trusted_proxies: Vec<IpNet>,
    ) -> Self {
        Self { surfaces: Arc::clone(surfaces), background: background.clone(), trusted_proxies }
    }
}

/// What answers on the control port, once the gate is put together.
pub struct ControlSurfaces {
    pub health: Health,
    pub api: Api,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let Some(surfaces) = self.surfaces.get() else {
            let mut early = Response::new(Body::empty());
            *early.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return early;
        };
        if !Api::answers(request.uri().path()) {
            return surfaces.health.handle(&request).map(Body::of_full);
        }
        let ip = caller_ip(request.headers(), peer, &self.trusted_proxies);
        let (mut request, api) = (request.map(axum::body::Body::new), surfaces.api.clone());
        request.extensions_mut().insert(CallerAddress(ip));
        let answered = self.background.spawn(async move { api.answer(request).await }).await;
        answered.map_or_else(|_| broke("application/problem+json"), |response| response.map(Body::made))
    }
}

/// The operator's socket. Its work runs in the background: it may wait for the store.
pub struct Operator {
    pub socket: AdminSocket,
    pub background: Handle,
}

impl Handler for Operator {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        let background = self.background.clone();
        let answered = background.spawn(async move { self.socket.handle(request).await }).await;
        answered.map_or_else(|_| broke("application/json"), |response| response.map(Body::of_full))
    }
}

/// The answer to a request whose work ended in a panic.
fn broke(media_type: &'static str) -> Response<Body> {
    let mut failed = Response::new(Body::whole("{\"error\":\"the gate failed; its log says how\"}"));
    *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    failed.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    failed
}

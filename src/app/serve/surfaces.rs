//! The surfaces of the control plane on the data plane's listener code.

use std::sync::{Arc, OnceLock};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::control::health::Health;
use crate::control::socket::AdminSocket;
use crate::proxy::body::Body;
use crate::proxy::listener::{Handler, Peer};

/// Health, readiness and metrics on the control port.
pub struct Control {
    pub health: Arc<OnceLock<Health>>,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        match self.health.get() {
            Some(health) => health.handle(&request).map(Body::of_full),
            None => {
                let mut early = Response::new(Body::empty());
                *early.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                early
            }
        }
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
        answered.map_or_else(
            |_| {
                let mut failed =
                    Response::new(Body::whole("{\"error\":\"the gate failed; its log says how\"}"));
                *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                failed
            },
            |response| response.map(Body::of_full),
        )
    }
}

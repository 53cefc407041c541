//! `logging/setLevel` (session era): kept for the client, and told to each upstream that it may be told to.

use std::sync::Arc;

use http::Response;

use crate::mcp::{CallRequest, Refusal, reply};

use super::body::Body;
use super::exchange::Arrival;
use super::gate::Gate;
use super::refusal::{Refused, json};

/// RFC 5424's severities, mildest first (MCP 2025-11-25, logging).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Gate {
    /// Keeps the level for the session.
    pub(super) async fn set_level(
        self: &Arc<Self>,
        arrival: Arrival,
        call: CallRequest,
    ) -> Result<Response<Body>, Refused> {
        let level = call.name();
        if !LEVELS.contains(&level) {
            return Err(Refusal::InvalidParams {
                what: "`level` is none of debug, info, notice, warning, error, critical, alert and emergency",
            }
            .into());
        }
        if let Some(downstream) = arrival.downstream(self) {
            downstream.set_level(level);
        }
        if let Some((session, digest)) = &arrival.mcp_session {
            self.streams.set_level(&arrival.caller, session, *digest, level);
        }
        Ok(json(200, reply::empty_result(call.id())))
    }
}

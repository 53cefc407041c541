//! The gate: the parts of one exchange, and how a request enters it.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use ipnet::IpNet;

use crate::audit::Journal;
use crate::keys::Pepper;
use crate::mcp::{self, ClientFace};
use crate::model::Timestamp;
use crate::session::Sessions;

use super::admission::Admission;
use super::body::Body;
use super::downstream::Downstreams;
use super::in_flight::InFlight;
use super::listener::{Handler, Peer};
use super::lists::{Lists, MergedPrimitives};
use super::refusal;
use super::relay::Parked;
use super::reply_room::ReplyRoom;
use super::rounds::{RoundLimits, Rounds};
use super::snapshot::Live;
use super::streams::Streams;
use super::upstream::Upstreams;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Limits of the exchange; times in milliseconds.
#[derive(Debug, Clone)]
pub struct GateLimits {
    pub body_bytes_max: u32,
    pub body_read_ms_max: u64,
    pub reply_write_ms_max: u64,
    pub json: mcp::Limits,
    pub tools_page_max: usize,
    pub in_flight_max: u32,
    pub in_flight_per_member_max: u32,
    /// Bytes of large replies that wait for their clients, in all.
    pub reply_bytes_waiting_max: u64,
    /// Calls that wait for another round.
    pub rounds: RoundLimits,
    pub trusted_proxies: Vec<IpNet>,
    pub allowed_origins: Vec<String>,
}

/// What the gate is made of; `app` puts it together.
pub struct GateParts {
    pub live: Arc<Live>,
    pub sessions: Arc<Sessions>,
    pub journal: Arc<Journal>,
    pub upstreams: Arc<Upstreams>,
    pub lists: Arc<Lists>,
    pub pepper: Pepper,
    pub limits: GateLimits,
}

/// The gate: everything that one exchange needs.
pub struct Gate {
    pub(super) live: Arc<Live>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) limits: GateLimits,
    pub(super) journal: Arc<Journal>,
    pub(super) pepper: Pepper,
    pub(super) admission: Admission,
    pub(super) in_flight: InFlight,
    pub(super) lists: Arc<Lists>,
    pub(super) merged_primitives: MergedPrimitives,
    pub(super) streams: Arc<Streams>,
    pub(super) reply_room: Arc<ReplyRoom>,
    pub(super) downstreams: Downstreams,
    pub(super) rounds: Arc<Rounds<Parked>>,
    /// A client that said nothing of itself.
    pub(super) unknown_client: Arc<ClientFace>,
}

impl Handler for Gate {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let now = Timestamp::now();
        let call_id = super::call_id::mint(now);
        let mut response = match self.exchange(request, peer, call_id, now).await {
            Ok(response) => response,
            Err(refused) => {
                tracing::debug!(request_id = %call_id, refusal = refused.refusal.kind(), "refused");
                refusal::response(&refused, &call_id)
            }
        };
        if let Ok(value) = HeaderValue::from_str(
            call_id.as_uuid().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
        ) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
}

impl Gate {
    /// A gate out of its parts.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn new(parts: GateParts) -> Result<Self, &'static str> {
        let admission = Admission::new(parts.limits.in_flight_max, parts.limits.in_flight_per_member_max);
        let reply_room = ReplyRoom::new(parts.limits.reply_bytes_waiting_max);
        let rounds = Rounds::new(parts.limits.rounds).ok_or("the machine gives no random bytes")?;
        Ok(Self {
            streams: Streams::start(&parts.live, &parts.upstreams, &parts.journal),
            live: parts.live,
            sessions: parts.sessions,
            upstreams: parts.upstreams,
            limits: parts.limits,
            journal: parts.journal,
            pepper: parts.pepper,
            admission,
            in_flight: InFlight::default(),
            lists: parts.lists,
            merged_primitives: MergedPrimitives::default(),
            reply_room,
            downstreams: Downstreams::default(),
            rounds,
            unknown_client: Arc::new(ClientFace::unknown()),
        })
    }

    /// Forgets clients whose sessions have ended; their sessions upstream are given back.
    pub fn sweep(&self) {
        self.streams.sweep(|member, digest| self.sessions.knows_mcp(member, digest));
        let gone = self.downstreams.sweep(|member, digest| self.sessions.knows_mcp(member, digest));
        for (member, digest) in gone {
            self.upstreams.client_gone(member, digest);
        }
    }

    /// What clients hear without having asked.
    pub const fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Caps and buckets, for the drain and for changes of the directory.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

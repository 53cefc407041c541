//! Of which era an HTTP upstream is: asked once, kept until something says otherwise.
//!
//! Invariants: the question is `server/discover`, which runs nothing; only an answer in the words of
//! the stateless era makes an upstream stateless, all else is tried with `initialize`; an upstream
//! that was down, restarted, or refuses the era that it is spoken to in is asked again.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::HttpLink;
use super::mirror::Mirrored;
use super::post::{self, NoResponse};
use super::session::Established;
use crate::connector::EraChoice;
use crate::mcp::envelope::{RpcRefusal, SaysEra, StatelessFault, UpstreamInfo, read_discover_result};
use crate::mcp::{self, Era, FromUpstream, ReplyBody, Revision};
use crate::model::OutcomeKind;
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::{Answer, Pool};

/// Bytes of the body of a refusal that are read.
const REFUSAL_BYTES_MAX: u32 = 64 * 1024;
/// How long the question waits for its answer, in milliseconds: a server of the session era may leave
/// a request before `initialize` without one.
const PROBE_MS_MAX: u32 = 5_000;

/// What an answer to the question says.
enum Said {
    Stateless(UpstreamInfo),
    /// Nothing in the words of the stateless era.
    Session,
    Foreign,
}

impl From<SaysEra> for Said {
    fn from(says: SaysEra) -> Self {
        match says {
            SaysEra::Stateless(revision) => Self::Stateless(UpstreamInfo::of(revision)),
            SaysEra::Session | SaysEra::Unknown => Self::Session,
            SaysEra::Foreign => Self::Foreign,
        }
    }
}

/// What a response that is no success is.
pub(super) enum Refused {
    /// An answer all the same: a JSON-RPC error to this very request.
    Answer(ReplyBody),
    /// The upstream is of the other era, and ran nothing.
    OtherEra(UpstreamFailure),
    /// The upstream does not know the session any more, and ran nothing.
    Forgotten(UpstreamFailure),
    Failure(UpstreamFailure),
}

impl HttpLink {
    /// How the upstream is spoken to.
    pub(super) async fn spoken(
        &self,
        client: &Pool,
        patience: &Patience,
    ) -> Result<Arc<Established>, UpstreamFailure> {
        if let Some(spoken) = self.spoken.load_full() {
            return Ok(spoken);
        }
        // Rare, and large: not a part of every call's future.
        let asked = self.asking.session(Box::pin(self.discover(client, patience))).await?;
        if asked.era() == Era::Stateless {
            self.info.store(Some(Arc::clone(&asked.info)));
        }
        self.spoken.store(Some(Arc::clone(&asked)));
        Ok(asked)
    }

    /// Has the upstream asked again, unless its file says of which era it is.
    pub(super) async fn forget_era(&self) {
        if self.choice == EraChoice::Auto
            && let Some(spoken) = self.spoken.swap(None)
        {
            self.asking.forget(&spoken).await;
        }
    }

    async fn discover(&self, client: &Pool, patience: &Patience) -> Result<Established, UpstreamFailure> {
        let session = Established::of(UpstreamInfo::of(Revision::NEWEST_OF_SESSION_ERA));
        let said = match self.choice {
            EraChoice::Session => return Ok(session),
            EraChoice::Stateless => self.probe(client, patience).await?,
            EraChoice::Auto => {
                let asked = self.probe(client, &patience.shorter(PROBE_MS_MAX)).await;
                match asked {
                    // Not said in the words of the stateless era, whatever it is.
                    Err(
                        UpstreamFailure::Silent { .. }
                        | UpstreamFailure::Broken { .. }
                        | UpstreamFailure::TooLarge { .. },
                    ) => Said::Session,
                    asked => asked?,
                }
            }
        };
        match (said, self.choice) {
            (Said::Stateless(info), _) => Ok(Established::of(info)),
            (Said::Session, EraChoice::Stateless) => Err(UpstreamFailure::unreachable(
                "it does not answer `server/discover`, and its connector says `era = \"stateless\"`",
            )),
            (Said::Session, _) => Ok(session),
            (Said::Foreign, _) => {
                Err(UpstreamFailure::unreachable("it speaks no revision of MCP that the gate speaks"))
            }
        }
    }

    async fn probe(&self, client: &Pool, patience: &Patience) -> Result<Said, UpstreamFailure> {
        let (id, method) = (self.next_id(), "server/discover");
        let newest = Established::of(UpstreamInfo::of(Revision::NEWEST));
        let body = mcp::reply::upstream_request(id, method, None, Revision::NEWEST);
        let mirrored = Mirrored::of_own(method, None);
        let request = self.request(Method::POST, Some(&newest), Some(&mirrored), None, body);
        let sent = post::send(client, request, patience).await;
        let response = sent.map_err(|NoResponse { failure, .. }| failure)?;
        if response.status != StatusCode::OK {
            let body = refusal_body(response, patience).await?;
            let refusal = RpcRefusal::of_body(&body);
            return Ok(refusal.map_or(Said::Session, |refusal| refusal.says_era().into()));
        }
        let reply = self.answer(response, id, patience).await?;
        Ok(match (reply.result().and_then(read_discover_result), RpcRefusal::of_reply(&reply)) {
            (Some(info), _) => Said::Stateless(info),
            (None, Some(refusal)) => refusal.says_era().into(),
            (None, None) => Said::Session,
        })
    }

    /// What a response that is no 200 says to the request of this id.
    pub(super) async fn refused(
        &self,
        response: Answer,
        spoken: &Established,
        id: u64,
        patience: &Patience,
    ) -> Refused {
        let status = response.status;
        let failure = match post::content(&response) {
            Err(failure) => failure,
            Ok(_) => UpstreamFailure::broken("it refused the request"),
        };
        if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
            return Refused::Failure(failure);
        }
        // 2025-11-25, transports, session management.
        if status == StatusCode::NOT_FOUND && spoken.id.is_some() {
            return Refused::Forgotten(failure);
        }
        let body = match refusal_body(response, patience).await {
            Ok(body) => body,
            Err(UpstreamFailure::Cancelled) => return Refused::Failure(UpstreamFailure::Cancelled),
            Err(_) => return Refused::Failure(failure),
        };
        let fault = RpcRefusal::of_body(&body).and_then(|refusal| refusal.fault);
        if spoken.era() == Era::Session {
            return match fault {
                Some(_) => Refused::OtherEra(failure),
                None => Refused::Failure(failure),
            };
        }
        match (fault, mcp::read_upstream(body, mcp::Limits::REPLY)) {
            (Some(StatelessFault::HeaderMismatch), _) => Refused::Failure(mismatch(status.as_u16())),
            (Some(StatelessFault::UnsupportedVersion), _) => Refused::OtherEra(failure),
            // What a client lacks is its own business, and so is the rest.
            (_, Ok(FromUpstream::Response { id: of, body }))
                if of == id && body.kind() == OutcomeKind::RpcError =>
            {
                Refused::Answer(body)
            }
            _ => Refused::OtherEra(failure),
        }
    }
}

fn mismatch(status: u16) -> UpstreamFailure {
    let why = "it says that the gate's headers differ from the body: its tools may have changed";
    UpstreamFailure::Broken { status, why: why.into() }
}

async fn refusal_body(response: Answer, patience: &Patience) -> Result<Bytes, UpstreamFailure> {
    if response.is_encoded {
        return Ok(Bytes::new());
    }
    post::whole(response, REFUSAL_BYTES_MAX, patience).await
}

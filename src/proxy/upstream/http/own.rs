//! What the gate asks of an HTTP upstream in its own name: sessions, and requests that belong to no
//! client's call.
//!
//! Invariants: a request is posted a second time only where the upstream certainly did not run it; an
//! answer carries the id of its request or is none.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::HttpLink;
use super::era::Refused;
use super::mirror::Mirrored;
use super::post::{self, Content};
use super::session::{Cell, Established, Holder};
use crate::mcp::envelope::UpstreamInfo;
use crate::mcp::{self, ClientFace, Era, FromUpstream, ReplyBody, Revision};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::{Answer, Pool};
use crate::proxy::upstream::{UpstreamFailure, dialogue};

/// How to speak to an upstream in somebody's name.
pub(super) struct Speech {
    /// Where the session is held; nothing in the stateless era.
    cell: Option<Arc<Cell>>,
    pub established: Arc<Established>,
}

impl Speech {
    pub fn era(&self) -> Era {
        self.established.era()
    }
}

/// Whether a request may be posted once more.
#[derive(Default)]
pub(super) struct Again(Option<(Option<Era>, UpstreamFailure)>);

impl Again {
    /// Whether it may be posted in this era: not in the one in which it was refused.
    pub fn may_try(&self, era: Era) -> Result<(), UpstreamFailure> {
        match &self.0 {
            Some((Some(refused), failure)) if *refused == era => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// It was refused, certainly without being run: for its era, or for its session. Once.
    pub fn refused(&mut self, era: Option<Era>, failure: UpstreamFailure) -> Result<(), UpstreamFailure> {
        if self.0.is_some() {
            return Err(failure);
        }
        self.0 = Some((era, failure));
        Ok(())
    }
}

impl HttpLink {
    /// How to speak to the upstream in this holder's name, who is this client.
    pub(super) async fn speak(
        self: &Arc<Self>,
        holder: Holder,
        face: &ClientFace,
        client: &Pool,
        patience: &Patience,
    ) -> Result<Speech, UpstreamFailure> {
        if let Some(speech) = self.at_hand(holder)? {
            return Ok(speech);
        }
        // The handshake has several waits of its own; one silence is enough for all of them.
        let handshake = Box::pin(self.handshake(holder, face, client, patience));
        patience.wait(Instant::now(), handshake).await?
    }

    /// How to speak to it, where that was settled before.
    fn at_hand(self: &Arc<Self>, holder: Holder) -> Result<Option<Speech>, UpstreamFailure> {
        let Some(spoken) = self.spoken.load_full() else { return Ok(None) };
        if spoken.era() == Era::Stateless {
            return Ok(Some(Speech { cell: None, established: spoken }));
        }
        let cell = self.cell(holder)?;
        Ok(cell.at_hand().map(|established| Speech { cell: Some(cell), established }))
    }

    fn cell(self: &Arc<Self>, holder: Holder) -> Result<Arc<Cell>, UpstreamFailure> {
        let (cell, gone) = self.sessions.enter(holder, std::time::Instant::now())?;
        for cell in gone {
            self.give_back(&cell);
        }
        Ok(cell)
    }

    async fn handshake(
        self: &Arc<Self>,
        holder: Holder,
        face: &ClientFace,
        client: &Pool,
        patience: &Patience,
    ) -> Result<Speech, UpstreamFailure> {
        // No failure of the handshake is the call's own: nothing of it has left.
        let spoken = self.spoken(client, patience).await.map_err(UpstreamFailure::before_the_call)?;
        if spoken.era() == Era::Stateless {
            return Ok(Speech { cell: None, established: spoken });
        }
        let cell = self.cell(holder)?;
        let opened = cell.session(async {
            let opened = self.open(face, client, patience).await;
            if opened.as_ref().is_err_and(|failure| *failure != UpstreamFailure::Cancelled) {
                self.forget_era().await;
            }
            opened.map_err(UpstreamFailure::before_the_call)
        });
        let established = opened.await?;
        Ok(Speech { cell: Some(cell), established })
    }

    /// Forgets a session that the upstream does not know any more, and with it of which era it is: it
    /// was started again.
    pub(super) async fn forget(&self, speech: &Speech) {
        if let Some(cell) = &speech.cell {
            cell.forget(&speech.established).await;
        }
        self.forget_era().await;
        // Another process may serve other tools.
        self.changed.mark();
    }

    /// `initialize` in the name of this client, then `notifications/initialized`.
    async fn open(
        &self,
        face: &ClientFace,
        client: &Pool,
        patience: &Patience,
    ) -> Result<Established, UpstreamFailure> {
        let (id, revision) = (self.next_id(), Revision::NEWEST_OF_SESSION_ERA);
        let hello = mcp::reply::upstream_initialize(id, revision, face.capabilities, &face.info);
        let request = self.request(Method::POST, None, None, None, hello);
        let response = post::send(client, request, patience).await.map_err(|none| none.failure)?;
        let session_id = post::session_id(&response)?;
        let body = self.answer(response, id, patience).await?;
        let info = dialogue::agreed(&body).map_err(UpstreamFailure::broken)?;
        let info = Arc::new(info);
        self.info.store(Some(Arc::clone(&info)));
        let session = Established { id: session_id, info };
        let ready = mcp::reply::upstream_initialized();
        let request = self.request(Method::POST, Some(&session), None, None, ready);
        let response = post::send(client, request, patience).await.map_err(|none| none.failure)?;
        if !response.status.is_success() {
            let status = response.status.as_u16();
            return Err(UpstreamFailure::broken(format!(
                "it answered `notifications/initialized` with HTTP {status}"
            )));
        }
        Ok(session)
    }

    /// The answer to a request of the gate itself.
    pub(super) async fn answer(
        &self,
        response: Answer,
        id: u64,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        let mut messages = match post::content(&response)? {
            Content::Events => self.messages(response),
            Content::Json => {
                let body = post::whole(response, self.limits.reply_bytes_max, patience).await?;
                return match mcp::read_upstream(body, mcp::Limits::REPLY) {
                    Ok(FromUpstream::Response { id: of, body }) if of == id => Ok(body),
                    Ok(_) => Err(UpstreamFailure::broken("its answer is no response to the request")),
                    Err(fault) => Err(UpstreamFailure::broken(fault.to_string())),
                };
            }
        };
        loop {
            match messages.next(patience).await? {
                FromUpstream::Response { id: of, body } if of == id => {
                    drop(tokio::spawn(messages.drain()));
                    return Ok(body);
                }
                FromUpstream::Response { .. } => {
                    return Err(UpstreamFailure::broken("it answered a request that was not asked"));
                }
                // A session that is being opened has nothing to notify and may ask nothing but pings.
                FromUpstream::Notification { .. } | FromUpstream::Request { .. } => {}
            }
        }
    }

    /// Asks something in the gate's own name, with these raw parameters (an object) if any, in the
    /// upstream's own era. On the background runtime.
    ///
    /// # Errors
    /// There is no answer. A JSON-RPC error is an answer.
    pub async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: Option<&str>,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        let face = ClientFace::unknown();
        let mut again = Again::default();
        loop {
            let speech = self.speak(Holder::Gate, &face, &self.asides, patience).await?;
            again.may_try(speech.era())?;
            let (id, spoken) = (self.next_id(), &speech.established);
            let body = mcp::reply::upstream_request(id, method, params, spoken.revision());
            let stateless = spoken.era() == Era::Stateless;
            let mirrored = stateless.then(|| Mirrored::of_own(method, params));
            let request = self.request(Method::POST, Some(spoken), mirrored.as_ref(), None, body);
            let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
            if response.status == StatusCode::OK {
                return self.answer(response, id, patience).await;
            }
            match self.refused(response, spoken, id, patience).await {
                Refused::Answer(body) => return Ok(body),
                Refused::Failure(failure) => return Err(failure),
                Refused::Forgotten(failure) => again.refused(None, failure)?,
                Refused::OtherEra(failure) => again.refused(Some(speech.era()), failure)?,
            }
            self.forget(&speech).await;
        }
    }

    /// What the upstream says of itself; it is asked where nobody did.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn upstream(
        self: &Arc<Self>,
        patience: &Patience,
    ) -> Result<Arc<UpstreamInfo>, UpstreamFailure> {
        let speech = self.speak(Holder::Gate, &ClientFace::unknown(), &self.asides, patience).await?;
        Ok(Arc::clone(&speech.established.info))
    }
}

//! The first words with a child: of which era it is, and the handshake of the session era.
//!
//! Invariants: a child is asked by `server/discover`, which runs nothing, and only an answer in the
//! words of the stateless era makes it stateless; one that says nothing to that, or ends over it, is
//! spoken to in the session era; all of it ends within `dial_ms_max`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::child::Child;
use super::serve::{Conversation, DRAIN, Heard};
use crate::connector::EraChoice;
use crate::mcp::envelope::{RpcRefusal, SaysEra, UpstreamInfo, read_discover_result};
use crate::mcp::{self, Capabilities, FromUpstream, ReplyBody, Revision};
use crate::model::ClientInfo;
use crate::proxy::upstream::dialogue;

/// How long a child has to say of which era it is, in milliseconds: one of the session era may leave a
/// request before `initialize` without an answer.
const PROBE_MS_MAX: u64 = 2_000;

/// What a child says to the question.
enum Said {
    Stateless(UpstreamInfo),
    Session,
    Foreign,
}

impl Conversation<'_> {
    /// Comes to terms with the child, within `dial_ms_max`.
    ///
    /// # Errors
    /// Why the child is no MCP server that the gate can talk to.
    pub async fn shake_hands(&mut self, child: &mut Child) -> Result<(), String> {
        let within = Duration::from_millis(self.core.limits.dial_ms_max.into());
        let ends = Instant::now() + within;
        match tokio::time::timeout_at(ends, self.agree(ends)).await {
            Ok(Err(why)) => match tokio::time::timeout(DRAIN, child.ended()).await {
                Ok(status) => Err(format!("{why} ({status})")),
                Err(_) => Err(why),
            },
            Ok(Ok(info)) => {
                self.core.info.store(Some(Arc::new(info)));
                Ok(())
            }
            Err(_) => Err(format!(
                "it did not answer `initialize` within {} ms (`dial_ms_max`)",
                within.as_millis()
            )),
        }
    }

    async fn agree(&mut self, ends: Instant) -> Result<UpstreamInfo, String> {
        let choice = self.core.era();
        if choice == EraChoice::Session || self.core.unasked.swap(false, Ordering::AcqRel) {
            return self.initialize(None).await;
        }
        let asked = self.core.next_id();
        let question = mcp::reply::upstream_request(asked, "server/discover", None, Revision::NEWEST);
        self.write(question).await?;
        let now = Instant::now();
        let patience = match choice {
            EraChoice::Stateless => ends.duration_since(now),
            // Whatever time there is, `initialize` has half of it.
            _ => Duration::from_millis(PROBE_MS_MAX).min(ends.duration_since(now) / 2),
        };
        let said = match tokio::time::timeout(patience, self.reply_to(asked, "server/discover")).await {
            Ok(reply) => reply.map(|reply| said(&reply)).inspect_err(|_| {
                // The next child is not asked, in case the question was too much for this one.
                self.core.unasked.store(choice == EraChoice::Auto, Ordering::Release);
            })?,
            Err(_) => return self.initialize(Some(asked)).await,
        };
        match (said, choice) {
            (Said::Stateless(info), _) => Ok(info),
            (Said::Session, EraChoice::Stateless) => {
                Err("it does not answer `server/discover`, and its connector says `era = \"stateless\"`"
                    .to_owned())
            }
            (Said::Session, _) => self.initialize(None).await,
            (Said::Foreign, _) => Err("it speaks no revision of MCP that the gate speaks".to_owned()),
        }
    }

    /// `initialize` and `notifications/initialized`. One child serves all clients, so it is told of
    /// everything that a client may be able to do; what the client of a call cannot do is refused then.
    /// A late answer to the question of its era counts where the child knows no `initialize`.
    async fn initialize(&mut self, asked: Option<u64>) -> Result<UpstreamInfo, String> {
        let id = self.core.next_id();
        let revision = Revision::NEWEST_OF_SESSION_ERA;
        let none = ClientInfo::default();
        let all = Capabilities { roots_changed: self.core.tells_roots(), ..Capabilities::ALL };
        self.write(mcp::reply::upstream_initialize(id, revision, all, &none)).await?;
        let mut late = None;
        loop {
            match self.heard.recv().await {
                Some(Heard::Message(FromUpstream::Response { id: of, body }, _)) if of == id => {
                    match (dialogue::agreed(&body), late) {
                        (Ok(info), _) => {
                            self.write(mcp::reply::upstream_initialized()).await?;
                            return Ok(info);
                        }
                        (Err(_), Some(info)) => return Ok(info),
                        (Err(why), None) => return Err(why),
                    }
                }
                Some(Heard::Message(FromUpstream::Response { id: of, body }, _)) if Some(of) == asked => {
                    if let Said::Stateless(info) = said(&body) {
                        late = Some(info);
                    }
                }
                Some(heard) => self.hear(heard)?,
                None => return Err("it ended before it answered `initialize`".to_owned()),
            }
        }
    }

    /// The answer to this request.
    async fn reply_to(&mut self, id: u64, method: &str) -> Result<ReplyBody, String> {
        loop {
            match self.heard.recv().await {
                Some(Heard::Message(FromUpstream::Response { id: of, body }, _)) if of == id => {
                    return Ok(body);
                }
                Some(heard) => self.hear(heard)?,
                None => return Err(format!("it ended before it answered `{method}`")),
            }
        }
    }
}

fn said(reply: &ReplyBody) -> Said {
    if let Some(info) = reply.result().and_then(read_discover_result) {
        return Said::Stateless(info);
    }
    match RpcRefusal::of_reply(reply).map_or(SaysEra::Unknown, |refusal| refusal.says_era()) {
        SaysEra::Stateless(revision) => Said::Stateless(UpstreamInfo::of(revision)),
        SaysEra::Session | SaysEra::Unknown => Said::Session,
        SaysEra::Foreign => Said::Foreign,
    }
}

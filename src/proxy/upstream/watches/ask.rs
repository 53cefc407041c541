//! Asks an upstream for the subscriptions that its table holds, and tells those who hold them what it
//! says.
//!
//! Invariants: an upstream of the session era is asked a few at a time, each with a place at the breaker;
//! what cannot be asked now is left for the next time.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use serde_json::json;

use super::{Hold, Subscribed, Turn};
use crate::mcp::{Era, ReplyBody, Told};
use crate::model::MemberId;
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::link::Link;
use crate::proxy::upstream::news::NewsKind;
use crate::proxy::upstream::patience::Patience;
use crate::telemetry;

/// Subscriptions that are asked for at a time.
const ASKED_AT_ONCE: usize = 8;

impl Link {
    /// Subscribes to a resource for this member.
    ///
    /// # Errors
    /// The upstream cannot be asked, or too much is subscribed to already.
    pub async fn subscribe(
        &self,
        uri: &Arc<str>,
        member: MemberId,
        patience: &Patience,
    ) -> Result<Subscribed, UpstreamFailure> {
        if self.watches.enter(uri, member)? {
            return Ok(Subscribed::Known);
        }
        if self.upstream(patience).await?.revision.era() == Era::Stateless {
            // A stream is asked for that carries it.
            self.watches.changed.notify_one();
            let refused = self.watches.verdict(uri).await;
            return Ok(refused.map_or(Subscribed::Known, Subscribed::Refused));
        }
        self.ask_to_watch(uri, patience).await.map(Subscribed::Answer)
    }

    async fn ask_to_watch(&self, uri: &str, patience: &Patience) -> Result<ReplyBody, UpstreamFailure> {
        let params = json!({ "uri": uri }).to_string();
        let answer = self.ask("resources/subscribe", Some(&params), patience).await;
        match &answer {
            Ok(body) if body.result().is_some() => self.heard_of(uri),
            Ok(body) => {
                let code = body.error().map_or(0, |(code, _)| code);
                self.refused_to_tell(uri, &format!("it answers with the error {code}"));
            }
            Err(failure) => {
                let turn = self.watches.failed(uri, failure);
                self.tell_turn(uri, turn, &failure.to_string());
            }
        }
        answer
    }

    /// Holds a subscription for this member. Where the upstream does not know of it yet, it is told soon.
    /// Nothing where the upstream has just refused it.
    ///
    /// # Errors
    /// Too much is subscribed to already.
    pub fn hold(self: &Arc<Self>, uri: &str, member: MemberId) -> Result<Option<Hold>, UpstreamFailure> {
        let uri: Arc<str> = Arc::from(uri);
        let is_known = self.watches.enter(&uri, member)?;
        let Some(generation) = self.watches.hold(&uri, member) else { return Ok(None) };
        if !is_known {
            self.watches.changed.notify_one();
        }
        Ok(Some(Hold { link: Arc::downgrade(self), uri, member, generation }))
    }

    /// The upstream tells of this resource from now on.
    pub fn heard_of(&self, uri: &str) {
        let turn = self.watches.sent(uri);
        self.tell_turn(uri, turn, "");
    }

    /// The upstream refuses to tell of this resource.
    pub fn refused_to_tell(&self, uri: &str, why: &str) {
        let turn = self.watches.refused(uri, why);
        self.tell_turn(uri, turn, why);
    }

    fn tell_turn(&self, uri: &str, turn: Option<Turn>, why: &str) {
        let (service, of) = (&self.service, Arc::from(uri));
        match turn {
            Some(Turn::Lost) => {
                telemetry::subscription_lost(service.as_str());
                tracing::warn!(%service, uri, why,
                    "the upstream refuses a subscription that it had: its clients are told so, and it is asked again");
                self.changed.tell(NewsKind::Unheard { uri: of });
            }
            Some(Turn::Back) => {
                tracing::info!(%service, uri, "the upstream tells of a resource again");
                let told = Arc::new(Told::updated(uri));
                self.changed.tell(NewsKind::ResourceUpdated { uri: of, told });
            }
            None => tracing::debug!(%service, uri, why, "a subscription was judged"),
        }
    }

    /// Tells an upstream of the session era what it does not know: new subscriptions, and those that nobody
    /// holds any more. What cannot be told now is left for the next time.
    pub async fn settle_watches(&self, patience: &Patience) {
        let now = Instant::now();
        let mut asked = futures_util::stream::iter(self.watches.unsent(now))
            .map(|uri| async move { self.watch_again(&uri, patience).await })
            .buffer_unordered(ASKED_AT_ONCE);
        while let Some(told) = asked.next().await {
            if let Err(failure) = told
                && failure.is_sickness()
            {
                return tracing::debug!(service = %self.service, %failure, "subscriptions wait");
            }
        }
        let mut asked = futures_util::stream::iter(self.watches.take_idle(now))
            .map(|uri| async move {
                let params = json!({ "uri": &*uri }).to_string();
                // An upstream that is not told tells of what nobody hears.
                drop(self.ask("resources/unsubscribe", Some(&params), patience).await);
            })
            .buffer_unordered(ASKED_AT_ONCE);
        while asked.next().await.is_some() {}
    }

    async fn watch_again(&self, uri: &str, patience: &Patience) -> Result<(), UpstreamFailure> {
        let mut slot = self.gate.look(Instant::now())?;
        let answer = self.ask_to_watch(uri, patience).await;
        match &answer {
            Ok(_) => slot.succeeded(),
            Err(failure) => {
                slot.failed(failure, Instant::now());
            }
        }
        answer.map(drop)
    }
}

//! Which resources of one upstream somebody has subscribed to: one subscription with the upstream,
//! however many clients want to hear of it.
//!
//! Invariants: a subscription lives as long as a [`Hold`] of it, and a moment longer; their number is
//! capped; after the upstream forgot them they are made anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::UpstreamFailure;
use super::link::Link;
use super::patience::Patience;
use crate::mcp::{Era, ReplyBody};

/// Resources of one upstream that are subscribed to at a time.
const WATCHED_MAX: usize = 1_000;
/// A subscription that nobody holds is taken back after so long: clients come and go.
const IDLE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Watch {
    holders: u32,
    /// Whether the upstream knows of it.
    sent: bool,
    idle_since: Instant,
}

/// The subscriptions with one upstream.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_uri: Mutex<BTreeMap<Arc<str>, Watch>>,
    changed: Notify,
}

/// One client's share of a subscription, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    link: Weak<Link>,
    uri: Arc<str>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.watches.release(&self.uri);
        }
    }
}

impl Watches {
    /// The URIs that are to be heard of.
    pub fn uris(&self) -> Vec<Arc<str>> {
        self.by_uri.lock().keys().cloned().collect()
    }

    /// Waits until there is something to tell the upstream.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The upstream knows none of them any more.
    pub fn forgotten(&self) {
        for watch in self.by_uri.lock().values_mut() {
            watch.sent = false;
        }
    }

    /// What the upstream does not know of yet.
    pub fn unsent(&self) -> Vec<Arc<str>> {
        let watches = self.by_uri.lock();
        watches.iter().filter(|(_, watch)| !watch.sent).map(|(uri, _)| Arc::clone(uri)).collect()
    }

    /// The upstream knows of it.
    pub fn sent(&self, uri: &str) {
        if let Some(watch) = self.by_uri.lock().get_mut(uri) {
            watch.sent = true;
        }
    }

    /// Whether the upstream knows of it.
    pub fn is_sent(&self, uri: &str) -> bool {
        self.by_uri.lock().get(uri).is_some_and(|watch| watch.sent)
    }

    /// Takes out what nobody has held for a while.
    pub fn take_idle(&self, now: Instant) -> Vec<Arc<str>> {
        let idle = |watch: &Watch| watch.holders == 0 && now.duration_since(watch.idle_since) >= IDLE_MAX;
        self.by_uri.lock().extract_if(.., |_, watch| idle(watch)).map(|(uri, _)| uri).collect()
    }

    /// Whether the upstream knows of it. Makes room for it where it does not.
    fn enter(&self, uri: &Arc<str>, holders: u32) -> Result<bool, UpstreamFailure> {
        let mut watches = self.by_uri.lock();
        let count = watches.len();
        if let Some(watch) = watches.get_mut(uri) {
            watch.holders += holders;
            watch.idle_since = Instant::now();
            return Ok(watch.sent);
        }
        if count >= WATCHED_MAX {
            return Err(UpstreamFailure::Busy { limit: u32::try_from(WATCHED_MAX).unwrap_or(u32::MAX) });
        }
        let watch = Watch { holders, sent: false, idle_since: Instant::now() };
        watches.insert(Arc::clone(uri), watch);
        Ok(false)
    }

    fn remove(&self, uri: &str) {
        self.by_uri.lock().remove(uri);
    }

    fn release(&self, uri: &str) {
        if let Some(watch) = self.by_uri.lock().get_mut(uri) {
            watch.holders = watch.holders.saturating_sub(1);
            watch.idle_since = Instant::now();
        }
    }
}

impl Link {
    /// Subscribes to a resource; the upstream's answer, or nothing where it need not be asked again.
    ///
    /// # Errors
    /// The upstream cannot be asked, or too much is subscribed to already.
    pub async fn subscribe(
        &self,
        uri: &Arc<str>,
        patience: &Patience,
    ) -> Result<Option<ReplyBody>, UpstreamFailure> {
        if self.watches.enter(uri, 0)? {
            return Ok(None);
        }
        if self.is_stateless() {
            // The stream of news is opened anew with it.
            self.watches.sent(uri);
            self.watches.changed.notify_one();
            return Ok(None);
        }
        let params = json!({ "uri": &**uri }).to_string();
        let answer = self.ask("resources/subscribe", Some(&params), patience).await;
        match &answer {
            Ok(body) if body.result().is_some() => self.watches.sent(uri),
            _ => self.watches.remove(uri),
        }
        answer.map(Some)
    }

    /// Whether the upstream is known to be of the stateless era, where a stream is the subscription.
    pub fn is_stateless(&self) -> bool {
        self.info().is_some_and(|info| info.revision.era() == Era::Stateless)
    }

    /// Holds a subscription. Where the upstream does not know of it yet, it is told soon.
    ///
    /// # Errors
    /// Too much is subscribed to already.
    pub fn hold(self: &Arc<Self>, uri: &str) -> Result<Hold, UpstreamFailure> {
        let uri = Arc::from(uri);
        if !self.watches.enter(&uri, 1)? {
            self.watches.changed.notify_one();
        }
        Ok(Hold { link: Arc::downgrade(self), uri })
    }

    /// Tells the upstream what it does not know: new subscriptions, and those that nobody holds any more.
    pub async fn settle_watches(&self, patience: &Patience) -> Result<(), UpstreamFailure> {
        for uri in self.watches.unsent() {
            self.subscribe(&uri, patience).await?;
        }
        for uri in self.watches.take_idle(Instant::now()) {
            let params = json!({ "uri": &*uri }).to_string();
            self.ask("resources/unsubscribe", Some(&params), patience).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_one_for_all_who_hold_it() {
        let watches = Watches::default();
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("x://a"), Arc::from("x://b"));
        assert_eq!(watches.enter(&a, 1), Ok(false));
        watches.sent(&a);
        assert_eq!(watches.enter(&a, 1), Ok(true));
        assert_eq!(watches.enter(&b, 1), Ok(false));
        assert_eq!(watches.unsent(), [Arc::clone(&b)]);
        watches.forgotten();
        assert_eq!(watches.unsent().len(), 2);
        watches.release(&a);
        let later = Instant::now() + IDLE_MAX;
        assert_eq!(watches.take_idle(later), [] as [Arc<str>; 0]);
        watches.release(&a);
        assert_eq!(watches.take_idle(Instant::now()), [] as [Arc<str>; 0]);
        assert_eq!(watches.take_idle(Instant::now() + IDLE_MAX), [a]);
        for n in 0..WATCHED_MAX {
            let _ = watches.enter(&Arc::from(format!("y://{n}")), 1);
        }
        assert!(matches!(watches.enter(&Arc::from("one more"), 1), Err(UpstreamFailure::Busy { .. })));
        assert_eq!(watches.uris().len(), WATCHED_MAX);
    }
}

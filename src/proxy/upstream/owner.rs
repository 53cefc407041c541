//! Prompts, resources and templates over all upstreams: what each offers, whose a URI is, and the
//! subscriptions that clients share.
//!
//! Invariants: a URI belongs to one upstream at most, the first in order where two list the same one; only
//! upstreams that the caller may use are looked at, so that none of the others can take a URI away.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::CallGuard;
use super::link::Link;
use super::news::News;
use super::offers::{self, Claim, Offered};
use super::patience::Patience;
use super::reply::{ReplyEvent, Source};
use super::watches::Hold;
use super::{Outbound, UpstreamFailure, Upstreams};
use crate::mcp::{self, Method, Primitive};
use crate::model::{OutcomeKind, ServiceKey};

/// Collisions that the status tells at most.
const COLLISIONS_MAX: usize = 100;

impl Upstreams {
    /// Where what belongs to no listener's thread runs.
    pub fn background(&self) -> &Handle {
        &self.config.background
    }

    /// What upstreams say outside of calls, from now on. A listener that falls behind learns how many it
    /// missed (`RecvError::Lagged`) and has its clients ask anew.
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// The prompts, resources or templates of one upstream: see `Link::offered`.
    ///
    /// # Errors
    /// There is no list and none can be had.
    pub async fn offered(
        &self,
        service: &ServiceKey,
        of: Primitive,
    ) -> Result<Arc<Offered>, UpstreamFailure> {
        self.find(service)?.link.offered(of).await
    }

    /// The same as it was last read, without asking anybody.
    pub fn offered_last(&self, service: &ServiceKey, of: Primitive) -> Option<Arc<Offered>> {
        self.by_service.load().get(service)?.link.offer(of).known()
    }

    /// Whose this URI is, or this text of a template: who lists it; else who has the template that says
    /// most about it; else the only one whose resources begin with the same scheme and authority, or with
    /// the same scheme. `None` where nobody, or nobody alone, can own it.
    ///
    /// Lists that were never read are read first; an upstream that does not tell its own owns nothing.
    pub async fn owner_of(&self, uri: &str, enabled: &BTreeSet<ServiceKey>) -> Option<ServiceKey> {
        let mut parts = Vec::new();
        for service in enabled {
            for of in [Primitive::Resources, Primitive::Templates] {
                let known = match self.offered_last(service, of) {
                    Some(known) => Some(known),
                    None => self.offered(service, of).await.ok(),
                };
                parts.extend(known.map(|offered| (service, offered)));
            }
        }
        owner(uri, &parts).cloned()
    }

    /// URIs and templates that several upstreams list: the first one owns each.
    pub fn collisions(&self) -> Vec<(String, Vec<ServiceKey>)> {
        let upstreams = self.by_service.load();
        let mut owners = std::collections::BTreeMap::<Arc<str>, Vec<ServiceKey>>::new();
        for (service, upstream) in upstreams.iter() {
            for of in [Primitive::Resources, Primitive::Templates] {
                let known = upstream.link.offer(of).known();
                for entry in known.iter().flat_map(|offered| &offered.entries) {
                    owners.entry(Arc::clone(&entry.name)).or_default().push(service.clone());
                }
            }
        }
        let several = owners.into_iter().filter(|(_, services)| services.len() > 1);
        several.map(|(uri, services)| (uri.to_string(), services)).take(COLLISIONS_MAX).collect()
    }

    /// Subscribes to a resource and holds that for as long as the [`Hold`] lives; nothing where the
    /// upstream has no subscriptions, or refuses this one.
    ///
    /// # Errors
    /// The upstream cannot be asked, or too much is subscribed to already.
    pub async fn watch(&self, service: &ServiceKey, uri: &str) -> Result<Option<Hold>, UpstreamFailure> {
        let link = Arc::clone(&self.find(service)?.link);
        let (uri, patience) = (Arc::from(uri), Patience::begin(&link.limits, CancellationToken::new()));
        let asked = self.config.background.spawn(async move {
            if !link.offers(&patience).await?.resources_subscribe {
                return Ok(None);
            }
            match link.subscribe(&uri, &patience).await? {
                Some(body) if body.result().is_none() => Ok(None),
                _ => link.hold(&uri).map(Some),
            }
        });
        asked.await.unwrap_or_else(|_| Err(UpstreamFailure::unreachable("the gate is stopping")))
    }

    /// Holds a subscription that the upstream has just agreed to; nothing where it did not.
    pub fn hold(&self, service: &ServiceKey, uri: &str) -> Option<Hold> {
        let link = Arc::clone(&self.find(service).ok()?.link);
        link.watches.is_sent(uri).then(|| link.hold(uri).ok()).flatten()
    }

    /// `resources/subscribe` and its opposite are not passed on one by one: the gate itself subscribes,
    /// once for all its clients. Nothing where the call is neither.
    pub(super) async fn subscription(
        &self,
        link: &Arc<Link>,
        call: &Outbound,
        guard: &mut CallGuard,
        sent: &mut bool,
    ) -> Option<Result<(u16, ReplyEvent, Source), UpstreamFailure>> {
        let id = call.call.id();
        let whole = |body| Ok((0, ReplyEvent::Json { body, kind: OutcomeKind::Result }, Source::Whole));
        match call.call.method() {
            Method::ResourcesSubscribe => {}
            // The upstream is told when the last client lets go.
            Method::ResourcesUnsubscribe => return Some(whole(mcp::reply::empty_result(id))),
            _ => return None,
        }
        let patience = Patience::begin(&call.connector.limits, guard.token());
        let (uri, of, within) = (Arc::from(call.call.name()), Arc::clone(link), patience.clone());
        *sent = true;
        let asked = self.config.background.spawn(async move {
            let subscribes = of.offers(&within).await?.resources_subscribe;
            if subscribes { of.subscribe(&uri, &within).await.map(Some) } else { Ok(None) }
        });
        let answer = match patience.wait(Instant::now(), asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(UpstreamFailure::unreachable("the gate is stopping")),
            Err(failure) => Err(failure),
        };
        Some(match answer {
            Ok(None) => {
                let body = mcp::reply::upstream_method_refused(id, call.call.method().as_str());
                Ok((0, ReplyEvent::Json { body, kind: OutcomeKind::RpcError }, Source::Whole))
            }
            Ok(Some(None)) => whole(mcp::reply::empty_result(id)),
            Ok(Some(Some(body))) => {
                guard.alive();
                let event = ReplyEvent::Json { kind: body.kind(), body: body.with_id(id) };
                Ok((0, event, Source::Whole))
            }
            Err(failure) => Err(guard.failed(failure)),
        })
    }
}

/// Whose this URI is, of these lists in their order.
fn owner<'a>(uri: &str, parts: &[(&'a ServiceKey, Arc<Offered>)]) -> Option<&'a ServiceKey> {
    let claims = parts.iter().filter_map(|(service, offered)| Some((offered.claim(uri)?, *service)));
    let mut strongest: Option<(Claim, &ServiceKey)> = None;
    for (claim, service) in claims {
        if strongest.is_none_or(|(so_far, _)| claim < so_far) {
            strongest = Some((claim, service));
        }
    }
    if let Some((_, service)) = strongest {
        return Some(service);
    }
    let only = |matches: &dyn Fn(&Offered) -> bool| {
        let mut services: Vec<&ServiceKey> =
            parts.iter().filter(|(_, offered)| matches(offered)).map(|(service, _)| *service).collect();
        services.dedup();
        match services.as_slice() {
            [service] => Some(*service),
            _ => None,
        }
    };
    let root = offers::root(uri)?;
    let scheme = uri.split(':').next().unwrap_or_default();
    only(&|offered| offered.has_root(root)).or_else(|| only(&|offered| offered.has_scheme(scheme)))
}

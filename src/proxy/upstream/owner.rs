//! Prompts, resources and templates over all upstreams: what each offers, whose a URI is, and the
//! subscriptions that clients share.
//!
//! Invariants: a URI belongs to one upstream at most, the first in order where two list the same one; only
//! upstreams that the caller may use are looked at, so that none of the others can take a URI away; while
//! the lists of one of them cannot be known, a URI that nobody lists is nobody's.

use std::collections::{BTreeMap, BTreeSet};
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
use super::watches::{Hold, Subscribed};
use super::{Outbound, Shadowed, UpstreamFailure, Upstreams};
use crate::mcp::{self, Method, Primitive};
use crate::model::{MemberId, OutcomeKind, ServiceKey};

/// Nobody can say whose a URI is: this upstream does not tell its lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOwner {
    pub service: ServiceKey,
    pub failure: UpstreamFailure,
}

/// URIs of one upstream that the status names at most.
const SHADOWED_MAX: usize = 20;

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
    /// Lists that were never read are read first, unless one that was lists the very URI.
    ///
    /// # Errors
    /// [`UnknownOwner`]: an upstream does not tell its lists, so that it may be the one.
    pub async fn owner_of(
        &self,
        uri: &str,
        enabled: &BTreeSet<ServiceKey>,
    ) -> Result<Option<ServiceKey>, UnknownOwner> {
        let lists = enabled.iter().flat_map(|service| {
            [Primitive::Resources, Primitive::Templates]
                .map(|of| (service, of, self.offered_last(service, of)))
        });
        let lists: Vec<_> = lists.filter(|(service, ..)| !self.is_left_out(service)).collect();
        let known = |(service, _, known): &(_, _, Option<Arc<Offered>>)| Some((*service, known.clone()?));
        let parts: Vec<_> = lists.iter().filter_map(known).collect();
        let lists_it = |(_, offered): &&(_, Arc<Offered>)| offered.claim(uri) == Some(Claim::Exact);
        if let Some((service, _)) = parts.iter().find(lists_it) {
            return Ok(Some((*service).clone()));
        }
        if parts.len() == lists.len() {
            return Ok(owner(uri, &parts).cloned());
        }
        let read = lists.iter().map(|(service, of, known)| async move {
            match known {
                Some(known) => Ok((*service, Arc::clone(known))),
                None => self
                    .offered(service, *of)
                    .await
                    .map(|offered| (*service, offered))
                    .map_err(|failure| UnknownOwner { service: (*service).clone(), failure }),
            }
        });
        let read: Vec<_> = futures_util::future::join_all(read).await;
        let parts: Vec<_> = read.iter().filter_map(|read| read.as_ref().ok()).cloned().collect();
        if let Some((service, _)) = parts.iter().find(lists_it) {
            return Ok(Some((*service).clone()));
        }
        match read.into_iter().find_map(Result::err) {
            Some(unknown) => Err(unknown),
            None => Ok(owner(uri, &parts).cloned()),
        }
    }

    /// Whether an upstream is left out because its program is not here, as its file allows.
    fn is_left_out(&self, service: &ServiceKey) -> bool {
        self.by_service.load().get(service).is_none_or(|upstream| upstream.link.is_skipped())
    }

    /// URIs and templates that an upstream lists and that belong to another, by the upstream that they do
    /// not belong to.
    pub(super) fn shadowed(&self) -> BTreeMap<ServiceKey, Vec<Shadowed>> {
        let upstreams = self.by_service.load();
        let mut owners = BTreeMap::<Arc<str>, ServiceKey>::new();
        let mut shadowed = BTreeMap::<ServiceKey, Vec<Shadowed>>::new();
        for (service, upstream) in upstreams.iter() {
            for of in [Primitive::Resources, Primitive::Templates] {
                let known = upstream.link.offer(of).known();
                for entry in known.iter().flat_map(|offered| &offered.entries) {
                    let owner = owners.entry(Arc::clone(&entry.name)).or_insert_with(|| service.clone());
                    let of_service = shadowed.entry(service.clone()).or_default();
                    if owner != service && of_service.len() < SHADOWED_MAX {
                        of_service.push(Shadowed { uri: entry.name.to_string(), owner: owner.clone() });
                    }
                }
            }
        }
        shadowed
    }

    /// Subscribes to a resource and holds that for as long as the [`Hold`] lives; nothing where the
    /// upstream has no subscriptions, or refuses this one.
    ///
    /// # Errors
    /// The upstream cannot be asked, or too much is subscribed to already.
    pub async fn watch(
        &self,
        service: &ServiceKey,
        uri: &str,
        member: MemberId,
    ) -> Result<Option<Hold>, UpstreamFailure> {
        let link = Arc::clone(&self.find(service)?.link);
        let (uri, patience) = (Arc::from(uri), Patience::begin(&link.limits, CancellationToken::new()));
        let mut slot = link.gate.look(std::time::Instant::now())?;
        let asked = self.config.background.spawn(async move {
            let asked = async {
                if !link.offers(&patience).await?.resources_subscribe {
                    return Ok(None);
                }
                match link.subscribe(&uri, member, &patience).await? {
                    Subscribed::Refused(_) => Ok(None),
                    Subscribed::Answer(body) if body.result().is_none() => Ok(None),
                    Subscribed::Answer(_) | Subscribed::Known => link.hold(&uri, member),
                }
            };
            let watched = asked.await;
            match &watched {
                Ok(_) => slot.succeeded(),
                Err(failure) => {
                    slot.failed(failure, std::time::Instant::now());
                }
            }
            watched
        });
        asked.await.unwrap_or_else(|_| Err(UpstreamFailure::unreachable("the gate is stopping")))
    }

    /// Holds a subscription that the upstream has just agreed to; nothing where it did not.
    pub fn hold(&self, service: &ServiceKey, uri: &str, member: MemberId) -> Option<Hold> {
        let link = Arc::clone(&self.find(service).ok()?.link);
        link.hold(uri, member).ok().flatten()
    }

    /// `resources/subscribe` and its opposite are not passed on one by one: the gate itself subscribes,
    /// once for all its clients.
    pub(super) async fn subscription(
        &self,
        link: &Arc<Link>,
        call: &Outbound,
        mut guard: CallGuard,
        sent: &mut bool,
    ) -> Result<(u16, ReplyEvent, Source), UpstreamFailure> {
        let id = call.call.id();
        let whole = |body| Ok((0, ReplyEvent::Json { body, kind: OutcomeKind::Result }, Source::Whole));
        if call.call.method() == Method::ResourcesUnsubscribe {
            // The upstream is told when the last client lets go.
            return whole(mcp::reply::empty_result(id));
        }
        let patience = Patience::begin(&call.connector.limits, guard.token());
        let (uri, of, within) = (Arc::from(call.call.name()), Arc::clone(link), patience.clone());
        let member = call.caller.member.id;
        *sent = true;
        let asked = self.config.background.spawn(async move {
            let subscribes = of.offers(&within).await?.resources_subscribe;
            if subscribes { of.subscribe(&uri, member, &within).await.map(Some) } else { Ok(None) }
        });
        let answer = match patience.wait(Instant::now(), asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(UpstreamFailure::unreachable("the gate is stopping")),
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(None) => {
                let body = mcp::reply::upstream_method_refused(id, call.call.method().as_str());
                Ok((0, ReplyEvent::Json { body, kind: OutcomeKind::RpcError }, Source::Whole))
            }
            Ok(Some(Subscribed::Known)) => whole(mcp::reply::empty_result(id)),
            Ok(Some(Subscribed::Refused(why))) => {
                let why = format!("the service refuses the subscription: {why}");
                let body = mcp::reply::call_failed(id, &why);
                Ok((0, ReplyEvent::Json { body, kind: OutcomeKind::RpcError }, Source::Whole))
            }
            Ok(Some(Subscribed::Answer(body))) => {
                guard.alive();
                let event = ReplyEvent::Json { kind: body.kind(), body: body.with_id(id) };
                Ok((0, event, Source::Whole))
            }
            Err(failure) => Err(guard.failed(failure)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::catalog::Entry;

    fn offered(of: Primitive, names: &[&str]) -> Arc<Offered> {
        let entry = |name: &&str| Entry { name: Arc::from(*name), raw: Arc::from("{}") };
        Arc::new(Offered::of_entries(of, names.iter().map(entry).collect()))
    }

    #[test]
    fn a_uri_belongs_to_whoever_says_most_about_it() {
        let keys = ["alpha", "beta", "gamma"].map(|name| ServiceKey::parse(name).unwrap());
        let [alpha, beta, gamma] = &keys;
        let parts = [
            (alpha, offered(Primitive::Resources, &["x://both", "only://a/1"])),
            (alpha, offered(Primitive::Templates, &["x://{+all}", "db://host/{table}"])),
            (beta, offered(Primitive::Resources, &["x://both", "x://listed", "db://host/t"])),
            (beta, offered(Primitive::Templates, &["x://item/{id}"])),
            (gamma, offered(Primitive::Resources, &["mem://m", "only://c/1"])),
        ];
        for (uri, expect) in [
            ("x://both", Some("alpha")),
            ("x://listed", Some("beta")),
            ("x://item/7", Some("beta")),
            ("x://item/7/8", Some("alpha")),
            ("x://{+all}", Some("alpha")),
            ("db://host/t", Some("beta")),
            ("db://host/u", Some("alpha")),
            ("mem://m/deeper", Some("gamma")),
            ("mem://other", Some("gamma")),
            ("only://a/2", Some("alpha")),
            ("only://b/2", None),
            ("nowhere://x", None),
            ("no uri", None),
        ] {
            assert_eq!(owner(uri, &parts).map(ServiceKey::as_str), expect, "{uri}");
        }
    }
}

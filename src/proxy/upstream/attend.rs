//! Attends to what one upstream says without being asked: keeps a stream open where it has one, and its
//! subscriptions alive.
//!
//! Invariants: nothing here concerns calls, and no call waits for it; it begins once the upstream was met;
//! after a break it goes on with growing pauses, and says that something may have been missed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use super::http::{HttpLink, Unasked};
use super::link::{Link, Way};
use super::news::{self, NewsKind};
use super::patience::Patience;
use super::stdio::{Awaited, StdioLink};
use crate::connector::Limits;
use crate::mcp::{self, Era, Primitive, Told};

/// The pauses between attempts.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often subscriptions that nobody holds are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A server that has no such stream is asked again after this: it may be another one by then.
const NONE_FOR: Duration = Duration::from_secs(600);
/// A stream that says nothing for so long is opened anew, in milliseconds: the other end may be gone.
const SILENCE_MS_MAX: u32 = 15 * 60 * 1_000;
/// The whole life of one stream, in milliseconds.
const STREAM_MS_MAX: u32 = 24 * 3_600 * 1_000;

/// Why a stream is no longer heard.
enum Ended {
    /// The server has none.
    None,
    /// It is to be opened anew at once: another session, or other subscriptions.
    Renew,
    Broken(UpstreamFailure),
}

/// Attends to an upstream until its link is closed.
pub(super) async fn attend(link: Weak<Link>, closed: CancellationToken) {
    let attended = async {
        let Some(met) = link.upgrade().map(|link| Arc::clone(&link.met)) else { return };
        met.notified().await;
        let mut pause = PAUSE_MIN;
        while let Some(link) = link.upgrade() {
            let began = Instant::now();
            let ended = match &link.way {
                Way::Http(http) => hear_http(&link, http).await,
                Way::Stdio(child) => attend_child(&link, child).await,
                Way::InProcess(_) | Way::Unusable(_) => return,
            };
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            match ended {
                Ended::None => wait_for_renewal(&link).await,
                Ended::Renew => {}
                Ended::Broken(failure) => {
                    tracing::debug!(service = %link.service, %failure, "news are not heard for a while");
                    drop(link);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    };
    tokio::select! {
        () = attended => {}
        () = closed.cancelled() => {}
    }
}

async fn wait_for_renewal(link: &Link) {
    tokio::select! {
        () = link.changed.renewed() => link.watches.forgotten(),
        () = link.watches.changed() => {}
        () = sleep(NONE_FOR) => {}
    }
}

/// A child says what it has to say on its one output: only its subscriptions need care, and in the
/// stateless era the request that it says it all to.
async fn attend_child(link: &Link, child: &StdioLink) -> Ended {
    loop {
        let mut listening = match listen_to_child(link, child).await {
            Ok(listening) => listening,
            Err(failure) => return Ended::Broken(failure),
        };
        if let Some(ended) = until_due(link, &mut listening).await {
            return ended;
        }
        if let Some((_, id)) = listening {
            child.cancel(id, None);
        }
    }
}

/// Waits until the child is to be told something else.
async fn until_due(link: &Link, listening: &mut Option<(Awaited, u64)>) -> Option<Ended> {
    loop {
        let is_listening = listening.is_some();
        let ended = async {
            match listening {
                // Its answer, which is its end; what it says comes the common way.
                Some((awaited, _)) => drop(awaited.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = link.changed.renewed() => {
                link.watches.forgotten();
                return None;
            }
            () = link.watches.changed() => return None,
            () = ended => {
                return Some(Ended::Broken(UpstreamFailure::broken("it ended the stream of its news")));
            }
            () = sleep(LOOK_EVERY) => {
                if !is_listening || !link.watches.take_idle(std::time::Instant::now()).is_empty() {
                    return None;
                }
            }
        }
    }
}

/// In the session era subscribes to what is due; in the stateless era asks to be told everything.
async fn listen_to_child(link: &Link, child: &StdioLink) -> Result<Option<(Awaited, u64)>, UpstreamFailure> {
    let patience = briefly(link);
    let upstream = child.upstream(&patience).await?;
    let revision = upstream.revision;
    if revision.era() == Era::Session {
        link.settle_watches(&patience).await?;
        return Ok(None);
    }
    link.watches.take_idle(std::time::Instant::now());
    let Some(params) = news::filter(&upstream.offers, &link.watches.uris()) else { return Ok(None) };
    let id = child.next_id();
    let line = mcp::reply::upstream_request(id, "subscriptions/listen", Some(&params), revision);
    Ok(Some((child.put(&patience, id, line, false).await?, id)))
}

async fn hear_http(link: &Link, http: &Arc<HttpLink>) -> Ended {
    let mut unasked = match http.open_unasked(&link.watches.uris(), &briefly(link)).await {
        Ok(Some(unasked)) => unasked,
        Ok(None) => return Ended::None,
        Err(failure) => return Ended::Broken(failure),
    };
    if unasked.again {
        missed(link);
    }
    let patience = Patience::begin(
        &Limits { silence_ms_max: SILENCE_MS_MAX, call_ms_max: STREAM_MS_MAX, ..link.limits },
        CancellationToken::new(),
    );
    loop {
        if unasked.subscribes {
            if !link.watches.take_idle(std::time::Instant::now()).is_empty() {
                return Ended::Renew;
            }
        } else if let Err(failure) = link.settle_watches(&briefly(link)).await {
            return Ended::Broken(failure);
        }
        if let Some(ended) = hear_until_due(link, http, &mut unasked, &patience).await {
            return ended;
        }
    }
}

/// Hears news until something is to be told to the upstream.
async fn hear_until_due(
    link: &Link,
    http: &Arc<HttpLink>,
    unasked: &mut Unasked,
    patience: &Patience,
) -> Option<Ended> {
    let due = Instant::now() + LOOK_EVERY;
    loop {
        tokio::select! {
            biased;
            () = link.changed.renewed() => {
                link.watches.forgotten();
                return Some(Ended::Renew);
            }
            // In the stateless era the stream itself is the subscription.
            () = link.watches.changed() => return unasked.subscribes.then_some(Ended::Renew),
            () = tokio::time::sleep_until(due) => return None,
            heard = unasked.hear(http, patience) => match heard {
                Ok(()) => {}
                Err(UpstreamFailure::Silent { .. } | UpstreamFailure::Expired { .. }) => {
                    return Some(Ended::Renew);
                }
                Err(failure) => return Some(Ended::Broken(failure)),
            },
        }
    }
}

/// Nobody listened for a while: lists and resources may be others now. Tools are read again by their own
/// clock, since calls wait for them.
fn missed(link: &Link) {
    for of in [Primitive::Prompts, Primitive::Resources] {
        link.changed.hear(Told::list_changed(of).method(), "{}");
    }
    for uri in link.watches.uris() {
        let told = Arc::new(Told::updated(&uri));
        link.changed.tell(NewsKind::ResourceUpdated { uri, told });
    }
}

fn briefly(link: &Link) -> Patience {
    Patience::begin(&link.limits, CancellationToken::new())
}

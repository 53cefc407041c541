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
use super::news::NewsKind;
use super::patience::Patience;
use crate::connector::Limits;
use crate::mcp::{Primitive, Told};

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
                Way::Stdio(_) => attend_child(&link).await,
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
        () = sleep(NONE_FOR) => {}
    }
}

/// A child says what it has to say on its one output; only its subscriptions need care.
async fn attend_child(link: &Link) -> Ended {
    loop {
        if let Err(failure) = link.settle_watches(&briefly(link)).await {
            return Ended::Broken(failure);
        }
        tokio::select! {
            () = link.changed.renewed() => link.watches.forgotten(),
            () = link.watches.changed() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
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
        if !unasked.subscribes
            && let Err(failure) = link.settle_watches(&briefly(link)).await
        {
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
            () = link.watches.changed() => {
                // In the stateless era the stream itself is the subscription.
                return unasked.subscribes.then_some(Ended::Renew);
            }
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

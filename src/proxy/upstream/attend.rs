//! Attends to what one upstream says without being asked: keeps its streams open where it has them, and its
//! subscriptions alive.
//!
//! Invariants: nothing here concerns calls, and no call waits for it; it begins once the upstream was met;
//! a subscription that fails takes down neither the news of the lists nor another subscription; after a
//! break, and only then, it says that something may have been missed.

mod listening;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use super::http::{HttpLink, Opened, Said, Unasked};
use super::link::{Link, Way};
use super::news::NewsKind;
use super::patience::Patience;
use crate::connector::Limits;
use crate::mcp::{Era, Primitive, Told};

/// The pauses between attempts.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked for subscriptions that nobody holds, and for those that are to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Subscriptions that come together are told together: so long is waited for the next one.
const GATHER: Duration = Duration::from_millis(50);
/// A server that has no such stream, or refuses it, is asked again after this: it may be another by then.
const NONE_FOR: Duration = Duration::from_secs(600);
/// A stream that says nothing for so long is opened anew, in milliseconds: the other end may be gone.
const SILENCE_MS_MAX: u32 = 15 * 60 * 1_000;
/// The whole life of one stream, in milliseconds.
const STREAM_MS_MAX: u32 = 24 * 3_600 * 1_000;

/// Why the news are no longer heard in this way.
enum Ended {
    /// To be begun anew at once.
    Renew,
    Broken(UpstreamFailure),
}

/// Attends to an upstream until its link is closed.
pub(super) async fn attend(link: Weak<Link>, closed: CancellationToken) {
    let attended = async {
        let Some(met) = link.upgrade().map(|link| Arc::clone(&link.met)) else { return };
        met.notified().await;
        let mut pause = PAUSE_MIN;
        // Whether the upstream was heard before, and then for a while not.
        let mut missed = false;
        while let Some(link) = link.upgrade() {
            if matches!(link.way, Way::InProcess(_) | Way::Unusable(_)) {
                return;
            }
            let began = Instant::now();
            let ended = hear(&link, &mut missed).await;
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            if let Ended::Broken(failure) = ended {
                tracing::debug!(service = %link.service, %failure, "news are not heard for a while");
                drop(link);
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    };
    tokio::select! {
        () = attended => {}
        () = closed.cancelled() => {}
    }
}

/// Hears the upstream in its own era.
async fn hear(link: &Link, missed: &mut bool) -> Ended {
    let upstream = match link.upstream(&briefly(link)).await {
        Ok(upstream) => upstream,
        Err(failure) => return Ended::Broken(failure),
    };
    if upstream.revision.era() == Era::Stateless {
        return listening::listen(link, &upstream.offers, missed).await;
    }
    let http = match &link.way {
        Way::Http(http) => http,
        // A child says what it has to say on its one output: only its subscriptions need care.
        Way::Stdio(_) | Way::InProcess(_) | Way::Unusable(_) => return in_session(link, None, missed).await,
    };
    match http.open_unasked(&briefly(link)).await {
        Ok(Opened::Stream(stream)) => in_session(link, Some((http, stream)), missed).await,
        Ok(Opened::None | Opened::Refused(_)) => in_session(link, None, missed).await,
        Ok(Opened::OtherEra) => Ended::Broken(UpstreamFailure::broken("it is of the other era now")),
        Err(failure) => Ended::Broken(failure),
    }
}

/// In the session era: hears the one stream, where there is one, and tells the upstream what is subscribed
/// to.
async fn in_session(
    link: &Link,
    mut stream: Option<(&Arc<HttpLink>, Box<Unasked>)>,
    missed: &mut bool,
) -> Ended {
    let again = Instant::now() + NONE_FOR;
    let patience = of_stream(link);
    loop {
        link.settle_watches(&briefly(link)).await;
        if std::mem::take(missed) {
            tell_missed(link);
        }
        let ended = tokio::select! {
            biased;
            () = link.changed.renewed() => Some(Ended::Renew),
            ended = hear_until_ended(&mut stream, &patience) => Some(ended),
            () = told_more(link) => None,
            () = sleep(LOOK_EVERY) => None,
            () = sleep_until(again), if stream.is_none() && matches!(link.way, Way::Http(_)) => {
                return Ended::Renew;
            }
        };
        if let Some(ended) = ended {
            if matches!(ended, Ended::Renew) {
                link.watches.forgotten();
            }
            *missed = true;
            return ended;
        }
    }
}

/// Waits until there is something to tell the upstream, and a moment longer.
async fn told_more(link: &Link) {
    link.watches.changed().await;
    sleep(GATHER).await;
}

/// Hears a stream until it ends; for ever where there is none. May be dropped: nothing is lost.
async fn hear_until_ended(stream: &mut Option<(&Arc<HttpLink>, Box<Unasked>)>, patience: &Patience) -> Ended {
    let Some((http, stream)) = stream else { return std::future::pending().await };
    loop {
        match stream.hear(http, patience).await {
            Ok(Said::News) => {}
            Ok(Said::Answer(_)) => {
                return Ended::Broken(UpstreamFailure::broken("it ended the stream of its news"));
            }
            Err(failure) => return Ended::Broken(failure),
        }
    }
}

/// Nobody listened for a while: lists and resources may be others now.
fn tell_missed(link: &Link) {
    tell_missed_lists(link);
    tell_missed_resources(link, link.watches.wanted(std::time::Instant::now()));
}

/// Tools are read again by their own clock, since calls wait for them.
fn tell_missed_lists(link: &Link) {
    for of in [Primitive::Prompts, Primitive::Resources] {
        link.changed.hear(Told::list_changed(of).method(), "{}");
    }
}

fn tell_missed_resources(link: &Link, uris: impl IntoIterator<Item = Arc<str>>) {
    for uri in uris {
        let told = Arc::new(Told::updated(&uri));
        link.changed.tell(NewsKind::ResourceUpdated { uri, told });
    }
}

fn briefly(link: &Link) -> Patience {
    Patience::begin(&link.limits, CancellationToken::new())
}

fn of_stream(link: &Link) -> Patience {
    let limits = Limits { silence_ms_max: SILENCE_MS_MAX, call_ms_max: STREAM_MS_MAX, ..link.limits };
    Patience::begin(&limits, CancellationToken::new())
}

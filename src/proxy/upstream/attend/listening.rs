//! The streams of one upstream of the stateless era: one for the changes of its lists, others for the
//! resources that are subscribed to (MCP 2026-07-28, subscriptions).
//!
//! Invariants: what becomes of one stream concerns no other; the stream of the lists names no resource; a
//! resource that the upstream refuses is said to be unheard, not dropped; a stream is asked for again only
//! after a pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Ended, GATHER, LOOK_EVERY, NONE_FOR, PAUSE_MAX, PAUSE_MIN, briefly, of_stream};
use super::{tell_missed_lists, tell_missed_resources};
use crate::mcp::envelope::Offers;
use crate::mcp::{self, FromUpstream, Revision};
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::http::{HttpLink, Opened, Said, refusal_of};
use crate::proxy::upstream::link::{Link, Way};
use crate::proxy::upstream::news::{self, Acknowledged, OfStream};
use crate::proxy::upstream::parts::Parts;
use crate::proxy::upstream::stdio::StdioLink;

const LISTEN: &str = "subscriptions/listen";

/// How a stream ended.
enum Over {
    /// The upstream has no such stream.
    None,
    Refused(String),
    /// It is of the other era now.
    OtherEra,
    Broken(UpstreamFailure),
    /// Nobody wants it any more.
    Closed,
}

/// The stream of the changes of lists.
struct Lists {
    params: String,
    /// The request, while it is open.
    open: Option<u64>,
    next: Instant,
    pause: Duration,
    missed: bool,
}

struct Listening<'l> {
    link: &'l Link,
    lists: Option<Lists>,
    parts: Parts,
    streams: FuturesUnordered<BoxFuture<'l, (u64, Over)>>,
    /// By which a stream is closed.
    stops: HashMap<u64, CancellationToken>,
    settles_at: Instant,
}

/// Listens until the upstream is another one; `missed` says whether it was heard before.
pub(super) async fn listen(link: &Link, offers: &Offers, missed: &mut bool) -> Ended {
    let again = std::mem::replace(missed, true);
    let now = Instant::now();
    let lists = news::lists_filter(offers).map(|params| Lists {
        params,
        open: None,
        next: now,
        pause: PAUSE_MIN,
        missed: again,
    });
    link.changed.forget_streams();
    let (parts, streams, stops) = (Parts::new(), FuturesUnordered::new(), HashMap::new());
    let mut listening = Listening { link, lists, parts, streams, stops, settles_at: now };
    listening.settle(again, now);
    loop {
        listening.begin(Instant::now());
        let wakes = listening.wakes();
        let ended = tokio::select! {
            biased;
            () = link.changed.renewed() => Some(Ended::Renew),
            Some((id, over)) = listening.streams.next() => {
                // What it said before it ended may have come with its end.
                if let Some(mut said) = link.changed.of_streams().now_or_never() {
                    // How it ended is said by its end.
                    said.retain(|said| !matches!(said, OfStream::TornDown(torn) if *torn == id));
                    listening.said(&said);
                }
                listening.over(id, over, Instant::now())
            }
            said = link.changed.of_streams() => {
                listening.said(&said);
                None
            }
            () = link.watches.changed() => {
                let soon = Instant::now() + GATHER;
                listening.settles_at = listening.settles_at.min(soon);
                None
            }
            () = sleep_until(wakes) => {
                listening.look(Instant::now());
                None
            }
        };
        if let Some(ended) = ended {
            link.watches.forgotten();
            return ended;
        }
    }
}

impl<'l> Listening<'l> {
    /// When there may be something to do.
    fn wakes(&self) -> Instant {
        let lists = self.lists.as_ref().filter(|lists| lists.open.is_none()).map(|lists| lists.next);
        [lists, self.parts.wakes()].into_iter().flatten().fold(self.settles_at, Instant::min)
    }

    fn look(&mut self, now: Instant) {
        for id in self.parts.taken(now) {
            self.opened(id, None);
        }
        if self.settles_at <= now {
            self.settle(false, now);
            for uri in self.parts.left_out() {
                self.refuse(&uri, "it takes too few resources in one `subscriptions/listen`");
            }
        }
    }

    /// Compares what is wanted with what is asked for.
    fn settle(&mut self, missed: bool, now: Instant) {
        self.settles_at = now + LOOK_EVERY;
        let clock = std::time::Instant::now();
        self.link.watches.take_idle(clock);
        for id in self.parts.settle(&self.link.watches.wanted(clock), missed, now) {
            self.close(id);
        }
    }

    /// Asks for what is due.
    fn begin(&mut self, now: Instant) {
        let id = next_id(self.link);
        if let Some(lists) = &mut self.lists
            && lists.open.is_none()
            && lists.next <= now
        {
            lists.open = Some(id);
            let params = lists.params.clone();
            self.open(id, params);
        }
        loop {
            let id = next_id(self.link);
            let Some(uris) = self.parts.next(id, now) else { return };
            self.open(id, news::resources_filter(&uris));
        }
    }

    fn open(&mut self, id: u64, params: String) {
        let (link, stop) = (self.link, CancellationToken::new());
        self.stops.insert(id, stop.clone());
        self.streams.push(Box::pin(async move { (id, hear(link, id, &params, stop).await) }));
    }

    fn close(&mut self, id: u64) {
        if let Some(stop) = self.stops.remove(&id) {
            stop.cancel();
        }
    }

    /// What was said of streams, in its order.
    fn said(&mut self, said: &[OfStream]) {
        for said in said {
            match said {
                OfStream::Acknowledged(Acknowledged { id, uris }) => self.opened(*id, Some(uris)),
                OfStream::TornDown(id) => self.torn_down(*id),
            }
        }
    }

    /// A request was acknowledged, or not refused for a while.
    fn opened(&mut self, id: u64, honoured: Option<&[String]>) {
        if let Some(lists) = &mut self.lists
            && lists.open == Some(id)
        {
            lists.pause = PAUSE_MIN;
            if std::mem::take(&mut lists.missed) {
                tell_missed_lists(self.link);
            }
            return;
        }
        let (opened, left_out) = self.parts.opened(id, honoured);
        for id in opened.close {
            self.close(id);
        }
        for uri in &opened.heard {
            self.link.heard_of(uri);
        }
        for uri in left_out {
            self.refuse(&uri, "it does not honour it");
        }
        tell_missed_resources(self.link, opened.missed);
    }

    fn refuse(&self, uri: &str, why: &str) {
        self.link.refused_to_tell(uri, why);
    }

    /// The upstream tears down a stream without answering it, as it must over stdio: it is asked for again
    /// like one that broke.
    fn torn_down(&mut self, id: u64) {
        if self.stops.contains_key(&id) {
            self.close(id);
            let _ends_all = self.over(id, Over::Broken(in_order()), Instant::now());
        }
    }

    /// A stream ended: what becomes of it, or of all of them.
    fn over(&mut self, id: u64, over: Over, now: Instant) -> Option<Ended> {
        self.stops.remove(&id);
        if matches!(over, Over::OtherEra) {
            return Some(Ended::Broken(UpstreamFailure::broken("it is of the other era now")));
        }
        match self.lists.as_mut().filter(|lists| lists.open == Some(id)) {
            Some(lists) => lists.over(over, self.link, now),
            None => self.part_over(id, over, now),
        }
        None
    }

    fn part_over(&mut self, id: u64, over: Over, now: Instant) {
        let refused = match over {
            Over::OtherEra | Over::Closed => None,
            Over::Broken(failure) => {
                let was_reached = matches!(failure, UpstreamFailure::Broken { .. });
                self.parts.broken(id, was_reached, now).map(|uri| (uri, failure.to_string()))
            }
            Over::Refused(why) => self.parts.refused(id, now).map(|uri| (uri, why)),
            Over::None => {
                // It would say so of each one.
                for uri in self.parts.given_up(id) {
                    self.refuse(&uri, "it has no `subscriptions/listen`");
                }
                None
            }
        };
        if let Some((uri, why)) = refused {
            self.refuse(&uri, &why);
        }
    }
}

impl Lists {
    fn over(&mut self, over: Over, link: &Link, now: Instant) {
        self.open = None;
        self.missed = true;
        let (pause, why) = match over {
            Over::Broken(failure) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(PAUSE_MAX);
                (pause, failure.to_string())
            }
            Over::Refused(why) => (NONE_FOR, why),
            Over::None | Over::Closed | Over::OtherEra => (NONE_FOR, "it has no such stream".to_owned()),
        };
        self.next = now + pause;
        tracing::debug!(service = %link.service, why, pause_s = pause.as_secs(), "changes of lists are not heard");
    }
}

fn next_id(link: &Link) -> u64 {
    match &link.way {
        Way::Http(http) => http.listen_id(),
        Way::Stdio(child) => child.next_id(),
        Way::InProcess(_) | Way::Unusable(_) => 0,
    }
}

/// One stream, from its request to its end.
async fn hear(link: &Link, id: u64, params: &str, stop: CancellationToken) -> Over {
    let heard = async {
        let heard = match &link.way {
            Way::Http(http) => hear_http(link, http, id, params).await,
            Way::Stdio(child) => hear_child(link, child, id, params).await,
            Way::InProcess(_) | Way::Unusable(_) => Ok(Over::None),
        };
        heard.unwrap_or_else(Over::Broken)
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Over::Closed,
        over = heard => over,
    }
}

impl From<Opened> for Over {
    fn from(opened: Opened) -> Self {
        match opened {
            Opened::Stream(_) | Opened::None => Self::None,
            Opened::Refused(why) => Self::Refused(why),
            Opened::OtherEra => Self::OtherEra,
        }
    }
}

async fn hear_http(
    link: &Link,
    http: &Arc<HttpLink>,
    id: u64,
    params: &str,
) -> Result<Over, UpstreamFailure> {
    let mut stream = match http.open_listen(id, params, &briefly(link)).await? {
        Opened::Stream(stream) => stream,
        opened => return Ok(opened.into()),
    };
    let patience = of_stream(link);
    loop {
        match stream.hear(http, &patience).await? {
            Said::News => {}
            Said::Answer(body) if body.result().is_some() => return Err(in_order()),
            Said::Answer(body) => return Ok(refusal_of(&body).into()),
        }
    }
}

/// A request to a child that is told when nobody waits for it any more.
struct Told<'c> {
    child: &'c StdioLink,
    id: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.child.cancel(self.id, None);
    }
}

async fn hear_child(link: &Link, child: &StdioLink, id: u64, params: &str) -> Result<Over, UpstreamFailure> {
    let revision = child.info().map_or(Revision::NEWEST, |info| info.revision);
    let line = mcp::reply::upstream_request(id, LISTEN, Some(params), revision);
    let mut awaited = child.put(&briefly(link), id, line, false).await?;
    // What it says comes the common way; its answer is its end.
    let _told = Told { child, id };
    match awaited.next().await? {
        FromUpstream::Response { body, .. } if body.result().is_some() => Err(in_order()),
        FromUpstream::Response { body, .. } => Ok(refusal_of(&body).into()),
        _ => Err(UpstreamFailure::broken("its answer is no response")),
    }
}

fn in_order() -> UpstreamFailure {
    UpstreamFailure::broken("it ended the stream of its news")
}

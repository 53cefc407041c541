//! `GET /api/audit/live`: calls as the index takes them in, as server-sent events.
//!
//! Invariants: one reader of the database serves all who watch ([`feed`]), woken by the index; who watches is
//! asked again every [`ASKED_EVERY`], so that whoever lost the right hears no more; an account has
//! [`PER_ACCOUNT_MAX`] feeds and all together [`feed::FEEDS_MAX`]; who reads too slowly is told what was left
//! out, never shown a feed that looks whole.

mod feed;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::feed::{Arrived, Feed, Watching};
use super::asker::Asker;
use super::entry::AuditEntry;
use super::lasting::{self, Sender};
use super::question::LiveQuery;
use crate::control::api::ApiState;
use crate::control::api::access::{Signed, need};
use crate::control::api::extract::Query;
use crate::control::api::problem::{Problem, Refusals};
use crate::store::{AuditCursor, AuditFilter};

/// The credential and the sight are read anew so often.
const ASKED_EVERY: Duration = Duration::from_millis(700);
/// A comment keeps the connection open where nothing happens, once in so many of those. Nothing else tells
/// that a client went away: its side may be closed while it still reads.
const COMMENT_EVERY: u32 = 5;
/// Feeds that one account may have open.
const PER_ACCOUNT_MAX: usize = 4;
/// Entries that a feed catches up with by itself; what is more is a gap.
const CAUGHT_UP_MAX: u32 = 500;

/// Live feed
///
/// Server-sent events: `event: entry` for each call that the filters let through, as soon as it is in the
/// audit's index; its data is an entry as `GET /api/audit` lists them, its id a cursor. `Last-Event-ID` goes on
/// behind that entry. `event: gap` says that entries were left out (`missed`, where it is known) and from which
/// cursor on (`after`): `GET /api/audit?after=…` has them. Where several gates share a database, a feed that
/// goes on may repeat entries: their `id` tells them apart.
///
/// An entry comes when the call is decided; how it ended (`outcome`, `durationMs`) may be known only later. The
/// feed ends within a second when the right to it does.
#[utoipa::path(
    get, path = "/api/audit/live", operation_id = "watchAudit", tag = "Audit",
    params(LiveQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard")),
    responses(
        (status = 200, description = "Events, until one side ends them", body = String, content_type = "text/event-stream",
         example = ": the feed begins\n\nevent: entry\nid: AAABl2R24xgAAAAAAAAAKgAAAAAAAAAH\ndata: {\"id\": \"0197646e-7f18-7c3e-9a41-0e8f6b2d7c11\", \"decision\": \"DENY\"}\n\n"),
        Refusals,
    ),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn watch_audit(
    State(state): State<ApiState>,
    Extension(feed): Extension<Arc<Feed>>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let asker = Asker::new(state, signed.caller);
    let filter = query.filter(asker.sight().await?)?;
    let last = last_heard(&headers)?;
    let watching = feed.watch(asker.state(), asker.caller().account.id, PER_ACCOUNT_MAX).await?;
    let (sender, body) = lasting::body();
    tokio::spawn(async move {
        let mut watch = Watch { asker, filter, sender, told: HashSet::new() };
        // An error is the end of the answer: the client comes again with `Last-Event-ID`.
        let _ended = watch.run(watching, last).await;
    });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_heard(headers: &HeaderMap) -> Result<Option<AuditCursor>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
    let refused = || Problem::field("header.Last-Event-ID", "the id of an event of this feed is expected");
    cursor.map(Some).ok_or_else(refused)
}

/// The feed has ended: nobody reads, or nobody may.
struct Ended;

struct Watch {
    asker: Asker,
    filter: AuditFilter,
    sender: Sender,
    /// Arrival numbers that catching up has told.
    told: HashSet<i64>,
}

impl Watch {
    async fn run(&mut self, mut watching: Watching, last: Option<AuditCursor>) -> Result<(), Ended> {
        self.say(": the feed begins\n\n".to_owned()).await?;
        if let Some(last) = last {
            self.catch_up(last).await?;
        }
        let mut ask = tokio::time::interval(ASKED_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut asked, mut last) = (0u32, last);
        loop {
            tokio::select! {
                biased;
                _ = ask.tick() => {
                    self.filter.sight = self.asker.sight().await.map_err(|_| Ended)?;
                    asked = asked.wrapping_add(1);
                    if asked.is_multiple_of(COMMENT_EVERY) {
                        // What is not told twice by now is not any more.
                        self.told.clear();
                        self.say(": still here\n\n".to_owned()).await?;
                    }
                    if self.sender.is_closed() {
                        return Err(Ended);
                    }
                }
                arrived = watching.arrived.recv() => match arrived {
                    Ok(arrived) => {
                        last = Some(arrived.0);
                        self.tell(&arrived).await?;
                    }
                    Err(RecvError::Lagged(missed)) => self.gap(Some(missed), last).await?,
                    Err(RecvError::Closed) => return Err(Ended),
                },
            }
        }
    }

    /// What arrived behind the last that was heard.
    async fn catch_up(&mut self, last: AuditCursor) -> Result<(), Ended> {
        let store = self.asker.state().admin.store();
        // Another gate's rows may have come under lower numbers.
        let from = if store.is_shared() { last.id.saturating_sub(feed::LOOKED_BACK) } else { last.id };
        let mut from = from;
        let (mut told, mut reached) = (0, last);
        loop {
            let numbers = store.audit().arrivals(from, feed::READ_AT_ONCE).await.map_err(|_| Ended)?;
            let Some(end) = numbers.last().copied() else { return Ok(()) };
            if told >= CAUGHT_UP_MAX || end.saturating_sub(last.id) > feed::CAUGHT_UP_ROWS_MAX {
                return self.gap(None, Some(reached)).await;
            }
            for arrived in store.audit().arrived(numbers).await.map_err(|_| Ended)? {
                self.told.insert(arrived.0.id);
                reached = arrived.0;
                if self.filter.lets_through(&arrived.1) {
                    told += 1;
                    self.entry(&arrived.0, &arrived.1).await?;
                }
            }
            from = end;
        }
    }

    async fn tell(&mut self, arrived: &Arrived) -> Result<(), Ended> {
        let (cursor, row) = (&arrived.0, &arrived.1);
        if self.told.remove(&cursor.id) || !self.filter.lets_through(row) {
            return Ok(());
        }
        self.entry(cursor, row).await
    }

    async fn entry(&self, cursor: &AuditCursor, row: &crate::store::AuditRow) -> Result<(), Ended> {
        let entry = AuditEntry::of(*cursor, row, &self.filter.sight);
        let data = serde_json::to_string(&entry).map_err(|_| Ended)?;
        self.say(format!("event: entry\nid: {cursor}\ndata: {data}\n\n")).await
    }

    async fn gap(&self, missed: Option<u64>, after: Option<AuditCursor>) -> Result<(), Ended> {
        let mut data = String::from("{\"missed\":");
        let _infallible = match missed {
            Some(missed) => write!(data, "{missed}"),
            None => write!(data, "null"),
        };
        let _infallible = match after {
            Some(after) => write!(data, ",\"after\":\"{after}\"}}"),
            None => write!(data, ",\"after\":null}}"),
        };
        self.say(format!("event: gap\ndata: {data}\n\n")).await
    }

    async fn say(&self, text: String) -> Result<(), Ended> {
        if lasting::hand(&self.sender, Ok(Bytes::from(text))).await { Ok(()) } else { Err(Ended) }
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(watch_audit)).layer(Extension(Arc::new(Feed::default())))
}

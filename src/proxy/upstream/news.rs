//! What upstreams say outside of calls: a list is another one now, a resource was updated, a line for
//! the log. It is heard on every way by which an upstream can speak, and told to whoever listens.
//!
//! Invariants: the news that wait for a slow listener are bounded, and it learns that it missed some; a
//! change of a list is noted before it is told, so that whoever asks again gets the new one; what is said
//! of the gate's own streams is kept for whoever attends to them, a bounded number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast};

use crate::mcp::envelope::Offers;
use crate::mcp::{Primitive, Told};
use crate::model::ServiceKey;

/// News that wait for one listener at most.
pub(super) const NEWS_MAX: usize = 1_024;
/// Bytes of one; a longer one is dropped.
const NEWS_BYTES_MAX: usize = 256 * 1024;

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
const LOG: &str = "notifications/message";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// From a server of the stateless era: it tears down a stream (MCP 2026-07-28, cancellation). From one of the
/// session era: it does not want to know any more what it asked.
pub(super) const CANCELLED: &str = "notifications/cancelled";
/// Words about streams that wait to be looked at; the oldest goes.
const OF_STREAMS_MAX: usize = 64;

/// Something an upstream said outside of calls.
#[derive(Debug, Clone)]
pub struct News {
    pub service: ServiceKey,
    pub kind: NewsKind,
}

/// What it is about.
#[derive(Debug, Clone)]
pub enum NewsKind {
    /// A list is another one now. Resources stand for their templates too.
    ListChanged(Primitive),
    /// A resource that somebody subscribed to is another one now.
    ResourceUpdated { uri: Arc<str>, told: Arc<Told> },
    /// The upstream tells no more of a resource that somebody subscribed to. Said by the gate, once.
    Unheard { uri: Arc<str> },
    /// Another upstream stands in this one's place, or none: what was subscribed to with it is gone.
    /// Said by the gate.
    Replaced,
    /// A line for the log, of this level.
    Log { level: Arc<str>, told: Arc<Told> },
}

/// Whether a notification concerns no call, whatever it came with.
pub(super) fn is_news(method: &str) -> bool {
    [TOOLS_CHANGED, PROMPTS_CHANGED, RESOURCES_CHANGED, UPDATED, ACKNOWLEDGED].contains(&method)
}

/// The parameters of a `subscriptions/listen` for the changes of all lists that an upstream declares them
/// for; nothing where it does for none.
pub(super) fn lists_filter(offers: &Offers) -> Option<String> {
    let lists = [
        ("toolsListChanged", offers.tools_changed),
        ("promptsListChanged", offers.prompts_changed),
        ("resourcesListChanged", offers.resources_changed),
    ];
    let filter: Map<String, Value> =
        lists.into_iter().filter(|(_, says)| *says).map(|(name, _)| (name.to_owned(), json!(true))).collect();
    (!filter.is_empty()).then(|| json!({ "notifications": filter }).to_string())
}

/// The same for these resources.
pub(super) fn resources_filter(uris: &[Arc<str>]) -> String {
    let uris: Vec<&str> = uris.iter().map(|uri| &**uri).collect();
    json!({ "notifications": { "resourceSubscriptions": uris } }).to_string()
}

/// That the upstream took a `subscriptions/listen`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// The request's.
    pub id: u64,
    /// The resources that it tells of; nothing where it tells of none.
    pub uris: Vec<String>,
}

/// What an upstream said of a stream of the gate's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfStream {
    Acknowledged(Acknowledged),
    /// It tears down the stream of this request.
    TornDown(u64),
}

impl Acknowledged {
    fn read(notification: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(notification).ok()?;
        let id = message.pointer("/params/_meta/io.modelcontextprotocol~1subscriptionId")?.as_u64()?;
        let uris = message.pointer("/params/notifications/resourceSubscriptions").and_then(Value::as_array);
        let uris = uris.into_iter().flatten().filter_map(|uri| uri.as_str().map(str::to_owned));
        Some(Self { id, uris: uris.collect() })
    }
}

/// Hears one upstream, and counts the reasons to read its lists again.
#[derive(Debug)]
pub(super) struct Changed {
    service: ServiceKey,
    counts: [AtomicU64; Primitive::ALL.len()],
    news: broadcast::Sender<News>,
    /// The upstream may be another one now: subscriptions with it are gone.
    renewed: Notify,
    of_streams: Mutex<VecDeque<OfStream>>,
    more_of_streams: Notify,
}

impl Changed {
    /// Nothing heard yet of this upstream.
    pub fn new(service: ServiceKey, news: broadcast::Sender<News>) -> Self {
        let (counts, of_streams) = Default::default();
        Self { service, counts, news, renewed: Notify::new(), of_streams, more_of_streams: Notify::new() }
    }

    /// All lists may be others now: another process answers, or another session.
    pub fn mark(&self) {
        for of in Primitive::ALL {
            self.mark_list(of);
        }
        for of in [Primitive::Tools, Primitive::Prompts, Primitive::Resources] {
            self.tell(NewsKind::ListChanged(of));
        }
        self.renewed.notify_one();
    }

    /// How often the list of tools was marked.
    pub fn count(&self) -> u64 {
        self.count_of(Primitive::Tools)
    }

    /// How often this list was marked.
    pub fn count_of(&self, of: Primitive) -> u64 {
        self.counter(of).load(Ordering::Acquire)
    }

    /// Waits until the upstream may be another one than before.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// What the upstream has said of streams since this was asked last; waits for the next word.
    pub async fn of_streams(&self) -> Vec<OfStream> {
        loop {
            let more = self.more_of_streams.notified();
            let taken: Vec<_> = self.of_streams.lock().drain(..).collect();
            if !taken.is_empty() {
                return taken;
            }
            more.await;
        }
    }

    /// Forgets what was said of streams that are none any more.
    pub fn forget_streams(&self) {
        self.of_streams.lock().clear();
    }

    fn hear_of_stream(&self, said: Option<OfStream>) {
        let Some(said) = said else { return };
        let mut waiting = self.of_streams.lock();
        if waiting.len() >= OF_STREAMS_MAX {
            waiting.pop_front();
        }
        waiting.push_back(said);
        drop(waiting);
        self.more_of_streams.notify_one();
    }

    /// Takes a notification that concerns no call; what is no news is dropped.
    pub fn hear(&self, method: &str, notification: &str) {
        if method == ACKNOWLEDGED {
            // As long as the request that it repeats.
            return self.hear_of_stream(Acknowledged::read(notification).map(OfStream::Acknowledged));
        }
        if notification.len() > NEWS_BYTES_MAX {
            return tracing::debug!(service = %self.service, method, "news are too long and are dropped");
        }
        match method {
            TOOLS_CHANGED => self.list_changed(&[Primitive::Tools]),
            PROMPTS_CHANGED => self.list_changed(&[Primitive::Prompts]),
            RESOURCES_CHANGED => self.list_changed(&[Primitive::Resources, Primitive::Templates]),
            UPDATED => {
                if let Some(told) = Told::read(notification)
                    && let Some(uri) = told.text("uri")
                {
                    self.tell(NewsKind::ResourceUpdated { uri: Arc::from(uri), told: Arc::new(told) });
                }
            }
            // One of the session era has ids of its own, which are none of the gate's streams.
            CANCELLED => {
                let message = serde_json::from_str::<Value>(notification).ok();
                let id = message.and_then(|message| message.pointer("/params/requestId")?.as_u64());
                self.hear_of_stream(id.map(OfStream::TornDown));
            }
            LOG => {
                if let Some(told) = Told::read(notification) {
                    let level = told.text("level").unwrap_or_default();
                    self.tell(NewsKind::Log { level: Arc::from(level), told: Arc::new(told) });
                }
            }
            _ => {}
        }
    }

    fn list_changed(&self, lists: &[Primitive]) {
        for of in lists {
            self.mark_list(*of);
        }
        if let Some(of) = lists.first() {
            self.tell(NewsKind::ListChanged(*of));
        }
    }

    fn mark_list(&self, of: Primitive) {
        self.counter(of).fetch_add(1, Ordering::AcqRel);
    }

    /// Says it to whoever listens.
    pub fn tell(&self, kind: NewsKind) {
        // Nobody listens while the gate starts, and in `wicket connector sync`.
        let _nobody = self.news.send(News { service: self.service.clone(), kind });
    }

    const fn counter(&self, of: Primitive) -> &AtomicU64 {
        let [tools, prompts, resources, templates] = &self.counts;
        match of {
            Primitive::Tools => tools,
            Primitive::Prompts => prompts,
            Primitive::Resources => resources,
            Primitive::Templates => templates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_is_listened_for() {
        let offers = Offers { tools_changed: true, resources_subscribe: true, ..Offers::default() };
        let lists = r#"{"notifications":{"toolsListChanged":true}}"#;
        assert_eq!(lists_filter(&offers).as_deref(), Some(lists));
        assert_eq!(lists_filter(&Offers { tools_changed: false, ..offers }), None);
        let resources = r#"{"notifications":{"resourceSubscriptions":["x://1"]}}"#;
        assert_eq!(resources_filter(&[Arc::from("x://1")]), resources);
    }

    #[test]
    fn an_acknowledgement_says_which_request_and_what_of_it_is_taken() {
        let read = |params: &str| Acknowledged::read(&format!(r#"{{"method":"x","params":{params}}}"#));
        let meta = r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#;
        let given = |notifications: &str| read(&format!(r#"{{{meta},"notifications":{notifications}}}"#));
        let uris = |uris: &[&str]| {
            Some(Acknowledged { id: 7, uris: uris.iter().map(|uri| (*uri).to_owned()).collect() })
        };
        assert_eq!(given(r#"{"resourceSubscriptions":["a","b"]}"#), uris(&["a", "b"]));
        assert_eq!(given(r#"{"toolsListChanged":true}"#), uris(&[]));
        assert_eq!(read(r#"{"notifications":{}}"#), None);
        assert_eq!(Acknowledged::read("[]"), None);
    }

    #[test]
    fn news_are_counted_and_told_and_the_rest_is_not() {
        let (sender, mut heard) = broadcast::channel(16);
        let changed = Changed::new(ServiceKey::parse("s").unwrap(), sender);
        let mut say = |method: &str, params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
            changed.hear(method, &text);
            let mut kinds = Vec::new();
            while let Ok(news) = heard.try_recv() {
                kinds.push(match news.kind {
                    NewsKind::ListChanged(of) => format!("{of:?}"),
                    NewsKind::ResourceUpdated { uri, .. } => format!("updated {uri}"),
                    NewsKind::Log { level, .. } => format!("log {level}"),
                    other => format!("{other:?}"),
                });
            }
            kinds
        };
        assert_eq!(say(TOOLS_CHANGED, "{}"), ["Tools"]);
        assert_eq!(say(RESOURCES_CHANGED, "{}"), ["Resources"]);
        assert_eq!(say(UPDATED, r#"{"uri":"x://1"}"#), ["updated x://1"]);
        assert_eq!(say(UPDATED, "{}"), [""; 0]);
        assert_eq!(say(LOG, r#"{"level":"info","data":1}"#), ["log info"]);
        assert_eq!(say("notifications/progress", "{}"), [""; 0]);
        let counts = Primitive::ALL.map(|of| changed.count_of(of));
        assert_eq!(counts, [1, 0, 1, 1]);
    }
}

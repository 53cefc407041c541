//! `subscriptions/listen` (MCP 2026-07-28, subscriptions): a long answer that tells what its filter asked
//! for.
//!
//! Invariants: the first message says which part of the filter is honoured, and nothing outside of it is
//! ever told; every message is tagged with the request's id; each resource is decided and recorded by
//! itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::Response;
use serde_json::{Map, Value, json};

use super::mailbox::{Mailbox, URIS_MAX, Wants};
use super::permitted::Asker;
use super::pump::Pump;
use super::sight::ToolSight;
use crate::mcp::{Primitive, Refusal, RequestId, Told, sse};
use crate::model::ServiceKey;
use crate::policy::Needs;
use crate::proxy::body::Body;
use crate::proxy::exchange::Arrival;
use crate::proxy::gate::Gate;
use crate::proxy::refusal::{self, Refused};
use crate::proxy::relay::event_stream;
use crate::proxy::upstream::Hold;
use crate::session::Session;

/// Bytes of a URI.
const URI_BYTES_MAX: usize = 1_024;
/// Resources of one request that are decided, recorded and asked for at a time.
const ASKED_AT_ONCE: usize = 8;
/// The members of the filter, by the list whose changes they ask for.
const LISTS: [(&str, Primitive); 3] = [
    ("toolsListChanged", Primitive::Tools),
    ("promptsListChanged", Primitive::Prompts),
    ("resourcesListChanged", Primitive::Resources),
];
const RESOURCES: &str = "resourceSubscriptions";

/// What a client asks to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    lists: BTreeSet<Primitive>,
    uris: Vec<String>,
}

impl Filter {
    fn read(params: &str) -> Result<Self, Refusal> {
        let fault = |what| Refusal::InvalidParams { what };
        let params: Value = serde_json::from_str(params).map_err(|_| fault("`params` cannot be read"))?;
        let asked = params.get("notifications").and_then(Value::as_object);
        let asked = asked.ok_or(fault("`notifications` is not an object"))?;
        let mut filter = Self::default();
        for (member, of) in LISTS {
            match asked.get(member) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(Value::Bool(true)) => drop(filter.lists.insert(of)),
                Some(_) => return Err(fault("a member of `notifications` is not a boolean")),
            }
        }
        match asked.get(RESOURCES) {
            None | Some(Value::Null) => {}
            Some(Value::Array(uris)) if uris.len() <= URIS_MAX => {
                for uri in uris {
                    let uri = uri.as_str().filter(|uri| !uri.is_empty() && uri.len() <= URI_BYTES_MAX);
                    let uri = uri.ok_or(fault("a URI is not a string of 1 to 1024 bytes"))?.to_owned();
                    if !filter.uris.contains(&uri) {
                        filter.uris.push(uri);
                    }
                }
            }
            Some(_) => return Err(fault("`resourceSubscriptions` is not a list of at most 64 URIs")),
        }
        Ok(filter)
    }
}

impl Gate {
    /// Opens the stream, once it is known what of the filter is honoured.
    pub(in crate::proxy) async fn listen(
        &self,
        arrival: &Arrival,
        id: &RequestId,
        params: &str,
    ) -> Result<Response<Body>, Refused> {
        let filter = Filter::read(params)?;
        let streams = &self.streams;
        if streams.closing.is_cancelled() {
            return Err(Refusal::Draining { retry_after_s: 1 }.into());
        }
        let seat = streams.seats.take(arrival.caller.key).ok_or_else(refusal::too_many_streams)?;
        let session = self.session_of(arrival, None)?;
        let mut generations = self.live.generations();
        if *generations.borrow_and_update() != arrival.snapshot.directory.generation {
            generations.mark_changed();
        }
        let lists: BTreeSet<Primitive> =
            filter.lists.iter().copied().filter(|of| self.may_list_any(arrival, &session, *of)).collect();
        let watched: Vec<_> = filter.uris.iter().map(|uri| self.watched(arrival, &session, uri)).collect();
        let watched: Vec<_> = futures_util::stream::iter(watched).buffered(ASKED_AT_ONCE).collect().await;
        let honoured = honoured(&lists, filter.uris.iter().zip(&watched));
        let uris: HashMap<Arc<str>, (ServiceKey, Hold)> = filter
            .uris
            .iter()
            .zip(watched)
            .filter_map(|(uri, watched)| Some((Arc::from(uri.as_str()), watched?)))
            .collect();
        let wants = Wants { lists, uris, level: None };
        let room = streams.room.of(arrival.caller.member.id);
        let mailbox = Mailbox::new(arrival.caller.clone(), session, Some(id.clone()), wants, room);
        let mailbox = Arc::new(mailbox);
        streams.listening.lock().push(Arc::downgrade(&mailbox));
        // What was said of them before it could be heard here.
        mailbox.look_again(None, &self.live.load());
        let (stream, place) = mailbox.open(None);
        let (feed, body) = Body::stream();
        // Before anything else, and however long it is: it is not one of the messages that may be missed.
        let first = Told::acknowledged(&honoured).message(Some(id));
        let pump = Pump {
            mailbox,
            stream,
            place,
            feed,
            live: Arc::clone(&self.live),
            generations,
            closing: streams.closing.clone(),
            wait: Duration::from_millis(self.limits.reply_write_ms_max),
            sight: ToolSight::new(Arc::clone(&self.lists), Arc::clone(&self.upstreams)),
            _seat: seat,
        };
        drop(tokio::spawn(pump.run_after(sse::encode(&sse::Event::of_data(first)))));
        Ok(event_stream(body))
    }

    /// Whether the caller may see a list of this kind of any connector.
    fn may_list_any(&self, arrival: &Arrival, session: &Session, of: Primitive) -> bool {
        let bundle = arrival.bundle();
        let counters = |needs: &Needs| session.read(&needs.session, &needs.member, arrival.now).0;
        let asker = Asker { bundle, caller: &arrival.caller, counters: &counters };
        // Each tool of that list is looked at by itself.
        of == Primitive::Tools
            || bundle.connectors().iter().any(|connector| asker.may(connector, of.method(), &json!({})))
    }

    async fn watched(&self, arrival: &Arrival, session: &Session, uri: &str) -> Option<(ServiceKey, Hold)> {
        let owner = self.upstreams.owner_of(uri, &arrival.caller.agent.services).await;
        let owner = owner.inspect_err(|unknown| {
            tracing::warn!(service = %unknown.service, failure = %unknown.failure,
                "nothing is subscribed to: nobody can say whose the resource is");
        });
        let service = owner.ok().flatten()?;
        let connector = arrival.bundle().connectors().get(service.as_str())?;
        let hold = self.subscribe_for(arrival, session, connector, uri).await?;
        Some((service, hold))
    }
}

/// The part of the filter that is honoured.
fn honoured<'a, W: 'a>(
    lists: &BTreeSet<Primitive>,
    uris: impl Iterator<Item = (&'a String, &'a Option<W>)>,
) -> Value {
    let mut members = Map::new();
    for (member, of) in LISTS {
        if lists.contains(&of) {
            members.insert(member.to_owned(), json!(true));
        }
    }
    let uris: Vec<&String> = uris.filter(|(_, watched)| watched.is_some()).map(|(uri, _)| uri).collect();
    if !uris.is_empty() {
        members.insert(RESOURCES.to_owned(), json!(uris));
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_strictly_and_told_back_as_far_as_it_holds() {
        let read = |text: &str| Filter::read(&format!(r#"{{"notifications":{text}}}"#));
        let filter = read(
            r#"{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:1","a:1","b:2"]}"#,
        );
        let filter = filter.unwrap();
        assert_eq!(filter.lists, [Primitive::Tools].into());
        assert_eq!(filter.uris, ["a:1", "b:2"]);
        assert_eq!(read("{}").unwrap(), Filter::default());
        for bad in [
            "7",
            r#"{"toolsListChanged":1}"#,
            r#"{"resourceSubscriptions":"a:1"}"#,
            r#"{"resourceSubscriptions":[""]}"#,
        ] {
            assert!(matches!(read(bad), Err(Refusal::InvalidParams { .. })), "{bad}");
        }
        assert!(Filter::read("{}").is_err());
        let many = format!(r#"{{"resourceSubscriptions":[{}"x"]}}"#, r#""x","#.repeat(URIS_MAX));
        assert!(read(&many).is_err());

        let watched = [Some(()), None];
        let told = honoured(&filter.lists, filter.uris.iter().zip(&watched));
        assert_eq!(told, json!({"toolsListChanged": true, "resourceSubscriptions": ["a:1"]}));
    }
}

//! Messages out of an event stream of an HTTP upstream.
//!
//! Invariants: a stream that ends before it was heard out is broken, however cleanly it ends; one event
//! and the whole stream are capped in bytes; only whole events count as signs of life, a trickle of
//! bytes does not.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::mcp::sse::{Decoder, Event, SseFault};
use crate::mcp::{self, FromUpstream};
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::Incoming;

/// How long, and how much, is read after the answer so that the connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// The pause before a stream goes on over another connection, whatever the server asks for.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Bytes of an event's id that is sent back.
const ID_BYTES_MAX: usize = 1_024;

/// Messages out of an event stream, with its caps.
pub struct Messages {
    body: Incoming,
    status: u16,
    decoder: Option<Decoder>,
    ready: VecDeque<Event>,
    /// When it last said something, or had nothing to say.
    pub last_sign: Instant,
    bytes: u64,
    event_bytes_max: u32,
    bytes_max: u32,
    /// The id of the last event, to go on after it on another connection.
    pub last_id: Option<String>,
    /// How long to wait before that, as the server asks.
    retry: Duration,
    /// The connection is over, whatever was said on it.
    over: bool,
}

impl Messages {
    /// The messages of a response that was accepted as an event stream.
    pub fn new(status: u16, body: Incoming, event_bytes_max: u32, bytes_max: u32) -> Self {
        let decoder = Decoder::new(usize::try_from(event_bytes_max).unwrap_or(usize::MAX));
        Self {
            body,
            status,
            decoder: Some(decoder),
            ready: VecDeque::new(),
            last_sign: Instant::now(),
            bytes: 0,
            event_bytes_max,
            bytes_max,
            last_id: None,
            retry: RETRY_MIN,
            over: false,
        }
    }

    /// Where the stream goes on, and when: nothing unless it ended or broke off after an event with an id
    /// (MCP 2025-11-25, resumability).
    pub fn goes_on(&self) -> Option<(&str, Duration)> {
        let id = self.last_id.as_deref().filter(|id| self.over && id.len() <= ID_BYTES_MAX)?;
        Some((id, self.retry.clamp(RETRY_MIN, RETRY_MAX)))
    }

    /// The next message.
    ///
    /// # Errors
    /// The stream ended, broke off, was silent, grew too large, or said what is no message.
    pub async fn next(&mut self, patience: &Patience) -> Result<FromUpstream, UpstreamFailure> {
        self.next_while(patience, false).await
    }

    /// The next message; where the upstream itself waits for the client, its silence is not counted.
    /// May be dropped and called again: nothing is lost.
    pub async fn next_while(
        &mut self,
        patience: &Patience,
        client_is_awaited: bool,
    ) -> Result<FromUpstream, UpstreamFailure> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.last_id = event.id.or(self.last_id.take());
                self.retry = event.retry.map_or(self.retry, Duration::from_millis);
                let is_message = event.event.as_deref().is_none_or(|kind| kind == "message");
                // An event without data gives a client an id to come back with, no more.
                if is_message && !event.data.is_empty() {
                    return mcp::read_upstream(Bytes::from(event.data), mcp::Limits::REPLY)
                        .map_err(|fault| self.broken(fault.to_string()));
                }
            }
            let frame = match client_is_awaited {
                true => patience.live(self.body.frame()).await?,
                false => patience.wait(self.last_sign, self.body.frame()).await?,
            };
            self.over = !matches!(frame, Some(Ok(_)));
            let data = match frame {
                None => return Err(self.ended()),
                Some(Err(_)) => return Err(self.broken("its stream broke off before the answer")),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            self.bytes = self.bytes.saturating_add(data.len() as u64);
            if self.bytes > u64::from(self.bytes_max) {
                return Err(UpstreamFailure::TooLarge { bytes_max: self.bytes_max });
            }
            let Some(decoder) = &mut self.decoder else { return Err(self.ended()) };
            match decoder.push(&data) {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    self.last_sign = Instant::now();
                    self.ready.extend(events);
                }
                Err(SseFault::TooLarge { .. }) => {
                    return Err(UpstreamFailure::TooLarge { bytes_max: self.event_bytes_max });
                }
                Err(fault) => return Err(self.broken(fault.to_string())),
            }
        }
    }

    fn ended(&mut self) -> UpstreamFailure {
        let inside = self.decoder.take().is_some_and(|decoder| decoder.finish().is_err());
        self.broken(if inside {
            "its stream ended inside an event"
        } else {
            "its stream ended before the answer"
        })
    }

    fn broken(&self, why: impl Into<std::borrow::Cow<'static, str>>) -> UpstreamFailure {
        UpstreamFailure::Broken { status: self.status, why: why.into() }
    }

    /// Reads what little follows the answer, so that the connection can be used again.
    pub async fn drain(mut self) {
        let drain = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DRAIN_BYTES_MAX {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(DRAIN, drain).await);
    }
}

//! What a replay keeps of a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::keys::from_hex;
use crate::model::{
    AgentId, CallId, CheckpointCause, ConversationId, CounterKey, KeyId, MemberId, OutcomeKind,
    SessionCheckpoint, SessionId, Timestamp, WindowCheckpoint,
};

/// Parts of one checkpoint that are put together; the journal writes fewer.
const PARTS_MAX: usize = 64;

/// What a line says.
#[derive(Debug)]
pub enum Line<'a> {
    Call(Box<CallLine<'a>>),
    /// A call ended.
    End(CallEnd),
    /// A session's counters.
    Checkpoint(Box<SessionCheckpoint>),
    /// No entry, or one that lacks what is asked for.
    Unreadable,
}

/// How a call ended, as far as counters see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallEnd {
    pub call: CallId,
    pub at: Timestamp,
    /// False where nothing had left: the call was uncounted.
    pub sent: bool,
    /// It waits for its client, and goes on in another round.
    pub goes_on: bool,
}

/// A recorded call, borrowed from its line where that is possible.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLine<'a> {
    #[serde(deserialize_with = "timestamp")]
    pub timestamp: Timestamp,
    #[serde(deserialize_with = "parsed")]
    pub call: CallId,
    #[serde(deserialize_with = "parsed")]
    pub agent_id: AgentId,
    #[serde(borrow)]
    pub agent_name: Cow<'a, str>,
    #[serde(deserialize_with = "parsed")]
    pub member_id: MemberId,
    #[serde(borrow)]
    pub member_name: Cow<'a, str>,
    /// Recorded since groups are; its presence says that `groups` is all of them.
    #[serde(borrow, default)]
    pub member_role: Option<Cow<'a, str>>,
    #[serde(default)]
    pub member_groups: Vec<String>,
    #[serde(default)]
    pub member_groups_omitted: u64,
    #[serde(deserialize_with = "parsed")]
    pub member_key_id: KeyId,
    #[serde(default, deserialize_with = "maybe_parsed")]
    pub session_id: Option<SessionId>,
    #[serde(borrow)]
    pub service: Cow<'a, str>,
    #[serde(borrow)]
    pub tool: Cow<'a, str>,
    #[serde(borrow, default)]
    pub tier: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub resource: Cow<'a, str>,
    #[serde(borrow, default)]
    pub caller_ip: Cow<'a, str>,
    #[serde(borrow)]
    pub tool_args: &'a RawValue,
    #[serde(borrow)]
    pub decision: Cow<'a, str>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    #[serde(borrow, default)]
    pub matched_policies: Vec<PolicyLine<'a>>,
    #[serde(default)]
    pub matched_policies_omitted: u64,
    #[serde(borrow, default)]
    pub history: HistoryLine<'a>,
    /// What shadow policies would have changed, where they would have changed anything.
    #[serde(borrow, default)]
    pub shadow: Option<ShadowLine<'a>>,
}

/// The decision of the enforced and the shadow policies together.
#[derive(Debug, Deserialize)]
pub struct ShadowLine<'a> {
    #[serde(borrow)]
    pub decision: Cow<'a, str>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The shadow policies among those that would have decided.
    #[serde(borrow, default)]
    pub policies: Vec<PolicyLine<'a>>,
}

/// A policy that decided.
#[derive(Debug, Deserialize)]
pub struct PolicyLine<'a> {
    #[serde(borrow)]
    pub key: Cow<'a, str>,
}

/// The counters that the decision read, in their written form.
#[derive(Debug, Default, Deserialize)]
pub struct HistoryLine<'a> {
    #[serde(borrow, default)]
    pub session: BTreeMap<Cow<'a, str>, i64>,
    #[serde(borrow, default)]
    pub member: BTreeMap<Cow<'a, str>, i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CompletionLine<'a> {
    #[serde(deserialize_with = "timestamp")]
    timestamp: Timestamp,
    #[serde(deserialize_with = "parsed")]
    call: CallId,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(default)]
    not_forwarded: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionLine {
    timestamp: Timestamp,
    session_id: SessionId,
    agent_id: AgentId,
    member_id: MemberId,
    conversation: String,
    cause: String,
    settled: bool,
    created_at: Timestamp,
    last_activity_at: Timestamp,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    part: usize,
    parts: usize,
    #[serde(default)]
    omitted: u64,
    counters: BTreeMap<String, i64>,
    #[serde(default)]
    window: Option<WindowLine>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WindowLine {
    bucket_ms: i64,
    whole: bool,
    settled: bool,
    series: BTreeMap<String, Vec<i64>>,
}

impl<'a> Line<'a> {
    pub(super) fn of_call(line: &'a [u8]) -> Self {
        serde_json::from_slice(line).map_or(Self::Unreadable, |call| Self::Call(Box::new(call)))
    }

    pub(super) fn of_completion(line: &[u8]) -> Option<Line<'static>> {
        let Ok(read) = serde_json::from_slice::<CompletionLine<'_>>(line) else {
            return Some(Line::Unreadable);
        };
        let CompletionLine { timestamp, call, outcome, not_forwarded } = read;
        let sent = !not_forwarded && outcome != OutcomeKind::Unreachable.as_str();
        let goes_on = outcome == OutcomeKind::InputRequired.as_str();
        Some(Line::End(CallEnd { call, at: timestamp, sent, goes_on }))
    }
}

/// Puts the parts of checkpoints together: they follow each other.
#[derive(Default)]
pub(super) struct Sessions {
    parts: Vec<SessionLine>,
}

impl Sessions {
    /// The checkpoint, with its last part.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<Line<'static>> {
        let Ok(part) = serde_json::from_slice::<SessionLine>(line) else { return Some(Line::Unreadable) };
        let follows = self.parts.last().is_some_and(|last| {
            last.session_id == part.session_id
                && last.timestamp == part.timestamp
                && last.part + 1 == part.part
        });
        if !follows {
            self.parts.clear();
            // One whose beginning is not at hand says too little.
            if part.part != 1 {
                return None;
            }
        }
        let last = part.part >= part.parts;
        if self.parts.len() < PARTS_MAX {
            self.parts.push(part);
        }
        last.then(|| whole(std::mem::take(&mut self.parts))).flatten()
    }
}

fn whole(parts: Vec<SessionLine>) -> Option<Line<'static>> {
    let mut counters = BTreeMap::new();
    let mut buckets: BTreeMap<i64, BTreeMap<CounterKey, i64>> = BTreeMap::new();
    let mut window = None;
    let mut omitted = 0_u64;
    let head = parts.first()?;
    let cause =
        [CheckpointCause::Restored, CheckpointCause::Calls, CheckpointCause::Time, CheckpointCause::Ended];
    let cause = cause.into_iter().find(|cause| cause.as_str() == head.cause)?;
    let conversation = conversation(&head.conversation)?;
    let (at, session, agent, member) = (head.timestamp, head.session_id, head.agent_id, head.member_id);
    let (settled, created_at, last_activity_at) = (head.settled, head.created_at, head.last_activity_at);
    let ended = head.ended_at.map(|at| (at, "recorded"));
    for part in parts {
        omitted = omitted.saturating_add(part.omitted);
        for (key, count) in part.counters {
            counters.insert(key.parse().ok()?, count);
        }
        let Some(line) = part.window else { continue };
        window = Some((line.bucket_ms, line.whole, line.settled));
        for (key, series) in line.series {
            let key: CounterKey = key.parse().ok()?;
            for cell in series.chunks_exact(2) {
                if let [bucket, count] = cell {
                    buckets.entry(*bucket).or_default().insert(key.clone(), *count);
                }
            }
        }
    }
    // What is not all there settles nothing.
    let complete = omitted == 0;
    let buckets: Vec<_> = buckets.into_iter().collect();
    let window = window.map(|(bucket_ms, whole, settled)| WindowCheckpoint {
        bucket_ms,
        whole: whole && complete,
        settled,
        buckets,
    });
    Some(Line::Checkpoint(Box::new(SessionCheckpoint {
        at,
        session,
        agent,
        member,
        conversation,
        cause,
        settled: settled && complete,
        created_at,
        last_activity_at,
        ended,
        counters,
        window,
    })))
}

fn conversation(text: &str) -> Option<ConversationId> {
    from_hex::<16>(text).map(ConversationId::from_bytes)
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    deserializer.deserialize_str(Text(|text| Timestamp::parse(text).ok()))
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text(|text| text.parse().ok()))
}

fn maybe_parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    parsed(deserializer).map(Some)
}

/// Reads a text as what it names, without a copy of it.
struct Text<T>(fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in the form of the journal")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).ok_or_else(|| E::custom("not in the form of the journal"))
    }
}

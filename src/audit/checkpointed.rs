//! The entries of a session's checkpoint: as many as its size asks for, none longer than a line.
//!
//! Invariants: the parts of one checkpoint follow each other with `part` and `parts`; what exceeds
//! [`PARTS_MAX`] is counted in `omitted`, never silently left out.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::body::to_bytes;
use crate::keys::hex;
use crate::model::{AgentId, CounterKey, MemberId, SessionCheckpoint, SessionId, Timestamp};

/// Bytes of counters in one part, as estimated from above; a line holds 64 KiB.
const PART_BYTES_MAX: usize = 40 << 10;
/// Parts of one checkpoint; the limits of a window fill about this many.
const PARTS_MAX: usize = 16;
/// Bytes that a name costs beside itself, and its number.
const NAME_BYTES: usize = 28;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    node: Uuid,
    session_id: SessionId,
    agent_id: AgentId,
    member_id: MemberId,
    conversation: &'a str,
    cause: &'static str,
    settled: bool,
    created_at: Timestamp,
    last_activity_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    part: usize,
    parts: usize,
    #[serde(skip_serializing_if = "is_zero")]
    omitted: usize,
    counters: &'a BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<WindowBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WindowBody<'a> {
    bucket_ms: i64,
    whole: bool,
    settled: bool,
    /// Of each counter: number of a bucket and count, in turn.
    series: &'a BTreeMap<String, Vec<i64>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[derive(Default)]
struct Part {
    bytes: usize,
    counters: BTreeMap<String, i64>,
    series: BTreeMap<String, Vec<i64>>,
}

impl Part {
    fn add_counter(&mut self, key: &CounterKey, count: i64) {
        let key = key.to_string();
        self.bytes += key.len() + NAME_BYTES;
        self.counters.insert(key, count);
    }

    fn add_cell(&mut self, key: &str, bucket: i64, count: i64) {
        let numbers = bucket.to_string().len() + count.to_string().len() + 2;
        if !self.series.contains_key(key) {
            self.bytes += key.len() + NAME_BYTES;
        }
        self.bytes += numbers;
        self.series.entry(key.to_owned()).or_default().extend([bucket, count]);
    }
}

/// Hands out the part that has room, and counts what no part has room for.
struct Parts {
    parts: Vec<Part>,
    omitted: usize,
}

impl Parts {
    fn with_room(&mut self) -> Option<&mut Part> {
        if self.parts.last().is_none_or(|part| part.bytes >= PART_BYTES_MAX) {
            if self.parts.len() >= PARTS_MAX {
                self.omitted += 1;
                return None;
            }
            self.parts.push(Part::default());
        }
        self.parts.last_mut()
    }
}

/// The bodies of a checkpoint's entries.
pub(super) fn bodies(checkpoint: &SessionCheckpoint, node: Uuid) -> Vec<Vec<u8>> {
    let mut parts = Parts { parts: vec![Part::default()], omitted: 0 };
    for (key, count) in &checkpoint.counters {
        if let Some(part) = parts.with_room() {
            part.add_counter(key, *count);
        }
    }
    // By counter, so that each name is written once in a part.
    let mut series: BTreeMap<&CounterKey, Vec<(i64, i64)>> = BTreeMap::new();
    for (bucket, counts) in checkpoint.window.iter().flat_map(|window| &window.buckets) {
        for (key, count) in counts {
            series.entry(key).or_default().push((*bucket, *count));
        }
    }
    for (key, cells) in series {
        let key = key.to_string();
        for (bucket, count) in cells {
            if let Some(part) = parts.with_room() {
                part.add_cell(&key, bucket, count);
            }
        }
    }
    let (count, omitted) = (parts.parts.len(), parts.omitted);
    let conversation = hex(checkpoint.conversation.as_bytes());
    let body = |(index, part): (usize, &Part)| {
        to_bytes(&Body {
            kind: "session",
            timestamp: checkpoint.at,
            node,
            session_id: checkpoint.session,
            agent_id: checkpoint.agent,
            member_id: checkpoint.member,
            conversation: &conversation,
            cause: checkpoint.cause.as_str(),
            settled: checkpoint.settled,
            created_at: checkpoint.created_at,
            last_activity_at: checkpoint.last_activity_at,
            ended_at: checkpoint.ended.map(|(at, _)| at),
            end_reason: checkpoint.ended.map(|(_, reason)| reason),
            part: index + 1,
            parts: count,
            omitted,
            counters: &part.counters,
            window: checkpoint.window.as_ref().map(|window| WindowBody {
                bucket_ms: window.bucket_ms,
                whole: window.whole,
                settled: window.settled,
                series: &part.series,
            }),
        })
    };
    parts.parts.iter().enumerate().map(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::LINE_BYTES_MAX;
    use crate::audit::testing::{NOW, node};
    use crate::model::{CheckpointCause, ConversationId, PolicyKey, WindowCheckpoint};

    fn checkpoint(counters: usize, buckets: i64) -> SessionCheckpoint {
        let key = |n: usize| CounterKey::PolicyDeny(PolicyKey::parse(&format!("{n:0>100}")).unwrap());
        let counters: BTreeMap<CounterKey, i64> = (0..counters).map(|n| (key(n), i64::MAX)).collect();
        SessionCheckpoint {
            at: NOW,
            session: SessionId::mint(NOW, [4; 10]),
            agent: AgentId::mint(NOW, [1; 10]),
            member: MemberId::mint(NOW, [2; 10]),
            conversation: ConversationId::from_bytes([5; 16]),
            cause: CheckpointCause::Calls,
            settled: true,
            created_at: NOW,
            last_activity_at: NOW,
            ended: None,
            window: Some(WindowCheckpoint {
                bucket_ms: 300_000,
                whole: true,
                settled: true,
                buckets: (0..buckets).map(|n| (5_984_000 + n, counters.clone())).collect(),
            }),
            counters,
        }
    }

    #[test]
    fn a_checkpoint_of_any_size_fits_its_lines_and_says_what_it_leaves_out() {
        for (counters, buckets, whole) in [(3, 2, true), (512, 20, true), (512, 64, false)] {
            let bodies = bodies(&checkpoint(counters, buckets), node());
            assert!(bodies.len() <= PARTS_MAX);
            let (mut counted, mut cells) = (0, 0);
            let mut omitted = 0;
            for (n, body) in bodies.iter().enumerate() {
                assert!(body.len() + 200 < LINE_BYTES_MAX, "{}", body.len());
                let value: serde_json::Value = serde_json::from_slice(body).unwrap();
                assert_eq!(
                    (value["part"].as_u64(), value["parts"].as_u64()),
                    (Some(n as u64 + 1), Some(bodies.len() as u64))
                );
                counted += value["counters"].as_object().unwrap().len();
                for (_, pairs) in value["window"]["series"].as_object().unwrap() {
                    cells += pairs.as_array().unwrap().len() / 2;
                }
                omitted = value["omitted"].as_u64().unwrap_or(0) as usize;
            }
            assert_eq!(counted, counters);
            assert_eq!(cells + omitted, counters * buckets as usize);
            assert_eq!(omitted == 0, whole, "{counters} × {buckets}: {omitted}");
        }
    }

    #[test]
    fn ids_are_written_as_in_intents() {
        let body = bodies(&checkpoint(1, 1), node()).remove(0);
        let text = String::from_utf8(body).unwrap();
        let session = SessionId::mint(NOW, [4; 10]);
        assert!(text.contains(&format!("\"sessionId\":\"{session}\"")), "{text}");
        assert!(text.contains(&format!("\"conversation\":\"{}\"", "05".repeat(16))), "{text}");
    }
}

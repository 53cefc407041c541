//! The members of each type of entry, in their written order.
//!
//! Everything that a caller chose is bounded here: no entry exceeds [`LINE_BYTES_MAX`], whatever the
//! call was. Names follow specification 7.1 where it has one; `call` is its `id`: one call, one row.
//!
//! [`LINE_BYTES_MAX`]: super::chain::LINE_BYTES_MAX

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::facts::{AdministrativeFacts, CallFacts};
use super::redact::{RedactLimits, redact, redact_text};
use crate::keys::{hex, hmac_sha256};
use crate::model::{CallId, ClientInfo, CounterKey, Decision, Digest, Outcome, OutcomeKind, Timestamp};

/// Determining policies kept in an entry; the others are counted.
const POLICIES_MAX: usize = 48;
/// Evaluation errors kept in an entry; one is enough to deny.
const ERRORS_MAX: usize = 8;
/// Counters kept of each scope; the others are counted.
const COUNTERS_MAX: usize = 32;
/// Characters kept of a policy's name.
const POLICY_NAME_CHARACTERS_MAX: usize = 64;
/// Characters kept of an evaluation error.
const ERROR_CHARACTERS_MAX: usize = 300;
/// Characters kept of free text.
const TEXT_CHARACTERS_MAX: usize = 500;
/// Characters kept of names: of tools and clients.
const NAME_CHARACTERS_MAX: usize = 128;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    call: CallId,
    node: Uuid,
    agent_id: crate::model::AgentId,
    agent_name: &'a str,
    member_id: crate::model::MemberId,
    member_name: &'a str,
    member_key_id: crate::model::KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<crate::model::SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientInfo>,
    service: &'a str,
    tool: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<crate::model::Tier>,
    principal: String,
    action: String,
    resource: String,
    caller_ip: std::net::IpAddr,
    tool_args: Box<RawValue>,
    tool_args_digest: String,
    decision: &'static str,
    reason: crate::model::Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_message: Option<String>,
    matched_policies: Vec<PolicyBody>,
    #[serde(skip_serializing_if = "is_zero")]
    matched_policies_omitted: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorBody>,
    #[serde(skip_serializing_if = "HistoryBody::is_empty")]
    history: HistoryBody,
    bundle: Digest,
}

#[derive(Serialize)]
struct PolicyBody {
    key: String,
    name: String,
    version: u32,
}

#[derive(Serialize)]
struct ErrorBody {
    policy: String,
    message: String,
}

#[derive(Serialize)]
struct HistoryBody {
    session: BTreeMap<String, i64>,
    member: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "is_zero")]
    omitted: usize,
}

impl HistoryBody {
    fn is_empty(&self) -> bool {
        self.session.is_empty() && self.member.is_empty()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn counters(map: &BTreeMap<CounterKey, i64>) -> BTreeMap<String, i64> {
    map.iter().take(COUNTERS_MAX).map(|(key, value)| (key.to_string(), *value)).collect()
}

fn name(text: &str) -> String {
    redact_text(text, NAME_CHARACTERS_MAX)
}

/// The body of an intent or a denial.
pub(super) fn call_body(
    facts: &CallFacts<'_>,
    decision: &Decision,
    bundle: Digest,
    node: Uuid,
    digest_key: &[u8; 32],
) -> Vec<u8> {
    let arguments = redact(facts.arguments, facts.redact, RedactLimits::default());
    let history = HistoryBody {
        session: counters(&facts.history.session),
        member: counters(&facts.history.member),
        omitted: facts.history.session.len().saturating_sub(COUNTERS_MAX)
            + facts.history.member.len().saturating_sub(COUNTERS_MAX),
    };
    let body = CallBody {
        kind: if decision.allowed { "intent" } else { "denial" },
        timestamp: facts.at,
        call: facts.call,
        node,
        agent_id: facts.caller.agent.id,
        agent_name: &facts.caller.agent.name,
        member_id: facts.caller.member.id,
        member_name: &facts.caller.member.name,
        member_key_id: facts.caller.key,
        session_id: facts.session,
        conversation: facts.conversation.map(|c| hex(c.as_bytes())),
        client: facts.client.map(|c| ClientInfo { name: name(&c.name), version: name(&c.version) }),
        service: facts.service,
        tool: name(facts.tool),
        tier: facts.tier,
        principal: redact_text(facts.principal, TEXT_CHARACTERS_MAX),
        action: redact_text(facts.action, TEXT_CHARACTERS_MAX),
        resource: redact_text(facts.resource, TEXT_CHARACTERS_MAX),
        caller_ip: facts.caller.ip,
        tool_args: RawValue::from_string(arguments).unwrap_or_default(),
        tool_args_digest: format!(
            "hmac-sha256:{}",
            hex(&hmac_sha256(digest_key, facts.arguments.as_bytes()))
        ),
        decision: if decision.allowed { "ALLOW" } else { "DENY" },
        reason: decision.reason,
        deny_message: decision.deny_message.as_deref().map(|m| redact_text(m, TEXT_CHARACTERS_MAX)),
        matched_policies: policies(decision),
        matched_policies_omitted: decision.determining.len().saturating_sub(POLICIES_MAX),
        errors: errors(decision),
        history,
        bundle,
    };
    to_bytes(&body)
}

fn policies(decision: &Decision) -> Vec<PolicyBody> {
    let kept = decision.determining.iter().take(POLICIES_MAX);
    kept.map(|p| PolicyBody {
        key: p.key.to_string(),
        name: redact_text(&p.name, POLICY_NAME_CHARACTERS_MAX),
        version: p.version,
    })
    .collect()
}

fn errors(decision: &Decision) -> Vec<ErrorBody> {
    let kept = decision.errors.iter().take(ERRORS_MAX);
    kept.map(|e| ErrorBody {
        policy: e.policy.to_string(),
        message: redact_text(&e.message, ERROR_CHARACTERS_MAX),
    })
    .collect()
}

/// How a recorded call ended, small enough to wait in a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub call: CallId,
    /// Sequence number of the intent.
    pub intent: u64,
    pub at: Timestamp,
    pub outcome: Outcome,
    pub note: CompletionNote,
}

/// What is special about a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompletionNote {
    None,
    /// Written at a start, for an intent that an earlier boot left open.
    Recovered,
    /// The intent was written but could not be acknowledged in time: nothing was sent.
    NotForwarded,
}

impl Completion {
    /// Nobody knows how it ended.
    pub fn unknown(call: CallId, intent: u64, at: Timestamp, note: CompletionNote) -> Self {
        let outcome = Outcome { kind: OutcomeKind::Unknown, status: 0, bytes: 0, duration_ms: 0 };
        Self { call, intent, at, outcome, note }
    }

    pub fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            #[serde(rename = "type")]
            kind: &'static str,
            timestamp: Timestamp,
            call: CallId,
            intent: u64,
            outcome: &'static str,
            status: u16,
            bytes: u64,
            duration_ms: u64,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            recovered: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            not_forwarded: bool,
        }
        to_bytes(&Body {
            kind: "completion",
            timestamp: self.at,
            call: self.call,
            intent: self.intent,
            outcome: self.outcome.kind.as_str(),
            status: self.outcome.status,
            bytes: self.outcome.bytes,
            duration_ms: self.outcome.duration_ms,
            recovered: self.note == CompletionNote::Recovered,
            not_forwarded: self.note == CompletionNote::NotForwarded,
        })
    }
}

/// The body of an administrative entry.
pub(super) fn administrative_body(facts: &AdministrativeFacts<'_>, node: Uuid) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body {
        #[serde(rename = "type")]
        kind: &'static str,
        timestamp: Timestamp,
        change: CallId,
        node: Uuid,
        phase: &'static str,
        who: String,
        what: String,
        target: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Box<RawValue>>,
    }
    let state = |value: &serde_json::Value| {
        RawValue::from_string(redact(&value.to_string(), &[], RedactLimits::default())).unwrap_or_default()
    };
    to_bytes(&Body {
        kind: "administrative",
        timestamp: facts.at,
        change: facts.change,
        node,
        phase: facts.phase.as_str(),
        who: name(facts.who),
        what: name(facts.what),
        target: redact_text(facts.target, TEXT_CHARACTERS_MAX),
        before: facts.before.map(state),
        after: facts.after.map(state),
    })
}

/// The JSON text of a body. Structures of strings, numbers and maps with string keys always
/// serialise, so the empty fallback is unreachable; it would be refused as no entry.
pub(super) fn to_bytes<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

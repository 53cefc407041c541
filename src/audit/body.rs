//! The members of each type of entry, in their written order.
//!
//! Everything that a caller chose is bounded here: no entry exceeds [`LINE_BYTES_MAX`], whatever the
//! call was. Names follow specification 7.1 where it has one; `call` is its `id`: one call, one row.
//!
//! [`LINE_BYTES_MAX`]: super::chain::LINE_BYTES_MAX

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::facts::{AdministrativeFacts, CallFacts};
use super::json::{self, Object};
use super::redact::{RedactLimits, redact, redact_into, redact_text};
use crate::keys::hmac_sha256;
use crate::model::{
    AgentId, CallId, Decision, Digest, EvaluationError, History, Member, Outcome, OutcomeKind, PolicyRef,
    Role, Timestamp,
};

/// Determining policies kept in an entry; the others are counted.
const POLICIES_MAX: usize = 48;
/// Evaluation errors kept in an entry; one is enough to deny.
const ERRORS_MAX: usize = 8;
/// The same of policies in shadow mode.
const SHADOW_POLICIES_MAX: usize = 16;
const SHADOW_ERRORS_MAX: usize = 4;
/// Counters kept of each scope; the others are counted.
const COUNTERS_MAX: usize = 32;
/// Characters kept of a policy's name.
const POLICY_NAME_CHARACTERS_MAX: usize = 64;
/// Characters kept of an evaluation error.
const ERROR_CHARACTERS_MAX: usize = 300;
/// Characters kept of free text.
const TEXT_CHARACTERS_MAX: usize = 500;
/// Bytes of most intents without their arguments, and of a completion: a buffer begins so large.
const CALL_BYTES_USUAL: usize = 1_536;
const COMPLETION_BYTES_USUAL: usize = 256;
/// Groups of a member kept; the others are counted.
const GROUPS_MAX: usize = 32;
/// Characters kept of names: of tools and clients.
const NAME_CHARACTERS_MAX: usize = 128;

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
    let mut out = Vec::with_capacity(CALL_BYTES_USUAL + facts.arguments.len().min(CALL_BYTES_USUAL));
    let mut entry = Object::begin(&mut out);
    entry.word("type", if decision.allowed { "intent" } else { "denial" });
    entry.time("timestamp", facts.at);
    entry.uuid("call", "", facts.call.as_uuid());
    entry.uuid("node", "", &node);
    caller(&mut entry, facts);
    entry.text("service", facts.service);
    subject(&mut entry, facts);
    entry.plain("callerIp", facts.caller.ip);
    redact_into(entry.member("toolArgs"), facts.arguments, facts.redact, RedactLimits::default());
    let digest = hmac_sha256(digest_key, facts.arguments.as_bytes());
    entry.hex("toolArgsDigest", "hmac-sha256:", &digest);
    verdict(&mut entry, decision);
    history(&mut entry, facts.history);
    entry.hex("bundle", "sha256:", bundle.as_bytes());
    entry.end();
    out
}

/// What was asked for, and as whom. A tool that has a tier stands in a lock: its name and its action are
/// the operator's, where those of a tool that nobody knows are the caller's.
fn subject(entry: &mut Object<'_>, facts: &CallFacts<'_>) {
    match facts.tier {
        Some(tier) => {
            entry.text("tool", facts.tool);
            entry.word("tier", tier.as_str());
            entry.text("principal", facts.principal);
            entry.text("action", facts.action);
        }
        None => {
            entry.redacted("tool", facts.tool, NAME_CHARACTERS_MAX);
            entry.text("principal", facts.principal);
            entry.redacted("action", facts.action, TEXT_CHARACTERS_MAX);
        }
    }
    entry.redacted("resource", facts.resource, TEXT_CHARACTERS_MAX);
}

/// Who called, in which session and with which client.
fn caller(entry: &mut Object<'_>, facts: &CallFacts<'_>) {
    let caller = facts.caller;
    entry.uuid("agentId", "", caller.agent.id.as_uuid());
    entry.text("agentName", &caller.agent.name);
    entry.uuid("memberId", "", caller.member.id.as_uuid());
    entry.text("memberName", &caller.member.name);
    standing(entry, &caller.member);
    entry.uuid("memberKeyId", "", caller.key.as_uuid());
    if let Some(session) = facts.session {
        entry.uuid("sessionId", "ts_", session.as_uuid());
    }
    if let Some(conversation) = facts.conversation {
        entry.hex("conversation", "", conversation.as_bytes());
    }
    if let Some(client) = facts.client {
        let mut object = Object::begin(entry.member("client"));
        object.redacted("name", &client.name, NAME_CHARACTERS_MAX);
        object.redacted("version", &client.version, NAME_CHARACTERS_MAX);
        object.end();
    }
}

/// What policies see of the member beside its name: a replay must not take today's groups for those of then.
fn standing(entry: &mut Object<'_>, member: &Member) {
    entry.word(
        "memberRole",
        match member.role {
            Role::Owner => "owner",
            Role::Member => "member",
        },
    );
    if member.groups.is_empty() {
        return;
    }
    let groups = entry.member("memberGroups");
    groups.push(b'[');
    for (at, group) in member.groups.iter().take(GROUPS_MAX).enumerate() {
        if at > 0 {
            groups.push(b',');
        }
        json::string(groups, group.as_str());
    }
    groups.push(b']');
    if let Some(omitted) = beyond(member.groups.len(), GROUPS_MAX) {
        entry.number("memberGroupsOmitted", omitted);
    }
}

/// What was decided, and by which policies.
fn verdict(entry: &mut Object<'_>, decision: &Decision) {
    entry.word("decision", if decision.allowed { "ALLOW" } else { "DENY" });
    entry.word("reason", decision.reason.as_str());
    if let Some(message) = &decision.deny_message {
        entry.redacted("denyMessage", message, TEXT_CHARACTERS_MAX);
    }
    policies(entry, ["matchedPolicies", "matchedPoliciesOmitted"], &decision.determining, POLICIES_MAX);
    errors(entry, &decision.errors, ERRORS_MAX);
    if let Some(shadow) = &decision.shadow {
        let mut object = Object::begin(entry.member("shadow"));
        object.word("decision", if shadow.allowed { "ALLOW" } else { "DENY" });
        object.word("reason", shadow.reason.as_str());
        policies(&mut object, ["policies", "policiesOmitted"], &shadow.policies, SHADOW_POLICIES_MAX);
        errors(&mut object, &shadow.errors, SHADOW_ERRORS_MAX);
        object.end();
    }
}

/// A list of policies, and how many there are beyond it.
fn policies(entry: &mut Object<'_>, [list, omitted]: [&'static str; 2], all: &[PolicyRef], kept: usize) {
    json::list(entry.member(list), all.iter().take(kept), |object, policy| {
        object.text("key", policy.key.as_str());
        object.redacted("name", &policy.name, POLICY_NAME_CHARACTERS_MAX);
        object.number("version", policy.version);
        if let Some(id) = policy.id {
            object.uuid("id", "p_", id.as_uuid());
        }
    });
    if let Some(beyond) = beyond(all.len(), kept) {
        entry.number(omitted, beyond);
    }
}

/// The first of the policies that failed, where any did.
fn errors(entry: &mut Object<'_>, all: &[EvaluationError], kept: usize) {
    if all.is_empty() {
        return;
    }
    json::list(entry.member("errors"), all.iter().take(kept), |object, error| {
        object.text("policy", error.policy.as_str());
        object.redacted("message", &error.message, ERROR_CHARACTERS_MAX);
    });
}

/// The counters that the decision read.
fn history(entry: &mut Object<'_>, history: &History) {
    if history.session.is_empty() && history.member.is_empty() {
        return;
    }
    let mut object = Object::begin(entry.member("history"));
    for (name, counters) in [("session", &history.session), ("member", &history.member)] {
        let mut scope = Object::begin(object.member(name));
        for (key, value) in counters.iter().take(COUNTERS_MAX) {
            // The grammars of services, tools and policies need no escape.
            scope.signed(&key.to_string(), *value);
        }
        scope.end();
    }
    let omitted = [&history.session, &history.member].map(|counters| beyond(counters.len(), COUNTERS_MAX));
    if let Some(omitted) = omitted.into_iter().flatten().reduce(u64::saturating_add) {
        object.number("omitted", omitted);
    }
    object.end();
}

/// How many there are beyond those that are kept.
fn beyond(count: usize, kept: usize) -> Option<u64> {
    count.checked_sub(kept).filter(|omitted| *omitted > 0).map(|omitted| omitted as u64)
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
        let mut out = Vec::with_capacity(COMPLETION_BYTES_USUAL);
        let mut entry = Object::begin(&mut out);
        entry.word("type", "completion");
        entry.time("timestamp", self.at);
        entry.uuid("call", "", self.call.as_uuid());
        entry.number("intent", self.intent);
        entry.word("outcome", self.outcome.kind.as_str());
        entry.number("status", self.outcome.status);
        entry.number("bytes", self.outcome.bytes);
        entry.number("durationMs", self.outcome.duration_ms);
        match self.note {
            CompletionNote::None => {}
            CompletionNote::Recovered => entry.yes("recovered"),
            CompletionNote::NotForwarded => entry.yes("notForwarded"),
        }
        entry.end();
        out
    }
}

/// The body of an administrative entry.
pub(super) fn administrative_body(facts: &AdministrativeFacts<'_>, node: Uuid) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
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
        agent_id: Option<AgentId>,
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
        agent_id: facts.agent,
        before: facts.before.map(state),
        after: facts.after.map(state),
    })
}

/// The JSON text of a body. Structures of strings, numbers and maps with string keys always
/// serialise, so the empty fallback is unreachable; it would be refused as no entry.
pub(super) fn to_bytes<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

//! What the index keeps of an entry, and which entries a filter lets through.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audit::chain::EntryKind;
use crate::audit::segment::SegmentNumber;
use crate::audit::tail::Entry;
use crate::model::{
    AgentId, CallId, Digest, KeyId, MemberId, Outcome, OutcomeKind, PolicyRef, SessionId, Timestamp,
};
use crate::store::{AuditFilter, AuditRow, AuditWrite};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallEntry<'a> {
    timestamp: Timestamp,
    call: CallId,
    node: Uuid,
    agent_id: AgentId,
    agent_name: String,
    member_id: MemberId,
    member_name: String,
    member_key_id: KeyId,
    session_id: Option<SessionId>,
    service: String,
    tool: String,
    principal: String,
    action: String,
    resource: String,
    caller_ip: IpAddr,
    #[serde(borrow)]
    tool_args: &'a RawValue,
    reason: String,
    deny_message: Option<String>,
    matched_policies: Vec<PolicyRef>,
    bundle: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CompletionEntry {
    call: CallId,
    outcome: OutcomeKind,
    status: u16,
    bytes: u64,
    duration_ms: u64,
}

/// What the index keeps of an entry: nothing of the journal's own.
///
/// # Errors
/// Why a call's entry does not read.
pub fn write_of(entry: &Entry) -> Result<Option<AuditWrite>, String> {
    match entry.kind {
        EntryKind::Intent | EntryKind::Denial => {
            row_of(entry).map(|row| Some(AuditWrite::Entry(Box::new(row))))
        }
        EntryKind::Completion => {
            let read: CompletionEntry = serde_json::from_str(&entry.text).map_err(|e| e.to_string())?;
            let outcome = Outcome {
                kind: read.outcome,
                status: read.status,
                bytes: read.bytes,
                duration_ms: read.duration_ms,
            };
            Ok(Some(AuditWrite::Completion { call: read.call, outcome }))
        }
        EntryKind::Open
        | EntryKind::Administrative
        | EntryKind::Session
        | EntryKind::Retention
        | EntryKind::Checkpoint
        | EntryKind::Close => Ok(None),
    }
}

fn row_of(entry: &Entry) -> Result<AuditRow, String> {
    let read: CallEntry<'_> = serde_json::from_str(&entry.text).map_err(|e| e.to_string())?;
    Ok(AuditRow {
        node: read.node,
        // The segment's number: within it a sequence number stands once, even after a cut.
        boot: SegmentNumber::parse(&entry.segment).map_or(0, |number| number.0),
        seq: entry.seq,
        call: read.call,
        at: read.timestamp,
        agent_id: read.agent_id,
        agent_name: read.agent_name,
        member_id: read.member_id,
        member_name: read.member_name,
        key_id: read.member_key_id,
        session: read.session_id,
        service: read.service,
        tool: read.tool,
        action: read.action,
        resource: read.resource,
        principal: read.principal,
        caller_ip: read.caller_ip,
        arguments: read.tool_args.get().to_owned(),
        allowed: entry.kind == EntryKind::Intent,
        reason: read.deny_message.unwrap_or(read.reason),
        policies: read.matched_policies,
        bundle: read.bundle,
        outcome: None,
    })
}

/// Whether an entry passes the filter, as the store's query would decide it; `limit` and `offset`
/// are not looked at. An entry that is no decided call passes only an empty filter.
pub fn matches(filter: &AuditFilter, entry: &Entry) -> bool {
    let asked = AuditFilter { limit: 0, offset: 0, ..filter.clone() };
    if asked == AuditFilter::default() {
        return true;
    }
    if !matches!(entry.kind, EntryKind::Intent | EntryKind::Denial) {
        return false;
    }
    let Ok(row) = row_of(entry) else { return false };
    let part = |wanted: &Option<String>, text: &str| {
        wanted.as_ref().is_none_or(|w| text.to_lowercase().contains(&w.to_lowercase()))
    };
    asked.from.is_none_or(|from| row.at >= from)
        && asked.to.is_none_or(|to| row.at <= to)
        && part(&asked.agent, &row.agent_name)
        && asked.service.as_ref().is_none_or(|s| s.as_str() == row.service)
        && part(&asked.tool, &row.tool)
        && asked.allowed.is_none_or(|allowed| allowed == row.allowed)
        && asked.member.is_none_or(|member| member == row.member_id)
        && asked.policy.as_ref().is_none_or(|key| row.policies.iter().any(|p| p.key == *key))
}

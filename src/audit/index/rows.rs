//! What the index keeps of an entry, and which entries a filter lets through.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audit::chain::EntryKind;
use crate::audit::segment::SegmentNumber;
use crate::audit::tail::Entry;
use crate::model::{
    AgentId, CallId, Digest, EmailAddress, KeyId, MemberId, Outcome, OutcomeKind, PolicyRef, SessionId,
    Timestamp,
};
use crate::store::{AuditFilter, AuditRow, AuditWrite, ChangePhase, ChangeRow, ShadowRow};

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
    shadow: Option<ShadowRow>,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeEntry<'a> {
    timestamp: Timestamp,
    change: CallId,
    node: Uuid,
    phase: ChangePhase,
    who: String,
    what: String,
    target: String,
    agent_id: Option<AgentId>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
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
        EntryKind::Administrative => change_of(entry).map(|row| Some(AuditWrite::Change(Box::new(row)))),
        EntryKind::Open
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
        reason: read.reason,
        deny_message: read.deny_message,
        policies: read.matched_policies,
        shadow: read.shadow,
        bundle: read.bundle,
        outcome: None,
    })
}

fn change_of(entry: &Entry) -> Result<ChangeRow, String> {
    let read: ChangeEntry<'_> = serde_json::from_str(&entry.text).map_err(|e| e.to_string())?;
    let account = read.who.strip_prefix("account:").and_then(|account| account.split(' ').next());
    let json = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
    Ok(ChangeRow {
        node: read.node,
        boot: SegmentNumber::parse(&entry.segment).map_or(0, |number| number.0),
        seq: entry.seq,
        change: read.change,
        at: read.timestamp,
        phase: read.phase,
        ended_at: None,
        account: account.and_then(|account| EmailAddress::parse(account).ok()),
        who: read.who,
        what: read.what,
        target: read.target,
        agent: read.agent_id,
        before: json(read.before),
        after: json(read.after),
    })
}

/// Whether an entry passes the filter, as the store's query would decide it; `limit`, `offset` and the
/// place are not looked at. An entry that is no decided call passes only an empty filter.
pub fn matches(filter: &AuditFilter, entry: &Entry) -> bool {
    let asked = AuditFilter { limit: 0, offset: 0, place: None, ..filter.clone() };
    if asked == AuditFilter::default() {
        return true;
    }
    matches!(entry.kind, EntryKind::Intent | EntryKind::Denial)
        && row_of(entry).is_ok_and(|row| asked.lets_through(&row))
}

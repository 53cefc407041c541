//! One entry of the audit as somebody may see it (specification 7.1, and the names of the reference).
//!
//! Invariant: whoever may not know the policies of a call sees neither their ids nor their names, nor a
//! reason that says one.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::question::AuditDecision;
use crate::model::{AgentId, CallId, KeyId, MemberId, PolicyId, PolicyRef, SessionId, Timestamp};
use crate::store::{AuditCursor, AuditRow, ShadowRow, Sight};

/// One decided call.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::control::api) struct AuditEntry {
    /// The call; in the journal and in `x-request-id` upstream it has the same.
    #[schema(value_type = String, format = Uuid)]
    pub id: CallId,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    #[schema(value_type = String, format = Uuid)]
    pub agent_id: AgentId,
    /// As the agent was called then.
    pub agent_name: String,
    #[schema(value_type = String, format = Uuid)]
    pub member_id: MemberId,
    /// As the member was called then.
    pub member_name: String,
    /// The same as `memberName`.
    pub user: String,
    /// The key's record; never the key.
    #[schema(value_type = String, format = Uuid)]
    pub member_key_id: KeyId,
    #[schema(value_type = Option<String>)]
    pub session_id: Option<SessionId>,
    pub service: String,
    /// Without prefix.
    pub tool: String,
    /// Cedar's principal.
    pub principal: String,
    /// Cedar's action.
    pub action: String,
    /// Cedar's resource.
    pub resource: String,
    #[schema(value_type = String)]
    pub caller_ip: IpAddr,
    /// The arguments, redacted.
    pub tool_args: Value,
    pub decision: AuditDecision,
    /// For people: what the policy says to whom it denies, else the code.
    pub reason: String,
    /// `permitted`, `forbidden`, `no_permit` …
    pub reason_code: String,
    /// Keys of the policies that determined the decision.
    pub matched_policy_ids: Vec<String>,
    /// The id of each; null of one from a file.
    #[schema(value_type = Vec<Option<String>>)]
    pub matched_policy_uuids: Vec<Option<PolicyId>>,
    pub matched_policy_names: Vec<String>,
    /// The version of each; 0 of one from a file.
    pub matched_policy_versions: Vec<u32>,
    /// The policies are the owner's to know.
    pub redacted: bool,
    /// How an allowed call ended; null as long as nobody knows, and for denied ones.
    #[schema(value_type = Option<String>)]
    pub outcome: Option<&'static str>,
    /// The upstream's HTTP status; 0 where there was none.
    pub status: Option<u16>,
    /// From the call's arrival to its end, upstream included.
    pub duration_ms: Option<u64>,
    /// What would have been decided if policies in shadow mode were enforced; null where it is the same, for
    /// the same policies, and for those who may not know the policies.
    pub shadow: Option<ShadowEntry>,
    /// Digest of the policies, connectors and tools that decided.
    pub bundle: String,
    /// The entry's place, for `before` and `after`.
    pub cursor: String,
}

/// What would have been decided if policies in shadow mode were enforced.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::control::api) struct ShadowEntry {
    #[schema(inline)]
    pub decision: AuditDecision,
    /// `permitted`, `forbidden`, `no_permit` or `evaluation_error`.
    pub reason_code: String,
    /// Keys of the policies in shadow mode that would have determined it.
    pub policy_ids: Vec<String>,
    pub policy_names: Vec<String>,
    /// Keys of the policies in shadow mode that could not be evaluated.
    pub failed_policy_ids: Vec<String>,
}

impl ShadowEntry {
    fn of(row: &ShadowRow) -> Self {
        Self {
            decision: AuditDecision::of(row.decision == "ALLOW"),
            reason_code: row.reason.clone(),
            policy_ids: row.policies.iter().map(|policy| policy.key.to_string()).collect(),
            policy_names: row.policies.iter().map(|policy| policy.name.to_string()).collect(),
            failed_policy_ids: row.errors.iter().map(|error| error.policy.to_string()).collect(),
        }
    }
}

impl AuditEntry {
    /// The entry as this sight shows it.
    pub fn of(cursor: AuditCursor, row: &AuditRow, sight: &Sight) -> Self {
        let told = sight.names_policies(row.agent_id, row.member_id);
        let policies: &[PolicyRef] = if told { &row.policies } else { &[] };
        Self {
            id: row.call,
            timestamp: row.at,
            agent_id: row.agent_id,
            agent_name: row.agent_name.clone(),
            member_id: row.member_id,
            member_name: row.member_name.clone(),
            user: row.member_name.clone(),
            member_key_id: row.key_id,
            session_id: row.session,
            service: row.service.clone(),
            tool: row.tool.clone(),
            principal: row.principal.clone(),
            action: row.action.clone(),
            resource: row.resource.clone(),
            caller_ip: row.caller_ip,
            tool_args: serde_json::from_str(&row.arguments)
                .unwrap_or_else(|_| Value::String(row.arguments.clone())),
            decision: AuditDecision::of(row.allowed),
            reason: if told { row.said() } else { row.said_without_policies() }.to_owned(),
            reason_code: row.reason.clone(),
            matched_policy_ids: policies.iter().map(|policy| policy.key.to_string()).collect(),
            matched_policy_uuids: policies.iter().map(|policy| policy.id).collect(),
            matched_policy_names: policies.iter().map(|policy| policy.name.to_string()).collect(),
            matched_policy_versions: policies.iter().map(|policy| policy.version).collect(),
            redacted: !told,
            outcome: row.outcome.map(|outcome| outcome.kind.as_str()),
            status: row.outcome.map(|outcome| outcome.status),
            duration_ms: row.outcome.map(|outcome| outcome.duration_ms),
            shadow: row.shadow.as_ref().filter(|_| told).map(ShadowEntry::of),
            bundle: row.bundle.to_string(),
            cursor: cursor.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Digest, PolicyKey, TrustMode};
    use crate::store::OwnMembership;

    fn row(message: &str) -> AuditRow {
        let at = Timestamp::from_millis(1_800_000_000_000);
        AuditRow {
            node: uuid::Uuid::nil(),
            boot: 1,
            seq: 1,
            call: CallId::mint(at, [1; 10]),
            at,
            agent_id: AgentId::mint(at, [2; 10]),
            agent_name: "a".into(),
            member_id: MemberId::mint(at, [3; 10]),
            member_name: "bob@example.com".into(),
            key_id: KeyId::mint(at, [4; 10]),
            session: None,
            service: "github".into(),
            tool: "delete_file".into(),
            action: "x".into(),
            resource: "x".into(),
            principal: "x".into(),
            caller_ip: "10.0.0.1".parse().unwrap(),
            arguments: "{\"path\":\"x\"}".into(),
            allowed: false,
            reason: "forbidden".into(),
            deny_message: Some(message.into()),
            policies: vec![PolicyRef {
                key: PolicyKey::parse("block-deletes").unwrap(),
                name: Arc::from("Block deletes"),
                version: 2,
                id: None,
            }],
            shadow: None,
            bundle: Digest::of(b"x"),
            outcome: None,
        }
    }

    #[test]
    fn a_member_of_a_trusted_agent_is_told_no_policy() {
        let cursor = AuditCursor { at: Timestamp::from_millis(0), seq: 1, id: 1 };
        for (message, kept) in [
            ("Ask a maintainer.", true),
            ("Stopped by BLOCK DELETES.", false),
            ("see block-deletes in the handbook", false),
        ] {
            let row = row(message);
            let own = |trust| Sight::Account {
                owned: vec![],
                own: vec![OwnMembership { member: row.member_id, agent: row.agent_id, trust }],
            };
            let member = AuditEntry::of(cursor, &row, &own(TrustMode::Trusted));
            let shown = serde_json::to_string(&member).unwrap().to_lowercase();
            assert!(!shown.contains("block-deletes") && !shown.contains("block deletes"), "{shown}");
            assert!(member.redacted && member.reason_code == "forbidden");
            assert_eq!(member.reason, if kept { message } else { "forbidden" });
            let owner = Sight::Account { owned: vec![row.agent_id], own: vec![] };
            for sight in [owner, own(TrustMode::Untrusted), Sight::Everything] {
                let told = AuditEntry::of(cursor, &row, &sight);
                assert_eq!((told.redacted, &*told.reason), (false, message));
                assert_eq!(told.matched_policy_ids, ["block-deletes"]);
            }
        }
    }
}

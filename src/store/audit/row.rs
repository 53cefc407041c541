//! The index's tables, and how an entry stands in them.

use sea_orm::Set;

use super::AuditRow;
use crate::model::{AgentId, CallId, Digest, KeyId, MemberId, Outcome, OutcomeKind, SessionId, Timestamp};
use crate::store::StoreError;
use crate::store::column::{
    bytes, id_text, json, parse, parse_id, parse_json, parse_word, signed, unsigned, word,
};

pub(super) mod entry {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_entry")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub boot: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        pub call_id: String,
        pub at: i64,
        pub agent_id: String,
        pub agent_name: String,
        /// The name in lower case, for searching.
        pub agent_folded: String,
        pub member_id: String,
        pub member_name: String,
        pub key_id: String,
        pub session_id: Option<String>,
        pub service: String,
        pub tool: String,
        /// The name in lower case, for searching.
        pub tool_folded: String,
        pub action: String,
        pub resource: String,
        pub principal: String,
        pub caller_ip: String,
        pub arguments: String,
        pub allowed: bool,
        pub reason: String,
        /// JSON list of policy references.
        pub policies: String,
        pub bundle: Vec<u8>,
        pub outcome: Option<String>,
        pub outcome_status: Option<i64>,
        pub outcome_bytes: Option<i64>,
        pub duration_ms: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod policy {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_entry_policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub policy_key: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub boot: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        pub at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod position {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_position")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: String,
        pub segment: String,
        pub byte_offset: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) fn entry_model(row: &AuditRow) -> Result<entry::ActiveModel, StoreError> {
    let outcome = row.outcome.as_ref();
    let number = |place, value: Option<u64>| value.map(|value| signed(place, value)).transpose();
    Ok(entry::ActiveModel {
        node: Set(id_text(&row.node)),
        boot: Set(signed("audit_entry.boot", row.boot)?),
        seq: Set(signed("audit_entry.seq", row.seq)?),
        call_id: Set(id_text(row.call.as_uuid())),
        at: Set(row.at.as_millis()),
        agent_id: Set(id_text(row.agent_id.as_uuid())),
        agent_name: Set(row.agent_name.clone()),
        agent_folded: Set(row.agent_name.to_lowercase()),
        member_id: Set(id_text(row.member_id.as_uuid())),
        member_name: Set(row.member_name.clone()),
        key_id: Set(id_text(row.key_id.as_uuid())),
        session_id: Set(row.session.map(|session| id_text(session.as_uuid()))),
        service: Set(row.service.clone()),
        tool: Set(row.tool.clone()),
        tool_folded: Set(row.tool.to_lowercase()),
        action: Set(row.action.clone()),
        resource: Set(row.resource.clone()),
        principal: Set(row.principal.clone()),
        caller_ip: Set(row.caller_ip.to_string()),
        arguments: Set(row.arguments.clone()),
        allowed: Set(row.allowed),
        reason: Set(row.reason.clone()),
        policies: Set(json("audit_entry.policies", &row.policies)?),
        bundle: Set(row.bundle.as_bytes().to_vec()),
        outcome: Set(outcome.map(|outcome| word("audit_entry.outcome", outcome.kind)).transpose()?),
        outcome_status: Set(outcome.map(|outcome| i64::from(outcome.status))),
        outcome_bytes: Set(number("audit_entry.outcome_bytes", outcome.map(|outcome| outcome.bytes))?),
        duration_ms: Set(number("audit_entry.duration_ms", outcome.map(|outcome| outcome.duration_ms))?),
    })
}

pub(super) fn policy_models(row: &AuditRow) -> Result<Vec<policy::ActiveModel>, StoreError> {
    let (boot, seq) = (signed("audit_entry.boot", row.boot)?, signed("audit_entry.seq", row.seq)?);
    let model = |policy: &crate::model::PolicyRef| policy::ActiveModel {
        policy_key: Set(policy.key.to_string()),
        node: Set(id_text(&row.node)),
        boot: Set(boot),
        seq: Set(seq),
        at: Set(row.at.as_millis()),
    };
    Ok(row.policies.iter().map(model).collect())
}

pub(super) fn row_of(entry: entry::Model) -> Result<AuditRow, StoreError> {
    let outcome = outcome_of(&entry)?;
    let session = entry.session_id.map(|id| parse_id("audit_entry.session_id", &id)).transpose()?;
    Ok(AuditRow {
        node: parse_id("audit_entry.node", &entry.node)?,
        boot: unsigned("audit_entry.boot", entry.boot)?,
        seq: unsigned("audit_entry.seq", entry.seq)?,
        call: CallId::from_uuid(parse_id("audit_entry.call_id", &entry.call_id)?),
        at: Timestamp::from_millis(entry.at),
        agent_id: AgentId::from_uuid(parse_id("audit_entry.agent_id", &entry.agent_id)?),
        agent_name: entry.agent_name,
        member_id: MemberId::from_uuid(parse_id("audit_entry.member_id", &entry.member_id)?),
        member_name: entry.member_name,
        key_id: KeyId::from_uuid(parse_id("audit_entry.key_id", &entry.key_id)?),
        session: session.map(SessionId::from_uuid),
        service: entry.service,
        tool: entry.tool,
        action: entry.action,
        resource: entry.resource,
        principal: entry.principal,
        caller_ip: parse("audit_entry.caller_ip", &entry.caller_ip)?,
        arguments: entry.arguments,
        allowed: entry.allowed,
        reason: entry.reason,
        policies: parse_json("audit_entry.policies", &entry.policies)?,
        bundle: Digest::from_bytes(bytes("audit_entry.bundle", &entry.bundle)?),
        outcome,
    })
}

fn outcome_of(entry: &entry::Model) -> Result<Option<Outcome>, StoreError> {
    let Some(kind) = &entry.outcome else { return Ok(None) };
    let kind: OutcomeKind = parse_word("audit_entry.outcome", kind)?;
    let status = u16::try_from(entry.outcome_status.unwrap_or(0))
        .map_err(|error| StoreError::corrupt("audit_entry.outcome_status", error))?;
    Ok(Some(Outcome {
        kind,
        status,
        bytes: unsigned("audit_entry.outcome_bytes", entry.outcome_bytes.unwrap_or(0))?,
        duration_ms: unsigned("audit_entry.duration_ms", entry.duration_ms.unwrap_or(0))?,
    }))
}

//! Stored policies as the data plane reads them: what they say and do, without what people see beside it.
//!
//! Invariant: a row whose text or mode this version of the gate cannot read is still a policy: one that
//! nobody can read, which then forbids (`policy::BrokenPolicy`). It must neither be dropped nor keep the
//! rest of the directory from being read.

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _};

use super::{row, version_number};
use crate::model::{AgentId, MemberId, PolicyId, PolicyMode, PolicyText, StoredPolicy};
use crate::store::StoreError;
use crate::store::column::{id_text, parse, parse_id, parse_json, parse_word};

/// In the place of a text that cannot be read: no Cedar.
const UNREADABLE: &str = "the stored text cannot be read by this version of the gate";

type Columns = (String, String, Option<String>, String, bool, String, i64, String);

/// The policies of all agents.
pub(in crate::store) async fn all(
    connection: &impl ConnectionTrait,
) -> Result<Vec<StoredPolicy>, StoreError> {
    matching(connection, Condition::all()).await
}

/// The policies of these agents.
pub(in crate::store) async fn of_these(
    connection: &impl ConnectionTrait,
    agents: impl Iterator<Item = &AgentId>,
) -> Result<Vec<StoredPolicy>, StoreError> {
    let ids = agents.map(|agent| id_text(agent.as_uuid()));
    matching(connection, Condition::all().add(row::Column::AgentId.is_in(ids))).await
}

async fn matching(
    connection: &impl ConnectionTrait,
    condition: Condition,
) -> Result<Vec<StoredPolicy>, StoreError> {
    use row::Column as C;
    let rows: Vec<Columns> = row::Entity::find()
        .filter(condition)
        .select_only()
        .columns([C::Id, C::AgentId, C::MemberId, C::PolicyKey, C::Enabled, C::Mode, C::Version, C::Text])
        .order_by_asc(C::Id)
        .into_tuple()
        .all(connection)
        .await?;
    rows.into_iter().map(stored).collect()
}

fn stored(
    (id, agent, member, key, enabled, mode, version, text): Columns,
) -> Result<StoredPolicy, StoreError> {
    let member = member.map(|id| parse_id("policy.member_id", &id)).transpose()?;
    let readable = parse_word::<PolicyMode>("policy.mode", &mode)
        .and_then(|mode| Ok((mode, parse_json::<PolicyText>("policy.text", &text)?)));
    let (mode, text) = match readable {
        Ok((_, text)) if !enabled => (PolicyMode::Off, text),
        Ok((mode, text)) => (mode, text),
        Err(error) => {
            tracing::error!(policy = %key, %error, "a stored policy cannot be read");
            let mode = if enabled { PolicyMode::Enforced } else { PolicyMode::Off };
            (mode, PolicyText::Cedar(UNREADABLE.to_owned()))
        }
    };
    Ok(StoredPolicy {
        id: PolicyId::from_uuid(parse_id("policy.id", &id)?),
        agent: AgentId::from_uuid(parse_id("policy.agent_id", &agent)?),
        member: member.map(MemberId::from_uuid),
        key: parse("policy.policy_key", &key)?,
        version: version_number("policy.version", version)?,
        mode,
        text,
    })
}

//! Rows of the index as they are asked for, by their numbers.

use std::collections::{BTreeSet, HashMap};

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use super::row::{agent, entry, lane, member, position, ruling, tool};
use super::write::node_number;
use super::{AuditRow, ShadowRow};
use crate::model::{
    AgentId, CallId, Digest, KeyId, MemberId, Outcome, OutcomeKind, PolicyRef, SessionId, Timestamp,
};
use crate::store::StoreError;
use crate::store::column::{bytes, parse, parse_id, parse_json, parse_word, unsigned};

/// The rows of these numbers; one that is gone meanwhile is not among them.
pub(super) async fn rows(
    connection: &impl ConnectionTrait,
    ids: Vec<i64>,
) -> Result<HashMap<i64, AuditRow>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let entries = entry::Entity::find().filter(entry::Column::Id.is_in(ids)).all(connection).await?;
    let names = Names::of(connection, &entries).await?;
    entries.into_iter().map(|entry| Ok((entry.id, names.row(entry)?))).collect()
}

struct Names {
    nodes: HashMap<i64, Uuid>,
    agents: HashMap<i64, agent::Model>,
    tools: HashMap<i64, tool::Model>,
    lanes: HashMap<i64, lane::Model>,
    members: HashMap<i64, member::Model>,
    rulings: HashMap<i64, Ruling>,
}

/// Why calls were decided as they were: reason, message, policies, and what shadows would have made of it.
type Ruling = (String, Option<String>, Vec<PolicyRef>, Option<ShadowRow>);

impl Names {
    async fn of(connection: &impl ConnectionTrait, entries: &[entry::Model]) -> Result<Self, StoreError> {
        let distinct =
            |number: fn(&entry::Model) -> i64| -> BTreeSet<i64> { entries.iter().map(number).collect() };
        let lanes = lane::Entity::find().filter(lane::Column::Id.is_in(distinct(|entry| entry.lane)));
        let members = member::Entity::find().filter(member::Column::Id.is_in(distinct(|entry| entry.member)));
        let rulings = ruling::Entity::find().filter(ruling::Column::Id.is_in(distinct(|entry| entry.ruling)));
        let lanes = lanes.all(connection).await?;
        let named = |number: fn(&lane::Model) -> i64| -> BTreeSet<i64> { lanes.iter().map(number).collect() };
        let agents = agent::Entity::find().filter(agent::Column::Id.is_in(named(|lane| lane.named)));
        let tools = tool::Entity::find().filter(tool::Column::Id.is_in(named(|lane| lane.tool)));
        let mut nodes = HashMap::new();
        for row in position::Entity::find().all(connection).await? {
            let node = parse_id("audit_position.node", &row.node)?;
            nodes.insert(node_number(&node), node);
        }
        let ruled = |row: ruling::Model| {
            let policies = parse_json("audit_ruling.policies", &row.policies)?;
            let shadow = row.shadow.as_deref().map(|shadow| parse_json("audit_ruling.shadow", shadow));
            Ok((row.id, (row.reason, row.deny_message, policies, shadow.transpose()?)))
        };
        Ok(Self {
            nodes,
            agents: agents.all(connection).await?.into_iter().map(|row| (row.id, row)).collect(),
            tools: tools.all(connection).await?.into_iter().map(|row| (row.id, row)).collect(),
            lanes: lanes.into_iter().map(|row| (row.id, row)).collect(),
            members: members.all(connection).await?.into_iter().map(|row| (row.id, row)).collect(),
            rulings: rulings
                .all(connection)
                .await?
                .into_iter()
                .map(ruled)
                .collect::<Result<_, StoreError>>()?,
        })
    }

    fn row(&self, entry: entry::Model) -> Result<AuditRow, StoreError> {
        let missing = |place: &'static str| StoreError::corrupt(place, "the row that it names is missing");
        let lane = self.lanes.get(&entry.lane).ok_or_else(|| missing("audit_entry.lane"))?;
        let agent = self.agents.get(&lane.named).ok_or_else(|| missing("audit_lane.named"))?;
        let tool = self.tools.get(&lane.tool).ok_or_else(|| missing("audit_lane.tool"))?;
        let member = self.members.get(&entry.member).ok_or_else(|| missing("audit_entry.member"))?;
        let (reason, deny_message, policies, shadow) =
            self.rulings.get(&entry.ruling).ok_or_else(|| missing("audit_entry.ruling"))?;
        let id = |place, found: &[u8]| bytes::<16>(place, found).map(Uuid::from_bytes);
        let session = entry.session_id.as_deref().map(|found| id("audit_entry.session_id", found));
        Ok(AuditRow {
            // A node whose index is made anew at this moment has no place yet.
            node: self.nodes.get(&entry.node).copied().unwrap_or_default(),
            boot: unsigned("audit_entry.boot", entry.boot)?,
            seq: unsigned("audit_entry.seq", entry.seq)?,
            call: CallId::from_uuid(id("audit_entry.call_id", &entry.call_id)?),
            at: Timestamp::from_millis(entry.at),
            agent_id: AgentId::from_uuid(parse_id("audit_agent.agent_id", &agent.agent_id)?),
            agent_name: agent.agent_name.clone(),
            member_id: MemberId::from_uuid(parse_id("audit_member.member_id", &member.member_id)?),
            member_name: member.member_name.clone(),
            key_id: KeyId::from_uuid(id("audit_entry.key_id", &entry.key_id)?),
            session: session.transpose()?.map(SessionId::from_uuid),
            service: tool.service.clone(),
            tool: tool.tool.clone(),
            action: lane.action.clone(),
            resource: entry.resource.clone(),
            principal: member.principal.clone(),
            caller_ip: parse("audit_entry.caller_ip", &entry.caller_ip)?,
            arguments: entry.arguments.clone(),
            allowed: lane.allowed,
            reason: reason.clone(),
            deny_message: deny_message.clone(),
            policies: policies.clone(),
            shadow: shadow.clone(),
            bundle: Digest::from_bytes(bytes("audit_entry.bundle", &entry.bundle)?),
            outcome: outcome_of(&entry)?,
        })
    }
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

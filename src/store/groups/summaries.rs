//! Groups with the number of their members, for lists: who is in one is asked of the members.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, QueryOrder as _, QuerySelect as _};

use super::{Groups, place, row};
use crate::model::{AgentId, GroupName, Timestamp};
use crate::store::column::{id_text, parse, unsigned};
use crate::store::{StoreError, dialect};

/// A group and how many are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    pub name: GroupName,
    pub member_count: u64,
    pub created_at: Timestamp,
}

impl Groups<'_> {
    /// The agent's groups, by name, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn summaries(
        &self,
        agent: AgentId,
        (limit, offset): (u64, u64),
    ) -> Result<(Vec<GroupSummary>, u64), StoreError> {
        let find = row::Entity::find().filter(row::Column::AgentId.eq(id_text(agent.as_uuid())));
        let page = find.clone().order_by_asc(row::Column::Name).limit(limit).offset(offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let found = counted(page.all(&moment).await?, &moment).await?;
                moment.commit().await?;
                Ok((found, total))
            })
            .await
    }

    /// Those of the agent's groups that have one of these names, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn among(
        &self,
        agent: AgentId,
        names: &BTreeSet<GroupName>,
    ) -> Result<Vec<GroupSummary>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .filter(row::Column::Name.is_in(names.iter().map(ToString::to_string)))
            .order_by_asc(row::Column::Name);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let found = counted(find.all(&moment).await?, &moment).await?;
                moment.commit().await?;
                Ok(found)
            })
            .await
    }
}

/// These groups with the number of their members.
async fn counted(
    rows: Vec<row::Model>,
    moment: &DatabaseTransaction,
) -> Result<Vec<GroupSummary>, StoreError> {
    let counts: Vec<(String, i64)> = place::Entity::find()
        .filter(place::Column::GroupId.is_in(rows.iter().map(|row| row.id.as_str())))
        .select_only()
        .column(place::Column::GroupId)
        .column_as(place::Column::MemberId.count(), "members")
        .group_by(place::Column::GroupId)
        .into_tuple()
        .all(moment)
        .await?;
    let counts: BTreeMap<String, i64> = counts.into_iter().collect();
    let summary_of = |row: row::Model| {
        Ok(GroupSummary {
            name: parse("member_group.name", &row.name)?,
            member_count: unsigned("member_group", counts.get(&row.id).copied().unwrap_or(0))?,
            created_at: Timestamp::from_millis(row.created_at),
        })
    };
    rows.into_iter().map(summary_of).collect()
}

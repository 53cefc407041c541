//! The approved members whom a policy speaks of, and which of those that it names are there at all.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{Condition, JoinType, QueryOrder as _, QuerySelect as _};

use super::{Members, row};
use crate::model::{AgentId, MemberId, MemberStatus, PolicyPrincipal};
use crate::store::column::{id_text, parse_id, word};
use crate::store::{StoreError, dialect, groups};

impl Members<'_> {
    /// The first of the alphabet, at most so many, and how many there are; of one member's own policy that
    /// member alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spoken_of(
        &self,
        agent: AgentId,
        principal: &PolicyPrincipal,
        own: Option<MemberId>,
        limit: u64,
    ) -> Result<(Vec<(MemberId, String)>, u64), StoreError> {
        let find = row::Entity::find().filter(condition(agent, principal, own)?);
        let page = find.clone().order_by_asc(row::Column::Folded).order_by_asc(row::Column::Id).limit(limit);
        let page = page.select_only().column(row::Column::Id).column(row::Column::Name).into_tuple();
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows: Vec<(String, String)> = page.all(&moment).await?;
                moment.commit().await?;
                let member = |(id, name): (String, String)| {
                    Ok((MemberId::from_uuid(parse_id("member.id", &id)?), name))
                };
                Ok((rows.into_iter().map(member).collect::<Result<_, StoreError>>()?, total))
            })
            .await
    }

    /// Those of these ids that are members of the agent, approved or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn among(
        &self,
        agent: AgentId,
        ids: &BTreeSet<MemberId>,
    ) -> Result<BTreeSet<MemberId>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .filter(row::Column::Id.is_in(ids.iter().map(|id| id_text(id.as_uuid()))))
            .select_only()
            .column(row::Column::Id)
            .into_tuple();
        self.0
            .timed(async {
                let found: Vec<String> = find.all(&self.0.connection).await?;
                let id = |id: String| Ok(MemberId::from_uuid(parse_id("member.id", &id)?));
                found.into_iter().map(id).collect()
            })
            .await
    }
}

fn condition(
    agent: AgentId,
    principal: &PolicyPrincipal,
    own: Option<MemberId>,
) -> Result<Condition, StoreError> {
    let agent = id_text(agent.as_uuid());
    let named = match principal {
        PolicyPrincipal::AllMembers => None,
        PolicyPrincipal::SpecificMembers { user_ids } => {
            Some(row::Column::Id.is_in(user_ids.iter().map(|id| id_text(id.as_uuid()))))
        }
        PolicyPrincipal::Groups { groups } => {
            let places = Query::select()
                .column((groups::place::Entity, groups::place::Column::MemberId))
                .from(groups::place::Entity)
                .join(
                    JoinType::InnerJoin,
                    groups::row::Entity,
                    Expr::col((groups::row::Entity, groups::row::Column::Id))
                        .equals((groups::place::Entity, groups::place::Column::GroupId)),
                )
                .and_where(groups::row::Column::AgentId.eq(agent.as_str()))
                .and_where(groups::row::Column::Name.is_in(groups.iter().map(ToString::to_string)))
                .to_owned();
            Some(ExprTrait::in_subquery(Expr::col((row::Entity, row::Column::Id)), places))
        }
    };
    Ok(Condition::all()
        .add(row::Column::AgentId.eq(agent.as_str()))
        .add(row::Column::Status.eq(word("member.status", MemberStatus::Approved)?))
        .add_option(own.map(|member| row::Column::Id.eq(id_text(member.as_uuid()))))
        .add_option(named))
}

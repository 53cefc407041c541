//! Agents as an account sees them: those that it owns and those that it is a member of, with its own
//! membership and key.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, Order, Query, SelectStatement};
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _};

use super::{Agents, agent_of, row};
use crate::model::{AccountId, Agent, AgentStatus, Member, MemberStatus, Role};
use crate::store::column::{contains, id_text, parse_id, unsigned, word};
use crate::store::{KeyRow, StoreError, dialect, keys, members, policies};

/// What a list of agents is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AgentSort {
    /// In lower case.
    #[default]
    Name,
    CreatedAt,
    Status,
    MemberCount,
}

/// Which agents of an account, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentQuery {
    pub account: AccountId,
    /// Part of the name or of a tag, in any case.
    pub search: Option<String>,
    pub status: Option<AgentStatus>,
    /// Those that it owns, or those that it is a mere member of.
    pub role: Option<Role>,
    pub sort: AgentSort,
    pub descending: bool,
    pub limit: u64,
    pub offset: u64,
}

/// An agent and what the account has in it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenAgent {
    pub agent: Agent,
    /// The account's own membership, without its groups.
    pub member: Option<Member>,
    /// The account's own key, where it has one that works.
    pub key: Option<KeyRow>,
    /// Members, pending ones too, rejected ones not.
    pub member_count: u64,
    /// Policies that are stored for it.
    pub policy_count: u64,
}

impl Agents<'_> {
    /// The account's agents that match, and how many match in all. Where two are alike in what is sorted by,
    /// the older one comes first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seen_by(&self, query: &AgentQuery) -> Result<(Vec<SeenAgent>, u64), StoreError> {
        let find = row::Entity::find().filter(condition(query)?);
        let order = if query.descending { Order::Desc } else { Order::Asc };
        let sorted = match query.sort {
            AgentSort::Name => find.clone().order_by(row::Column::Folded, order),
            AgentSort::CreatedAt => find.clone().order_by(row::Column::CreatedAt, order),
            AgentSort::Status => find.clone().order_by(row::Column::Status, order),
            AgentSort::MemberCount => find.clone().order_by(Expr::from(counted()?), order),
        };
        let page = sorted.order_by_asc(row::Column::Id).limit(query.limit).offset(query.offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let agents = page.all(&moment).await?.into_iter().map(agent_of);
                let agents = agents.collect::<Result<Vec<_>, _>>()?;
                let seen = with_standing(&moment, agents, query.account).await?;
                moment.commit().await?;
                Ok((seen, total))
            })
            .await
    }

    /// This agent as the account sees it, whether it has a part in it or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn as_seen_by(&self, agent: Agent, account: AccountId) -> Result<SeenAgent, StoreError> {
        let id = agent.id;
        let seen = self.0.timed(async {
            let moment = dialect::begin_read(&self.0.connection).await?;
            let seen = with_standing(&moment, vec![agent], account).await?;
            moment.commit().await?;
            Ok(seen)
        });
        seen.await?.into_iter().next().ok_or_else(|| StoreError::not_found("agent", id))
    }
}

fn condition(query: &AgentQuery) -> Result<Condition, StoreError> {
    let account = id_text(query.account.as_uuid());
    let memberships = Query::select()
        .column(members::row::Column::AgentId)
        .from(members::row::Entity)
        .and_where(members::row::Column::AccountId.eq(account.as_str()))
        .and_where(members::row::Column::Status.ne(word("member.status", MemberStatus::Rejected)?))
        .to_owned();
    let owned = row::Column::OwnerId.eq(account.as_str());
    let part = ExprTrait::in_subquery(Expr::col((row::Entity, row::Column::Id)), memberships);
    let visible = match query.role {
        None => Condition::any().add(owned).add(part),
        Some(Role::Owner) => Condition::all().add(owned),
        Some(Role::Member) => {
            let foreign = Condition::any()
                .add(row::Column::OwnerId.is_null())
                .add(row::Column::OwnerId.ne(account.as_str()));
            Condition::all().add(part).add(foreign)
        }
    };
    let status = query.status.map(|status| word("agent.status", status)).transpose()?;
    Ok(Condition::all()
        .add(visible)
        .add_option(status.map(|status| row::Column::Status.eq(status)))
        .add_option(query.search.as_deref().map(|part| contains(row::Column::Folded, part))))
}

/// How many members the agent of the outer query has.
fn counted() -> Result<SelectStatement, StoreError> {
    let own = Expr::col((members::row::Entity, members::row::Column::AgentId))
        .equals((row::Entity, row::Column::Id));
    Ok(Query::select()
        .expr(Expr::col((members::row::Entity, members::row::Column::Id)).count())
        .from(members::row::Entity)
        .and_where(own)
        .and_where(members::row::Column::Status.ne(word("member.status", MemberStatus::Rejected)?))
        .to_owned())
}

async fn with_standing(
    moment: &impl ConnectionTrait,
    agents: Vec<Agent>,
    account: AccountId,
) -> Result<Vec<SeenAgent>, StoreError> {
    let ids: Vec<String> = agents.iter().map(|agent| id_text(agent.id.as_uuid())).collect();
    let of_page = || members::row::Column::AgentId.is_in(ids.iter().map(String::as_str));
    let own = members::row::Entity::find()
        .filter(of_page())
        .filter(members::row::Column::AccountId.eq(id_text(account.as_uuid())))
        .all(moment)
        .await?;
    let mut own_of = BTreeMap::new();
    for member in own {
        let member = members::member_of(member, Default::default())?;
        own_of.insert(member.agent_id, member);
    }
    let mut keys = keys::live_of_these(moment, own_of.values().map(|member| &member.id)).await?;
    let counts: Vec<(String, i64)> = members::row::Entity::find()
        .filter(of_page())
        .filter(members::row::Column::Status.ne(word("member.status", MemberStatus::Rejected)?))
        .select_only()
        .column(members::row::Column::AgentId)
        .column_as(members::row::Column::Id.count(), "members")
        .group_by(members::row::Column::AgentId)
        .into_tuple()
        .all(moment)
        .await?;
    let mut count_of = BTreeMap::new();
    for (agent, count) in counts {
        count_of.insert(parse_id("member.agent_id", &agent)?, unsigned("member", count)?);
    }
    let policies_of = policies::counted(moment, &ids).await?;
    let seen = agents.into_iter().map(|agent| {
        let member = own_of.remove(&agent.id);
        let key = member.as_ref().and_then(|member| keys.remove(&member.id)?.pop());
        let member_count = count_of.get(agent.id.as_uuid()).copied().unwrap_or(0);
        let policy_count = policies_of.get(&agent.id).copied().unwrap_or(0);
        SeenAgent { agent, member, key, member_count, policy_count }
    });
    Ok(seen.collect())
}

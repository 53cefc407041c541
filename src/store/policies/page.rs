//! Policies of one agent, a page at a time; and how many an agent has.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Order;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _};

use super::{Policies, PolicyRow, policy_of, row};
use crate::model::{AgentId, MemberId, PolicyEffect, PolicyMode, ServiceKey};
use crate::store::column::{contains, id_text, parse_id, unsigned, word};
use crate::store::{StoreError, dialect};

/// What a list of policies is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicySort {
    /// In lower case.
    #[default]
    Name,
    CreatedAt,
    UpdatedAt,
    Service,
    Effect,
}

/// Which policies of an agent, in which order; all that is given must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyQuery {
    pub agent: AgentId,
    /// Part of the name or of the key, in any case.
    pub search: Option<String>,
    pub service: Option<ServiceKey>,
    pub effect: Option<PolicyEffect>,
    pub enabled: Option<bool>,
    /// Those of this member.
    pub member: Option<MemberId>,
    /// [`PolicyMode::Off`]: those that are not enabled; the others: those that are, and do that.
    pub mode: Option<PolicyMode>,
    pub sort: PolicySort,
    pub descending: bool,
    pub limit: u64,
    pub offset: u64,
}

impl PolicyQuery {
    /// All of the agent, by name; the first of them.
    pub fn of(agent: AgentId) -> Self {
        Self {
            agent,
            search: None,
            service: None,
            effect: None,
            enabled: None,
            member: None,
            mode: None,
            sort: PolicySort::default(),
            descending: false,
            limit: 50,
            offset: 0,
        }
    }
}

impl Policies<'_> {
    /// The policies that match, and how many match in all. Where two are alike in what is sorted by, the
    /// older one comes first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, query: &PolicyQuery) -> Result<(Vec<PolicyRow>, u64), StoreError> {
        let find = row::Entity::find().filter(condition(query)?);
        let order = if query.descending { Order::Desc } else { Order::Asc };
        let column = match query.sort {
            PolicySort::Name => row::Column::Folded,
            PolicySort::CreatedAt => row::Column::CreatedAt,
            PolicySort::UpdatedAt => row::Column::UpdatedAt,
            PolicySort::Service => row::Column::Service,
            PolicySort::Effect => row::Column::Effect,
        };
        let page = match query.sort {
            // The databases differ in where nothing stands; here it is first.
            PolicySort::Service => find
                .clone()
                .order_by(row::Column::Service.is_not_null(), order.clone())
                .order_by(column, order),
            _ => find.clone().order_by(column, order),
        };
        let page = page.order_by_asc(row::Column::Id).limit(query.limit).offset(query.offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows = page.all(&moment).await?;
                moment.commit().await?;
                Ok((rows.into_iter().map(policy_of).collect::<Result<_, _>>()?, total))
            })
            .await
    }

    /// How many policies each of these agents has; an agent without any is not named.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn counts(&self, agents: &[AgentId]) -> Result<BTreeMap<AgentId, u64>, StoreError> {
        let ids: Vec<String> = agents.iter().map(|agent| id_text(agent.as_uuid())).collect();
        self.0.timed(counted(&self.0.connection, &ids)).await
    }
}

/// How many policies each of these agents (their ids as they are stored) has.
pub(in crate::store) async fn counted(
    connection: &impl ConnectionTrait,
    agents: &[String],
) -> Result<BTreeMap<AgentId, u64>, StoreError> {
    let counts: Vec<(String, i64)> = row::Entity::find()
        .filter(row::Column::AgentId.is_in(agents.iter().map(String::as_str)))
        .select_only()
        .column(row::Column::AgentId)
        // Rows and not ids: those stand in no index, and each row would be read for its own.
        .expr_as(Expr::cust("COUNT(*)"), "policies")
        .group_by(row::Column::AgentId)
        .into_tuple()
        .all(connection)
        .await?;
    let count = |(agent, count): (String, i64)| {
        let agent = AgentId::from_uuid(parse_id("policy.agent_id", &agent)?);
        Ok((agent, unsigned("policy", count)?))
    };
    counts.into_iter().map(count).collect()
}

fn condition(query: &PolicyQuery) -> Result<Condition, StoreError> {
    let effect = query.effect.map(|effect| word("policy.effect", effect)).transpose()?;
    let mode = query.mode.map(|mode| {
        let enabled = row::Column::Enabled.eq(mode != PolicyMode::Off);
        match mode {
            PolicyMode::Off => Condition::all().add(enabled),
            _ => Condition::all().add(enabled).add(row::Column::Mode.eq(mode.as_str())),
        }
    });
    Ok(Condition::all()
        .add(row::Column::AgentId.eq(id_text(query.agent.as_uuid())))
        .add_option(query.member.map(|member| row::Column::MemberId.eq(id_text(member.as_uuid()))))
        .add_option(query.service.as_ref().map(|service| row::Column::Service.eq(service.as_str())))
        .add_option(effect.map(|effect| row::Column::Effect.eq(effect)))
        .add_option(query.enabled.map(|enabled| row::Column::Enabled.eq(enabled)))
        .add_option(mode)
        .add_option(query.search.as_deref().map(|part| contains(row::Column::Folded, part))))
}

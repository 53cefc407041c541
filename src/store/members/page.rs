//! Members of one agent, a page at a time, with their keys and addresses.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, Order, Query};
use sea_orm::{Condition, JoinType, QueryOrder as _, QuerySelect as _};

use super::{Members, row, with_groups};
use crate::model::{AgentId, EmailAddress, GroupName, Member, MemberId, MemberStatus};
use crate::store::column::{contains, id_text, parse, word};
use crate::store::{KeyRow, StoreError, accounts, dialect, groups, keys};

/// What a list of members is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberSort {
    /// In lower case.
    #[default]
    Name,
    CreatedAt,
    Status,
}

/// Which members of an agent, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberQuery {
    pub agent: AgentId,
    /// This one alone.
    pub member: Option<MemberId>,
    /// Part of the name, in any case.
    pub search: Option<String>,
    pub status: Option<MemberStatus>,
    /// Those in this group.
    pub group: Option<GroupName>,
    pub sort: MemberSort,
    pub descending: bool,
    pub limit: u64,
    pub offset: u64,
}

/// A member with what people see beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberRow {
    pub member: Member,
    /// The address of its account, where it has one.
    pub email: Option<EmailAddress>,
    /// Its key, where it has one that works.
    pub key: Option<KeyRow>,
}

impl Members<'_> {
    /// The members that match, and how many match in all. Where two are alike in what is sorted by, the
    /// older one comes first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, query: &MemberQuery) -> Result<(Vec<MemberRow>, u64), StoreError> {
        let find = row::Entity::find().filter(condition(query)?);
        let order = if query.descending { Order::Desc } else { Order::Asc };
        let column = match query.sort {
            MemberSort::Name => row::Column::Folded,
            MemberSort::CreatedAt => row::Column::CreatedAt,
            MemberSort::Status => row::Column::Status,
        };
        let page = find.clone().order_by(column, order).order_by_asc(row::Column::Id);
        let page = page.limit(query.limit).offset(query.offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows = page.all(&moment).await?;
                let rows = dressed(&moment, rows).await?;
                moment.commit().await?;
                Ok((rows, total))
            })
            .await
    }

    /// The agent's first names of the alphabet, at most so many, and how many members it has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, agent: AgentId, limit: u64) -> Result<(Vec<String>, u64), StoreError> {
        let find = row::Entity::find().filter(row::Column::AgentId.eq(id_text(agent.as_uuid())));
        let names = find.clone().order_by_asc(row::Column::Name).limit(limit);
        let names = names.select_only().column(row::Column::Name).into_tuple();
        self.0
            .timed(async {
                let total = find.count(&self.0.connection).await?;
                Ok((names.all(&self.0.connection).await?, total))
            })
            .await
    }
}

fn condition(query: &MemberQuery) -> Result<Condition, StoreError> {
    let agent = id_text(query.agent.as_uuid());
    let status = query.status.map(|status| word("member.status", status)).transpose()?;
    let in_group = query.group.as_ref().map(|group| {
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
            .and_where(groups::row::Column::Name.eq(group.as_str()))
            .to_owned();
        ExprTrait::in_subquery(Expr::col((row::Entity, row::Column::Id)), places)
    });
    Ok(Condition::all()
        .add(row::Column::AgentId.eq(agent.as_str()))
        .add_option(query.member.map(|member| row::Column::Id.eq(id_text(member.as_uuid()))))
        .add_option(status.map(|status| row::Column::Status.eq(status)))
        .add_option(query.search.as_deref().map(|part| contains(row::Column::Folded, part)))
        .add_option(in_group))
}

async fn dressed(moment: &impl ConnectionTrait, rows: Vec<row::Model>) -> Result<Vec<MemberRow>, StoreError> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let id_query = Query::select()
        .column(row::Column::Id)
        .from(row::Entity)
        .and_where(row::Column::Id.is_in(ids.iter().map(String::as_str)))
        .to_owned();
    let account_ids: Vec<String> = rows.iter().filter_map(|row| row.account_id.clone()).collect();
    let members = with_groups(moment, rows, id_query).await?;
    let mut key_of = keys::live_of_these(moment, members.iter().map(|member| &member.id)).await?;
    let found = accounts::row::Entity::find()
        .filter(accounts::row::Column::Id.is_in(account_ids.iter().map(String::as_str)))
        .all(moment)
        .await?;
    let email_of: BTreeMap<String, String> = found.into_iter().map(|row| (row.id, row.email)).collect();
    let row_of = |member: Member| {
        let account = member.account.map(|account| id_text(account.as_uuid()));
        let email = account.and_then(|account| email_of.get(&account));
        let email = email.map(|email| parse("account.email", email)).transpose()?;
        Ok(MemberRow { key: key_of.remove(&member.id).and_then(|mut keys| keys.pop()), member, email })
    };
    members.into_iter().map(row_of).collect()
}

//! The members that calls were made by, for menus of filters: also those that are members no more.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Func, Query};
use sea_orm::{Condition, Order};

use super::Sight;
use super::row::member;
use crate::model::{AgentId, MemberId, Timestamp};
use crate::store::column::{contains, id_text, parse_id};
use crate::store::{Store, StoreError};

/// A member as calls name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPerson {
    pub member: MemberId,
    pub agent: AgentId,
    /// The last of its names, by the alphabet.
    pub name: String,
    /// When its newest call was decided.
    pub last_at: Timestamp,
    pub calls: u64,
}

/// Which members are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeopleQuestion {
    pub sight: Sight,
    /// Part of the name, in any case.
    pub search: Option<String>,
    pub limit: u32,
    pub offset: u64,
}

pub(super) async fn run(
    store: &Store,
    question: &PeopleQuestion,
) -> Result<(Vec<AuditPerson>, u64), StoreError> {
    let mut condition = Condition::all();
    if let Sight::Account { owned, own } = &question.sight {
        let owned = owned.iter().map(|agent| id_text(agent.as_uuid()));
        let own = own.iter().map(|one| id_text(one.member.as_uuid()));
        let seen = Condition::any()
            .add(member::Column::AgentId.is_in(owned))
            .add(member::Column::MemberId.is_in(own));
        condition = condition.add(seen);
    }
    condition =
        condition.add_option(question.search.as_deref().map(|s| contains(member::Column::MemberFolded, s)));
    let mut people = Query::select();
    people
        .columns([member::Column::MemberId, member::Column::AgentId])
        .expr_as(Func::max(Expr::col(member::Column::MemberName)), "name")
        .expr_as(Func::max(Expr::col(member::Column::LastAt)), "last")
        .expr_as(Expr::cust("CAST(SUM(calls) AS BIGINT)"), "counted")
        .from(member::Entity)
        .cond_where(condition)
        .group_by_columns([member::Column::MemberId, member::Column::AgentId]);
    let total = Query::select()
        .expr_as(Expr::cust("COUNT(*)"), "total")
        .from_subquery(people.clone(), "people")
        .to_owned();
    let total = store.connection.query_one(&total).await?;
    let total = total.map(|row| row.try_get::<i64>("", "total")).transpose()?.unwrap_or_default();
    people
        .order_by("name", Order::Asc)
        .order_by(member::Column::MemberId, Order::Asc)
        .limit(question.limit.into())
        .offset(question.offset);
    let person = |row: sea_orm::QueryResult| {
        let id = |name: &str| parse_id("audit_member", &row.try_get::<String>("", name)?);
        Ok(AuditPerson {
            member: MemberId::from_uuid(id("member_id")?),
            agent: AgentId::from_uuid(id("agent_id")?),
            name: row.try_get("", "name")?,
            last_at: Timestamp::from_millis(row.try_get("", "last")?),
            calls: row.try_get::<i64>("", "counted")?.unsigned_abs(),
        })
    };
    let rows = store.connection.query_all(&people).await?;
    let rows = rows.into_iter().map(person).collect::<Result<_, StoreError>>()?;
    Ok((rows, total.unsigned_abs()))
}

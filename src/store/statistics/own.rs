//! Which tools a member uses: counted from the member's own calls, for which no statistics are kept by tool.

use std::collections::HashMap;

use sea_orm::Order;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Query};

use super::{Counted, Span, StatisticsQuestion};
use crate::store::audit::row::{entry, lane, member};
use crate::store::column::id_text;
use crate::store::{OwnMembership, Store, StoreError};

/// Newest calls of a member that are looked at; one with more has its older ones left out.
const CALLS_MAX: u64 = 50_000;

pub(super) async fn tools(
    store: &Store,
    question: &StatisticsQuestion,
    own: &[OwnMembership],
) -> Result<HashMap<i64, Counted>, StoreError> {
    let names = Query::select()
        .column(member::Column::Id)
        .from(member::Entity)
        .and_where(member::Column::MemberId.is_in(own.iter().map(|one| id_text(one.member.as_uuid()))))
        .to_owned();
    let end = Span::Hour.floor(question.to.as_millis()).saturating_add(Span::Hour as i64);
    let calls = Query::select()
        .column(entry::Column::Lane)
        .from(entry::Entity)
        .and_where(entry::Column::Member.in_subquery(names))
        .and_where(entry::Column::At.gte(Span::Hour.floor(question.from.as_millis())))
        .and_where(entry::Column::At.lt(end))
        .order_by(entry::Column::At, Order::Desc)
        .limit(CALLS_MAX)
        .to_owned();
    let by_lane = Query::select()
        .column(entry::Column::Lane)
        .expr_as(Expr::cust("COUNT(*)"), "calls")
        .from_subquery(calls, "newest")
        .group_by_col(entry::Column::Lane)
        .to_owned();
    let mut lanes = HashMap::new();
    for row in store.connection.query_all(&by_lane).await? {
        lanes.insert(row.try_get::<i64>("", "lane")?, row.try_get::<i64>("", "calls")?.unsigned_abs());
    }
    let mut tools: HashMap<i64, Counted> = HashMap::new();
    let named = lane::Entity::find().filter(lane::Column::Id.is_in(lanes.keys().copied()));
    for lane in named.all(&store.connection).await? {
        let calls = lanes.get(&lane.id).copied().unwrap_or_default();
        let denied = if lane.allowed { 0 } else { calls };
        let counts = Counted { calls, denied, ..Counted::default() };
        tools.entry(lane.tool).or_default().add(&counts);
    }
    Ok(tools)
}

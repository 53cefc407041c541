//! Questions to the index (specification 7.2).

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, Query};
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _};

use super::row::{entry, policy, row_of};
use super::{AuditFilter, AuditRow, QUERY_ROWS_MAX};
use crate::store::column::id_text;
use crate::store::{Store, StoreError, dialect};

/// Marks a character of the search text that would else be a pattern.
const ESCAPE: char = '!';

/// Page and total are of one moment.
pub(super) async fn run(store: &Store, filter: &AuditFilter) -> Result<(Vec<AuditRow>, u64), StoreError> {
    let find = entry::Entity::find().filter(condition(filter));
    let limit = match filter.limit {
        1..=QUERY_ROWS_MAX => filter.limit,
        _ => QUERY_ROWS_MAX,
    };
    let moment = dialect::begin_read(&store.connection).await?;
    let total = find.clone().count(&moment).await?;
    let rows = find
        .order_by_desc(entry::Column::At)
        .order_by_desc(entry::Column::Seq)
        .order_by_desc(entry::Column::Boot)
        .order_by_desc(entry::Column::Node)
        .limit(u64::from(limit))
        .offset(filter.offset)
        .all(&moment)
        .await?;
    moment.commit().await?;
    Ok((rows.into_iter().map(row_of).collect::<Result<_, _>>()?, total))
}

fn condition(filter: &AuditFilter) -> Condition {
    Condition::all()
        .add_option(filter.from.map(|from| entry::Column::At.gte(from.as_millis())))
        .add_option(filter.to.map(|to| entry::Column::At.lte(to.as_millis())))
        .add_option(filter.agent.as_deref().map(|part| contains(entry::Column::AgentFolded, part)))
        .add_option(filter.service.as_ref().map(|service| entry::Column::Service.eq(service.as_str())))
        .add_option(filter.tool.as_deref().map(|part| contains(entry::Column::ToolFolded, part)))
        .add_option(filter.allowed.map(|allowed| entry::Column::Allowed.eq(allowed)))
        .add_option(filter.member.map(|member| entry::Column::MemberId.eq(id_text(member.as_uuid()))))
        .add_option(filter.policy.as_ref().map(|key| determined_by(key.as_str())))
}

/// Whether the folded column holds this text, in any case.
fn contains(column: entry::Column, part: &str) -> Expr {
    let mut pattern = String::from("%");
    for character in part.to_lowercase().chars() {
        if matches!(character, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(character);
    }
    pattern.push('%');
    column.like(LikeExpr::new(pattern).escape(ESCAPE))
}

/// Whether this policy is among the determining ones: its entries are few beside all, so that the
/// policy's own index leads.
fn determined_by(key: &str) -> Expr {
    let entries = Query::select()
        .columns([policy::Column::Node, policy::Column::Boot, policy::Column::Seq])
        .from(policy::Entity)
        .and_where(policy::Column::PolicyKey.eq(key))
        .to_owned();
    let origin = Expr::tuple([
        Expr::col((entry::Entity, entry::Column::Node)),
        Expr::col((entry::Entity, entry::Column::Boot)),
        Expr::col((entry::Entity, entry::Column::Seq)),
    ]);
    ExprTrait::in_subquery(origin, entries)
}

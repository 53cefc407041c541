//! Which lanes a call must be of: agents, tools, allowed or denied.
//!
//! Invariant: where lanes are many, nothing is read of each of them before a page is walked: the agents' own
//! sums say how many calls there are, and a call's lane is looked up when the call is looked at.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{Condition, IntoSimpleExpr as _};

use super::AuditFilter;
use super::names::agent_number;
use super::question::{Set, set};
use super::row::{agent, entry, lane, tool};
use crate::model::AgentId;
use crate::store::StoreError;
use crate::store::column::contains;

/// Of agents, or tools, that are more than this part of all, an index over lanes is of no use.
const MANY_PART: f64 = 0.125;
/// Lanes of agents that are counted; more are told by estimate.
const COUNTED_MAX: f64 = 600.0;

/// Calls of agents.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: i64,
    calls: i64,
    denied: i64,
}

/// Whether a filter looks at lanes by itself.
pub(super) fn are_asked(filter: &AuditFilter) -> bool {
    filter.agent.is_some() || filter.service.is_some() || filter.tool.is_some() || filter.allowed.is_some()
}

/// Whether a filter looks at lanes, and which; `agents` are those whose calls may be seen, all without.
pub(super) async fn asked(
    connection: &impl ConnectionTrait,
    filter: &AuditFilter,
    agents: Option<&[AgentId]>,
) -> Result<Option<Set>, StoreError> {
    let of_agents = Condition::all()
        .add_option(filter.agent.as_deref().map(|part| contains(agent::Column::AgentFolded, part)))
        .add_option(agents.map(|agents| agent::Column::Agent.is_in(agents.iter().map(|a| agent_number(*a)))));
    let of_tools = Condition::all()
        .add_option(filter.service.as_ref().map(|service| tool::Column::Service.eq(service.as_str())))
        .add_option(filter.tool.as_deref().map(|part| contains(tool::Column::ToolFolded, part)));
    if of_agents.is_empty() && of_tools.is_empty() && filter.allowed.is_none() {
        return Ok(None);
    }
    let all = sums(connection, Condition::all()).await?;
    let sums = sums(connection, of_agents.clone()).await?;
    let calls = match filter.allowed {
        None => sums.calls,
        Some(true) => sums.calls.saturating_sub(sums.denied),
        Some(false) => sums.denied,
    };
    let agents_part = part(sums.rows, all.rows);
    let tools_part = tools_part(connection, &of_tools).await?;
    // One index at most is of use: that of the fewer.
    let hidden = (agents_part > MANY_PART || agents_part > tools_part, tools_part > MANY_PART);
    let mut condition = Condition::all().add_option(filter.allowed.map(|a| lane::Column::Allowed.eq(a)));
    let within = |column: lane::Column, hidden: bool, select: SelectStatement| {
        let column = column.into_simple_expr();
        // The sum keeps a database from walking the index.
        if hidden { column.add(0).in_subquery(select) } else { column.in_subquery(select) }
    };
    // All of them is no condition.
    if sums.rows < all.rows {
        let ids = Query::select().column(agent::Column::Id).from(agent::Entity).cond_where(of_agents).take();
        condition = condition.add(within(lane::Column::Named, hidden.0, ids));
    }
    let any_tool = tools_part >= 1.0;
    if !any_tool {
        let ids = Query::select().column(tool::Column::Id).from(tool::Entity).cond_where(of_tools).take();
        condition = condition.add(within(lane::Column::Tool, hidden.1, ids));
    }
    let mut select = Query::select();
    select.columns([lane::Column::Id, lane::Column::Calls]).from(lane::Entity).cond_where(condition.clone());
    let lanes = rows(connection, lane::Entity, Condition::all()).await? as f64 * agents_part;
    let mut found = if any_tool && lanes > COUNTED_MAX {
        let numbers = if calls > 0 { lanes as i64 } else { 0 };
        let ids = select.clear_selects().column(lane::Column::Id).take();
        Set { column: entry::Column::Lane, select: ids, numbers, calls, few: Vec::new(), judge: None }
    } else {
        set(connection, entry::Column::Lane, select).await?
    };
    let judge = Query::select()
        .expr(Expr::val(1))
        .from(lane::Entity)
        .and_where(lane::Column::Id.into_simple_expr().equals((entry::Entity, entry::Column::Lane)))
        .cond_where(condition)
        .take();
    found.judge = Some(judge);
    Ok(Some(found))
}

/// Which part of all tools these are.
async fn tools_part(connection: &impl ConnectionTrait, of: &Condition) -> Result<f64, StoreError> {
    if of.is_empty() {
        return Ok(1.0);
    }
    let all = rows(connection, tool::Entity, Condition::all()).await?;
    Ok(part(rows(connection, tool::Entity, of.clone()).await?, all))
}

/// All calls of the index.
pub(super) async fn all_calls(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    Ok(sums(connection, Condition::all()).await?.calls)
}

async fn sums(connection: &impl ConnectionTrait, of: Condition) -> Result<Sums, StoreError> {
    let select = Query::select()
        .expr_as(Expr::cust("COUNT(*)"), "counted")
        .expr_as(Expr::cust("CAST(COALESCE(SUM(calls), 0) AS BIGINT)"), "calls")
        .expr_as(Expr::cust("CAST(COALESCE(SUM(denied), 0) AS BIGINT)"), "denied")
        .from(agent::Entity)
        .cond_where(of)
        .take();
    let Some(row) = connection.query_one(&select).await? else { return Ok(Sums::default()) };
    Ok(Sums {
        rows: row.try_get("", "counted")?,
        calls: row.try_get("", "calls")?,
        denied: row.try_get("", "denied")?,
    })
}

async fn rows(
    connection: &impl ConnectionTrait,
    table: impl EntityTrait,
    of: Condition,
) -> Result<i64, StoreError> {
    let counted =
        Query::select().expr_as(Expr::cust("COUNT(*)"), "counted").from(table).cond_where(of).take();
    let row = connection.query_one(&counted).await?;
    Ok(row.map(|row| row.try_get::<i64>("", "counted")).transpose()?.unwrap_or_default())
}

fn part(some: i64, all: i64) -> f64 {
    some as f64 / Ord::max(all, 1) as f64
}

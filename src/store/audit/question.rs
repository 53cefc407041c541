//! A question to the index as sets of numbers: which lanes, members and rulings a call must be of, how
//! many calls those have, and so which way to walk is the shortest.
//!
//! Invariant: what may be seen is part of the question itself; a branch that may see nothing is not asked.

use sea_orm::IntoSimpleExpr as _;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};

use super::row::{entry, member, ruling_policy};
use super::sight::Sight;
use super::{AuditFilter, AuditPlace, lanes};
use crate::model::{AgentId, MemberId, PolicyId, PolicyKey, TrustMode};
use crate::store::StoreError;
use crate::store::column::id_text;

/// Numbers of a set that are walked one by one, each in order; more are gathered and sorted.
const MERGED_MAX: i64 = 300;
/// Values of one statement that name agents; SQLite takes 32,766 values in one.
const NAMED_MAX: usize = 10_000;

/// Numbers that a column of a call must have one of.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub column: entry::Column,
    pub select: SelectStatement,
    /// How many numbers, by estimate where they are many.
    pub numbers: i64,
    /// How many calls they have.
    pub calls: i64,
    /// The numbers, where they are few.
    pub few: Vec<i64>,
    /// Of lanes: finds that of the very call that is looked at, if it is one of the set.
    pub judge: Option<SelectStatement>,
}

/// One part of what may be seen, with the filter's sets.
#[derive(Debug)]
pub(super) struct Branch {
    pub sets: Vec<Set>,
    /// All calls of the index.
    pub calls: i64,
    /// The part of the index's time that is asked for.
    pub part: f64,
}

/// The branches of a question; none where nothing may be seen.
pub(super) async fn branches(
    connection: &impl ConnectionTrait,
    filter: &AuditFilter,
) -> Result<Vec<Branch>, StoreError> {
    let calls = lanes::all_calls(connection).await?;
    let part = part(connection, filter).await?;
    let mut branches = Vec::new();
    for Seen { agents, members, implied } in seen(filter) {
        let mut sets = Vec::new();
        // What the members say anyway is no question of its own, but leaves fewer lanes to another.
        if !implied || lanes::are_asked(filter) {
            sets.extend(lanes::asked(connection, filter, agents.as_deref()).await?);
        }
        if let Some(members) = members {
            let ids = members.iter().map(|member| id_text(member.as_uuid()));
            let select = Query::select()
                .columns([member::Column::Id, member::Column::Calls])
                .from(member::Entity)
                .and_where(member::Column::MemberId.is_in(ids))
                .to_owned();
            sets.push(set(connection, entry::Column::Member, select).await?);
        }
        if let Some(policy) = &filter.policy {
            let select = Query::select()
                .column(("audit_ruling", "id"))
                .column(("audit_ruling", "calls"))
                .from("audit_ruling")
                .inner_join(
                    ruling_policy::Entity,
                    Expr::col(("audit_ruling", "id")).equals(("audit_ruling_policy", "ruling")),
                )
                .and_where(ruling_policy::Column::PolicyKey.into_simple_expr().is_in(names_of(policy)))
                .to_owned();
            sets.push(set(connection, entry::Column::Ruling, select).await?);
        }
        // Each of the few is a walk of its own, which names the agents once more.
        let named = agents.as_ref().map_or(0, Vec::len);
        for set in &mut sets {
            if set.few.len() * named > NAMED_MAX && !matches!(set.column, entry::Column::Lane) {
                set.few.clear();
            }
        }
        // A set of all calls asks for nothing.
        sets.retain(|set| set.calls < calls || calls == 0);
        if sets.iter().all(|set| set.numbers > 0) && calls > 0 {
            branches.push(Branch { sets, calls, part });
        }
    }
    Ok(branches)
}

/// The names under which rulings know what is asked for: a key, or the id of a stored policy in any of its
/// written forms.
fn names_of(policy: &PolicyKey) -> Vec<String> {
    let id = policy.as_str().parse::<PolicyId>().ok().map(|id| id.to_string());
    let id = id.filter(|id| id != policy.as_str());
    std::iter::once(policy.to_string()).chain(id).collect()
}

struct Seen {
    agents: Option<Vec<AgentId>>,
    members: Option<Vec<MemberId>>,
    /// The members are of these agents and of no other.
    implied: bool,
}

/// What may be seen of what is asked for, in parts that have no call in common: agents, and members.
fn seen(filter: &AuditFilter) -> Vec<Seen> {
    let asked = filter.member.map(|member| vec![member]);
    let Sight::Account { owned, own } = &filter.sight else {
        return vec![Seen { agents: None, members: asked, implied: false }];
    };
    let mut seen = Vec::new();
    if !owned.is_empty() {
        seen.push(Seen { agents: Some(owned.clone()), members: asked, implied: false });
    }
    // Who may not know the policies cannot find calls by them.
    let told = |one: &&super::OwnMembership| filter.policy.is_none() || one.trust == TrustMode::Untrusted;
    let own = own.iter().filter(told).filter(|one| filter.member.is_none_or(|asked| asked == one.member));
    let (agents, own): (Vec<_>, Vec<_>) = own.map(|one| (one.agent, one.member)).unzip();
    if !own.is_empty() {
        seen.push(Seen { agents: Some(agents), members: Some(own), implied: true });
    }
    seen
}

/// Counts a set; `select` gives numbers and their calls.
pub(super) async fn set(
    connection: &impl ConnectionTrait,
    column: entry::Column,
    select: SelectStatement,
) -> Result<Set, StoreError> {
    let counted = Query::select()
        .expr_as(Expr::cust("COUNT(*)"), "numbers")
        .expr_as(Expr::cust("CAST(COALESCE(SUM(calls), 0) AS BIGINT)"), "calls")
        .from_subquery(select.clone(), "named")
        .to_owned();
    let (numbers, calls) = two(connection, &counted).await?;
    let ids = Query::select().column("id").from_subquery(select, "named").to_owned();
    let mut few = Vec::new();
    if numbers <= MERGED_MAX {
        for row in connection.query_all(&ids).await? {
            few.push(row.try_get::<i64>("", "id")?);
        }
    }
    Ok(Set { column, select: ids, numbers, calls, few, judge: None })
}

async fn two(connection: &impl ConnectionTrait, select: &SelectStatement) -> Result<(i64, i64), StoreError> {
    let row = connection.query_one(select).await?;
    let row = row.ok_or_else(|| StoreError::corrupt("audit_lane", "a count has no row"))?;
    Ok((row.try_get("", "numbers")?, row.try_get("", "calls")?))
}

/// Which part of the index's time is asked for, as if calls came evenly; at least a millionth.
async fn part(connection: &impl ConnectionTrait, filter: &AuditFilter) -> Result<f64, StoreError> {
    let (before, after) = match filter.place {
        None => (None, None),
        Some(AuditPlace::Before(cursor)) => (Some(cursor.at), None),
        Some(AuditPlace::After(cursor)) => (None, Some(cursor.at)),
    };
    let from = filter.from.max(after).map(crate::model::Timestamp::as_millis);
    let to = match (filter.to, before) {
        (Some(to), Some(before)) => Some(to.min(before)),
        (to, before) => to.or(before),
    };
    let to = to.map(crate::model::Timestamp::as_millis);
    if from.is_none() && to.is_none() {
        return Ok(1.0);
    }
    let end = async |order| {
        let select = Query::select()
            .column(entry::Column::At)
            .from(entry::Entity)
            .order_by(entry::Column::At, order)
            .limit(1)
            .to_owned();
        let row = connection.query_one(&select).await?;
        Ok::<_, StoreError>(row.map(|row| row.try_get::<i64>("", "at")).transpose()?.unwrap_or_default())
    };
    let (first, last) = (end(sea_orm::Order::Asc).await?, end(sea_orm::Order::Desc).await?);
    let whole = Ord::max(last.saturating_sub(first), 1) as f64;
    let asked = Ord::min(to.unwrap_or(last), last).saturating_sub(Ord::max(from.unwrap_or(first), first));
    Ok((asked as f64 / whole).clamp(1e-6, 1.0))
}

//! Administrative changes, as the index keeps them: who changed what, from what to what.
//!
//! Invariant: the entries of one change are one row; how it ended is written once.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, OnConflict, Query};
use sea_orm::{Condition, DatabaseTransaction, Order, QueryOrder as _, QuerySelect as _, Set};

use super::audit::row::{change, number_of};
use super::column::{holds, id_text, parse_id, parse_word, signed, unsigned, word};
use super::{AuditCursor, AuditPlace, AuditTotal, ChangePhase, ChangeRow, Store, StoreError};
use crate::model::{AgentId, CallId, EmailAddress, Timestamp};

/// Which changes are asked for; all must hold.
#[derive(Debug, Clone, Default)]
pub struct ChangeFilter {
    /// Those of these agents, and those that this account made; all without.
    pub sight: Option<(Vec<AgentId>, EmailAddress)>,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Inclusive.
    pub to: Option<Timestamp>,
    pub agent: Option<AgentId>,
    /// `agent.create`, or `agent.` for all that is done to agents.
    pub what: Option<String>,
    /// Part of the name of what it was done to, as it stands there.
    pub target: Option<String>,
    pub account: Option<EmailAddress>,
    pub limit: u32,
    pub offset: u64,
    pub place: Option<AuditPlace>,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesFound {
    /// Newest first.
    pub rows: Vec<(AuditCursor, ChangeRow)>,
    pub next: Option<AuditCursor>,
    pub total: AuditTotal,
}

/// The changes' rows.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a>(pub(super) &'a Store);

/// Changes are counted so far; beyond, they are estimated.
const EXACT_TOTAL_MAX: u64 = 10_000;

impl Changes<'_> {
    /// The changes that match, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn query(&self, filter: &ChangeFilter) -> Result<ChangesFound, StoreError> {
        self.0.timed(run(self.0, filter)).await
    }
}

async fn run(store: &Store, filter: &ChangeFilter) -> Result<ChangesFound, StoreError> {
    use change::Column as C;
    let oldest_first = matches!(filter.place, Some(AuditPlace::After(_)));
    let order = if oldest_first { Order::Asc } else { Order::Desc };
    let limit = u64::from(filter.limit.clamp(1, super::QUERY_ROWS_MAX));
    let moment = super::dialect::begin_read(&store.connection).await?;
    let some = Query::select()
        .column(C::Id)
        .from(change::Entity)
        .cond_where(condition(filter))
        .limit(EXACT_TOTAL_MAX + 1)
        .to_owned();
    let counted =
        Query::select().expr_as(Expr::cust("COUNT(*)"), "counted").from_subquery(some, "some").to_owned();
    let counted = moment.query_one(&counted).await?;
    let counted = counted.map(|row| row.try_get::<i64>("", "counted")).transpose()?.unwrap_or_default();
    let mut find = change::Entity::find().filter(condition(filter));
    find = find.filter(Condition::all().add_option(filter.place.map(beyond)));
    let mut rows: Vec<_> = find
        .order_by(C::At, order.clone())
        .order_by(C::Seq, order.clone())
        .order_by(C::Id, order)
        .offset(filter.offset)
        .limit(limit + 1)
        .all(&moment)
        .await?;
    moment.commit().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut rows: Vec<_> = rows.into_iter().map(row_of).collect::<Result<_, _>>()?;
    let next = rows.last().map(|(cursor, _)| *cursor).filter(|_| more || oldest_first);
    if oldest_first {
        rows.reverse();
    }
    let count = counted.unsigned_abs();
    Ok(ChangesFound { rows, next, total: AuditTotal { count, estimated: count > EXACT_TOTAL_MAX } })
}

fn condition(filter: &ChangeFilter) -> Condition {
    use change::Column as C;
    let seen = filter.sight.as_ref().map(|(agents, account)| {
        let agents = agents.iter().map(|agent| id_text(agent.as_uuid()));
        Condition::any().add(C::AgentId.is_in(agents)).add(C::Account.eq(account.as_str()))
    });
    let what = filter.what.as_deref().map(|what| match what.ends_with('.') {
        // `/` is what comes behind `.`.
        true => C::What.gte(what).and(C::What.lt(format!("{}/", what.trim_end_matches('.')))),
        false => C::What.eq(what),
    });
    Condition::all()
        .add_option(seen)
        .add_option(filter.from.map(|from| C::At.gte(from.as_millis())))
        .add_option(filter.to.map(|to| C::At.lte(to.as_millis())))
        .add_option(filter.agent.map(|agent| C::AgentId.eq(id_text(agent.as_uuid()))))
        .add_option(filter.account.as_ref().map(|account| C::Account.eq(account.as_str())))
        .add_option(
            filter.target.as_deref().map(|part| holds(Func::lower(Expr::col(C::Target)).into(), part)),
        )
        .add_option(what)
}

fn beyond(place: AuditPlace) -> Condition {
    use change::Column as C;
    let (AuditPlace::Before(AuditCursor { at, seq, id }) | AuditPlace::After(AuditCursor { at, seq, id })) =
        place;
    let at = at.as_millis();
    let behind = |column: C, value: i64| match place {
        AuditPlace::Before(_) => column.lt(value),
        AuditPlace::After(_) => column.gt(value),
    };
    let same = behind(C::Seq, seq).or(C::Seq.eq(seq).and(behind(C::Id, id)));
    Condition::all().add(behind(C::At, at).or(C::At.eq(at).and(same)))
}

/// Writes one phase of each of these changes.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    changes: &[&ChangeRow],
) -> Result<(), StoreError> {
    for row in changes {
        let ended_at = (row.phase != ChangePhase::Intent).then(|| row.at.as_millis());
        let model = change::ActiveModel {
            change_id: Set(id_text(row.change.as_uuid())),
            node: Set(number_of(&[row.node.as_bytes()])),
            boot: Set(signed("audit_change.boot", row.boot)?),
            seq: Set(signed("audit_change.seq", row.seq)?),
            at: Set(row.at.as_millis()),
            ended_at: Set(ended_at),
            phase: Set(word("audit_change.phase", row.phase)?),
            who: Set(row.who.clone()),
            account: Set(row.account.as_ref().map(|account| account.as_str().to_owned())),
            what: Set(row.what.clone()),
            target: Set(row.target.clone()),
            agent_id: Set(row.agent.map(|agent| id_text(agent.as_uuid()))),
            before: Set(row.before.clone()),
            after: Set(row.after.clone()),
            ..Default::default()
        };
        let open = Expr::col((change::Entity, change::Column::Phase)).eq("intent");
        let ended = OnConflict::column(change::Column::ChangeId)
            .update_columns([change::Column::Phase, change::Column::EndedAt, change::Column::After])
            .value(change::Column::AgentId, Expr::cust("COALESCE(excluded.agent_id, audit_change.agent_id)"))
            .action_and_where(open)
            .to_owned();
        change::Entity::insert(model).on_conflict(ended).exec_without_returning(transaction).await?;
    }
    Ok(())
}

fn row_of(row: change::Model) -> Result<(AuditCursor, ChangeRow), StoreError> {
    let at = Timestamp::from_millis(row.at);
    let cursor = AuditCursor { at, seq: row.seq, id: row.id };
    let agent = row.agent_id.map(|id| parse_id("audit_change.agent_id", &id)).transpose()?;
    let change = ChangeRow {
        node: uuid::Uuid::nil(),
        boot: unsigned("audit_change.boot", row.boot)?,
        seq: unsigned("audit_change.seq", row.seq)?,
        change: CallId::from_uuid(parse_id("audit_change.change_id", &row.change_id)?),
        at,
        phase: parse_word("audit_change.phase", &row.phase)?,
        ended_at: row.ended_at.map(Timestamp::from_millis),
        who: row.who,
        account: row.account.and_then(|account| EmailAddress::parse(&account).ok()),
        what: row.what,
        target: row.target,
        agent: agent.map(AgentId::from_uuid),
        before: row.before,
        after: row.after,
    };
    Ok((cursor, change))
}

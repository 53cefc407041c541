//! One batch of the journal into the index: names, calls, ends, changes, statistics and the position, in
//! one transaction.
//!
//! Invariant: what is there already is left as it is and counted no second time, so that a replay is
//! harmless.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{DatabaseTransaction, QuerySelect as _, Set};
use uuid::Uuid;

use super::names::{Numbers, policy_models};
use super::row::{agent, entry, lane, member, number_of, policy, position, ruling, ruling_policy, tool};
use super::tally::Tally;
use super::{AuditPosition, AuditRow, AuditWrite, counts};
use crate::model::{CallId, Outcome, Timestamp};
use crate::store::column::{id_text, signed, word};
use crate::store::{Store, StoreError, changes, dialect};

/// Rows of one statement; SQLite takes 32,766 values in one.
const ROWS_PER_STATEMENT_MAX: usize = 500;

/// A node's number in the index.
pub(super) fn node_number(node: &Uuid) -> i64 {
    number_of(&[node.as_bytes()])
}

pub(super) async fn run(
    store: &Store,
    node: Uuid,
    writes: &[AuditWrite],
    position: &AuditPosition,
) -> Result<(), StoreError> {
    let (mut kept, mut ends, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        match write {
            AuditWrite::Entry(row) => kept.push(row.storable()),
            AuditWrite::Completion { call, outcome } => ends.push((*call, *outcome)),
            AuditWrite::Change(change) => changed.push(&**change),
        }
    }
    let rows: Vec<&AuditRow> = kept.iter().map(|row| &**row).collect();
    let transaction = dialect::begin_append(&store.connection).await?;
    let known = known(&transaction, &rows).await?;
    let (new, old): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| !known.contains(&(row.node, row.boot, row.seq)));
    // Of a row that is there already, the end may be missing.
    ends.splice(0..0, old.iter().filter_map(|row| Some((row.call, row.outcome?))));
    let mut tally = Tally::default();
    insert(&transaction, &new, &mut tally).await?;
    end(&transaction, &ends, &mut tally).await?;
    counts::add(&transaction, node_number(&node), &tally).await?;
    changes::write(&transaction, &changed).await?;
    move_position(&transaction, node, position).await?;
    Ok(transaction.commit().await?)
}

/// Which of these rows are in the index.
async fn known(
    transaction: &DatabaseTransaction,
    rows: &[&AuditRow],
) -> Result<BTreeSet<(Uuid, u64, u64)>, StoreError> {
    let mut ranges: BTreeMap<(Uuid, u64), (u64, u64)> = BTreeMap::new();
    for row in rows {
        let range = ranges.entry((row.node, row.boot)).or_insert((row.seq, row.seq));
        *range = (range.0.min(row.seq), range.1.max(row.seq));
    }
    let mut known = BTreeSet::new();
    for ((node, boot), (first, last)) in ranges {
        let found: Vec<i64> = entry::Entity::find()
            .select_only()
            .column(entry::Column::Seq)
            .filter(entry::Column::Node.eq(node_number(&node)))
            .filter(entry::Column::Boot.eq(signed("audit_entry.boot", boot)?))
            .filter(entry::Column::Seq.gte(signed("audit_entry.seq", first)?))
            .filter(entry::Column::Seq.lte(signed("audit_entry.seq", last)?))
            .into_tuple()
            .all(transaction)
            .await?;
        known.extend(found.into_iter().map(|seq| (node, boot, seq.unsigned_abs())));
    }
    Ok(known)
}

async fn insert(
    transaction: &DatabaseTransaction,
    rows: &[&AuditRow],
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let (mut lanes, mut members, mut rulings) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut agents, mut tools) = (BTreeMap::new(), BTreeMap::new());
    let (mut ruled_by, mut policies) = (BTreeMap::new(), BTreeMap::new());
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let numbers = Numbers::of(row)?;
        tally.call(row, &numbers);
        entries.push(entry_model(row, &numbers)?);
        agents.entry(numbers.named).or_insert_with(|| numbers.agent(row));
        tools.entry(numbers.tool).or_insert_with(|| numbers.tool(row));
        lanes.insert(numbers.lane, numbers.lane(row));
        members.insert(numbers.member, numbers.member(row));
        if let std::collections::btree_map::Entry::Vacant(ruling) = rulings.entry(numbers.ruling) {
            // By its key, and by its id where it is a stored one: the key may be another agent's as well.
            let names = row.policies.iter().flat_map(|used| {
                [Some(used.key.to_string()), used.id.map(|id| id.to_string())].into_iter().flatten()
            });
            for name in names {
                let model =
                    ruling_policy::ActiveModel { policy_key: Set(name.clone()), ruling: Set(numbers.ruling) };
                ruled_by.insert((name, numbers.ruling), model);
            }
            ruling.insert(numbers.ruling(row)?);
        }
        policies.extend(policy_models(row));
    }
    for (number, model) in &mut agents {
        let (calls, denied) = tally.agents.get(number).copied().unwrap_or_default();
        (model.calls, model.denied) = (Set(calls), Set(denied));
    }
    for (number, model) in &mut tools {
        model.calls = Set(tally.tools.get(number).copied().unwrap_or_default());
    }
    for (number, model) in &mut lanes {
        model.calls = Set(tally.lanes.get(number).copied().unwrap_or_default());
    }
    for (number, model) in &mut members {
        model.calls = Set(tally.members.get(number).copied().unwrap_or_default());
    }
    for (number, model) in &mut rulings {
        model.calls = Set(tally.rulings.get(number).copied().unwrap_or_default());
    }
    let mut more = OnConflict::column(agent::Column::Id);
    for column in ["calls", "denied"] {
        more.value(column, Expr::cust(format!("audit_agent.{column} + excluded.{column}")));
    }
    upsert::<agent::Entity>(transaction, agents, more).await?;
    let more = OnConflict::column(tool::Column::Id)
        .value("calls", Expr::cust("audit_tool.calls + excluded.calls"))
        .to_owned();
    upsert::<tool::Entity>(transaction, tools, more).await?;
    upsert::<lane::Entity>(transaction, lanes, counted(lane::Column::Id, "audit_lane")).await?;
    upsert::<member::Entity>(transaction, members, counted(member::Column::Id, "audit_member")).await?;
    upsert::<ruling::Entity>(transaction, rulings, counted(ruling::Column::Id, "audit_ruling")).await?;
    let there = OnConflict::columns([ruling_policy::Column::PolicyKey, ruling_policy::Column::Ruling])
        .do_nothing()
        .to_owned();
    upsert::<ruling_policy::Entity>(transaction, ruled_by, there).await?;
    let renamed = OnConflict::column(policy::Column::Id).update_column(policy::Column::Name).to_owned();
    upsert::<policy::Entity>(transaction, policies, renamed).await?;
    for rows in entries.chunks(ROWS_PER_STATEMENT_MAX) {
        entry::Entity::insert_many(rows.to_vec()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// In the order of their keys, so that two gates wait for each other's rows and never in a circle.
pub(super) async fn upsert<E: EntityTrait>(
    transaction: &DatabaseTransaction,
    models: BTreeMap<impl Ord, E::ActiveModel>,
    on_conflict: OnConflict,
) -> Result<(), StoreError>
where
    E::ActiveModel: Send,
{
    let models: Vec<E::ActiveModel> = models.into_values().collect();
    for rows in models.chunks(ROWS_PER_STATEMENT_MAX) {
        let insert = E::insert_many(rows.to_vec()).on_conflict(on_conflict.clone());
        insert.exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// A name that is there has more calls now.
fn counted(id: impl sea_orm::sea_query::IntoIden, table: &'static str) -> OnConflict {
    let later = format!(
        "CASE WHEN excluded.last_at > {table}.last_at THEN excluded.last_at ELSE {table}.last_at END"
    );
    OnConflict::column(id)
        .value("calls", Expr::cust(format!("{table}.calls + excluded.calls")))
        .value("last_at", Expr::cust(later))
        .to_owned()
}

/// Fills the ends of calls, each once: a later completion of the same call changes nothing.
async fn end(
    transaction: &DatabaseTransaction,
    ends: &[(CallId, Outcome)],
    tally: &mut Tally,
) -> Result<(), StoreError> {
    for ends in ends.chunks(ROWS_PER_STATEMENT_MAX) {
        let mut first: HashMap<Vec<u8>, Outcome> = HashMap::new();
        for (call, outcome) in ends {
            first.entry(call.as_uuid().as_bytes().to_vec()).or_insert(*outcome);
        }
        let open: Vec<(i64, Vec<u8>, i64, i64, i64)> = entry::Entity::find()
            .select_only()
            .columns([
                entry::Column::Id,
                entry::Column::CallId,
                entry::Column::At,
                entry::Column::Lane,
                entry::Column::Member,
            ])
            .filter(entry::Column::CallId.is_in(first.keys().cloned()))
            .filter(entry::Column::Outcome.is_null())
            .into_tuple()
            .all(transaction)
            .await?;
        let lanes = lanes_of(transaction, open.iter().map(|row| row.3)).await?;
        let persons = persons_of(transaction, open.iter().map(|row| row.4)).await?;
        for (id, call, at, lane, member) in open {
            let (Some(outcome), Some(lane)) = (first.get(&call), lanes.get(&lane)) else { continue };
            // A denied call has no end.
            if !lane.2 {
                continue;
            }
            complete(transaction, id, outcome).await?;
            if let Some(person) = persons.get(&member) {
                tally.end(Timestamp::from_millis(at), lane.0, *person, lane.1, outcome);
            }
        }
    }
    Ok(())
}

/// Agent, tool and result of these lanes.
async fn lanes_of(
    transaction: &DatabaseTransaction,
    lanes: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, (i64, i64, bool)>, StoreError> {
    let lanes: BTreeSet<i64> = lanes.collect();
    let found: Vec<(i64, i64, i64, bool)> = lane::Entity::find()
        .select_only()
        .columns([lane::Column::Id, lane::Column::Agent, lane::Column::Tool, lane::Column::Allowed])
        .filter(lane::Column::Id.is_in(lanes))
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(found.into_iter().map(|(id, agent, tool, allowed)| (id, (agent, tool, allowed))).collect())
}

async fn persons_of(
    transaction: &DatabaseTransaction,
    members: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, i64>, StoreError> {
    let members: BTreeSet<i64> = members.collect();
    let found: Vec<(i64, i64)> = member::Entity::find()
        .select_only()
        .columns([member::Column::Id, member::Column::Person])
        .filter(member::Column::Id.is_in(members))
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(found.into_iter().collect())
}

async fn complete(transaction: &DatabaseTransaction, id: i64, outcome: &Outcome) -> Result<(), StoreError> {
    entry::Entity::update_many()
        .col_expr(entry::Column::Outcome, Expr::value(word("audit_entry.outcome", outcome.kind)?))
        .col_expr(entry::Column::OutcomeStatus, Expr::value(i64::from(outcome.status)))
        .col_expr(
            entry::Column::OutcomeBytes,
            Expr::value(signed("audit_entry.outcome_bytes", outcome.bytes)?),
        )
        .col_expr(
            entry::Column::DurationMs,
            Expr::value(signed("audit_entry.duration_ms", outcome.duration_ms)?),
        )
        .filter(entry::Column::Id.eq(id))
        .exec(transaction)
        .await?;
    Ok(())
}

async fn move_position(
    transaction: &DatabaseTransaction,
    node: Uuid,
    to: &AuditPosition,
) -> Result<(), StoreError> {
    let row = position::ActiveModel {
        node: Set(id_text(&node)),
        segment: Set(to.segment.clone()),
        byte_offset: Set(signed("audit_position.byte_offset", to.offset)?),
    };
    let replace = OnConflict::column(position::Column::Node)
        .update_columns([position::Column::Segment, position::Column::ByteOffset])
        .to_owned();
    position::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}

fn entry_model(row: &AuditRow, numbers: &Numbers) -> Result<entry::ActiveModel, StoreError> {
    let outcome = row.outcome.as_ref();
    let number = |place, value: Option<u64>| value.map(|value| signed(place, value)).transpose();
    Ok(entry::ActiveModel {
        node: Set(node_number(&row.node)),
        boot: Set(signed("audit_entry.boot", row.boot)?),
        seq: Set(signed("audit_entry.seq", row.seq)?),
        at: Set(row.at.as_millis()),
        lane: Set(numbers.lane),
        member: Set(numbers.member),
        ruling: Set(numbers.ruling),
        call_id: Set(row.call.as_uuid().as_bytes().to_vec()),
        key_id: Set(row.key_id.as_uuid().as_bytes().to_vec()),
        session_id: Set(row.session.map(|session| session.as_uuid().as_bytes().to_vec())),
        resource: Set(row.resource.clone()),
        caller_ip: Set(row.caller_ip.to_string()),
        arguments: Set(row.arguments.clone()),
        bundle: Set(row.bundle.as_bytes().to_vec()),
        outcome: Set(outcome.map(|outcome| word("audit_entry.outcome", outcome.kind)).transpose()?),
        outcome_status: Set(outcome.map(|outcome| i64::from(outcome.status))),
        outcome_bytes: Set(number("audit_entry.outcome_bytes", outcome.map(|outcome| outcome.bytes))?),
        duration_ms: Set(number("audit_entry.duration_ms", outcome.map(|outcome| outcome.duration_ms))?),
        ..Default::default()
    })
}

//! What each change of the directory touched, so that who follows reads that alone.
//!
//! Invariants: each generation has at least one row here, written by the change itself in its own
//! transaction; where one is missing (older than what is kept, or raised by hand), or a change did not
//! say what it touched, everything is read. Forgetting to say costs time, never a revocation.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::{QuerySelect as _, Set};

use super::column::{id_text, parse_id, signed};
use super::{Generation, StoreError};
use crate::model::{AgentId, MemberId};

/// Generations that are kept; who is further behind reads everything.
const GENERATIONS_KEPT: u64 = 1_000;
/// Rows of one change, and of one reading; with more, everything is read.
const TOUCHED_MAX: usize = 500;

const ALL: &str = "all";
const NOTHING: &str = "nothing";
const AGENT: &str = "agent";
const MEMBER: &str = "member";
const POLICIES: &str = "policies";

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "directory_change")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub generation: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub noun: String,
        /// Empty where the noun says all.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Something of the directory that changed, came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    /// The agent's row. With the agent its members and keys go; else they are as they were.
    Agent(AgentId),
    /// The member's row, its groups and its keys. With the member the policies that are its own go.
    Member(MemberId),
    /// Stored policies of this agent.
    Policies(AgentId),
}

/// What changed since a generation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// Nobody can say, or too much.
    Everything,
    These(BTreeSet<Touched>),
}

/// Notes that a change may have touched anything.
pub(super) async fn note_all(
    connection: &impl ConnectionTrait,
    generation: Generation,
) -> Result<(), StoreError> {
    put(connection, generation, vec![(ALL, String::new())]).await
}

/// Notes what a change touched.
pub(super) async fn note(
    connection: &impl ConnectionTrait,
    generation: Generation,
    touched: &[Touched],
) -> Result<(), StoreError> {
    let distinct: BTreeSet<Touched> = touched.iter().copied().collect();
    if distinct.len() > TOUCHED_MAX {
        return note_all(connection, generation).await;
    }
    let mut rows: Vec<(&str, String)> = distinct.iter().map(written).collect();
    if rows.is_empty() {
        rows.push((NOTHING, String::new()));
    }
    put(connection, generation, rows).await
}

async fn put(
    connection: &impl ConnectionTrait,
    generation: Generation,
    rows: Vec<(&str, String)>,
) -> Result<(), StoreError> {
    let number = signed("directory_change.generation", generation.get())?;
    let kept_from = signed("directory_change.generation", generation.get().saturating_sub(GENERATIONS_KEPT))?;
    let rows = rows.into_iter().map(|(noun, id)| row::ActiveModel {
        generation: Set(number),
        noun: Set(noun.to_owned()),
        id: Set(id),
    });
    row::Entity::insert_many(rows).exec_without_returning(connection).await?;
    row::Entity::delete_many().filter(row::Column::Generation.lte(kept_from)).exec(connection).await?;
    Ok(())
}

/// What changed after `since`, up to `now`.
pub(super) async fn since(
    connection: &impl ConnectionTrait,
    since: Generation,
    now: Generation,
) -> Result<Since, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Generation.gt(signed("directory_change.generation", since.get())?))
        .limit(TOUCHED_MAX as u64 + 1)
        .all(connection)
        .await?;
    let generations: BTreeSet<i64> = rows.iter().map(|row| row.generation).collect();
    let expected = now.get().saturating_sub(since.get());
    if rows.len() > TOUCHED_MAX || generations.len() as u64 != expected {
        return Ok(Since::Everything);
    }
    let mut touched = BTreeSet::new();
    for row in rows {
        touched.insert(match row.noun.as_str() {
            AGENT => Touched::Agent(AgentId::from_uuid(parse_id("directory_change.id", &row.id)?)),
            MEMBER => Touched::Member(MemberId::from_uuid(parse_id("directory_change.id", &row.id)?)),
            POLICIES => Touched::Policies(AgentId::from_uuid(parse_id("directory_change.id", &row.id)?)),
            NOTHING => continue,
            _ => return Ok(Since::Everything),
        });
    }
    Ok(Since::These(touched))
}

fn written(touched: &Touched) -> (&'static str, String) {
    match touched {
        Touched::Agent(id) => (AGENT, id_text(id.as_uuid())),
        Touched::Member(id) => (MEMBER, id_text(id.as_uuid())),
        Touched::Policies(id) => (POLICIES, id_text(id.as_uuid())),
    }
}

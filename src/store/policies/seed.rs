//! Policies that come with something else: the baseline of a connector that is enabled, of a member that is
//! approved.
//!
//! Invariant: nothing is put beside what somebody decided: where there is a policy for the connector already
//! (of that member, where it is the member's own), even one that is off, none is added.

use std::collections::BTreeSet;

use sea_orm::QuerySelect as _;
use sea_orm::entity::prelude::*;

use super::{POLICIES_PER_AGENT_MAX, PolicyRow, row, row_of, versions};
use crate::store::StoreError;
use crate::store::column::id_text;
use crate::store::touched::Touched;

/// Says why a policy is there that nobody saved.
const COMMENT: &str = "seeded with the connector";

/// Puts those of these policies, all of one agent, for whose connector there is none; says what that touched.
pub(in crate::store) async fn put_missing(
    connection: &impl ConnectionTrait,
    seeds: &[PolicyRow],
) -> Result<Option<Touched>, StoreError> {
    let Some(first) = seeds.first() else { return Ok(None) };
    let known: Vec<(Option<String>, Option<String>, String)> = row::Entity::find()
        .filter(row::Column::AgentId.eq(id_text(first.agent.as_uuid())))
        .select_only()
        .column(row::Column::MemberId)
        .column(row::Column::Service)
        .column(row::Column::PolicyKey)
        .into_tuple()
        .all(connection)
        .await?;
    let mut count = known.len() as u64;
    let mut keys: BTreeSet<String> = known.iter().map(|(_, _, key)| key.clone()).collect();
    let mut touched = None;
    for seed in seeds {
        let member = seed.member.map(|member| id_text(member.as_uuid()));
        let service = seed.service.as_ref().map(ToString::to_string);
        let decided = known.iter().any(|(whose, of, _)| *whose == member && *of == service);
        // Without its baseline a member is denied, which its owner sees and mends.
        if decided || count >= POLICIES_PER_AGENT_MAX || !keys.insert(seed.key.to_string()) {
            continue;
        }
        row::Entity::insert(row_of(seed)?).exec_without_returning(connection).await?;
        versions::put(connection, seed, Some(COMMENT)).await?;
        count += 1;
        touched = Some(Touched::Policies(seed.agent));
    }
    Ok(touched)
}

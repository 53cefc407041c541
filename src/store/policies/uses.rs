//! How often policies determined calls, and when last, as far as the audit's index reaches back.
//!
//! Invariant: what is counted is calls that this very policy determined, by its id: another one of the same
//! key, of another agent or from before, lends it nothing. What is read grows with the different rulings, not
//! with calls.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType, Query};

use super::{Policies, PolicyRow};
use crate::model::{PolicyId, Timestamp};
use crate::store::StoreError;
use crate::store::audit::row::{ruling, ruling_policy};
use crate::store::column::{parse, unsigned};

/// Calls that a policy determined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyUses {
    pub calls: u64,
    pub last: Option<Timestamp>,
}

impl Policies<'_> {
    /// Calls that each of these policies determined; one that determined none is not named.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn uses(&self, rows: &[PolicyRow]) -> Result<BTreeMap<PolicyId, PolicyUses>, StoreError> {
        if rows.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
        let select = Query::select()
            .column((ruling_policy::Entity, ruling_policy::Column::PolicyKey))
            .expr_as(Expr::cust("CAST(SUM(audit_ruling.calls) AS BIGINT)"), "counted")
            .expr_as(Expr::col((ruling::Entity, ruling::Column::LastAt)).max(), "newest")
            .from(ruling_policy::Entity)
            .join(
                JoinType::InnerJoin,
                ruling::Entity,
                Expr::col((ruling::Entity, ruling::Column::Id))
                    .equals((ruling_policy::Entity, ruling_policy::Column::Ruling)),
            )
            .and_where(
                Expr::col((ruling_policy::Entity, ruling_policy::Column::PolicyKey))
                    .is_in(ids.iter().map(String::as_str)),
            )
            .group_by_col((ruling_policy::Entity, ruling_policy::Column::PolicyKey))
            .to_owned();
        let found = self.0.timed(async { Ok(self.0.connection.query_all(&select).await?) }).await?;
        let mut uses = BTreeMap::new();
        for row in found {
            let id: String = row.try_get("", "policy_key")?;
            let calls = unsigned("audit_ruling.calls", row.try_get("", "counted")?)?;
            if calls > 0 {
                let last = Some(Timestamp::from_millis(row.try_get("", "newest")?));
                uses.insert(parse("audit_ruling_policy.policy_key", &id)?, PolicyUses { calls, last });
            }
        }
        Ok(uses)
    }
}

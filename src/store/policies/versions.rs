//! What a policy was: one row for each time that it was saved.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, QuerySelect as _, Set};

use super::{Policies, PolicyRow, version_number};
use crate::model::{PolicyId, PolicyMode, PolicyText, Timestamp};
use crate::store::column::{id_text, json, parse_json, parse_word, word};
use crate::store::{StoreError, dialect};

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_version")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub policy_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub text: String,
        pub cedar: String,
        pub name: String,
        pub enabled: bool,
        pub mode: String,
        pub saved_at: i64,
        pub saved_by: String,
        pub comment: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One version of a policy, as it was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyVersionRow {
    pub version: u32,
    pub name: String,
    pub enabled: bool,
    pub mode: PolicyMode,
    pub text: PolicyText,
    pub cedar: String,
    pub saved_at: Timestamp,
    /// The operator, in its written form.
    pub saved_by: String,
    pub comment: Option<String>,
}

impl Policies<'_> {
    /// Versions of the policy, newest first, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(
        &self,
        policy: PolicyId,
        (limit, offset): (u64, u64),
    ) -> Result<(Vec<PolicyVersionRow>, u64), StoreError> {
        let find = row::Entity::find().filter(row::Column::PolicyId.eq(id_text(policy.as_uuid())));
        let page = find.clone().order_by_desc(row::Column::Version).limit(limit).offset(offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows = page.all(&moment).await?;
                moment.commit().await?;
                Ok((rows.into_iter().map(version_of).collect::<Result<_, _>>()?, total))
            })
            .await
    }

    /// One version of the policy, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn version(&self, policy: PolicyId, version: u32) -> Result<PolicyVersionRow, StoreError> {
        let find = row::Entity::find_by_id((id_text(policy.as_uuid()), version.into()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        version_of(found.ok_or_else(|| StoreError::not_found("version", version))?)
    }
}

/// Keeps the policy as it is saved now.
pub(super) async fn put(
    connection: &impl ConnectionTrait,
    policy: &PolicyRow,
    comment: Option<&str>,
) -> Result<(), StoreError> {
    let row = row::ActiveModel {
        policy_id: Set(id_text(policy.id.as_uuid())),
        version: Set(policy.version.into()),
        text: Set(json("policy_version.text", &policy.text)?),
        cedar: Set(policy.cedar.clone()),
        name: Set(policy.name.clone()),
        enabled: Set(policy.enabled),
        mode: Set(word("policy_version.mode", policy.mode)?),
        saved_at: Set(policy.updated_at.as_millis()),
        saved_by: Set(policy.updated_by.clone()),
        comment: Set(comment.map(str::to_owned)),
    };
    row::Entity::insert(row).exec_without_returning(connection).await?;
    Ok(())
}

fn version_of(row: row::Model) -> Result<PolicyVersionRow, StoreError> {
    Ok(PolicyVersionRow {
        version: version_number("policy_version.version", row.version)?,
        name: row.name,
        enabled: row.enabled,
        mode: parse_word("policy_version.mode", &row.mode)?,
        text: parse_json("policy_version.text", &row.text)?,
        cedar: row.cedar,
        saved_at: Timestamp::from_millis(row.saved_at),
        saved_by: row.saved_by,
        comment: row.comment,
    })
}

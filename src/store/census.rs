//! How many there are of each: for the status, without reading them.

use sea_orm::PaginatorTrait as _;
use sea_orm::entity::prelude::*;

use super::{Generation, Store, StoreError, agents, dialect, keys, members, meta};

/// Numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    pub generation: Generation,
    pub agents: u64,
    pub members: u64,
    /// Keys that are not revoked.
    pub keys: u64,
    /// Those of them that have a rate of their own.
    pub keys_with_own_rate: u64,
}

impl Store {
    /// Counts agents, members and keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn census(&self) -> Result<Census, StoreError> {
        let live = keys::row::Entity::find().filter(keys::row::Column::RevokedAt.is_null());
        let own_rate = live.clone().filter(keys::row::Column::Rate.is_not_null());
        self.timed(async {
            let moment = dialect::begin_read(&self.connection).await?;
            let census = Census {
                generation: meta::generation(&moment).await?,
                agents: agents::row::Entity::find().count(&moment).await?,
                members: members::row::Entity::find().count(&moment).await?,
                keys: live.count(&moment).await?,
                keys_with_own_rate: own_rate.count(&moment).await?,
            };
            moment.commit().await?;
            Ok(census)
        })
        .await
    }
}

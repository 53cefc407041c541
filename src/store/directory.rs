//! Everything that the data plane knows of callers, read at one moment.

use sea_orm::Condition;

use super::{Generation, KeyRow, Store, StoreError, agents, dialect, keys, members, meta};
use crate::model::{Agent, Member};

/// Agents, members and live keys as of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    pub generation: Generation,
    /// By name.
    pub agents: Vec<Agent>,
    /// By name, with their groups.
    pub members: Vec<Member>,
    /// Those that are not revoked.
    pub keys: Vec<KeyRow>,
}

impl Store {
    /// Reads the directory in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]; the caller keeps the directory that it has.
    pub async fn directory(&self) -> Result<Directory, StoreError> {
        self.timed(async {
            let moment = dialect::begin_read(&self.connection).await?;
            let directory = Directory {
                generation: meta::generation(&moment).await?,
                agents: agents::all(&moment).await?,
                members: members::matching(&moment, Condition::all()).await?,
                keys: keys::live(&moment).await?,
            };
            moment.commit().await?;
            Ok(directory)
        })
        .await
    }

    /// The newest generation: cheap, for polling.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        self.timed(meta::generation(&self.connection)).await
    }
}

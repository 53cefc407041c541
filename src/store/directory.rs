//! Everything that the data plane knows of callers, read at one moment.

use super::{Generation, KeyRow, Store, StoreError};
use crate::model::{Agent, Member};

/// Agents, members and live keys as of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    pub generation: Generation,
    pub agents: Vec<Agent>,
    /// With their groups.
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
        Err(super::not_yet())
    }

    /// The newest generation: cheap, for polling.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        Err(super::not_yet())
    }
}

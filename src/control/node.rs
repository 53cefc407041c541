//! Which node this data directory is, and opening the store as that node.
//!
//! Invariants: a node's id is made once and stays with its journal, which names it in every entry; so
//! it lies in the data directory, not in a database that several gates may share. A damaged file stops
//! the start instead of being replaced. Gates of one database have one pepper: another would recognise
//! no key of theirs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::secrets::write_whole;
use crate::keys::Pepper;
use crate::store::{Opening, Store, StoreError};

/// The node's id within the data directory.
pub const NODE_FILE: &str = "node";
/// Where earlier releases kept it.
const SQLITE_FILE: &str = "wicket.db";

/// Why the store is not opened.
#[derive(Debug)]
pub enum NodeFault {
    /// The store's own fault.
    Store(StoreError),
    /// The file with the node's id.
    File { path: PathBuf, reason: String },
    /// The database was begun with another pepper.
    OtherPepper,
}

impl std::fmt::Display for NodeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::File { path, reason } => write!(
                f,
                "`{}` {reason}; restore it from a backup: the journal goes on under the id in it",
                path.display()
            ),
            Self::OtherPepper => f.write_str(
                "the pepper is not the one that this database was begun with, so no key in it would be \
                 recognised; give this gate the pepper of the others: copy their file `pepper` into its data \
                 directory, or set WICKET_PEPPER to the same for all",
            ),
        }
    }
}

impl std::error::Error for NodeFault {}

impl From<StoreError> for NodeFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Opens the store as the node of this data directory, which is made one where it is none yet.
///
/// # Errors
/// [`NodeFault`] says what to do.
pub async fn open_store(data_dir: &Path, mut opening: Opening, pepper: &Pepper) -> Result<Store, NodeFault> {
    let file = data_dir.join(NODE_FILE);
    let known = read(&file)?;
    opening.node = match known {
        Some(node) => Some(node),
        None => earlier(data_dir, &opening).await?,
    };
    let store = Store::open_as(&opening).await?;
    if known.is_none() {
        let id = store.node_id().hyphenated().to_string();
        write_whole(&file, &id)
            .map_err(|error| NodeFault::File { path: file, reason: format!("cannot be written: {error}") })?;
    }
    if !store.agree("pepper", &pepper.fingerprint()).await? {
        return Err(NodeFault::OtherPepper);
    }
    Ok(store)
}

fn read(file: &Path) -> Result<Option<Uuid>, NodeFault> {
    let fault = |reason: String| NodeFault::File { path: file.to_owned(), reason };
    match fs::read_to_string(file) {
        Ok(text) => {
            let id =
                Uuid::try_parse(text.trim()).map_err(|_| fault("does not hold a node's id".to_owned()))?;
            Ok(Some(id))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(format!("cannot be read: {error}"))),
    }
}

/// The node of a gate that moves from its SQLite file to a shared database: its journal goes on.
async fn earlier(data_dir: &Path, opening: &Opening) -> Result<Option<Uuid>, NodeFault> {
    let file = data_dir.join(SQLITE_FILE);
    if opening.url.starts_with("sqlite:") || !file.exists() {
        return Ok(None);
    }
    let store = Store::open(&format!("sqlite://{}", file.display())).await?;
    let node = store.node_id();
    store.close().await;
    Ok(Some(node))
}

#[cfg(test)]
mod tests;

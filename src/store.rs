//! The rows that outlive the process: accounts, agents, members, keys, groups, sessions and the audit's
//! index.
//!
//! Invariants:
//! - A change that the data plane must see is one transaction which first raises `generation` and
//!   returns the new one (decision 16). Raising it first also takes the one write lock, so that
//!   what the transaction reads afterwards cannot be changed under it.
//! - What differs between databases stays in `dialect` (decision 19). On both an acknowledged change
//!   survives `kill -9` and power loss.
//! - Each operation ends within [`STATEMENT_MS_MAX`].

mod accounts;
mod agents;
mod audit;
mod census;
mod changes;
mod column;
mod dialect;
mod directory;
mod error;
mod groups;
mod invites;
mod keys;
mod members;
mod meta;
mod migration;
mod nodes;
mod opening;
mod policies;
mod sessions;
mod sign_in_links;
mod statistics;
mod tokens;
mod touched;
mod web_sessions;

use std::time::Duration;

use sea_orm::DatabaseConnection;
use uuid::Uuid;

pub use accounts::Accounts;
pub use agents::{AgentEdit, AgentQuery, AgentSort, Agents, SeenAgent};
pub use audit::{
    Audit, AuditCursor, AuditFilter, AuditFound, AuditPerson, AuditPlace, AuditPosition, AuditRow,
    AuditTotal, AuditWrite, ChangePhase, ChangeRow, EXACT_TOTAL_MAX, OFFSET_ROWS_MAX, OwnMembership,
    PeopleQuestion, QUERY_ROWS_MAX, ShadowRow, Sight,
};
pub use census::Census;
pub use changes::{ChangeFilter, Changes, ChangesFound};
pub use dialect::Listener;
pub use directory::{Directory, DirectoryPart, DirectoryUpdate};
pub use error::StoreError;
pub use groups::{Group, GroupSummary, Groups};
pub use invites::{InviteJoin, InviteRow, Invites};
pub use keys::{KeyRow, Keys};
pub use members::{MemberQuery, MemberRow, MemberSort, Members};
pub use nodes::{NodeRow, Nodes};
pub use opening::{Opening, Password, without_password};
pub use policies::{
    POLICIES_PER_AGENT_MAX, Policies, PolicyQuery, PolicyRow, PolicySort, PolicyUses, PolicyVersionRow,
};
pub use sessions::{EndReason, MemberCounterRow, SessionQuery, SessionRow, SessionRows, SessionSort};
pub use sign_in_links::{MaySignIn, SignInLinkRow, SignInLinks};
pub use statistics::{
    Busy, Counted, MemberCounts, PolicyCounts, StatisticSpan, Statistics, StatisticsQuestion, ToolCounts,
};
pub use tokens::{TokenRow, Tokens};
pub use web_sessions::{WebSessionRow, WebSessions};

/// An operation that takes longer than this many milliseconds is given up as unavailable.
pub const STATEMENT_MS_MAX: u64 = 10_000;

/// A migration, and the wait for another gate's, is given up after so many milliseconds.
const MIGRATION_MS_MAX: u64 = 600_000;

/// Counts the changes that the data plane must see. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

impl Generation {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// One of this number, which no store gave.
    #[cfg(test)]
    pub(crate) const fn of(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    connection: DatabaseConnection,
    node: Uuid,
}

impl Store {
    /// Opens the database as [`Store::open_as`] does, with what a URL alone says.
    ///
    /// # Errors
    /// As [`Store::open_as`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_as(&Opening { url: url.to_owned(), ..Opening::default() }).await
    }

    /// Opens the database and migrates it; a SQLite file (mode 0600) is created where it is missing.
    ///
    /// # Errors
    /// [`StoreError::CannotOpen`] where it cannot be made or reached, is no database, or was written
    /// by a newer release.
    pub async fn open_as(opening: &Opening) -> Result<Self, StoreError> {
        let connection = dialect::connect(opening).await?;
        let migration = migration::migrate(&connection);
        match tokio::time::timeout(Duration::from_millis(MIGRATION_MS_MAX), migration).await {
            Ok(migrated) => migrated?,
            Err(_) => {
                return Err(StoreError::cannot_open(
                    "another program has been changing its tables for ten minutes; look what holds it up",
                ));
            }
        }
        let node = match opening.node {
            Some(node) => node,
            None if dialect::is_shared(&connection) => meta::new_node(),
            None => meta::node_id(&connection).await?,
        };
        Ok(Self { connection, node })
    }

    /// Whether other gates may use the same database at the same time.
    pub fn is_shared(&self) -> bool {
        dialect::is_shared(&self.connection)
    }

    /// The id of the node that opened it.
    pub const fn node_id(&self) -> Uuid {
        self.node
    }

    /// The accounts' rows.
    pub const fn accounts(&self) -> Accounts<'_> {
        Accounts(self)
    }

    /// The API tokens' rows.
    pub const fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }

    /// The signed-in browsers' rows.
    pub const fn web_sessions(&self) -> WebSessions<'_> {
        WebSessions(self)
    }

    /// The rows of one-time links.
    pub const fn sign_in_links(&self) -> SignInLinks<'_> {
        SignInLinks(self)
    }

    /// The agents' rows.
    pub const fn agents(&self) -> Agents<'_> {
        Agents(self)
    }

    /// The members' rows.
    pub const fn members(&self) -> Members<'_> {
        Members(self)
    }

    /// The groups' rows.
    pub const fn groups(&self) -> Groups<'_> {
        Groups(self)
    }

    /// The invites' rows.
    pub const fn invites(&self) -> Invites<'_> {
        Invites(self)
    }

    /// The member keys' rows.
    pub const fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// The sessions' and member counters' rows.
    pub const fn sessions(&self) -> SessionRows<'_> {
        SessionRows(self)
    }

    /// The stored policies' rows.
    pub const fn policies(&self) -> Policies<'_> {
        Policies(self)
    }

    /// The gates' rows.
    pub const fn nodes(&self) -> Nodes<'_> {
        Nodes(self)
    }

    /// The audit's index.
    pub const fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Administrative changes, as the audit's index keeps them.
    pub const fn changes(&self) -> Changes<'_> {
        Changes(self)
    }

    /// Calls by hour and day.
    pub const fn statistics(&self) -> Statistics<'_> {
        Statistics(self)
    }

    /// Closes the pool: waits for running operations, and lets SQLite fold its write-ahead log.
    pub async fn close(self) {
        // What fails here fails again, and is told, at the next opening.
        let _ = self.connection.close().await;
    }

    /// Hears of changes by other gates; `None` where the database is this gate's alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        self.timed(dialect::listen(&self.connection)).await
    }

    /// Runs one operation within [`STATEMENT_MS_MAX`]. Dropping it rolls its transaction back.
    async fn timed<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(Duration::from_millis(STATEMENT_MS_MAX), operation).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::Unavailable {
                message: format!(
                    "no answer within {STATEMENT_MS_MAX} ms (the database or its disk is too slow, or another \
                     process holds the lock; look whether the change was made before repeating it)"
                ),
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

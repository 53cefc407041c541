//! What can go wrong in the store, in words that tell the operator what to do.

use std::fmt;

use sea_orm::{DbErr, SqlErr};

/// Why the store did not do what it was asked. Nothing of a failed change remains.
#[derive(Debug)]
pub enum StoreError {
    /// There is no such row.
    NotFound {
        /// What was looked for: `agent`, `member`, `key`, `group`.
        noun: &'static str,
        /// The id or name that was given.
        given: String,
    },
    /// The change contradicts what is stored, most often a name that is taken.
    Conflict {
        /// What clashed: `agent`, `member`, `key`, `group`.
        noun: &'static str,
        /// What is wrong and what to do instead.
        message: String,
    },
    /// The row is not as the asker saw it any more; nothing was changed.
    Outdated {
        /// What was to be changed.
        noun: &'static str,
    },
    /// The database did not answer in time, is locked, full or gone. Retry after what it names.
    Unavailable {
        /// The database's own words and what to do.
        message: String,
    },
    /// A row cannot be read: the database was edited by hand or is damaged.
    Corrupt {
        /// Table and column.
        place: &'static str,
        /// What was found there.
        message: String,
    },
    /// The database cannot be opened or migrated as it is.
    CannotOpen {
        /// What is wrong and what to do.
        message: String,
    },
}

impl StoreError {
    /// A missing row.
    pub(super) fn not_found(noun: &'static str, given: impl fmt::Display) -> Self {
        Self::NotFound { noun, given: given.to_string() }
    }

    /// A clash.
    pub(super) fn conflict(noun: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { noun, message: message.into() }
    }

    /// An unreadable value.
    pub(super) fn corrupt(place: &'static str, message: impl fmt::Display) -> Self {
        Self::Corrupt { place, message: message.to_string() }
    }

    /// A database that cannot be opened.
    pub(super) fn cannot_open(message: impl Into<String>) -> Self {
        Self::CannotOpen { message: message.into() }
    }

    /// The same error, where a broken unique constraint means that this name is taken, and a broken
    /// foreign key that the owner (its noun and id) is missing.
    pub(super) fn taken(
        error: DbErr,
        noun: &'static str,
        given: impl fmt::Display,
        owner: (&'static str, &dyn fmt::Display),
    ) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => {
                Self::conflict(noun, format!("the {noun} `{given}` exists already; choose another name"))
            }
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Self::not_found(owner.0, owner.1),
            _ => Self::from(error),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if super::dialect::is_unstorable(&error) {
            return Self::conflict(
                "text",
                "a text holds the character NUL, which cannot be kept; leave it out",
            );
        }
        let (text, advice) = (error.to_string(), super::dialect::advice(&error));
        Self::Unavailable { message: format!("{text} ({advice})") }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { noun, given } => write!(f, "no {noun} `{}`", given.escape_debug()),
            Self::Conflict { message, .. } => f.write_str(message),
            Self::Outdated { noun } => {
                write!(f, "the {noun} was changed by somebody else meanwhile; look at it again")
            }
            Self::Unavailable { message } => write!(f, "the store is unavailable: {message}"),
            Self::Corrupt { place, message } => write!(
                f,
                "`{place}` in the database cannot be read: {message}; restore a backup, or correct the row"
            ),
            Self::CannotOpen { message } => write!(f, "the store cannot be opened: {message}"),
        }
    }
}

impl std::error::Error for StoreError {}

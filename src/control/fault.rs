//! Why an administrative request was not carried out: what, where, why, what to do next.
//!
//! A fault carries no secret and no type name; it travels as JSON from the gate to the command line.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Diagnostic, NameError};
use crate::policy::structured::Fault;

/// What sort of fault, for exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The request itself is wrong: nothing was changed, and asking again will not help.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// It clashes with what exists, such as a name that is taken.
    Conflict,
    /// It is not any more as the asker saw it: look again.
    Outdated,
    /// The files do not load; `diagnostics` says where.
    Rejected,
    /// The store, the journal or an upstream cannot be used now: nothing was changed.
    Unavailable,
    /// The change was made, but a later step failed; the message says which.
    Partial,
    /// Only a running gate can do this.
    NotRunning,
}

impl FaultKind {
    /// The HTTP status on the admin socket.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict | Self::NotRunning => 409,
            Self::Outdated => 412,
            Self::Rejected => 422,
            Self::Partial => 500,
            Self::Unavailable => 503,
        }
    }
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFault {
    pub kind: FaultKind,
    /// Lower case, no full stop, user input in backticks.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Faults of files, for [`FaultKind::Rejected`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// Fields of a policy, for [`FaultKind::Rejected`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Fault>,
}

impl AdminFault {
    /// A fault of this kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None, diagnostics: Vec::new(), fields: Vec::new() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, message)
    }

    /// Something named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FaultKind::NotFound, message)
    }

    /// Something needed cannot be used now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unavailable, message)
    }

    /// Files that do not load.
    pub fn rejected(message: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, ..Self::new(FaultKind::Rejected, message) }
    }

    /// A policy that cannot be stored as it is.
    pub fn unfit(message: impl Into<String>, fields: Vec<Fault>) -> Self {
        Self { fields, ..Self::new(FaultKind::Rejected, message) }
    }

    /// The same, with a sentence that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for AdminFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for diagnostic in &self.diagnostics {
            write!(f, "\n  {diagnostic}")?;
        }
        for field in &self.fields {
            write!(f, "\n  {field}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AdminFault {}

impl From<NameError> for AdminFault {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

//! What a bundle is asked, and what it says of its policies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::model::PolicyKey;

/// What a policy does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allows, unless a forbid matches as well.
    Permit,
    /// Denies, whatever is permitted.
    Forbid,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

/// How much a policy tells the caller of itself: its `@show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    /// Nothing, not even its deny message.
    Hidden,
    /// Its deny message.
    #[default]
    Plain,
    /// Its deny message and its name, so that the caller can do something about it.
    Actionable,
}

/// One loaded policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo {
    /// Its `@id`.
    pub key: PolicyKey,
    /// Its `@name`, or the key where none is given.
    pub name: Arc<str>,
    pub effect: Effect,
    pub show: Show,
    /// The file it stands in.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// Every annotation, `@id` included.
    pub annotations: BTreeMap<String, String>,
    /// As the operator wrote it.
    pub text: Arc<str>,
}

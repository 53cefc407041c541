//! What a bundle is asked, and what it says of its policies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::world::Moment;
use crate::connector::{Connector, Connectors, Resource, Tool};
use crate::model::{CallId, Caller, History, PolicyId, PolicyKey, PolicyMode, Show, SourceFile, Timestamp};

/// What a bundle is built from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Every `*.cedar` of the policy directory.
    pub policies: Vec<SourceFile>,
    /// `cases.toml`, the policies' own tests; no part of the bundle's digest.
    pub cases: Option<SourceFile>,
    /// The connectors that the policies speak of.
    pub connectors: Arc<Connectors>,
    /// What policies without a `@show` tell callers of themselves; decides nothing.
    pub show: Show,
}

/// One call, to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub call: CallId,
    pub caller: &'a Caller,
    pub connector: &'a Connector,
    pub tool: &'a Tool,
    /// An object, or null for no arguments; the parsed form of the bytes that will be sent.
    pub arguments: &'a Value,
    /// What the arguments name: `connector::resource_of`.
    pub resource: &'a Resource,
    /// At least the counters that [`super::Needs`] lists.
    pub history: &'a History,
    /// The clock of this decision, read once.
    pub now: Timestamp,
}

impl<'a> Question<'a> {
    /// The second half: what the slice of the call does not depend on.
    pub(super) fn moment(&self) -> Moment<'a> {
        Moment { call: self.call, arguments: self.arguments, history: self.history, now: self.now }
    }
}

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
    /// What it does to the calls that it matches.
    pub mode: PolicyMode,
    /// Of a stored policy; one of a file has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<PolicyId>,
    /// The file it stands in; of a stored policy `stored/` and its key.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// Every annotation, `@id` included.
    pub annotations: Arc<BTreeMap<String, String>>,
    /// As the operator wrote it.
    pub text: Arc<str>,
}

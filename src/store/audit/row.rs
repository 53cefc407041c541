//! The index's tables. What a call has in common with many others stands in a table of its own, under a
//! number that is a digest of what it says ([`number_of`]).

use sha2::Digest as _;

/// The number of what these parts say, the same on every gate; never negative. Of a million different
/// ones two are alike with a chance of 1 in 18 million.
pub(in crate::store) fn number_of(parts: &[&[u8]]) -> i64 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    i64::from_be_bytes([a & 0x7f, b, c, d, e, f, g, h])
}

macro_rules! table {
    ($(#[$doc:meta])* $module:ident, $table:literal, $($body:tt)*) => {
        $(#[$doc])*
        pub(in crate::store) mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model { $($body)* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

table! {
    /// A decided call.
    entry, "audit_entry",
    #[sea_orm(primary_key)]
    pub id: i64,
    pub node: i64,
    pub boot: i64,
    pub seq: i64,
    pub at: i64,
    pub lane: i64,
    pub member: i64,
    pub ruling: i64,
    pub call_id: Vec<u8>,
    pub key_id: Vec<u8>,
    pub session_id: Option<Vec<u8>>,
    pub resource: String,
    pub caller_ip: String,
    pub arguments: String,
    pub bundle: Vec<u8>,
    pub outcome: Option<String>,
    pub outcome_status: Option<i64>,
    pub outcome_bytes: Option<i64>,
    pub duration_ms: Option<i64>,
}

table! {
    /// An agent under one name.
    agent, "audit_agent",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Number of the agent's id, whatever the name.
    pub agent: i64,
    pub agent_id: String,
    pub agent_name: String,
    /// In lower case, for searching.
    pub agent_folded: String,
    /// Calls in the index: the sum of its lanes.
    pub calls: i64,
    /// Those of them that were denied.
    pub denied: i64,
}

table! {
    /// A tool of a service.
    tool, "audit_tool",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub service: String,
    pub tool: String,
    /// In lower case, for searching.
    pub tool_folded: String,
    /// Calls in the index: the sum of its lanes.
    pub calls: i64,
}

table! {
    /// Allowed, or denied, calls of one tool of one agent under one name.
    lane, "audit_lane",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Number of the agent's id.
    pub agent: i64,
    /// Of the agent under its name.
    pub named: i64,
    pub tool: i64,
    pub action: String,
    pub allowed: bool,
    /// Calls in the index.
    pub calls: i64,
    /// The newest of them.
    pub last_at: i64,
}

table! {
    /// A member under one name.
    member, "audit_member",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub agent: i64,
    /// Number of the member's id, whatever the name.
    pub person: i64,
    pub agent_id: String,
    pub member_id: String,
    pub member_name: String,
    pub member_folded: String,
    pub principal: String,
    pub calls: i64,
    pub last_at: i64,
}

table! {
    /// Why calls were decided as they were.
    ruling, "audit_ruling",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub reason: String,
    pub deny_message: Option<String>,
    /// JSON list of policy references.
    pub policies: String,
    /// JSON of what policies in shadow mode would have made of it.
    pub shadow: Option<String>,
    pub calls: i64,
    pub last_at: i64,
}

table! {
    /// The rulings that a policy took part in: by its key, and a stored one by its id as well.
    ruling_policy, "audit_ruling_policy",
    #[sea_orm(primary_key, auto_increment = false)]
    pub policy_key: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub ruling: i64,
}

table! {
    /// Names of the policies that statistics count.
    policy, "audit_policy",
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub service: String,
    pub policy_key: String,
    pub name: String,
}

table! {
    /// An administrative change.
    change, "audit_change",
    #[sea_orm(primary_key)]
    pub id: i64,
    pub change_id: String,
    pub node: i64,
    pub boot: i64,
    pub seq: i64,
    pub at: i64,
    pub ended_at: Option<i64>,
    pub phase: String,
    pub who: String,
    /// The account's address, where it was one.
    pub account: Option<String>,
    pub what: String,
    pub target: String,
    pub agent_id: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
}

table! {
    /// Calls of an agent in one bucket of time, by subject.
    statistic, "audit_statistic",
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub span: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub bucket: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: i64,
    /// 0 is what is added to; the others are full.
    #[sea_orm(primary_key, auto_increment = false)]
    pub part: i64,
    /// As `packed` writes them.
    pub counts: Vec<u8>,
}

table! {
    /// How far a node's journal is indexed.
    position, "audit_position",
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    pub segment: String,
    pub byte_offset: i64,
}

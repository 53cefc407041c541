//! Policies that stand in the store, and every version of each.
//!
//! A policy goes with its agent, and with the member whose it is. Its key is the agent's only one.

use crate::store::migration::Step;
use crate::store::migration::columns::{
    belongs, boolean, index, made, nullable, number, primary, table, text, unique,
};

pub(in crate::store::migration) fn steps() -> Vec<Step> {
    let mut policy = table(
        "policy",
        vec![
            text("id").primary_key().take(),
            text("agent_id"),
            // Whose it is, under an untrusted agent.
            nullable(text("member_id")),
            text("policy_key"),
            text("name"),
            // Name and key in lower case, a line each: for searching and sorting.
            text("folded"),
            // None where Cedar text speaks of more than one.
            nullable(text("service")),
            text("effect"),
            boolean("enabled"),
            text("mode"),
            number("version"),
            // JSON.
            text("text"),
            text("cedar"),
            number("created_at"),
            number("updated_at"),
            text("updated_by"),
        ],
    );
    let mut version = table(
        "policy_version",
        vec![
            text("policy_id"),
            number("version"),
            text("text"),
            text("cedar"),
            text("name"),
            boolean("enabled"),
            text("mode"),
            number("saved_at"),
            text("saved_by"),
            nullable(text("comment")),
        ],
    );
    vec![
        made(
            policy
                .foreign_key(&mut belongs("policy", "agent_id", "agent"))
                .foreign_key(&mut belongs("policy", "member_id", "member"))
                .to_owned(),
        ),
        unique("policy", "policy_by_key", &["agent_id", "policy_key"]),
        index("policy", "policy_by_folded", &["agent_id", "folded"]),
        index("policy", "policy_by_member", &["member_id"]),
        made(
            version
                .primary_key(&mut primary(&["policy_id", "version"]))
                .foreign_key(&mut belongs("policy_version", "policy_id", "policy"))
                .to_owned(),
        ),
    ]
}

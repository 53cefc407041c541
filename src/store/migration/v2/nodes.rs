//! The gates of one database: who they are, what they must have in common, whose sessions and
//! counters are whose, and what each change of the directory touched.
//!
//! A database of version 1 is one gate's: all its sessions and counters are that gate's.

use crate::store::migration::Step;
use crate::store::migration::columns::{added, index, made, number, primary, table, text};

pub(in crate::store::migration) fn steps() -> Vec<Step> {
    let node = table(
        "node",
        vec![
            text("id").primary_key().take(),
            text("version"),
            number("started_at"),
            number("seen_at"),
            number("generation"),
        ],
    );
    let agreement = table("agreement", vec![text("name").primary_key().take(), text("value")]);
    let mut change = table("directory_change", vec![number("generation"), text("noun"), text("id")]);
    let mut counter = table(
        "node_member_counter",
        vec![text("node"), text("member_id"), number("bucket"), text("counters")],
    );
    vec![
        made(node),
        made(agreement),
        made(change.primary_key(&mut primary(&["generation", "noun", "id"])).to_owned()),
        added("session", text("node").default("").take()),
        Step::Run("UPDATE session SET node = (SELECT node_id FROM meta WHERE id = 1)"),
        index("session", "session_by_node", &["node", "ended_at"]),
        // The node becomes a part of the key, which no database can add in place.
        made(counter.primary_key(&mut primary(&["node", "member_id", "bucket"])).to_owned()),
        Step::Run(
            "INSERT INTO node_member_counter (node, member_id, bucket, counters) \
             SELECT meta.node_id, old.member_id, old.bucket, old.counters \
             FROM member_counter old, meta WHERE meta.id = 1",
        ),
        Step::Run("DROP TABLE member_counter"),
        Step::Run("ALTER TABLE node_member_counter RENAME TO member_counter"),
        index("member_counter", "member_counter_by_bucket", &["bucket"]),
    ]
}

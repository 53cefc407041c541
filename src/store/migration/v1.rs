//! Version 1: agents, members, groups, keys, sessions, member counters, the audit's index.

use sea_orm::sea_query::{ColumnDef, Table};

use super::Step;
use super::columns::{belongs, blob, boolean, index, made, nullable, number, primary, table, text, unique};

pub(super) fn steps() -> Vec<Step> {
    let mut steps = vec![made(
        Table::create()
            .table("meta")
            .col(ColumnDef::new("id").integer().not_null().primary_key())
            .col(text("node_id"))
            .col(number("generation"))
            .to_owned(),
    )];
    steps.extend(people());
    steps.extend(sessions());
    steps.extend(audit());
    steps
}

fn people() -> Vec<Step> {
    let id = || text("id").primary_key().take();
    let agent = table(
        "agent",
        vec![
            id(),
            text("name"),
            text("trust"),
            text("status"),
            text("services"),
            nullable(text("rate")),
            number("created_at"),
        ],
    );
    let mut member = table(
        "member",
        vec![id(), text("agent_id"), text("name"), text("role"), text("status"), number("created_at")],
    );
    let mut group = table("member_group", vec![id(), text("agent_id"), text("name"), number("created_at")]);
    let mut place = table("member_group_place", vec![text("group_id"), text("member_id")]);
    let mut key = table(
        "member_key",
        vec![
            id(),
            text("member_id"),
            blob("lookup_index"),
            blob("tag"),
            text("display_suffix"),
            blob("seal_salt"),
            blob("seal_public"),
            number("created_at"),
            nullable(number("last_used_at")),
            nullable(number("revoked_at")),
            nullable(text("rate")),
        ],
    );
    vec![
        made(agent),
        unique("agent", "agent_by_name", &["name"]),
        made(member.foreign_key(&mut belongs("member", "agent_id", "agent")).to_owned()),
        unique("member", "member_by_name", &["agent_id", "name"]),
        made(group.foreign_key(&mut belongs("member_group", "agent_id", "agent")).to_owned()),
        unique("member_group", "member_group_by_name", &["agent_id", "name"]),
        made(
            place
                .primary_key(&mut primary(&["group_id", "member_id"]))
                .foreign_key(&mut belongs("member_group_place", "group_id", "member_group"))
                .foreign_key(&mut belongs("member_group_place", "member_id", "member"))
                .to_owned(),
        ),
        index("member_group_place", "member_group_place_by_member", &["member_id"]),
        made(key.foreign_key(&mut belongs("member_key", "member_id", "member")).to_owned()),
        unique("member_key", "member_key_by_lookup_index", &["lookup_index"]),
        index("member_key", "member_key_by_member", &["member_id"]),
    ]
}

/// No foreign keys here: these rows are written behind, and one whose member is gone by then must
/// not keep the rest of its batch from being saved. Retention removes it.
fn sessions() -> Vec<Step> {
    let session = table(
        "session",
        vec![
            text("id").primary_key().take(),
            text("agent_id"),
            text("member_id"),
            blob("conversation"),
            nullable(text("client")),
            number("created_at"),
            number("last_activity_at"),
            nullable(number("ended_at")),
            nullable(text("end_reason")),
            text("counters"),
            text("mcp_sessions"),
        ],
    );
    let mut counter = table("member_counter", vec![text("member_id"), number("bucket"), text("counters")]);
    vec![
        made(session),
        index("session", "session_by_end", &["ended_at", "created_at"]),
        index("session", "session_by_agent", &["agent_id", "created_at"]),
        made(counter.primary_key(&mut primary(&["member_id", "bucket"])).to_owned()),
        index("member_counter", "member_counter_by_bucket", &["bucket"]),
    ]
}

/// Agent and tool are searched by a part of their name, which no index can serve: those filters
/// walk the rows that the others leave, newest first.
fn audit() -> Vec<Step> {
    let origin = || vec![text("node"), number("boot"), number("seq")];
    let mut columns = origin();
    columns.extend([text("call_id"), number("at")]);
    for name in ["agent_id", "agent_name", "agent_folded", "member_id", "member_name", "key_id"] {
        columns.push(text(name));
    }
    columns.push(nullable(text("session_id")));
    for name in ["service", "tool", "tool_folded", "action", "resource", "principal", "caller_ip"] {
        columns.push(text(name));
    }
    columns.extend([text("arguments"), boolean("allowed"), text("reason"), text("policies"), blob("bundle")]);
    columns.push(nullable(text("outcome")));
    for name in ["outcome_status", "outcome_bytes", "duration_ms"] {
        columns.push(nullable(number(name)));
    }
    let mut entry = table("audit_entry", columns);
    let mut columns = origin();
    columns.extend([text("policy_key"), number("at")]);
    let mut policy = table("audit_entry_policy", columns);
    let position = table(
        "audit_position",
        vec![text("node").primary_key().take(), text("segment"), number("byte_offset")],
    );
    vec![
        made(entry.primary_key(&mut primary(&["node", "boot", "seq"])).to_owned()),
        index("audit_entry", "audit_entry_by_time", &["at", "seq", "boot", "node"]),
        index("audit_entry", "audit_entry_by_service", &["service", "at", "seq"]),
        index("audit_entry", "audit_entry_by_member", &["member_id", "at", "seq"]),
        index("audit_entry", "audit_entry_by_result", &["allowed", "at", "seq"]),
        index("audit_entry", "audit_entry_by_call", &["call_id"]),
        made(policy.primary_key(&mut primary(&["policy_key", "node", "boot", "seq"])).to_owned()),
        index("audit_entry_policy", "audit_entry_policy_by_time", &["at"]),
        made(position),
    ]
}

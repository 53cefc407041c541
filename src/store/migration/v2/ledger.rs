//! The audit's index as lists and statistics need it, and the administrative changes.
//!
//! What repeats from call to call (which tool of which agent, who, under which policies) stands once, in
//! small tables, and a call names it by a number: so a filter by a part of a name looks at names, not at
//! calls. The index of version 1 is dropped: it is a copy of the journal, and is made anew from it when
//! the gate starts.

use sea_orm::sea_query::ColumnDef;

use crate::store::migration::Step;
use crate::store::migration::columns::{
    blob, boolean, index, made, nullable, number, primary, table, text, unique,
};

pub(in crate::store::migration) fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> =
        ["DROP TABLE audit_entry_policy", "DROP TABLE audit_entry", "DROP TABLE audit_position"]
            .map(Step::Run)
            .into();
    steps.extend(names());
    steps.extend(calls());
    steps.extend(changes());
    steps.extend(statistics());
    steps
}

/// Numbered by a digest of what they say, so that two gates give the same number.
fn id() -> ColumnDef {
    number("id").primary_key().take()
}

/// Numbered as they arrive.
fn arrival() -> ColumnDef {
    number("id").primary_key().auto_increment().take()
}

fn names() -> Vec<Step> {
    let counted = || [number("calls"), number("last_at")];
    let mut agent = vec![id(), number("agent")];
    agent.extend(["agent_id", "agent_name", "agent_folded"].map(text));
    agent.extend(["calls", "denied"].map(number));
    let mut tool = vec![id()];
    tool.extend(["service", "tool", "tool_folded"].map(text));
    tool.push(number("calls"));
    // Numbers but for the action: there are as many as agents times tools, and most questions look at many.
    let mut lane = vec![id(), number("agent"), number("named"), number("tool"), text("action")];
    lane.push(boolean("allowed"));
    lane.extend(counted());
    let mut member = vec![id(), number("agent"), number("person")];
    for name in ["agent_id", "member_id", "member_name", "member_folded", "principal"] {
        member.push(text(name));
    }
    member.extend(counted());
    let mut ruling = vec![id(), text("reason"), nullable(text("deny_message")), text("policies")];
    ruling.push(nullable(text("shadow")));
    ruling.extend(counted());
    let mut ruled_by = table("audit_ruling_policy", vec![text("policy_key"), number("ruling")]);
    let policy = vec![id(), text("service"), text("policy_key"), text("name")];
    vec![
        made(table("audit_agent", agent)),
        index("audit_agent", "audit_agent_by_agent", &["agent"]),
        made(table("audit_tool", tool)),
        made(table("audit_lane", lane)),
        index("audit_lane", "audit_lane_by_agent", &["named"]),
        index("audit_lane", "audit_lane_by_tool", &["tool"]),
        made(table("audit_member", member)),
        index("audit_member", "audit_member_by_member", &["member_id"]),
        index("audit_member", "audit_member_by_agent", &["agent_id"]),
        index("audit_member", "audit_member_by_person", &["person"]),
        made(table("audit_ruling", ruling)),
        made(ruled_by.primary_key(&mut primary(&["policy_key", "ruling"])).to_owned()),
        made(table("audit_policy", policy)),
    ]
}

/// Each of the four ways to walk the calls holds what the other filters look at, so that only the rows of
/// a page are read whole.
fn calls() -> Vec<Step> {
    let mut columns = vec![arrival()];
    columns.extend(["node", "boot", "seq", "at", "lane", "member", "ruling"].map(number));
    columns.extend([blob("call_id"), blob("key_id"), nullable(blob("session_id"))]);
    columns.extend(["resource", "caller_ip", "arguments"].map(text));
    columns.extend([blob("bundle"), nullable(text("outcome"))]);
    columns.extend(["outcome_status", "outcome_bytes", "duration_ms"].map(number).map(nullable));
    let position = table(
        "audit_position",
        vec![text("node").primary_key().take(), text("segment"), number("byte_offset")],
    );
    let by = |name, columns: &[&'static str]| index("audit_entry", name, columns);
    vec![
        made(table("audit_entry", columns)),
        unique("audit_entry", "audit_entry_by_origin", &["node", "boot", "seq"]),
        by("audit_entry_by_call", &["call_id"]),
        by("audit_entry_by_at", &["at", "seq", "id", "lane", "member", "ruling"]),
        by("audit_entry_by_lane", &["lane", "at", "seq", "id", "member", "ruling"]),
        by("audit_entry_by_member", &["member", "at", "seq", "id", "lane", "ruling"]),
        by("audit_entry_by_ruling", &["ruling", "at", "seq", "id", "lane", "member"]),
        by("audit_entry_of_session", &["session_id", "at", "seq", "id"]),
        made(position),
    ]
}

fn changes() -> Vec<Step> {
    let mut columns = vec![arrival(), text("change_id")];
    columns.extend(["node", "boot", "seq", "at"].map(number));
    columns.extend([nullable(number("ended_at")), text("phase"), text("who")]);
    columns.extend([nullable(text("account")), text("what"), text("target"), nullable(text("agent_id"))]);
    columns.extend(["before", "after"].map(text).map(nullable));
    vec![
        made(table("audit_change", columns)),
        unique("audit_change", "audit_change_by_change", &["change_id"]),
        index("audit_change", "audit_change_by_origin", &["node", "boot", "seq"]),
        index("audit_change", "audit_change_by_at", &["at", "seq", "id"]),
        index("audit_change", "audit_change_by_agent", &["agent_id", "at", "seq", "id"]),
        index("audit_change", "audit_change_by_account", &["account", "at", "seq", "id"]),
    ]
}

/// Calls of an agent by hour and by day: all of them, by member, by tool, by policy; what one bucket counts
/// is one row (`audit/packed.rs`), because a month of a hundred agents is a million counts.
fn statistics() -> Vec<Step> {
    let key = &["kind", "span", "agent", "bucket", "node", "part"];
    let mut columns = key.map(number).to_vec();
    columns.push(blob("counts"));
    let mut statistic = table("audit_statistic", columns);
    vec![made(statistic.primary_key(&mut primary(key)).to_owned())]
}

//! Lists and questions over a large store: 100 agents, 10,000 members, and as many calls as are asked for
//! (`make scale`: 10 million; a few thousand here, as a test of the harness itself). Made from a seed straight
//! into the store, by the index's own way of writing; measured through the real binary over HTTP.
//!
//! To measure another route, add a line to [`ROUTES`].

mod made;
mod policies;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::made::{Made, Size};
use crate::harness::{Api, Gate, GateOptions, Random, setting_or};

/// Requests of each route.
const ROUNDS: u64 = 40;

/// Who asks, a name for the table, and the path. Words in braces are drawn anew for each request.
const ROUTES: &[(Who, &str, &str)] = &[
    (Who::Owner, "audit, newest 500", "/api/audit"),
    (Who::Owner, "audit, newest 50", "/api/audit?limit=50"),
    (Who::Owner, "audit, denied", "/api/audit?result=DENY&limit=50"),
    (Who::Owner, "audit, by agent", "/api/audit?agent={agent}&limit=50"),
    (Who::Owner, "audit, by part of a name", "/api/audit?agent=AGENT%201&limit=50"),
    (Who::Owner, "audit, by service", "/api/audit?service={service}&limit=50"),
    (Who::Owner, "audit, by part of a tool", "/api/audit?tool={tool}&limit=50"),
    (Who::Owner, "audit, by a rare tool", "/api/audit?tool=tool_299&limit=50"),
    (Who::Owner, "audit, by a tool that is not", "/api/audit?tool=nothing&limit=50"),
    (Who::Owner, "audit, by member", "/api/audit?member={member}&limit=50"),
    (Who::Owner, "audit, by policy", "/api/audit?policy={policy}&limit=50"),
    (Who::Owner, "audit, by the commonest policy", "/api/audit?policy=read-tier&limit=50"),
    (Who::Owner, "audit, one day", "/api/audit?from={day}T00:00:00Z&to={day}T23:59:59Z&limit=50"),
    (
        Who::Owner,
        "audit, all of them at once",
        "/api/audit?agent={agent}&service={service}&tool=tool&result=DENY&from={day}T00:00:00Z&limit=50",
    ),
    (
        Who::Owner,
        "audit, agent, tool, policy",
        "/api/audit?agent={agent}&tool={tool}&policy=read-tier&limit=50",
    ),
    (
        Who::Owner,
        "audit, service, policy, denied",
        "/api/audit?service={service}&policy={policy}&result=DENY&limit=50",
    ),
    (Who::Owner, "audit, offset 10,000", "/api/audit?offset=10000&limit=50"),
    (Who::Owner, "audit, denied, offset 5,000", "/api/audit?result=DENY&offset=5000&limit=50"),
    (Who::Owner, "audit, behind a cursor", "/api/audit?before={cursor}&limit=50"),
    (Who::Owner, "audit, tool behind a cursor", "/api/audit?before={cursor}&tool={tool}&limit=50"),
    (Who::Owner, "audit, members", "/api/audit/members"),
    (Who::Owner, "audit, members by name", "/api/audit/members?search=member%2042"),
    (Who::Owner, "audit, export of 500", "/api/audit/export"),
    (Who::Owner, "agents", "/api/agents"),
    (Who::Owner, "agents by name, by members", "/api/agents?search=agent%2042&sortBy=memberCount"),
    (Who::Owner, "an agent", "/api/agents/{agent_id}"),
    (Who::Owner, "members of an agent", "/api/agents/{agent_id}/members?limit=50"),
    (Who::Owner, "members by name", "/api/agents/{agent_id}/members?search=member%207"),
    (Who::Owner, "groups", "/api/agents/{agent_id}/groups"),
    (Who::Owner, "policies of an agent", "/api/agents/{agent_id}/policies?limit=50"),
    (
        Who::Owner,
        "policies, newest",
        "/api/agents/{agent_id}/policies?sortBy=updatedAt&sortDir=desc&limit=500",
    ),
    (Who::Owner, "policies by name", "/api/agents/{agent_id}/policies?search=policy%2077&mode=shadow"),
    (Who::Owner, "a policy", "/api/agents/{agent_id}/policies/{policy_id}"),
    (Who::Owner, "versions of a policy", "/api/agents/{agent_id}/policies/{policy_id}/versions"),
    (Who::Owner, "sessions of an agent", "/api/agents/{agent_id}/sessions"),
    (Who::Owner, "changes", "/api/audit/changes?limit=50"),
    (Who::Owner, "statistics, 7 days", "/api/dashboard/stats"),
    (Who::Owner, "statistics, 30 days", "/api/dashboard/stats?from={month}T00:00:00Z"),
    (
        Who::Owner,
        "statistics, a day by the hour",
        "/api/dashboard/stats?from={day}T00:00:00Z&to={day}T23:59:59Z",
    ),
    (Who::Owner, "statistics of members", "/api/dashboard/member-stats?limit=50"),
    (Who::Small, "one agent: audit", "/api/audit?limit=50"),
    (Who::Small, "one agent: denied tool", "/api/audit?tool={tool}&result=DENY&limit=50"),
    (Who::Small, "one agent: statistics", "/api/dashboard/stats"),
    (Who::Small, "one agent: members", "/api/dashboard/member-stats"),
    (Who::Member, "a member: audit", "/api/audit?limit=50"),
    (Who::Member, "a member: tool, denied", "/api/audit?tool={tool}&result=DENY&limit=50"),
    (Who::Member, "a member: statistics", "/api/dashboard/stats"),
    (Who::Stranger, "a stranger: audit", "/api/audit"),
];

/// Under which names lists are answered.
const LISTS: [&str; 9] =
    ["entries", "agents", "members", "groups", "policies", "versions", "sessions", "changes", "series"];

/// As whom a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Owns 99 agents.
    Owner,
    /// Owns one agent.
    Small,
    /// Is a member of one of the owner's agents.
    Member,
    /// Has no part in any.
    Stranger,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_questions_answer_in_time() {
    let size = Size {
        agents: setting_or("WICKET_TEST_SCALE_AGENTS", 10),
        members: setting_or("WICKET_TEST_SCALE_MEMBERS", 100),
        policies: setting_or("WICKET_TEST_SCALE_POLICIES", 200),
        rows: setting_or("WICKET_TEST_SCALE_ROWS", 5_000),
    };
    // A busy machine in a dev build is no measure; `make scale` asks for 100.
    let target = Duration::from_millis(setting_or("WICKET_TEST_SCALE_MS", 2_000));
    let changed_target = Duration::from_millis(setting_or("WICKET_TEST_SCALE_CHANGE_MS", 2_000));
    let mut gate = Gate::start(GateOptions::new(Vec::new())).await;
    gate.stop().await;
    let began = Instant::now();
    let made = Made::write(&gate, size).await;
    println!("made {size:?} in {:?}, {} MB", began.elapsed(), made.bytes >> 20);
    let began = Instant::now();
    gate.launch().await;
    println!("started in {:?}", began.elapsed());
    let [owner, small, member, stranger] =
        ["owner@example.com", "small@example.com", "member@example.com", "stranger@example.com"];
    let owner = gate.account(owner).await;
    let (small, member) = (gate.account(small).await, gate.account(member).await);
    let stranger = gate.account(stranger).await;
    let mut random = Random::of(7);
    let mut late = Vec::new();
    println!("| route | p50 ms | p95 ms | rows | total |\n|---|---|---|---|---|");
    for (who, name, path) in ROUTES {
        let api = match who {
            Who::Owner => &owner,
            Who::Small => &small,
            Who::Member => &member,
            Who::Stranger => &stranger,
        };
        let mut times = Vec::new();
        let mut last = Value::Null;
        let cursor = cursor_of(&owner, &made, &mut random).await;
        for _ in 0..ROUNDS {
            let path = made.drawn(path, &cursor, &mut random);
            let began = Instant::now();
            let answer = api.get(&path).await;
            times.push(began.elapsed());
            assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
            last = answer.json();
        }
        let (p50, p95) = quantiles(times);
        let rows = LISTS.iter().find_map(|list| last[list].as_array());
        let total = last.get("total").cloned().unwrap_or_default();
        println!("| {name} | {p50:.1} | {p95:.1} | {} | {total} |", rows.map_or(0, Vec::len));
        if p95 > target.as_secs_f64() * 1e3 {
            late.push(format!("{name}: {p95:.1} ms"));
        }
    }
    let (p50, p95) = changes(&gate).await;
    println!("| a change holds (a status, answered) | {p50:.1} | {p95:.1} | | |");
    if p95 > changed_target.as_secs_f64() * 1e3 {
        late.push(format!("a change holds: {p95:.1} ms"));
    }
    let (p50, p95) = toggles(&owner, &made, &mut random).await;
    println!("| a policy is switched | {p50:.1} | {p95:.1} | | |");
    if p95 > changed_target.as_secs_f64() * 1e3 {
        late.push(format!("a policy is switched: {p95:.1} ms"));
    }
    assert!(late.is_empty(), "later than {target:?} at p95: {late:#?}");
}

/// A place somewhere in the audit.
async fn cursor_of(owner: &Api, made: &Made, random: &mut Random) -> String {
    let day = made.drawn("{day}", "", random);
    let page = owner.get(&format!("/api/audit?to={day}T12:00:00Z&limit=1")).await.expect(200);
    page["entries"][0]["cursor"].as_str().unwrap_or_default().to_owned()
}

/// Milliseconds: the median, and what one in twenty takes longer than.
fn quantiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.95))
}

/// How long a change takes until it is answered, which is when it holds for the next call.
async fn changes(gate: &Gate) -> (f64, f64) {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let status = if round % 2 == 0 { "disabled" } else { "active" };
        let began = Instant::now();
        gate.admin(json!({"do": "agent_status", "agent": "Agent 3", "status": status})).await;
        times.push(began.elapsed());
    }
    quantiles(times)
}

/// How long switching a stored policy off and on takes until it is answered: its agent's set decides by it
/// then. Switched on, the whole set is tried with it first.
async fn toggles(owner: &Api, made: &Made, random: &mut Random) -> (f64, f64) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (agent, policy) = made.policy(random);
        let path = format!("/api/agents/{agent}/policies/{policy}/toggle");
        for enabled in [false, true] {
            let began = Instant::now();
            owner.post(&path, json!({ "enabled": enabled })).await.expect(200);
            times.push(began.elapsed());
        }
    }
    quantiles(times)
}

//! What a simulation says is what the gate would have done: traffic is decided and recorded by the gate's
//! own code under one set, simulated under another, and made again under that other.

mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::{CallId, MemberId, Role};
use crate::policy::simulate::{Certainty, Row};
use traffic::{Made, START, Scene, agent, bundle, traffic};

/// Sets with limits, breakers, histories across services, groups, addresses and clocks.
const SETS: [&str; 6] = [
    "@id(\"all\") permit(principal, action, resource);",
    r#"@id("all") permit(principal, action, resource);
       @id("breaker") forbid(principal, action, resource) when { context.session.denials >= 3 };
       @id("deletes") forbid(principal, action in DepotMCP::Action::"destructive", resource);"#,
    r#"@id("reads") permit(principal, action in Wicket::Action::"read", resource);
       @id("few-writes") permit(principal, action in Wicket::Action::"write", resource)
           when { context.session.tiersUsed.write < 2 };
       @id("leak") forbid(principal, action == NotesMCP::Action::"add", resource)
           when { context.member.servicesUsed.depot >= 4 };"#,
    r#"@id("crew") permit(principal in Wicket::Group::"crew", action, resource);
       @id("guests") permit(principal, action, resource) when { context.member.calls < 6 };
       @id("wan") forbid(principal, action in Wicket::Action::"write", resource)
           unless { context.caller.ip.isInRange(ip("10.0.0.0/8")) };"#,
    r#"@id("all") permit(principal, action, resource);
       @id("acme") forbid(principal, action, resource in DepotMCP::Owner::"acme")
           when { context.session.toolsUsed["depot:put_file"] >= 1 };
       @id("tripped") forbid(principal, action, resource)
           when { context.member.policiesDenyCounts["acme"] >= 2 && context.time.hour < 20 };"#,
    r#"@id("few") permit(principal, action, resource) when { context.session.policiesAllowCounts["few"] < 3 };
       @id("forced") forbid(principal, action, resource is DepotMCP::Repository)
           when { context has args && context.args has force && context.args.force };
       @id("reads") permit(principal, action in Wicket::Action::"read", resource)
           when { context.member.denials < 4 };"#,
];

fn job(journal: &Path, sets: Sets, (from, to): (Timestamp, Timestamp)) -> Job {
    let ground = Ground { trust: TrustMode::Trusted, sets, members: HashMap::new() };
    Job {
        journal: journal.join("journal"),
        from,
        to,
        rows_max: ROWS_MAX,
        agents: HashMap::from([(agent(), ground)]),
        all_agents: false,
    }
}

fn simulate(journal: &Path, after: &str, baseline: &str, window: (Timestamp, Timestamp)) -> Simulation {
    let sets = Sets { after: Arc::new(bundle(after)), baseline: Arc::new(bundle(baseline)) };
    run(&job(journal, sets, window), &mut |_| ControlFlow::Continue(())).unwrap()
}

const ALWAYS: (Timestamp, Timestamp) = (START, Timestamp::from_millis(i64::MAX / 2));

fn decisions(rows: &[Row]) -> BTreeMap<CallId, bool> {
    rows.iter().map(|row| (row.id, row.draft_decision == Some("ALLOW"))).collect()
}

/// The law: simulating the unchanged set changes nothing.
#[test]
fn the_unchanged_set_changes_nothing() {
    for (seed, policies) in (0..).zip(SETS) {
        let data = tempfile::tempdir().unwrap();
        let calls = traffic(seed, 120);
        let decided = Scene::new(policies, Some(data.path())).play(&calls);
        // The whole, and a window whose beginning lies amid it.
        let middle = calls[60].at;
        for window in [ALWAYS, (middle, ALWAYS.1)] {
            let found = simulate(data.path(), policies, policies, window);
            let told = format!("seed {seed}: {found:#?}");
            assert_eq!((found.changed, found.unmatched, found.unreadable_lines), (0, 0, 0), "{told}");
            assert_eq!((found.before, found.estimated), (found.after, 0), "{told}");
            assert!(found.policies.iter().all(|tally| tally.before == tally.after), "{told}");
            assert_eq!(found.calls, calls.iter().filter(|made| made.at >= window.0).count() as u64);
            let simulated = decisions(&found.rows);
            assert!(simulated.iter().all(|(call, allowed)| decided[call] == *allowed), "{told}");
        }
    }
}

/// Every counter as it would have stood: what the other set would have decided is what it does decide.
#[test]
fn a_simulated_set_decides_as_it_does_when_it_is_in_force() {
    let mut changed = 0;
    for seed in 0..18_u64 {
        let before = SETS[usize::try_from(seed % 6).unwrap()];
        let after = SETS[usize::try_from((seed + 1 + seed / 6) % 6).unwrap()];
        let data = tempfile::tempdir().unwrap();
        let calls = traffic(100 + seed, 120);
        Scene::new(before, Some(data.path())).play(&calls);
        let truth = Scene::new(after, None).play(&as_met(&calls, before));
        let found = simulate(data.path(), after, before, ALWAYS);
        assert_eq!((found.unmatched, found.estimated), (0, 0), "seed {seed}: {found:#?}");
        let simulated = decisions(&found.rows);
        for (call, allowed) in &truth {
            let row = found.rows.iter().find(|row| row.id == *call);
            assert_eq!(simulated.get(call), Some(allowed), "seed {seed}: {row:#?}");
        }
        assert!(found.rows.iter().all(|row| row.baseline_decision == Some(row.decision)));
        changed += found.changed;
    }
    assert!(changed > 200, "only {changed} calls changed: the sets are too much alike");
}

/// A call that was denied is not known to have met a server that is down: the replay takes it for one that
/// would have been reached.
fn as_met(calls: &[Made], before: &str) -> Vec<Made> {
    let decided = Scene::new(before, None).play(calls);
    let met = |made: &Made| Made { reachable: made.reachable || !decided[&made.call], ..made.clone() };
    calls.iter().map(met).collect()
}

#[test]
fn a_window_begins_with_the_counters_of_the_day_before_it() {
    let (before, after) = (SETS[0], SETS[3]);
    let data = tempfile::tempdir().unwrap();
    let calls = traffic(0, 120);
    Scene::new(before, Some(data.path())).play(&calls);
    let middle = calls[100].at;
    let found = simulate(data.path(), after, before, (middle, ALWAYS.1));
    assert_eq!((found.calls, found.unmatched), (20, 0), "{found:#?}");
    // Three members have made some thirty calls each: guests are beyond their six already.
    let guests = |row: &&Row| {
        calls.iter().any(|made| made.call == row.id && made.groups.is_empty())
            && row.draft_decision == Some("ALLOW")
            && row.draft_policies == ["guests"]
    };
    assert_eq!(found.rows.iter().filter(guests).count(), 0, "{found:#?}");
    assert!(found.rows.iter().any(|row| row.counters == Certainty::Exact));
}

#[test]
fn what_the_record_does_not_hold_is_unmatched() {
    let policies = SETS[0];
    let data = tempfile::tempdir().unwrap();
    let mut calls = traffic(7, 40);
    for made in calls.iter_mut().filter(|made| made.tool == "put_file") {
        made.arguments["path"] = serde_json::json!("x".repeat(400));
    }
    let puts = calls.iter().filter(|made| made.tool == "put_file").count() as u64;
    assert!(puts > 2);
    Scene::new(policies, Some(data.path())).play(&calls);
    let reads_path = r#"@id("all") permit(principal, action, resource);
        @id("x") forbid(principal, action == DepotMCP::Action::"put_file", resource)
            when { context has args && context.args has path && context.args.path like "x*" };"#;
    let found = simulate(data.path(), reads_path, policies, ALWAYS);
    assert_eq!(found.unmatched_by, BTreeMap::from([("argument_redacted".to_owned(), puts)]));
    assert_eq!((found.changed, found.calls), (0, 40));
    // A policy that does not look at it can be told.
    let reads_owner = r#"@id("all") permit(principal, action, resource);
        @id("x") forbid(principal, action == DepotMCP::Action::"put_file", resource in DepotMCP::Owner::"acme");"#;
    assert_eq!(simulate(data.path(), reads_owner, policies, ALWAYS).unmatched, 0);
}

/// One session from before the journal's first entry: what was counted then nobody can tell.
#[test]
fn a_counter_from_before_the_journal_is_not_taken_for_none() {
    let data = tempfile::tempdir().unwrap();
    let mut calls = traffic(3, 30);
    calls.iter_mut().for_each(|made| (made.member, made.conversation) = (1, 1));
    Scene::new(SETS[0], Some(data.path())).play(&calls);
    // As retention leaves it: a first segment that is not number 1, without the first entries.
    let journal = data.path().join("journal");
    let first = journal.join("segment-00000001.jsonl");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let mut kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"type\":\"session\"")).collect();
    let opening = kept[0].replace(&START.to_string(), &calls[10].at.to_string());
    kept[0] = &opening;
    kept.retain(|line| !calls[..10].iter().any(|made| line.contains(&made.call.to_string())));
    std::fs::write(journal.join("segment-00000007.jsonl"), format!("{}\n", kept.join("\n"))).unwrap();
    let found = simulate(data.path(), SETS[1], SETS[0], ALWAYS);
    let unknown = found.unmatched_by.get("counters_unknown").copied();
    assert_eq!((found.calls, unknown), (20, Some(20)), "{found:#?}");
}

#[test]
fn a_member_whose_groups_nobody_knows_is_unmatched_and_a_known_one_is_not() {
    let data = tempfile::tempdir().unwrap();
    Scene::new(SETS[0], Some(data.path())).play(&traffic(5, 20));
    let journal = data.path().join("journal/segment-00000001.jsonl");
    // As entries were before groups were recorded.
    let text = std::fs::read_to_string(&journal).unwrap();
    let old = text.replace("\"memberRole\":\"member\",", "").replace("\"memberGroups\":[\"crew\"],", "");
    assert!(!old.contains("crew"));
    std::fs::write(&journal, old).unwrap();
    let found = simulate(data.path(), SETS[0], SETS[0], ALWAYS);
    assert_eq!(found.unmatched_by, BTreeMap::from([("member_unknown".to_owned(), 20)]));
    let sets = Sets { after: Arc::new(bundle(SETS[0])), baseline: Arc::new(bundle(SETS[0])) };
    let mut job = job(data.path(), sets, ALWAYS);
    let standing = Standing { role: Role::Member, groups: Default::default() };
    let known: HashMap<MemberId, Standing> =
        (1..=3).map(|n| (traffic::member(n), standing.clone())).collect();
    job.agents.get_mut(&agent()).unwrap().members = known;
    let found = run(&job, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((found.unmatched, found.changed), (0, 0));
}

#[test]
fn rows_are_bounded_and_those_that_change_come_first() {
    let data = tempfile::tempdir().unwrap();
    Scene::new(SETS[0], Some(data.path())).play(&traffic(11, 60));
    let sets = Sets { after: Arc::new(bundle(SETS[1])), baseline: Arc::new(bundle(SETS[0])) };
    let mut job = job(data.path(), sets, ALWAYS);
    job.rows_max = 3;
    let found = run(&job, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(found.changed > 3);
    assert_eq!((found.rows.len(), found.rows_omitted), (3, 57));
    assert!(found.rows.iter().all(|row| row.changed));
    assert!(found.rows.is_sorted_by_key(|row| row.timestamp));
}

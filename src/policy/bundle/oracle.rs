//! Whole decisions against plain `cedar_policy::Authorizer`: the same policies, with the whole schema,
//! every entity, every counter and every field of the context made by this test's own hands, where the
//! bundle makes only what its candidates read. Each is asked three times: with a slice that is worked out
//! now, with the kept one, and by a bundle that keeps nothing.

pub(in crate::policy) mod whole;

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::model::{CounterKey, GroupName, PolicyId, StoredPolicy};
use crate::policy::Scenario;
use crate::policy::cache::Caps;
use crate::policy::engine::{self, Found};
use crate::policy::fixtures::{bundle, sunday};
use crate::policy::oracle::{Dice, ids};

const SETS: u64 = 180;
/// The member whose own policies some sets hold.
const OWNER: &str = "00000000-0000-0000-0000-000000000001";
const SCENARIOS: usize = 40;

const SCOPES: [&str; 12] = [
    "principal, action, resource",
    "principal, action in Wicket::Action::\"read\", resource",
    "principal, action in [Wicket::Action::\"write\", Wicket::Action::\"destructive\"], resource",
    "principal in Wicket::Group::\"a\", action, resource",
    "principal in Wicket::Group::\"b\", action in DepotMCP::Action::\"files\", resource",
    "principal, action == DepotMCP::Action::\"get_file\", resource in DepotMCP::Owner::\"acme\"",
    "principal is Wicket::Member in Wicket::Group::\"a\", action in DepotMCP::Action::\"write\", resource",
    "principal, action, resource in Wicket::Service::\"notes\"",
    "principal, action in DepotMCP::Action::\"files\", resource == DepotMCP::Repository::\"acme/site\"",
    "principal, action in DepotMCP::Action::\"files\", resource is DepotMCP::Repository",
    "principal == Wicket::Member::\"00000000-0000-0000-0000-000000000001\", action, resource",
    "principal in Wicket::Agent::\"00000000-0000-0000-0000-000000000000\", action, resource",
];

const CONDITIONS: [&str; 26] = [
    "context.time.hour < 12",
    "context.time.dayOfWeek == 0 || context.time.minuteOfDay > 600",
    "context.time.zones[\"Asia/Tokyo\"].hour >= 18",
    "context.time.epochDay > 20779 && context.time.day >= 20 && context.time.month < 12",
    "context.time.now < datetime(\"2026-11-22T12:00:00Z\")",
    "context.time.epochMillis + 9223370241455000000 > 0",
    "context.session.denials + context.member.denials >= 3",
    "context.session.toolsUsed[\"depot:get_file\"] > 1",
    "context.member.tiersUsed.write > context.session.tiersUsed.write",
    "context.session.servicesUsed.notes + context.member.servicesUsed.depot > 2",
    "context.session.policiesDenyCounts[\"p0\"] > 0",
    "context.session.toolsUsed has \"depot:pay\" && context.session.toolsUsed[\"depot:pay\"] > 1",
    "context.session == context.member",
    "context.caller.ip.isInRange(ip(\"10.0.0.0/8\"))",
    "context.caller.ip.isIpv6() || context.caller.keyId == \"\"",
    "context has args.path && context.args.path like \"*.env\"",
    "context has args.owner && context.args.owner == \"acme\"",
    "context has args.labels && context.args.labels.contains(\"x\")",
    "context has args.amount && context.args.amount.greaterThan(decimal(\"9.99\"))",
    "context has args.target.account && context.args.target.account != \"\"",
    "resource has owner && resource.owner == \"acme\"",
    "resource has repo && resource.repo like \"s*\"",
    "DepotMCP::Owner::\"acme\".owner == \"acme\" || principal.role == \"member\"",
    "principal.agent.name == \"example\" && principal.role == \"owner\"",
    "action in Wicket::Action::\"write\" || principal in [Wicket::Group::\"b\", Wicket::Group::\"c\"]",
    "DepotMCP::Action::\"pay\" in Wicket::Action::\"write\" && principal.name like \"s*\"",
];

/// Where the policies of a set stand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Files,
    /// Some in files, some stored by a trusted agent.
    Trusted,
    /// Some in files, some of a member's own.
    Untrusted,
}

/// A set, and the same in plain Cedar, in the order of the set's numbers.
fn set(kind: Kind, dice: &mut Dice<'_>) -> (Bundle, String) {
    let all = policies(dice);
    // A policy of the files may count the hits of the first one.
    let filed = if kind == Kind::Files { all.len() } else { 1 + dice.below(all.len()) };
    let (files, own) = all.split_at(filed);
    let owner = (kind == Kind::Untrusted).then(|| OWNER.parse().unwrap());
    let mut own: Vec<(String, String)> = (filed..)
        .zip(own)
        .map(|(number, text)| {
            let text = text.split_once(' ').unwrap().1.to_owned();
            let scope = format!("(principal == Wicket::Member::\"{OWNER}\", action, resource)");
            let (effect, rest) = text.split_once('(').unwrap();
            let rest = rest.split_once(')').unwrap().1;
            let text = if owner.is_some() { format!("{effect}{scope}{rest}") } else { text };
            (format!("p{number}"), text)
        })
        .collect();
    let stored: Vec<Arc<StoredPolicy>> = own
        .iter()
        .map(|(key, text)| {
            Arc::new(StoredPolicy {
                id: PolicyId::from_uuid(uuid::Uuid::from_u128(
                    key.len() as u128 + dice.below(1 << 30) as u128,
                )),
                agent: crate::model::AgentId::from_uuid(uuid::Uuid::nil()),
                member: owner,
                key: key.parse().unwrap(),
                version: 1,
                mode: crate::model::PolicyMode::Enforced,
                text: crate::model::PolicyText::Cedar(text.clone()),
            })
        })
        .collect();
    own.sort();
    let base = bundle(&files.concat());
    let plain = format!("{}{}", files.concat(), own.into_iter().map(|(_, text)| text).collect::<String>());
    if kind == Kind::Files {
        return (base, plain);
    }
    let set = Bundle::for_agent(&base, &stored, None);
    assert_eq!(set.broken, [], "{stored:?}");
    (set.bundle, plain)
}

fn policies(dice: &mut Dice<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..=dice.below(14) {
        let mut text = String::new();
        let effect = if dice.below(5) < 3 { "permit" } else { "forbid" };
        // The first two scopes meet every condition's types; narrower ones could make one impossible.
        let (scope, condition) = match dice.below(4) {
            0 => (*dice.pick(&SCOPES), None),
            _ => (SCOPES[0], Some(dice.pick(&CONDITIONS))),
        };
        text.push_str(&format!("@id(\"p{number}\") {effect}({scope})"));
        if let Some(condition) = condition {
            let word = if dice.one_in(4) { "unless" } else { "when" };
            text.push_str(&format!(" {word} {{ {condition} }}"));
        }
        text.push_str(";\n");
        all.push(text);
    }
    all
}

/// Arguments that Cedar can hold, as they are sent and as this test hands them to plain Cedar.
fn arguments(dice: &mut Dice<'_>, tool: &str) -> (Json, Json) {
    let (mut sent, mut held) = (Map::new(), Map::new());
    let mut put = |name: &str, given: Json, cedar: Json| {
        sent.insert(name.to_owned(), given);
        held.insert(name.to_owned(), cedar);
    };
    let text = |dice: &mut Dice| json!(dice.pick(&["acme", "site", "a.env", "x", ""]));
    if tool.ends_with("_file") {
        for name in ["owner", "repo", "path"] {
            if !dice.one_in(3) {
                let value =
                    if name == "path" { text(dice) } else { json!(dice.pick(&["acme", "site", "other"])) };
                put(name, value.clone(), value);
            }
        }
        if dice.one_in(2) {
            put("labels", json!(["x", "y", "x"]), json!(["x", "y"]));
        }
    }
    if tool.ends_with("pay") {
        if dice.one_in(2) {
            let amount = *dice.pick(&["1.5", "10.0", "9.9901", "-3.0"]);
            let number: Json = serde_json::from_str(amount).unwrap();
            put("amount", number, json!({"__extn": {"fn": "decimal", "arg": amount}}));
        }
        if dice.one_in(2) {
            let account = text(dice);
            put("target", json!({"account": account, "more": 1}), json!({"account": account}));
        }
    }
    if dice.one_in(5) {
        sent.insert("unknown".to_owned(), json!({"nested": [1, null]}));
    }
    (json!(sent), json!(held))
}

fn scenario(dice: &mut Dice<'_>, counters: &BTreeSet<CounterKey>) -> (Scenario, Json) {
    let tools = [
        "depot__get_file",
        "depot__put_file",
        "depot__delete_file",
        "depot__search",
        "depot__pay",
        "notes__list",
        "notes__add",
        "wicket__whoami",
    ];
    let tool = *dice.pick(&tools);
    let mut scenario = Scenario::new(tool, sunday().plus_millis(3_600_000 * dice.below(72) as i64 + 17));
    let (sent, held) = arguments(dice, tool);
    scenario.arguments = sent;
    for group in ["a", "b", "c"] {
        if dice.one_in(2) {
            scenario.groups.insert(GroupName::parse(group).unwrap());
        }
    }
    if dice.one_in(2) {
        scenario.member = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        scenario.role = crate::model::Role::Owner;
    }
    scenario.ip = dice.pick(&["127.0.0.1", "10.1.2.3", "2001:db8::1"]).parse().unwrap();
    for key in counters {
        if dice.one_in(3) {
            scenario.history.session.insert(key.clone(), dice.below(4) as i64);
            scenario.history.member.insert(key.clone(), dice.below(6) as i64);
        }
    }
    (scenario, held)
}

fn found(bundle: &Bundle, question: &Question<'_>) -> Found {
    let asked = bundle.asked(question);
    let scope = asked.scope().unwrap();
    let prepared = asked.prepare(scope, &question.moment()).unwrap();
    let found = asked.found(scope, prepared);
    // The decision takes the short way where there is one.
    assert_eq!(asked.decide(&question.moment()), engine::conclude(&bundle.rules, &found));
    found
}

/// Whether a list would show the tool to this caller now.
fn visible(bundle: &Bundle, scenario: &Scenario) -> bool {
    let look = |question: &Question<'_>| {
        let tool = (&question.connector.service, &question.tool.name);
        let survey = bundle.survey(question.caller, std::iter::once(tool));
        bundle.settle(&survey, question.caller, &scenario.history, scenario.at) == [true]
    };
    scenario.ask(bundle, look).unwrap()
}

/// Decision, determining and failing policies, as plain Cedar has them.
fn said(found: &Found) -> (bool, BTreeSet<usize>, BTreeSet<usize>) {
    let numbers = |list: &[u32]| list.iter().map(|n| *n as usize).collect::<BTreeSet<_>>();
    let open = found.forbids.is_empty() && !found.permits.is_empty();
    let reasons = if found.forbids.is_empty() { &found.permits } else { &found.forbids };
    (open, numbers(reasons), found.errors.iter().map(|(n, _)| *n as usize).collect())
}

/// Whether the scenario is of a member without policies, who is denied everything and sees nothing.
fn is_stranger(bundle: &Bundle, scenario: &Scenario) -> bool {
    if scenario.trust == TrustMode::Trusted || bundle.stored.is_owner(&scenario.member) {
        return false;
    }
    let decision = scenario.ask(bundle, |question| bundle.decide(question)).unwrap();
    assert_eq!(decision, Decision::denied(Reason::NoPoliciesForMember), "{scenario:?}");
    assert!(!visible(bundle, scenario), "{scenario:?}");
    true
}

#[test]
fn whole_decisions_are_those_of_plain_cedar_with_everything_at_hand() {
    let (mut allowed, mut forbidden, mut failed) = (0, 0, 0);
    let (mut hidden, mut denied, mut strangers) = (0, 0, 0);
    for seed in 0..SETS {
        let dice = &mut Dice::new(seed);
        let kind = [Kind::Files, Kind::Trusted, Kind::Untrusted][seed as usize % 3];
        let (bundle, text) = set(kind, &mut Dice::new(seed));
        let (mut forgetful, _) = set(kind, dice);
        forgetful.slices = Slices::new(Caps { entries_max: 0, bytes_max: 0 });
        forgetful.principals = Cache::new(Caps { entries_max: 0, bytes_max: 0 });
        let plain = whole::Plain::with(&bundle, &text);
        for _ in 0..SCENARIOS {
            let (mut scenario, held) = scenario(dice, &bundle.world.counters);
            if kind == Kind::Untrusted {
                scenario.trust = TrustMode::Untrusted;
            }
            if is_stranger(&bundle, &scenario) {
                strangers += 1;
                continue;
            }
            let (founds, response) = scenario
                .ask(&bundle, |question| {
                    let founds = [&bundle, &bundle, &forgetful].map(|bundle| found(bundle, question));
                    (founds, plain.response(question, &scenario, &held))
                })
                .unwrap();
            let errors: BTreeSet<usize> = ids(response
                .diagnostics()
                .errors()
                .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| error.policy_id()));
            let theirs = (
                response.decision() == cedar_policy::Decision::Allow,
                ids(response.diagnostics().reason()),
                errors,
            );
            let visible = visible(&bundle, &scenario);
            assert!(
                visible || !theirs.0 || !theirs.2.is_empty(),
                "hidden and allowed: seed {seed}\n{text}\n{scenario:?}"
            );
            hidden += usize::from(!visible);
            denied += usize::from(visible && (!theirs.0 || !theirs.2.is_empty()));
            for found in founds {
                assert_eq!(said(&found), theirs, "seed {seed}\n{text}\n{scenario:?}");
            }
            allowed += usize::from(theirs.0);
            forbidden += usize::from(!theirs.0 && !theirs.1.is_empty());
            failed += usize::from(!theirs.2.is_empty());
        }
    }
    println!(
        "{allowed} allowed, {forbidden} forbidden, {failed} with errors; {hidden} hidden, {denied} visible and \
         denied, {strangers} without policies"
    );
    assert!(hidden > 1_000 && denied < hidden, "lists hide too little: {hidden}, {denied}");
    assert!(allowed > 100 && forbidden > 100 && failed > 20 && strangers > 100, "too tame a generator");
}

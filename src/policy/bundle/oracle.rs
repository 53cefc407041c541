//! Whole decisions against plain `cedar_policy::Authorizer`: the same policies, with the whole schema,
//! every entity, every counter and every field of the context made by this test's own hands, where the
//! bundle makes only what its candidates read. Each is asked three times: with a slice that is worked out
//! now, with the kept one, and by a bundle that keeps nothing.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::connector::AttributeValue;
use crate::model::{CounterKey, CounterScope, GroupName, PolicyId, StoredPolicy};
use crate::policy::Scenario;
use crate::policy::cache::Caps;
use crate::policy::engine::{self, Found};
use crate::policy::fixtures::{bundle, sunday};
use crate::policy::oracle::{Dice, ids};
use crate::policy::reads::{COUNTER_RECORDS, place_of};

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

/// Year, month and day of a day since 1970-01-01, by counting.
fn civil(mut day: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    loop {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = if leap { 366 } else { 365 };
        if day < length {
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in (1..).zip(months) {
                if day < days {
                    return (year, month, day + 1);
                }
                day -= days;
            }
        }
        day -= length;
        year += 1;
    }
}

fn clock(millis: i64) -> Map<String, Json> {
    let (day, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000) / 1000);
    let (year, month, date) = civil(day);
    let fields = json!({"year": year, "month": month, "day": date, "hour": rest / 3600,
        "minute": rest / 60 % 60, "second": rest % 60, "minuteOfDay": rest / 60,
        "dayOfWeek": (day + 4).rem_euclid(7), "epochDay": day});
    fields.as_object().unwrap().clone()
}

fn context(scenario: &Scenario, held: &Json, bundle: &Bundle) -> Json {
    let millis = scenario.at.as_millis();
    let mut time = clock(millis);
    time.insert("epochMillis".into(), json!(millis));
    time.insert("now".into(), json!({"__extn": {"fn": "datetime", "arg": scenario.at.to_string()}}));
    let mut zones = Map::new();
    if bundle.world.zones.contains_key("Asia/Tokyo") {
        zones.insert("Asia/Tokyo".into(), json!(clock(millis + 9 * 3_600_000)));
    }
    time.insert("zones".into(), json!(zones));
    let counters = |scope: CounterScope| {
        let mut all = Map::new();
        COUNTER_RECORDS.iter().for_each(|name| drop(all.insert((*name).to_owned(), json!({}))));
        for key in &bundle.world.counters {
            let count = json!(scenario.history.get(scope, key));
            match place_of(key) {
                (None, name) => drop(all.insert(name, count)),
                (Some(record), name) => drop(all[record].as_object_mut().unwrap().insert(name, count)),
            }
        }
        json!(all)
    };
    json!({
        "args": held, "time": time,
        "session": counters(CounterScope::Session), "member": counters(CounterScope::Member),
        "caller": {"ip": {"__extn": {"fn": "ip", "arg": scenario.ip.to_string()}}, "keyId": scenario.key.to_string()},
    })
}

fn reference(kind: &str, id: &str) -> Json {
    json!({"type": kind, "id": id})
}

fn resources(resource: &Resource, service: &str, out: &mut Vec<Json>) {
    let parents: Vec<Json> =
        resource.parents.iter().map(|parent| reference(&parent.type_name, &parent.id)).collect();
    let parents = if parents.is_empty() { vec![reference("Wicket::Service", service)] } else { parents };
    let attribute = |value: &AttributeValue| match value {
        AttributeValue::String(text) => json!(text),
        other => panic!("the fixtures have texts only: {other:?}"),
    };
    let attributes: Map<String, Json> =
        resource.attributes.iter().map(|(k, v)| (k.clone(), attribute(v))).collect();
    out.push(
        json!({"uid": reference(&resource.type_name, &resource.id), "attrs": attributes, "parents": parents}),
    );
    resource.parents.iter().for_each(|parent| resources(parent, service, out));
}

fn entities(
    question: &Question<'_>,
    scenario: &Scenario,
    schema: &cedar_policy::Schema,
) -> cedar_policy::Entities {
    let agent = reference("Wicket::Agent", &scenario.agent.to_string());
    let mut parents: Vec<Json> =
        scenario.groups.iter().map(|g| reference("Wicket::Group", g.as_str())).collect();
    let mut all: Vec<Json> =
        parents.iter().map(|uid| json!({"uid": uid, "attrs": {}, "parents": []})).collect();
    parents.push(agent.clone());
    let trust = if scenario.trust == TrustMode::Trusted { "trusted" } else { "untrusted" };
    let role = if scenario.role == crate::model::Role::Owner { "owner" } else { "member" };
    all.push(json!({"uid": agent, "attrs": {"name": scenario.agent_name, "trust": trust}, "parents": []}));
    all.push(json!({"uid": reference("Wicket::Member", &scenario.member.to_string()), "parents": parents,
        "attrs": {"name": scenario.member_name, "role": role, "agent": {"__entity": agent}}}));
    resources(question.resource, question.connector.service.as_str(), &mut all);
    for (service, namespace) in [("depot", "DepotMCP"), ("notes", "NotesMCP"), ("wicket", "WicketMCP")] {
        let outer = reference("Wicket::Service", service);
        all.push(json!({"uid": outer, "attrs": {}, "parents": []}));
        if service != question.connector.service.as_str() {
            all.push(json!({"uid": reference(&format!("{namespace}::Service"), service), "attrs": {}, "parents": [outer]}));
        }
    }
    // Given the schema, Cedar adds every action and checks that the entities conform.
    cedar_policy::Entities::from_json_value(json!(all), Some(schema)).unwrap()
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
        let plain = cedar_policy::PolicySet::from_str(&text).unwrap();
        let (schema, _) = cedar_policy::Schema::from_cedarschema_str(bundle.schema_text()).unwrap();
        for _ in 0..SCENARIOS {
            let (mut scenario, held) = scenario(dice, &bundle.world.counters);
            if kind == Kind::Untrusted {
                scenario.trust = TrustMode::Untrusted;
            }
            let owns = |bundle: &Bundle| bundle.stored.is_owner(&scenario.member);
            if kind == Kind::Untrusted && !owns(&bundle) {
                let decision = scenario.ask(&bundle, |question| bundle.decide(question)).unwrap();
                assert_eq!(decision, Decision::denied(Reason::NoPoliciesForMember), "{scenario:?}");
                assert!(!visible(&bundle, &scenario), "{scenario:?}");
                strangers += 1;
                continue;
            }
            let (founds, response) = scenario
                .ask(&bundle, |question| {
                    let founds = [&bundle, &bundle, &forgetful].map(|bundle| found(bundle, question));
                    let uid = |text: String| cedar_policy::EntityUid::from_str(&text).unwrap();
                    let action =
                        uid(format!("{}::Action::\"{}\"", question.connector.namespace, question.tool.name));
                    let whole = context(&scenario, &held, &bundle);
                    let context =
                        cedar_policy::Context::from_json_value(whole, Some((&schema, &action))).unwrap();
                    let principal = uid(format!("Wicket::Member::\"{}\"", scenario.member));
                    let resource = uid(question.resource.uid());
                    let request =
                        cedar_policy::Request::new(principal, action, resource, context, Some(&schema))
                            .unwrap();
                    let entities = entities(question, &scenario, &schema);
                    (founds, cedar_policy::Authorizer::new().is_authorized(&request, &plain, &entities))
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

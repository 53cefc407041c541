//! Every published recipe and every kind of condition: its text, that it passes strict validation, and
//! that it decides as the form says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Compiled, Fault, Ground, compile, key_of};
use crate::connector::Connectors;
use crate::model::{CounterKey, PolicyKey, SourceFile, StructuredPolicy, Timestamp};
use crate::policy::{Bundle, Effect, Scenario, Sources};

const PERMIT_ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";

/// The connectors that the recipes speak of, as they are shipped.
fn connectors() -> Arc<Connectors> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/available");
    let file = |service: &str, name: String| {
        let path = root.join(service).join(&name);
        SourceFile::new(&format!("connectors/{name}"), &std::fs::read_to_string(path).unwrap())
    };
    let files: Vec<SourceFile> = ["github", "slack", "linear"]
        .iter()
        .flat_map(|service| {
            [file(service, format!("{service}.toml")), file(service, format!("{service}.tools.json"))]
        })
        .collect();
    Arc::new(Connectors::read(&files).unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn recipes() -> Vec<StructuredPolicy> {
    serde_json::from_str(include_str!("tests/recipes.json")).unwrap()
}

fn compiled(
    policy: &StructuredPolicy,
    connectors: &Connectors,
    taken: &BTreeSet<PolicyKey>,
) -> Result<Compiled, Vec<Fault>> {
    let key = key_of(&policy.name, &BTreeSet::new()).unwrap();
    compile(policy, &key, Ground { connectors, policies: taken })
}

fn keys() -> BTreeSet<PolicyKey> {
    recipes().iter().map(|policy| key_of(&policy.name, &BTreeSet::new()).unwrap()).collect()
}

fn bundle(texts: &[&str], connectors: &Arc<Connectors>) -> Bundle {
    let policies = vec![SourceFile::new("policies/a.cedar", &texts.concat())];
    let built = Bundle::build(&Sources {
        show: Default::default(),
        policies,
        cases: None,
        connectors: Arc::clone(connectors),
    });
    built.unwrap_or_else(|faults| panic!("{}\n{faults:?}", texts.concat()))
}

#[test]
fn every_recipe_compiles_to_text_that_a_person_reads_and_strict_validation_passes() {
    let (connectors, keys) = (connectors(), keys());
    let mut golden = String::new();
    let mut all = String::new();
    for policy in recipes() {
        let compiled = compiled(&policy, &connectors, &keys)
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", policy.name));
        golden.push_str(&compiled.text);
        for finding in &compiled.findings {
            golden.push_str(&format!("// finding: {finding}\n"));
        }
        golden.push('\n');
        all.push_str(&compiled.text);
    }
    bundle(&[&all], &connectors);
    insta::assert_snapshot!(golden);
}

#[test]
fn the_form_reads_back_as_it_was_written() {
    let written: Vec<Value> = serde_json::from_str(include_str!("tests/recipes.json")).unwrap();
    for value in written {
        let policy: StructuredPolicy = serde_json::from_value(value.clone()).unwrap();
        let again: StructuredPolicy = serde_json::from_value(serde_json::to_value(&policy).unwrap()).unwrap();
        assert_eq!(policy, again);
        let mut misspelled = value;
        misspelled["denymessage"] = json!("x");
        assert!(serde_json::from_value::<StructuredPolicy>(misspelled).is_err());
    }
}

/// One call, and whether the policy matches it.
struct Call {
    tool: &'static str,
    arguments: Value,
    at: &'static str,
    ip: &'static str,
    session: BTreeMap<CounterKey, i64>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            tool: "github__create_or_update_file",
            arguments: json!({}),
            at: "2026-11-23T10:00:00Z",
            ip: "10.1.2.3",
            session: BTreeMap::new(),
        }
    }
}

/// Whether the policy matches: a permit alone allows, a forbid beside a permit of everything denies.
fn matches(policy: &Value, call: &Call) -> bool {
    let connectors = connectors();
    let policy: StructuredPolicy = serde_json::from_value(policy.clone()).unwrap();
    let compiled = compiled(&policy, &connectors, &keys()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let bundle = bundle(&[PERMIT_ALL, &compiled.text], &connectors);
    let mut scenario = Scenario::new(call.tool, Timestamp::parse(call.at).unwrap());
    scenario.arguments = call.arguments.clone();
    scenario.ip = call.ip.parse().unwrap();
    scenario.history.session = call.session.clone();
    let decision = scenario.ask(&bundle, |question| bundle.decide(question)).unwrap();
    let key = compiled.key.as_str();
    decision.determining.iter().any(|reference| reference.key.as_str() == key)
}

fn both(conditions: Value) -> [(Effect, Value); 2] {
    ["permit", "forbid"].map(|effect| {
        let mut policy = json!({"name": "it", "service": "github", "effect": effect,
            "tools": ["create_or_update_file", "merge_pull_request"]});
        for (name, value) in conditions.as_object().unwrap() {
            policy[name] = value.clone();
        }
        (if effect == "permit" { Effect::Permit } else { Effect::Forbid }, policy)
    })
}

/// Decision 8, for every kind of condition: known and met, known and not met, not known.
#[test]
fn what_is_not_known_opens_no_door() {
    let file = |owner: &str, repo: &str, branch: &str| json!({"owner": owner, "repo": repo, "branch": branch, "path": "a"});
    let none = json!({"path": "a"});
    for (conditions, met, not_met, unknown) in [
        (
            json!({"repoRestrictions": [{"owner": "acme", "repo": "site"}]}),
            file("Acme", "SITE", "b"),
            file("acme", "other", "b"),
            none.clone(),
        ),
        (
            json!({"repoRestrictions": [{"owner": "acme"}]}),
            file("acme", "x", "b"),
            file("other", "x", "b"),
            none.clone(),
        ),
        (
            json!({"repoExceptions": [{"owner": "acme", "repo": "site"}]}),
            file("acme", "other", "b"),
            file("acme", "site", "b"),
            none.clone(),
        ),
        (
            json!({"resourceConditions": {"conditions": [{"type": "branch", "value": "main"}]}}),
            file("acme", "site", "main"),
            file("acme", "site", "b"),
            json!({"owner": "acme", "repo": "site"}),
        ),
        (
            json!({"argumentConditions": [{"argument": "branch", "op": "equals", "value": "main"}]}),
            file("a", "b", "main"),
            file("a", "b", "c"),
            none.clone(),
        ),
        (
            json!({"argumentConditions": [{"argument": "branch", "op": "notEquals", "value": "main"}]}),
            file("a", "b", "c"),
            file("a", "b", "main"),
            none.clone(),
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "like", "pattern": "docs/*"}]}),
            json!({"path": "docs/a"}),
            json!({"path": "src/a"}),
            json!({}),
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "like", "pattern": "docs/\\*"}]}),
            json!({"path": "docs/*"}),
            json!({"path": "docs/a"}),
            json!({}),
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "length", "min": 2, "max": 4}]}),
            json!({"path": "äöüß"}),
            json!({"path": "a"}),
            json!({}),
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "in", "values": ["a", "b"]}]}),
            json!({"path": "b"}),
            json!({"path": "c"}),
            json!({}),
        ),
    ] {
        for (effect, policy) in both(conditions) {
            let call = |arguments: &Value| Call { arguments: arguments.clone(), ..Call::default() };
            assert!(matches(&policy, &call(&met)), "met: {policy}");
            assert!(!matches(&policy, &call(&not_met)), "not met: {policy}");
            assert_eq!(matches(&policy, &call(&unknown)), effect == Effect::Forbid, "unknown: {policy}");
        }
    }
}

#[test]
fn what_the_unknown_counts_for_can_be_chosen_condition_by_condition() {
    for (chosen, met) in [("met", true), ("not_met", false)] {
        let conditions = json!({"argumentConditions": [{"argument": "path", "op": "equals", "value": "a", "ifUnknown": chosen}]});
        for (_, policy) in both(conditions) {
            assert_eq!(matches(&policy, &Call::default()), met, "{policy}");
        }
    }
}

#[test]
fn a_forbid_with_a_scope_holds_where_the_call_does_not_say_which() {
    let policy = json!({"name": "it", "service": "github", "effect": "forbid", "tiers": ["read", "write", "destructive"],
        "resourceConditions": {"scope": "branch"}});
    let call = |tool, arguments| Call { tool, arguments, ..Call::default() };
    let repository = json!({"owner": "acme", "repo": "site"});
    assert!(matches(
        &policy,
        &call("github__create_or_update_file", json!({"owner": "a", "repo": "b", "branch": "c"}))
    ));
    assert!(
        matches(&policy, &call("github__create_or_update_file", repository.clone())),
        "it could name a branch"
    );
    assert!(!matches(&policy, &call("github__list_branches", repository)), "it never names one");
}

#[test]
fn windows_pass_midnight_with_the_day_on_which_they_start() {
    let policy = json!({"name": "it", "service": "github", "effect": "permit", "tiers": ["write"],
        "timeConstraints": {"daysOfWeek": [5], "hoursFrom": 22, "hoursTo": 5, "activeTo": "2026-11-27"}});
    // 27 November 2026 is a Friday.
    for (at, inside) in [
        ("2026-11-27T21:59:59Z", false),
        ("2026-11-27T22:00:00Z", true),
        ("2026-11-28T05:59:59Z", true),
        ("2026-11-28T06:00:00Z", false),
        ("2026-11-28T22:00:00Z", false),
        ("2026-11-27T03:00:00Z", false),
        ("2026-12-04T22:00:00Z", false),
        ("2026-12-05T03:00:00Z", false),
    ] {
        assert_eq!(matches(&policy, &Call { at, ..Call::default() }), inside, "{at}");
    }
    let office = json!({"name": "it", "service": "github", "effect": "permit", "tiers": ["write"],
        "timeConstraints": {"hoursFrom": 9, "hoursTo": 17, "timeZone": "Asia/Tokyo"}});
    for (at, inside) in
        [("2026-11-27T00:00:00Z", true), ("2026-11-27T08:59:59Z", true), ("2026-11-27T09:00:00Z", false)]
    {
        assert_eq!(matches(&office, &Call { at, ..Call::default() }), inside, "{at}");
    }
}

#[test]
fn counters_and_addresses_decide() {
    let breaker = json!({"name": "it", "service": "github", "effect": "forbid", "tiers": ["write"],
        "sessionConditions": [{"kind": "totalDenyCount", "op": ">=", "value": 3}]});
    for (denials, matched) in [(0, false), (2, false), (3, true), (9, true)] {
        let session = [(CounterKey::Denials, denials)].into();
        assert_eq!(matches(&breaker, &Call { session, ..Call::default() }), matched, "{denials}");
    }
    let office = json!({"name": "it", "service": "github", "effect": "permit", "tiers": ["write"],
        "networkConditions": [{"cidrs": ["10.0.0.0/8", "2001:db8::/32"]}, {"cidrs": ["10.66.0.0/16"], "not": true}]});
    for (ip, matched) in
        [("10.1.2.3", true), ("10.66.0.1", false), ("192.0.2.1", false), ("2001:db8::1", true)]
    {
        assert_eq!(matches(&office, &Call { ip, ..Call::default() }), matched, "{ip}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_said_with_its_field() {
    let connectors = connectors();
    let base =
        json!({"name": "it", "service": "github", "effect": "permit", "tools": ["create_or_update_file"]});
    for (change, field) in [
        (json!({"service": "gitlab"}), "service"),
        (json!({"name": ""}), "name"),
        (json!({"tools": ["create_files"]}), "tools"),
        (json!({"tools": []}), "tools"),
        (json!({"denyMessage": "x"}), "denyMessage"),
        (json!({"effect": "forbid", "denyMessage": "x".repeat(501)}), "denyMessage"),
        (json!({"effect": "forbid", "denyMessage": "two\nlines"}), "denyMessage"),
        (json!({"principal": {"type": "groups", "groups": []}}), "principal.groups"),
        (json!({"timeConstraints": {"daysOfWeek": [7]}}), "timeConstraints.daysOfWeek"),
        (json!({"timeConstraints": {"hoursTo": 24}}), "timeConstraints.hoursTo"),
        (json!({"timeConstraints": {"activeFrom": "22.11.2026"}}), "timeConstraints.activeFrom"),
        (
            json!({"timeConstraints": {"activeFrom": "2026-12-01", "activeTo": "2026-11-01"}}),
            "timeConstraints.activeTo",
        ),
        (json!({"timeConstraints": {"timeZone": "Europe/Atlantis"}}), "timeConstraints.timeZone"),
        (json!({"repoRestrictions": [{"owner": ""}]}), "repoRestrictions[0].owner"),
        (json!({"channelRestrictions": ["C1"]}), "channelRestrictions"),
        (json!({"resourceConditions": {"scope": "planet", "conditions": []}}), "resourceConditions.scope"),
        (
            json!({"resourceConditions": {"conditions": [{"type": "isDraft", "value": "yes"}]}}),
            "resourceConditions.conditions[0].value",
        ),
        (
            json!({"resourceConditions": {"conditions": [{"type": "colour", "value": "red"}]}}),
            "resourceConditions.conditions[0].type",
        ),
        (
            json!({"sessionConditions": [{"kind": "toolCount", "tool": "github:nothing", "op": ">=", "value": 1}]}),
            "sessionConditions[0].tool",
        ),
        (
            json!({"sessionConditions": [{"kind": "totalDenyCount", "tool": "github:x", "op": ">=", "value": 1}]}),
            "sessionConditions[0].tool",
        ),
        (
            json!({"sessionConditions": [{"kind": "policyDenyCount", "policyKey": "nothing", "op": ">=", "value": 1}]}),
            "sessionConditions[0].policyKey",
        ),
        (
            json!({"sessionConditions": [{"kind": "totalDenyCount", "op": ">=", "value": -1}]}),
            "sessionConditions[0].value",
        ),
        (json!({"networkConditions": [{"cidrs": []}]}), "networkConditions[0].cidrs"),
        (
            json!({"argumentConditions": [{"argument": "colour", "op": "given"}]}),
            "argumentConditions[0].argument",
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "equals", "value": 7}]}),
            "argumentConditions[0].value",
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "like", "pattern": "a\\b"}]}),
            "argumentConditions[0].pattern",
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "range", "min": 1}]}),
            "argumentConditions[0].min",
        ),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "length", "min": -1}]}),
            "argumentConditions[0].min",
        ),
        (json!({"argumentConditions": [{"argument": "path", "op": "length"}]}), "argumentConditions[0].min"),
        (
            json!({"argumentConditions": [{"argument": "path", "op": "equals", "value": "a", "pattern": "b"}]}),
            "argumentConditions[0].pattern",
        ),
    ] {
        let mut policy = base.clone();
        for (name, value) in change.as_object().unwrap() {
            policy[name] = value.clone();
        }
        let policy: StructuredPolicy = serde_json::from_value(policy).unwrap();
        let faults = compiled(&policy, &connectors, &BTreeSet::new()).unwrap_err();
        assert!(faults.iter().any(|fault| fault.field == field), "{field}: {faults:?}");
    }
}

#[test]
fn a_form_says_how_much_it_tells() {
    let connectors = connectors();
    for (show, annotation) in [("hidden", "@show(\"hidden\")\n"), ("actionable", "@show(\"actionable\")\n")] {
        let form =
            json!({"name": "a", "service": "github", "effect": "forbid", "tiers": ["read"], "show": show});
        let policy: StructuredPolicy = serde_json::from_value(form).unwrap();
        let compiled = compiled(&policy, &connectors, &BTreeSet::new()).unwrap();
        assert!(compiled.text.contains(annotation), "{}", compiled.text);
        assert_eq!(bundle(&[&compiled.text], &connectors).policies()[0].show.as_str(), show);
    }
    let loud = json!({"name": "a", "service": "github", "effect": "forbid", "show": "loud"});
    assert!(serde_json::from_value::<StructuredPolicy>(loud).is_err());
}

/// Whatever an operator types stays where it was typed.
#[test]
fn no_text_leaves_its_place() {
    let connectors = connectors();
    let evil = "\"; permit (principal, action, resource); //\n*/ } \u{2028} \\ \u{85} '";
    let name = evil.replace(['\n', '\u{85}'], "");
    let policy: StructuredPolicy = serde_json::from_value(json!({"name": format!("a{name}b"), "service": "github",
        "effect": "forbid", "tools": ["create_or_update_file"], "denyMessage": name,
        "repoRestrictions": [{"owner": evil, "repo": evil}],
        "resourceConditions": {"conditions": [{"type": "branch", "value": evil}, {"type": "pullRequest", "value": evil}]},
        "argumentConditions": [{"argument": "path", "op": "equals", "value": evil},
            {"argument": "message", "op": "like", "pattern": evil.replace('\\', "\\\\")}]}))
    .unwrap();
    let compiled = compiled(&policy, &connectors, &BTreeSet::new()).unwrap();
    let bundle = bundle(&[&compiled.text], &connectors);
    assert_eq!(bundle.policies().len(), 1);
    assert_eq!(bundle.policies()[0].annotations["denyMessage"], name);
}

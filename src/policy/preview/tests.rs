use serde_json::{Value, json};

use super::*;
use crate::policy::finding::Severity;
use crate::policy::fixtures::{bundle, sources, sunday};

const SET: &str = r#"
    @id("reads") permit(principal, action in Wicket::Action::"read", resource);
    @id("no-deletes") forbid(principal, action == DepotMCP::Action::"delete_file", resource);
    @id("payers") permit(principal in Wicket::Group::"payers", action == DepotMCP::Action::"pay", resource);
"#;

fn preview(change: Value) -> Preview {
    let mut form = json!({"name": "it", "service": "depot", "effect": "permit", "tools": ["put_file"]});
    for (name, value) in change.as_object().unwrap() {
        form[name] = value.clone();
    }
    let policy: StructuredPolicy = serde_json::from_value(form).unwrap();
    let around = Surroundings {
        groups: Some([("payers".parse().unwrap(), 2), ("leavers".parse().unwrap(), 0)].into()),
        members: Some(["00000000-0000-0000-0000-000000000001".parse().unwrap()].into()),
        now: Some(sunday()),
    };
    bundle(SET).preview_in(&policy, &sources(SET), &around).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// What is found and what it says, for each kind of finding and its nearest neighbour without it.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_kind_of_finding_is_found_where_it_is_so() {
    use FindingCode as C;
    let argument = |conditions: Value| json!({"argumentConditions": conditions});
    let path = |op: &str, value: Value| match op {
        "in" | "notIn" => json!({"argument": "path", "op": op, "values": value}),
        "like" | "notLike" => json!({"argument": "path", "op": op, "pattern": value}),
        _ => json!({"argument": "path", "op": op, "value": value}),
    };
    let counters = |list: Value| json!({"sessionConditions": list});
    let calls =
        |op: &str, value: i64| json!({"kind": "totalCallCount", "over": "member", "op": op, "value": value});
    let table = [
        (json!({}), vec![]),
        (json!({"tools": ["delete_file"]}), vec![C::Shadowed, C::WidensEverything]),
        (json!({"tools": ["delete_file", "put_file"]}), vec![C::Shadowed, C::WidensEverything]),
        (json!({"tools": ["get_file"]}), vec![C::Implied]),
        (json!({"tools": ["get_file", "put_file"]}), vec![]),
        (json!({"effect": "forbid", "tools": ["delete_file"]}), vec![C::Implied, C::ForbidsNothing]),
        (json!({"effect": "forbid"}), vec![C::ForbidsNothing]),
        (json!({"effect": "forbid", "tools": ["pay"]}), vec![]),
        (json!({"tiers": ["destructive"]}), vec![C::Shadowed, C::WidensEverything]),
        (
            json!({"tiers": ["destructive"], "networkConditions": [{"cidrs": ["10.0.0.0/8"]}]}),
            vec![C::Shadowed],
        ),
        (json!({"timeConstraints": {"activeTo": "2026-11-21"}}), vec![C::NeverMatches]),
        (json!({"timeConstraints": {"activeTo": "2026-11-22"}}), vec![]),
        (json!({"timeConstraints": {"activeTo": "2026-11-21", "hoursFrom": 22, "hoursTo": 5}}), vec![]),
        (
            json!({"timeConstraints": {"activeFrom": "2026-11-23", "activeTo": "2026-11-24", "daysOfWeek": [0, 6]}}),
            vec![C::NeverMatches],
        ),
        (
            json!({"timeConstraints": {"activeFrom": "2026-11-23", "activeTo": "2026-11-29", "daysOfWeek": [0]}}),
            vec![],
        ),
        (
            json!({"networkConditions": [{"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["192.0.2.0/24", "10.1.0.0/16"]}]}),
            vec![],
        ),
        (
            json!({"networkConditions": [{"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["192.0.2.0/24"]}]}),
            vec![C::NeverMatches],
        ),
        (
            json!({"networkConditions": [{"cidrs": ["10.1.0.0/16"]}, {"cidrs": ["10.0.0.0/8"], "not": true}]}),
            vec![C::NeverMatches],
        ),
        (counters(json!([calls(">=", 3), calls("<", 3)])), vec![C::NeverMatches]),
        (counters(json!([calls(">=", 3), calls("<=", 3)])), vec![]),
        (counters(json!([calls("<", 0)])), vec![C::NeverMatches]),
        (argument(json!([path("equals", json!("a")), path("equals", json!("b"))])), vec![C::NeverMatches]),
        (argument(json!([path("in", json!(["a", "b"])), path("notIn", json!(["a"]))])), vec![]),
        (
            argument(json!([path("in", json!(["a", "b"])), path("notIn", json!(["b", "a"]))])),
            vec![C::NeverMatches],
        ),
        (argument(json!([path("like", json!("a*")), path("notLike", json!("a*"))])), vec![C::NeverMatches]),
        (
            json!({"tools": ["pay"], "argumentConditions": [{"argument": "amount", "op": "range", "min": 5, "max": 4}]}),
            vec![C::NeverMatches],
        ),
        (
            json!({"tools": ["pay"], "argumentConditions": [{"argument": "amount", "op": "range", "min": 5},
                {"argument": "amount", "op": "equals", "value": 4.5}]}),
            vec![C::NeverMatches],
        ),
        (
            json!({"repoRestrictions": [{"owner": "acme", "repo": "site"}], "repoExceptions": [{"owner": "Acme"}]}),
            vec![C::NeverMatches],
        ),
        (
            json!({"repoRestrictions": [{"owner": "acme"}], "repoExceptions": [{"owner": "acme", "repo": "site"}]}),
            vec![],
        ),
        (
            json!({"effect": "forbid", "tools": ["pay"], "sessionConditions": [{"kind": "totalDenyCount", "op": ">", "value": 2}]}),
            vec![C::SessionAlone],
        ),
        (json!({"principal": {"type": "groups", "groups": ["payers", "gone"]}}), vec![C::UnknownGroup]),
        (json!({"principal": {"type": "groups", "groups": ["leavers", "payers"]}}), vec![C::EmptyGroup]),
        (
            json!({"principal": {"type": "groups", "groups": ["gone", "leavers"]}}),
            vec![C::UnknownGroup, C::EmptyGroup],
        ),
        (
            json!({"principal": {"type": "specific_members", "userIds": ["00000000-0000-0000-0000-000000000002"]}}),
            vec![C::UnknownMember],
        ),
        (
            json!({"resourceConditions": {"conditions": [{"type": "visibility", "value": "public"}]}}),
            vec![C::NotKnownYet],
        ),
        (
            json!({"tools": ["put_file", "pay"], "argumentConditions": [{"argument": "amount", "op": "given"}]}),
            vec![C::NotNamed],
        ),
    ];
    for (change, expected) in table {
        let found = preview(change.clone());
        assert_eq!(found.codes(), expected, "{change}\n{:?}", found.findings);
    }
}

/// What strict validation refuses as impossible is told in the form's words where they are known.
#[test]
fn what_cannot_load_says_why_in_words() {
    let policy: StructuredPolicy = serde_json::from_value(json!({"name": "it", "service": "depot",
        "effect": "permit", "tools": ["put_file"], "argumentConditions": [
            {"argument": "path", "op": "given"}, {"argument": "path", "op": "notGiven"}]}))
    .unwrap();
    let faults = bundle(SET).preview(&policy, &sources(SET)).unwrap_err();
    let says: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
    assert_eq!(says[0], "no value of `path` satisfies all of its conditions: it never matches");
    assert!(says[1].contains("impossible"), "{says:?}");
}

/// A forbid takes the unknown: contradictory conditions leave it that.
#[test]
fn a_forbid_that_contradicts_itself_still_forbids_the_unknown() {
    let both = json!([
        {"argument": "path", "op": "equals", "value": "a"},
        {"argument": "path", "op": "equals", "value": "b"}
    ]);
    let says = |change: Value| {
        let found = preview(change).findings;
        found.into_iter().find(|one| one.code == FindingCode::NeverMatches).unwrap()
    };
    let permit = says(json!({"argumentConditions": both}));
    assert_eq!(permit.says, "no value of `path` satisfies all of its conditions: it never matches");
    assert_eq!(permit.severity, Severity::Warning);
    let forbid = says(json!({"effect": "forbid", "argumentConditions": both}));
    assert!(forbid.says.ends_with("it matches only calls that do not say which"), "{forbid}");
    let json = serde_json::to_value(&forbid).unwrap();
    assert_eq!((json["code"].as_str(), json["severity"].as_str()), (Some("never_matches"), Some("warning")));
}

use serde_json::json;

use crate::model::{CounterKey, GroupName};
use crate::policy::explain::explain;
use crate::policy::fixtures::{bundle, sunday};
use crate::policy::{Bundle, Explanation, Scenario};

fn explained(bundle: &Bundle, scenario: &Scenario) -> Explanation {
    scenario.ask(bundle, |question| explain(bundle, question)).unwrap()
}

/// What is told of a call, `; ` between the turns.
fn nearest(policies: &str, tool: &str, arguments: serde_json::Value, change: fn(&mut Scenario)) -> String {
    let mut scenario = Scenario { arguments, ..Scenario::new(tool, sunday()) };
    change(&mut scenario);
    let says = explained(&bundle(policies), &scenario).nearest.into_iter().map(|turn| turn.says);
    says.collect::<Vec<_>>().join("; ")
}

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

#[test]
fn each_kind_of_fact_can_be_the_nearest() {
    let permit = |condition: &str| format!("@id(\"p\") permit(principal, action, resource) {condition};");
    let forbid =
        |condition: &str| format!("{ALL}@id(\"f\") forbid(principal, action, resource) {condition};");
    let file = "depot__get_file";
    let plain: fn(&mut Scenario) = |_| {};
    let table = [
        (
            permit("when { context has args.path && context.args.path like \"docs/*\" }"),
            file,
            json!({"path": "src/a"}),
            plain,
            "it would be allowed, by `p`, if `path` were \"docs/\"",
        ),
        (
            permit("when { context has args.path && [\"a\", \"b\"].contains(context.args.path) }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if `path` were \"a\"",
        ),
        (
            forbid("when { context has args.force && context.args.force }"),
            file,
            json!({"force": true}),
            plain,
            "it would be allowed, by `all`, if `force` were false",
        ),
        (
            permit("when { context has args.amount && context.args.amount.lessThan(decimal(\"10.0\")) }"),
            "depot__pay",
            json!({"amount": 12}),
            plain,
            "it would be allowed, by `p`, if `amount` were 9.99",
        ),
        (
            permit("when { context has args.limit && context.args.limit <= 50 }"),
            "depot__search",
            json!({"limit": 90}),
            plain,
            "it would be allowed, by `p`, if `limit` were 50",
        ),
        (
            forbid("when { context has args.labels && context.args.labels.contains(\"x\") }"),
            file,
            json!({"labels": ["x", "y"]}),
            plain,
            "it would be allowed, by `all`, if `labels` were [\"y\"]",
        ),
        (
            "@id(\"p\") permit(principal in Wicket::Group::\"ops\", action, resource);".to_owned(),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if the member were in the group `ops`",
        ),
        (
            forbid("when { principal in Wicket::Group::\"night\" }"),
            file,
            json!({}),
            |scenario| {
                scenario.groups.insert(GroupName::parse("night").unwrap());
            },
            "it would be allowed, by `all`, if the member were not in the group `night`",
        ),
        (
            permit("when { principal.role == \"owner\" }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if the member's role were \"owner\"",
        ),
        (
            permit("when { context.time.hour >= 12 && context.time.hour < 18 }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if it came at 2026-11-22T12:00:00.000Z",
        ),
        (
            permit("when { context.time.zones[\"Asia/Tokyo\"].dayOfWeek == 1 }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if it came at 2026-11-22T15:00:00.000Z",
        ),
        (
            permit("when { context.time.epochDay >= 20800 }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if it came at 2026-12-13T09:30:00.000Z",
        ),
        (
            permit("when { context.caller.ip.isInRange(ip(\"10.0.0.0/8\")) }"),
            file,
            json!({}),
            plain,
            "it would be allowed, by `p`, if it came from 10.0.0.1, say",
        ),
        (
            forbid("when { context.session.denials + context.member.denials >= 3 }"),
            file,
            json!({}),
            |scenario| {
                scenario.history.session.insert(CounterKey::Denials, 3);
            },
            "it would be allowed, by `all`, if `session.denials` were 2 (it is 3)",
        ),
        (
            forbid("when { context.session.tiersUsed.read > context.member.tiersUsed.write }"),
            file,
            json!({}),
            |scenario| {
                scenario.history.session.insert("tier/read".parse().unwrap(), 2);
            },
            "it would be allowed, by `all`, if `session.tiersUsed[\"read\"]` were 0 (it is 2)",
        ),
        (
            "@id(\"p\") permit(principal, action, resource in DepotMCP::Repository::\"acme/site\");"
                .to_owned(),
            file,
            json!({"owner": "other", "repo": "x"}),
            plain,
            "it would be allowed, by `p`, if it acted on Repository `acme/site` (`owner` were \"acme\", `repo` were \"site\")",
        ),
        (
            permit("when { resource has visibility && resource.visibility == \"public\" }"),
            file,
            json!({"owner": "acme", "repo": "site"}),
            plain,
            "it would be allowed, by `p`, if `visibility` of the resource were \"public\"",
        ),
        // Two at once, where one does not do.
        (
            permit(
                "when { context has args.path && context.args.path == \"a\" && principal in Wicket::Group::\"ops\" }",
            ),
            file,
            json!({"path": "b"}),
            plain,
            "it would be allowed, by `p`, if `path` were \"a\" and the member were in the group `ops`",
        ),
        (
            format!(
                "{}@id(\"g\") forbid(principal, action, resource) when {{ context.caller.ip.isInRange(ip(\"127.0.0.0/8\")) }};",
                forbid("when { context has args.path && context.args.path == \"b\" }")
            ),
            file,
            json!({"path": "b"}),
            plain,
            "it would be allowed, by `all`, if `path` were \"something-else\" and it came from 192.0.2.1, say",
        ),
        // What would close an open door.
        (
            forbid("when { context.session.calls > 9 }"),
            file,
            json!({}),
            plain,
            "it would be denied, by `f`, if `session.calls` were 10 (it is 0)",
        ),
        // Nothing of the call does.
        (forbid(""), file, json!({}), plain, ""),
        (permit("when { context.time.year < 2000 }"), file, json!({}), plain, ""),
        // A wish that cannot be judged is no wish.
        (
            permit("when { context has args.amount && context.args.amount == decimal(\"1.5\") }"),
            "depot__pay",
            json!({"amount": 0.00001}),
            plain,
            "",
        ),
    ];
    for (policies, tool, arguments, change, expected) in table {
        let says = nearest(&policies, tool, arguments, change);
        if expected.is_empty() {
            assert_eq!(says, "", "{policies}");
        } else {
            assert!(says.starts_with(expected), "{policies}\n{says}");
        }
    }
}

/// Whatever is told holds when it is asked again as told.
#[test]
fn what_is_told_turns_the_decision() {
    let policies = r#"
        @id("office") permit(principal in Wicket::Group::"ops", action in Wicket::Action::"write", resource)
        when { context.time.hour >= 12 };
        @id("reads") permit(principal, action in Wicket::Action::"read", resource)
        when { context.session.calls < 5 };
        @id("env") forbid(principal, action, resource) when { context has args.path && context.args.path like "*.env" };
    "#;
    let bundle = bundle(policies);
    let mut told = 0;
    for tool in ["depot__get_file", "depot__put_file"] {
        for path in ["a", "b.env"] {
            for calls in [0, 9] {
                for hours in [0, 4] {
                    let mut scenario = Scenario::new(tool, sunday().plus_millis(hours * 3_600_000));
                    scenario.arguments = json!({"path": path});
                    scenario.history.session.insert(CounterKey::Calls, calls);
                    let explanation = explained(&bundle, &scenario);
                    for turn in &explanation.nearest {
                        assert_ne!(turn.allowed, explanation.allowed);
                        let mut changed = scenario.clone();
                        for change in &turn.changes {
                            match change.fact.as_str() {
                                "args.path" if change.to.is_null() => changed.arguments = json!({}),
                                "args.path" => changed.arguments["path"] = change.to.clone(),
                                "session.calls" => {
                                    let count = change.to.as_i64().unwrap();
                                    changed.history.session.insert(CounterKey::Calls, count);
                                }
                                "groups" => {
                                    changed.groups = serde_json::from_value(change.to.clone()).unwrap()
                                }
                                "time" => changed.at = serde_json::from_value(change.to.clone()).unwrap(),
                                other => panic!("{other}"),
                            }
                        }
                        let again = changed.ask(&bundle, |question| bundle.decide(question)).unwrap();
                        assert_eq!(again.allowed, turn.allowed, "{}", turn.says);
                        told += 1;
                    }
                }
            }
        }
    }
    assert!(told >= 12, "{told}");
}

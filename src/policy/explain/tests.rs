use serde_json::json;

use super::*;
use crate::policy::Scenario;
use crate::policy::fixtures::{bundle, sunday};

const SET: &str = r#"@id("reads") permit(principal, action in Wicket::Action::"read", resource);
@id("team") permit(principal in Wicket::Group::"team", action in Wicket::Action::"write", resource);
@id("small-payments")
permit(principal, action == DepotMCP::Action::"pay", resource)
when {
  context.args has amount &&
  context.args.amount.lessThan(decimal("10.0"))
}
unless { context.time.hour < 8 };
@id("no-env") @denyMessage("no secrets")
forbid(principal, action, resource)
when { context has args.path && context.args.path like "*.env" };
"#;

fn explained(tool: &str, arguments: serde_json::Value, change: fn(&mut Scenario)) -> Explanation {
    let bundle = bundle(SET);
    let mut scenario = Scenario { arguments, ..Scenario::new(tool, sunday()) };
    change(&mut scenario);
    scenario.ask(&bundle, |question| explain(&bundle, question)).unwrap()
}

#[test]
fn an_explanation_reads_like_an_answer() {
    let cases = [
        ("depot__pay", json!({"amount": 12})),
        ("depot__get_file", json!({"owner": "a", "path": ".env"})),
        ("depot__pay", json!({"amount": 0.00001})),
        ("notes__add", json!({})),
    ];
    let texts: Vec<String> =
        cases.into_iter().map(|(tool, arguments)| explained(tool, arguments, |_| {}).to_string()).collect();
    insta::assert_snapshot!(texts.join("----\n"));
}

#[test]
fn clauses_after_the_one_that_settles_are_not_reached() {
    let marks = |arguments, change: fn(&mut Scenario)| {
        let explanation = explained("depot__pay", arguments, change);
        let candidate =
            explanation.candidates.into_iter().find(|c| c.policy.key.as_str() == "small-payments");
        candidate.unwrap().clauses.iter().map(|clause| clause.result).collect::<Vec<_>>()
    };
    use ClauseResult::{Failed, Held, NotReached};
    assert_eq!(marks(json!({}), |_| {}), [Failed, NotReached, NotReached]);
    assert_eq!(marks(json!({"amount": 12}), |_| {}), [Held, Failed, NotReached]);
    assert_eq!(marks(json!({"amount": 1}), |_| {}), [Held, Held, Held]);
    assert_eq!(
        marks(json!({"amount": 1}), |s| s.at = s.at.plus_millis(-3 * 3_600_000)),
        [Held, Held, Failed]
    );
}

#[test]
fn it_says_the_same_as_the_decision_and_serialises() {
    for (tool, arguments) in
        [("depot__pay", json!({"amount": 1})), ("depot__put_file", json!({})), ("notes__list", json!({}))]
    {
        let explanation = explained(tool, arguments.clone(), |_| {});
        let bundle = bundle(SET);
        let scenario = Scenario { arguments, ..Scenario::new(tool, sunday()) };
        let decision = scenario.ask(&bundle, |question| bundle.decide(question)).unwrap();
        assert_eq!((explanation.allowed, explanation.reason), (decision.allowed, decision.reason));
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["allowed"], json!(decision.allowed));
    }
}

/// Policies in shadow are told apart from those that decide, with their own conditions; decision, advice and
/// nearest changes are as if they were not there.
#[test]
fn shadows_are_told_beside_and_change_nothing_of_the_answer() {
    let shadows = r#"
@id("no-reads") @mode("shadow") forbid(principal, action in Wicket::Action::"read", resource)
when { context.session.denials >= 3 };
@id("pays") @mode("shadow") permit(principal, action == DepotMCP::Action::"pay", resource);
@id("asleep") @mode("off") forbid(principal, action, resource);
"#;
    let (plain, beside) = (bundle(SET), bundle(&format!("{SET}{shadows}")));
    let explained = |bundle: &Bundle, tool: &str, denials: i64| {
        let mut scenario = Scenario::new(tool, sunday());
        scenario.history.session.insert(crate::model::CounterKey::Denials, denials);
        scenario.ask(bundle, |question| explain(bundle, question)).unwrap()
    };
    for (tool, denials, expected) in [
        ("depot__get_file", 0, Some((false, true, Reason::Permitted, &[][..], ClauseResult::Failed))),
        ("depot__get_file", 3, Some((true, false, Reason::Forbidden, &["no-reads"], ClauseResult::Held))),
        ("depot__pay", 0, Some((true, true, Reason::Permitted, &["pays"], ClauseResult::Held))),
        ("depot__put_file", 3, None),
    ] {
        let mut found = explained(&beside, tool, denials);
        let shadow = found.shadow.take();
        let without = explained(&plain, tool, denials);
        let [found, without] = [found, without].map(|one| serde_json::to_value(one).unwrap());
        assert_eq!(found, without, "{tool}");
        let told = shadow.as_ref().map(|shadow| {
            let keys: Vec<&str> = shadow.determining.iter().map(|policy| policy.key.as_str()).collect();
            assert_eq!(shadow.candidates.len(), 1, "{shadow:?}");
            (shadow.differs, shadow.allowed, shadow.reason, keys, shadow.candidates[0].result)
        });
        let expected = expected.map(|(differs, allowed, reason, keys, result)| {
            (differs, allowed, reason, keys.to_vec(), result)
        });
        assert_eq!(told, expected, "{tool} after {denials}");
    }
    let text = explained(&beside, "depot__get_file", 3).to_string();
    let (_, told) = text.split_once("\n\nPolicies in shadow, which decide nothing:\n").unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("  forbid no-reads  matches  ("), "{told}");
    assert_eq!(lines[1], "    yes context.session.denials >= 3");
    assert_eq!(lines.last(), Some(&"If they were enforced: DENIED, forbidden by `no-reads`"), "{told}");
    let text = explained(&beside, "depot__get_file", 0).to_string();
    assert!(text.ends_with("If they were enforced, it would be decided as it is: ALLOWED\n"), "{text}");
}

//! What a bundle keeps between calls, and that it never answers for another.

use super::*;
use crate::model::{GroupName, Timestamp};
use crate::policy::cache::Caps;
use crate::policy::fixtures::{bundle, sunday};
use crate::policy::{Prospect, Scenario};

const POLICIES: &str = r#"
    @id("reads") permit(principal, action in Wicket::Action::"read", resource);
    @id("ops") permit(principal in Wicket::Group::"ops", action, resource);
    @id("acme") forbid(principal, action in DepotMCP::Action::"files", resource in DepotMCP::Owner::"acme")
    unless { principal in Wicket::Group::"acme" };
    @id("site") forbid(principal, action == DepotMCP::Action::"put_file",
                       resource == DepotMCP::Repository::"other/site");
    @id("late") forbid(principal, action == DepotMCP::Action::"pay", resource)
    when { context.time.hour >= 22 || context.member.calls > 9 };
"#;

fn scenario(tool: &str, groups: &[&str], owner: Option<&str>) -> Scenario {
    let mut scenario = Scenario::new(tool, sunday());
    scenario.groups = groups.iter().map(|group| GroupName::parse(group).unwrap()).collect();
    scenario.arguments = match owner {
        Some(owner) => serde_json::json!({"owner": owner, "repo": "site"}),
        None => serde_json::json!({}),
    };
    scenario
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for tool in ["depot__get_file", "depot__put_file", "depot__pay", "notes__add"] {
        for groups in [&[][..], &["ops"], &["acme"], &["ops", "acme"], &["unheard-of"]] {
            for owner in [None, Some("acme"), Some("other"), Some("third")] {
                all.push(scenario(tool, groups, owner));
            }
        }
    }
    all
}

#[test]
fn what_is_kept_answers_as_what_is_worked_out_anew() {
    let kept = bundle(POLICIES);
    for round in 0..3 {
        for scenario in scenarios() {
            let fresh = bundle_without_memory();
            let ask = |bundle: &Bundle| scenario.ask(bundle, |question| bundle.decide(question)).unwrap();
            assert_eq!(ask(&kept), ask(&fresh), "round {round}: {scenario:?}");
        }
    }
}

fn bundle_without_memory() -> Bundle {
    static BUILT: std::sync::LazyLock<Bundle> = std::sync::LazyLock::new(|| bundle(POLICIES));
    let sources = crate::policy::fixtures::sources(POLICIES);
    let mut fresh = Bundle::rebuild(&sources, &BUILT).unwrap();
    fresh.slices = Slices::new(Caps { entries_max: 0, bytes_max: 0 });
    fresh.principals = Cache::new(Caps { entries_max: 0, bytes_max: 0 });
    fresh
}

#[test]
fn calls_that_scopes_cannot_tell_apart_share_a_slice() {
    let bundle = bundle(POLICIES);
    let slice = |scenario: &Scenario| {
        let needs = |question: &Question<'_>| bundle.asked(question).shared_needs();
        scenario.ask(&bundle, needs).unwrap()
    };
    let one = slice(&scenario("depot__get_file", &["unheard-of"], Some("third")));
    for same in [
        scenario("depot__get_file", &[], Some("fourth")),
        scenario("depot__get_file", &["x", "y"], Some("fifth")),
        // No scope tells a service from a repository that none names.
        scenario("depot__get_file", &[], None),
    ] {
        assert!(Arc::ptr_eq(&one, &slice(&same)), "{same:?}");
    }
    for other in [
        scenario("depot__get_file", &["ops"], Some("third")),
        scenario("depot__get_file", &[], Some("acme")),
        scenario("depot__put_file", &[], Some("third")),
    ] {
        assert!(!Arc::ptr_eq(&one, &slice(&other)), "{other:?}");
    }
}

#[test]
fn a_caller_that_changed_is_another_caller() {
    let bundle = bundle(
        r#"
        @id("ops") permit(principal in Wicket::Group::"ops", action, resource);
        @id("owner") permit(principal, action, resource) when { principal.role == "owner" };
        @id("name") permit(principal, action, resource) when { principal.name == "new@example.com" };
        @id("agent") permit(principal, action, resource) when { principal.agent.name == "renamed" };
    "#,
    );
    let plain = scenario("notes__add", &[], None);
    let ask =
        |scenario: &Scenario| scenario.ask(&bundle, |question| bundle.decide(question).allowed).unwrap();
    let owner = Scenario { role: crate::model::Role::Owner, ..plain.clone() };
    let renamed = Scenario { member_name: "new@example.com".to_owned(), ..plain.clone() };
    let agent = Scenario { agent_name: "renamed".to_owned(), ..plain.clone() };
    for _ in 0..2 {
        assert!(!ask(&plain));
        for changed in [&scenario("notes__add", &["ops"], None), &owner, &renamed, &agent] {
            assert!(ask(changed), "{changed:?}");
            assert!(!ask(&plain));
        }
    }
}

#[test]
fn prospects_are_what_every_moment_of_a_call_bears_out() {
    let bundle = bundle(POLICIES);
    let prospect =
        |scenario: Scenario| scenario.ask(&bundle, |question| bundle.asked(question).prospect()).unwrap();
    let table = [
        (scenario("depot__get_file", &[], None), Prospect::Always),
        (scenario("depot__get_file", &[], Some("acme")), Prospect::Depends),
        (scenario("depot__put_file", &[], Some("third")), Prospect::Never),
        (scenario("depot__put_file", &["ops"], Some("third")), Prospect::Always),
        (scenario("depot__put_file", &["ops"], Some("other")), Prospect::Never),
        (scenario("depot__pay", &["ops"], None), Prospect::Depends),
        (scenario("notes__add", &["acme"], None), Prospect::Never),
    ];
    for (scenario, expected) in table {
        assert_eq!(prospect(scenario.clone()), expected, "{scenario:?}");
    }
    assert_eq!(prospect(scenario("depot__get_file", &["ops"], None)), Prospect::Always);
    // An owner that is no text: what the call acts on cannot be told, and a forbid names an owner.
    let mut unreadable = scenario("depot__get_file", &["ops"], None);
    unreadable.arguments = serde_json::json!({"owner": 5, "repo": "site"});
    assert_eq!(prospect(unreadable.clone()), Prospect::Never);
    let decision = unreadable.ask(&bundle, |question| bundle.decide(question)).unwrap();
    let errors: Vec<&str> = decision.errors.iter().map(|error| error.policy.as_str()).collect();
    assert_eq!((decision.allowed, errors), (false, vec!["acme"]));
    // Also after a call that named none at all, which acts on the same service.
    assert_eq!(prospect(scenario("depot__get_file", &["ops"], None)), Prospect::Always);
    assert!(!unreadable.ask(&bundle, |question| bundle.decide(question).allowed).unwrap());
}

#[test]
fn nothing_is_made_that_no_candidate_reads() {
    let bundle = bundle("@id(\"all\") permit(principal, action, resource);");
    let mut odd = scenario("depot__pay", &[], None);
    odd.arguments = serde_json::json!({"amount": 0.000_001});
    odd.at = Timestamp::from_millis(i64::MAX);
    assert!(odd.ask(&bundle, |question| bundle.decide(question).allowed).unwrap());
}

#[test]
fn what_any_candidate_reads_of_a_resource_is_there() {
    let bundle = bundle(
        r#"
        @id("all") permit(principal, action, resource);
        @id("owner") forbid(principal, action, resource)
        when { resource has owner && resource.owner == "nobody" };
        @id("repo") forbid(principal, action, resource)
        when { resource has repo && resource.repo == "site" };
    "#,
    );
    let scenario = scenario("depot__get_file", &[], Some("acme"));
    let decision = scenario.ask(&bundle, |question| bundle.decide(question)).unwrap();
    let keys: Vec<&str> = decision.determining.iter().map(|policy| policy.key.as_str()).collect();
    assert_eq!((keys, decision.errors.len()), (vec!["repo"], 0));
}

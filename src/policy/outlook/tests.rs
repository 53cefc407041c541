//! What is visible, by tables; and against decisions, by dice (`bundle/oracle.rs` asks at random too).

use super::*;
use crate::model::{CounterKey, GroupName};
use crate::policy::Scenario;
use crate::policy::fixtures::{bundle, sunday};

const TOOLS: [&str; 8] = [
    "depot__get_file",
    "depot__put_file",
    "depot__delete_file",
    "depot__search",
    "depot__pay",
    "notes__list",
    "notes__add",
    "wicket__whoami",
];

/// The tools that are visible to this scenario's caller, without the first part of their names.
fn visible(bundle: &Bundle, scenario: &Scenario) -> Vec<&'static str> {
    let names: Vec<(ServiceKey, ToolName)> = TOOLS
        .iter()
        .map(|name| name.split_once("__").unwrap())
        .map(|(service, tool)| (ServiceKey::parse(service).unwrap(), ToolName::parse(tool).unwrap()))
        .collect();
    let seen = |question: &crate::policy::Question<'_>| {
        let survey = bundle.survey(question.caller, names.iter().map(|(service, tool)| (service, tool)));
        let settled = bundle.settle(&survey, question.caller, &scenario.history, scenario.at);
        assert!(survey.holds_for(bundle, question.caller));
        settled
    };
    let settled = scenario.ask(bundle, seen).unwrap();
    let tools = TOOLS.iter().zip(settled).filter(|(_, visible)| *visible);
    tools.map(|(name, _)| name.split_once("__").unwrap().1).collect()
}

fn scenario() -> Scenario {
    Scenario::new("wicket__whoami", sunday())
}

#[test]
fn a_tool_is_hidden_if_no_arguments_could_get_it_permitted() {
    const ALL: &str = "@id(\"all\") permit(principal, action, resource);";
    const EVERY: &str = "get_file put_file delete_file search pay list add whoami";
    let table = [
        ("", ""),
        (ALL, EVERY),
        ("permit(principal, action in Wicket::Action::\"read\", resource);", "get_file search list whoami"),
        // A forbid that some arguments escape hides nothing; one that none escapes does.
        (
            "+forbid(principal, action, resource) when { context has args.path && context.args.path like \"*.env\" };",
            EVERY,
        ),
        (
            "+forbid(principal, action in NotesMCP::Action::\"write\", resource) unless { context has args.text && context.args.text == \"ok\" };",
            EVERY,
        ),
        (
            "+forbid(principal, action, resource) when { principal.role == \"member\" || (context has args.path && context.args.path == \"\") };",
            "",
        ),
        ("+forbid(principal, action, resource) unless { principal in Wicket::Group::\"ops\" };", ""),
        (
            "+forbid(principal, action in [Wicket::Action::\"write\", Wicket::Action::\"destructive\"], resource);",
            "get_file search list whoami",
        ),
        // Hours, days and counters are known now.
        (
            "+forbid(principal, action == DepotMCP::Action::\"pay\", resource) when { context.time.hour == 9 };",
            "get_file put_file delete_file search list add whoami",
        ),
        (
            "+forbid(principal, action == DepotMCP::Action::\"pay\", resource) when { context.time.hour > 9 };",
            EVERY,
        ),
        ("+forbid(principal, action, resource) when { context.session.calls >= 3 };", ""),
        ("+forbid(principal, action, resource) when { context.session.calls >= 4 };", EVERY),
        (
            "permit(principal, action, resource) when { context.member.calls < 3 && context has args.path };",
            "",
        ),
        (
            "permit(principal, action, resource) when { context.member.calls < 9 && context has args.path };",
            "get_file put_file delete_file",
        ),
        // What a tool does not declare is never there.
        (
            "+forbid(principal, action, resource) unless { context has args.text && context.args.text like \"a*\" };",
            "add",
        ),
        ("+forbid(principal, action, resource) when { context.args has query };", EVERY),
        // An error of any candidate denies.
        (
            "+permit(principal, action == NotesMCP::Action::\"add\", resource) when { context.session.calls + 9223372036854775807 > 0 };",
            "get_file put_file delete_file search pay list whoami",
        ),
        // Types of resources: a call that names none acts on the service.
        ("permit(principal, action, resource is DepotMCP::Repository);", "get_file put_file delete_file"),
        (
            "permit(principal, action, resource == DepotMCP::Repository::\"a/b\");",
            "get_file put_file delete_file",
        ),
        (
            "permit(principal, action, resource in DepotMCP::Owner::\"a\") when { resource has owner };",
            "get_file put_file delete_file",
        ),
        ("permit(principal, action, resource in Wicket::Service::\"notes\");", "list add"),
        (
            "permit(principal, action in DepotMCP::Action::\"files\", resource) when { resource is DepotMCP::Repository };",
            "get_file put_file delete_file",
        ),
        (
            "permit(principal, action, resource) when { resource in [DepotMCP::Owner::\"a\", DepotMCP::Owner::\"b\"] || resource in DepotMCP::Service::\"depot\" };",
            "get_file put_file delete_file search pay",
        ),
        (
            "+forbid(principal, action, resource) when { resource in Wicket::Service::\"depot\" };",
            "list add whoami",
        ),
        (
            "+forbid(principal, action, resource) when { resource is DepotMCP::Service };",
            "get_file put_file delete_file list add whoami",
        ),
        ("+forbid(principal, action, resource is DepotMCP::Repository);", EVERY),
        // What an entity of a resource's type has depends on the call.
        (
            "permit(principal, action in DepotMCP::Action::\"files\", resource) when { DepotMCP::Owner::\"acme\".owner == \"acme\" };",
            "get_file put_file delete_file",
        ),
        // Conditions that look at the action tell tools of one class apart.
        (
            "permit(principal, action, resource) when { action == DepotMCP::Action::\"search\" || action in Wicket::Action::\"destructive\" };",
            "delete_file search",
        ),
    ];
    for (text, expected) in table {
        let (more, text) = text.strip_prefix('+').map_or(("", text), |text| (ALL, text));
        let named = if text.starts_with('@') || text.is_empty() {
            text.to_owned()
        } else {
            format!("@id(\"x\") {text}")
        };
        let mut scenario = scenario();
        scenario.history.session.insert(CounterKey::Calls, 3);
        scenario.history.member.insert(CounterKey::Calls, 3);
        assert_eq!(visible(&bundle(&format!("{more}{named}")), &scenario).join(" "), expected, "{text}");
    }
}

#[test]
fn nothing_is_visible_to_a_caller_without_policies_of_its_own() {
    let bundle = bundle("@id(\"all\") permit(principal, action, resource);");
    let untrusted = Scenario { trust: crate::model::TrustMode::Untrusted, ..scenario() };
    assert!(visible(&bundle, &untrusted).is_empty());
}

#[test]
fn a_survey_serves_callers_that_look_the_same_to_what_it_read() {
    let names = [(ServiceKey::parse("notes").unwrap(), ToolName::parse("add").unwrap())];
    let tools = || names.iter().map(|(service, tool)| (service, tool));
    let same = |text: &str, one: &Scenario, other: &Scenario| {
        let bundle = bundle(text);
        let survey = one.ask(&bundle, |question| bundle.survey(question.caller, tools())).unwrap();
        other.ask(&bundle, |question| survey.holds_for(&bundle, question.caller)).unwrap()
    };
    let other = Scenario {
        member: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        member_name: "other".to_owned(),
        ..scenario()
    };
    let in_ops = Scenario { groups: [GroupName::parse("ops").unwrap()].into(), ..other.clone() };
    let untrusted = Scenario { trust: crate::model::TrustMode::Untrusted, ..other.clone() };
    let plain = "@id(\"p\") permit(principal, action, resource) when { context.session.calls < 3 };";
    let named = "@id(\"p\") permit(principal, action, resource) when { principal.name == \"x\" };";
    let grouped = "@id(\"p\") permit(principal in Wicket::Group::\"ops\", action, resource);";
    assert!(same(plain, &scenario(), &other) && same(plain, &scenario(), &in_ops));
    assert!(!same(plain, &scenario(), &untrusted));
    assert!(same(named, &scenario(), &scenario()) && !same(named, &scenario(), &other));
    assert!(same(grouped, &scenario(), &other) && !same(grouped, &scenario(), &in_ops));
}

use serde_json::{Value, json};

use super::*;
use crate::model::{CounterKey, SourceFile, Timestamp, TrustMode};
use crate::policy::fixtures::{bundle, connectors, faults, sources, sunday};
use crate::policy::{Scenario, Sources};

fn decide(bundle: &Bundle, tool: &str, arguments: Value) -> Decision {
    let scenario = Scenario { arguments, ..Scenario::new(tool, sunday()) };
    scenario.ask(bundle, |question| bundle.decide(question)).unwrap()
}

/// `allow by a b`, `deny Forbidden by c`, and so on.
fn said(decision: &Decision) -> String {
    let keys: Vec<&str> = decision.determining.iter().map(|p| p.key.as_str()).collect();
    let errors: Vec<&str> = decision.errors.iter().map(|e| e.policy.as_str()).collect();
    let verdict = if decision.allowed { "allow" } else { "deny" };
    format!("{verdict} {:?} by [{}] errors [{}]", decision.reason, keys.join(" "), errors.join(" "))
}

#[test]
fn nothing_is_permitted_by_an_empty_set() {
    assert_eq!(said(&decide(&bundle(""), "depot__get_file", json!({}))), "deny NoPermit by [] errors []");
}

#[test]
fn scopes_conditions_and_effects_decide_together() {
    let bundle = bundle(
        r#"
        @id("reads") permit(principal, action in Wicket::Action::"read", resource);
        @id("acme") permit(principal, action in DepotMCP::Action::"files", resource in DepotMCP::Owner::"acme");
        @id("no-deletes") @denyMessage("ask ops") @show("actionable")
        forbid(principal, action in Wicket::Action::"destructive", resource)
        unless { principal in Wicket::Group::"ops" };
        @id("secret") @show("hidden") @denyMessage("hidden")
        forbid(principal, action, resource) when { context has args.path && context.args.path like "*.env" };
        @id("small") permit(principal, action == DepotMCP::Action::"pay", resource)
        when { context.args has amount && context.args.amount.lessThan(decimal("10.5")) };
    "#,
    );
    let acme = |path: &str| json!({"owner": "acme", "repo": "site", "path": path});
    let other = json!({"owner": "other", "repo": "site", "path": "a"});
    let table = [
        ("depot__get_file", acme("a"), "allow Permitted by [acme reads] errors []"),
        ("depot__get_file", other.clone(), "allow Permitted by [reads] errors []"),
        ("depot__get_file", acme("x.env"), "deny Forbidden by [secret] errors []"),
        ("depot__put_file", acme("a"), "allow Permitted by [acme] errors []"),
        ("depot__put_file", json!({"owner": "acme"}), "allow Permitted by [acme] errors []"),
        ("depot__put_file", other, "deny NoPermit by [] errors []"),
        ("depot__delete_file", acme("a"), "deny Forbidden by [no-deletes] errors []"),
        ("depot__delete_file", acme(".env"), "deny Forbidden by [no-deletes secret] errors []"),
        ("depot__pay", json!({"amount": 10}), "allow Permitted by [small] errors []"),
        ("depot__pay", json!({"amount": 10.6}), "deny NoPermit by [] errors []"),
        ("depot__pay", json!({}), "deny NoPermit by [] errors []"),
        ("depot__pay", json!({"amount": 0.00001}), "deny EvaluationError by [] errors [small]"),
        ("depot__pay", json!({"amount": "1"}), "deny EvaluationError by [] errors [small]"),
        ("wicket__whoami", json!({}), "allow Permitted by [reads] errors []"),
    ];
    for (tool, arguments, expected) in table {
        assert_eq!(said(&decide(&bundle, tool, arguments.clone())), expected, "{tool} {arguments}");
    }
    let denied = decide(&bundle, "depot__delete_file", acme("a"));
    assert_eq!((denied.deny_message.as_deref(), denied.actionable), (Some("ask ops"), true));
    let hidden = decide(&bundle, "depot__get_file", acme(".env"));
    assert_eq!((hidden.deny_message.as_deref(), hidden.actionable), (None, false));
}

#[test]
fn any_evaluation_error_of_a_candidate_denies() {
    let bundle = bundle(
        r#"
        @id("all") permit(principal, action, resource);
        @id("sum") forbid(principal, action == DepotMCP::Action::"search", resource)
        when { context.args has limit && context.args.limit + 1 > 100 };
    "#,
    );
    let search = |limit: Value| said(&decide(&bundle, "depot__search", json!({"limit": limit})));
    assert_eq!(search(json!(5)), "allow Permitted by [all] errors []");
    assert_eq!(search(json!(100)), "deny Forbidden by [sum] errors []");
    assert_eq!(search(json!(i64::MAX)), "deny EvaluationError by [] errors [sum]");
    assert_eq!(search(json!(u64::MAX)), "deny EvaluationError by [] errors [sum]");
    assert_eq!(search(json!("5")), "deny EvaluationError by [] errors [sum]");
    assert_eq!(search(Value::Null), "deny EvaluationError by [] errors [sum]");
    let overflow = decide(&bundle, "depot__search", json!({"limit": i64::MAX}));
    assert_eq!(overflow.errors[0].message, "policies/a.cedar:4:42: an integer overflows");
    // What no candidate reads may be anything.
    assert_eq!(
        said(&decide(&bundle, "depot__pay", json!({"amount": 0.00001}))),
        "allow Permitted by [all] errors []"
    );
}

#[test]
fn a_resource_that_cannot_be_read_denies_where_a_policy_looks_at_it() {
    let all = r#"@id("all") permit(principal, action, resource);"#;
    let unreadable = json!({"owner": 7, "repo": "site"});
    let table = [
        ("", "allow Permitted by [all] errors []"),
        (
            r#"@id("f") forbid(principal, action, resource in DepotMCP::Owner::"acme");"#,
            "deny EvaluationError by [] errors [f]",
        ),
        (
            r#"@id("f") forbid(principal, action, resource) when { resource has owner && resource.owner == "acme" };"#,
            "deny EvaluationError by [] errors [f]",
        ),
        (
            r#"@id("p") permit(principal, action, resource in DepotMCP::Owner::"acme");"#,
            "allow Permitted by [all] errors []",
        ),
        (
            r#"@id("f") forbid(principal, action, resource in DepotMCP::Owner::"acme") when { principal.name == "x" };"#,
            "deny EvaluationError by [] errors [f]",
        ),
        (
            r#"@id("f") forbid(principal, action, resource in Wicket::Service::"notes");"#,
            "deny EvaluationError by [] errors [f]",
        ),
        (
            r#"@id("f") forbid(principal, action == DepotMCP::Action::"pay", resource in Wicket::Service::"depot");"#,
            "allow Permitted by [all] errors []",
        ),
    ];
    for (policy, expected) in table {
        let bundle = bundle(&format!("{all}{policy}"));
        assert_eq!(said(&decide(&bundle, "depot__get_file", unreadable.clone())), expected, "{policy}");
    }
}

#[test]
fn an_untrusted_caller_is_denied_until_policies_are_stored() {
    let bundle = bundle(r#"@id("all") permit(principal, action, resource);"#);
    let scenario = Scenario { trust: TrustMode::Untrusted, ..Scenario::new("depot__get_file", sunday()) };
    let decision = scenario.ask(&bundle, |question| bundle.decide(question)).unwrap();
    assert_eq!(said(&decision), "deny NoPoliciesForMember by [] errors []");
}

#[test]
fn a_tool_of_other_connectors_is_unknown_to_the_bundle() {
    let nothing = Sources {
        show: Default::default(),
        connectors: Arc::new(Connectors::read(&[]).unwrap()),
        ..sources(r#"@id("all") permit(principal, action, resource);"#)
    };
    let bundle = Bundle::build(&nothing).unwrap();
    let known = connectors();
    let depot = known.get("depot").unwrap();
    let tool = depot.tools.get("get_file").unwrap();
    let scenario = Scenario::new("wicket__whoami", sunday());
    let decision = scenario.ask(&bundle, |question| {
        bundle.decide(&Question { connector: depot, tool, resource: &depot.service_resource(), ..*question })
    });
    assert_eq!(said(&decision.unwrap()), "deny UnknownTool by [] errors []");
}

#[test]
fn counters_time_and_caller_are_read() {
    let bundle = bundle(
        r#"
        @id("all") permit(principal, action, resource);
        @id("breaker") forbid(principal, action, resource)
        when { context.session.denials + context.member.denials >= 5 };
        @id("notes-last") forbid(principal, action == NotesMCP::Action::"add", resource)
        when { context.session.toolsUsed["depot:get_file"] > 0 && context.member.calls >= 0 };
        @id("night") forbid(principal, action == NotesMCP::Action::"list", resource)
        when { context.time.zones["Asia/Tokyo"].hour < 19 || context.time.dayOfWeek != 0 };
        @id("far") forbid(principal, action == DepotMCP::Action::"pay", resource)
        unless { context.caller.ip.isInRange(ip("127.0.0.0/8")) };
    "#,
    );
    let ask = |tool: &str, change: &dyn Fn(&mut Scenario)| {
        let mut scenario = Scenario::new(tool, sunday());
        change(&mut scenario);
        said(&scenario.ask(&bundle, |question| bundle.decide(question)).unwrap())
    };
    let allowed = "allow Permitted by [all] errors []";
    assert_eq!(ask("depot__get_file", &|_| {}), allowed);
    assert_eq!(
        ask("depot__get_file", &|s| {
            s.history.session.insert(CounterKey::Denials, 2);
            s.history.member.insert(CounterKey::Denials, 3);
        }),
        "deny Forbidden by [breaker] errors []"
    );
    assert_eq!(ask("notes__add", &|_| {}), allowed);
    assert_eq!(
        ask("notes__add", &|s| {
            s.history.session.insert("tool/depot:get_file".parse().unwrap(), 1);
        }),
        "deny Forbidden by [notes-last] errors []"
    );
    assert_eq!(ask("notes__list", &|_| {}), "deny Forbidden by [night] errors []");
    assert_eq!(ask("notes__list", &|s| s.at = s.at.plus_millis(3_600_000)), allowed);
    assert_eq!(
        ask("notes__list", &|s| s.at = s.at.plus_millis(86_400_000)),
        "deny Forbidden by [night] errors []"
    );
    assert_eq!(
        ask("notes__list", &|s| s.at = Timestamp::from_millis(i64::MAX)),
        "deny EvaluationError by [] errors []"
    );
    assert_eq!(ask("depot__pay", &|_| {}), allowed);
    assert_eq!(
        ask("depot__pay", &|s| s.ip = "::ffff:10.0.0.1".parse().unwrap()),
        "deny Forbidden by [far] errors []"
    );
}

#[test]
fn needs_are_those_of_the_candidates_alone() {
    let bundle = bundle(
        r#"
        @id("all") permit(principal, action, resource) when { context.member.tiersUsed.write < 9 };
        @id("one") forbid(principal, action == DepotMCP::Action::"pay", resource)
        when { context.args has amount && context.time.hour > 3 && context.member.calls > context.session.calls };
        @id("group") permit(principal in Wicket::Group::"ops", action == NotesMCP::Action::"list", resource)
        when { context.session == context.member };
    "#,
    );
    let needs = |tool: &str, group: &str| {
        let groups = [crate::model::GroupName::parse(group).unwrap()].into();
        let scenario = Scenario { groups, ..Scenario::new(tool, sunday()) };
        scenario.ask(&bundle, |q| bundle.needs(q.caller, q.connector, q.tool, q.resource)).unwrap()
    };
    let written = |keys: &[CounterKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let search = needs("depot__search", "x");
    assert_eq!((written(&search.session).as_str(), written(&search.member).as_str()), ("", "tier/write"));
    let pay = needs("depot__pay", "x");
    assert_eq!(
        (written(&pay.session).as_str(), written(&pay.member).as_str()),
        ("calls", "calls tier/write")
    );
    assert!(!needs("notes__list", "x").session.contains(&CounterKey::Denials));
    let whole = written(&needs("notes__list", "ops").session);
    for key in
        ["calls", "denials", "tool/notes:add", "tier/read", "service/wicket", "allow/all", "deny/group"]
    {
        assert!(whole.split(' ').any(|k| k == key), "{key} in {whole}");
    }
}

#[test]
fn broken_sets_name_file_line_and_what_to_do() {
    let table = [
        ("permit(principal, action, resource)", "policies/a.cedar:1:36: unexpected end of input"),
        ("permit(principal, action, resource);", "policies/a.cedar:1:1: the policy has no `@id`"),
        (
            "\n  @id(\"a b\") permit(principal, action, resource);",
            "policies/a.cedar:2:3: `a b` is not a policy key",
        ),
        (
            "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
            "policies/a.cedar:2:1: the id `a` is taken (it stands at policies/a.cedar:1 already",
        ),
        ("@id(\"a\") permit(principal == ?principal, action, resource);", "is a template"),
        ("@id(\"a\") @show(\"loud\") permit(principal, action, resource);", "`@show` is `loud`"),
        (
            "@id(\"a\")\nforbid(principal, action == DepotMCP::Action::\"get_fil\", resource);",
            "policies/a.cedar:2",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource)\nwhen { context.args.path == \"x\" };",
            "policies/a.cedar:3",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource)\nwhen { context.time.hour == \"x\" };",
            "policies/a.cedar:3",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource)\nwhen { context.time.zones[\"Europe/Atlantis\"].hour > 1 };",
            "policies/a.cedar:3:8: there is no time zone `Europe/Atlantis`",
        ),
        (
            "@id(\"a\")\nforbid(principal, action, resource)\nwhen { context.session.toolsUsed[\"depot:nope\"] > 1 };",
            "policies/a.cedar:3",
        ),
        (
            "@id(\"a\")\nforbid(principal, action, resource) when { 1 == 2 };",
            "policies/a.cedar:1:1: policy `a`: policy is impossible",
        ),
        (
            "@id(\"a\")\nforbid(principal, action == NotesMCP::Action::\"add\", resource is DepotMCP::Owner);",
            "unable to find an applicable action",
        ),
    ];
    for (text, expected) in table {
        let found: Vec<String> = faults(text).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\n{found:?}");
    }
    let long =
        format!("@id(\"a\") @denyMessage(\"{}\") forbid(principal, action, resource);", "x".repeat(501));
    assert!(faults(&long)[0].message.contains("501 characters, 500 at most"));
}

#[test]
fn a_guardrail_for_a_tier_may_wait_for_its_first_tool() {
    let connectors = std::sync::Arc::new(crate::connector::Connectors::read(&[]).unwrap());
    let build = |text: &str| {
        let policies = vec![SourceFile::new("policies/a.cedar", text)];
        Bundle::build(&Sources {
            show: Default::default(),
            policies,
            cases: None,
            connectors: std::sync::Arc::clone(&connectors),
        })
    };
    let guardrail = r#"@id("a") forbid (principal, action in Wicket::Action::"write", resource);"#;
    let warnings = build(guardrail).unwrap().warnings().iter().map(ToString::to_string).collect::<String>();
    assert!(warnings.contains("no connector has a tool of this tier"), "{warnings}");
    let never = r#"@id("a") forbid (principal, action in Wicket::Action::"read", resource) when { 1 == 2 };"#;
    assert!(build(never).is_err());
}

#[test]
fn warnings_leave_the_bundle_in_force() {
    let warned = |text: &str| {
        let found = bundle(text).warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
        found.join("\n")
    };
    assert_eq!(warned("@id(\"a\") permit(principal, action, resource);"), "");
    assert!(
        warned("@id(\"a\") @nmae(\"b\") permit(principal, action, resource);")
            .contains("`@nmae` means nothing")
    );
    assert!(
        warned("@id(\"a\") @denyMessage(\"b\") permit(principal, action, resource);")
            .contains("only a forbid")
    );
    let session = "@id(\"a\") forbid(principal, action, resource) when { context.session.denials > 3";
    assert!(warned(&format!("{session} }};")).contains("limit `context.member` as well"));
    assert_eq!(warned(&format!("{session} || context.member.denials > 3 }};")), "");
}

#[test]
fn the_digest_follows_every_file_and_not_their_order() {
    let connectors = connectors();
    let file = |name: &str, id: &str| {
        SourceFile::new(name, &format!("@id(\"{id}\") permit(principal, action, resource);"))
    };
    let digest = |policies: Vec<SourceFile>| {
        Bundle::build(&Sources {
            show: Default::default(),
            policies,
            cases: None,
            connectors: Arc::clone(&connectors),
        })
        .unwrap()
        .digest()
    };
    let both = digest(vec![file("a", "x"), file("b", "y")]);
    assert_eq!(both, digest(vec![file("b", "y"), file("a", "x")]));
    for other in
        [vec![file("a", "x")], vec![file("a", "y"), file("b", "x")], vec![file("a", "x"), file("c", "y")]]
    {
        assert_ne!(both, digest(other));
    }
}

#[test]
fn a_rebuild_checks_what_changed_and_only_that() {
    let good = "@id(\"a\") permit(principal, action, resource);";
    let first = bundle(good);
    let again = Bundle::rebuild(&sources(good), &first).unwrap();
    assert_eq!((again.digest(), again.policies().len()), (first.digest(), 1));
    let bad = format!("{good}\n@id(\"b\") permit(principal, action, resource) when {{ context.nope }};");
    let faults = Bundle::rebuild(&sources(&bad), &first).unwrap_err();
    assert!(faults[0].to_string().starts_with("policies/a.cedar:2"), "{}", faults[0]);
}

#[test]
fn a_rebuild_repeats_the_warnings_of_what_did_not_change() {
    // A Cyrillic letter that looks like a Latin one: the check warns of it.
    let warned = "@id(\"mixed\") permit(principal, action, resource) when { \"say\u{0430}\" != \"x\" };";
    let first = bundle(warned);
    assert_eq!(first.warnings().len(), 1, "{:?}", first.warnings());
    let again = Bundle::rebuild(&sources(warned), &first).unwrap();
    assert_eq!(again.warnings(), first.warnings());
    let lower = format!("// a line more\n{warned}");
    let moved = Bundle::rebuild(&sources(&lower), &again).unwrap();
    assert_eq!((moved.warnings().len(), moved.warnings()[0].line), (1, first.warnings()[0].line + 1));
    assert_eq!(bundle(&lower).warnings(), moved.warnings(), "as a build from nothing says it");
}

#[test]
fn the_whole_schema_is_shown_and_is_valid() {
    let bundle = bundle(
        "@id(\"a\") permit(principal, action, resource) when { context.time.zones[\"Europe/Berlin\"].hour > 8 };",
    );
    let text = bundle.schema_text();
    for part in [
        "\"depot:get_file\": Long",
        "Europe/Berlin",
        "entity Repository in [Owner]",
        "\"visibility\"?: String",
        "\"labels\"?: Set<String>",
        "action \"pay\" in [\"write\"]",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let extensions = cedar_policy_core::extensions::Extensions::all_available();
    let parsed = cedar_policy_core::validator::ValidatorSchema::from_cedarschema_str(text, extensions);
    assert!(parsed.is_ok(), "{text}");
}

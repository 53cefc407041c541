use std::sync::Arc;

use crate::model::{Decision, SourceFile};
use crate::policy::fixtures::{connectors, sources, sunday};
use crate::policy::{Bundle, Scenario, Sources};

fn decisions(bundle: &Bundle) -> Vec<Decision> {
    let decide =
        |tool| Scenario::new(tool, sunday()).ask(bundle, |question| bundle.decide(question)).unwrap();
    ["depot__get_file", "depot__put_file", "depot__pay", "notes__add"].map(decide).into()
}

/// Builds all of these in a row, each out of the one before, and each anew: the same comes of it.
fn row(texts: &[&str]) {
    let mut previous = Bundle::build(&sources("")).unwrap();
    for text in texts {
        let sources = sources(text);
        match (Bundle::build(&sources), Bundle::rebuild(&sources, &previous)) {
            (Ok(anew), Ok(again)) => {
                assert_eq!(anew.digest(), again.digest());
                assert_eq!(anew.warnings(), again.warnings(), "{text}");
                assert_eq!(anew.world.counters, again.world.counters, "{text}");
                assert_eq!(decisions(&anew), decisions(&again), "{text}");
                let infos = [&anew, &again].map(|bundle| serde_json::to_value(bundle.policies()).unwrap());
                assert_eq!(infos[0], infos[1], "{text}");
                previous = again;
            }
            (Err(anew), Err(again)) => assert_eq!(anew, again, "{text}"),
            (anew, again) => panic!("{text}\n{anew:?}\n{again:?}"),
        }
    }
}

#[test]
fn a_rebuild_says_what_a_build_says() {
    let all = "@id(\"all\") permit(principal, action, resource);";
    let counts = "@id(\"n\") forbid(principal, action, resource) when { context.session.toolsUsed[\"notes:add\"] > 3 };";
    let by_policy = "@id(\"m\") forbid(principal, action, resource) when { context.member.policiesAllowCounts[\"all\"] > 3 };";
    let zone = "@id(\"z\") forbid(principal, action, resource) when { context.time.zones[\"Asia/Tokyo\"].hour > 3 };";
    let no_zones = "@id(\"e\") forbid(principal, action, resource) when { context.time.zones == {} };";
    let whole = "@id(\"w\") forbid(principal, action, resource) when { context.session == context.member };";
    let odd = "@id(\"o\") @colour(\"red\") permit(principal, action, resource);";
    let joined = |parts: &[&str]| parts.join("\n\n");
    row(&[
        all,
        &joined(&[counts, all]),
        // A reload keeps what the validator and the reader remarked.
        &joined(&[counts, odd, all]),
        &joined(&["// moved", odd, counts, all]),
        // The counter of a policy that is gone is no longer declared.
        &joined(&[all, by_policy]),
        by_policy,
        &joined(&[all, by_policy, counts]),
        // Zones that another policy names change the type of all zones together.
        no_zones,
        &joined(&[no_zones, zone]),
        zone,
        &joined(&[whole, counts, all]),
        &joined(&[whole, all]),
        &joined(&[all, all]),
        "",
    ]);
}

#[test]
fn what_an_edit_leaves_as_it_was_is_shared_and_nothing_else() {
    let policies = |name: &str, action: &str, condition: &str| {
        let guard = format!(
            r#"@id("{name}") forbid(principal, action == {action}, resource) when {{ {condition} }};"#
        );
        sources(&format!("@id(\"all\") permit(principal, action, resource);\n{guard}"))
    };
    let add = r#"NotesMCP::Action::"add""#;
    let pay = r#"DepotMCP::Action::"pay""#;
    let first = Bundle::build(&policies("guard", add, "true")).unwrap();
    // What becomes of the edit: whether the index is the same one, and the counters.
    for (name, action, condition, shared) in [
        ("guard", add, "context.time.hour > 30", (true, true)),
        ("guard", pay, "true", (false, true)),
        ("other", add, "true", (true, false)),
        ("other", pay, "context.time.hour > 30", (false, false)),
    ] {
        let edited = policies(name, action, condition);
        let again = Bundle::rebuild(&edited, &first).unwrap();
        let same = (
            Arc::ptr_eq(&again.index, &first.index),
            Arc::ptr_eq(&again.world.counters, &first.world.counters),
        );
        assert_eq!(same, shared, "{name} {action} {condition}");
        let anew = Bundle::build(&edited).unwrap();
        assert_eq!((decisions(&anew), &anew.world.counters), (decisions(&again), &again.world.counters));
    }
    // One that is taken out of force leaves the index, and is counted all the same.
    let shadowed = policies("guard", add, "true");
    let text = shadowed.policies[0].text.replace("@id(\"guard\")", "@id(\"guard\") @mode(\"shadow\")");
    let again = Bundle::rebuild(&sources(&text), &first).unwrap();
    assert!(!Arc::ptr_eq(&again.index, &first.index));
    assert!(Arc::ptr_eq(&again.world.counters, &first.world.counters));
    assert!(decisions(&again).iter().all(|decision| decision.allowed));
}

#[test]
fn other_connectors_are_another_ground() {
    let one = sources("@id(\"a\") forbid(principal, action == NotesMCP::Action::\"add\", resource);");
    let bundle = Bundle::build(&one).unwrap();
    let none = Arc::new(crate::connector::Connectors::read(&[]).unwrap());
    let faults = Bundle::rebuild(&Sources { connectors: none, ..one.clone() }, &bundle).unwrap_err();
    assert!(faults.iter().any(|fault| fault.message.contains("NotesMCP")), "{faults:?}");
    assert!(Bundle::rebuild(&one, &bundle).is_ok());
}

#[test]
fn files_may_be_cut_and_joined() {
    let texts: Vec<String> =
        (0..9).map(|n| format!("// {n}\n@id(\"p{n}\") permit(principal, action, resource);\n")).collect();
    let of = |files: Vec<SourceFile>| Sources {
        show: Default::default(),
        policies: files,
        cases: None,
        connectors: connectors(),
    };
    let each: Vec<SourceFile> =
        (0..).zip(&texts).map(|(n, text)| SourceFile::new(&format!("{n}.cedar"), text)).collect();
    let apart = Bundle::build(&of(each)).unwrap();
    let together = of(vec![SourceFile::new("all.cedar", &texts.concat())]);
    let joined = Bundle::rebuild(&together, &apart).unwrap();
    let lines: Vec<u32> = joined.policies().iter().map(|info| info.line).collect();
    assert_eq!(lines, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
    assert!(joined.policies().iter().all(|info| &*info.file == "all.cedar"));
}

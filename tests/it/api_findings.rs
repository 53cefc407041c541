//! What a preview over the REST API finds in a draft beside what the gate knows: whom it names, and what a
//! solver says of it.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Gate, GateOptions, People, each};
use crate::prove::solver;

async fn start(config: &str) -> (Gate, People) {
    let options = GateOptions::new(vec![]).with_config(config).with_policy("invariants.toml", "");
    let gate = Gate::start(options).await;
    let people = People::of(&gate, &["wicket"]).await;
    (gate, people)
}

/// The draft with these fields, previewed: the codes and the sentences of what was found.
async fn found(people: &People, fields: Value) -> (Vec<String>, Vec<String>) {
    let mut draft = json!({"name": "Draft", "service": "wicket", "effect": "forbid", "tools": ["whoami"]});
    for (name, value) in fields.as_object().unwrap() {
        draft[name] = value.clone();
    }
    draft.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let preview = people.owner.post(&people.path("/policies/preview"), draft).await.expect(200);
    (each(&preview["findings"], "code"), each(&preview["findings"], "says"))
}

#[tokio::test]
async fn whom_a_draft_names_is_looked_up_among_the_agents_groups_and_members() {
    let (_gate, people) = start("").await;
    for group in ["ops", "nobody-yet"] {
        people.owner.post(&people.path("/groups"), json!({"name": group})).await.expect(201);
    }
    let places = people.path(&format!("/groups/ops/members/{}", people.member_id));
    people.owner.send(Method::PUT, &places, None, &[]).await.expect(204);
    // Another agent's people are strangers here, whatever they are there.
    let other = people.owner.post("/api/agents", json!({"name": "other"})).await.expect(201);
    let elsewhere = format!("/api/agents/{}/groups", other["id"].as_str().unwrap());
    people.owner.post(&elsewhere, json!({"name": "crew"})).await.expect(201);
    let stranger = other["membership"]["id"].as_str().unwrap();
    let groups = |names: &[&str]| json!({"principal": {"type": "groups", "groups": names}});
    let members = |ids: &[&str]| json!({"principal": {"type": "specific_members", "userIds": ids}});
    for (fields, expected) in [
        (json!({}), &[][..]),
        (groups(&["ops"]), &[]),
        (groups(&["nobody-yet", "ops"]), &[("empty_group", "`nobody-yet`")]),
        (groups(&["crew", "ops"]), &[("unknown_group", "`crew`")]),
        (groups(&["crew", "nobody-yet"]), &[("unknown_group", "`crew`"), ("empty_group", "`nobody-yet`")]),
        // Who waits to be approved is a member.
        (members(&[&people.member_id, &people.pending_id]), &[]),
        (members(&[&people.member_id, stranger]), &[("unknown_member", stranger)]),
    ] {
        let (codes, says) = found(&people, fields.clone()).await;
        let (expected, named): (Vec<&str>, Vec<&str>) = expected.iter().copied().unzip();
        assert_eq!(codes, expected, "{fields} {says:?}");
        assert!(says.iter().zip(named).all(|(says, name)| says.contains(name)), "{says:?}");
    }
}

/// Conditions that contradict each other by what only the solver knows: hours and minutes of two zones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solver_that_is_configured_says_what_can_never_match_and_what_changes_nothing() {
    if !solver("preview-idle") {
        return;
    }
    let never = json!({"effect": null, "service": null, "tools": null, "cedar": "forbid (principal, action == WicketMCP::Action::\"whoami\", resource)\n\
        when { context.session.denials < 3 && context.session.denials + context.member.denials < 2 && context.member.denials >= 2 };"});
    let nothing = json!({"effect": null, "service": null, "tools": null, "cedar": "permit (principal, action == WicketMCP::Action::\"whoami\", resource)\n\
        when { context.session.denials < 3 };"});
    let (_gate, people) = start("[policies]\nprove = \"reload\"\n").await;
    let (codes, says) = found(&people, never.clone()).await;
    assert_eq!(codes, ["never_matches"], "{says:?}");
    assert!(says[0].starts_with("this policy can never match: "), "{says:?}");
    let (codes, says) = found(&people, nothing).await;
    assert_eq!(codes, ["implied"], "{says:?}");
    // What makes a difference, and what another policy's scope says already, has no such word.
    assert_eq!(found(&people, json!({})).await.0, [""; 0]);
    let (codes, says) = found(&people, json!({"effect": "permit"})).await;
    assert_eq!(codes, ["implied"], "{says:?}");
    assert!(says[0].contains("for everybody and on everything"), "{says:?}");
    // Where none is configured none is asked.
    let (_gate, people) = start("").await;
    assert_eq!(found(&people, never).await.0, [""; 0]);
}

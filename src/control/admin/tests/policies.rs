//! Stored policies through `Admin`: what loads is stored and nothing else, each change is recorded and is a
//! version.

use serde_json::json;

use super::*;
use crate::control::policies::{PolicyDraft, PolicyView};
use crate::model::{Agent, PolicyKey, PolicyMode};

fn draft(value: serde_json::Value) -> Box<PolicyDraft> {
    Box::new(serde_json::from_value(value).unwrap())
}

fn forbid(name: &str) -> serde_json::Value {
    json!({"name": name, "service": "wicket", "effect": "forbid", "tools": ["whoami"], "denyMessage": "no"})
}

impl Bench {
    async fn agent_of(&self, name: &str, trust: TrustMode) -> Agent {
        let request = AdminRequest::AgentCreate {
            name: name.into(),
            trust,
            services: [ServiceKey::parse("wicket").unwrap()].into(),
            rate: None,
        };
        match self.ask(request).await.unwrap() {
            AdminReply::Agent(view) => view.agent,
            other => panic!("{other:?}"),
        }
    }

    async fn policy(&self, request: AdminRequest) -> Result<PolicyView, AdminFault> {
        match self.ask(request).await? {
            AdminReply::Policy(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    async fn store_policy(&self, agent: &str, value: serde_json::Value) -> Result<PolicyView, AdminFault> {
        self.policy(AdminRequest::PolicyCreate { agent: agent.into(), draft: draft(value) }).await
    }
}

fn fields(fault: &AdminFault) -> Vec<&str> {
    fault.fields.iter().map(|field| field.field.as_str()).collect()
}

#[tokio::test]
async fn a_policy_lives_from_its_making_to_its_end_and_each_step_is_recorded_twice() {
    let bench = bench().await;
    let agent = bench.agent_of("a", TrustMode::Trusted).await;
    let name = || "a".to_owned();
    let made = bench.store_policy("a", forbid("No Whoami")).await.unwrap();
    assert_eq!((made.policy_key.as_str(), made.version, made.enabled), ("no-whoami", 1, true));
    assert!(
        made.compiled.contains("@id(\"no-whoami\")") && made.compiled.contains("whoami"),
        "{}",
        made.compiled
    );
    let twin = bench.store_policy("a", forbid("No whoami")).await.unwrap();
    assert_eq!(twin.policy_key.as_str(), "no-whoami-2", "the key is its own");
    let key = || "no-whoami".to_owned();
    let mut changed = forbid("Renamed");
    (changed["version"], changed["comment"]) = (json!(1), json!("as asked"));
    let update =
        || AdminRequest::PolicyUpdate { agent: name(), policy: key(), draft: draft(changed.clone()) };
    let view = bench.policy(update()).await.unwrap();
    assert_eq!((view.policy_key.as_str(), view.version, view.name.as_str()), ("no-whoami", 2, "Renamed"));
    let late = bench.policy(update()).await.unwrap_err();
    assert_eq!(late.kind, FaultKind::Outdated, "{late}");
    let toggle = |enabled| AdminRequest::PolicyToggle { agent: name(), policy: key(), enabled };
    assert!(!bench.policy(toggle(false)).await.unwrap().enabled);
    let back = AdminRequest::PolicyRollback { agent: name(), policy: key(), version: 1 };
    let back = bench.policy(back).await.unwrap();
    assert_eq!((back.version, back.name.as_str(), back.enabled), (4, "No Whoami", false));
    let missing = AdminRequest::PolicyRollback { agent: name(), policy: key(), version: 9 };
    assert_eq!(bench.policy(missing).await.unwrap_err().kind, FaultKind::NotFound);
    let AdminReply::PolicyVersions(found) =
        bench.ask(AdminRequest::PolicyVersions { agent: name(), policy: key() }).await.unwrap()
    else {
        panic!()
    };
    let changed: Vec<_> = found.versions.iter().map(|version| version.changed_fields.join(" ")).collect();
    assert_eq!(changed, ["name", "enabled", "name", ""]);
    assert_eq!(found.versions[0].comment.as_deref(), Some("back to version 1"));
    assert!(
        found.versions[2].diff.contains("-@name(\"No Whoami\")\n+@name(\"Renamed\")"),
        "{}",
        found.versions[2].diff
    );
    assert!(found.versions[1].diff.is_empty());
    bench.ask(AdminRequest::PolicyDelete { agent: name(), policy: key() }).await.unwrap();
    let gone = bench.policy(AdminRequest::PolicyShow { agent: name(), policy: key() }).await.unwrap_err();
    assert!(gone.help.as_deref().unwrap().contains("no-whoami-2"), "{gone}");
    let own: Vec<_> = bench.changes().into_iter().filter(|(what, _)| what.starts_with("policy.")).collect();
    let expected: Vec<_> = [
        "policy.create",
        "policy.create",
        "policy.update",
        "policy.toggle",
        "policy.rollback",
        "policy.delete",
    ]
    .into_iter()
    .flat_map(both)
    .collect();
    assert_eq!(own, expected, "what was refused was not even intended");
    let toggled = bench.entries().into_iter().find(|entry| entry["what"] == "policy.toggle").unwrap();
    assert_eq!((&toggled["before"]["mode"], &toggled["after"]["mode"]), (&json!("enforced"), &json!("off")));
    assert_eq!(toggled["agentId"], json!(agent.id));
}

#[tokio::test]
async fn nothing_is_stored_that_does_not_load() {
    let bench = bench().await;
    bench.agent_of("a", TrustMode::Trusted).await;
    let mut unknown = forbid("x");
    unknown["tools"] = json!(["no_such_tool", "nor_this"]);
    unknown["timeConstraints"] = json!({"hoursFrom": 40});
    let fault = bench.store_policy("a", unknown).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected);
    // All at once, each with its place.
    assert_eq!(fields(&fault), ["tools", "tools", "timeConstraints.hoursFrom"], "{fault}");
    for (value, expected) in [
        (json!({"name": "x"}), &["service", "effect"][..]),
        (json!({"name": " ", "cedar": "permit (principal, action, resource);"}), &["name"]),
        (json!({"name": "x", "cedar": "permit (principal, action, resource)"}), &["cedar"]),
        (
            json!({"name": "x", "cedar": "permit (principal, action, resource) when { context.nothing };"}),
            &["cedar"],
        ),
        (
            json!({"name": "x", "cedar": "permit (principal, action, resource);", "denyMessage": "no"}),
            &["denyMessage"],
        ),
        (json!({"name": "x", "cedar": "@id(\"y\") permit (principal, action, resource);"}), &["cedar"]),
        (
            json!({"name": "x", "cedar": "forbid (principal, action, resource);", "denyMessage": "a\nb"}),
            &["denyMessage"],
        ),
        (json!({"name": "x", "cedar": "forbid (principal, action, resource);", "version": 1}), &["version"]),
        (
            json!({"name": "x", "cedar": "forbid (principal, action, resource);", "comment": "c".repeat(501)}),
            &["comment"],
        ),
    ] {
        let fault = bench.store_policy("a", value.clone()).await.unwrap_err();
        let mut named = fields(&fault);
        named.dedup();
        assert_eq!(named, expected, "{value}: {fault}");
    }
    let cedar = "permit (principal, action, resource) when { context.nothing };";
    let fault = bench.store_policy("a", json!({"name": "x", "cedar": cedar})).await.unwrap_err();
    let column = cedar.find("context").unwrap() + 1;
    assert!(fault.fields[0].detail.starts_with(&format!("line 1, column {column}: ")), "{fault}");
    // Off, or in shadow, is no excuse: it is switched on without being read again.
    let mut shadow =
        json!({"name": "x", "cedar": "permit (principal, action, resource) when { context.nothing };"});
    (shadow["enabled"], shadow["mode"]) = (json!(false), json!("shadow"));
    assert_eq!(bench.store_policy("a", shadow).await.unwrap_err().kind, FaultKind::Rejected);
    assert!(bench.changes().iter().all(|(what, _)| !what.starts_with("policy.")));
    // A policy that another one counts stays as long as that does.
    bench.store_policy("a", forbid("Counted")).await.unwrap();
    let mut counts = forbid("Counting");
    counts["sessionConditions"] =
        json!([{"kind": "policyDenyCount", "policyKey": "counted", "op": ">=", "value": 3}]);
    bench.store_policy("a", counts).await.unwrap();
    let delete = || AdminRequest::PolicyDelete { agent: "a".into(), policy: "counted".into() };
    let fault = bench.ask(delete()).await.unwrap_err();
    assert!(fault.kind == FaultKind::Conflict && fault.message.contains("`counting`"), "{fault}");
    bench.ask(AdminRequest::PolicyDelete { agent: "a".into(), policy: "counting".into() }).await.unwrap();
    bench.ask(delete()).await.unwrap();
}

#[tokio::test]
async fn cedar_is_stored_as_it_was_given_and_says_what_it_is() {
    let bench = bench().await;
    bench.agent_of("a", TrustMode::Trusted).await;
    let cedar = "// nobody\nforbid (principal, action == WicketMCP::Action::\"whoami\", resource);\n";
    let made = bench
        .store_policy("a", json!({"name": "Raw \"one\"", "cedar": cedar, "denyMessage": "no: \"x\""}))
        .await;
    let made = made.unwrap();
    assert_eq!((made.cedar.as_deref(), made.deny_message.as_deref()), (Some(cedar), Some("no: \"x\"")));
    assert_eq!(made.service.as_ref().map(ServiceKey::as_str), Some("wicket"));
    assert_eq!(made.effect, Some(crate::model::PolicyEffect::Forbid));
    let mode = |view: &PolicyView| crate::control::policies::Applied::mode(view.mode);
    assert_eq!(mode(&made), PolicyMode::Enforced);
    // What is shown can be given back.
    let mut again = serde_json::to_value(&made).unwrap();
    for name in [
        "id",
        "policyKey",
        "triggerCount",
        "lastTriggered",
        "createdAt",
        "updatedAt",
        "updatedBy",
        "compiled",
    ] {
        again.as_object_mut().unwrap().remove(name);
    }
    let update =
        AdminRequest::PolicyUpdate { agent: "a".into(), policy: "raw-one".into(), draft: draft(again) };
    let same = bench.policy(update).await.unwrap();
    assert_eq!((same.version, &same.cedar, &same.deny_message), (2, &made.cedar, &made.deny_message));
    assert_eq!(same.policy_key, PolicyKey::parse("raw-one").unwrap());
}

#[tokio::test]
async fn a_policy_of_an_untrusted_agent_is_one_members_own() {
    let bench = bench().await;
    let agent = bench.agent_of("u", TrustMode::Untrusted).await;
    bench.agent_of("t", TrustMode::Trusted).await;
    bench.add("u", "mona", MemberStatus::Approved).await;
    bench.add("t", "tom", MemberStatus::Approved).await;
    let id = async |agent: &Agent, name: &str| {
        bench.admin.store().members().find(agent.id, name).await.unwrap().id
    };
    let mona = id(&agent, "mona").await;
    let of = |value: serde_json::Value, member: serde_json::Value| {
        let mut value = value;
        value["memberId"] = member;
        value
    };
    let trusted = bench.admin.store().agents().get_by_name("t").await.unwrap();
    let tom = id(&trusted, "tom").await;
    for (agent, value) in
        [("u", forbid("x")), ("u", of(forbid("x"), json!(tom))), ("t", of(forbid("x"), json!(tom)))]
    {
        let fault = bench.store_policy(agent, value).await.unwrap_err();
        assert_eq!(fields(&fault), ["memberId"], "{fault}");
    }
    let made = bench.store_policy("u", of(forbid("x"), json!(mona))).await.unwrap();
    assert!(made.compiled.contains(&format!("principal == Wicket::Member::\"{mona}\"")), "{}", made.compiled);
    let raw = json!({"name": "r", "cedar": "permit (principal, action, resource);"});
    let fault = bench.store_policy("u", of(raw, json!(mona))).await.unwrap_err();
    assert_eq!(fields(&fault), ["cedar"], "{fault}");
    let scoped = format!("permit (principal == Wicket::Member::\"{mona}\", action, resource);");
    bench.store_policy("u", of(json!({"name": "r", "cedar": scoped}), json!(mona))).await.unwrap();
    // Whose it is stays.
    let update = AdminRequest::PolicyUpdate {
        agent: "u".into(),
        policy: "x".into(),
        draft: draft(of(forbid("x"), json!(tom))),
    };
    assert_eq!(fields(&bench.policy(update).await.unwrap_err()), ["memberId"]);
}

/// Keys of the agent's policies, and what each permits of whom, in order.
async fn shelf(bench: &Bench, agent: &str) -> Vec<String> {
    let request = AdminRequest::PolicyList { agent: agent.into(), search: None };
    match bench.ask(request).await.unwrap() {
        AdminReply::Policies(found) => {
            found.policies.into_iter().map(|view| view.policy_key.to_string()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connector_comes_with_its_baseline_unless_somebody_decided() {
    let bench = bench().await;
    bench.agent_of("t", TrustMode::Trusted).await;
    assert_eq!(shelf(&bench, "t").await, ["baseline-wicket-read-tools"]);
    let show = |policy: &str| AdminRequest::PolicyShow { agent: "t".into(), policy: policy.into() };
    let view = bench.policy(show("baseline-wicket-read-tools")).await.unwrap();
    assert!(view.compiled.contains("action in WicketMCP::Action::\"read\""), "{}", view.compiled);
    assert_eq!((view.version, view.enabled, view.updated_by.as_str()), (1, true, "uid:1000"));
    // It is tried like any other, and loads.
    assert_eq!(bench.store_policy("t", forbid("Beside it")).await.unwrap().version, 1);
    let services = |services: &[&str]| AdminRequest::AgentServices {
        agent: "t".into(),
        services: ServicesChange::Set(services.iter().map(|one| ServiceKey::parse(one).unwrap()).collect()),
    };
    // Off, changed, or another for the connector: somebody decided.
    let off = AdminRequest::PolicyToggle {
        agent: "t".into(),
        policy: "baseline-wicket-read-tools".into(),
        enabled: false,
    };
    bench.policy(off).await.unwrap();
    for set in [&[][..], &["wicket"]] {
        bench.ask(services(set)).await.unwrap();
    }
    assert!(!bench.policy(show("baseline-wicket-read-tools")).await.unwrap().enabled);
    let delete = |policy: &str| AdminRequest::PolicyDelete { agent: "t".into(), policy: policy.into() };
    bench.ask(delete("baseline-wicket-read-tools")).await.unwrap();
    for set in [&[][..], &["wicket"]] {
        bench.ask(services(set)).await.unwrap();
    }
    assert_eq!(shelf(&bench, "t").await, ["beside-it"], "the connector has a policy of its own");
    bench.ask(delete("beside-it")).await.unwrap();
    bench.ask(services(&["wicket"])).await.unwrap();
    assert!(shelf(&bench, "t").await.is_empty(), "it was enabled already");
    for set in [&[][..], &["wicket"]] {
        bench.ask(services(set)).await.unwrap();
    }
    assert_eq!(shelf(&bench, "t").await, ["baseline-wicket-read-tools"]);
}

#[tokio::test]
async fn under_an_untrusted_agent_each_approved_member_has_its_own_baseline() {
    let bench = bench().await;
    let agent = bench.agent_of("u", TrustMode::Untrusted).await;
    assert!(shelf(&bench, "u").await.is_empty(), "nobody is there to have one");
    bench.add("u", "ann", MemberStatus::Approved).await;
    bench.add("u", "ben", MemberStatus::Pending).await;
    assert_eq!(shelf(&bench, "u").await.len(), 1);
    let status = |status| AdminRequest::MemberStatus { agent: "u".into(), member: "ben".into(), status };
    bench.ask(status(MemberStatus::Approved)).await.unwrap();
    bench.ask(status(MemberStatus::Rejected)).await.unwrap();
    bench.ask(status(MemberStatus::Approved)).await.unwrap();
    let rows = bench.admin.store().policies().of_agent(agent.id).await.unwrap();
    let members = bench.admin.store().members().list(agent.id).await.unwrap();
    let whose: Vec<_> = rows.iter().map(|row| row.member.unwrap()).collect();
    assert_eq!(whose, [members[0].id, members[1].id]);
    for row in &rows {
        assert!(row.cedar.contains(&format!("principal == Wicket::Member::\"{}\"", row.member.unwrap())));
        bench
            .ask(AdminRequest::PolicyDelete { agent: "u".into(), policy: row.key.to_string() })
            .await
            .unwrap();
    }
    // A connector that is enabled later, for both at once.
    for change in [ServicesChange::Set([].into()), ServicesChange::Set(agent.services.clone())] {
        bench.ask(AdminRequest::AgentServices { agent: "u".into(), services: change }).await.unwrap();
    }
    assert_eq!(shelf(&bench, "u").await.len(), 2);
    // They are gone with the member.
    bench.ask(AdminRequest::MemberRemove { agent: "u".into(), member: "ann".into() }).await.unwrap();
    assert_eq!(shelf(&bench, "u").await.len(), 1);
}

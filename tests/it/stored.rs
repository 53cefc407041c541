//! Stored policies decide calls: each agent by its own, each member of an untrusted agent by its own, from the
//! next call on after the change was answered, and also where what they speak of is gone.

use std::time::Duration;

use serde_json::{Value, json};
use wicket::model::{
    AgentId, MemberId, PolicyEffect, PolicyId, PolicyMode, PolicyText, StructuredPolicy, Timestamp,
};
use wicket::store::{PolicyRow, Store};

use crate::harness::{Client, Connector, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// A gate, its store beside it, and what its upstream received.
struct Scene {
    gate: Gate,
    store: Store,
    upstream: Recorder,
    _dir: tempfile::TempDir,
}

fn form(effect: &str, tool: &str, more: Value) -> PolicyText {
    let mut form = json!({ "name": format!("{effect} {tool}"), "service": "recorder", "effect": effect, "tools": [tool] });
    form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let form: StructuredPolicy = serde_json::from_value(form).unwrap();
    PolicyText::Structured(Box::new(form))
}

fn cedar(text: &str) -> PolicyText {
    PolicyText::Cedar(text.to_owned())
}

impl Scene {
    async fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
        let connector = Connector::http("recorder", &upstream.url(), definitions());
        let gate = Gate::start(GateOptions::new(vec![connector])).await;
        let file = gate.data_dir().join("wicket.db");
        let store = Store::open(&format!("sqlite:{}", file.display())).await.unwrap();
        Self { gate, store, upstream, _dir: dir }
    }

    async fn agent(&self, name: &str) -> AgentId {
        let shown = self.gate.admin(json!({ "do": "agent_show", "agent": name })).await;
        shown["id"].as_str().unwrap().parse().unwrap()
    }

    async fn member(&self, agent: &str, name: &str) -> MemberId {
        let listed = self.gate.admin(json!({ "do": "member_list", "agent": agent })).await;
        let found = listed.as_array().unwrap().iter().find(|member| member["name"] == name).unwrap();
        found["id"].as_str().unwrap().parse().unwrap()
    }

    /// Stores a policy; what follows is answered once it is in force.
    async fn save(&self, agent: &str, key: &str, member: Option<MemberId>, text: PolicyText) -> PolicyRow {
        let now = Timestamp::now();
        let (service, effect) = match &text {
            PolicyText::Structured(form) => (Some(form.service.clone()), form.effect),
            PolicyText::Cedar(text) => {
                let forbids = text.starts_with("forbid");
                (None, if forbids { PolicyEffect::Forbid } else { PolicyEffect::Permit })
            }
        };
        let row = PolicyRow {
            id: PolicyId::mint(now, rand(key)),
            agent: self.agent(agent).await,
            member,
            key: key.parse().unwrap(),
            name: key.to_owned(),
            service,
            effect,
            enabled: true,
            mode: PolicyMode::Enforced,
            version: 1,
            text,
            cedar: String::new(),
            created_at: now,
            updated_at: now,
            updated_by: "test".to_owned(),
        };
        self.store.policies().create(&row, None).await.unwrap();
        self.answered().await;
        row
    }

    /// Deletes all that the agent stores.
    async fn clear(&self, agent: &str) {
        let policies = self.store.policies();
        for row in policies.of_agent(self.agent(agent).await).await.unwrap() {
            policies.delete(row.agent, row.id, row.version).await.unwrap();
        }
        self.answered().await;
    }

    async fn change(&self, row: &PolicyRow, change: impl FnOnce(&mut PolicyRow)) -> PolicyRow {
        let mut next = PolicyRow { version: row.version + 1, ..row.clone() };
        change(&mut next);
        self.store.policies().update(&next, None).await.unwrap();
        self.answered().await;
        next
    }

    /// Has the gate answer a change of the directory: by then all of it is in force.
    async fn answered(&self) {
        let name = format!("g{}", Timestamp::now().as_millis());
        drop(self.gate.ask(json!({ "do": "group_create", "agent": "tester", "group": name })).await);
    }

    async fn client(&self, agent: &str, member: &str) -> Client {
        let key = self.gate.new_member(agent, member, &["recorder".to_owned(), "wicket".to_owned()]).await;
        Client::new(self.gate.agents(), &key)
    }

    /// The newest denial or intent in the journal.
    fn last_entry(&self) -> Value {
        let journal = self.gate.journal();
        let of_calls = |entry: &&Value| matches!(entry["type"].as_str(), Some("intent" | "denial"));
        journal.entries.iter().rev().find(of_calls).unwrap().clone()
    }
}

fn rand(key: &str) -> [u8; 10] {
    let mut bytes = [0u8; 10];
    for (place, byte) in key.bytes().enumerate() {
        bytes[place % 10] ^= byte.rotate_left(u32::try_from(place / 10).unwrap());
    }
    bytes
}

/// Whether the call passed, and what the denial says.
async fn try_it(client: &Client, tool: &str) -> (bool, String) {
    let reply = client.call(&format!("recorder__{tool}"), json!({})).await;
    let said = reply.error().map(|error| error.data.to_string()).unwrap_or_default();
    (reply.succeeded(), said)
}

async fn passes(client: &Client, tool: &str) -> bool {
    try_it(client, tool).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_agent_is_decided_by_what_it_stores() {
    let scene = Scene::set().await;
    let (one, two) = (scene.client("one", "ann").await, scene.client("two", "bob").await);
    assert!(passes(&one, "echo").await && !passes(&one, "write_note").await);
    let permit = scene.save("one", "notes", None, form("permit", "write_note", json!({}))).await;
    let no_echo = json!({ "denyMessage": "echo is off" });
    let forbid = scene.save("one", "quiet", None, form("forbid", "echo", no_echo)).await;
    // The same key, for another agent.
    scene
        .save(
            "two",
            "notes",
            None,
            cedar("permit(principal, action == Recorder::Action::\"delete_thing\", resource);"),
        )
        .await;
    assert!(passes(&one, "write_note").await);
    let entry = scene.last_entry();
    let matched = json!([{ "key": "notes", "name": "permit write_note", "version": 1, "id": permit.id }]);
    assert_eq!(entry["matchedPolicies"], matched, "{entry}");
    assert!(try_it(&one, "echo").await.1.contains("echo is off"));
    assert!(passes(&two, "echo").await && passes(&two, "delete_thing").await);
    assert!(!passes(&two, "write_note").await && !passes(&one, "delete_thing").await);
    // Lists show what each may call.
    assert!(!one.tool_names().await.contains(&"recorder__echo".to_owned()));
    assert!(two.tool_names().await.contains(&"recorder__echo".to_owned()));
    // Switched off, it holds no more for the next call; a new version is recorded as such.
    let off = scene.change(&forbid, |row| row.enabled = false).await;
    assert!(passes(&one, "echo").await);
    scene.change(&off, |row| row.enabled = true).await;
    assert!(!passes(&one, "echo").await);
    assert_eq!(scene.last_entry()["matchedPolicies"][0]["version"], 3);
    let before = scene.upstream.calls().len();
    scene.change(&permit, |row| row.enabled = false).await;
    for _ in 0..5 {
        assert!(!passes(&one, "write_note").await);
    }
    assert_eq!(scene.upstream.calls().len(), before, "a permit that was switched off still opens");
    // The explanation of a made-up call is that of the agent's set.
    let question = json!({ "do": "explain", "question": { "agent": "one", "member": "ann", "tool": "recorder__echo", "arguments": {} } });
    let explained =
        scene.gate.ask(question).await.map_or_else(|fault| fault.to_string(), |value| value.to_string());
    assert!(explained.contains("quiet"), "{explained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_an_untrusted_agent_have_sets_of_their_own() {
    let scene = Scene::set().await;
    let services = ["recorder", "wicket"];
    scene
        .gate
        .admin(json!({ "do": "agent_create", "name": "guests", "trust": "untrusted", "services": services }))
        .await;
    let (ann, bob) = (scene.client("guests", "ann").await, scene.client("guests", "bob").await);
    // Members begin with what a service is seeded with.
    assert!(passes(&ann, "echo").await && !passes(&ann, "write_note").await);
    scene.clear("guests").await;
    let said = try_it(&ann, "echo").await;
    assert!(!said.0 && said.1.contains("no_policies_for_member"), "{said:?}");
    let of_ann = scene.member("guests", "ann").await;
    let own = scene.save("guests", "anns", Some(of_ann), form("permit", "write_note", json!({}))).await;
    assert!(passes(&ann, "write_note").await && passes(&ann, "echo").await, "her own, and the files");
    assert!(!passes(&bob, "write_note").await && !passes(&bob, "echo").await, "bob has none");
    assert!(bob.tool_names().await.is_empty());
    // What is hers, and yet speaks of all, is in force for nobody.
    scene.save("guests", "all", Some(of_ann), cedar("permit(principal, action, resource);")).await;
    assert!(!passes(&bob, "write_note").await && !passes(&ann, "delete_thing").await);
    let (_, page) = scene.gate.command(&["status"]).await;
    assert!(page.contains("`guests`") && page.contains("`all`"), "{page}");
    // Without an enforced one she is nobody again, at once.
    scene.change(&own, |row| row.enabled = false).await;
    assert!(!passes(&ann, "write_note").await && !passes(&ann, "echo").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_a_restart_keep_what_is_stored() {
    let mut scene = Scene::set().await;
    let key = scene.gate.key().to_owned();
    scene.save("tester", "quiet", None, form("forbid", "echo", json!({}))).await;
    let all = "@id(\"all\") permit(principal, action, resource);\n";
    scene.gate.write_policy("all.cedar", all);
    assert!(scene.gate.command(&["reload"]).await.0);
    let client = Client::new(scene.gate.agents(), &key);
    assert!(passes(&client, "write_note").await && !passes(&client, "echo").await);
    // A file that takes the key of a stored policy is refused, by the names of agent and policy.
    scene.gate.write_policy(
        "taken.cedar",
        "@id(\"quiet\") forbid(principal, action == Recorder::Action::\"count\", resource);\n",
    );
    let (fine, page) = scene.gate.command(&["reload"]).await;
    assert!(!fine && page.contains("`quiet`") && page.contains("`tester`"), "{page}");
    assert!(!passes(&client, "echo").await);
    scene.gate.remove_policy("taken.cedar");
    assert!(scene.gate.command(&["reload"]).await.0);
    scene.gate.stop().await;
    scene.gate.launch().await;
    let client = Client::new(scene.gate.agents(), &key);
    assert!(passes(&client, "write_note").await && !passes(&client, "echo").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbid_whose_tool_is_gone_forbids_its_service() {
    let scene = Scene::set().await;
    let client = scene.gate.client();
    scene.save("tester", "opens", None, form("permit", "write_note", json!({}))).await;
    assert!(passes(&client, "write_note").await);
    let gone = scene.save("tester", "gone", None, form("forbid", "no_such_tool", json!({}))).await;
    let said = try_it(&client, "echo").await;
    assert!(!said.0 && said.1.contains("no longer loads"), "{said:?}");
    assert!(client.call("wicket__whoami", json!({})).await.succeeded(), "another service");
    let (_, page) = scene.gate.command(&["status"]).await;
    assert!(page.contains("`gone`") && page.contains("no_such_tool"), "{page}");
    let lost = scene.change(&gone, |row| row.text = form("permit", "no_such_tool", json!({}))).await;
    assert!(passes(&client, "echo").await, "a permit that does not load opens nothing and closes nothing");
    scene.store.policies().delete(lost.agent, lost.id, lost.version).await.unwrap();
    scene.answered().await;
    let (_, page) = scene.gate.command(&["status"]).await;
    assert!(!page.contains("`gone`"), "{page}");
    // Nobody told the gate: it looks for itself.
    let row = scene.save("tester", "late", None, form("forbid", "count", json!({}))).await;
    scene.store.policies().delete(row.agent, row.id, row.version).await.unwrap();
    until("the gate to notice", Duration::from_secs(10), async || {
        let reply = client.call("recorder__count", json!({ "steps": 1, "gap_ms": 1 })).await;
        reply.succeeded().then_some(())
    })
    .await;
}

/// A policy in shadow mode changes nothing that anybody notices but who reads the audit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_recorded_and_decides_nothing() {
    let scene = Scene::set().await;
    let client = scene.gate.client();
    let shadow = "@id(\"no-echo\")\n@mode(\"shadow\")\n@denyMessage(\"echo is off\")\n\
                  forbid (principal, action == Recorder::Action::\"echo\", resource);\n";
    scene.gate.write_policy("shadow.cedar", shadow);
    let (fine, page) = scene.gate.command(&["reload"]).await;
    assert!(fine && page.contains("`no-echo` is in mode `shadow`"), "{page}");
    println!("{page}");
    let row = scene.save("tester", "notes", None, form("permit", "write_note", json!({}))).await;
    let row = scene.change(&row, |row| row.mode = PolicyMode::Shadow).await;
    assert!(passes(&client, "echo").await, "a shadow denied a call");
    let entry = scene.last_entry();
    let would = json!({ "decision": "DENY", "reason": "forbidden", "policies": [{ "key": "no-echo", "name": "no-echo", "version": 0 }] });
    assert_eq!((&entry["decision"], &entry["shadow"]), (&json!("ALLOW"), &would), "{entry}");
    assert!(!passes(&client, "write_note").await, "a shadow permitted a call");
    let entry = scene.last_entry();
    let by = json!([{ "key": "notes", "name": "permit write_note", "version": 2, "id": row.id }]);
    assert_eq!(
        entry["shadow"],
        json!({ "decision": "ALLOW", "reason": "permitted", "policies": by }),
        "{entry}"
    );
    println!("{}", entry["shadow"]);
    assert!(passes(&client, "count").await, "neither speaks of it");
    assert!(scene.last_entry().get("shadow").is_none());
    let names = client.tool_names().await;
    assert!(
        names.contains(&"recorder__echo".to_owned()) && !names.contains(&"recorder__write_note".to_owned())
    );
    for would in ["allow", "deny"] {
        let metric = format!("wicket_shadow_differences_total{{decision=\"{would}\"}}");
        assert_eq!(scene.gate.metric(&metric).await, Some(1), "{would}");
    }
    let page = until("the index to have it", Duration::from_secs(20), async || {
        let (fine, page) = scene.gate.command(&["audit", "query"]).await;
        (fine && page.contains("(shadow: DENY by no-echo)") && page.contains("(shadow: ALLOW by notes)"))
            .then_some(page)
    })
    .await;
    println!("{page}");
    // Enforced, it decides the next call, and is no difference any more.
    scene.change(&row, |row| row.mode = PolicyMode::Enforced).await;
    assert!(passes(&client, "write_note").await);
    assert!(scene.last_entry().get("shadow").is_none());
}

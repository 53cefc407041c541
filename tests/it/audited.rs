//! A gate whose calls several people may see differently: what the tests of the audit's routes share.
//!
//! Ann owns the trusted agent `Alpha`, of which bob is an approved member and carol a pending one; ben owns
//! the untrusted `Beta`, of which bob is a member too; eve has no part in anything.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use wicket::model::{
    Agent, AgentId, AgentStatus, EmailAddress, Member, MemberId, MemberStatus, Role, ServiceKey, Timestamp,
    TrustMode,
};
use wicket::store::Store;

use crate::harness::{Api, Client, Connector, Database, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const POLICIES: &str = r#"
    @id("block-bad") @name("Block bad nonces") @denyMessage("Not this one.")
    forbid(principal, action == Recorder::Action::"echo", resource)
    when { context has args.nonce && context.args.nonce == "bad" };
    @id("no-count") @denyMessage("stopped by no-count")
    forbid(principal, action == Recorder::Action::"count", resource);
"#;

/// The gate, its people and their clients.
pub struct World {
    pub gate: Gate,
    pub store: Store,
    pub ann: Api,
    pub ben: Api,
    pub bob: Api,
    pub carol: Api,
    pub eve: Api,
    pub alpha: AgentId,
    pub bob_of_alpha: MemberId,
    /// Bob's client of `Alpha`, and ann's own.
    pub calls: Client,
    pub calls_of_ann: Client,
    pub calls_of_beta: Client,
    _upstream: Recorder,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn begin() -> Self {
        Self::on(&Database::sqlite()).await
    }

    pub async fn on(database: &Database) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
        let connector = Connector::http("recorder", &upstream.url(), definitions());
        let options = GateOptions::new(vec![connector])
            .with_policy("own.cedar", POLICIES)
            .with_config(&database.config);
        let gate = Gate::start(options).await;
        let file = format!("sqlite:{}", gate.data_dir().join("wicket.db").display());
        let store = Store::open(database.url.as_deref().unwrap_or(&file)).await.unwrap();
        let [ann, ben, bob, carol, eve] =
            ["ann", "ben", "bob", "carol", "eve"].map(|name| format!("{name}@example.com"));
        let (ann_api, ben_api) = (gate.account(&ann).await, gate.account(&ben).await);
        let (bob_api, carol_api) = (gate.account(&bob).await, gate.account(&carol).await);
        let eve = gate.account(&eve).await;
        let alpha = agent(&store, 1, "Alpha", TrustMode::Trusted, &ann).await;
        let beta = agent(&store, 2, "Beta", TrustMode::Untrusted, &ben).await;
        member(&store, 3, alpha, &ann, Role::Owner, MemberStatus::Approved).await;
        let bob_of_alpha = member(&store, 4, alpha, &bob, Role::Member, MemberStatus::Approved).await;
        member(&store, 5, alpha, &carol, Role::Member, MemberStatus::Pending).await;
        member(&store, 6, beta, &bob, Role::Member, MemberStatus::Approved).await;
        let mut clients = Vec::new();
        for (agent, name) in [("Alpha", &bob), ("Alpha", &ann), ("Beta", &bob)] {
            let key = gate.admin(json!({ "do": "key_create", "agent": agent, "member": name })).await;
            clients.push(Client::new(gate.agents(), key["key"].as_str().unwrap()));
        }
        let mut clients = clients.into_iter();
        let mut next = || clients.next().unwrap();
        Self {
            gate,
            store,
            ann: ann_api,
            ben: ben_api,
            bob: bob_api,
            carol: carol_api,
            eve,
            alpha,
            bob_of_alpha,
            calls: next(),
            calls_of_ann: next(),
            calls_of_beta: next(),
            _upstream: upstream,
            _dir: dir,
        }
    }

    /// Bob calls `Alpha` three times allowed and twice denied, ann once, bob `Beta` once (denied: an untrusted
    /// agent's member has no policies yet); all of it is in the index when this returns.
    pub async fn some_calls(&self) {
        for nonce in ["one", "two", "=three"] {
            assert!(self.calls.call("recorder__echo", json!({ "nonce": nonce })).await.succeeded());
        }
        assert!(self.calls.call("recorder__echo", json!({ "nonce": "bad" })).await.error().is_some());
        assert!(self.calls.call("recorder__count", json!({})).await.error().is_some());
        assert!(self.calls_of_ann.call("recorder__echo", json!({ "nonce": "four" })).await.succeeded());
        assert!(
            self.calls_of_beta.call("recorder__echo", json!({ "nonce": "five" })).await.error().is_some()
        );
        until("the calls to be indexed", Duration::from_secs(20), async || {
            let page = self.ann.get("/api/audit?result=ALLOW").await.expect(200);
            let entries = page["entries"].as_array().unwrap();
            let ended = entries.iter().filter(|entry| entry["durationMs"].is_u64()).count();
            let of_ben = self.ben.get("/api/audit").await.expect(200);
            (ended == 4 && of_ben["total"] == 1).then_some(())
        })
        .await;
    }
}

/// The entries of a page.
pub fn entries(page: &Value) -> &Vec<Value> {
    page["entries"].as_array().unwrap()
}

fn seed(n: u8) -> [u8; 10] {
    [n; 10]
}

async fn agent(store: &Store, n: u8, name: &str, trust: TrustMode, owner: &str) -> AgentId {
    let owner = store.accounts().get_by_email(&EmailAddress::parse(owner).unwrap()).await.unwrap();
    let agent = Agent {
        id: AgentId::mint(Timestamp::now(), seed(n)),
        name: name.to_owned(),
        trust,
        status: AgentStatus::Active,
        services: BTreeSet::from([ServiceKey::parse("recorder").unwrap()]),
        rate: None,
        owner: Some(owner.id),
        tags: Vec::new(),
        created_at: Timestamp::now(),
    };
    store.agents().create(&agent).await.unwrap();
    agent.id
}

async fn member(
    store: &Store,
    n: u8,
    agent: AgentId,
    email: &str,
    role: Role,
    status: MemberStatus,
) -> MemberId {
    let account = store.accounts().get_by_email(&EmailAddress::parse(email).unwrap()).await.unwrap();
    let member = Member {
        id: MemberId::mint(Timestamp::now(), seed(n)),
        agent_id: agent,
        name: email.to_owned(),
        role,
        status,
        groups: BTreeSet::default(),
        account: Some(account.id),
        created_at: Timestamp::now(),
    };
    store.members().create(&member).await.unwrap();
    member.id
}

#[path = "tests/locks.rs"]
mod locks;
#[path = "tests/policies.rs"]
mod policies;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::audit::{Durability, EntryKind, Journal, JournalConfig};
use crate::control::Stopped;
use crate::control::reply::{AgentView, KeyView, MintedKey};
use crate::control::request::ServicesChange;
use crate::control::secrets::Secrets;
use crate::keys::MemberKey;
use crate::mcp::catalog::Definition;
use crate::model::{
    AgentStatus, ClientInfo, ConversationId, KeyId, MemberStatus, RateLimit, Role, ServiceKey, SessionId,
    SourceFile, TrustMode,
};
use crate::store::SessionRow;

const OPERATOR: Operator = Operator::Local { uid: 1000 };
const POLICY: &str = "@id(\"reads\")\npermit(principal, action in Wicket::Action::\"read\", resource);\n";

/// A stopped gate on real files, a real store and a real journal.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) admin: Arc<Admin>,
    stopped: Arc<Stopped>,
    journal_fails: Arc<AtomicBool>,
    served: Arc<parking_lot::Mutex<Vec<Definition>>>,
}

/// The bundle of what lies in these two directories, as the composition root builds it.
fn build(
    policies: &Path,
    connectors: &Path,
    instead: Vec<SourceFile>,
) -> Result<crate::policy::Bundle, Vec<crate::model::Diagnostic>> {
    let read = |dir: &Path| {
        let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        paths.map(|path| SourceFile::new(&path.display().to_string(), &text(&path))).collect::<Vec<_>>()
    };
    let mut connectors = read(connectors);
    connectors.retain(|file| instead.iter().all(|other| other.name != file.name));
    connectors.extend(instead);
    let connectors = Arc::new(crate::connector::Connectors::read(&connectors)?);
    crate::policy::Bundle::build(&crate::policy::Sources {
        show: Default::default(),
        policies: read(policies),
        cases: None,
        connectors,
    })
}

pub(crate) async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    for name in ["policies", "connectors", "data"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    std::fs::write(place("policies/base.cedar"), POLICY).unwrap();
    let store =
        Store::open(&format!("sqlite://{}?mode=rwc", place("data/wicket.db").display())).await.unwrap();
    let secrets = Secrets::open(&place("data"), None).unwrap();
    let journal_fails = Arc::new(AtomicBool::new(false));
    let served = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (policies, connectors) = (place("policies"), place("connectors"));
    let (node, config) = (store.node_id(), JournalConfig::in_data_dir(&place("data"), Durability::Process));
    let (signing, fails) = (parking_lot::Mutex::new(Some(secrets.signing)), Arc::clone(&journal_fails));
    let serves = Arc::clone(&served);
    let stopped = Arc::new(Stopped::new(
        store.clone(),
        place("data"),
        Box::new(move |instead| build(&policies, &connectors, instead)),
        Box::new(move || {
            if fails.load(Ordering::SeqCst) {
                return Err("no space left on device".to_owned());
            }
            let signing = signing.lock().take().ok_or("opened twice")?;
            Journal::open(config.clone(), node, signing, Timestamp::now())
                .map(|(journal, _)| journal)
                .map_err(|error| error.to_string())
        }),
        Box::new(move |_| {
            let definitions = serves.lock().clone();
            Box::pin(async move { Ok(definitions) })
        }),
    ));
    let places = Places {
        data_dir: place("data"),
        journal_dir: place("data").join("journal"),
        connectors_dir: place("connectors"),
        agents_url: "http://127.0.0.1:7400/mcp".into(),
        public_url: "http://127.0.0.1:7401".into(),
    };
    let admin = Arc::new(Admin::new(store, Arc::clone(&stopped) as _, secrets.pepper, places));
    Bench { dir, admin, stopped, journal_fails, served }
}

impl Bench {
    async fn ask(&self, request: AdminRequest) -> Result<AdminReply, AdminFault> {
        self.admin.perform(OPERATOR, request).await
    }

    async fn create(&self, name: &str) -> AgentView {
        let request = AdminRequest::AgentCreate {
            name: name.into(),
            trust: TrustMode::Trusted,
            services: [ServiceKey::parse("wicket").unwrap()].into(),
            rate: None,
        };
        match self.ask(request).await.unwrap() {
            AdminReply::Agent(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    async fn add(&self, agent: &str, name: &str, status: MemberStatus) {
        let (agent, name) = (agent.to_owned(), name.to_owned());
        self.ask(AdminRequest::MemberAdd { agent, name, role: Role::Member, status }).await.unwrap();
    }

    async fn mint(&self, agent: &str, member: &str, rotate: bool) -> Result<MintedKey, AdminFault> {
        let (agent, member) = (agent.to_owned(), member.to_owned());
        let request = if rotate {
            AdminRequest::KeyRotate { agent, member }
        } else {
            AdminRequest::KeyCreate { agent, member }
        };
        match self.ask(request).await? {
            AdminReply::Minted(minted) => Ok(*minted),
            other => panic!("{other:?}"),
        }
    }

    /// The administrative entries of the journal, as (what, phase).
    fn changes(&self) -> Vec<(String, String)> {
        self.entries()
            .iter()
            .map(|entry| (entry["what"].as_str().unwrap().into(), entry["phase"].as_str().unwrap().into()))
            .collect()
    }

    fn entries(&self) -> Vec<serde_json::Value> {
        let dir = self.dir.path().join("data/journal");
        if !dir.exists() {
            return Vec::new();
        }
        let mut tail =
            crate::audit::tail(&dir, 1_000, &|entry| entry.kind == EntryKind::Administrative).unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = tail.next_now().unwrap() {
            if entry.kind == EntryKind::Administrative {
                entries.push(entry.json().unwrap());
            }
        }
        entries
    }
}

fn both(what: &str) -> [(String, String); 2] {
    [(what.into(), "intent".into()), (what.into(), "completed".into())]
}

#[tokio::test]
async fn an_agent_lives_from_its_making_to_its_end_and_each_step_is_recorded_twice() {
    let bench = bench().await;
    let agent = bench.create("reviewer").await;
    bench.add("reviewer", "ada@example.org", MemberStatus::Approved).await;
    let minted = bench.mint("reviewer", "ada@example.org", false).await.unwrap();
    bench
        .ask(AdminRequest::AgentStatus { agent: agent.agent.id.to_string(), status: AgentStatus::Disabled })
        .await
        .unwrap();
    let directory = bench.admin.store().directory().await.unwrap();
    assert_eq!(directory.agents[0].status, AgentStatus::Disabled);
    // The key that was shown is the key that the directory knows, under the gate's own pepper.
    let key = MemberKey::parse(minted.key.expose()).unwrap();
    let tag = key.tag(&bench.admin.pepper);
    assert_eq!(directory.keys.len(), 1);
    assert_eq!(directory.keys[0].index, tag.index());
    assert_eq!(directory.keys[0].tag, *tag.as_bytes());
    assert!(minted.key.expose().ends_with(&directory.keys[0].display_suffix));

    bench.ask(AdminRequest::AgentDelete { agent: "reviewer".into() }).await.unwrap();
    assert!(bench.admin.store().directory().await.unwrap().keys.is_empty());
    let expected: Vec<_> = ["agent.create", "member.add", "key.create", "agent.status", "agent.delete"]
        .into_iter()
        .flat_map(both)
        .collect();
    assert_eq!(bench.changes(), expected);
    let status = &bench.entries()[7];
    assert_eq!((&status["before"], &status["after"]), (&"active".into(), &"disabled".into()));
    assert_eq!(status["who"], "uid:1000");
    assert_eq!(status["change"], bench.entries()[6]["change"]);
}

#[tokio::test]
async fn a_key_is_nowhere_but_in_its_reply() {
    let bench = bench().await;
    bench.create("a").await;
    bench.add("a", "m", MemberStatus::Approved).await;
    let minted = bench.mint("a", "m", false).await.unwrap();
    bench.stopped.close().await;
    let secret = minted.key.expose();
    assert!(!format!("{minted:?}").contains(secret));
    let mut read = 0;
    let mut look = vec![bench.dir.path().to_owned()];
    while let Some(path) = look.pop() {
        if path.is_dir() {
            look.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        read += bytes.len();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{path:?}");
    }
    assert!(read > 10_000, "only {read} bytes were searched");
}

#[tokio::test]
async fn what_the_journal_cannot_record_is_not_done() {
    let bench = bench().await;
    bench.journal_fails.store(true, Ordering::SeqCst);
    let request = AdminRequest::AgentCreate {
        name: "a".into(),
        trust: TrustMode::Trusted,
        services: [].into(),
        rate: None,
    };
    let fault = bench.ask(request).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.contains("no space left on device"), "{fault}");
    assert!(fault.help.is_some());
    assert!(bench.admin.store().directory().await.unwrap().agents.is_empty());
    // Looking around needs no journal and leaves none behind.
    bench.ask(AdminRequest::AgentList {}).await.unwrap();
    bench.ask(AdminRequest::Status {}).await.unwrap();
    assert!(!bench.dir.path().join("data/journal").exists());
}

#[tokio::test]
async fn a_change_that_the_store_refuses_is_recorded_as_failed() {
    let bench = bench().await;
    bench.create("a").await;
    let group = crate::model::GroupName::parse("leads").unwrap();
    let request = AdminRequest::GroupCreate { agent: "a".into(), group };
    bench.ask(request.clone()).await.unwrap();
    let fault = bench.ask(request).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict, "{fault}");
    let changes = bench.changes();
    assert_eq!(changes[4], ("group.create".into(), "intent".into()));
    assert_eq!(changes[5], ("group.create".into(), "failed".into()));
}

#[tokio::test]
async fn one_key_at_a_time_for_approved_members_only() {
    let bench = bench().await;
    bench.create("a").await;
    bench.add("a", "m", MemberStatus::Pending).await;
    let fault = bench.mint("a", "m", false).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict);
    assert!(fault.help.unwrap().contains("wicket member approve 'a' 'm'"));
    let (agent, member) = ("a".to_owned(), "m".to_owned());
    bench.ask(AdminRequest::MemberStatus { agent, member, status: MemberStatus::Approved }).await.unwrap();
    let first = bench.mint("a", "m", false).await.unwrap();
    assert!(bench.mint("a", "m", false).await.unwrap_err().help.unwrap().contains("wicket key rotate"));
    let second = bench.mint("a", "m", true).await.unwrap();
    assert_eq!(second.revoked, [first.record.id]);
    assert_ne!(second.key, first.key);
    let AdminReply::Keys(keys) =
        bench.ask(AdminRequest::KeyList { agent: "a".into(), member: None }).await.unwrap()
    else {
        panic!()
    };
    let works: Vec<KeyId> = keys.iter().filter(|key| key.revoked_at.is_none()).map(|key| key.id).collect();
    assert_eq!((keys.len(), works), (2, vec![second.record.id]));
    let AdminReply::Key(KeyView { revoked_at: Some(_), .. }) =
        bench.ask(AdminRequest::KeyRevoke { key: second.record.id }).await.unwrap()
    else {
        panic!()
    };
    assert!(bench.admin.store().directory().await.unwrap().keys.is_empty());
}

#[tokio::test]
async fn a_keys_rate_is_set_shown_kept_by_its_rotation_and_cleared() {
    let bench = bench().await;
    bench.create("a").await;
    bench.add("a", "m", MemberStatus::Approved).await;
    let key = bench.mint("a", "m", false).await.unwrap().record.id;
    let shown = async |key| match bench.ask(AdminRequest::KeyShow { key }).await.unwrap() {
        AdminReply::Key(view) => view.rate,
        other => panic!("{other:?}"),
    };
    let rate = RateLimit { burst: 3, per_second: 0.5 };
    assert_eq!(shown(key).await, None);
    bench.ask(AdminRequest::KeyRate { key, rate: Some(rate) }).await.unwrap();
    assert_eq!(shown(key).await, Some(rate));
    let entry = bench.entries().pop().unwrap();
    assert_eq!((&entry["what"], &entry["target"]), (&"key.rate".into(), &key.to_string().into()));
    assert_eq!((&entry["before"], &entry["after"]["burst"]), (&serde_json::Value::Null, &3.into()));
    let AdminReply::Status(status) = bench.ask(AdminRequest::Status {}).await.unwrap() else { panic!() };
    assert_eq!((status.store.keys, status.store.keys_with_own_rate), (1, 1));

    let rotated = bench.mint("a", "m", true).await.unwrap().record;
    assert_eq!(rotated.rate, Some(rate), "a rotation lets nobody loose");
    let revoked = bench.ask(AdminRequest::KeyRate { key, rate: None }).await.unwrap_err();
    assert_eq!(revoked.kind, FaultKind::Conflict, "{revoked}");
    bench.ask(AdminRequest::KeyRate { key: rotated.id, rate: None }).await.unwrap();
    assert_eq!(shown(rotated.id).await, None);
    for bad in [(0, 1.0), (1, 0.0), (1, -1.0), (1, f64::NAN), (1, f64::INFINITY)] {
        let rate = Some(RateLimit { burst: bad.0, per_second: bad.1 });
        let fault = bench.ask(AdminRequest::KeyRate { key: rotated.id, rate }).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{bad:?}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_does() {
    let bench = bench().await;
    bench.create("reviewer").await;
    let unknown = KeyId::mint(Timestamp::now(), [9; 10]);
    let services = ServicesChange::Add([ServiceKey::parse("nothub").unwrap()].into());
    for (request, says) in [
        (AdminRequest::AgentShow { agent: "revewer".into() }, "`reviewer`"),
        (AdminRequest::KeyCreate { agent: "reviewer".into(), member: "x".into() }, "no members yet"),
        (AdminRequest::KeyRevoke { key: unknown }, "wicket key list"),
        (AdminRequest::KeyRate { key: unknown, rate: None }, "wicket key list"),
        (AdminRequest::AgentServices { agent: "reviewer".into(), services }, "`wicket`"),
        (AdminRequest::SessionReset { session: SessionId::mint(Timestamp::now(), [9; 10]) }, ""),
        (AdminRequest::ConnectorDiff { service: ServiceKey::parse("nothub").unwrap() }, "nothub.toml"),
    ] {
        let fault = bench.ask(request.clone()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotFound, "{request:?}: {fault}");
        assert!(fault.to_string().contains(says), "{request:?}: {fault}");
    }
    for name in ["", " a", "a\n", &"x".repeat(101)] {
        let (name, trust) = (name.to_owned(), TrustMode::Trusted);
        let request = AdminRequest::AgentCreate { name, trust, services: [].into(), rate: None };
        assert_eq!(bench.ask(request).await.unwrap_err().kind, FaultKind::Invalid);
    }
}

#[tokio::test]
async fn the_first_run_makes_a_key_and_later_runs_keep_it() {
    let bench = bench().await;
    let FirstRun::Minted(first) = bench.admin.first_run(OPERATOR, false).await.unwrap() else { panic!() };
    assert_eq!(first.hindrances, Vec::<String>::new());
    let FirstRun::Kept(view) = bench.admin.first_run(OPERATOR, false).await.unwrap() else { panic!() };
    assert_eq!(view.agent.services.len(), 1, "every configured connector");
    assert_eq!(view.members[0].member.role, Role::Owner);
    assert_eq!(view.members[0].keys[0].id, first.record.id);
    let FirstRun::Minted(second) = bench.admin.first_run(OPERATOR, true).await.unwrap() else { panic!() };
    assert_eq!(second.revoked, [first.record.id]);
}

#[tokio::test]
async fn a_gate_with_agents_of_its_own_gets_no_first_agent() {
    let bench = bench().await;
    bench.create("mine").await;
    let FirstRun::Kept(view) = bench.admin.first_run(OPERATOR, false).await.unwrap() else { panic!() };
    assert_eq!(view.agent.name, "mine");
    assert_eq!(bench.admin.first_run(OPERATOR, true).await.unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(bench.admin.store().directory().await.unwrap().agents.len(), 1);
}

#[tokio::test]
async fn a_session_of_a_stopped_gate_is_reset_in_the_store() {
    let bench = bench().await;
    let agent = bench.create("a").await.agent;
    bench.add("a", "m", MemberStatus::Approved).await;
    let member = bench.admin.store().directory().await.unwrap().members[0].id;
    let (id, now) = (SessionId::mint(Timestamp::now(), [7; 10]), Timestamp::now());
    let row = SessionRow {
        id,
        agent_id: agent.id,
        member_id: member,
        conversation: ConversationId::from_bytes([1; 16]),
        client: Some(ClientInfo { name: "claude-code".into(), version: "1".into() }),
        created_at: now,
        last_activity_at: now,
        ended: None,
        counters: [("calls".parse().unwrap(), 3)].into(),
        mcp_sessions: Vec::new(),
    };
    bench.admin.store.sessions().save(&[row], &[]).await.unwrap();
    let list = |ended| AdminRequest::SessionList { agent: Some("a".into()), member: None, ended };
    let AdminReply::Sessions(open) = bench.ask(list(false)).await.unwrap() else { panic!() };
    assert_eq!((open.len(), open[0].counters["calls"], open[0].member.as_str()), (1, 3, "m"));
    bench.ask(AdminRequest::SessionReset { session: id }).await.unwrap();
    let AdminReply::Sessions(open) = bench.ask(list(false)).await.unwrap() else { panic!() };
    let AdminReply::Sessions(all) = bench.ask(list(true)).await.unwrap() else { panic!() };
    assert_eq!((open.len(), all.len()), (0, 1));
    assert_eq!(all[0].terminated_reason.as_deref(), Some("manual_reset"));
    assert_eq!(
        bench.ask(AdminRequest::SessionReset { session: id }).await.unwrap_err().kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn a_reload_of_broken_files_says_where_and_keeps_what_was() {
    let bench = bench().await;
    let AdminReply::Reloaded(good) = bench.ask(AdminRequest::Reload {}).await.unwrap() else { panic!() };
    assert_eq!(good.policies, 1);
    std::fs::write(bench.dir.path().join("policies/base.cedar"), "permit(principal,").unwrap();
    let fault = bench.ask(AdminRequest::Reload {}).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected);
    assert!(fault.diagnostics[0].file.ends_with("base.cedar"), "{fault}");
    assert!(fault.diagnostics[0].line > 0, "{fault}");
    assert_eq!(bench.stopped.bundle().unwrap().digest(), good.digest);
    assert_eq!(bench.changes().last(), Some(&("reload".into(), "failed".into())));
}

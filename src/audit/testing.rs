//! What the tests of this module share: a caller, facts, a small journal.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use super::disk::{Disk, Local};
use super::{CallFacts, Durability, Journal, JournalConfig, Receipt, Recovery};
use crate::keys::SigningKey;
use crate::model::{
    Agent, AgentId, AgentStatus, CallId, Caller, ClientInfo, ConversationId, CounterKey, Decision, Digest,
    EvaluationError, History, KeyId, Member, MemberId, MemberStatus, Outcome, OutcomeKind, PolicyKey,
    PolicyRef, Reason, Role, ServiceKey, SessionId, Tier, Timestamp, ToolName, TrustMode,
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_310_401_020);

pub(super) fn signing() -> SigningKey {
    SigningKey::from_bytes([7; 32])
}

pub(super) fn node() -> Uuid {
    Uuid::from_bytes([0xAB; 16])
}

pub(super) fn call(n: u32) -> CallId {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    CallId::mint(NOW, random)
}

pub(super) fn caller() -> Caller {
    let agent = Agent {
        id: AgentId::mint(NOW, [1; 10]),
        name: "my-first-agent".into(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: [ServiceKey::parse("github").unwrap()].into(),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: NOW,
    };
    let member = Member {
        id: MemberId::mint(NOW, [2; 10]),
        agent_id: agent.id,
        name: "ada@example.com".into(),
        role: Role::Member,
        status: MemberStatus::Approved,
        groups: std::collections::BTreeSet::new(),
        account: None,
        created_at: NOW,
    };
    Caller {
        agent: Arc::new(agent),
        member: Arc::new(member),
        key: KeyId::mint(NOW, [3; 10]),
        ip: "192.0.2.7".parse().unwrap(),
        session: None,
    }
}

pub(super) fn decision(allowed: bool) -> Decision {
    let policy = |key: &str| PolicyRef {
        key: PolicyKey::parse(key).unwrap(),
        name: Arc::from("Reads are fine"),
        version: 3,
        id: None,
    };
    if allowed {
        return Decision {
            allowed,
            determining: vec![policy("read-baseline")],
            ..Decision::denied(Reason::Permitted)
        };
    }
    Decision {
        determining: vec![policy("block-deletes")],
        errors: vec![EvaluationError {
            policy: PolicyKey::parse("odd").unwrap(),
            message: "integer overflow".into(),
        }],
        deny_message: Some(Arc::from("Ask a maintainer.")),
        ..Decision::denied(Reason::Forbidden)
    }
}

/// A caller with all that facts borrow.
pub(super) struct Scene {
    pub caller: Caller,
    pub client: ClientInfo,
    pub service: ServiceKey,
    pub history: History,
    pub arguments: String,
}

impl Scene {
    pub fn new() -> Self {
        let mut history = History::default();
        let service = ServiceKey::parse("github").unwrap();
        history.session.insert(CounterKey::Tool(service.clone(), ToolName::parse("delete_file").unwrap()), 2);
        history.member.insert(CounterKey::Calls, 41);
        Self {
            caller: caller(),
            client: ClientInfo { name: "claude-code".into(), version: "2.1".into() },
            service,
            history,
            arguments: r#"{"owner":"acme","repo":"site","path":"a.txt","token":"hunter2"}"#.into(),
        }
    }

    pub fn facts(&self, call: CallId) -> CallFacts<'_> {
        CallFacts {
            call,
            at: NOW,
            caller: &self.caller,
            session: Some(SessionId::mint(NOW, [4; 10])),
            conversation: Some(ConversationId::from_bytes([5; 16])),
            client: Some(&self.client),
            service: self.service.as_str(),
            tool: "delete_file",
            tier: Some(Tier::Destructive),
            action: "GitHubMCP::Action::\"delete_file\"",
            resource: "GitHubMCP::Repository::\"acme/site\"",
            principal: "Wicket::Member::\"ada\"",
            arguments: &self.arguments,
            redact: &[],
            history: &self.history,
        }
    }
}

pub(super) fn bundle() -> Digest {
    Digest::of(b"bundle")
}

pub(super) const RESULT: Outcome =
    Outcome { kind: OutcomeKind::Result, status: 200, bytes: 512, duration_ms: 12 };

pub(super) fn config(data: &Path, mode: Durability) -> JournalConfig {
    // Tests share a busy disk: what they promise is not how fast it syncs.
    JournalConfig { commit_ms_max: 60_000, free_bytes_min: 0, ..JournalConfig::in_data_dir(data, mode) }
}

pub(super) fn open(config: JournalConfig) -> (Journal, Recovery) {
    Journal::open(config, node(), signing(), NOW).unwrap()
}

pub(super) fn open_on(disk: Arc<FaultyDisk>, config: JournalConfig) -> Journal {
    Journal::open_on(disk, config, node(), signing(), NOW).unwrap().0
}

/// What a disk is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Create,
    Write,
    Sync,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answer {
    #[default]
    Works,
    Fails,
    /// Until it is told otherwise, or for [`HANGS_MAX`].
    Hangs,
}

/// How long a disk hangs: a test that fails meanwhile ends as well, since a journal that is dropped waits for it.
const HANGS_MAX: Duration = Duration::from_secs(30);

/// The real disk, but for what it is told.
#[derive(Default)]
pub(super) struct FaultyDisk {
    answers: Mutex<[Answer; 3]>,
    changed: Condvar,
    writes: AtomicUsize,
}

impl FaultyDisk {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn set(&self, ask: Ask, answer: Answer) {
        self.answers.lock()[ask as usize] = answer;
        self.changed.notify_all();
    }

    /// How often it was written to.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    fn pass(&self, ask: Ask) -> io::Result<()> {
        let mut answers = self.answers.lock();
        let until = Instant::now() + HANGS_MAX;
        while answers[ask as usize] == Answer::Hangs {
            if self.changed.wait_until(&mut answers, until).timed_out() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
        }
        match answers[ask as usize] {
            Answer::Fails => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Answer::Works | Answer::Hangs => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.pass(Ask::Create)?;
        Local.create(path)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.pass(Ask::Write)?;
        Local.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.pass(Ask::Sync)?;
        Local.sync(file)
    }
}

pub(super) async fn record(journal: &Journal, n: u32) -> Result<Receipt, super::CannotRecord> {
    let scene = Scene::new();
    journal.record_intent(&decision(true), bundle(), &scene.facts(call(n))).await
}

/// Copies a data directory, as a crash would leave it.
pub(super) fn snapshot(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("journal")).unwrap();
    for entry in std::fs::read_dir(data.join("journal")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join("journal").join(entry.file_name())).unwrap();
    }
    let witness = data.join("checkpoints.jsonl");
    if witness.exists() {
        std::fs::copy(witness, copy.path().join("checkpoints.jsonl")).unwrap();
    }
    copy
}

pub(super) fn segments(data: &Path) -> Vec<PathBuf> {
    super::segment::list_begun(&data.join("journal")).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// Waits until a full segment is left, so that a test that fills many gets many.
pub(super) async fn turned(journal: &Journal) {
    until("the full segment is left", || !journal.is_full()).await;
}

/// Waits for a condition that another thread brings about.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("10 s passed: {what}");
}

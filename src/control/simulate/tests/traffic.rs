//! Made-up traffic, decided, counted and recorded by the code that does so in a gate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::audit::{CallFacts, Durability, Journal, JournalConfig};
use crate::connector::{Connectors, resource_of};
use crate::keys::SigningKey;
use crate::model::{
    Agent, AgentId, AgentStatus, CallId, Caller, ConversationId, GroupName, KeyId, Member, MemberId,
    MemberStatus, Outcome, OutcomeKind, Role, Timestamp, TrustMode,
};
use crate::policy::{Bundle, fixtures};
use crate::proxy::{Decided, Resolved, decide};
use crate::session::{SessionLimits, Sessions};

pub const START: Timestamp = Timestamp::from_millis(1_795_310_400_000);

/// Choices that follow from a number (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// One call that somebody makes, whatever becomes of it.
#[derive(Debug, Clone)]
pub struct Made {
    pub call: CallId,
    pub at: Timestamp,
    pub member: u8,
    pub groups: Vec<&'static str>,
    pub conversation: u8,
    pub ip: &'static str,
    pub service: &'static str,
    pub tool: &'static str,
    pub arguments: Value,
    /// Whether the upstream can be reached then.
    pub reachable: bool,
}

pub fn agent() -> AgentId {
    AgentId::mint(START, [1; 10])
}

pub fn member(n: u8) -> MemberId {
    MemberId::mint(START, [n; 10])
}

const TOOLS: [(&str, &str); 6] = [
    ("depot", "get_file"),
    ("depot", "put_file"),
    ("depot", "delete_file"),
    ("depot", "search"),
    ("notes", "list"),
    ("notes", "add"),
];

/// Random traffic of three members over some hours or days.
pub fn traffic(seed: u64, calls: u32) -> Vec<Made> {
    let mut dice = Dice(seed);
    let pace = *dice.pick(&[2_000_u64, 60_000, 900_000]);
    let mut at = START;
    (0..calls)
        .map(|n| {
            at = at.plus_millis(i64::try_from(dice.below(pace)).unwrap());
            let (service, tool) = *dice.pick(&TOOLS);
            let mut random = [0; 10];
            random[6..].copy_from_slice(&n.to_be_bytes());
            Made {
                call: CallId::mint(at, random),
                at,
                member: 1 + u8::try_from(dice.below(3)).unwrap(),
                groups: if dice.below(2) == 0 { vec![] } else { vec!["crew"] },
                conversation: u8::try_from(dice.below(3)).unwrap(),
                ip: dice.pick::<&str>(&["192.0.2.7", "10.1.2.3"]),
                service,
                tool,
                arguments: arguments(&mut dice, tool),
                reachable: dice.below(6) != 0,
            }
        })
        .collect()
}

fn arguments(dice: &mut Dice, tool: &str) -> Value {
    match tool {
        "list" => json!({}),
        "add" => json!({"text": *dice.pick(&["short", "a note"])}),
        "search" => json!({"query": "x", "limit": dice.below(20)}),
        _ => json!({
            "owner": *dice.pick(&["acme", "other"]), "repo": *dice.pick(&["site", "api"]),
            "path": *dice.pick(&["README.md", "src/a.rs"]), "force": dice.below(2) == 0,
        }),
    }
}

pub fn caller(made: &Made) -> Caller {
    let agent = Agent {
        id: agent(),
        name: "agent".into(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: Default::default(),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: START,
    };
    let member = Member {
        id: member(made.member),
        agent_id: agent.id,
        name: format!("member {}", made.member),
        role: Role::Member,
        status: MemberStatus::Approved,
        groups: made.groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
        account: None,
        created_at: START,
    };
    Caller {
        agent: Arc::new(agent),
        member: Arc::new(member),
        key: KeyId::mint(START, [3; 10]),
        ip: made.ip.parse().unwrap(),
        session: None,
    }
}

/// A gate's deciding, counting and recording, without its network.
pub struct Scene {
    pub bundle: Bundle,
    connectors: Arc<Connectors>,
    sessions: Sessions,
    journal: Option<Journal>,
    data: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
    decided: BTreeMap<CallId, bool>,
}

pub fn bundle(text: &str) -> Bundle {
    fixtures::bundle(text)
}

impl Scene {
    /// With these policies; recorded where a directory is given.
    pub fn new(policies: &str, data: Option<&Path>) -> Self {
        let bundle = bundle(policies);
        // Checkpoints often, so that replays meet them.
        let limits = SessionLimits { checkpoint_calls_max: 5, ..SessionLimits::default() };
        let journal = data.map(|data| {
            let config =
                JournalConfig { free_bytes_min: 0, ..JournalConfig::in_data_dir(data, Durability::Process) };
            Journal::open(config, uuid::Uuid::nil(), SigningKey::from_bytes([7; 32]), START).unwrap().0
        });
        Self {
            connectors: Arc::clone(bundle.connectors()),
            bundle,
            sessions: Sessions::new(limits),
            journal,
            data: data.map(Path::to_owned),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            decided: BTreeMap::new(),
        }
    }

    /// Makes every call; says how each was decided.
    pub fn play(mut self, traffic: &[Made]) -> BTreeMap<CallId, bool> {
        for (n, made) in traffic.iter().enumerate() {
            self.make(made);
            if n % 7 == 6 {
                self.checkpoints(made.at);
            }
        }
        if let Some(journal) = &self.journal {
            journal.close();
        }
        self.decided
    }

    fn checkpoints(&self, now: Timestamp) {
        let Some(journal) = &self.journal else { return };
        for _ in 0..2 {
            for checkpoint in self.sessions.take_checkpoints(100, now) {
                while !journal.takes_checkpoints() {
                    std::thread::yield_now();
                }
                assert!(journal.session(&checkpoint));
            }
        }
        // They are written by the journal's thread: in a living gate two seconds pass before more is counted.
        while !journal.takes_checkpoints() {
            std::thread::yield_now();
        }
    }

    fn has_ended(&self, call: CallId) -> bool {
        let dir = self.data.as_ref().unwrap().join("journal");
        let (ended, id) = ("\"type\":\"completion\"", call.to_string());
        std::fs::read_dir(dir).unwrap().any(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
            text.lines().rev().take(50).any(|line| line.contains(ended) && line.contains(&id))
        })
    }

    fn make(&mut self, made: &Made) {
        let connector = Arc::clone(self.connectors.get(made.service).unwrap());
        let tool = Arc::clone(connector.action(made.tool).unwrap());
        let caller = caller(made);
        let conversation = ConversationId::from_bytes([made.conversation; 16]);
        self.sessions.sweep(made.at);
        let session = self.sessions.enter(&caller, conversation, None, made.at).unwrap();
        let resource = resource_of(&connector, &tool, &made.arguments);
        let resolved = Resolved {
            call_id: made.call,
            caller: &caller,
            connector: &connector,
            tool: &tool,
            arguments: &made.arguments,
            resource: &resource,
            now: made.at,
        };
        let decided = decide(&self.bundle, &session, &resolved);
        let (history, allowed) = match &decided {
            Decided::Allowed { history, .. } => (history.clone(), true),
            Decided::Denied { history, .. } => (history.clone(), false),
        };
        let (text, uid) = (made.arguments.to_string(), resource.uid());
        let facts = CallFacts {
            call: made.call,
            at: made.at,
            caller: &caller,
            session: Some(session.id()),
            conversation: Some(conversation),
            client: None,
            service: made.service,
            tool: made.tool,
            tier: Some(tool.tier),
            action: &tool.action,
            resource: &uid,
            principal: "Wicket::Member::\"someone\"",
            arguments: &text,
            redact: &[],
            history: &history,
        };
        self.decided.insert(made.call, allowed);
        let receipt = match (&self.journal, &decided) {
            (None, _) => None,
            (Some(journal), Decided::Allowed { permit, .. }) => {
                Some(self.runtime.block_on(journal.intent(permit, &facts)).unwrap())
            }
            (Some(journal), Decided::Denied { denial, .. }) => {
                self.runtime.block_on(journal.denial(denial, &facts)).unwrap();
                None
            }
        };
        let Decided::Allowed { mut reservation, .. } = decided else { return };
        if made.reachable {
            reservation.reached();
        }
        reservation.release();
        let kind = if made.reachable { OutcomeKind::Result } else { OutcomeKind::Unreachable };
        if let Some(receipt) = receipt {
            receipt.complete(Outcome { kind, status: 200, bytes: 1, duration_ms: 1 });
            // A call that was never sent is uncounted at once; here the record of it waits for no second one.
            while !made.reachable && !self.has_ended(made.call) {
                std::thread::yield_now();
            }
        }
    }
}

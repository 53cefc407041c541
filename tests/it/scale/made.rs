//! A large store from a seed: the same agents, members and calls at each run.

use std::collections::BTreeSet;
use std::sync::Arc;

use wicket::model::{
    Agent, AgentId, AgentStatus, CallId, Digest, EmailAddress, KeyId, Member, MemberId, MemberStatus,
    Outcome, OutcomeKind, PolicyKey, PolicyRef, Role, SessionId, Timestamp, TrustMode,
};
use wicket::store::{AuditPosition, AuditRow, AuditWrite, Store, StoreError};

use super::policies::{self, Shelf};
use crate::harness::{Gate, Random};

/// How much is made.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub agents: u64,
    pub members: u64,
    /// Stored policies, as many of each agent.
    pub policies: u64,
    pub rows: u64,
}

const DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;
/// Calls written at once.
const BATCH: u64 = 1_000;
const SERVICES: [&str; 12] = [
    "github",
    "slack",
    "linear",
    "vercel",
    "notion",
    "stripe",
    "supabase",
    "hubspot",
    "airtable",
    "sentry",
    "cloudflare",
    "google",
];
const TOOLS: u64 = 300;
const DENYING: u64 = 200;

/// What was made, to ask about.
pub struct Made {
    pub bytes: u64,
    members: Vec<MemberId>,
    agents: Vec<AgentId>,
    policies_each: u64,
    first: Timestamp,
}

struct Person {
    id: MemberId,
    name: String,
    agent: AgentId,
    agent_name: String,
}

pub fn seed(n: u64) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
    [a, b, c, d, e, f, g, h, 1, 2]
}

impl Made {
    /// Fills the store of a gate that is stopped.
    pub async fn write(gate: &Gate, size: Size) -> Self {
        let file = gate.data_dir().join("wicket.db");
        let store = Store::open(&format!("sqlite:{}", file.display())).await.unwrap();
        let now = Timestamp::now();
        let first = Timestamp::from_millis(now.as_millis() - now.as_millis() % DAY_MS - DAYS * DAY_MS);
        let people = directory(&store, size, first).await;
        let (agents, policies_each) = shelves(&store, size, first, &people).await;
        calls(&store, size, first, now, &people).await;
        store.close().await;
        let bytes = std::fs::metadata(&file).unwrap().len();
        let members = people.into_iter().map(|one| one.id).collect();
        Self { bytes, members, agents, policies_each, first }
    }

    /// A path with its words drawn.
    pub fn drawn(&self, path: &str, cursor: &str, random: &mut Random) -> String {
        let day = |after: i64| {
            let at = self.first.plus_millis(after * DAY_MS).to_string();
            at.split('T').next().unwrap().to_owned()
        };
        let some = i64::try_from(random.below(usize::try_from(DAYS).unwrap())).unwrap();
        let number = random.below(self.agents.len());
        let policy = random.below(usize::try_from(self.policies_each.max(1)).unwrap()) as u64;
        path.replace("{agent}", &format!("agent%20{number}"))
            .replace("{agent_id}", &self.owned(number).to_string())
            .replace("{policy_id}", &policies::id(self.owned_number(number), policy).to_string())
            .replace("{member}", &random.pick(&self.members).to_string())
            .replace("{service}", SERVICES[random.below(SERVICES.len())])
            .replace("{tool}", &format!("tool_{}", skewed(random, TOOLS)))
            .replace("{policy}", &format!("deny-{}", skewed(random, DENYING)))
            .replace("{day}", &day(some))
            .replace("{month}", &day(DAYS - 30))
            .replace("{cursor}", cursor)
    }
}

impl Made {
    /// The number of an agent of the owner of most, near this one.
    fn owned_number(&self, number: usize) -> u64 {
        // The second is somebody else's.
        if number == 1 { 0 } else { number as u64 }
    }

    fn owned(&self, number: usize) -> AgentId {
        self.agents[usize::try_from(self.owned_number(number)).unwrap()]
    }

    /// A policy, with its agent.
    pub fn policy(&self, random: &mut Random) -> (AgentId, wicket::model::PolicyId) {
        let number = random.below(self.agents.len());
        let n = random.below(usize::try_from(self.policies_each.max(1)).unwrap()) as u64;
        (self.owned(number), policies::id(self.owned_number(number), n))
    }
}

/// The agents, by number, and how many policies each has.
async fn shelves(store: &Store, size: Size, at: Timestamp, people: &[Person]) -> (Vec<AgentId>, u64) {
    let each = size.policies / size.agents;
    let mut agents: Vec<AgentId> = Vec::new();
    for of in people.chunk_by(|one, next| one.agent == next.agent) {
        let number = agents.len() as u64;
        let members: Vec<MemberId> = of.iter().map(|one| one.id).collect();
        let members = if number % 5 == 4 { members.as_slice() } else { &[] };
        let shelf = Shelf { agent: of[0].agent, number, members };
        policies::write(store, &shelf, each, at).await;
        agents.push(shelf.agent);
    }
    println!("{} policies", each * agents.len() as u64);
    (agents, each)
}

/// The first are drawn most often.
fn skewed(random: &mut Random, end: u64) -> u64 {
    let part = (random.below(1_000_000) as f64) / 1e6;
    ((part * part * part) * end as f64) as u64
}

async fn directory(store: &Store, size: Size, at: Timestamp) -> Vec<Person> {
    let mut accounts = Vec::new();
    for (n, email) in ["owner@example.com", "small@example.com", "member@example.com"].iter().enumerate() {
        let account = wicket::model::Account {
            id: wicket::model::AccountId::mint(at, seed(n as u64)),
            email: EmailAddress::parse(email).unwrap(),
            status: wicket::model::AccountStatus::Active,
            created_at: at,
        };
        store.accounts().create(&account).await.unwrap();
        accounts.push(account.id);
    }
    let mut people = Vec::new();
    for n in 0..size.agents {
        let agent = Agent {
            id: AgentId::mint(at, seed(n)),
            name: format!("Agent {n}"),
            trust: if n % 5 == 4 { TrustMode::Untrusted } else { TrustMode::Trusted },
            status: AgentStatus::Active,
            services: BTreeSet::default(),
            rate: None,
            owner: Some(accounts[usize::from(n == 1)]),
            tags: Vec::new(),
            created_at: at,
        };
        store.agents().create(&agent).await.unwrap();
        for m in 0..size.members / size.agents {
            let number = n * 1_000_000 + m;
            let member = Member {
                id: MemberId::mint(at, seed(number)),
                agent_id: agent.id,
                name: format!("member {m}.{n}@example.com"),
                role: Role::Member,
                status: MemberStatus::Approved,
                groups: BTreeSet::default(),
                account: ((n, m) == (0, 0)).then(|| accounts[2]),
                created_at: at,
            };
            store.members().create(&member).await.unwrap();
            people.push(Person {
                id: member.id,
                name: member.name,
                agent: agent.id,
                agent_name: agent.name.clone(),
            });
        }
    }
    people
}

async fn calls(store: &Store, size: Size, first: Timestamp, now: Timestamp, people: &[Person]) {
    let mut random = Random::of(42);
    let span = now.millis_since(first);
    let bundle = Digest::of(b"scale");
    // A node of its own: the gate's index goes on with its own journal.
    let node = uuid::Uuid::from_u128(0x5ca1e);
    let mut done = 0;
    while done < size.rows {
        let end = (done + BATCH).min(size.rows);
        let batch: Vec<AuditWrite> = (done..end)
            .map(|n| {
                let at = first.plus_millis((span as i128 * n as i128 / size.rows as i128) as i64);
                AuditWrite::Entry(Box::new(call(n, node, at, bundle, people, &mut random)))
            })
            .collect();
        let position = AuditPosition { segment: "segment".into(), offset: end };
        // A machine that is busy with something else may take too long over one: what is written twice
        // counts once.
        let mut tries = 0;
        while let Err(error) = store.audit().append(node, &batch, &position).await {
            tries += 1;
            assert!(tries < 20 && matches!(error, StoreError::Unavailable { .. }), "{error}");
        }
        if end % 500_000 < BATCH {
            println!("{end} rows");
        }
        done = end;
    }
}

fn call(
    n: u64,
    node: uuid::Uuid,
    at: Timestamp,
    bundle: Digest,
    people: &[Person],
    random: &mut Random,
) -> AuditRow {
    // Some agents and some members are much busier than others.
    let person = &people[usize::try_from(skewed(random, people.len() as u64)).unwrap()];
    let tool = skewed(random, TOOLS);
    let service = SERVICES[usize::try_from(tool % 12).unwrap()];
    let allowed = !random.once_in(7);
    let key = if allowed { "read-tier".to_owned() } else { format!("deny-{}", skewed(random, DENYING)) };
    let day = at.as_millis() / DAY_MS;
    AuditRow {
        node,
        boot: 1 + n / 1_000_000,
        seq: n,
        call: CallId::mint(at, seed(n)),
        at,
        agent_id: person.agent,
        agent_name: person.agent_name.clone(),
        member_id: person.id,
        member_name: person.name.clone(),
        key_id: KeyId::from_uuid(*person.id.as_uuid()),
        session: Some(SessionId::mint(at, seed(day.unsigned_abs()))),
        service: service.to_owned(),
        tool: format!("tool_{tool}"),
        action: format!("Ns::Action::\"tool_{tool}\""),
        resource: format!("Ns::Repo::\"acme/{}\"", random.below(500)),
        principal: format!("Wicket::Member::\"{}\"", person.id),
        caller_ip: "203.0.113.7".parse().unwrap(),
        arguments: format!("{{\"path\":\"src/file{}.rs\",\"ref\":\"main\"}}", random.below(10_000)),
        allowed,
        reason: if allowed { "permitted".into() } else { "forbidden".into() },
        deny_message: None,
        policies: vec![PolicyRef {
            key: PolicyKey::parse(&key).unwrap(),
            name: Arc::from(&*key),
            version: 1,
            id: None,
        }],
        shadow: None,
        bundle,
        outcome: allowed.then(|| Outcome {
            kind: OutcomeKind::Result,
            status: 200,
            bytes: 2_000,
            duration_ms: 20 + random.below(2_000) as u64,
        }),
    }
}

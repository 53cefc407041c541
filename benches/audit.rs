//! What recording costs: entries a second, microseconds of wall clock and CPU, and allocations a call, in
//! each mode and at several depths of parallelism. One call is an intent and a completion.
//!
//! `cargo bench --bench audit` measures; without `--bench` among the arguments it runs each case once,
//! as a test.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

#[path = "shared/measure.rs"]
#[expect(dead_code, reason = "shared by several benchmarks, each of which uses some of it")]
mod measure;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use wicket::audit::{CallFacts, Durability, Journal, JournalConfig, NodeId};
use wicket::connector::{Connectors, resource_of};
use wicket::keys::SigningKey;
use wicket::model::{
    Agent, AgentId, AgentStatus, CallId, Caller, History, KeyId, Member, MemberId, MemberStatus, Outcome,
    OutcomeKind, Role, ServiceKey, SourceFile, Timestamp, ToolName, TrustMode,
};
use wicket::policy::{Bundle, Permit, Question, Sources, Verdict};

const ARGUMENTS: &str = r#"{"owner":"acme","repo":"site","path":"docs/index.md","message":"Correct a link","branch":"main","content":"See the guide for how to begin, and the reference for every option that there is."}"#;

struct Ground {
    bundle: Bundle,
    caller: Caller,
    service: ServiceKey,
    history: History,
}

impl Ground {
    fn new(now: Timestamp) -> Self {
        let connectors = Arc::new(Connectors::read(&[]).expect("the built-in connector"));
        let all = SourceFile::new("all.cedar", "@id(\"all\") permit(principal, action, resource);");
        let sources = Sources { show: Default::default(), policies: vec![all], cases: None, connectors };
        let service = ServiceKey::parse("wicket").expect("a service key");
        let agent = Agent {
            id: AgentId::mint(now, [1; 10]),
            name: "bench".to_owned(),
            trust: TrustMode::Trusted,
            status: AgentStatus::Active,
            services: BTreeSet::from([service.clone()]),
            rate: None,
            owner: None,
            tags: Vec::new(),
            created_at: now,
        };
        let member = Member {
            id: MemberId::mint(now, [2; 10]),
            agent_id: agent.id,
            name: "ada@example.com".to_owned(),
            role: Role::Member,
            status: MemberStatus::Approved,
            groups: BTreeSet::new(),
            account: None,
            created_at: now,
        };
        let caller = Caller {
            agent: Arc::new(agent),
            member: Arc::new(member),
            key: KeyId::mint(now, [3; 10]),
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            session: None,
        };
        let bundle = Bundle::build(&sources).expect("one policy that permits all");
        Self { bundle, caller, service, history: History::default() }
    }

    fn permit(&self, call: CallId, now: Timestamp) -> Permit {
        let connector = self.bundle.connectors().get("wicket").expect("the built-in connector");
        let tool = connector.tools.get(&ToolName::parse("whoami").expect("a name")).expect("a tool");
        let arguments = serde_json::json!({});
        let resource = resource_of(connector, tool, &arguments);
        let question = Question {
            call,
            caller: &self.caller,
            connector,
            tool,
            arguments: &arguments,
            resource: &resource,
            history: &self.history,
            now,
        };
        match self.bundle.authorise(&question) {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(denial) => unreachable!("everything is permitted: {denial:?}"),
        }
    }

    fn facts(&self, call: CallId, at: Timestamp) -> CallFacts<'_> {
        CallFacts {
            call,
            at,
            caller: &self.caller,
            session: None,
            conversation: None,
            client: None,
            service: self.service.as_str(),
            tool: "create_or_update_file",
            tier: None,
            action: "GitHubMCP::Action::\"create_or_update_file\"",
            resource: "GitHubMCP::Repository::\"acme/site\"",
            principal: "Wicket::Member::\"01a200d6-b5fc-7202-8202-020202020202\"",
            arguments: ARGUMENTS,
            redact: &[],
            history: &self.history,
        }
    }
}

/// Nanoseconds up to a minute, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("a histogram")
}

/// User and system time of this process, in ticks of 10 ms (proc(5), fields 14 and 15).
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn case(dir: &Path, ground: &Arc<Ground>, mode: Durability, parallel: usize, calls: usize) {
    let data = tempfile::tempdir_in(dir).expect("a directory");
    let config = JournalConfig { commit_ms_max: 60_000, ..JournalConfig::in_data_dir(data.path(), mode) };
    let now = Timestamp::now();
    let (journal, _) =
        Journal::open(config, NodeId::from_bytes([1; 16]), SigningKey::from_bytes([2; 32]), now)
            .expect("a journal");
    let journal = Arc::new(journal);
    // Made before counting begins, permits and histograms both.
    let mut lanes: Vec<(Vec<Permit>, Histogram<u64>)> =
        (0..parallel).map(|_| (Vec::new(), histogram())).collect();
    for n in 0..calls {
        let mut random = [0u8; 10];
        random.iter_mut().rev().zip(n.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
        let lane = lanes.get_mut(n % parallel).expect("a lane for each task");
        lane.0.push(ground.permit(CallId::mint(now, random), now));
    }
    let (began, cpu_before) = (Instant::now(), cpu());
    let counted = measure::Counted::begin();
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|(permits, mut waits)| {
            let (journal, ground) = (Arc::clone(&journal), Arc::clone(ground));
            tokio::spawn(async move {
                for permit in permits {
                    let facts = ground.facts(permit.call(), now);
                    let asked = Instant::now();
                    let receipt = journal.intent(&permit, &facts).await.expect("a record");
                    waits.saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    receipt.complete(Outcome {
                        kind: OutcomeKind::Result,
                        status: 200,
                        bytes: 512,
                        duration_ms: 3,
                    });
                }
                waits
            })
        })
        .collect();
    let mut waits = histogram();
    for task in tasks {
        waits.add(task.await.expect("a task")).expect("the same bounds");
    }
    journal.close();
    let (allocations, allocated) = counted.allocations();
    let (wall, used) = (began.elapsed(), cpu().saturating_sub(cpu_before));
    let per_call = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    let micros = |quantile| waits.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{mode:<8?} {parallel:>4} in flight  {:>9.0} entries/s  {:>7.1} us/call  {:>6.1} us CPU/call  intent p50 {:>7.1} us  p99 {:>8.1} us  {:>5} bytes/call  {:>5.1} allocations of {:>6.0} bytes",
        2.0 * calls as f64 / wall.as_secs_f64(),
        per_call(wall),
        per_call(used),
        micros(0.5),
        micros(0.99),
        journal.status().bytes / calls as u64,
        allocations as f64 / calls as f64,
        allocated as f64 / calls as f64,
    );
}

fn main() {
    let measured = measure::measured();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(dir).expect("the target directory");
    let ground = Arc::new(Ground::new(Timestamp::now()));
    for (mode, calls) in [(Durability::Process, 100_000), (Durability::Durable, 10_000)] {
        for parallel in [1, 16, 64, 256] {
            let calls = match (measured, mode, parallel) {
                (false, ..) => 256,
                (true, Durability::Durable, 1) => calls / 10,
                (true, ..) => calls,
            };
            runtime.block_on(case(dir, &ground, mode, parallel, calls));
        }
    }
}

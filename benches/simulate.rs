//! What a simulation costs: a journal of recorded calls, replayed against a draft, with counters evolved.
//!
//! `cargo bench --bench simulate` records a million calls first, which takes a while, and prints what one
//! replay of them took on one core; `-- CALLS` records so many. Without `--bench`, or with
//! `WICKET_BENCH=short`, a few thousand are recorded and replayed once, as a test.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot set up has to stop, it reports, and it has a knob of its own"
)]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use wicket::audit::{CallFacts, Durability, Journal, JournalConfig};
use wicket::connector::{Connectors, Lock, resource_of};
use wicket::control::simulate::{Ground, Job, Sets, run};
use wicket::keys::SigningKey;
use wicket::model::{
    AgentId, CallId, Caller, ConversationId, GroupName, History, KeyId, MemberId, Outcome, OutcomeKind,
    ServiceKey, SourceFile, Timestamp, TrustMode,
};
use wicket::policy::simulate::Simulation;
use wicket::policy::{Bundle, Moment, Scenario, Sources, Verdict};
use wicket::session::{CallCounts, SessionLimits, Sessions};

/// As the gate itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLS_MEASURED: u64 = 1_000_000;
const CALLS_TRIED: u64 = 3_000;
const MEMBERS: u64 = 50;
const SECONDS_MAX: f64 = 20.0;
const DAY_MS: i64 = 86_400_000;
const START: Timestamp = Timestamp::from_millis(1_795_310_400_000);

const DESCRIPTOR: &str = r#"
namespace = "ForgeMCP"
[transport]
kind = "http"
url = "https://forge.example/mcp"
[tiers]
read = ["get_file", "search", "list"]
write = ["put_file", "comment"]
destructive = ["delete_file"]
[[resource]]
type = "Repository"
id = "{owner}/{repo}"
parent = "Owner"
[resource.attributes]
owner = { type = "string" }
repo = { type = "string" }
[[resource]]
type = "Owner"
id = "{owner}"
[resource.attributes]
owner = { type = "string" }
"#;
const TOOLS: [&str; 6] = ["get_file", "search", "list", "put_file", "comment", "delete_file"];

/// What is in force: guardrails of the kind that files ship.
const BEFORE: &str = r#"
@id("reads") permit (principal, action in Wicket::Action::"read", resource);
@id("crew") permit (principal in Wicket::Group::"crew", action in Wicket::Action::"write", resource);
@id("deletes") permit (principal in Wicket::Group::"admins", action in Wicket::Action::"destructive", resource)
  when { context.time.hour >= 6 };
@id("breaker") forbid (principal, action, resource) when { context.session.denials >= 50 };
@id("secrets") forbid (principal, action, resource in ForgeMCP::Owner::"secret");
"#;
/// And the draft: a limit of the member's day, and one that looks at arguments.
const DRAFT: &str = r#"
@id("few-writes") forbid (principal, action in Wicket::Action::"write", resource)
  when { context.member.tiersUsed.write >= 2000 };
@id("no-main") forbid (principal, action == ForgeMCP::Action::"put_file", resource)
  when { context has args && context.args has branch && context.args.branch == "main" };
"#;

fn bundle(text: &str) -> Bundle {
    let service = ServiceKey::parse("forge").expect("key");
    let text_type = json!({"type": "string"});
    let tool = |name: &&str| {
        let properties = json!({"owner": text_type, "repo": text_type, "path": text_type, "branch": text_type,
            "message": text_type, "content": text_type});
        json!({"name": name, "inputSchema": {"type": "object", "properties": properties}})
    };
    let tools: Vec<Value> = TOOLS.iter().map(tool).collect();
    let lock = Lock::from_definitions(&service, &tools, None).expect("lock").to_json().expect("json");
    let files = [SourceFile::new("forge.toml", DESCRIPTOR), SourceFile::new("forge.tools.json", &lock)];
    let connectors = Arc::new(Connectors::read(&files).expect("connectors"));
    let policies = vec![SourceFile::new("policies/a.cedar", text)];
    Bundle::build(&Sources { show: Default::default(), policies, cases: None, connectors }).expect("policies")
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn agent() -> AgentId {
    AgentId::mint(START, [1; 10])
}

fn callers() -> Vec<Caller> {
    let caller = |n: u64| {
        let groups = ["crew", "admins"].into_iter().take(usize::try_from(n % 3).unwrap_or(0));
        Scenario {
            agent: agent(),
            agent_name: "bench".to_owned(),
            member: MemberId::mint(START, [u8::try_from(n).unwrap_or(0); 10]),
            member_name: format!("member{n}@example.com"),
            groups: groups.map(|group| GroupName::parse(group).expect("group")).collect(),
            key: KeyId::mint(START, [3; 10]),
            ..Scenario::new("forge__list", START)
        }
        .caller()
    };
    (0..MEMBERS).map(caller).collect()
}

fn arguments(dice: &mut Dice) -> Value {
    let owner = ["acme", "other", "tools", "secret"].get(dice.below(100).min(3) as usize).copied();
    json!({
        "owner": owner, "repo": format!("repo{}", dice.below(40)), "path": "docs/guide/index.md",
        "branch": if dice.below(5) == 0 { "main" } else { "fix-a-link" }, "message": "Correct a link",
        "content": "See the guide for how to begin, and the reference for every option that there is.",
    })
}

/// A gate's deciding, counting and recording, without its network.
struct Recorder {
    bundle: Bundle,
    journal: Journal,
    sessions: Sessions,
    runtime: tokio::runtime::Runtime,
    dice: Dice,
    callers: Vec<Caller>,
    denied: u64,
}

/// Records so many calls of one day; says how many were denied.
fn record(data: &Path, calls: u64) -> u64 {
    let config = JournalConfig {
        free_bytes_min: 0,
        journal_bytes_max: 1 << 40,
        ..JournalConfig::in_data_dir(data, Durability::Process)
    };
    let (journal, _) =
        Journal::open(config, uuid::Uuid::nil(), SigningKey::from_bytes([7; 32]), START).expect("a journal");
    let mut recorder = Recorder {
        bundle: bundle(BEFORE),
        journal,
        sessions: Sessions::new(SessionLimits::default()),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        dice: Dice(1),
        callers: callers(),
        denied: 0,
    };
    for n in 0..calls {
        let at = START.plus_millis(i64::try_from(n * 86_400_000 / calls).unwrap_or(0));
        recorder.call(n, at);
    }
    recorder.journal.close();
    recorder.denied
}

impl Recorder {
    fn call(&mut self, n: u64, at: Timestamp) {
        let mut random = [0; 10];
        random.get_mut(2..).expect("ten bytes").copy_from_slice(&n.to_be_bytes());
        let call = CallId::mint(at, random);
        let member = usize::try_from(self.dice.below(MEMBERS)).unwrap_or(0);
        let tool = TOOLS.get(usize::try_from(self.dice.below(6)).unwrap_or(0)).expect("a tool");
        let arguments = arguments(&mut self.dice);
        let conversation = ConversationId::from_bytes([u8::try_from(self.dice.below(4)).unwrap_or(0); 16]);
        let caller = self.callers.get(member).expect("a caller");
        let connector = self.bundle.connectors().get("forge").expect("the connector");
        let tool = connector.action(tool).expect("the tool");
        let resource = resource_of(connector, tool, &arguments);
        let session = self.sessions.enter(caller, conversation, None, at).expect("a session");
        let asked = self.bundle.ask(caller, connector, tool, &resource);
        let needs = asked.needs();
        let (history, version) = session.read(&needs.session, &needs.member, at);
        let moment = Moment { call, arguments: &arguments, history: &history, now: at };
        // No policy here is in shadow mode.
        let verdict = asked.authorise(&moment, |_| History::default());
        let (text, uid) = (arguments.to_string(), resource.uid());
        let facts = CallFacts {
            call,
            at,
            caller,
            session: Some(session.id()),
            conversation: Some(conversation),
            client: None,
            service: "forge",
            tool: tool.name.as_str(),
            tier: Some(tool.tier),
            action: &tool.action,
            resource: &uid,
            principal: "Wicket::Member::\"0190b5a0-0000-7000-8000-000000000002\"",
            arguments: &text,
            redact: &[],
            history: &history,
        };
        match verdict {
            Verdict::Deny(denial) => {
                self.denied += 1;
                session.count_denial(&denial.decision().determining, at);
                self.runtime.block_on(self.journal.denial(&denial, &facts)).expect("recorded");
            }
            Verdict::Allow(permit) => {
                let (service, permits) = (&connector.service, &permit.decision().determining);
                let counts = CallCounts { service, tool: &tool.name, tier: tool.tier, permits };
                session.reserve(&version, &counts, at).expect("counted").reached();
                let receipt = self.runtime.block_on(self.journal.intent(&permit, &facts)).expect("recorded");
                let kind = OutcomeKind::Result;
                receipt.complete(Outcome { kind, status: 200, bytes: 512, duration_ms: 12 });
            }
        }
    }
}

fn replay(data: &Path) -> Simulation {
    let sets =
        Sets { after: Arc::new(bundle(&format!("{BEFORE}{DRAFT}"))), baseline: Arc::new(bundle(BEFORE)) };
    let ground = Ground { trust: TrustMode::Trusted, sets, members: HashMap::new() };
    let job = Job {
        journal: data.join("journal"),
        from: START,
        to: START.plus_millis(DAY_MS),
        rows_max: 200,
        agents: HashMap::from([(agent(), ground)]),
        all_agents: false,
    };
    run(&job, &mut |_| ControlFlow::Continue(())).expect("a simulation")
}

/// Seconds of processor time of this process so far.
fn processor_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks =
        |n: usize| fields.split(' ').nth(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// MiB of memory that the process held at most.
fn peak_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn main() {
    let measures = std::env::args().any(|argument| argument == "--bench")
        && std::env::var("WICKET_BENCH").as_deref() != Ok("short");
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok());
    let calls = asked.unwrap_or(if measures { CALLS_MEASURED } else { CALLS_TRIED });
    let data = tempfile::tempdir().expect("a directory");
    let denied = record(data.path(), calls);
    let bytes: u64 = std::fs::read_dir(data.path().join("journal"))
        .expect("a journal")
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .sum();
    let held = peak_mib();
    let (began, spent) = (Instant::now(), processor_s());
    let found = replay(data.path());
    let (seconds, processor) = (began.elapsed().as_secs_f64(), processor_s() - spent);
    assert_eq!((found.calls, found.unmatched, found.estimated), (calls, 0, 0), "{:?}", found.unmatched_by);
    assert_eq!(found.before.deny, denied);
    assert!(found.baseline == found.before && found.newly_allowed == 0, "the set in force decides as it did");
    assert!(found.changed > 0, "the draft changes something");
    println!(
        "{calls} recorded calls, {:.0} MiB of journal, {} of them change",
        bytes as f64 / 1048576.0,
        found.changed
    );
    println!(
        "  replayed in {seconds:.2} s, {processor:.2} s of one processor, {:.2} µs a call",
        processor * 1e6 / calls as f64
    );
    println!("  {held:.0} MiB held at most before, {:.0} MiB after", peak_mib());
    if measures && calls == CALLS_MEASURED {
        let word = if processor <= SECONDS_MAX { "reached" } else { "MISSED" };
        println!("  target: at most {SECONDS_MAX} s of one processor  {word}");
    }
}

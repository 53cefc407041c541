//! What deciding costs: a call with groups and a resource with attributes, at 10 to 10,000 policies on a
//! schema of 200 tools, with 4 policies and with more that share its scope; and what 10,000 policies cost
//! to load, to keep and to edit.
//!
//! `cargo bench --bench decide` measures and prints a table of targets; without `--bench`, or with
//! `WICKET_BENCH=short`, everything is run once and small, as a test. `-- count POLICIES CALLS` decides that
//! often and nothing else, for a profiler.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot set up has to stop, it reports, and it has a knob of its own"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wicket::connector::{Connectors, Lock};
use wicket::model::{CounterKey, GroupName, ServiceKey, SourceFile, Timestamp};
use wicket::policy::{Bundle, Question, Scenario, Sources};

/// As the gate itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOOLS: usize = 200;
const GROUPS: usize = 500;

const DESCRIPTOR: &str = r#"
namespace = "ForgeMCP"
[transport]
kind = "http"
url = "https://forge.example/mcp"
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

fn connectors() -> Arc<Connectors> {
    let text = json!({"type": "string"});
    let tool = |number: usize| {
        let properties = json!({"owner": text, "repo": text, "path": text, "message": text,
            "amount": {"type": "number"}, "labels": {"type": "array", "items": text}});
        json!({"name": format!("tool_{number}"), "inputSchema": {"type": "object", "properties": properties}})
    };
    let service = ServiceKey::parse("forge").expect("key");
    let tools: Vec<_> = (0..TOOLS).map(tool).collect();
    let lock = Lock::from_definitions(&service, &tools, None).expect("lock").to_json().expect("json");
    let names = |from: usize, to: usize| {
        (from..to).map(|number| format!("\"tool_{number}\"")).collect::<Vec<_>>().join(", ")
    };
    let tiers = format!("[tiers]\nread = [{}]\nwrite = [{}]\n", names(100, TOOLS), names(0, 100));
    let descriptor = format!("{DESCRIPTOR}{tiers}[groups]\nfirst = [{}]\n", names(0, 20));
    let files = [SourceFile::new("forge.toml", &descriptor), SourceFile::new("forge.tools.json", &lock)];
    Arc::new(Connectors::read(&files).expect("connectors"))
}

/// Four policies share the scope of the call that is asked about.
const SHARED: [&str; 4] = [
    "permit(principal in Wicket::Group::\"team-7\", action in Wicket::Action::\"write\", resource) when { resource is ForgeMCP::Repository && resource.owner == \"acme\" && principal.role == \"member\" }",
    "forbid(principal, action in ForgeMCP::Action::\"first\", resource) when { context.member.tiersUsed.write > 100000 || context.session.calls > 100000 }",
    "forbid(principal, action == ForgeMCP::Action::\"tool_7\", resource in ForgeMCP::Owner::\"acme\") when { context.args has path && context.args.path like \"*.env\" }",
    "forbid(principal in Wicket::Group::\"team-8\", action, resource) when { context.time.hour > 24 || principal in Wicket::Group::\"nobody\" }",
];

const CONDITIONS: [&str; 5] = [
    "context.time.hour >= 22",
    "context.session.calls > 100000",
    "context.member.denials > 100000",
    "principal.name == \"nobody@example.com\"",
    "context.args has path && context.args.path like \"*.secret\"",
];

/// This many policies, of which `shared` are in the scope of the call.
fn policies(count: usize, shared: usize) -> Vec<String> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count.max(shared) {
        let condition = CONDITIONS.get(number % CONDITIONS.len()).copied().unwrap_or_default();
        let policy = match SHARED.get(number) {
            Some(policy) => (*policy).to_owned(),
            None if number < shared => {
                format!(
                    "forbid(principal in Wicket::Group::\"team-9\", action, resource) when {{ {condition} }}"
                )
            }
            None => {
                let (group, tool) = (10 + number % GROUPS, number % TOOLS);
                let resource = match number % 3 {
                    0 => "resource".to_owned(),
                    1 => format!("resource in ForgeMCP::Owner::\"owner-{}\"", number % 97),
                    _ => format!("resource == ForgeMCP::Repository::\"acme/repo-{}\"", number % 997),
                };
                format!(
                    "forbid(principal in Wicket::Group::\"team-{group}\", action == ForgeMCP::Action::\"tool_{tool}\", {resource}) when {{ {condition} }}"
                )
            }
        };
        let mut text = format!("// Rule {number}.\n@id(\"p{number}\")\n@denyMessage(\"rule {number}\")\n");
        if policy.starts_with("permit") {
            text = format!("@id(\"p{number}\")\n");
        }
        let _ = writeln!(text, "{policy};");
        all.push(text);
    }
    all
}

fn one_file(policies: &[String]) -> Vec<SourceFile> {
    vec![SourceFile::new("all.cedar", &policies.concat())]
}

fn file_each(policies: &[String]) -> Vec<SourceFile> {
    let file = |(number, text): (usize, &String)| SourceFile::new(&format!("p{number:05}.cedar"), text);
    policies.iter().enumerate().map(file).collect()
}

fn sources(connectors: &Arc<Connectors>, policies: Vec<SourceFile>) -> Sources {
    Sources { show: Default::default(), policies, cases: None, connectors: Arc::clone(connectors) }
}

fn build(sources: &Sources) -> Bundle {
    let texts = |faults: Vec<wicket::model::Diagnostic>| {
        faults.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    Bundle::build(sources).map_err(texts).expect("a valid set")
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::new("forge__tool_7", Timestamp::from_millis(1_795_310_401_020));
    for group in ["team-7", "team-8", "team-9", "team-0"] {
        scenario.groups.insert(GroupName::parse(group).expect("name"));
    }
    scenario.arguments = json!({"owner": "acme", "repo": "site", "path": "src/main.rs", "message": "m"});
    scenario.history.session.insert(CounterKey::Calls, 7);
    scenario
}

#[inline(never)]
fn decide(bundle: &Bundle, question: &Question<'_>, calls: u32) {
    for _ in 0..calls {
        let decision = black_box(bundle.decide(black_box(question)));
        assert!(decision.allowed, "{decision:?}");
    }
}

/// Microseconds of one decision on a warm slice: the best of many rounds, and their middle.
fn each(bundle: &Bundle, rounds: usize) -> (f64, f64) {
    const CALLS: u32 = 500;
    let round = |question: &Question<'_>| {
        let started = Instant::now();
        decide(bundle, question, CALLS);
        started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    let scenario = scenario();
    let mut all = scenario
        .ask(bundle, |question| (0..rounds).map(|_| round(question)).collect::<Vec<f64>>())
        .expect("a known tool");
    all.sort_by(f64::total_cmp);
    let at = |index: usize| all.get(index).copied().unwrap_or_default();
    (at(0), at(all.len() / 2))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What an edit changes of a policy, each time to something else.
type Edit = fn(&str, u32) -> String;

fn condition(policy: &str, round: u32) -> String {
    policy.replace("when {", &format!("when {{ {round} < 100 &&"))
}

/// All scopes are sorted anew for one.
fn scope(policy: &str, round: u32) -> String {
    policy.replace("\"team-", &format!("\"squad-{round}-"))
}

/// Milliseconds until a new bundle is there after one policy has changed: the best and the middle of some.
fn edited(
    connectors: &Arc<Connectors>,
    policies: &[String],
    files: fn(&[String]) -> Vec<SourceFile>,
    edit: Edit,
) -> (f64, f64) {
    let mut bundle = build(&sources(connectors, files(policies)));
    let mut policies = policies.to_vec();
    let mut all = Vec::new();
    let middle = policies.len() / 2;
    let original = policies.get(middle).cloned().unwrap_or_default();
    for round in 0..9 {
        if let Some(policy) = policies.get_mut(middle) {
            *policy = edit(&original, round);
            assert_ne!(*policy, original, "an edit that edits nothing measures nothing");
        }
        let sources = sources(connectors, files(&policies));
        let started = Instant::now();
        let next = Bundle::rebuild(&sources, &bundle).expect("a valid set");
        all.push(millis(started.elapsed()));
        bundle = next;
    }
    all.sort_by(f64::total_cmp);
    let at = |index: usize| all.get(index).copied().unwrap_or_default();
    (at(0), at(all.len() / 2))
}

/// MiB that a process holds that has built a bundle of this many policies and let go of the sources.
fn resident_mib(count: usize) -> f64 {
    let exe = std::env::current_exe().expect("own path");
    let output =
        std::process::Command::new(exe).args(["resident", &count.to_string()]).output().expect("a child");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn resident(count: usize) {
    let connectors = connectors();
    let bundle = build(&sources(&connectors, one_file(&policies(count, 4))));
    each(&bundle, 2);
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    println!("{}", kib / 1024.0);
    black_box(&bundle);
}

fn row(what: &str, value: f64, unit: &str, target: Option<f64>) {
    let target = target.filter(|_| !cfg!(debug_assertions));
    let verdict = match target {
        None => String::new(),
        Some(target) if value <= target => format!("target {target:>6.1}  reached"),
        Some(target) => format!("target {target:>6.1}  MISSED"),
    };
    println!("{what:<62} {value:>9.2} {unit:<4} {verdict}");
}

fn measure(short: bool) {
    let connectors = connectors();
    let rounds = if short { 1 } else { 400 };
    let sizes: &[usize] = if short { &[10, 100] } else { &[10, 100, 1_000, 10_000] };
    let largest = sizes.last().copied().unwrap_or_default();
    let mut base = 0.0;
    for count in sizes {
        let texts = policies(*count, 4);
        let sources = sources(&connectors, one_file(&texts));
        let started = Instant::now();
        let bundle = build(&sources);
        let built = millis(started.elapsed());
        let (best, middle) = each(&bundle, rounds);
        base = best;
        row(&format!("decision, {count} policies, 4 share the scope"), best, "us", Some(5.0));
        row("  the middle of the rounds", middle, "us", None);
        let target = (*count == 10_000).then_some(5_000.0);
        row(&format!("cold load, {count} policies, {TOOLS} tools"), built, "ms", target);
    }
    for shared in if short { [5, 8] } else { [12, 36] } {
        let bundle = build(&sources(&connectors, one_file(&policies(100, shared))));
        let (best, _) = each(&bundle, rounds);
        let further = f64::from(u32::try_from(shared - 4).unwrap_or(1));
        row(&format!("each further one, {shared} share the scope"), (best - base) / further, "us", Some(1.0));
    }
    let texts = policies(largest, 4);
    for (name, files, edit) in [
        ("a file each", file_each as fn(&[String]) -> Vec<SourceFile>, condition as Edit),
        ("one file", one_file, condition),
        ("one file, its scope", one_file, scope),
    ] {
        let (best, middle) = edited(&connectors, &texts, files, edit);
        row(&format!("one of {largest} edited, to in force, {name}"), middle, "ms", Some(50.0));
        row("  the best", best, "ms", None);
    }
    if !short {
        let (few, many) = (resident_mib(100), resident_mib(10_000));
        row("memory of 10,000 policies above 100", many - few, "MiB", Some(60.0));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|n| n.parse::<u32>().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some("resident") => resident(number(1) as usize),
        Some("count") => {
            let bundle = build(&sources(&connectors(), one_file(&policies(number(1) as usize, 4))));
            scenario().ask(&bundle, |question| decide(&bundle, question, number(2))).expect("a known tool");
        }
        _ => {
            let full = arguments.iter().any(|argument| argument == "--bench");
            measure(!full || std::env::var("WICKET_BENCH").is_ok_and(|mode| mode == "short"));
        }
    }
}

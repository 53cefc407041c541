//! What a decision costs: microseconds a call at 10, 100 and 1,000 policies, context and entities
//! included. `cargo bench --bench decide` measures; without `--bench` it runs once, as a test.
//!
//! Two kinds of sets: `dense`, in which a third of the policies speaks to everyone, a third to groups and
//! a third to single members; and `sparse`, in which most name a group that the caller is not in.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot set up has to stop, and it reports"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use wicket::connector::Connectors;
use wicket::model::{CounterKey, GroupName, SourceFile, Timestamp};
use wicket::policy::{Bundle, Scenario, Sources};

const TOOLS: [&str; 6] = [
    "push_files",
    "issue_write",
    "create_branch",
    "get_file_contents",
    "merge_pull_request",
    "add_issue_comment",
];

const CONDITIONS: [&str; 6] = [
    "context.time.hour >= 22",
    "context.session.calls > 100000",
    "context.member.denials > 100000",
    "principal.name == \"nobody@example.com\"",
    "context.caller.ip.isInRange(ip(\"198.51.100.0/24\"))",
    "context.session.toolsUsed[\"github:push_files\"] > 100000",
];

fn files(directory: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root).expect("fixtures").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().expect("name").to_string_lossy();
        SourceFile::new(&name, &std::fs::read_to_string(path).expect("text"))
    };
    paths.iter().map(read).collect()
}

fn policies(count: usize, dense: bool) -> String {
    let mut text = String::from("@id(\"all\") permit(principal, action, resource);\n");
    for number in 1..count {
        let principal = match (dense, number % 3) {
            (true, 0) => "principal".to_owned(),
            (true, 1) => format!("principal in Wicket::Group::\"team-{}\"", number % 10),
            (true, _) => {
                format!("principal == Wicket::Member::\"00000000-0000-0000-0000-{:012}\"", number % 50)
            }
            (false, _) => format!("principal in Wicket::Group::\"team-{}\"", number % 200),
        };
        let tool = TOOLS.get(number % TOOLS.len()).copied().unwrap_or_default();
        let condition = CONDITIONS.get(number % CONDITIONS.len()).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "@id(\"p{number}\") forbid({principal}, action == GitHubMCP::Action::\"{tool}\", resource) when {{ {condition} }};"
        );
    }
    text
}

fn measure(count: usize, dense: bool, rounds: u32) {
    let connectors = Arc::new(Connectors::read(&files("tests/data/connectors")).expect("connectors"));
    let text = policies(count, dense);
    let sources = Sources { policies: vec![SourceFile::new("bench.cedar", &text)], cases: None, connectors };
    let started = Instant::now();
    let bundle = Bundle::build(&sources).expect("a valid set");
    let built = started.elapsed();
    let mut scenario = Scenario::new("github__push_files", Timestamp::from_millis(1_795_310_401_020));
    scenario.groups.insert(GroupName::parse("team-4").expect("name"));
    scenario.arguments =
        json!({"owner": "acme", "repo": "site", "branch": "main", "message": "m", "files": []});
    scenario.history.session.insert(CounterKey::Calls, 7);
    let (mut best, mut all) = (f64::MAX, 0.0);
    scenario
        .ask(&bundle, |question| {
            for _ in 0..rounds {
                const CALLS: u32 = 200;
                let started = Instant::now();
                for _ in 0..CALLS {
                    let decision = black_box(bundle.decide(black_box(question)));
                    assert!(decision.allowed, "{decision:?}");
                }
                let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS);
                best = best.min(each);
                all += each;
            }
        })
        .expect("a known tool");
    let kind = if dense { "dense" } else { "sparse" };
    let mean = all / f64::from(rounds);
    println!(
        "decide {count:>5} policies {kind:<6}  best {best:>8.2} us  mean {mean:>8.2} us  (built in {built:.0?})"
    );
}

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 200 } else { 1 };
    for count in [10, 100, 1_000] {
        for dense in [true, false] {
            measure(count, dense, rounds);
        }
    }
}

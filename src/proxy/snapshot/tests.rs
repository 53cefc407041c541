//! No decision is torn by a reload (reliability G4): bundles that no mixture can imitate, swapped as fast
//! as they can be, every decision judged again afterwards by a bundle that nobody swapped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::model::{Decision, Digest};
use crate::policy::fixtures::{bundle, sources, sunday};
use crate::policy::{Bundle, Scenario};

/// Decisions of the short form; `make reload-long` asks for 5 million.
const DECISIONS: u64 = 500_000;
/// Threads that decide beside the one that reloads.
const DECIDERS: usize = 4;

/// One bundle of each kind. A policy's key begins with the letter of its bundle, and no two bundles decide
/// any of the questions for the same reasons (the test checks that), so that a mixture shows.
const BUNDLES: [&str; 3] = [
    r#"@id("a-one") permit(principal, action in Wicket::Action::"read", resource);
       @id("a-two") permit(principal, action, resource) when { context.session.calls < 100 };
       @id("a-three") forbid(principal, action == DepotMCP::Action::"delete_file", resource);
       @id("a-four") forbid(principal, action in Wicket::Action::"destructive", resource);"#,
    r#"@id("b-one") permit(principal, action, resource);
       @id("b-two") permit(principal, action, resource) when { principal in Wicket::Agent::"00000000-0000-0000-0000-000000000000" };
       @id("b-three") forbid(principal, action == DepotMCP::Action::"get_file", resource) when { context.args has owner && context.args.owner == "acme" };
       @id("b-four") forbid(principal, action in Wicket::Action::"read", resource) when { context.session.calls > 5 };"#,
    r#"@id("c-one") forbid(principal, action in Wicket::Action::"read", resource);
       @id("c-two") forbid(principal, action, resource) when { context.session.calls < 3 };
       @id("c-three") permit(principal, action in Wicket::Action::"destructive", resource);
       @id("c-four") permit(principal, action in Wicket::Action::"write", resource);"#,
];

fn questions() -> Vec<Scenario> {
    let tools = ["depot__get_file", "depot__put_file", "depot__delete_file", "notes__list", "notes__add"];
    let mut questions = Vec::new();
    for tool in tools {
        for owner in ["acme", "other"] {
            for calls in [0, 4, 7] {
                let mut scenario = Scenario::new(tool, sunday());
                scenario.arguments = json!({"owner": owner, "repo": "site"});
                scenario.history.session.insert(crate::model::CounterKey::Calls, calls);
                questions.push(scenario);
            }
        }
    }
    questions
}

fn decided(bundle: &Bundle, question: &Scenario) -> Decision {
    question.ask(bundle, |asked| bundle.decide(asked)).unwrap()
}

/// What was decided, by which bundle, and between which reloads: the last that had returned before the
/// snapshot was loaded, and the last that had begun after.
struct Seen {
    digest: Digest,
    question: usize,
    decision: Decision,
    returned: u64,
    begun: u64,
}

struct Reloads {
    live: Live,
    begun: AtomicU64,
    returned: AtomicU64,
    stop: AtomicBool,
}

impl Reloads {
    /// Reload number n puts bundle n modulo 3 in force. Every tenth is built anew, with empty caches.
    fn reload(&self) -> u64 {
        let kept: Vec<Arc<Bundle>> = BUNDLES.iter().map(|text| Arc::new(bundle(text))).collect();
        let first = self.returned.load(Ordering::SeqCst);
        let mut number = first;
        while !self.stop.load(Ordering::Acquire) {
            number += 1;
            let at = usize::try_from(number % 3).unwrap();
            let next = match number % 10 {
                0 => Arc::new(Bundle::rebuild(&sources(BUNDLES[at]), &kept[at]).unwrap()),
                _ => Arc::clone(&kept[at]),
            };
            self.begun.store(number, Ordering::SeqCst);
            self.live.put_bundle(next);
            self.returned.store(number, Ordering::SeqCst);
            // The deciders share two processors with this thread.
            std::thread::yield_now();
        }
        number - first
    }

    fn decide(&self, questions: &[Scenario], from: usize, count: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        for number in (0..).take(usize::try_from(count).unwrap()) {
            let question = (from + number) % questions.len();
            let returned = self.returned.load(Ordering::SeqCst);
            let snapshot = self.live.load();
            let begun = self.begun.load(Ordering::SeqCst);
            let decision = decided(&snapshot.bundle, &questions[question]);
            seen.push(Seen { digest: snapshot.bundle.digest(), question, decision, returned, begun });
        }
        seen
    }
}

#[expect(clippy::disallowed_methods, reason = "the long form of a test is asked for by the environment")]
fn decisions() -> u64 {
    let asked = std::env::var("WICKET_TEST_RELOAD_DECISIONS").ok();
    asked.map_or(DECISIONS, |count| count.parse().unwrap())
}

#[test]
fn no_decision_is_torn_or_late_while_bundles_are_swapped() {
    let judges: Vec<Bundle> = BUNDLES.iter().map(|text| bundle(text)).collect();
    let questions = questions();
    let table: Vec<Vec<Decision>> = judges
        .iter()
        .map(|judge| questions.iter().map(|question| decided(judge, question)).collect())
        .collect();
    // The bundles are told apart: no two decide a question for the same reasons.
    for question in 0..questions.len() {
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            assert_ne!(table[one][question], table[other][question], "{:?}", questions[question].tool);
        }
    }
    let reloads = Reloads {
        live: Live::new(Directory::default(), bundle(BUNDLES[0])),
        begun: AtomicU64::new(0),
        returned: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let (mut judged, mut swaps, mut spent) = (0u64, 0, Duration::ZERO);
    // In rounds, so that what is kept for the judgement stays small.
    while judged < decisions() {
        let began = Instant::now();
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            reloads.stop.store(false, Ordering::Release);
            let reloader = scope.spawn(|| reloads.reload());
            let (reloads, questions) = (&reloads, &questions);
            let deciders: Vec<_> = (0..DECIDERS)
                .map(|from| scope.spawn(move || reloads.decide(questions, from * 7, 25_000)))
                .collect();
            let seen = deciders.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            reloads.stop.store(true, Ordering::Release);
            swaps += reloader.join().unwrap();
            seen
        });
        spent += began.elapsed();
        for Seen { digest, question, decision, returned, begun } in seen {
            let by = judges.iter().position(|judge| judge.digest() == digest).unwrap();
            assert_eq!(decision, table[by][question], "by {by}, {:?}", questions[question].tool);
            let in_force = (returned..=begun).any(|number| number % 3 == by as u64);
            assert!(in_force, "bundle {by} decided between reloads {returned} and {begun}");
            judged += 1;
        }
    }
    let per_second = swaps as f64 / spent.as_secs_f64();
    println!("{judged} decisions judged again, {swaps} reloads, {per_second:.0} a second");
    // Some 700 on two processors at rest; the floor is for machines that have other work as well.
    assert!(per_second >= 50.0, "{per_second} reloads a second");
}

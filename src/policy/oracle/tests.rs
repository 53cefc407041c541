//! How long, from which seed, and over how many threads; the fuzzer's corpus; and Cedar's laws.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::model::Decision;

/// Requests that are compared in the default run.
const REQUESTS: u64 = 1_000_000;
/// Cases of the laws in the default run.
const LAW_CASES: u64 = 100_000;
const THREADS: u64 = 2;

#[expect(clippy::disallowed_methods, reason = "knobs of this test alone")]
fn knob(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a long run notes how far it has come: seeds that are done, and requests.
struct Notes(Option<PathBuf>);

impl Notes {
    fn read(&self) -> (u64, u64) {
        let text = self.0.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }

    fn write(&self, seed: u64, requests: u64) {
        if let Some(path) = &self.0 {
            std::fs::write(path, format!("{seed} {requests}\n")).unwrap();
            println!("{requests} requests, {seed} sets");
        }
    }
}

/// Seeds between two notes.
const BLOCK: u64 = 500;

/// Seeds from `first` on, each once, until one of the workers says that it is enough.
fn in_parallel(first: u64, enough: u64, work: impl Fn(u64) -> Tally + Sync) -> Tally {
    let (next, sum) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while sum.lock().unwrap().requests < enough {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let tally = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(seed)));
                    let tally = tally.unwrap_or_else(|_| panic!("seed {seed}"));
                    sum.lock().unwrap().add(&tally);
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

#[test]
fn the_engine_says_what_plain_cedar_says() {
    let requests = knob("WICKET_TEST_DIFFERENTIAL").and_then(|n| n.parse().ok()).unwrap_or(REQUESTS);
    let notes = Notes(knob("WICKET_TEST_DIFFERENTIAL_NOTES").map(PathBuf::from));
    let seed = |seed: u64| Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let (mut first, before) = notes.read();
    let mut all = Tally { requests: before, ..Tally::default() };
    while all.requests < requests {
        let enough = if notes.0.is_some() { 100_000.min(requests - all.requests) } else { requests };
        let used = AtomicU64::new(first);
        all.add(&in_parallel(first, enough, |number| {
            used.fetch_max(number + 1, Ordering::Relaxed);
            differential(seed(number))
        }));
        first = used.into_inner().next_multiple_of(BLOCK);
        notes.write(first, all.requests);
    }
    println!("{all:?}");
    let share = all.requests.saturating_sub(before) / 20;
    let often = [all.allowed, all.forbidden, all.failed, all.kept, all.constant, all.forgotten];
    assert!(often.iter().all(|count| *count >= share), "too tame a generator: {all:?}");
}

#[test]
fn the_corpus_says_what_plain_cedar_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/differential");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all = Tally::default();
    for path in paths {
        println!("{}", path.display());
        all.add(&differential(Dice::Bytes(&std::fs::read(path).unwrap())));
    }
    assert!(all.requests > 500 && all.allowed > 50 && all.failed > 50 && all.forbidden > 50, "{all:?}");
}

/// The decisions of a set.
fn decisions(policies: &[String], case: &Case) -> Vec<Decision> {
    let mut ours = Ours::new(&policies.concat(), case);
    let mut tally = Tally::default();
    let mut decision = |asked: &Asked| {
        let found = ours.found(asked, &mut tally);
        conclude(&ours.rules, &found)
    };
    case.asked.iter().map(&mut decision).collect()
}

/// What order and copies must not change.
fn essence(decision: &Decision) -> (bool, crate::model::Reason, Vec<String>, Vec<String>) {
    let plain = |key: &str| key.trim_start_matches("copy-").to_owned();
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys.dedup();
        keys
    };
    let determining = decision.determining.iter().map(|policy| plain(policy.key.as_str())).collect();
    let errors = decision.errors.iter().map(|error| plain(error.policy.as_str())).collect();
    (decision.allowed, decision.reason, sorted(determining), sorted(errors))
}

/// Cedar's laws, with the rule that a failing policy denies (decision 7): a forbid never opens; a permit
/// that does not fail never closes, and one that fails denies; order and copies are nothing.
#[test]
fn a_forbid_never_opens_a_permit_never_closes_order_and_copies_are_nothing() {
    let cases = knob("WICKET_TEST_LAWS").and_then(|n| n.parse().ok()).unwrap_or(LAW_CASES);
    let all = in_parallel(0, cases, |seed| {
        let dice = &mut Dice::new(seed ^ 0x5eed_0000_0000);
        let case = case(dice, 60);
        let before = decisions(&case.policies, &case);
        let extra = policy(dice, 900);
        let after = decisions(&[&case.policies[..], std::slice::from_ref(&extra)].concat(), &case);
        let mut reversed = case.policies.clone();
        reversed.reverse();
        reversed.extend(case.policies.iter().map(|text| text.replacen("@id(\"", "@id(\"copy-", 1)));
        let otherwise = decisions(&reversed, &case);
        for ((before, after), otherwise) in before.iter().zip(&after).zip(&otherwise) {
            let fails = after.errors.iter().any(|error| error.policy.as_str() == "p900");
            if extra.contains("forbid(") {
                assert!(before.allowed || !after.allowed, "seed {seed}: {extra} opened");
            } else if !fails {
                assert!(!before.allowed || after.allowed, "seed {seed}: {extra} closed");
            }
            assert!(!fails || !after.allowed, "seed {seed}: {extra} failed and yet the call is allowed");
            assert_eq!(essence(before), essence(otherwise), "seed {seed}");
        }
        let allowed = before.iter().filter(|decision| decision.allowed).count() as u64;
        Tally { requests: before.len() as u64, allowed, ..Tally::default() }
    });
    assert!(all.allowed > cases / 20 && all.requests >= cases, "{all:?}");
}

//! `make instructions`: how many instructions one decision and one whole exchange of the gate take, with a
//! client of each era (`exchange`: of the session era, `stateless`), counted by valgrind's callgrind, against
//! the accepted counts in `benches/instructions.toml`. More than 5 % above is red: nothing gets slower
//! unnoticed, however noisy the machine.
//!
//! The counts are of the dev profile (ours unoptimised, dependencies at level 1), because that is what
//! CI builds; they say whether work was added, not what it costs. Of the exchange the process counted is
//! the real gate, and of its threads the one that serves agents; upstream and client are other
//! processes. What happens once is taken out by counting two runs of different length. What is left of
//! chance (the seeds of hash tables) is the spread that `docs/guide/benchmark.md` gives, far below 5 %.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected should stop there and say where"
)]

#[path = "instructions/accepted.rs"]
mod accepted;
#[path = "instructions/count.rs"]
mod count;
#[path = "instructions/decision.rs"]
mod decision;
#[path = "exchange/gate.rs"]
mod gate;
#[path = "exchange/policies.rs"]
mod policies;
#[path = "exchange/process.rs"]
#[expect(dead_code, reason = "shared with the benchmark of an exchange, which uses more of it")]
mod process;
#[path = "exchange/upstream.rs"]
mod upstream;

use std::path::Path;
use std::process::ExitCode;

use count::Client;
use process::setting;

/// Counts one kind, in a folder of its own.
type Count = fn(&Path, &Path) -> u64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("upstream") => upstream::main(&upstream::definitions()),
        Some("decide") => decision::main(arguments[1].parse().unwrap()),
        _ if !guard() => return ExitCode::FAILURE,
        _ => {}
    }
    ExitCode::SUCCESS
}

/// Whether nothing has grown unnoticed.
fn guard() -> bool {
    if !cfg!(debug_assertions) {
        println!("instructions: counted in the dev profile only (make instructions)");
        return true;
    }
    let Some(valgrind) = process::installed("valgrind") else {
        skip("valgrind is not installed (Debian: apt-get install valgrind)");
        return true;
    };
    let dir = tempfile::Builder::new().prefix("wicket-instructions-").tempdir().unwrap();
    let times = setting("WICKET_INSTRUCTIONS_TIMES").map_or(1, |text| text.parse().unwrap());
    let kinds: [(&str, Count); 3] = [
        ("decision", count::decision),
        ("exchange", |valgrind, dir| count::exchange(valgrind, dir, Client::Session)),
        ("stateless", |valgrind, dir| count::exchange(valgrind, dir, Client::Stateless)),
    ];
    let mut first = Vec::new();
    for (what, count) in kinds {
        let counts: Vec<u64> =
            (0..times).map(|time| count(&valgrind, &dir.path().join(format!("{what}-{time}")))).collect();
        let (low, high) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        if times > 1 {
            let spread = (*high as f64 / *low as f64 - 1.0) * 100.0;
            println!("{what}: {counts:?}, a spread of {spread:.2} %");
        }
        first.push((what, counts[0]));
    }
    accepted::judge(&first, setting("ACCEPT").is_some())
}

/// Nothing was counted, and everybody is told; red where nothing may be skipped.
fn skip(why: &str) {
    assert!(
        setting("WICKET_TEST_REQUIRE_ALL").is_none(),
        "REQUIRE_ALL is set, but instructions cannot be counted: {why}"
    );
    println!("\n######## SKIPPED: instructions of a decision and an exchange were not counted: {why}\n");
    if let Some(dir) = setting("WICKET_TEST_SKIPPED_DIR") {
        std::fs::write(std::path::Path::new(&dir).join("instructions"), why).unwrap();
    }
}

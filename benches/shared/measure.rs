//! How the smaller benchmarks measure and report: time and allocations of one operation, and rows with
//! the number to reach beside what was measured.
//!
//! Included by each of them; the allocator counts and is otherwise the system's, so that times here are
//! somewhat above those of the gate, which has mimalloc.

use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What was allocated since it was made.
pub struct Counted(Region<'static, System>);

impl Counted {
    /// From now on, in all threads.
    pub fn begin() -> Self {
        Self(Region::new(ALLOCATOR))
    }

    /// Allocations (reallocations among them), and their bytes.
    pub fn allocations(&self) -> (usize, usize) {
        let change = self.0.change();
        (change.allocations + change.reallocations, change.bytes_allocated)
    }

    /// Bytes that are held more than at the beginning.
    pub fn held_bytes(&self) -> isize {
        let change = self.0.change();
        // What a reallocation adds or gives back is in these two.
        change.bytes_allocated as isize - change.bytes_deallocated as isize
    }
}

/// Whether this run measures (`cargo bench`) or shows once that it works (`cargo test --benches`).
pub fn measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Times `operation` and prints a line: time (the best of some rounds and their median), allocations.
pub fn operation<T>(name: &str, mut operation: impl FnMut() -> T) {
    let (rounds, each) = if measured() { (40, 500_u32) } else { (1, 1) };
    black_box(operation());
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..each {
                black_box(operation());
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(each)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let counted = Counted::begin();
    for _ in 0..each {
        black_box(operation());
    }
    let (allocations, bytes) = counted.allocations();
    let per = |count: usize| count as f64 / f64::from(each);
    println!(
        "{name:<58} {:>9.3} us (median {:>9.3})  {:>6.1} allocations  {:>9.0} bytes",
        times.first().copied().unwrap_or(f64::NAN),
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
        per(allocations),
        per(bytes)
    );
}

/// Prints a number to reach, what was measured, and whether it was.
pub fn target(what: &str, measured: f64, at_most: f64, unit: &str) {
    let word = if cfg!(debug_assertions) {
        "a dev build: the figure means nothing".to_owned()
    } else if measured <= at_most {
        "reached".to_owned()
    } else {
        format!("MISSED BY {:.2} {unit}", measured - at_most)
    };
    println!("{what:<58} {measured:>9.2} {unit}  (target: at most {at_most} {unit})  {word}");
}

//! What a load saw: how many, how fast, and which faults, as numbers for people and programs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::verdict::{Fault, Verdict};

/// Kinds of faults that are told apart; further ones are one kind.
const KINDS_MAX: usize = 32;
/// The longest time that is told apart, in nanoseconds: a day.
const TIME_NS_MAX: u64 = 86_400_000_000_000;

/// What one connection saw; added up when all have ended.
pub struct Tally {
    answered: Histogram<u64>,
    denied: Histogram<u64>,
    failed: Histogram<u64>,
    /// How late the generator itself was, where it had nothing else to do.
    late: Histogram<u64>,
    kinds: BTreeMap<(bool, String), (u64, String)>,
}

/// Times of one sort of calls, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    pub calls: u64,
    pub per_second: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// One kind of fault or denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    pub kind: String,
    /// Whether it is a denial by policy.
    pub denial: bool,
    pub calls: u64,
    /// What was said the first time.
    pub example: String,
}

/// A whole load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// From the first counted call to the end of the last.
    pub seconds: f64,
    pub answered: Times,
    pub denied: Times,
    /// Calls that failed; in open loop also those that were due and never sent, with the time they
    /// had waited.
    pub failed: Times,
    pub unsent: u64,
    pub kinds: Vec<Kind>,
    /// How late the generator itself sent calls that it had only to wait for (open loop).
    pub generator_late: Times,
    /// CPU time of the generator's threads divided by the time they had; near 1 it measured itself.
    pub generator_busy: f64,
}

/// Makes an empty histogram: nanoseconds, three digits.
fn histogram() -> Histogram<u64> {
    let fixed = Histogram::new_with_bounds(1, TIME_NS_MAX, 3).or_else(|_| Histogram::new(3));
    fixed.unwrap_or_else(|_| unreachable!("three digits are within the histogram's one to five"))
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answered: histogram(),
            denied: histogram(),
            failed: histogram(),
            late: histogram(),
            kinds: BTreeMap::new(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Tally {
    /// Counts one call.
    pub fn record(&mut self, verdict: Verdict, took: Duration) {
        let took = nanoseconds(took);
        match verdict {
            Verdict::Answered => self.answered.saturating_record(took),
            Verdict::Denied(fault) => {
                self.denied.saturating_record(took);
                self.count(true, fault, 1);
            }
            Verdict::Failed(fault) => {
                self.failed.saturating_record(took);
                self.count(false, fault, 1);
            }
        }
    }

    /// Counts how late the generator was.
    pub fn record_late(&mut self, late: Duration) {
        self.late.saturating_record(nanoseconds(late));
    }

    fn count(&mut self, denial: bool, fault: Fault, calls: u64) {
        let full = self.kinds.len() >= KINDS_MAX;
        let key = (denial, fault.kind);
        let key = if full && !self.kinds.contains_key(&key) { (denial, "others".to_owned()) } else { key };
        self.kinds.entry(key).or_insert((0, fault.example)).0 += calls;
    }

    /// Adds what another connection saw.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.answered, &other.answered),
            (&mut self.denied, &other.denied),
            (&mut self.failed, &other.failed),
            (&mut self.late, &other.late),
        ];
        for (sum, part) in pairs {
            let _same_bounds = sum.add(part);
        }
        for ((denial, kind), (calls, example)) in &other.kinds {
            self.count(*denial, Fault { kind: kind.clone(), example: example.clone() }, *calls);
        }
    }

    /// The numbers.
    pub fn report(self, seconds: f64, unsent: u64, generator_busy: f64) -> Report {
        let mut kinds: Vec<Kind> = self
            .kinds
            .into_iter()
            .map(|((denial, kind), (calls, example))| Kind { kind, denial, calls, example })
            .collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.calls));
        Report {
            seconds,
            answered: times(&self.answered, seconds),
            denied: times(&self.denied, seconds),
            failed: times(&self.failed, seconds),
            unsent,
            kinds,
            generator_late: times(&self.late, seconds),
            generator_busy,
        }
    }
}

fn times(all: &Histogram<u64>, seconds: f64) -> Times {
    if all.is_empty() {
        return Times::default();
    }
    let us = |ns: f64| (ns / 100.0).round() / 10.0;
    let at = |quantile: f64| us(all.value_at_quantile(quantile) as f64);
    Times {
        calls: all.len(),
        per_second: if seconds > 0.0 { all.len() as f64 / seconds } else { 0.0 },
        mean_us: us(all.mean()),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: us(all.max() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_and_faults_are_counted_apart_from_answers() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        for us in 1..=1_000 {
            one.record(Verdict::Answered, Duration::from_micros(us));
        }
        two.record(Verdict::Denied(Fault::new("no_permit", "a")), Duration::from_micros(5));
        two.record(Verdict::Failed(Fault::new("timeout", "b")), Duration::from_secs(30));
        two.record(Verdict::Failed(Fault::new("timeout", "c")), Duration::from_secs(30));
        one.add(&two);
        let report = one.report(2.0, 0, 0.1);
        let near = |got: f64, expect: f64| assert!((got - expect).abs() <= expect / 500.0, "{got} {expect}");
        near(report.answered.p50_us, 500.0);
        near(report.answered.p99_us, 990.0);
        near(report.answered.p999_us, 999.0);
        near(report.answered.per_second, 500.0);
        near(report.failed.p50_us, 30e6);
        assert_eq!((report.answered.calls, report.denied.calls, report.failed.calls), (1_000, 1, 2));
        let kinds: Vec<_> =
            report.kinds.iter().map(|k| (k.kind.as_str(), k.denial, k.calls, &*k.example)).collect();
        assert_eq!(kinds, [("timeout", false, 2, "b"), ("no_permit", true, 1, "a")]);
    }

    #[test]
    fn kinds_are_bounded() {
        let mut tally = Tally::default();
        for number in 0..1_000 {
            tally.record(Verdict::Failed(Fault::new(format!("k{number}"), "")), Duration::ZERO);
        }
        let report = tally.report(1.0, 0, 0.0);
        assert!(report.kinds.len() <= KINDS_MAX + 1);
        assert_eq!(report.kinds.iter().map(|kind| kind.calls).sum::<u64>(), 1_000);
        assert_eq!(report.failed.calls, 1_000);
    }
}

//! Simulation: recorded traffic replayed against a draft (specification 5).
//!
//! The journal is read once, from a day before the window so that counters are known in it; each call of
//! the window is decided by the draft's set and by the set without the draft, each with counters as that
//! set would have left them.
//!
//! Invariants: nothing is sent, stored, counted or changed; what cannot be told for certain is unmatched or
//! marked; memory is bounded, however long the window is; whoever waits can break off at any time.

mod callers;
pub mod draft;
mod facts;
pub mod shadow;
mod step;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use self::callers::{Callers, Known};
use crate::audit::JournalError;
use crate::audit::replay::{self, Line, Progress, Span};
use crate::model::{AgentId, CallId, CounterKey, Decision, MemberId, Timestamp, TrustMode, split_prefixed};
use crate::policy::simulate::{Certainty, Judged, Meant, Report, Simulation};
use crate::policy::{Bundle, Scenario};
use crate::session::replay::{Replay, Since, WINDOW_MS};

pub use self::callers::Standing;
pub use self::facts::AgentFacts;

/// Rows that an answer holds at most.
pub const ROWS_MAX: usize = 10_000;
/// The window where none is asked for: 24 hours, in milliseconds (specification 5).
pub const WINDOW_DEFAULT_MS: i64 = 86_400_000;
/// Lines between two looks at whether somebody still waits.
const LINES_PER_LOOK: u32 = 2_048;

/// The sets of policies of one agent that are compared.
#[derive(Debug, Clone)]
pub struct Sets {
    /// With the draft.
    pub after: Arc<Bundle>,
    /// Without it.
    pub baseline: Arc<Bundle>,
}

/// What is known of an agent beside the records.
#[derive(Debug)]
pub struct Ground {
    pub trust: TrustMode,
    pub sets: Sets,
    /// Role and groups now, for entries that do not hold those of then.
    pub members: HashMap<MemberId, Standing>,
}

/// What to replay.
#[derive(Debug)]
pub struct Job {
    /// The journal's directory.
    pub journal: PathBuf,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows_max: usize,
    pub agents: HashMap<AgentId, Ground>,
    /// Whether calls of other agents are counted as unmatched, and not left out.
    pub all_agents: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Bytes of the journal.
    pub progress: Progress,
    /// Calls of the window.
    pub calls: u64,
    pub changed: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// The journal cannot be read.
    Journal(JournalError),
    /// Whoever waited did not want to wait any longer.
    BrokenOff,
}

/// Replays the window. Blocks: it reads files and decides as fast as it can. `look` is told now and then how
/// far it is, and may break off.
///
/// # Errors
/// [`Failed`].
pub fn run(job: &Job, look: &mut dyn FnMut(Stand) -> ControlFlow<()>) -> Result<Simulation, Failed> {
    let wanted = counters_of(job);
    // What counted a day before the window still counts in it.
    let back = if wanted.is_empty() { 0 } else { WINDOW_MS };
    let from = job.from.plus_millis(-back);
    let span = Span { from, to: job.to, counters: !wanted.is_empty() };
    let found = replay::find(&job.journal, &span).map_err(Failed::Journal)?;
    let since = found.since.map_or(Since::Always, Since::Time);
    let mut work = Work {
        job,
        counters: Replay::new(wanted, since),
        callers: Callers::default(),
        report: Report::new(job.from, job.to, job.rows_max.min(ROWS_MAX)),
    };
    read(&found, &span, look, &mut |line| {
        work.take(line);
        work.report.so_far()
    })?;
    Ok(work.report.finish())
}

/// Hands every line of a span to `take`, which says how many calls it met and how many of them change; lets
/// `look` break off now and then.
fn read(
    found: &replay::Found,
    span: &Span,
    look: &mut dyn FnMut(Stand) -> ControlFlow<()>,
    take: &mut dyn FnMut(Line<'_>) -> (u64, u64),
) -> Result<(), Failed> {
    let mut lines = 0_u32;
    let mut broken_off = false;
    replay::read(found, span, &mut |line, progress| {
        let (calls, changed) = take(line);
        lines = lines.wrapping_add(1);
        if lines.is_multiple_of(LINES_PER_LOOK) && look(Stand { progress, calls, changed }).is_break() {
            broken_off = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
    .map_err(Failed::Journal)?;
    if broken_off { Err(Failed::BrokenOff) } else { Ok(()) }
}

/// Decides one made-up call: `before` is what the set in force says.
///
/// # Errors
/// A sentence, where there is no such tool.
pub fn one(call: &Scenario, sets: &Sets, current: &Bundle) -> Result<Simulation, String> {
    let decided = |set: &Bundle| call.ask(set, |question| set.decide(question));
    let [before, draft, baseline] = [decided(current)?, decided(&sets.after)?, decided(&sets.baseline)?];
    let resource = call.ask(current, |question| question.resource.uid())?;
    let (service, tool) = split_prefixed(&call.tool).unwrap_or_default();
    let policies: Vec<&str> = before.determining.iter().map(|policy| policy.key.as_str()).collect();
    let meant = |decision: Decision| Ok(Meant { decision, counters: Certainty::None });
    let mut report = Report::new(call.at, call.at, 1);
    report.count(&Judged {
        call: CallId::from_uuid(uuid::Uuid::nil()),
        at: call.at,
        member: (call.member, &call.member_name),
        service,
        tool,
        resource: &resource,
        allowed: before.allowed,
        reason: before.reason.as_str(),
        policies: &policies,
        draft: meant(draft),
        baseline: meant(baseline),
    });
    Ok(report.finish())
}

/// Every counter that any of the sets reads.
fn counters_of(job: &Job) -> Vec<CounterKey> {
    let sets = job.agents.values().flat_map(|ground| [&ground.sets.after, &ground.sets.baseline]);
    let mut counters: Vec<CounterKey> = sets
        .map(|set| set.counters_read())
        .flat_map(|needs| needs.session.into_iter().chain(needs.member))
        .collect();
    counters.sort();
    counters.dedup();
    counters
}

/// A replay under way.
struct Work<'j> {
    job: &'j Job,
    counters: Replay,
    callers: Callers,
    report: Report,
}

impl Work<'_> {
    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Call(call) => self.call(&call),
            Line::End(end) if end.goes_on => self.counters.goes_on(end.call, end.at),
            Line::End(end) => self.counters.ended(end.call, end.sent),
            Line::Checkpoint(checkpoint) => {
                if self.job.agents.contains_key(&checkpoint.agent) {
                    self.counters.checkpoint(&checkpoint);
                }
            }
            Line::Unreadable => self.report.unreadable_line(),
        }
    }

    /// Who called, as policies saw it then.
    fn caller(&mut self, ground: &Ground, call: &replay::CallLine<'_>) -> Option<Known> {
        self.callers.of(ground, call)
    }
}

#[cfg(test)]
mod tests;

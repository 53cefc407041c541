//! A case, call by call.
//!
//! Invariant: every call of a sequence is decided on what its caller read of the counters, and counted by
//! what the decision was, as the gate does it: an allowed call as if it had reached its upstream.

use super::coverage::Coverage;
use super::report::{Failure, Said, StepAt};
use super::{Case, Step, difference};
use crate::model::{Caller, Decision, History, Timestamp};
use crate::policy::bundle::Bundle;
use crate::policy::explain::explain;
use crate::policy::needs::Needs;
use crate::policy::question::Question;

/// Who counts the calls of a sequence: the counters of real calls, handed in from above.
pub trait Counters {
    /// Forgets everything: another case begins.
    fn reset(&mut self);

    /// What was counted so far.
    ///
    /// # Errors
    /// A sentence, where nothing can be counted.
    fn read(
        &mut self,
        conversation: &str,
        caller: &Caller,
        needs: &Needs,
        now: Timestamp,
    ) -> Result<History, String>;

    /// Counts a decided call.
    ///
    /// # Errors
    /// A sentence, where it cannot be counted.
    fn count(
        &mut self,
        conversation: &str,
        question: &Question<'_>,
        decision: &Decision,
    ) -> Result<(), String>;
}

/// Runs the case; how it failed, where it did.
pub(super) fn run(
    bundle: &Bundle,
    case: &Case,
    counters: &mut dyn Counters,
    coverage: &mut Coverage,
) -> Result<(), Box<Failure>> {
    if case.counted {
        counters.reset();
    }
    for (step, number) in case.steps.iter().zip(1_u32..) {
        for time in 1..=step.times {
            let at = case.counted.then_some(StepAt { number, time, times: step.times });
            let counting = if case.counted { Some(&mut *counters) } else { None };
            let asked = step.scenario.ask(bundle, |question| one(bundle, step, question, counting, coverage));
            let outcome = asked.unwrap_or_else(|why| Err(Failure::unasked(step, why)));
            outcome.map_err(|failure| Box::new(Failure { step: at, ..*failure }))?;
        }
    }
    Ok(())
}

/// One call.
fn one(
    bundle: &Bundle,
    step: &Step,
    question: &Question<'_>,
    counting: Option<&mut (dyn Counters + '_)>,
    coverage: &mut Coverage,
) -> Result<(), Box<Failure>> {
    let unasked = |why| Failure::unasked(step, why);
    let Some(counters) = counting else {
        return judge(bundle, step, question, coverage).map(drop);
    };
    let needs = bundle.needs(question.caller, question.connector, question.tool, question.resource);
    let conversation = step.conversation.as_str();
    let counted = counters.read(conversation, question.caller, &needs, question.now).map_err(unasked)?;
    let history = sum(question.history, counted);
    let decision = judge(bundle, step, &Question { history: &history, ..*question }, coverage)?;
    counters.count(conversation, question, &decision).map_err(unasked)
}

/// Decides and compares.
fn judge(
    bundle: &Bundle,
    step: &Step,
    question: &Question<'_>,
    coverage: &mut Coverage,
) -> Result<Decision, Box<Failure>> {
    let decision = bundle.decide(question);
    coverage.add(bundle, question, &decision);
    match difference(&step.expected, &decision) {
        None => Ok(decision),
        Some(says) => Err(Box::new(Failure {
            says,
            step: None,
            call: call(step),
            expected: Said::expected(&step.expected),
            got: Some(Said::of(&decision)),
            explanation: Some(Box::new(explain(bundle, question))),
        })),
    }
}

/// What the case says was done before, and what its own calls counted.
fn sum(stated: &History, counted: History) -> History {
    let mut sum = stated.clone();
    for (mine, theirs) in [(&mut sum.session, counted.session), (&mut sum.member, counted.member)] {
        for (key, count) in theirs {
            let so_far = mine.entry(key).or_default();
            *so_far = so_far.saturating_add(count);
        }
    }
    sum
}

/// The call as it would be written.
pub(super) fn call(step: &Step) -> String {
    let arguments = &step.scenario.arguments;
    let arguments = if arguments.is_null() { String::new() } else { format!(" {arguments}") };
    format!("{}{arguments}", step.scenario.tool)
}

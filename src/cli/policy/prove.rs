//! `wicket policy prove`: what can be said of all calls at once.
//!
//! Invariant: "proved" is printed only where the solver refuted every kind of call; a solver that is not
//! there, and one that gave up, end in another exit code than 0.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::place;
use crate::app::config;
use crate::app::prove::{Cvc5, Patience, find};
use crate::cli::arguments::inspect::ProveArguments;
use crate::cli::ending::{Ending, Fault, Page};
use crate::cli::output::{self, Style, counted, one_line};
use crate::cli::settings::Settings;
use crate::model::SourceFile;
use crate::policy::Bundle;
use crate::policy::prove::{Answer, Idle, Idleness, Invariants, Progress, Prover, YEARS};

/// A line of progress is written so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// The file of the invariants, in the policy directory.
const INVARIANTS_FILE: &str = "invariants.toml";

/// What was asked, and what came of it.
struct Outcome {
    question: String,
    why: Option<String>,
    answer: Answer,
}

/// Proves, and prints.
pub fn page(settings: &Settings, bundle: &Bundle, asked: &ProveArguments) -> Result<Page, Fault> {
    let only_others = asked.against.is_some() || asked.idle || asked.errors;
    let invariants = match (&asked.invariants, only_others) {
        (Some(file), _) => Some(read(settings, bundle, Some(file))?),
        (None, true) => None,
        (None, false) => Some(read(settings, bundle, None)?),
    };
    let against = asked.against.as_deref().map(|named| place::load(settings, named)).transpose()?;
    let mut prover = prover(asked.seconds_max)?;
    let mut outcomes = Vec::new();
    let began = Instant::now();
    for (invariants, one) in invariants.iter().flat_map(|all| all.all().iter().map(move |one| (all, one))) {
        let answer = prover.invariant(bundle, invariants, one);
        outcomes.push(Outcome { question: one.name.clone(), why: one.why.clone(), answer });
    }
    if let Some(old) = &against {
        let dir = asked.against.as_deref().unwrap_or_default();
        let outcome = |question: String, answer| Outcome { question, why: None, answer };
        outcomes.push(outcome(
            format!("nothing is allowed that `{dir}` does not allow"),
            prover.wider(old, bundle),
        ));
        if asked.equivalent {
            let question = format!("nothing is denied that `{dir}` allows");
            outcomes.push(outcome(question, prover.changes(old, bundle).denied));
        }
    }
    if asked.errors {
        let question = "no policy fails on a call whose arguments can be read".to_owned();
        outcomes.push(Outcome { question, why: None, answer: prover.failing(bundle) });
    }
    let idle = asked.idle.then(|| prover.idle(bundle));
    let holds =
        outcomes.iter().all(|outcome| outcome.answer.holds()) && idle.iter().flatten().next().is_none();
    let ending = if holds { Ending::Fine } else { Ending::Problem };
    let questions = prover.questions();
    let text = match settings.json {
        true => as_json(&outcomes, idle.as_deref(), holds, questions),
        false => as_text(&outcomes, idle.as_deref(), (questions, began.elapsed()), settings.style),
    };
    Ok(Page::with_ending(text, ending))
}

/// A prover with the solver of this machine, that says on a terminal how far it is.
pub fn prover(seconds_max: u32) -> Result<Prover<'static, Cvc5>, Fault> {
    let path = find(&config::environment()).map_err(|why| {
        Fault::usage(format!("nothing was proved: {why}"))
            .with_help("`wicket policy test` and `wicket policy diff --sample` need no solver")
    })?;
    let patience =
        Patience { question: Duration::from_secs(10), whole: Duration::from_secs(seconds_max.into()) };
    let goes_on = patience.starting_now();
    let told = Cell::new(Instant::now());
    let watched = Style::for_stderr(false).colour;
    let go_on = move |progress: Progress| {
        if watched && told.get().elapsed() >= PROGRESS_EVERY {
            told.set(Instant::now());
            let Progress { done, of, questions } = progress;
            output::print_error(&format!("{done} of {of} kinds of calls, {questions} questions so far\n"));
        }
        goes_on()
    };
    Prover::new(Cvc5::new(path, patience.question), go_on).map_err(Fault::problem)
}

fn read(settings: &Settings, bundle: &Bundle, file: Option<&Path>) -> Result<Invariants, Fault> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => settings.config.policies.dir.join(INVARIANTS_FILE),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Fault::usage(format!("`{}` cannot be read: {error}", path.display()))
            .with_help("write what must always be true there: docs/guide/prove-an-invariant.md")
    })?;
    let name = path.display().to_string();
    let source = SourceFile::new(name.strip_prefix("./").unwrap_or(&name), &text);
    Invariants::read(&source, bundle.connectors()).map_err(|diagnostics| {
        Fault::problem(format!("`{}` does not read", path.display())).with_diagnostics(diagnostics)
    })
}

fn as_text(
    outcomes: &[Outcome],
    idle: Option<&[Idle]>,
    (questions, took): (usize, Duration),
    style: Style,
) -> String {
    let mut text = String::new();
    for Outcome { question, why, answer } in outcomes {
        text.push_str(&headline(question, answer, style));
        if let (Some(why), false) = (why, answer.holds()) {
            text.push_str(&format!("      {} {}\n", style.faint("because"), one_line(why)));
        }
        text.push_str(&details(answer, style));
    }
    match idle {
        None => {}
        Some([]) => text.push_str(&format!("{} every policy makes a difference\n", style.good("proved"))),
        Some(idle) => text.extend(idle.iter().map(|one| {
            let why = match one.why {
                Idleness::NeverMatches => "matches no call",
                Idleness::ChangesNothing => "changes nothing: without it every call is decided as it is",
            };
            format!("{}   `{}` {why}\n", style.warn("idle"), one.policy)
        })),
    }
    let asked = counted(questions as u64, "question", "questions");
    let millis = took.as_millis();
    text.push_str(&style.faint(&format!("{asked} to the solver in {millis} ms; of the years {YEARS}")));
    text + "\n"
}

fn headline(question: &str, answer: &Answer, style: Style) -> String {
    let question = one_line(question);
    let kinds = counted(answer.kinds as u64, "kind of call", "kinds of calls");
    if answer.holds() {
        format!("{} {question} ({kinds})\n", style.good("proved"))
    } else if answer.counterexamples.is_empty() {
        format!("{} {question}\n", style.warn("unknown"))
    } else {
        format!("{}  {question}\n", style.bad("wrong"))
    }
}

/// The calls that break it, and what nobody knows.
pub fn details(answer: &Answer, style: Style) -> String {
    let mut text = String::new();
    for told in &answer.counterexamples {
        for line in told.to_string().lines() {
            text.push_str(&format!("      {}\n", one_line(line)));
        }
    }
    for (tool, why) in &answer.unknown {
        text.push_str(&format!("      {} {tool}: {}\n", style.warn("unknown for"), one_line(why)));
    }
    text
}

fn as_json(outcomes: &[Outcome], idle: Option<&[Idle]>, holds: bool, questions: usize) -> String {
    let results: Vec<serde_json::Value> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "question": outcome.question,
                "why": outcome.why,
                "answer": json_of(&outcome.answer),
            })
        })
        .collect();
    let report = json!({"holds": holds, "questions": questions, "results": results, "idle": idle});
    format!("{report:#}\n")
}

/// An answer as JSON.
pub fn json_of(answer: &Answer) -> serde_json::Value {
    json!({
        "holds": answer.holds(),
        "kinds": answer.kinds,
        "counterexamples": answer.counterexamples,
        "unknown": answer.unknown,
    })
}

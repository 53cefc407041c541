//! `wicket policy simulate` and `wicket policy shadow`: recorded calls under other policies, read from the
//! journal's files.

mod page;

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{load, preview, stored};
use crate::app::{Files, Places};
use crate::cli::arguments::simulate::{ShadowArguments, SimulateArguments};
use crate::cli::ending::{Fault, Page};
use crate::cli::output::{bytes, counted, one_line};
use crate::cli::reach;
use crate::cli::settings::Settings;
use crate::control::simulate::draft::{Draft, DraftFault, NewPolicy};
use crate::control::simulate::shadow::ShadowJob;
use crate::control::simulate::{self, AgentFacts, Failed, Job, Stand, WINDOW_DEFAULT_MS};
use crate::control::{AdminReply, AdminRequest};
use crate::model::{PolicyId, PolicyText, Timestamp};
use crate::policy::simulate::Simulation;
use crate::policy::{Bundle, Sources};

/// Between two words of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Replays and prints.
pub(super) async fn simulate(settings: &Settings, arguments: SimulateArguments) -> Result<Page, Fault> {
    let (from, to) = window(arguments.from, arguments.to)?;
    let journal = journal(settings, arguments.journal.clone())?;
    let (sources, base) = load(settings)?;
    let facts = facts(settings, arguments.agent.clone()).await?;
    let draft = drafted(&arguments, (&sources, &base), &facts)?;
    let mut agents = HashMap::new();
    for agent in &facts {
        agents.insert(agent.id, agent.ground(&base, &draft).map_err(|fault| refused(&fault))?);
    }
    let all_agents = arguments.agent.is_none();
    let rows_max = usize::try_from(arguments.rows).unwrap_or(usize::MAX);
    let job = Job { journal, from, to, rows_max, agents, all_agents };
    let found = watched(|look| simulate::run(&job, look))?;
    shown(settings, &found)
}

/// `wicket policy shadow`
pub(super) fn shadow(settings: &Settings, arguments: &ShadowArguments) -> Result<Page, Fault> {
    let (from, to) = window(arguments.from, arguments.to)?;
    let journal = journal(settings, arguments.journal.clone())?;
    let rows_max = usize::try_from(arguments.rows).unwrap_or(usize::MAX);
    let agent = arguments.agent.as_deref();
    let job = ShadowJob { journal, from, to, rows_max, agent };
    let found = watched(|look| simulate::shadow::report(&job, look))?;
    shown(settings, &found)
}

fn window(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(Timestamp, Timestamp), Fault> {
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.unwrap_or_else(|| to.plus_millis(-WINDOW_DEFAULT_MS));
    if from > to { Err(Fault::usage("--from lies behind --to")) } else { Ok((from, to)) }
}

fn journal(settings: &Settings, given: Option<PathBuf>) -> Result<PathBuf, Fault> {
    let journal = given.unwrap_or_else(|| settings.config.journal_dir());
    if journal.exists() {
        return Ok(journal);
    }
    Err(Fault::problem(format!("there is no journal in `{}`", journal.display()))
        .with_help("it begins with the gate's first start; --data-dir names another data directory"))
}

fn shown(settings: &Settings, found: &Simulation) -> Result<Page, Fault> {
    if settings.json {
        let json = serde_json::to_string_pretty(found).map_err(|error| Fault::problem(error.to_string()))?;
        return Ok(Page::fine(format!("{json}\n")));
    }
    Ok(Page::fine(page::render(found, settings.style)))
}

/// What the gate stores of the agents.
pub(super) async fn facts(settings: &Settings, agent: Option<String>) -> Result<Vec<AgentFacts>, Fault> {
    match reach::ask(settings, AdminRequest::SimulationGround { agent }).await? {
        AdminReply::SimulationGround(facts) => Ok(facts),
        _ => Err(reach::unexpected()),
    }
}

/// What is tried.
fn drafted(
    arguments: &SimulateArguments,
    (sources, base): (&Sources, &Bundle),
    facts: &[AgentFacts],
) -> Result<Draft, Fault> {
    if let Some(dir) = &arguments.policies {
        return files(dir, sources, base);
    }
    if let Some(policy) = &arguments.enforce {
        return named(facts, policy).map(Draft::Enforce);
    }
    if let Some(policy) = &arguments.without {
        return named(facts, policy).map(Draft::Without);
    }
    let Some(file) = &arguments.draft else { return Ok(Draft::Unchanged) };
    let replaces = arguments.replace.as_deref().map(|policy| named(facts, policy)).transpose()?;
    if file.extension().is_some_and(|extension| extension == "cedar") {
        let text = PolicyText::Cedar(preview::read(file)?);
        return Ok(Draft::Policy(Box::new(NewPolicy { text, replaces, member: arguments.member })));
    }
    let given = stored::draft(file)?;
    let text = given.text().map_err(|faults| {
        let lines: Vec<String> =
            faults.iter().map(|fault| format!("\n  {}", one_line(&fault.to_string()))).collect();
        Fault::problem(format!("`{}` is no policy:{}", file.display(), lines.concat()))
    })?;
    let member = arguments.member.or(given.member_id);
    Ok(Draft::Policy(Box::new(NewPolicy { text, replaces, member })))
}

/// The files of another directory, with the connectors of this gate.
fn files(dir: &Path, sources: &Sources, base: &Bundle) -> Result<Draft, Fault> {
    // Connectors are read from where the gate has them: an empty place of the draft's own holds none.
    let places = Places { policies: dir.to_owned(), connectors: dir.to_owned(), show: Default::default() };
    let rejected = |diagnostics: Vec<crate::model::Diagnostic>| {
        let count = counted(diagnostics.len() as u64, "fault", "faults");
        Fault::problem(format!("the policies of `{}` do not load: {count}", dir.display()))
            .with_diagnostics(diagnostics)
    };
    let policies = Files::read(&places).map_err(rejected)?.into_policies();
    let tried = Sources { policies, ..sources.clone() };
    Bundle::rebuild(&tried, base).map(|bundle| Draft::Files(Arc::new(bundle))).map_err(rejected)
}

/// The stored policy of this key or id.
fn named(facts: &[AgentFacts], given: &str) -> Result<PolicyId, Fault> {
    let mut policies = facts.iter().flat_map(|agent| &agent.policies);
    let found = policies.find(|policy| policy.key.as_str() == given || policy.id.to_string() == given);
    found.map(|policy| policy.id).ok_or_else(|| {
        Fault::problem(format!("the agent stores no policy `{}`", one_line(given)))
            .with_help("`wicket policy list --agent AGENT` names those that it stores")
    })
}

fn refused(fault: &DraftFault) -> Fault {
    let DraftFault::DoesNotLoad(faults) = fault else { return Fault::problem(fault.to_string()) };
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {}", one_line(fault))).collect();
    Fault::problem(format!("the draft does not load:{}", lines.concat()))
}

/// Replays, and says on a terminal how far it is.
fn watched(
    work: impl FnOnce(&mut dyn FnMut(Stand) -> ControlFlow<()>) -> Result<Simulation, Failed>,
) -> Result<Simulation, Fault> {
    let shows = std::io::stderr().is_terminal();
    let mut told = Instant::now();
    let mut look = |stand: Stand| {
        if shows && told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            let (read, of) = (bytes(stand.progress.read), bytes(stand.progress.of));
            let line = format!("\r{read} of {of}: {} calls, {} change   ", stand.calls, stand.changed);
            let _unseen = std::io::stderr().write_all(line.as_bytes());
        }
        ControlFlow::Continue(())
    };
    let found = work(&mut look);
    if shows {
        let _unseen = std::io::stderr().write_all(b"\r\x1b[K");
    }
    found.map_err(|failed| match failed {
        Failed::Journal(error) => Fault::problem(one_line(&error.to_string()))
            .with_help("run the command as the account that runs the gate"),
        Failed::BrokenOff => Fault::problem("the simulation was broken off"),
    })
}

//! `wicket policy …`: files tried, tested and explained.

mod counted;
mod diff;
mod place;
mod preview;
mod prove;
mod simulate;
mod stored;
mod trial;
mod watch;

use std::collections::BTreeMap;

use super::accounts::json_of;
use super::arguments::inspect::{ExplainArguments, PolicyCommand};
use super::audit;
use super::ending::{Ending, Fault, Page, located};
use super::output::{Style, counted, lines, one_line};
use super::reach;
use super::settings::Settings;
use crate::app::{Files, Places};
use crate::control::reply::Explained;
use crate::control::request::ExplainQuestion;
use crate::control::{AdminReply, AdminRequest};
use crate::policy::{Bundle, Sources};

/// Whether the command asks the gate (who is who stands in its store), or reads files alone.
pub fn needs_gate(command: &PolicyCommand) -> bool {
    match command {
        PolicyCommand::Explain(_) | PolicyCommand::Stored(_) | PolicyCommand::Simulate(_) => true,
        PolicyCommand::Diff(asked) => asked.agent.is_some(),
        _ => false,
    }
}

/// `wicket policy check | test | preview | schema | prove | diff`
pub fn offline(settings: &Settings, command: &PolicyCommand) -> Result<Page, Fault> {
    match command {
        PolicyCommand::Shadow(arguments) => return simulate::shadow(settings, arguments),
        PolicyCommand::Test(asked) if asked.watch => return watch::page(settings, asked),
        PolicyCommand::Test(asked) => return trial::page(settings, asked),
        PolicyCommand::Diff(asked) => return diff::page(settings, asked, None),
        _ => {}
    }
    let (sources, bundle) = load(settings)?;
    match command {
        PolicyCommand::Schema => Ok(Page::fine(bundle.schema_text().to_owned())),
        PolicyCommand::Check => check(settings, &bundle),
        PolicyCommand::Preview { file } => preview::page(settings, &sources, &bundle, file),
        PolicyCommand::Prove(asked) => prove::page(settings, &bundle, asked),
        _ => Err(Fault::usage("this command asks the gate")),
    }
}

/// Reads the files and builds the bundle that they make.
pub fn load(settings: &Settings) -> Result<(Sources, Bundle), Fault> {
    let config = &settings.config;
    let places = Places {
        policies: config.policies.dir.clone(),
        connectors: config.connectors.dir.clone(),
        show: config.policies.show,
    };
    let rejected = |diagnostics: Vec<crate::model::Diagnostic>| {
        let count = counted(diagnostics.len() as u64, "fault", "faults");
        Fault::problem(format!("the policies and connectors do not load: {count}"))
            .with_diagnostics(diagnostics)
            .with_help("a running gate keeps the set that it has until these are mended")
    };
    let sources = Files::read(&places).and_then(Files::sources).map_err(rejected)?;
    let bundle = Bundle::build(&sources).map_err(rejected)?;
    Ok((sources, bundle))
}

fn check(settings: &Settings, bundle: &Bundle) -> Result<Page, Fault> {
    if settings.json {
        let report = serde_json::json!({
            "digest": bundle.digest(),
            "policies": bundle.policies(),
            "warnings": bundle.warnings(),
        });
        return Ok(Page::fine(format!("{report:#}\n")));
    }
    let style = settings.style;
    let mut text = format!(
        "{}  {}, {}\n  {}\n",
        style.good("the policies hold"),
        counted(bundle.policies().len() as u64, "policy", "policies"),
        counted(bundle.connectors().iter().count() as u64, "connector", "connectors"),
        bundle.digest()
    );
    text.push_str(&warnings(bundle, style));
    Ok(Page::fine(text))
}

/// What the bundle's lints say.
pub fn warnings(bundle: &Bundle, style: Style) -> String {
    bundle
        .warnings()
        .iter()
        .map(|warning| format!("{} {}\n", style.warn("warning:"), located(warning, style)))
        .collect()
}

/// How the policies' own cases came out.
pub struct CasesReport {
    pub passed: bool,
    pub text: String,
}

/// Runs `cases.toml` against the bundle.
pub fn run_cases(sources: &Sources, bundle: &Bundle) -> Result<CasesReport, Fault> {
    let report = trial::run(sources, bundle, &[])?;
    let Some(report) = report else {
        return Ok(CasesReport { passed: true, text: trial::NO_CASES.to_owned() });
    };
    let text = format!("{}\n", lines(&report.to_string()));
    Ok(CasesReport { passed: report.is_passed(), text })
}

/// The commands that ask the gate.
pub async fn ask(settings: &Settings, command: PolicyCommand) -> Result<Page, Fault> {
    match command {
        PolicyCommand::Explain(arguments) => explain(settings, arguments).await,
        PolicyCommand::Stored(command) => Box::pin(stored::stored(settings, command)).await,
        PolicyCommand::Simulate(arguments) => simulate::simulate(settings, *arguments).await,
        PolicyCommand::Diff(mut asked) => match asked.agent.take() {
            Some(agent) => diff::of_agent(settings, &asked, agent).await,
            None => diff::page(settings, &asked, None),
        },
        _ => Err(Fault::usage("this command does not ask the gate")),
    }
}

/// `wicket policy explain`
async fn explain(settings: &Settings, arguments: Box<ExplainArguments>) -> Result<Page, Fault> {
    let mut caveats = Vec::new();
    let question = match arguments.call {
        Some(call) => {
            caveats
                .push("arguments are as recorded: a value that was redacted counts as its mask".to_owned());
            let (question, shadow) = audit::recorded(settings, call)?;
            caveats.extend(shadow);
            question
        }
        None => supposed(*arguments)?,
    };
    let reply = reach::ask(settings, AdminRequest::Explain { question }).await?;
    let AdminReply::Explained(explained) = &reply else { return Err(reach::unexpected()) };
    let ending = if explained.allowed { Ending::Fine } else { Ending::Problem };
    let text = if settings.json { json_of(&reply)? } else { render(explained, &caveats, settings.style) };
    Ok(Page::with_ending(text, ending))
}

fn render(explained: &Explained, caveats: &[String], style: Style) -> String {
    let mut text = lines(&explained.text);
    text.push('\n');
    for caveat in caveats.iter().chain(&explained.caveats) {
        text.push_str(&format!("{} {}\n", style.warn("mind:"), one_line(caveat)));
    }
    text
}

fn supposed(arguments: ExplainArguments) -> Result<ExplainQuestion, Fault> {
    let missing = || Fault::usage("an agent, a member and a tool are needed, or a recorded call");
    let value = serde_json::from_str(&arguments.args).map_err(|error| {
        Fault::usage(format!("--args is no JSON: {error}"))
            .with_help("quote it for the shell, as in --args '{\"path\": \"/tmp/a\"}'")
    })?;
    Ok(ExplainQuestion {
        agent: arguments.agent.ok_or_else(missing)?,
        member: arguments.member.ok_or_else(missing)?,
        tool: arguments.tool.ok_or_else(missing)?,
        arguments: value,
        at: arguments.at,
        ip: None,
        session: arguments.session_counters.into_iter().collect::<BTreeMap<_, _>>(),
        member_counters: arguments.member_counters.into_iter().collect::<BTreeMap<_, _>>(),
        recorded: false,
    })
}

//! `wicket policy test`: the policies' own cases, run once, or again and again.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use super::counted::Counted;
use super::{load, preview};
use crate::cli::arguments::trial::TrialArguments;
use crate::cli::ending::{Ending, Fault, Page};
use crate::cli::output::lines;
use crate::cli::settings::Settings;
use crate::model::{PolicyKey, SourceFile};
use crate::policy::cases::{self, Report, Running};
use crate::policy::{Bundle, Sources, structured};

/// Bytes of a policy that is tried beside the files.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Runs the cases once.
pub fn page(settings: &Settings, asked: &TrialArguments) -> Result<Page, Fault> {
    let (sources, bundle) = load(settings)?;
    let (sources, bundle) = beside(sources, bundle, asked)?;
    let Some(report) = run(&sources, &bundle, &asked.filters)? else {
        let text = if settings.json { "{\"results\":[]}\n" } else { NO_CASES };
        return Ok(Page::fine(text));
    };
    if let Some(path) = &asked.junit {
        std::fs::write(path, cases::junit(&report))
            .map_err(|error| Fault::problem(format!("`{}` cannot be written: {error}", path.display())))?;
    }
    let covered = asked.coverage_min.is_none_or(|least| report.coverage.percent >= least);
    let ending = if report.is_passed() && covered { Ending::Fine } else { Ending::Problem };
    if settings.json {
        let json =
            serde_json::to_string_pretty(&report).map_err(|error| Fault::problem(error.to_string()))?;
        return Ok(Page::with_ending(format!("{json}\n"), ending));
    }
    let mut text = format!("{}\n", lines(&report.to_string()));
    if asked.coverage {
        text.push_str(&format!("\n{}\n", lines(&report.coverage.to_string())));
    }
    if let Some(least) = asked.coverage_min.filter(|_| !covered) {
        let percent = report.coverage.percent;
        let says = format!("{percent}% are exercised, and {least}% are asked for");
        text.push_str(&format!("{} {says}\n", settings.style.bad("FAILED")));
    }
    Ok(Page::with_ending(text, ending))
}

/// What is said where there is nothing to run.
pub const NO_CASES: &str = "there are no cases: write some in policies/cases.toml\n";

/// Runs the cases; `None` where there are none.
pub fn run(sources: &Sources, bundle: &Bundle, filters: &[String]) -> Result<Option<Report>, Fault> {
    let Some(source) = &sources.cases else { return Ok(None) };
    let began = Instant::now();
    let mut counters = Counted::new();
    let mut running = Running { filters, counters: &mut counters, elapsed: &|| began.elapsed() };
    let report = cases::run(bundle, source, &mut running).map_err(|diagnostics| {
        Fault::problem(format!("`{}` does not read", source.name)).with_diagnostics(diagnostics)
    })?;
    Ok(Some(report))
}

/// The set with the policies that the command names beside the files.
fn beside(mut sources: Sources, bundle: Bundle, asked: &TrialArguments) -> Result<(Sources, Bundle), Fault> {
    if asked.with.is_empty() {
        return Ok((sources, bundle));
    }
    let mut taken: BTreeSet<PolicyKey> = bundle.policies().iter().map(|info| info.key.clone()).collect();
    for path in &asked.with {
        let text = read(path)?;
        let text = if path.extension().is_some_and(|extension| extension == "cedar") {
            text
        } else {
            let policy = preview::form(path, &text)?;
            let key = structured::key_of(&policy.name, &taken)
                .ok_or_else(|| Fault::problem("no key can be made of the policy's name"))?;
            let ground = structured::Ground { connectors: bundle.connectors(), policies: &taken };
            let compiled =
                structured::compile(&policy, &key, ground).map_err(|faults| preview::refused(&faults))?;
            taken.insert(key);
            compiled.text
        };
        sources.policies.push(SourceFile::new(&path.display().to_string(), &text));
    }
    let bundle = Bundle::rebuild(&sources, &bundle).map_err(|diagnostics| {
        Fault::problem("the policies do not load with those beside them").with_diagnostics(diagnostics)
    })?;
    Ok((sources, bundle))
}

fn read(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| Fault::problem(format!("`{}`: {error}", path.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(unreadable)?;
    opened.take(POLICY_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

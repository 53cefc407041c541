//! `wicket policy preview`: a structured policy as the Cedar that would be evaluated.

use std::io::Read as _;
use std::path::Path;

use crate::cli::ending::{Fault, Page};
use crate::cli::output::{Style, counted, one_line};
use crate::cli::settings::Settings;
use crate::model::StructuredPolicy;
use crate::policy::{Bundle, Preview, Sources, Touched, structured};

/// Bytes of a policy's JSON.
const POLICY_BYTES_MAX: u64 = 1 << 20;
/// Tools that are named.
const TOOLS_NAMED_MAX: usize = 20;

/// Reads, previews and prints.
pub fn page(settings: &Settings, sources: &Sources, bundle: &Bundle, file: &Path) -> Result<Page, Fault> {
    let text = read(file)?;
    let policy = form(file, &text)?;
    let preview = bundle.preview(&policy, sources).map_err(|faults| refused(&faults))?;
    if settings.json {
        let json =
            serde_json::to_string_pretty(&preview).map_err(|error| Fault::problem(error.to_string()))?;
        return Ok(Page::fine(format!("{json}\n")));
    }
    Ok(Page::fine(render(&preview, settings.style)))
}

/// The policy that this text of a file holds.
pub fn form(file: &Path, text: &str) -> Result<StructuredPolicy, Fault> {
    serde_json::from_str(text).map_err(|error| {
        Fault::problem(format!("`{}` is no structured policy: {error}", file.display()))
            .with_help("docs/guide/structured-policies.md shows the form")
    })
}

/// What is wrong with a policy.
pub fn refused(faults: &[structured::Fault]) -> Fault {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("\n  {}", one_line(&fault.to_string()))).collect();
    Fault::problem(format!("the policy does not compile:{}", lines.concat()))
}

pub(super) fn read(file: &Path) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| Fault::problem(format!("`{}`: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(POLICY_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(POLICY_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    }
    Ok(text)
}

fn render(preview: &Preview, style: Style) -> String {
    let mut text = preview.cedar.clone();
    text.push_str(&format!("\n{}\n", touched(&preview.tools)));
    for finding in &preview.findings {
        text.push_str(&format!("{} {}\n", style.warn("mind:"), one_line(&finding.says)));
    }
    text
}

fn touched(tools: &[Touched]) -> String {
    let count = counted(tools.len() as u64, "tool", "tools");
    let named: Vec<String> =
        tools.iter().take(TOOLS_NAMED_MAX).map(|one| format!("{} ({})", one.tool, one.tier)).collect();
    let more = tools.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("It touches {count}: {}{more}.", named.join(", "))
}

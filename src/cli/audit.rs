//! `wicket audit …`: the journal read, searched and proved.

mod line;

use std::path::Path;

use super::accounts::json_of;
use super::arguments::inspect::{AuditCommand, AuditFilters, AuditResult};
use super::ending::{Ending, Fault, Page};
use super::output::{self, Style, Table, counted, one_line, print_on};
use super::reach;
use super::settings::Settings;
use crate::audit::{Entry, EntryKind, JournalError, verify as verify_journal};
use crate::control::reply::AuditPage;
use crate::control::request::{AuditQuestion, ExplainQuestion};
use crate::control::secrets::Secrets;
use crate::control::{AdminReply, AdminRequest};
use crate::keys::VerifyingKey;
use crate::model::CallId;

/// `wicket audit tail`
pub fn tail(settings: &Settings, count: u32, follow: bool) -> Result<Page, Fault> {
    let dir = settings.config.journal_dir();
    if !dir.exists() {
        return Err(no_journal(&dir));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let wanted = |entry: &Entry| settings.json || line::is_of_interest(entry.kind);
    let mut tail = crate::audit::tail(&dir, count, &wanted).map_err(|error| unreadable(&error))?;
    let render = |entry: &Entry| {
        if settings.json { format!("{}\n", entry.text) } else { line::render(entry, settings.style) }
    };
    if !follow {
        let mut text = String::new();
        while let Some(entry) = tail.next_now().map_err(|error| unreadable(&error))? {
            if wanted(&entry) {
                text.push_str(&render(&entry));
            }
        }
        if text.is_empty() && !settings.json {
            text.push_str("the journal holds no calls yet\n");
        }
        return Ok(Page::fine(text));
    }
    reach::with_runtime(async {
        loop {
            let entry = tokio::select! {
                entry = tail.next_followed() => entry.map_err(|error| unreadable(&error))?,
                _ = tokio::signal::ctrl_c() => return Ok(Page::fine("")),
            };
            if wanted(&entry) && !print_on(&render(&entry)) {
                return Ok(Page::fine(""));
            }
        }
    })
}

/// `wicket audit verify`
pub fn verify(
    settings: &Settings,
    witness: Option<&Path>,
    journal: Option<&Path>,
    key: Option<&str>,
) -> Result<Page, Fault> {
    let own = settings.config.journal_dir();
    let dir = journal.unwrap_or(&own);
    if !dir.exists() {
        return Err(no_journal(dir));
    }
    let key = match key {
        Some(text) => VerifyingKey::parse(text).map_err(|error| {
            Fault::usage(format!("--key is no verifying key: {error}"))
                .with_help("`wicket audit verify` prints the gate's own")
        })?,
        None => own_key(settings)?,
    };
    let own_witness = settings.config.witness_file();
    let witness =
        witness.or_else(|| Some(own_witness.as_path()).filter(|path| journal.is_none() && path.exists()));
    let report = verify_journal(dir, &key, witness).map_err(|error| unreadable(&error))?;
    let ending = if report.is_intact() { Ending::Fine } else { Ending::Problem };
    if settings.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Fault::problem(error.to_string()))?;
        return Ok(Page::with_ending(format!("{text}\n"), ending));
    }
    let mut text = format!("{}\nkey: {key}\n", output::lines(&report.to_string()));
    if ending == Ending::Problem {
        text.push_str(&format!(
            "{} keep a copy of the directory as it is before anything else; compare it with your backup and the witness\n",
            settings.style.faint(" next:")
        ));
    }
    Ok(Page::with_ending(text, ending))
}

fn own_key(settings: &Settings) -> Result<VerifyingKey, Fault> {
    let dir = &settings.config.data_dir;
    let absent = || {
        Fault::problem(format!("`{}` holds no signing key to verify with", dir.display()))
            .with_help("name the gate's data directory with --data-dir, or its verifying key with --key")
    };
    Secrets::verifying_key(dir).map_err(|fault| Fault::problem(fault.to_string()))?.ok_or_else(absent)
}

/// `wicket audit query`
pub async fn query(settings: &Settings, command: AuditCommand) -> Result<Page, Fault> {
    let AuditCommand::Query(filters) = command else {
        return Err(Fault::usage("this command does not ask the gate"));
    };
    let (limit, offset) = (filters.limit, filters.offset);
    let reply = reach::ask(settings, AdminRequest::AuditQuery { filter: question(*filters) }).await?;
    let AdminReply::Audit(page) = &reply else { return Err(reach::unexpected()) };
    Ok(Page::fine(if settings.json {
        json_of(&reply)?
    } else {
        render(page, u64::from(limit), offset, settings.style)
    }))
}

fn question(filters: AuditFilters) -> AuditQuestion {
    AuditQuestion {
        from: filters.from,
        to: filters.to,
        agent: filters.agent,
        service: filters.service,
        tool: filters.tool,
        allowed: filters.result.map(|result| result == AuditResult::Allow),
        member: filters.member,
        policy: filters.policy,
        limit: Some(filters.limit),
        offset: filters.offset,
    }
}

/// What policies in shadow mode would have made of a call: ` (shadow: DENY by no-writes)`.
fn shadowed(entry: &serde_json::Value) -> String {
    let Some(shadow) = entry.get("shadow").filter(|shadow| shadow.is_object()) else { return String::new() };
    let keys = |list: &str, name: &str| -> Vec<String> {
        let list = shadow.get(list).and_then(|list| list.as_array());
        let keys = list.into_iter().flatten().filter_map(|one| one.get(name)?.as_str());
        keys.map(str::to_owned).collect()
    };
    let decision = shadow.get("decision").and_then(|decision| decision.as_str()).unwrap_or("-");
    let (by, failed) = (keys("policies", "key"), keys("errors", "policy"));
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    let failed = if failed.is_empty() { String::new() } else { format!(", {} failed", failed.join(", ")) };
    format!(" (shadow: {decision}{by}{failed})")
}

fn render(page: &AuditPage, limit: u64, offset: u64, style: Style) -> String {
    if page.entries.is_empty() {
        return format!("no call matches ({} in all)\n", page.total);
    }
    let mut table =
        Table::new(&["TIME", "DECISION", "AGENT", "MEMBER", "TOOL", "RESOURCE", "BY", "END", "REQUEST ID"]);
    for entry in &page.entries {
        let text = |name: &str| entry.get(name).and_then(|v| v.as_str()).unwrap_or("-").to_owned();
        let by: Vec<&str> = entry
            .get("matchedPolicyIds")
            .and_then(|ids| ids.as_array())
            .map(|ids| ids.iter().filter_map(|id| id.as_str()).collect())
            .unwrap_or_default();
        let by = if by.is_empty() { text("reason") } else { by.join(", ") };
        let by = format!("{by}{}", shadowed(entry));
        table.row([
            text("timestamp"),
            text("decision"),
            text("agentName"),
            text("memberName"),
            format!("{}__{}", text("service"), text("tool")),
            text("resource"),
            by,
            text("outcome"),
            text("id"),
        ]);
    }
    let shown = page.entries.len() as u64;
    let mut text = table.render(0, style);
    let total = counted(page.total, "call matches", "calls match");
    text.push_str(&style.faint(&format!("{total}, {shown} shown")));
    if offset + shown < page.total {
        text.push_str(&style.faint(&format!("; more with --offset {}", offset + limit.min(shown))));
    }
    text.push('\n');
    text
}

/// A recorded call as a question: what its journal entry says it was decided on; and what the entry says that
/// policies in shadow would have made of it, where that was something else.
pub fn recorded(settings: &Settings, call: CallId) -> Result<(ExplainQuestion, Option<String>), Fault> {
    let dir = settings.config.journal_dir();
    let id = call.to_string();
    let wanted = |entry: &Entry| {
        matches!(entry.kind, EntryKind::Intent | EntryKind::Denial) && entry.text.contains(&id)
    };
    let unknown = || {
        Fault::problem(format!("the journal in `{}` holds no call `{id}`", dir.display()))
            .with_help("`wicket audit query` and `wicket audit tail` show request ids; its segment may be gone by retention")
    };
    if !dir.exists() {
        return Err(no_journal(&dir));
    }
    let mut tail = crate::audit::tail(&dir, 1, &wanted).map_err(|error| unreadable(&error))?;
    let entry = tail.next_now().map_err(|error| unreadable(&error))?.filter(|entry| wanted(entry));
    let entry = entry.ok_or_else(unknown)?.json().map_err(|error| unreadable(&error))?;
    let question = question_of(&entry)
        .ok_or_else(|| Fault::problem(format!("the journal's entry of call `{id}` lacks a field")))?;
    Ok((question, shadow_of(&entry)))
}

fn shadow_of(entry: &serde_json::Value) -> Option<String> {
    let shadow = entry.get("shadow")?;
    let decision = shadow.get("decision")?.as_str()?;
    let policies = shadow.get("policies").and_then(|policies| policies.as_array()).into_iter().flatten();
    let keys: Vec<String> =
        policies.filter_map(|policy| Some(format!("`{}`", policy.get("key")?.as_str()?))).collect();
    let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
    Some(format!("when it was made, policies in shadow would have made it {decision}{by}"))
}

fn question_of(entry: &serde_json::Value) -> Option<ExplainQuestion> {
    let text = |name: &str| entry.get(name).and_then(|value| value.as_str());
    let counters = |scope: &str| {
        let history = entry.get("history").and_then(|history| history.get(scope));
        history
            .map(|counters| serde_json::from_value(counters.clone()).ok())
            .unwrap_or(Some(Default::default()))
    };
    Some(ExplainQuestion {
        agent: text("agentId")?.to_owned(),
        member: text("memberId")?.to_owned(),
        tool: format!("{}__{}", text("service")?, text("tool")?),
        arguments: entry.get("toolArgs").cloned().unwrap_or_default(),
        at: crate::model::Timestamp::parse(text("timestamp")?).ok(),
        ip: text("callerIp").and_then(|ip| ip.parse().ok()),
        session: counters("session")?,
        member_counters: counters("member")?,
        recorded: true,
    })
}

fn no_journal(dir: &Path) -> Fault {
    Fault::problem(format!("there is no journal in `{}`", dir.display()))
        .with_help("it begins with the gate's first start; --data-dir names another data directory")
}

fn unreadable(error: &JournalError) -> Fault {
    Fault::problem(one_line(&error.to_string())).with_help(
        "run the command as the account that runs the gate; `wicket audit verify` names a damaged entry",
    )
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;

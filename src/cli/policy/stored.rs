//! `wicket policy list` and the rest that is about the policies which an agent stores.

use serde_json::Value;

use super::preview::read;
use crate::cli::accounts::answer;
use crate::cli::arguments::stored::{StoredCommand, Which};
use crate::cli::ending::{Fault, Page};
use crate::cli::output::{Style, Table, ago, counted, lines, one_line};
use crate::cli::settings::Settings;
use crate::control::policies::{PolicyDraft, PolicyVersions, PolicyView};
use crate::control::{AdminReply, AdminRequest};
use crate::model::{PolicyEffect, Timestamp};

/// Fields that are shown of a policy and are no part of a draft.
const SHOWN_ALONE: [&str; 8] =
    ["id", "policyKey", "triggerCount", "lastTriggered", "createdAt", "updatedAt", "updatedBy", "compiled"];

/// Asks and prints.
pub async fn stored(settings: &Settings, command: StoredCommand) -> Result<Page, Fault> {
    use StoredCommand as C;
    let request = match command {
        C::List { agent, search } => AdminRequest::PolicyList { agent, search },
        C::Show(Which { agent, policy }) => AdminRequest::PolicyShow { agent, policy },
        C::Create { agent, file } => {
            let mut draft = draft(&file)?;
            // Of a policy that was shown, which a new one is made of.
            draft.version = None;
            AdminRequest::PolicyCreate { agent, draft: Box::new(draft) }
        }
        C::Update { which: Which { agent, policy }, file } => {
            AdminRequest::PolicyUpdate { agent, policy, draft: Box::new(draft(&file)?) }
        }
        C::Enable(Which { agent, policy }) => AdminRequest::PolicyToggle { agent, policy, enabled: true },
        C::Disable(Which { agent, policy }) => AdminRequest::PolicyToggle { agent, policy, enabled: false },
        C::Delete { which, yes: false } => {
            return Err(Fault::usage(format!(
                "deleting policy `{}` takes its versions with it and cannot be undone",
                one_line(&which.policy)
            ))
            .with_help("say it again with --yes; to take it out of decisions use `wicket policy disable`"));
        }
        C::Delete { which: Which { agent, policy }, yes: true } => {
            AdminRequest::PolicyDelete { agent, policy }
        }
        C::Versions(Which { agent, policy }) => AdminRequest::PolicyVersions { agent, policy },
        C::Rollback { which: Which { agent, policy }, version } => {
            AdminRequest::PolicyRollback { agent, policy, version }
        }
    };
    answer(settings, request, show).await
}

/// A draft, or a policy as it was shown.
pub(super) fn draft(file: &std::path::Path) -> Result<PolicyDraft, Fault> {
    let text = read(file)?;
    let unfit = |error: serde_json::Error| {
        Fault::problem(format!("`{}` is no policy: {error}", file.display()))
            .with_help("docs/guide/structured-policies.md shows the form")
    };
    let mut value: Value = serde_json::from_str(&text).map_err(unfit)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| !SHOWN_ALONE.contains(&name.as_str()) && !value.is_null());
    }
    serde_json::from_value(value).map_err(unfit)
}

fn show(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Policy(view) => Some(page(view, style)),
        AdminReply::Policies(found) if found.policies.is_empty() => {
            Some("no stored policies; make one: wicket policy create --agent AGENT FILE\n".to_owned())
        }
        AdminReply::Policies(found) => {
            let mut text = table(&found.policies).render(0, style);
            let more = found.total.saturating_sub(found.policies.len() as u64);
            if more > 0 {
                text.push_str(&format!("and {more} more; --search narrows the list\n"));
            }
            Some(text)
        }
        AdminReply::PolicyVersions(found) => Some(versions(found, style)),
        AdminReply::Gone(what) => Some(format!("{}\n", one_line(what))),
        _ => None,
    }
}

fn table(policies: &[PolicyView]) -> Table {
    let mut table = Table::new(&["KEY", "EFFECT", "CONNECTOR", "STATE", "VERSION", "HITS", "LAST", "NAME"]);
    for view in policies {
        table.row([
            view.policy_key.to_string(),
            effect(view).to_owned(),
            view.service.as_ref().map_or_else(|| "any".to_owned(), ToString::to_string),
            state(view).to_owned(),
            view.version.to_string(),
            view.trigger_count.to_string(),
            view.last_triggered.map_or_else(|| "never".to_owned(), |at| ago(at, Some(Timestamp::now()))),
            one_line(&view.name),
        ]);
    }
    table
}

fn effect(view: &PolicyView) -> &'static str {
    match view.effect {
        Some(PolicyEffect::Permit) => "permit",
        _ => "forbid",
    }
}

fn state(view: &PolicyView) -> &'static str {
    match (view.enabled, view.mode) {
        (false, _) => "off",
        (true, crate::control::policies::Applied::Shadow) => "shadow",
        (true, crate::control::policies::Applied::Enforced) => "enforced",
    }
}

fn page(view: &PolicyView, style: Style) -> String {
    let mut text = format!("{}  {}\n", style.strong(&one_line(&view.name)), state(view));
    let uses = counted(view.trigger_count, "call", "calls");
    for (label, value) in [
        ("key", view.policy_key.to_string()),
        ("id", view.id.to_string()),
        ("effect", effect(view).to_owned()),
        ("version", format!("{}, saved {} by {}", view.version, view.updated_at, one_line(&view.updated_by))),
        ("determined", uses),
    ] {
        text.push_str(&format!("  {label:<11} {value}\n"));
    }
    if let Some(member) = view.member_id {
        text.push_str(&format!("  {:<11} {member}\n", "member"));
    }
    text.push_str(&format!("\n{}\n", lines(&view.compiled)));
    text
}

fn versions(found: &PolicyVersions, style: Style) -> String {
    let mut text = String::new();
    for version in &found.versions {
        let head = format!("version {}", version.version);
        text.push_str(&format!(
            "{}  {} by {}\n",
            style.strong(&head),
            version.saved_at,
            one_line(&version.saved_by)
        ));
        if let Some(comment) = &version.comment {
            text.push_str(&format!("  {}\n", one_line(comment)));
        }
        if !version.changed_fields.is_empty() {
            text.push_str(&format!("  changed: {}\n", version.changed_fields.join(", ")));
        }
        for line in lines(&version.diff).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
    }
    text
}

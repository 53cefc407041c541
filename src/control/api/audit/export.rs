//! `GET /api/audit/export`: the audit as CSV, streamed.
//!
//! Invariants: one page is in memory, however long the export is; who asks is asked again before each
//! page; an export that breaks off does not end like a whole one; no cell begins like a formula.

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asker::Asker;
use super::entry::AuditEntry;
use super::lasting;
use super::question::{ExportKind, ExportQuery};
use crate::control::api::ApiState;
use crate::control::api::access::{Signed, need};
use crate::control::api::changes::ChangeEntry;
use crate::control::api::extract::Query;
use crate::control::api::problem::{Problem, Refusals};
use crate::store::{AuditFilter, AuditPlace, ChangeFilter, Sight};

/// Rows that are in memory at once.
const PAGE_ROWS: u32 = 500;

const CALLS: [&str; 24] = [
    "id",
    "timestamp",
    "agentId",
    "agentName",
    "memberId",
    "memberName",
    "memberKeyId",
    "sessionId",
    "service",
    "tool",
    "principal",
    "action",
    "resource",
    "callerIp",
    "toolArgs",
    "decision",
    "reason",
    "reasonCode",
    "matchedPolicyIds",
    "matchedPolicyNames",
    "outcome",
    "status",
    "durationMs",
    "bundle",
];
const CHANGES: [&str; 11] =
    ["id", "timestamp", "endedAt", "phase", "who", "account", "what", "target", "agentId", "before", "after"];

/// CSV export
///
/// The same entries and filters as `GET /api/audit`, newest first, as CSV (RFC 4180, UTF-8, one line of
/// names). At most 500 unless `exportAll=true`, which streams all that match. `kind=changes` exports
/// administrative changes.
///
/// A cell that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a
/// carriage return) begins with an apostrophe here.
#[utoipa::path(
    get, path = "/api/audit/export", operation_id = "exportAudit", tag = "Audit", params(ExportQuery),
    responses(
        (status = 200, description = "CSV", body = String, content_type = "text/csv",
         example = "id,timestamp,agentId\r\n0197646e-7f18-7c3e-9a41-0e8f6b2d7c11,2026-06-12T15:21:43.000Z,01976400-0000-7000-8000-000000000001\r\n"),
        Refusals,
    ),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn export_audit(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<ExportQuery>,
) -> Result<Response<Body>, Problem> {
    let asker = Asker::new(state, signed.caller);
    let sight = asker.sight().await?;
    let (kind, left) = (query.kind(), query.entries()?);
    let question = match kind {
        ExportKind::Calls => Question::Calls(Box::new(query.filter(sight)?)),
        ExportKind::Changes => {
            let (from, to) = query.time();
            let filter = ChangeFilter { from, to, ..ChangeFilter::default() };
            Question::Changes(Box::new(filter), asker.caller().account.email.clone())
        }
    };
    let mut export = Export { asker, question, left, offset: query.offset(), place: None, done: false };
    // The first page before the head: what is wrong with the question is a refusal and not a broken file.
    let first = export.page(true).await?;
    let (sender, body) = lasting::body();
    tokio::spawn(async move {
        let mut page = Ok(first);
        loop {
            let broken = page.is_err();
            if !lasting::hand(&sender, page).await || broken || export.done {
                return;
            }
            page = export.page(false).await.map_err(|_| std::io::Error::other("the export breaks off"));
        }
    });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    let name = match kind {
        ExportKind::Calls => "attachment; filename=\"audit.csv\"",
        ExportKind::Changes => "attachment; filename=\"changes.csv\"",
    };
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(response)
}

enum Question {
    Calls(Box<AuditFilter>),
    Changes(Box<ChangeFilter>, crate::model::EmailAddress),
}

struct Export {
    asker: Asker,
    question: Question,
    /// Rows that may come yet; all without.
    left: Option<u32>,
    offset: u64,
    place: Option<AuditPlace>,
    done: bool,
}

impl Export {
    /// The next page as text.
    async fn page(&mut self, first: bool) -> Result<Bytes, Problem> {
        let sight = self.asker.sight().await?;
        let limit = self.left.map_or(PAGE_ROWS, |left| left.min(PAGE_ROWS));
        let mut text = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let (rows, next) = match &self.question {
            Question::Calls(filter) => {
                let _place = super::place().await?;
                let filter =
                    AuditFilter { sight, limit, offset: self.offset, place: self.place, ..*filter.clone() };
                let found = self.asker.state().admin.store().audit().page(&filter).await?;
                if first {
                    written(text.write_record(CALLS))?;
                }
                for (cursor, row) in &found.rows {
                    written(text.write_record(call(&AuditEntry::of(*cursor, row, &filter.sight))))?;
                }
                (found.rows.len(), found.next)
            }
            Question::Changes(filter, account) => {
                let owned = match sight {
                    Sight::Account { owned, .. } => owned,
                    Sight::Everything => Vec::new(),
                };
                let (sight, place) = (Some((owned, account.clone())), self.place);
                let filter = ChangeFilter { sight, limit, offset: self.offset, place, ..*filter.clone() };
                let found = self.asker.state().admin.store().changes().query(&filter).await?;
                if first {
                    written(text.write_record(CHANGES))?;
                }
                for (cursor, row) in found.rows.iter().cloned() {
                    written(text.write_record(change(&ChangeEntry::of(cursor, row))))?;
                }
                (found.rows.len(), found.next)
            }
        };
        self.offset = 0;
        self.place = next.map(AuditPlace::Before);
        self.left = self.left.map(|left| left.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX)));
        self.done = self.place.is_none() || self.left == Some(0);
        text.into_inner().map(Bytes::from).map_err(|_| unwritten())
    }
}

fn written(done: Result<(), csv::Error>) -> Result<(), Problem> {
    done.map_err(|_| unwritten())
}

/// Writing into memory does not fail.
fn unwritten() -> Problem {
    Problem::new(crate::control::api::problem::Code::Internal, "the export cannot be written")
}

/// No spreadsheet takes this cell for a formula.
fn cell(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

fn call(entry: &AuditEntry) -> Vec<String> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        entry.id.to_string(),
        entry.timestamp.to_string(),
        entry.agent_id.to_string(),
        entry.agent_name.clone(),
        entry.member_id.to_string(),
        entry.member_name.clone(),
        entry.member_key_id.to_string(),
        entry.session_id.map(|session| session.to_string()).unwrap_or_default(),
        entry.service.clone(),
        entry.tool.clone(),
        entry.principal.clone(),
        entry.action.clone(),
        entry.resource.clone(),
        entry.caller_ip.to_string(),
        entry.tool_args.to_string(),
        entry.decision.as_str().to_owned(),
        entry.reason.clone(),
        entry.reason_code.clone(),
        entry.matched_policy_ids.join(" "),
        entry.matched_policy_names.join("; "),
        entry.outcome.unwrap_or_default().to_owned(),
        number(entry.status.map(u64::from)),
        number(entry.duration_ms),
        entry.bundle.clone(),
    ]
    .iter()
    .map(|text| cell(text))
    .collect()
}

fn change(entry: &ChangeEntry) -> Vec<String> {
    let json =
        |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        entry.id.to_string(),
        entry.timestamp.to_string(),
        entry.ended_at.map(|at| at.to_string()).unwrap_or_default(),
        entry.phase_word().to_owned(),
        entry.who.clone(),
        entry.account.clone().unwrap_or_default(),
        entry.what.clone(),
        entry.target.clone(),
        entry.agent_id.map(|agent| agent.to_string()).unwrap_or_default(),
        json(&entry.before),
        json(&entry.after),
    ]
    .iter()
    .map(|text| cell(text))
    .collect()
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(export_audit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula() {
        for (text, expected) in [
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}

//! The filters of specification 7.2 as they stand in a URL.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::control::api::problem::Problem;
use crate::model::{MemberId, PolicyKey, ServiceKey, SessionId, Timestamp};
use crate::store::{AuditCursor, AuditFilter, AuditPlace, OFFSET_ROWS_MAX, Sight};

/// Entries of a page, and where none are asked for (specification 7.2).
pub(crate) const ENTRIES_MAX: u32 = 500;
/// Characters of a text to search for.
pub(super) const SEARCH_CHARACTERS_MAX: usize = 128;

/// How a call was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum AuditDecision {
    Allow,
    Deny,
}

impl AuditDecision {
    pub(super) const fn of(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Deny }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
        }
    }
}

/// The filters, and what a route takes beside them: a query is one flat list of names.
macro_rules! filters {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields, default, rename_all = "camelCase")]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// Calls decided then or later.
            #[param(value_type = Option<String>, format = DateTime, example = "2026-06-01T00:00:00Z")]
            from: Option<Timestamp>,
            /// Calls decided then or earlier.
            #[param(value_type = Option<String>, format = DateTime, example = "2026-06-30T23:59:59Z")]
            to: Option<Timestamp>,
            /// Part of the agent's name, in any case.
            #[param(max_length = 128)]
            agent: Option<String>,
            /// The connector.
            #[param(value_type = Option<String>, max_length = 32, example = "github")]
            service: Option<ServiceKey>,
            /// Part of the tool's name, in any case.
            #[param(max_length = 128, example = "delete")]
            tool: Option<String>,
            /// How the call was decided.
            #[param(inline)]
            result: Option<AuditDecision>,
            /// The member's id; not an address.
            #[param(value_type = Option<String>, format = Uuid)]
            member: Option<MemberId>,
            /// The key of a policy that determined the decision, or the id of a stored one. Calls whose policies you may not know are
            /// not found by it.
            #[param(value_type = Option<String>, max_length = 100, example = "block-github-destructive-tools")]
            policy: Option<PolicyKey>,
            /// The tool session's id.
            #[param(value_type = Option<String>, max_length = 39)]
            session: Option<SessionId>,
            $($more)*
        }

        impl $name {
            fn filters(&self, sight: Sight) -> Result<AuditFilter, Problem> {
                Ok(AuditFilter {
                    sight,
                    from: self.from,
                    to: self.to,
                    agent: searched("query.agent", self.agent.as_deref())?,
                    service: self.service.clone(),
                    tool: searched("query.tool", self.tool.as_deref())?,
                    allowed: self.result.map(|result| result == AuditDecision::Allow),
                    member: self.member,
                    policy: self.policy.clone(),
                    session: self.session,
                    limit: 0,
                    offset: 0,
                    place: None,
                })
            }
        }
    };
}

filters! {
    /// What `GET /api/audit` takes.
    AuditQuery {
        /// Entries of a page.
        #[param(minimum = 1, maximum = 500, default = 500)]
        limit: Option<u32>,
        /// Entries to pass over, counted from the newest; further down only a cursor leads.
        #[param(minimum = 0, maximum = 100_000, default = 0)]
        offset: Option<u64>,
        /// A cursor: entries older than it.
        #[param(value_type = Option<String>, max_length = 32)]
        before: Option<AuditCursor>,
        /// A cursor: the entries next to it that are newer.
        #[param(value_type = Option<String>, max_length = 32)]
        after: Option<AuditCursor>,
    }
}

filters! {
    /// What `GET /api/audit/export` takes.
    ExportQuery {
        /// `calls`, or `changes`: administrative changes, of which only `from` and `to` are looked at.
        #[param(inline)]
        kind: ExportKind,
        /// Entries at most.
        #[param(minimum = 1, maximum = 500, default = 500)]
        max: Option<u32>,
        /// Entries to pass over, counted from the newest.
        #[param(minimum = 0, maximum = 100_000, default = 0)]
        offset: Option<u64>,
        /// All entries that match, however many; `max` and `offset` are not looked at.
        export_all: bool,
    }
}

filters! {
    /// What `GET /api/audit/live` takes.
    LiveQuery {}
}

/// What is exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExportKind {
    /// Calls, as `GET /api/audit` lists them.
    #[default]
    Calls,
    /// Administrative changes, as `GET /api/audit/changes` lists them.
    Changes,
}

impl AuditQuery {
    pub(super) fn filter(&self, sight: Sight) -> Result<AuditFilter, Problem> {
        let (limit, offset, place) = page(self.limit, self.offset, self.before, self.after)?;
        Ok(AuditFilter { limit, offset, place, ..self.filters(sight)? })
    }
}

impl ExportQuery {
    pub(super) const fn kind(&self) -> ExportKind {
        self.kind
    }

    /// From and to.
    pub(super) const fn time(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.from, self.to)
    }

    /// How many entries at most; `None` is all.
    pub(super) fn entries(&self) -> Result<Option<u32>, Problem> {
        let (max, _, _) = page(self.max, self.offset, None, None).map_err(|problem| {
            if self.offset.is_some_and(|offset| offset > OFFSET_ROWS_MAX) {
                return problem;
            }
            Problem::field("query.max", format!("1 to {ENTRIES_MAX} is taken"))
        })?;
        Ok((!self.export_all).then_some(max))
    }

    pub(super) fn offset(&self) -> u64 {
        if self.export_all { 0 } else { self.offset.unwrap_or_default() }
    }

    pub(super) fn filter(&self, sight: Sight) -> Result<AuditFilter, Problem> {
        self.filters(sight)
    }
}

impl LiveQuery {
    pub(super) fn filter(&self, sight: Sight) -> Result<AuditFilter, Problem> {
        self.filters(sight)
    }
}

/// A page as a query asks for it, checked.
pub(crate) fn page(
    limit: Option<u32>,
    offset: Option<u64>,
    before: Option<AuditCursor>,
    after: Option<AuditCursor>,
) -> Result<(u32, u64, Option<AuditPlace>), Problem> {
    let limit = limit.unwrap_or(ENTRIES_MAX);
    if limit == 0 || limit > ENTRIES_MAX {
        return Err(Problem::field("query.limit", format!("1 to {ENTRIES_MAX} is taken")));
    }
    let place = match (before, after) {
        (Some(_), Some(_)) => {
            return Err(Problem::field("query.after", "goes not with `before`: a page lies on one side"));
        }
        (before, after) => before.map(AuditPlace::Before).or(after.map(AuditPlace::After)),
    };
    let offset = offset.unwrap_or(0);
    if offset > OFFSET_ROWS_MAX {
        return Err(Problem::field(
            "query.offset",
            format!("0 to {OFFSET_ROWS_MAX} is taken; go on with `before` and the answer's `next`"),
        ));
    }
    Ok((limit, offset, place))
}

/// A text to search for, not longer than any name.
pub(crate) fn searched(field: &str, text: Option<&str>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.chars().count() > SEARCH_CHARACTERS_MAX => {
            Err(Problem::field(field, format!("{SEARCH_CHARACTERS_MAX} characters are taken at most")))
        }
        Some("") | None => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
    }
}

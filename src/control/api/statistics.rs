//! `GET /api/dashboard/stats` and `GET /api/dashboard/member-stats`: how much is called, allowed and denied
//! (specification 12).
//!
//! Invariants: what is counted is what `GET /api/audit` would show the same account; a time is widened to
//! whole hours or days, which all figures of an answer are of.

mod members;
mod shape;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::shape::{BusyBucket, DashboardStats, services};
use super::ApiState;
use super::access::{Signed, need};
use super::extract::{Json, Query};
use super::problem::{Problem, Refusals};
use crate::model::{AccountId, AgentId, Timestamp};
use crate::store::{Counted, Sight, StatisticSpan, StatisticsQuestion};

/// What is counted where nothing is asked for: the last seven days.
const USUAL_MS: i64 = 7 * 86_400_000;
/// Rows of a series.
const BUCKETS_MAX: i64 = 2_000;
/// Up to so long a time is shown by the hour, if nothing is asked for.
const BY_HOUR_MS_MAX: i64 = 3 * 86_400_000;

/// What one row of a series spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Bucket {
    Hour,
    /// Of UTC.
    Day,
}

impl Bucket {
    const fn span(self) -> StatisticSpan {
        match self {
            Self::Hour => StatisticSpan::Hour,
            Self::Day => StatisticSpan::Day,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// The beginning; seven days before the end without.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The end; now without.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// What a row of the series spans; by the hour up to three days, else by the day, without.
    #[param(inline)]
    bucket: Option<Bucket>,
    /// The id of the one agent that is counted.
    #[param(value_type = Option<String>, format = Uuid)]
    agent: Option<AgentId>,
}

/// What an account asks to be counted.
async fn question(
    state: &ApiState,
    account: AccountId,
    agent: Option<AgentId>,
    (from, to): (Timestamp, Timestamp),
) -> Result<StatisticsQuestion, Problem> {
    let mut sight = state.admin.store().audit().sight(account).await?;
    if let Some(agent) = agent {
        sight = sight.of_agent(agent);
        if matches!(&sight, Sight::Account { owned, own } if owned.is_empty() && own.is_empty()) {
            return Err(Problem::field("query.agent", "there is no such agent, or you have no part in it"));
        }
    }
    Ok(StatisticsQuestion { sight, from, to })
}

/// The time that is asked for, in whole buckets.
fn time(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    bucket: Option<Bucket>,
) -> Result<(Timestamp, Timestamp, Bucket), Problem> {
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.unwrap_or_else(|| to.plus_millis(-USUAL_MS));
    if from > to {
        return Err(Problem::field("query.from", "is later than `to`"));
    }
    let asked = to.millis_since(from);
    let bucket = bucket.unwrap_or(if asked <= BY_HOUR_MS_MAX { Bucket::Hour } else { Bucket::Day });
    let span = bucket.span();
    let (first, last) = (span.floor(from), span.floor(to));
    if last.millis_since(first) / span.millis() >= BUCKETS_MAX {
        return Err(Problem::field(
            "query.from",
            format!("a series has {BUCKETS_MAX} rows at most; ask for less time, or by the day"),
        ));
    }
    Ok((first, last.plus_millis(span.millis() - 1), bucket))
}

/// Aggregate counters
///
/// Calls, allowed and denied, over time and by connector, with the busiest tools and the policies that denied
/// the most; of the agents that you own all calls, of others your own. Policies are told to an agent's owner
/// alone. The time is widened to whole hours or days (UTC).
#[utoipa::path(
    get, path = "/api/dashboard/stats", operation_id = "getStats", tag = "Statistics", params(StatsQuery),
    responses((status = 200, body = DashboardStats), Refusals),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn get_stats(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<DashboardStats>, Problem> {
    let (from, to, bucket) = time(query.from, query.to, query.bucket)?;
    let asked = question(&state, signed.caller.account.id, query.agent, (from, to)).await?;
    let statistics = state.admin.store().statistics();
    let busy = statistics.series(&asked, bucket.span()).await?;
    let tools = statistics.tools(&asked).await?;
    let denying = statistics.denying(&asked).await?;
    let (agents, members) = statistics.people(&asked.sight).await?;
    let policies = policies(&state, &asked.sight).await?;
    let mut all = Counted::default();
    busy.iter().for_each(|busy| all.add(&busy.counted));
    let mut series = Vec::new();
    let mut found = busy.into_iter().peekable();
    let mut at = from;
    while at <= to {
        let counted = found.next_if(|busy| busy.from == at).map(|busy| busy.counted).unwrap_or_default();
        series.push(BusyBucket::of(at, &counted));
        at = at.plus_millis(bucket.span().millis());
    }
    Ok(Json(DashboardStats {
        from,
        to,
        bucket,
        calls: all.calls,
        allowed: all.calls.saturating_sub(all.denied),
        denied: all.denied,
        allow_ratio: shape::ratio(&all),
        durations: shape::durations(&all),
        agents,
        members,
        policies,
        series,
        services: services(tools, denying),
    }))
}

/// The files' policies, and those that are stored for agents of one's own.
async fn policies(state: &ApiState, sight: &Sight) -> Result<u64, Problem> {
    let of_files = state.admin.live().bundle().map_or(0, |bundle| bundle.policies().len() as u64);
    let Sight::Account { owned, .. } = sight else { return Ok(of_files) };
    let stored = state.admin.store().policies().counts(owned).await?;
    Ok(stored.values().fold(of_files, |sum, count| sum.saturating_add(*count)))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_stats)).merge(members::routes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_time_is_widened_to_whole_buckets_and_is_not_endless() {
        let (from, to) = (at("2026-06-01T10:30:00Z"), at("2026-06-02T09:00:00Z"));
        let (first, last, bucket) = time(Some(from), Some(to), None).unwrap();
        assert_eq!(
            (first, last, bucket),
            (at("2026-06-01T10:00:00Z"), at("2026-06-02T09:59:59.999Z"), Bucket::Hour)
        );
        let (first, last, _) = time(Some(from), Some(to), Some(Bucket::Day)).unwrap();
        assert_eq!((first, last), (at("2026-06-01T00:00:00Z"), at("2026-06-02T23:59:59.999Z")));
        let (first, _, bucket) = time(None, Some(to), None).unwrap();
        assert_eq!((first, bucket), (at("2026-05-26T00:00:00Z"), Bucket::Day));
        assert!(time(Some(to), Some(from), None).is_err());
        assert!(time(Some(at("2020-01-01T00:00:00Z")), Some(to), Some(Bucket::Hour)).is_err());
        assert!(time(Some(at("0001-01-01T00:00:00Z")), Some(at("9999-01-01T00:00:00Z")), None).is_err());
    }
}

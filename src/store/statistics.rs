//! Calls counted by hour and by day (specification 12): kept by the index as it follows the journal, read
//! here.
//!
//! Invariants: a time is widened to whole hours, never cut; whole days in between are read as days, so
//! that what a question costs grows with days and not with calls; what may be seen is part of the
//! question, as for the audit.

mod members;
mod own;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement, UnionType};
use sea_orm::{Order, QueryResult};

use super::audit::names::agent_number;
use super::audit::row::{lane, number_of, policy, statistic};
use super::audit::tally::{Kind, Span};
use super::column::id_text;
use super::{OwnMembership, Sight, Store, StoreError};
use crate::model::{AgentId, MemberId, Timestamp};

/// Policies that are told, the busiest first.
const POLICIES_MAX: u64 = 50;

/// What one row of a series spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticSpan {
    Hour,
    /// Of UTC.
    Day,
}

impl StatisticSpan {
    const fn span(self) -> Span {
        match self {
            Self::Hour => Span::Hour,
            Self::Day => Span::Day,
        }
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.span() as i64
    }

    /// The beginning of what holds this time.
    pub const fn floor(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.span().floor(at.as_millis()))
    }
}

/// Whose calls, and when: from the hour of `from` to the hour of `to`, both whole.
#[derive(Debug, Clone)]
pub struct StatisticsQuestion {
    pub sight: Sight,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Calls, and how long those took whose end is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub calls: u64,
    pub denied: u64,
    pub ended: u64,
    pub duration_ms: u64,
    pub duration_ms_max: u64,
}

impl Counted {
    /// Adds these to it.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.denied = self.denied.saturating_add(other.denied);
        self.ended = self.ended.saturating_add(other.ended);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.duration_ms_max = Ord::max(self.duration_ms_max, other.duration_ms_max);
    }
}

/// What one bucket of a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    pub from: Timestamp,
    pub counted: Counted,
}

/// Calls of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCounts {
    pub service: String,
    pub tool: String,
    pub counted: Counted,
}

/// Calls that a policy determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCounts {
    pub service: String,
    pub key: String,
    pub name: String,
    pub counted: Counted,
}

/// Calls of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCounts {
    pub member: MemberId,
    pub agent: AgentId,
    pub name: String,
    pub last_at: Timestamp,
    pub counted: Counted,
}

/// The statistics.
#[derive(Debug, Clone, Copy)]
pub struct Statistics<'a>(pub(super) &'a Store);

impl Statistics<'_> {
    /// Calls of each hour, or day, in which there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn series(
        &self,
        question: &StatisticsQuestion,
        span: StatisticSpan,
    ) -> Result<Vec<Busy>, StoreError> {
        self.0.timed(series(self.0, question, span.span())).await
    }

    /// Calls of each tool, the busiest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tools(&self, question: &StatisticsQuestion) -> Result<Vec<ToolCounts>, StoreError> {
        self.0.timed(Box::pin(tools(self.0, question))).await
    }

    /// The policies that denied the most calls; of agents that the asker owns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn denying(&self, question: &StatisticsQuestion) -> Result<Vec<PolicyCounts>, StoreError> {
        self.0.timed(denying(self.0, question)).await
    }

    /// How many agents and members this sight is of, as the directory stands now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people(&self, sight: &Sight) -> Result<(u64, u64), StoreError> {
        self.0.timed(people(self.0, sight)).await
    }

    /// Calls of each member, the busiest first, and how many members there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub

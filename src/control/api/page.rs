//! Pages of a list: how many, from where, in which order (specification 13: `limit`, `offset`, `sortBy`,
//! `sortDir`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;

/// Rows of a page where none are asked for.
pub const ROWS: u32 = 50;
/// Rows of a page.
pub const ROWS_MAX: u32 = 500;
/// Rows that may be passed over; whoever wants more narrows the question.
pub const OFFSET_MAX: u64 = 1_000_000;

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortDir {
    /// Smallest, oldest, first of the alphabet first.
    #[default]
    Asc,
    /// The other way round.
    Desc,
}

/// Part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    pub offset: u64,
}

impl Page {
    /// Checks what a query asks for.
    ///
    /// # Errors
    /// 400 names the parameter.
    pub fn of(limit: Option<u32>, offset: Option<u64>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(ROWS);
        let offset = offset.unwrap_or(0);
        if limit == 0 || limit > ROWS_MAX {
            return Err(Problem::field("query.limit", format!("1 to {ROWS_MAX} is taken")));
        }
        if offset > OFFSET_MAX {
            return Err(Problem::field(
                "query.offset",
                format!("0 to {OFFSET_MAX} is taken; narrow the question"),
            ));
        }
        Ok(Self { limit, offset })
    }

    /// This part of a list that is at hand whole.
    pub fn cut<T>(self, rows: Vec<T>) -> Vec<T> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        rows.into_iter().skip(offset).take(self.limit as usize).collect()
    }
}

//! Sessions of an agent or a member, a page at a time.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Order;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _};

use super::{SessionRow, SessionRows, row, session_of};
use crate::model::{AgentId, MemberId};
use crate::store::column::id_text;
use crate::store::{StoreError, dialect};

/// What a list of sessions is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionSort {
    #[default]
    LastActivityAt,
    CreatedAt,
}

/// Which sessions, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionQuery {
    pub agent: AgentId,
    pub member: Option<MemberId>,
    /// Those that ended, or those that go on.
    pub ended: bool,
    pub sort: SessionSort,
    pub descending: bool,
    pub limit: u64,
    pub offset: u64,
}

impl SessionRows<'_> {
    /// The sessions that match, and how many match in all; what is alike in time stands by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, query: &SessionQuery) -> Result<(Vec<SessionRow>, u64), StoreError> {
        let ended =
            if query.ended { row::Column::EndedAt.is_not_null() } else { row::Column::EndedAt.is_null() };
        let condition = Condition::all()
            .add(row::Column::AgentId.eq(id_text(query.agent.as_uuid())))
            .add_option(query.member.map(|member| row::Column::MemberId.eq(id_text(member.as_uuid()))))
            .add(ended);
        let find = row::Entity::find().filter(condition);
        let column = match query.sort {
            SessionSort::LastActivityAt => row::Column::LastActivityAt,
            SessionSort::CreatedAt => row::Column::CreatedAt,
        };
        let order = if query.descending { Order::Desc } else { Order::Asc };
        let page = find.clone().order_by(column, order).order_by_asc(row::Column::Id);
        let page = page.limit(query.limit).offset(query.offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows = page.all(&moment).await?;
                moment.commit().await?;
                Ok((rows.into_iter().map(session_of).collect::<Result<_, _>>()?, total))
            })
            .await
    }
}

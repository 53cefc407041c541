//! Pages of the index (specification 7.2): the shortest way to walk, the walk, and how many match.
//!
//! Invariant: a page is what the filter and the sight let through, in one order (time, then the entry's
//! number, then arrival) whatever way was walked.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement, UnionType};
use sea_orm::{Condition, Order};

use super::question::{Branch, Set, branches};
use super::row::entry;
use super::{AuditCursor, AuditFilter, AuditFound, AuditPlace, AuditTotal, QUERY_ROWS_MAX, read};
use crate::model::Timestamp;
use crate::store::{Store, StoreError, dialect};

/// Totals are counted so far; beyond, they are estimated.
pub const EXACT_TOTAL_MAX: u64 = 10_000;

/// Calls that a session is taken to have.
const SESSION_CALLS: f64 = 1_000.0;

/// How a walk begins.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// In the order of time, looking at each call.
    Time,
    /// Over the calls of a set.
    Set(&'a Set),
    /// Over the calls of a session.
    Session,
}

/// Page and total are of one moment.
pub(super) async fn run(
    store: &Store,
    filter: &AuditFilter,
    counted: bool,
) -> Result<AuditFound, StoreError> {
    let limit = match filter.limit {
        1..=QUERY_ROWS_MAX => u64::from(filter.limit),
        _ => u64::from(QUERY_ROWS_MAX),
    };
    let moment = dialect::begin_read(&store.connection).await?;
    let branches = branches(&moment, filter).await?;
    // One more tells whether anything follows.
    let wanted = filter.offset.saturating_add(limit).saturating_add(1);
    let mut cursors = Vec::new();
    for branch in &branches {
        cursors.append(&mut walk(&moment, filter, branch, wanted).await?);
    }
    let oldest_first = matches!(filter.place, Some(AuditPlace::After(_)));
    if branches.len() > 1 {
        cursors.sort_unstable();
        if !oldest_first {
            cursors.reverse();
        }
    }
    let skipped = usize::try_from(filter.offset).unwrap_or(usize::MAX);
    let mut page: Vec<AuditCursor> = cursors.into_iter().skip(skipped).collect();
    let more = page.len() as u64 > limit;
    page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut total = AuditTotal::default();
    if counted {
        for branch in &branches {
            total.add(count(&moment, filter, branch).await?);
        }
    }
    let mut rows = read::rows(&moment, page.iter().map(|cursor| cursor.id).collect()).await?;
    moment.commit().await?;
    // The next page goes on where this one ends, whichever way it goes.
    let last = page.last().copied();
    if oldest_first {
        page.reverse();
    }
    let rows = page.iter().filter_map(|cursor| Some((*cursor, rows.remove(&cursor.id)?))).collect();
    Ok(AuditFound { rows, next: last.filter(|_| more || oldest_first), total })
}

/// The first calls of a branch.
async fn walk(
    moment: &impl ConnectionTrait,
    filter: &AuditFilter,
    branch: &Branch,
    wanted: u64,
) -> Result<Vec<AuditCursor>, StoreError> {
    let (way, looked) = shortest(filter, branch, wanted);
    let order = if matches!(filter.place, Some(AuditPlace::After(_))) { Order::Asc } else { Order::Desc };
    let select = match way {
        Way::Set(set) if !set.few.is_empty() => {
            let mut each = set.few.iter().map(|number| {
                let mut one = walked(filter, branch, way, looked, true);
                one.and_where(set.column.eq(*number));
                ordered(&mut one, &order, true).limit(wanted);
                let columns = [entry::Column::Id, entry::Column::At, entry::Column::Seq];
                Query::select().columns(columns).from_subquery(one, "one").to_owned()
            });
            let mut first = each.next().unwrap_or_default();
            first.unions(each.map(|one| (UnionType::All, one)));
            let mut all = Query::select();
            all.columns([entry::Column::Id, entry::Column::At, entry::Column::Seq]);
            all.from_subquery(first, "each");
            ordered(&mut all, &order, true).limit(wanted).to_owned()
        }
        Way::Set(set) => {
            let mut gathered = walked(filter, branch, way, looked, true);
            gathered.and_where(set.column.in_subquery(set.select.clone()));
            ordered(&mut gathered, &order, false).limit(wanted).to_owned()
        }
        Way::Time | Way::Session => {
            let mut rows = walked(filter, branch, way, looked, true);
            ordered(&mut rows, &order, true).limit(wanted).to_owned()
        }
    };
    let cursor = |row: sea_orm::QueryResult| {
        let number = |name: &str| row.try_get::<i64>("", name);
        Ok(AuditCursor { at: Timestamp::from_millis(number("at")?), seq: number("seq")?, id: number("id")? })
    };
    moment.query_all(&select).await?.into_iter().map(cursor).collect()
}

/// How many calls of a branch match, the place in the list aside.
async fn count(
    moment: &impl ConnectionTrait,
    filter: &AuditFilter,
    branch: &Branch,
) -> Result<AuditTotal, StoreError> {
    let all_time = filter.from.is_none() && filter.to.is_none() && filter.session.is_none();
    let known = match branch.sets.as_slice() {
        [] => Some(branch.calls),
        [set] => Some(set.calls),
        _ => None,
    };
    if let Some(known) = known.filter(|_| all_time) {
        return Ok(AuditTotal { count: known.unsigned_abs(), estimated: false });
    }
    let whole = AuditFilter { place: None, ..filter.clone() };
    let (way, looked) = shortest(&whole, branch, EXACT_TOTAL_MAX);
    let mut some = walked(&whole, branch, way, looked, false);
    if let Way::Set(set) = way {
        some.and_where(set.column.in_subquery(set.select.clone()));
    }
    some.limit(EXACT_TOTAL_MAX + 1);
    let counted =
        Query::select().expr_as(Expr::cust("COUNT(*)"), "counted").from_subquery(some, "some").to_owned();
    let row = moment.query_one(&counted).await?;
    let counted = row.map(|row| row.try_get::<i64>("", "counted")).transpose()?.unwrap_or_default();
    let counted = counted.unsigned_abs();
    if counted <= EXACT_TOTAL_MAX {
        return Ok(AuditTotal { count: counted, estimated: false });
    }
    let guess =
        (branch.sets.iter()).fold(branch.calls as f64 * branch.part, |calls, set| calls * share(branch, set));
    Ok(AuditTotal { count: Ord::max(guess as u64, counted), estimated: true })
}

/// The calls of a way that the filter's other parts let through; about so many calls will be looked at.
fn walked(filter: &AuditFilter, branch: &Branch, way: Way<'_>, looked: f64, placed: bool) -> SelectStatement {
    let mut select = Query::select();
    select.columns([entry::Column::Id, entry::Column::At, entry::Column::Seq]).from(entry::Entity);
    for set in &branch.sets {
        if matches!(way, Way::Set(walked) if std::ptr::eq(walked, set)) {
            continue;
        }
        match &set.judge {
            // To look up each call's own is less than to gather all numbers first.
            Some(judge) if looked < set.numbers as f64 => select.and_where(Expr::exists(judge.clone())),
            // The sum keeps a database from walking this set's index.
            _ => select.and_where(Expr::col(set.column).add(0).in_subquery(set.select.clone())),
        };
    }
    if let Some(session) = filter.session {
        select.and_where(entry::Column::SessionId.eq(session.as_uuid().as_bytes().to_vec()));
    }
    let time = Condition::all()
        .add_option(filter.from.map(|from| entry::Column::At.gte(from.as_millis())))
        .add_option(filter.to.map(|to| entry::Column::At.lte(to.as_millis())))
        .add_option(filter.place.filter(|_| placed).map(beyond));
    select.cond_where(time);
    select
}

/// What comes behind a place of the list.
fn beyond(place: AuditPlace) -> Condition {
    use entry::Column as C;
    match place {
        AuditPlace::Before(AuditCursor { at, seq, id }) => {
            let at = at.as_millis();
            let same = C::Seq.lt(seq).or(C::Seq.eq(seq).and(C::Id.lt(id)));
            Condition::all().add(C::At.lte(at)).add(C::At.lt(at).or(C::At.eq(at).and(same)))
        }
        AuditPlace::After(AuditCursor { at, seq, id }) => {
            let at = at.as_millis();
            let same = C::Seq.gt(seq).or(C::Seq.eq(seq).and(C::Id.gt(id)));
            Condition::all().add(C::At.gte(at)).add(C::At.gt(at).or(C::At.eq(at).and(same)))
        }
    }
}

fn ordered<'a>(select: &'a mut SelectStatement, order: &Order, walked: bool) -> &'a mut SelectStatement {
    let at = Expr::col(entry::Column::At);
    // The sum keeps a database from walking in the order of time what is to be gathered.
    let at = if walked { at } else { at.add(0) };
    select
        .order_by_expr(at, order.clone())
        .order_by(entry::Column::Seq, order.clone())
        .order_by(entry::Column::Id, order.clone())
}

/// Which part of all calls a set has.
fn share(branch: &Branch, set: &Set) -> f64 {
    f64::min(Ord::max(set.calls, 1) as f64 / Ord::max(branch.calls, 1) as f64, 1.0)
}

/// The way with the fewest calls to look at until so many are found, and how many those are by estimate.
fn shortest<'a>(filter: &AuditFilter, branch: &'a Branch, wanted: u64) -> (Way<'a>, f64) {
    if filter.session.is_some() {
        return (Way::Session, SESSION_CALLS);
    }
    let passing: f64 = branch.sets.iter().map(|set| share(branch, set)).product();
    let wanted = wanted as f64;
    let in_time = branch.calls as f64 * branch.part;
    let by_time = f64::min(in_time, wanted / passing);
    let mut shortest = (by_time, Way::Time, by_time);
    for set in &branch.sets {
        let calls = set.calls as f64 * branch.part;
        let until_found = if set.few.is_empty() {
            calls
        } else {
            f64::min(calls, set.numbers as f64 * wanted * share(branch, set) / passing)
        };
        // A number costs a search of the index, many times what a step costs.
        let cost = until_found + set.numbers as f64 * 8.0;
        if cost < shortest.0 {
            shortest = (cost, Way::Set(set), until_found);
        }
    }
    (shortest.1, shortest.2)
}

/// A page cannot begin further down than this by counting rows; a cursor can.
pub const OFFSET_ROWS_MAX: u64 = 100_000;

//! How the nouns stand in columns, the same on every database: ids and words as text, times as
//! milliseconds, lists as JSON text, digests as bytes. What cannot be read back is an error that
//! names table and column, never a default.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use sea_orm::sea_query::{Expr, ExprTrait as _, LikeExpr};
use sea_orm::{ColumnTrait, IntoSimpleExpr as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::StoreError;
use crate::model::CounterKey;

pub(super) fn id_text(id: &Uuid) -> String {
    id.hyphenated().to_string()
}

pub(super) fn parse_id(place: &'static str, text: &str) -> Result<Uuid, StoreError> {
    Uuid::try_parse(text).map_err(|error| StoreError::corrupt(place, error))
}

/// A value with a grammar of its own.
pub(super) fn parse<T: FromStr<Err: Display>>(place: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::corrupt(place, error))
}

/// JSON text of plain data, which cannot fail to serialise; were it to, the change is refused.
pub(super) fn json<T: Serialize + ?Sized>(place: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::corrupt(place, error))
}

pub(super) fn parse_json<T: DeserializeOwned>(place: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(place, error))
}

/// The written form of an enumeration without fields.
pub(super) fn word<T: Serialize>(place: &'static str, value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(other) => Err(StoreError::corrupt(place, format!("`{other}` is no word"))),
        Err(error) => Err(StoreError::corrupt(place, error)),
    }
}

pub(super) fn parse_word<T: DeserializeOwned>(place: &'static str, word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|error| StoreError::corrupt(place, error))
}

pub(super) fn bytes<const N: usize>(place: &'static str, found: &[u8]) -> Result<[u8; N], StoreError> {
    found
        .try_into()
        .map_err(|_| StoreError::corrupt(place, format!("{} bytes, {N} were expected", found.len())))
}

pub(super) fn unsigned(place: &'static str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::corrupt(place, format!("{number} is negative")))
}

pub(super) fn signed(place: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::corrupt(place, format!("{number} is too large to store")))
}

/// Counters as a JSON object of their written form.
pub(super) fn counters(place: &'static str, map: &BTreeMap<CounterKey, i64>) -> Result<String, StoreError> {
    let written: BTreeMap<String, i64> = map.iter().map(|(key, count)| (key.to_string(), *count)).collect();
    json(place, &written)
}

/// A counter that cannot be read fails the whole row: a lost count would let calls pass.
pub(super) fn parse_counters(
    place: &'static str,
    text: &str,
) -> Result<BTreeMap<CounterKey, i64>, StoreError> {
    let written: BTreeMap<String, i64> = parse_json(place, text)?;
    written.into_iter().map(|(key, count)| Ok((parse(place, &key)?, count))).collect()
}

/// Marks a character of a search text that would else be a pattern.
const ESCAPE: char = '!';

/// Whether a column of folded text holds this text, in any case.
pub(super) fn contains(column: impl ColumnTrait, part: &str) -> Expr {
    holds(column.into_simple_expr(), part)
}

/// Whether a folded text holds this text, in any case.
pub(super) fn holds(text: Expr, part: &str) -> Expr {
    let mut pattern = String::from("%");
    for character in part.to_lowercase().chars() {
        if matches!(character, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(character);
    }
    pattern.push('%');
    text.like(LikeExpr::new(pattern).escape(ESCAPE))
}

//! Rows to domain types and back: the few readers that every table shares.

use std::str::FromStr;

use millrace_domain::{Timestamp, sid::Kind, sid::Sid};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{AnyConnection, Row as _, any::AnyRow, error::BoxDynError};

use super::Fault;
use crate::Error;

/// The error for a resource that is not there (or another account's).
pub(super) fn not_found<K: Kind>(sid: Sid<K>) -> Error {
    Error::NotFound { what: format!("{} {sid}", K::NAME) }
}

/// The error for a resource that is there already.
pub(super) fn already_exists<K: Kind>(sid: Sid<K>) -> Error {
    Error::AlreadyExists { what: format!("{} {sid}", K::NAME) }
}

/// Tells whether `sql`, bound to `key`, finds a row.
pub(super) async fn exists(
    connection: &mut AnyConnection,
    sql: &'static str,
    key: &str,
) -> Result<bool, Fault> {
    Ok(sqlx::query(sql).bind(key.to_owned()).fetch_optional(connection).await?.is_some())
}

/// Reads text that a domain type parses, such as a SID.
pub(super) fn parsed<T>(row: &AnyRow, column: &str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Into<BoxDynError>,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| broken(column, error))
}

/// Reads text that may be NULL and that a domain type parses.
pub(super) fn parsed_or_none<T>(row: &AnyRow, column: &str) -> Result<Option<T>, Fault>
where
    T: FromStr,
    T::Err: Into<BoxDynError>,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| broken(column, error))).transpose()
}

/// Reads a word of a closed set, such as a status, as serde spells it.
pub(super) fn word<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Fault> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(text.into()).map_err(|error| broken(column, error))
}

/// Reads JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Fault> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| broken(column, error))
}

/// Reads a whole number.
pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, Fault>
where
    T::Error: Into<BoxDynError>,
{
    let number: i64 = row.try_get(column)?;
    number.try_into().map_err(|error| broken(column, error))
}

/// Reads a time.
pub(super) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

/// Writes JSON text.
pub(super) fn json_text<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()).into())
}

/// Writes JSON bytes, to be sealed.
pub(super) fn json_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|error| sqlx::Error::Encode(error.into()).into())
}

/// Reads JSON bytes that were sealed in `place`.
pub(super) fn opened<T: DeserializeOwned>(place: &str, plain: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(plain).map_err(|error| broken(place, error))
}

fn broken(column: &str, source: impl Into<BoxDynError>) -> Fault {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }.into()
}

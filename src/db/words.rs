//! Turns stored words and JSON back into types, naming the row that does not fit.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::DbError;

/// Reads a stored word, such as a status.
pub(super) fn word<T: DeserializeOwned>(kind: &'static str, id: &str, text: &str) -> Result<T, DbError> {
    let from: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(text);
    T::deserialize(from).map_err(|error| DbError::Unreadable {
        kind,
        id: id.into(),
        reason: error.to_string(),
    })
}

/// Reads stored JSON.
pub(super) fn json<'a, T: Deserialize<'a>>(
    kind: &'static str,
    id: &str,
    text: &'a str,
) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|error| DbError::Unreadable {
        kind,
        id: id.into(),
        reason: error.to_string(),
    })
}

/// Writes JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our types have text keys and no failing parts")
}

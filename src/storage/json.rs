//! Lists that go into and come out of the database as JSON.

use serde::{Serialize, de::DeserializeOwned};

/// Encodes a statement's parameter.
pub fn encode(value: &(impl Serialize + ?Sized)) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Decodes a column.
pub fn decode<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

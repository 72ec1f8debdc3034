//! Bundles of rows: many rows of an answer handed over as one value.
//!
//! SQLite takes memory for each value that it hands over, and another thread gives it back. Where a job reads millions of
//! rows, that is more work than finding them. Such a statement makes a text of each row with `concat` and of all rows
//! with `string_agg`: a number ends with a blank (`n, ' '`), and before the bytes of a text or a blob come their number
//! and a colon (`octet_length(b), ':', b`). NULL is a number without digits, and bytes without a number.

use std::str;

/// The part of a bundle that is still to be read.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a>(&'a [u8]);

impl<'a> Bundle<'a> {
    /// The rows of the answer; none where it is NULL.
    pub fn new(answer: Option<&'a [u8]>) -> Self {
        Self(answer.unwrap_or_default())
    }

    /// True after the last row.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value, a number or NULL.
    pub fn number(&mut self) -> sqlx::Result<Option<i64>> {
        self.number_before(b' ')
    }

    /// The next value, a number.
    pub fn some_number(&mut self) -> sqlx::Result<i64> {
        self.number()?.ok_or_else(broken)
    }

    /// The next value, bytes or NULL.
    pub fn bytes(&mut self) -> sqlx::Result<Option<&'a [u8]>> {
        let Some(length) = self.number_before(b':')? else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| broken())?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(Some(bytes))
    }

    fn number_before(&mut self, end: u8) -> sqlx::Result<Option<i64>> {
        let place = self.0.iter().position(|byte| *byte == end).ok_or_else(broken)?;
        let digits = &self.0[..place];
        self.0 = &self.0[place + 1..];
        if digits.is_empty() {
            return Ok(None);
        }
        let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(broken)
    }
}

fn broken() -> sqlx::Error {
    sqlx::Error::Decode("a bundle of rows is broken".into())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    use super::*;

    type Row = (Option<i64>, Option<Vec<u8>>, Option<String>);

    async fn bundled(rows: &[Row]) -> Vec<Row> {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE rows (n, b, t)").execute(&mut connection).await.unwrap();
        for (number, bytes, text) in rows {
            let insert = sqlx::query("INSERT INTO rows VALUES (?, ?, ?)");
            insert.bind(number).bind(bytes).bind(text).execute(&mut connection).await.unwrap();
        }
        let answer: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT CAST(string_agg(row, '') AS BLOB) FROM (
                 SELECT concat(n, ' ', octet_length(b), ':', b, octet_length(t), ':', t) AS row
                 FROM rows ORDER BY rowid LIMIT 10
             )",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let mut bundle = Bundle::new(answer.as_deref());
        let mut read = Vec::new();
        while !bundle.is_empty() {
            let (number, bytes) = (bundle.number().unwrap(), bundle.bytes().unwrap());
            let text = bundle.bytes().unwrap().map(|text| String::from_utf8(text.into()).unwrap());
            read.push((number, bytes.map(Into::into), text));
        }
        read
    }

    proptest! {
        #[test]
        fn rows_come_out_as_they_are(
            rows in vec((any::<Option<i64>>(), option::of(any::<Vec<u8>>()), option::of(".{0,9}")), 0..9)
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            prop_assert_eq!(runtime.block_on(bundled(&rows)), rows);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, kinds: Vec<bool>) {
            let mut bundle = Bundle::new(Some(&bytes));
            for is_number in kinds {
                let failed = if is_number { bundle.number().is_err() } else { bundle.bytes().is_err() };
                if failed {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_broken_bundle_is_an_error() {
        for broken in ["12", "1x ", " 12", "3:ab", "-1:", "99999999999999999999 "] {
            let mut bundle = Bundle::new(Some(broken.as_bytes()));
            let read = bundle.number().and_then(|_| bundle.bytes());
            let mut bundle = Bundle::new(Some(broken.as_bytes()));
            assert!(read.is_err() && bundle.bytes().is_err(), "{broken}");
        }
    }
}

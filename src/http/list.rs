//! Answers that are long lists: their items are written out as they are sent.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, future, stream};
use serde::Serialize;
use tokio::task::yield_now;

use super::room::Held;

/// Bytes that are written at a time. A shorter answer is sent whole.
const PIECE: usize = 32 * 1024;

/// The part of a list that is still to be written.
struct List<T> {
    items: std::vec::IntoIter<T>,
    comma: bool,
    /// The text after the last item; `None` once it is written.
    end: Option<String>,
}

impl<T: Serialize> List<T> {
    /// Writes until there is a piece, or nothing is left.
    fn write(&mut self, piece: &mut Vec<u8>) -> serde_json::Result<()> {
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.extend(self.end.take().unwrap_or_default().into_bytes());
                break;
            };
            if std::mem::replace(&mut self.comma, true) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut *piece, &item)?;
        }
        Ok(())
    }
}

/// An answer of JSON: `begin`, the items with commas between them, and `end`. `bytes` is the memory
/// that the items take.
pub fn answer<T: Serialize + Send + 'static>(
    begin: impl Into<Vec<u8>>,
    items: Vec<T>,
    end: impl Into<String>,
    bytes: usize,
) -> Response {
    let mut list = List { items: items.into_iter(), comma: false, end: Some(end.into()) };
    let mut piece = begin.into();
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let written = list.write(&mut piece);
    if written.is_ok() && list.end.is_none() {
        return (content_type, piece).into_response();
    }
    let rest = stream::unfold(list, |mut list| async move {
        list.end.as_ref()?;
        // Writing takes the time of a thread that others wait for, too.
        yield_now().await;
        let mut piece = Vec::with_capacity(PIECE);
        let written = list.write(&mut piece);
        Some((written.map(|()| piece), list))
    });
    let first = stream::once(future::ready(written.map(|()| piece)));
    let mut response = (content_type, Body::from_stream(first.chain(rest))).into_response();
    response.extensions_mut().insert(Held(bytes));
    response
}

/// An answer of JSON that is an array. `bytes` is the memory that an item takes.
pub fn array<T: Serialize + Send + 'static>(items: Vec<T>, bytes: usize) -> Response {
    let bytes = items.len() * bytes;
    answer("[", items, "]", bytes)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_long_list_is_sent_in_pieces() {
        for count in [0, 1, 2, 100_000] {
            let response = answer("{\"a\":[", (0..count).collect(), "],\"b\":1}", 5);
            let long = count > 2;
            assert_eq!(response.extensions().get::<Held>().is_some(), long);
            let mut body = response.into_body();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() < PIECE + 100);
                text.extend(piece);
            }
            let value: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value, json!({"a": (0..count).collect::<Vec<_>>(), "b": 1}));
        }
    }
}

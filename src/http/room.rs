//! Room: the memory that long answers and forms take while their clients send or read them.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody},
    response::{IntoResponse as _, Response},
};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{error::ApiError, held_body::holding};

/// Memory of all of them together, in bytes. A slow reader holds its answer until its time is over,
/// and there may be as many as there are connections.
const ROOM: usize = 24 * 1024 * 1024;
/// Memory of the forms among them, in bytes: a form that arrives slowly takes room before the server has done
/// anything for it.
const ROOM_OF_FORMS: usize = 8 * 1024 * 1024;
/// Largest answer that takes no room.
const SMALL: usize = 64 * 1024;
/// Bytes that room is counted in.
const UNIT: usize = 1024;

/// Extension of an answer whose body holds so many bytes until it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Held(pub usize);

/// The room of a server.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    forms: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        let room = |bytes| Arc::new(Semaphore::new(bytes / UNIT));
        Self { all: room(ROOM), forms: room(ROOM_OF_FORMS) }
    }
}

/// Takes room for some bytes, for as long as what is returned.
fn take(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let units = u32::try_from(bytes.min(ROOM).div_ceil(UNIT)).unwrap_or(u32::MAX);
    Arc::clone(room).try_acquire_many_owned(units).map_err(|_| ApiError::NoRoom)
}

impl Room {
    /// Takes room for a form of so many bytes, for as long as what is returned.
    ///
    /// # Errors
    /// If so much is not left.
    pub fn take_for_form(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], ApiError> {
        Ok([take(&self.forms, bytes)?, take(&self.all, bytes)?])
    }

    /// The answer, which takes room until it is sent, or an error where there is none.
    pub async fn hold(&self, mut response: Response) -> Response {
        let held = response.extensions_mut().remove().map(|Held(bytes)| bytes);
        let size = response.body().size_hint().exact();
        let whole = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > SMALL);
        let Some(bytes) = held.or(whole) else { return response };
        let taken = match take(&self.all, bytes) {
            Ok(taken) => taken,
            Err(error) => return error.into_response(),
        };
        let (parts, body) = response.into_parts();
        let body = if held.is_some() {
            holding(body, taken)
        } else {
            // The connection may hold the last of the bytes after the body has ended.
            match body.collect().await {
                Ok(body) => Body::from(Bytes::from_owner(HeldBytes(body.to_bytes(), taken))),
                Err(error) => return ApiError::Internal(error.to_string()).into_response(),
            }
        };
        Response::from_parts(parts, body)
    }
}

struct HeldBytes(
    Bytes,
    #[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit,
);

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::list;

    fn whole(bytes: usize) -> Response {
        vec![b'x'; bytes].into_response()
    }

    fn listed(bytes: usize) -> Response {
        list::answer("[", vec!["x"; 100_000], "]", bytes)
    }

    #[tokio::test]
    async fn answers_take_room_until_they_are_dropped() {
        let room = Room::default();
        for answer in [whole as fn(usize) -> Response, listed] {
            let first = room.hold(answer(ROOM / 2)).await;
            let second = room.hold(answer(ROOM / 2)).await;
            assert_eq!([first.status(), second.status()], [200, 200]);
            assert_eq!(room.hold(answer(ROOM / 2)).await.status(), 503);
            assert_eq!(room.hold(whole(SMALL)).await.status(), 200);
            let bytes = first.into_body().collect().await.unwrap().to_bytes();
            assert!(bytes.len() > SMALL);
            drop((bytes, second));
            assert_eq!(room.hold(answer(ROOM)).await.status(), 200);
        }
        // The last piece of a whole answer holds all of it.
        let bytes = room.hold(whole(ROOM)).await.into_body().collect().await.unwrap().to_bytes();
        let last = bytes.slice(ROOM - 1..);
        drop(bytes);
        assert_eq!(room.hold(whole(ROOM)).await.status(), 503);
        drop(last);
        assert_eq!(room.hold(whole(ROOM)).await.status(), 200);
    }

    #[tokio::test]
    async fn forms_leave_room_for_answers() {
        let room = Room::default();
        let mut forms: Vec<_> =
            (0..8).map(|_| room.take_for_form(ROOM_OF_FORMS / 8).unwrap()).collect();
        assert!(room.take_for_form(1).is_err());
        assert_eq!(room.hold(whole(ROOM - ROOM_OF_FORMS)).await.status(), 200);
        forms.pop();
        assert!(room.take_for_form(1).is_ok());
    }

    #[tokio::test]
    async fn the_length_of_a_whole_answer_stays() {
        let answer = Room::default().hold(whole(2 * SMALL)).await;
        assert_eq!(answer.body().size_hint().exact(), Some(2 * SMALL as u64));
    }
}

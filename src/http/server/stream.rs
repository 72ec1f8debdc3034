//! Ends of a connection that show its phase: the socket, and the bodies of requests and answers.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use axum::{BoxError, body::Body};
use hyper::body::{Body as HttpBody, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::{Connection, Progress};
use crate::http::held_body::holding;

/// A socket that notes when a request begins to arrive, when an answer has left, and when the server
/// waits for the client.
///
/// hyper gives up a request when its client closes the connection, or half of it. For a query that
/// is right. A report is worth more than its answer, so its end of the connection is shown only when
/// the report was dealt with.
#[derive(Debug)]
pub struct WatchedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    hidden: Option<HiddenEnd>,
}

/// The end of the client's bytes, not shown to hyper yet.
#[derive(Debug)]
enum HiddenEnd {
    /// A body that is there in full was not looked at yet.
    ForOneTurn,
    /// Until the answer has left.
    UntilAnswered(Waker),
}

impl<S> WatchedStream<S> {
    pub fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, hidden: None }
    }

    /// Notes whether the client takes its answer.
    fn notes(&self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.connection.awaits_room();
        } else {
            self.connection.sends();
        }
    }

    /// Hides the end of the client's bytes, or shows it.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.connection.report() {
            Some(Progress::Arriving) if self.hidden.is_none() => {
                self.hidden = Some(HiddenEnd::ForOneTurn);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Progress::Arrived) => {
                self.hidden = Some(HiddenEnd::UntilAnswered(context.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            self.connection.awaits_bytes();
        }
        ready!(read)?;
        if buffer.filled().len() == before {
            return self.end(context);
        }
        self.connection.receives();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.notes(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.notes(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes the socket when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.connection.has_left();
        if let Some(HiddenEnd::UntilAnswered(reader)) = &self.hidden
            && self.connection.report().is_none()
        {
            reader.wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A body that calls `end` when it is dropped: read, handed over or given up.
pub fn with_end<B>(body: B, end: impl FnOnce() + Send + 'static) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    holding(body, OnDrop(Some(end)))
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

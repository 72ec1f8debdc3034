//! Connections: accepted up to a limit, served with time limits, closed in order.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

/// Connections at a time; more wait in the operating system's queue. Well below the usual limit
/// of 1024 open files, of which the database needs some.
const CONNECTIONS: usize = 768;
/// Time for the head of a request to arrive; also how long an idle connection is kept.
const HEAD_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time for which a client may refuse to take any of its answer.
const WRITE_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time for open requests to end after the signal to stop. Less than the ten seconds that
/// Docker waits before it kills.
const SHUTDOWN_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Address of the other end of the connection, an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Answers requests until `stop` is done, then lets open ones end, for as long as there is time.
/// When it returns, no request is left.
pub async fn serve<A, F>(listener: TcpListener, answer: A, stop: impl Future<Output = ()>)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send,
{
    let graceful = GracefulShutdown::new();
    // Dropped to end the connections that do not end by themselves.
    let (cut, uncut) = watch::channel(());
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                serve_connection(
                    stream,
                    Peer(peer),
                    permit,
                    answer.clone(),
                    &graceful,
                    uncut.clone(),
                );
            }
            Err(error) => {
                // Out of file descriptors, most likely. They come back as connections end.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if timeout(SHUTDOWN_TIME_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    drop(uncut);
    cut.send_replace(());
    cut.closed().await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

fn serve_connection<A, F>(
    stream: TcpStream,
    peer: Peer,
    permit: OwnedSemaphorePermit,
    answer: A,
    graceful: &GracefulShutdown,
    mut uncut: watch::Receiver<()>,
) where
    A: Fn(Request) -> F + Send + 'static,
    F: Future<Output = Response> + Send,
{
    // Answers are small and whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME_LIMIT));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_LIMIT)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
            }
            _ = uncut.changed() => {}
        }
        drop(permit);
    });
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::{Notify, oneshot},
    };

    use super::*;

    /// Serves with a given answer until the stop signal.
    async fn start<A, F>(answer: A) -> (TcpStream, oneshot::Sender<()>, tokio::task::JoinHandle<()>)
    where
        A: Fn(Request) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        (client, stop, tokio::spawn(serve(listener, answer, stopped)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_does_not_hold_up_the_end() {
        let (arrived, kept) = (Arc::new(Notify::new()), Arc::new(()));
        let answer = {
            let (arrived, kept) = (Arc::clone(&arrived), Arc::clone(&kept));
            move |request: Request| {
                let (arrived, kept) = (Arc::clone(&arrived), Arc::clone(&kept));
                async move {
                    arrived.notify_one();
                    let _ = request.into_body().collect().await;
                    drop(kept);
                    Response::default()
                }
            }
        };
        let (mut client, stop, serving) = start(answer).await;
        client
            .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
            .await
            .unwrap();
        arrived.notified().await;
        stop.send(()).unwrap();
        serving.await.unwrap();
        assert_eq!(Arc::strong_count(&kept), 1, "something of the request is left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off() {
        const LENGTH: usize = 64 << 20;
        let answer = |_| async { Response::new(Body::from(vec![b'x'; LENGTH])) };
        let (mut client, _stop, _serving) = start(answer).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        sleep(6 * WRITE_TIME_LIMIT).await; // Of the paused clock.
        let mut received = Vec::new();
        let _ = client.read_to_end(&mut received).await;
        assert!(received.len() < LENGTH, "{}", received.len());
    }
}

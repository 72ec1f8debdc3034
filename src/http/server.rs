//! Connections: accepted up to a limit, served with time limits, closed in order.

mod connections;
mod stream;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{extract::Request, response::Response};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

use super::collect;
use connections::{Connection, Connections, Full};
use stream::{WatchedStream, with_end};

/// Time for which a client may refuse to take any of its answer.
const WRITE_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time between two searches for connections whose time is over.
const SEARCH: Duration = Duration::from_secs(1);
/// Time between two searches for room while a connection waits for it.
const SEARCH_ROOM: Duration = Duration::from_millis(10);
/// Time for open requests to end after the signal to stop. Less than the ten seconds that
/// Docker waits before it kills.
const SHUTDOWN_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Address of the other end of the connection, an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Answers requests until `stop` is done, then lets open ones end, for as long as there is time.
/// When it returns, no request is left. An address of one of the networks `proxies` may open any
/// number of connections.
pub async fn serve<A, F>(
    listener: TcpListener,
    proxies: Vec<IpNet>,
    answer: A,
    stop: impl Future<Output = ()>,
) where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send,
{
    let graceful = GracefulShutdown::new();
    // Dropped to end the connections that do not end by themselves.
    let (cut, uncut) = watch::channel(());
    let connections = Arc::new(Connections::new(proxies));
    let mut search = interval(SEARCH);
    search.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = search.tick(), if !connections.is_empty() => {
                connections.close_overdue();
                continue;
            }
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = tokio::select! {
                    connection = admit(&connections, peer) => connection,
                    () = &mut stop => break,
                };
                let Some(connection) = connection else {
                    tracing::debug!("an address has too many connections");
                    continue;
                };
                let serving = Serving {
                    peer: Peer(peer),
                    connection,
                    connections: Arc::clone(&connections),
                    uncut: uncut.clone(),
                };
                serving.start(stream, answer.clone(), &graceful);
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

/// Waits for room for a connection. `None` if its address has its share.
async fn admit(connections: &Connections, peer: SocketAddr) -> Option<Arc<Connection>> {
    loop {
        match connections.add(peer.ip()) {
            Ok(connection) => return Some(connection),
            Err(Full::Address) => return None,
            // One that does not end may be dispensable, or its time over, a moment later.
            Err(Full::All) => {
                let _ = timeout(SEARCH_ROOM, connections.room()).await;
                connections.close_overdue();
            }
        }
    }
}

/// Parts that serve a connection.
struct Serving {
    peer: Peer,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
    uncut: watch::Receiver<()>,
}

impl Serving {
    fn start<A, F>(mut self, stream: TcpStream, answer: A, graceful: &GracefulShutdown)
    where
        A: Fn(Request) -> F + Send + 'static,
        F: Future<Output = Response> + Send,
    {
        // Answers are small and whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIME_LIMIT));
        let stream = WatchedStream::new(Box::pin(stream), Arc::clone(&self.connection));
        let (peer, connection) = (self.peer, Arc::clone(&self.connection));
        let service = service_fn(move |request| {
            let answer = answer(received(request, peer, &connection));
            let connection = Arc::clone(&connection);
            async move {
                let response = answer.await;
                connection.has_body();
                let leaves = move || connection.is_leaving();
                Ok::<_, Infallible>(response.map(|body| with_end(body, leaves)))
            }
        });
        let serving = http1::Builder::new()
            // `Connections` sees to it, and tells an idle connection from a slow head.
            .header_read_timeout(None)
            .max_buf_size(32 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let serving = graceful.watch(serving);
        tokio::spawn(async move {
            tokio::select! {
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                () = self.connection.closed() => {}
                _ = self.uncut.changed() => {}
            }
            self.connections.remove(&self.connection);
        });
    }
}

/// A request whose head has arrived.
fn received(mut request: Request<Incoming>, peer: Peer, connection: &Arc<Connection>) -> Request {
    request.extensions_mut().insert(peer);
    connection.has_head(collect::is_route(request.uri().path()));
    if request.body().is_end_stream() {
        connection.has_body();
    }
    let connection = Arc::clone(connection);
    request.map(|body| with_end(body, move || connection.has_body()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::{Notify, oneshot},
    };

    use super::{
        connections::connection::{ANSWER_TIME_LIMIT, HEAD_TIME_LIMIT, IDLE_TIME_LIMIT},
        *,
    };

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

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
        (client, stop, tokio::spawn(serve(listener, Vec::new(), answer, stopped)))
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

    /// Reads an answer without a body.
    async fn read_answer(client: &mut TcpStream) -> String {
        let mut received = String::new();
        while !received.ends_with("\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(client.read(&mut byte).await.unwrap(), 1, "closed after {received:?}");
            received.push(byte[0].into());
        }
        received
    }

    async fn is_closed(client: &mut TcpStream) -> bool {
        // A read that would have to wait is a connection that is open.
        matches!(timeout(Duration::from_millis(1), client.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
    }

    /// Traefik keeps idle connections for 90 s, Caddy for 2 min, Envoy for an hour.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_outlasts_that_of_a_proxy() {
        let (mut client, _stop, _serving) = start(|_| async { Response::default() }).await;
        for _ in 0..2 {
            client.write_all(REQUEST).await.unwrap();
            assert!(read_answer(&mut client).await.starts_with("HTTP/1.1 200"));
            sleep(Duration::from_mins(61)).await;
        }
        assert!(!is_closed(&mut client).await);
        sleep(IDLE_TIME_LIMIT).await;
        assert!(is_closed(&mut client).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_given_up() {
        let (mut client, _stop, _serving) = start(|_| async { Response::default() }).await;
        client.write_all(REQUEST).await.unwrap();
        read_answer(&mut client).await;
        sleep(Duration::from_mins(1)).await;
        client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        sleep(HEAD_TIME_LIMIT.saturating_sub(SEARCH)).await;
        assert!(!is_closed(&mut client).await);
        client.write_all(b"more").await.unwrap();
        sleep(2 * SEARCH).await;
        assert!(is_closed(&mut client).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_little_at_a_time_is_cut_off() {
        const LENGTH: usize = 64 << 20;
        let answer = |_| async { Response::new(Body::from(vec![b'x'; LENGTH])) };
        let (mut client, _stop, _serving) = start(answer).await;
        client.write_all(REQUEST).await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut some = vec![0; 64 << 10];
        // It takes some every second: never so long none as to be cut off for that.
        while matches!(client.read(&mut some).await, Ok(1..)) {
            sleep(Duration::from_secs(1)).await;
            assert!(begun.elapsed() < 3 * ANSWER_TIME_LIMIT, "it was not cut off");
        }
    }
}

//! HTTP by hand, from any address of this machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

/// Time between two pieces of a slow sender.
const SLOWLY: Duration = Duration::from_millis(200);
/// Time in which a request is answered or cut off: a server's longest, and some more.
const TIME_LIMIT: Duration = Duration::from_secs(30);

pub async fn connect(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request after whose answer the server closes.
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes()
}

/// A request with a body, after whose answer the server closes.
pub fn post(target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Sends a report in a connection of its own; its status, if there was an answer.
pub async fn report(address: SocketAddr, source: Ipv4Addr, id: &str) -> Option<u16> {
    let body = format!("{{\"instance_id\":\"{id}\",\"image_version\":\"v11.0.0\"}}");
    let request = post("/collect", "application/json", body.as_bytes());
    status(&exchange(address, source, &request).await.ok()?)
}

/// Sends a request and returns all of the answer. A server that does not want the rest of a request may
/// answer before.
pub async fn exchange(address: SocketAddr, source: Ipv4Addr, request: &[u8]) -> io::Result<String> {
    let mut stream = connect(address, source).await?;
    let _ = stream.write_all(request).await;
    read_all(&mut stream).await
}

/// All that the server sends until it closes.
pub async fn read_all(stream: &mut TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    let read = timeout(TIME_LIMIT, stream.read_to_end(&mut answer)).await?;
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of an answer; `None` where there is none.
pub fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Sends the beginning of a request at once, then piece by piece. Returns the status, or `None` where the
/// server closed without an answer.
pub async fn send_slowly(
    address: SocketAddr,
    source: Ipv4Addr,
    begin: &[u8],
    piece: &[u8],
) -> Option<u16> {
    let mut stream = connect(address, source).await.ok()?;
    let _ = stream.write_all(begin).await;
    let mut tick = interval(SLOWLY);
    loop {
        tokio::select! {
            ready = stream.readable() => {
                ready.ok()?;
                return status(&read_all(&mut stream).await.ok()?);
            }
            _ = tick.tick() => {
                let _ = stream.write_all(piece).await;
            }
        }
    }
}

//! Requests of the commands to a server: each on a connection of its own, without TLS.

use anyhow::Context as _;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends a request to a host and port.
pub async fn send(
    server: &str,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    let stream =
        TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(server)?);
    Ok(sender.send_request(request).await?)
}

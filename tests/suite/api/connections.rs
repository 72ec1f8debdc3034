//! Connections to the real binary: idle ones, and those that end early.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use tempfile::TempDir;

use crate::support::Server;

/// Connections that the server has at a time.
const CONNECTIONS: usize = 768;

fn server(folder: &TempDir) -> Server {
    Server::start(&folder.path().join("telemetry.db"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // Only for a test that fails.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn send_report(stream: &mut TcpStream, id: &str) {
    let body = format!("{{\"instance_id\":\"{id}\"}}");
    let length = body.len();
    let head = "POST /collect HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
}

/// Sends a report that must be stored.
fn report(address: SocketAddr, id: &str) {
    let mut stream = connect(address);
    send_report(&mut stream, id);
    let mut status = [0; 15];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
}

fn starts(address: SocketAddr) -> u64 {
    let mut stream = connect(address);
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["total_deployments"].as_u64().unwrap()
}

/// True if the other end has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn a_report_finds_room_among_idle_connections() {
    let folder = TempDir::new().unwrap();
    let server = server(&folder);
    let mut idle: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    report(server.address, "a");
    assert!(is_closed(&mut idle[0]), "the longest idle one made room");
    assert!(!is_closed(&mut idle[CONNECTIONS - 1]), "the others are kept");
}

/// A client that has closed its half, or all of its connection, has sent a whole report.
#[test]
fn a_report_counts_whose_sender_is_gone() {
    let folder = TempDir::new().unwrap();
    let server = server(&folder);
    for id in ["half", "whole"] {
        let mut stream = connect(server.address);
        send_report(&mut stream, id);
        if id == "half" {
            stream.shutdown(Shutdown::Write).unwrap();
            // The end of the connection shows that the report was read.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    // Connections are accepted in order, and reports are stored in order.
    report(server.address, "last");
    assert_eq!(starts(server.address), 3);
}

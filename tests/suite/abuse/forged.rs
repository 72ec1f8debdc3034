//! Forged addresses in `X-Forwarded-For`.

use std::{fmt::Write as _, net::Ipv4Addr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    raw,
    trial::{REPORTS, Trial},
};

/// A proxy that believes what its clients write.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Addresses.
const FORGED: u32 = 1_000_000;
const CONNECTIONS: u32 = 8;
/// Requests that are sent before their answers are read.
const AT_ONCE: u32 = 100;
/// Requests without a report, for each one with a report.
const REPORT_EVERY: u32 = 1000;

/// A million addresses, each of which the limit of reports counts on its own. Few of the requests are
/// reports, which cost a disk more than addresses do a server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn forged_addresses() {
    let proxies = format!("{PROXY}/32");
    let trial = Trial::begin_with(|command, _| {
        command.env("TRUSTED_PROXIES", proxies);
    })
    .await;
    let mut attacks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut stream = raw::connect(trial.address, PROXY).await.unwrap();
        let tally = trial.tally.clone();
        attacks.spawn(async move {
            let each = FORGED / CONNECTIONS;
            for begin in (0..each).step_by(AT_ONCE as usize) {
                let numbers = begin..(begin + AT_ONCE).min(each);
                let count = numbers.len();
                let mut requests = String::new();
                for number in numbers {
                    write_request(&mut requests, connection * each + number);
                }
                stream.write_all(requests.as_bytes()).await.unwrap();
                for status in answers(&mut stream, count).await {
                    tally.add(Some(status));
                }
            }
        });
    }
    attacks.join_all().await;
    assert_eq!(trial.tally.total(), u64::from(FORGED));
    trial.honest_reports(REPORTS / 2).await;
    let acknowledged = trial.tally.of(200);
    assert_eq!(acknowledged, u64::from(FORGED / REPORT_EVERY));
    trial.judge("forged addresses", acknowledged).await;
}

fn write_request(requests: &mut String, number: u32) {
    // Each network of IPv6 is a client of its own, as is each address of IPv4.
    let address = match number % 2 {
        0 => Ipv4Addr::from(0x0b00_0000 + number).to_string(),
        _ => format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff),
    };
    let body = match number % REPORT_EVERY {
        0 => format!("{{\"instance_id\":\"f{number}\"}}"),
        _ => String::new(),
    };
    write!(
        requests,
        "POST /collect HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6, {address}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}

/// Statuses of so many answers.
async fn answers(stream: &mut TcpStream, count: usize) -> Vec<u16> {
    let (mut statuses, mut unread) = (Vec::with_capacity(count), Vec::new());
    while statuses.len() < count {
        assert!(stream.read_buf(&mut unread).await.unwrap() > 0, "the connection was closed");
        let mut taken = 0;
        while let Some((status, length)) = answer(&unread[taken..]) {
            statuses.push(status);
            taken += length;
        }
        unread.drain(..taken);
    }
    assert!(unread.is_empty());
    statuses
}

/// Status and length of the first answer, once it is there in full.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let (_, length) = text.split_once("content-length: ").unwrap();
    let length = head + length.split("\r\n").next().unwrap().parse::<usize>().unwrap();
    let status = text["http/1.1 ".len()..][..3].parse().unwrap();
    (bytes.len() >= length).then_some((status, length))
}

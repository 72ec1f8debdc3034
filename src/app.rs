//! Wiring of the parts: they are built, run until a signal, and ended in order.

use std::{cell::Cell, io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};

use crate::{
    backups::{self, Backups},
    clock::Clock,
    config::Config,
    http::{
        self, AppState, Attempts, Pages, Proxies, PublicView, QUERIES_AT_ONCE, RequestIds, Room,
        Shared,
    },
    ingest::{Ingest, Limits},
    metrics::Metrics,
    storage::{Database, Locked},
};

/// Opens the database, listens, and serves until SIGTERM or SIGINT.
///
/// # Errors
/// One line with the reason for which the server cannot start or did not end well.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // The port comes first: a server that holds it may be writing to the database.
    let address = config.server_address;
    let listener =
        listen(address).with_context(|| format!("cannot listen on SERVER_ADDRESS {address}"))?;
    let database = open(&config, &Clock::system()).await?;
    let stop = stop_signal().context("cannot listen for signals")?;
    tracing::info!(
        address = %listener.local_addr()?,
        database = %database.path().display(),
        "serving"
    );
    run(&config, database, listener, Clock::system(), stop).await
}

/// Opens the database, which no other server may use, with a backup before its schema is brought up to date,
/// and takes over the reports that a reference server left in it.
///
/// # Errors
/// One line with the reason for which the database cannot be used.
pub async fn open(config: &Config, clock: &Clock) -> anyhow::Result<Database> {
    let locked = Locked::new(&config.database_url)?;
    if let Some(replaced) = locked.replaced() {
        tracing::info!(replaced = %replaced.display(), "finished a restore that was interrupted");
    }
    if let Some(backups) = &config.backups
        && locked.is_outdated().await?
    {
        backups::before_upgrade(backups, &locked.source(), clock).await.context(
            "cannot make a backup before the upgrade; a start without BACKUP_DIR makes none",
        )?;
    }
    let database = locked.open().await?;
    let mut writer = database.writer();
    let printed = Cell::new(0);
    let taken_over = writer
        .take_over(clock, |moved| {
            let now = moved.reports / 100_000;
            if printed.replace(now) < now {
                tracing::info!(reports = moved.reports, "taking over the reference database");
            }
        })
        .await
        .context("cannot take over the reference database; the next start goes on with it")?;
    if let Some(moved) = taken_over {
        tracing::info!(reports = moved.reports, altered = moved.altered, "took over");
        writer.close().await.context("cannot close the database after the take-over")?;
    }
    Ok(database)
}

/// Serves on a listener until `stop` is done; then ends open requests, empties the queue and
/// closes the database.
///
/// # Errors
/// If the writer cannot start, or the database did not close well.
pub async fn run(
    config: &Config,
    database: Database,
    listener: TcpListener,
    clock: Clock,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new());
    let (retention, public_minimum) = (config.retention, config.public_minimum);
    let (ingest, writer) =
        Ingest::start(&database, clock.clone(), retention, public_minimum, Arc::clone(&metrics))
            .context("cannot start the writer")?;
    let backups = config
        .backups
        .as_ref()
        .map(|backups| Backups::start(backups, &database, clock.clone(), Arc::clone(&metrics)))
        .transpose()
        .context("cannot start the thread of backups")?;
    let state = AppState::new(Shared {
        database: database.clone(),
        ingest: ingest.clone(),
        limits: Limits::new(config.rate_limit_per_minute, config.instance_rate_limit_per_hour),
        metrics,
        clock,
        proxies: Proxies::new(config.trusted_proxies.clone()),
        read_token: config.read_token.clone(),
        attempts: Attempts::default(),
        public: public_minimum.map(|minimum| PublicView { minimum, retention }),
        queries: Arc::new(Semaphore::new(QUERIES_AT_ONCE)),
        room: Room::default(),
        pages: Pages::default(),
        grafana_url: config.grafana_url.clone(),
        request_ids: RequestIds::default(),
    });
    let router = http::router(&state, &config.cors_allowed_origins);
    let answer = move |request| {
        let (state, router) = (state.clone(), router.clone());
        async move { http::answer(&state, router, request).await }
    };
    // The server is of no use without its writer. A supervisor starts it again.
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = ingest.ended() => tracing::error!("the writer ended"),
        }
    };
    http::serve(listener, config.trusted_proxies.clone(), answer, stop).await;
    if let Some(backups) = backups {
        backups.end().await;
    }
    drop(ingest);

    // The last handler has ended, so nothing can enter the queue and the writer ends.
    tracing::info!("stopping");
    writer.await.context("the writer ended early")?.context("cannot close the database")?;
    database.release();
    tracing::info!("stopped");
    Ok(())
}

/// Listens on an address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // The usual 128 are too few for a fleet that starts at once: who finds the queue full waits
    // a second for the next try of its operating system.
    const WAITING: u32 = 1024;
    // The system's own grows to megabytes: requests whose answers nobody reads are then worked on one
    // after the other, and honest reports wait for it.
    const SEND_BUFFER: u32 = 64 * 1024;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// A future that ends at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_written_little() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(4096).unwrap();
        let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let (mut written, some) = (0, [0; 16 * 1024]);
        let full = loop {
            match stream.try_write(&some) {
                Ok(bytes) => written += bytes,
                Err(error) => break error.kind(),
            }
            assert!(written <= 256 * 1024, "{written} bytes wait for nobody");
        };
        assert_eq!(full, ErrorKind::WouldBlock);
    }
}

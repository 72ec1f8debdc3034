//! A relay between a proxy and the server that counts connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Ends when it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move {
                loop {
                    let (mut proxy, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        let mut server = TcpStream::connect(server).await.unwrap();
                        // Either side may close it at any time.
                        let _ = copy_bidirectional(&mut proxy, &mut server).await;
                    });
                }
            }
        });
        Self { address, connections, accepting }
    }

    /// Connections that the proxy has opened so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

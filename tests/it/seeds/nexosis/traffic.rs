//! Applications that ask all the time, each on a connection of its own that stays.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::harness::{Connection, PATIENCE, between_looks};

/// Applications, all configured with one token. They end when stopped.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    configured: Mutex<String>,
    /// Requests answered, by application.
    sent: Vec<AtomicU64>,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl Traffic {
    pub(super) async fn start(
        envoy: SocketAddr,
        path: &'static str,
        token: &str,
        count: usize,
    ) -> Self {
        let shared = Arc::new(Shared {
            configured: Mutex::new(token.to_owned()),
            sent: (0..count).map(|_| AtomicU64::new(0)).collect(),
            refused: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for n in 0..count {
            let connection = Connection::open("127.0.0.1".parse().unwrap(), envoy).await;
            let shared = shared.clone();
            threads.push(std::thread::spawn(move || shared.run(n, connection, path)));
        }
        Self { shared, threads }
    }

    /// Waits until every application had an answer to a request that it began after now.
    pub(super) fn flow(&self) {
        let began = Instant::now();
        for sent in &self.shared.sent {
            let until = sent.load(Ordering::SeqCst) + 2;
            while sent.load(Ordering::SeqCst) < until {
                assert!(began.elapsed() < PATIENCE, "an application stands still");
                between_looks();
            }
        }
    }

    /// Configures all of them with another token, and lets those requests end that were begun with the old one.
    pub(super) fn switch(&self, token: &str) {
        token.clone_into(&mut self.shared.configured.lock().unwrap());
        self.flow();
    }

    /// Ends them: how many requests there were, and how many of them were refused.
    pub(super) fn stop(self) -> (u64, u64) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let sent = self.shared.sent.iter().map(|s| s.load(Ordering::SeqCst));
        (sent.sum(), self.shared.refused.load(Ordering::SeqCst))
    }
}

impl Shared {
    fn run(&self, n: usize, mut connection: Connection, path: &str) {
        while !self.stop.load(Ordering::SeqCst) {
            let token = self.configured.lock().unwrap().clone();
            let headers = [("api-key", &*token)];
            let response = connection.send("PUT", path, &headers, "{}");
            let refused = u64::from(response.status != 200);
            self.refused.fetch_add(refused, Ordering::SeqCst);
            self.sent[n].fetch_add(1, Ordering::SeqCst);
        }
    }
}

//! How many rows of the request log a second a database takes, and how many counts of usage: what a workspace that logs ALL
//! can sustain before rows are missing.
//!
//! `cargo bench --bench record`, on SQLite; `CLAVIGER_BENCH_POSTGRES_URL`, at build time, names a PostgreSQL database besides.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench that is set up wrong must end, and its report goes to the terminal"
)]

use std::net::IpAddr;
use std::time::Instant;

use claviger::app::ports::{Flush, LogEntry, LogRow, LoggedDecision, Records, RowId, UsageId};
use claviger::domain::decision::Reason;
use claviger::domain::id::{KeyId, SecretId, WorkspaceId};
use claviger::domain::time::Time;
use claviger::domain::workspace::Presentation;
use claviger::store::SqlStore;

const ROWS: u64 = 200_000;
const AT_ONCE: u64 = 2_000;
const COUNTS: u128 = 20_000;
const COUNTS_AT_ONCE: u128 = 500;
const HOUR: i64 = 3_600_000_000;
const NOW: i64 = 500_000 * HOUR;

fn workspace() -> WorkspaceId {
    "acme".parse().expect("a valid id")
}

fn row(n: u64) -> LogRow {
    let micros = NOW + i64::try_from(n).expect("a small number");
    let octets = n.wrapping_mul(2_654_435_761).to_le_bytes();
    LogRow {
        id: RowId::new(Time::from_micros(micros), n),
        workspace: workspace(),
        replica: "0a0b0c0d".to_owned(),
        entry: LogEntry::Decision(Box::new(LoggedDecision {
            allowed: true,
            reason: Some(Reason::Ok),
            key: Some((
                KeyId::from_u128(u128::from(n % 10_000)),
                SecretId::from_u128(u128::from(n % 10_000)),
            )),
            subscription: "gold".to_owned(),
            route: String::new(),
            presentation: Some(Presentation::Header),
            source_ip: Some(IpAddr::from([10, octets[1] & 7, octets[2], octets[3]])),
            method: "GET".to_owned(),
            path: "/v1/orders/42".to_owned(),
            surface: "envoy".to_owned(),
            all_of: "orders:read".to_owned(),
            any_of: String::new(),
            shadowed: Vec::new(),
            revision: "00000007.12".to_owned(),
        })),
    }
}

async fn measure(name: &str, records: &dyn Records) {
    let began = Instant::now();
    for first in (0..ROWS).step_by(AT_ONCE as usize) {
        let rows: Vec<_> = (first..first + AT_ONCE).map(row).collect();
        records.log(&rows).await.expect("rows are written");
    }
    let rows = ROWS as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut sequence = 0;
    for _ in 0..5 {
        for first in (0..COUNTS).step_by(COUNTS_AT_ONCE as usize) {
            sequence += 1;
            let usage = (first..first + COUNTS_AT_ONCE).map(|key| {
                let id = UsageId {
                    workspace: workspace(),
                    hour: Time::from_micros(NOW),
                    key: Some(KeyId::from_u128(key)),
                    subscription: "gold".to_owned(),
                    route: String::new(),
                    allowed: true,
                    reason: Reason::Ok,
                };
                (id, 1)
            });
            let flush = Flush {
                writer: 1,
                sequence,
                now: Time::from_micros(NOW),
                usage: usage.collect(),
                shadow: Vec::new(),
            };
            records.add(&flush).await.expect("counts are added");
        }
    }
    let counts = (5 * COUNTS) as f64 / began.elapsed().as_secs_f64();
    eprintln!("{name}: {rows:.0} rows of the log a second, {counts:.0} counts of usage a second");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqlStore::open(&dir.path().join("claviger.db")).await;
        let store = store.expect("it opens");
        measure("SQLite", &store.records()).await;
        store.close().await.expect("it closes");
        if let Some(url) = option_env!("CLAVIGER_BENCH_POSTGRES_URL") {
            let store = SqlStore::connect(url).await.expect("it connects");
            measure("PostgreSQL", &store.records()).await;
            store.close().await.expect("it closes");
        }
    });
}

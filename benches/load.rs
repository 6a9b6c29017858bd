//! What a start costs with a million keys: seconds from the database to a whole index, and bytes a key in memory.
//!
//! The database is made once, below `target/`, in a process of its own, so that nothing of that counts here.
//! `CLAVIGER_BENCH_KEYS`, set when this is built, makes it another number.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench that is set up wrong must end, and its report goes to the terminal"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::app::ports::{Meta, Store as _};
use claviger::domain::time::Time;
use claviger::domain::token::LookupKey;
use claviger::feed::Follower;
use claviger::index::Index;
use claviger::store::{NewHistory, SqlStore};

#[path = "../tests/it/harness/many.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is the tests' own, who may"
)]
mod many;

/// How often the load is measured, each time in a process of its own.
const ROUNDS: usize = 5;

fn keys() -> u32 {
    option_env!("CLAVIGER_BENCH_KEYS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000)
}

#[tokio::main]
async fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-load");
    let database = folder.join(format!("{}.db", keys()));
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("make") => make(&folder, &database).await,
        Some("load") => load(&database).await,
        // As `cargo bench` calls it.
        _ => all(&database),
    }
}

fn all(database: &Path) {
    let again = |what: &str| {
        let me = std::env::current_exe().expect("this program has a path");
        let status = Command::new(me).arg(what).status();
        assert!(status.expect("it starts").success(), "{what} failed");
    };
    if !database.exists() {
        again("make");
    }
    for _ in 0..ROUNDS {
        again("load");
    }
}

async fn make(folder: &Path, database: &Path) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let partial = database.with_extension("partial");
    let empty = database.with_extension("empty");
    for old in [&partial, &empty] {
        let _ = std::fs::remove_file(old);
    }
    let store = SqlStore::open(&empty).await.expect("it opens");
    let meta = Meta {
        epoch: 1,
        wrapped_keys: vec![1],
        bootstrapped: true,
    };
    store.initialise(&meta).await.expect("it is new");
    let now = Time::from_micros(1);
    let mut backup = Vec::new();
    store.backup(&mut backup, now).await.expect("a backup");
    store.close().await.expect("it closes");
    let backup = String::from_utf8(backup).expect("a backup is text");
    let backup = many::with_many(&backup, keys());

    let began = Instant::now();
    let store = SqlStore::open(&partial).await.expect("it opens");
    let new = NewHistory { epoch: 2, now };
    let restored = store.restore(&mut backup.as_bytes(), &|_| true, new).await;
    restored.expect("it is restored");
    store.close().await.expect("it closes");
    eprintln!("restored {} keys in {:?}", keys(), began.elapsed());
    std::fs::rename(&partial, database).expect("it is renamed");
}

async fn load(database: &Path) {
    let store = Arc::new(SqlStore::open(database).await.expect("it opens"));
    let index = Arc::new(Index::new(LookupKey::new(&[7; 32]), 2));
    let follower = Follower::new(store.clone(), index.clone());
    let before = resident();
    let began = Instant::now();
    follower.load().await.expect("it loads");
    let took: Duration = began.elapsed();
    let (count, _) = index.len();
    let bytes = resident().saturating_sub(before) / count.max(1);
    eprintln!("loaded {count} keys in {took:?}; {bytes} bytes a key");
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1_024
}

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

use claviger::app::envelope::Envelope;
use claviger::app::ports::{Clock, FeedBatch, Keep as _, Meta, Standing, Store as _};
use claviger::domain::time::Time;
use claviger::domain::token::LookupKey;
use claviger::feed::Follower;
use claviger::index::{Index, Live};
use claviger::server::SystemEntropy;
use claviger::snapshot::{self, Keeper, Kept, Unusable};
use claviger::store::{NewHistory, SqlStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[path = "../tests/it/harness/many.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is the tests' own, who may"
)]
mod many;

/// How many changes are kept, one after the other.
const CHANGES: usize = 500;
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
        Some("keep") => keep(&folder, &database).await,
        Some("restore") => restore(&folder).await,
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
    again("keep");
    again("restore");
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
    let index = Arc::new(Live::new(Index::new(LookupKey::new(&[7; 32]), 2)));
    let follower = Follower::new(store.clone(), index.clone());
    let before = resident();
    let began = Instant::now();
    follower.load().await.expect("it loads");
    let took: Duration = began.elapsed();
    let (count, _) = index.len();
    let bytes = resident().saturating_sub(before) / count.max(1);
    eprintln!("loaded {count} keys in {took:?}; {bytes} bytes a key");
}

struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Time {
        Time::from_micros(1)
    }
}

/// The data directory of what is kept, and the root key.
const KEPT: &str = "kept";
const ROOT: [u8; 32] = [7; 32];

/// The same with what is loaded kept, for a start without the database; and how long a change waits to be kept.
async fn keep(folder: &Path, database: &Path) {
    let data = folder.join(KEPT);
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).expect("the folder can be made");
    let (envelope, wrapped_keys) = Envelope::create(&ROOT, &SystemEntropy).expect("keys");
    let meta = Meta {
        epoch: 2,
        wrapped_keys,
        bootstrapped: true,
    };
    let (clock, entropy) = (Arc::new(Frozen), Arc::new(SystemEntropy));
    let index = Arc::new(Live::new(Index::new(envelope.lookup().clone(), 2)));
    let keeper = Keeper::new(&data, &meta, envelope, clock, entropy).expect("it can be kept");
    let keeper = Arc::new(keeper);
    let (stop, task) = (CancellationToken::new(), TaskTracker::new());
    task.spawn(snapshot::keep(keeper.clone(), stop.clone()));

    let store = Arc::new(SqlStore::open(database).await.expect("it opens"));
    let follower = Follower::keeping(store, index.clone(), keeper.clone());
    let began = Instant::now();
    let mut n = follower.load().await.expect("it loads");
    let took = began.elapsed();
    let (count, _) = index.len();
    let bytes: u64 = std::fs::read_dir(data.join("snapshot"))
        .expect("there are files")
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    eprintln!("loaded {count} keys and kept them, synced, in {took:?}: {bytes} bytes");

    keeper
        .stand(Standing::Entered)
        .await
        .expect("it is written");
    let mut waits = Vec::new();
    for _ in 0..CHANGES {
        n += 1;
        let began = Instant::now();
        keeper.append(&FeedBatch {
            upto: n,
            head: n,
            ..FeedBatch::default()
        });
        keeper.wait_for(n).await;
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    let at = |share: usize| {
        waits
            .get(waits.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    eprintln!(
        "a change is kept after {:?} at p50, {:?} at p99",
        at(50),
        at(99)
    );
    stop.cancel();
    task.close();
    task.wait().await;
}

/// A start from what was kept.
async fn restore(folder: &Path) {
    let began = Instant::now();
    let kept = Kept::find(&folder.join(KEPT), &[&ROOT]).expect("something was kept");
    let index = Arc::new(Live::new(Index::new(kept.envelope().lookup().clone(), 2)));
    let store = Arc::new(
        SqlStore::open(&folder.join("none.db"))
            .await
            .expect("it opens"),
    );
    let follower = Follower::new(store, index.clone());
    let restored = follower.restore(|give| {
        let point = kept.read(give)?;
        Ok::<_, Unusable>((point.revision.n, point))
    });
    restored.await.expect("it is as it was kept");
    let (count, _) = index.len();
    eprintln!("restored {count} keys in {:?}", began.elapsed());
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1_024
}

//! The task that writes: it alone touches the files.

use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::chain::Chain;
use super::file::{Unusable, Writer};
use super::keeper::{Files, Inbox, Keeper, Work};
use super::merge::merge;
use super::row::{End, Row};
use super::taking::Blocks;
use crate::app::ports::{Standing, StoreError};

/// How much is written with one sync at most.
const GROUP: usize = 1_024;
/// Journals are merged into the snapshot when they have half its size, within these bounds: so a start has little to read
/// twice, and a change costs about three times its size in writing.
const MERGE: [u64; 2] = [1 << 20, 32 << 20];
/// How long between two tries to remove what must not stay.
const RETRY: Duration = Duration::from_secs(1);

/// The journal that is written to.
#[derive(Debug)]
pub(super) struct Journal {
    writer: Writer,
    generation: u64,
    /// The revision that it reaches.
    upto: u64,
    /// How many bytes journals before it have.
    before: u64,
    /// At how many bytes of all of them they are merged.
    limit: u64,
}

fn limit(snapshot: u64) -> u64 {
    let [least, most] = MERGE;
    (snapshot / 2).clamp(least, most)
}

impl Journal {
    /// One that goes on from the files that are there.
    pub(super) fn resume(files: &Files, n: u64) -> io::Result<Self> {
        let chain = Chain::find(files.folder.clone()).map_err(io::Error::other)?;
        let (before, limit) = (chain.journaled()?, limit(chain.bytes()?));
        let generation = files.folder.next()?;
        Ok(Self {
            writer: files.begin_journal(generation, n)?,
            generation,
            upto: n,
            before,
            limit,
        })
    }

    /// One after a snapshot that takes the place of all that was there.
    fn begin(files: &Files, blocks: Blocks, end: End) -> io::Result<Self> {
        let generation = files.folder.next()?;
        let bytes = blocks.adopt(generation, end)?;
        let writer = files.begin_journal(generation, end.n)?;
        files.folder.remove_before(generation)?;
        Ok(Self {
            writer,
            generation,
            upto: end.n,
            before: 0,
            limit: limit(bytes),
        })
    }

    fn is_long(&self) -> bool {
        self.before + self.writer.bytes() > self.limit
    }

    fn rotate(&mut self, files: &Files) -> io::Result<()> {
        let generation = self.generation + 1;
        let next = files.begin_journal(generation, self.upto)?;
        self.before += self.writer.bytes();
        (self.writer, self.generation) = (next, generation);
        Ok(())
    }

    fn write(&mut self, records: &[(Vec<u8>, Option<u64>)], sync: bool) -> io::Result<()> {
        for (rows, upto) in records {
            self.writer.append(rows)?;
            self.upto = upto.unwrap_or(self.upto);
        }
        if sync {
            self.writer.sync()
        } else {
            self.writer.flush()
        }
    }
}

/// A merge under way.
struct Merging {
    task: JoinHandle<Result<Option<u64>, Unusable>>,
    stop: Arc<AtomicBool>,
    /// How many bytes journals have that it makes unnecessary.
    bytes: u64,
}

type Done = oneshot::Sender<Result<(), StoreError>>;

/// Writes what is taken down, until told to stop and nothing is left.
pub async fn keep(keeper: Arc<Keeper>, stop: CancellationToken) {
    let inbox = keeper
        .inbox
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(Inbox { mut work, journal }) = inbox else {
        return;
    };
    let mut task = Task {
        keeper,
        // What is gone on from is of one that is waited for.
        standing: match journal {
            Some(_) => Standing::Entered,
            None => Standing::Left,
        },
        journal,
        merging: None,
        stop: stop.clone(),
    };
    loop {
        let mut some = Vec::new();
        tokio::select! {
            biased;
            _ = work.recv_many(&mut some, GROUP) => {}
            () = task.merged() => {}
            () = stop.cancelled() => break,
        }
        task.take(some).await;
    }
    work.close();
    let mut rest = Vec::new();
    while let Some(one) = work.recv().await {
        rest.push(one);
    }
    task.take(rest).await;
    task.end_merging().await;
}

struct Task {
    keeper: Arc<Keeper>,
    journal: Option<Journal>,
    merging: Option<Merging>,
    /// Where the process stands: what begins anew begins with that.
    standing: Standing,
    stop: CancellationToken,
}

impl Task {
    async fn take(&mut self, some: Vec<Work>) {
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        for work in some {
            match work {
                Work::Record { rows, upto } => {
                    self.keeper.queued.fetch_sub(rows.len(), Ordering::AcqRel);
                    records.push((rows, upto));
                }
                Work::Stand { standing, done } => {
                    self.standing = standing;
                    records.push((Row::standing(standing).line(), None));
                    waiting.push(done);
                }
                Work::Begin { blocks, end, done } => {
                    self.write(std::mem::take(&mut records), std::mem::take(&mut waiting))
                        .await;
                    self.begin(blocks, end, done).await;
                }
            }
        }
        self.write(records, waiting).await;
        self.rotate().await;
    }

    /// Writes records, and answers who waits for them.
    async fn write(&mut self, records: Vec<(Vec<u8>, Option<u64>)>, waiting: Vec<Done>) {
        let lost = self.keeper.lost.load(Ordering::Acquire);
        let upto = records.iter().rev().find_map(|(_, upto)| *upto);
        let written = match self.journal.take() {
            // Nothing is kept, so that there is nothing to keep it in step with.
            None => Ok(()),
            Some(_) if lost => Err(io::Error::other(
                "changes come faster than it can be written",
            )),
            Some(journal) if records.is_empty() => {
                self.journal = Some(journal);
                return;
            }
            Some(mut journal) => {
                let sync = upto.is_some() || !waiting.is_empty();
                let written = blocking(move || {
                    journal.write(&records, sync)?;
                    Ok(journal)
                });
                written.await.map(|journal| self.journal = Some(journal))
            }
        };
        let answer = match written {
            Ok(()) => {
                if self.journal.is_some()
                    && let Some(upto) = upto
                {
                    self.keeper.kept.send_replace(upto);
                }
                Ok(())
            }
            Err(error) => self.give_up(&error).await,
        };
        for done in waiting {
            let answer = answer.as_ref().copied().map_err(|_| not_removed());
            // Who waited may have gone.
            let _ = done.send(answer);
        }
    }

    async fn begin(&mut self, blocks: io::Result<Blocks>, end: End, done: Done) {
        self.end_merging().await;
        self.keeper.lost.store(false, Ordering::Release);
        let files = self.keeper.files.clone();
        if let Ok(blocks) = &blocks {
            let mut of = files.of();
            if of.epoch != blocks.of.epoch {
                // The list of a database that was put back need not have this process in it: not before it is entered
                // there may it start from this.
                self.standing = Standing::Left;
            }
            of.clone_from(&blocks.of);
        }
        let standing = self.standing;
        let begun = blocking(move || {
            let mut blocks = blocks?;
            blocks.put(&Row::standing(standing))?;
            Journal::begin(&files, blocks, end)
        });
        let begun = begun.await;
        let answer = match begun {
            Ok(journal) => {
                self.journal = Some(journal);
                self.keeper.on.store(true, Ordering::Release);
                self.keeper.kept.send_replace(end.n);
                Ok(())
            }
            Err(error) => self.give_up(&error).await.map_err(|()| not_removed()),
        };
        // Who waited may have gone.
        let _ = done.send(answer);
    }

    /// Keeps nothing any more: what is there would fall behind what is said. Fails where it can't be removed before the
    /// process is told to stop; until then nothing more is said to be kept.
    async fn give_up(&mut self, error: &io::Error) -> Result<(), ()> {
        tracing::error!(%error, "what is kept for a start without the database can't be written; it is given up, and the next start needs the database");
        self.keeper.on.store(false, Ordering::Release);
        self.journal = None;
        self.end_merging().await;
        loop {
            let folder = self.keeper.files.folder.clone();
            match blocking(move || folder.clear()).await {
                Ok(()) => {
                    self.keeper.kept.send_replace(u64::MAX);
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(%error, "what is kept for a start without the database can't be removed either; until it is, no change is said to have reached this replica");
                }
            }
            let pause = tokio::time::sleep(RETRY);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return Err(());
            }
        }
    }

    /// Merges journals that have become long into the snapshot, beside a new one.
    async fn rotate(&mut self) {
        let Some(mut journal) = self.journal.take_if(|journal| journal.is_long()) else {
            return;
        };
        if self.merging.is_some() {
            self.journal = Some(journal);
            return;
        }
        let files = self.keeper.files.clone();
        let rotated = blocking(move || {
            journal.rotate(&files)?;
            Ok(journal)
        });
        match rotated.await {
            Ok(journal) => {
                let (files, generation) = (self.keeper.files.clone(), journal.generation);
                let stop = Arc::new(AtomicBool::new(false));
                let told = stop.clone();
                self.merging = Some(Merging {
                    task: spawn_blocking(move || merge(&files, generation, &told)),
                    stop,
                    bytes: journal.before,
                });
                self.journal = Some(journal);
            }
            Err(error) => {
                // That nobody can be told is in the log.
                let _ = self.give_up(&error).await;
            }
        }
    }

    /// Waits for a merge under way, and takes note of it; for ever where there is none.
    async fn merged(&mut self) {
        let Some(merging) = &mut self.merging else {
            return std::future::pending().await;
        };
        let merged = (&mut merging.task).await;
        let bytes = merging.bytes;
        self.merging = None;
        let error = match (merged, &mut self.journal) {
            (Ok(Ok(Some(snapshot))), Some(journal)) => {
                journal.before -= bytes.min(journal.before);
                journal.limit = limit(snapshot);
                return;
            }
            (Ok(Ok(_)), _) | (_, None) => return,
            (Ok(Err(error)), Some(journal)) => {
                // Not at once again.
                journal.limit = journal.limit.saturating_mul(2);
                error.to_string()
            }
            (Err(error), Some(_)) => error.to_string(),
        };
        tracing::error!(
            error,
            "what is kept for a start without the database can't be made shorter"
        );
    }

    async fn end_merging(&mut self) {
        if let Some(merging) = self.merging.take() {
            merging.stop.store(true, Ordering::Relaxed);
            let _ = merging.task.await;
        }
    }
}

fn not_removed() -> StoreError {
    StoreError::Unavailable(
        "what is kept for a start without the database can neither be written nor removed"
            .to_owned(),
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

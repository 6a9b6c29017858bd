//! Keeps the files: what is taken down is written in order, by one task, and synced for all that came meanwhile.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::chain::Folder;
use super::file::{Header, Kind, Writer};
use super::row::{End, Row, write_batch};
use super::taking::{Blocks, Load};
use super::worker::Journal;
use crate::app::envelope::Envelope;
use crate::app::ports::{Clock, Entropy, FeedBatch, Keep, Meta, Standing, StoreError, Taking};

/// How many bytes may wait to be written. A disk that takes longer is not waited for.
const MAX_QUEUED: usize = 64 << 20;
/// How often it is noted that nothing newer is there, in microseconds.
const CURRENT: i64 = 10_000_000;

/// What every file is made with.
pub(super) struct Files {
    pub(super) folder: Folder,
    pub(super) envelope: Envelope,
    pub(super) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What the files of now are of.
    of: Mutex<Of>,
}

/// Which database files are of.
#[derive(Debug, Clone)]
pub(super) struct Of {
    pub(super) epoch: u32,
    wrapped_keys: String,
}

impl Of {
    fn new(meta: &Meta) -> Self {
        Self {
            epoch: meta.epoch,
            wrapped_keys: hex::encode(&meta.wrapped_keys),
        }
    }
}

impl Files {
    /// Which database the files of now are of.
    pub(super) fn of(&self) -> MutexGuard<'_, Of> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header of a new file, and its id.
    pub(super) fn header(&self, kind: Kind, after: u64, of: &Of) -> io::Result<(Header, String)> {
        let mut random = [0; 16];
        self.entropy.fill(&mut random).map_err(io::Error::other)?;
        let id = hex::encode(random);
        let header = Header {
            version: Header::version(),
            kind,
            id: id.clone(),
            epoch: of.epoch,
            after,
            time: self.clock.now(),
            wrapped_keys: of.wrapped_keys.clone(),
        };
        Ok((header, id))
    }

    /// Begins a journal after a revision, all of it on the disk.
    pub(super) fn begin_journal(&self, generation: u64, after: u64) -> io::Result<Writer> {
        let (header, _) = self.header(Kind::Journal, after, &self.of())?;
        let path = self.folder.path_of(Kind::Journal, generation);
        let mut writer = Writer::create(&path, &header, &self.envelope)?;
        writer.sync()?;
        self.folder.sync()?;
        Ok(writer)
    }
}

/// What is to be written.
pub(super) enum Work {
    /// A record; with the revision that it reaches, where it is of what was applied.
    Record { rows: Vec<u8>, upto: Option<u64> },
    /// Where the process stands; somebody waits for that.
    Stand {
        standing: Standing,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// A snapshot to take the place of everything.
    Begin {
        blocks: io::Result<Blocks>,
        end: End,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// Why nothing comes of it: the task has ended.
pub(super) fn gone() -> StoreError {
    StoreError::Unavailable("what is kept for a start without the database is closed".to_owned())
}

/// Keeps what the index holds in a data directory.
pub struct Keeper {
    pub(super) files: Arc<Files>,
    pub(super) kept: watch::Sender<u64>,
    /// Whether there is a journal to write to.
    pub(super) on: AtomicBool,
    /// Something could not wait to be written: what comes later has a gap before it.
    pub(super) lost: AtomicBool,
    pub(super) queued: AtomicUsize,
    work: mpsc::UnboundedSender<Work>,
    /// For the task that writes, until it begins.
    pub(super) inbox: Mutex<Option<Inbox>>,
    noted: AtomicI64,
}

/// What the task that writes begins with.
pub(super) struct Inbox {
    pub(super) work: mpsc::UnboundedReceiver<Work>,
    pub(super) journal: Option<Journal>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("kept", &*self.kept.borrow())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// One that begins anew, in a directory where something may lie from before. Until that is replaced nothing can be said
    /// to be kept.
    pub fn new(
        data_dir: &Path,
        meta: &Meta,
        envelope: Envelope,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let folder = Folder::make(data_dir)?;
        folder.tidy()?;
        let kept = if folder.is_empty()? { u64::MAX } else { 0 };
        let (work, inbox) = mpsc::unbounded_channel();
        Ok(Self {
            files: Arc::new(Files {
                folder,
                envelope,
                clock,
                entropy,
                of: Mutex::new(Of::new(meta)),
            }),
            kept: watch::Sender::new(kept),
            on: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            work,
            inbox: Mutex::new(Some(Inbox {
                work: inbox,
                journal: None,
            })),
            noted: AtomicI64::new(0),
        })
    }

    /// Goes on from what was restored, which reached this revision.
    pub fn resume(&self, n: u64) -> io::Result<()> {
        let journal = Journal::resume(&self.files, n)?;
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inbox.as_mut() {
            inbox.journal = Some(journal);
        }
        self.kept.send_replace(n);
        self.on.store(true, Ordering::Release);
        Ok(())
    }

    fn record(&self, rows: Vec<u8>, upto: Option<u64>) {
        if self.lost.load(Ordering::Acquire) {
            return;
        }
        let before = self.queued.fetch_add(rows.len(), Ordering::AcqRel);
        if before > MAX_QUEUED {
            self.lost.store(true, Ordering::Release);
        }
        // Who takes it is gone where the process is about to end.
        let _ = self.work.send(Work::Record { rows, upto });
    }

    /// Something can't be taken down.
    fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        let nothing = Work::Record {
            rows: Vec::new(),
            upto: None,
        };
        let _ = self.work.send(nothing);
    }
}

#[async_trait]
impl Keep for Keeper {
    fn begin(&self, meta: &Meta) -> Box<dyn Taking> {
        let now = self.files.of().clone();
        let of = match now.epoch == meta.epoch {
            true => now,
            false => Of::new(meta),
        };
        Box::new(Load {
            blocks: Blocks::begin(&self.files, of),
            begun: self.files.clock.now(),
            work: self.work.clone(),
        })
    }

    fn append(&self, batch: &FeedBatch) {
        if !self.is_on() {
            return;
        }
        match write_batch(batch, self.files.clock.now()) {
            Ok(rows) => self.record(rows, Some(batch.upto)),
            Err(_) => self.lose(),
        }
    }

    fn current(&self) {
        let now = self.files.clock.now();
        let noted = self.noted.load(Ordering::Relaxed);
        if !self.is_on() || now.micros().saturating_sub(noted) < CURRENT {
            return;
        }
        self.noted.store(now.micros(), Ordering::Relaxed);
        let mut rows = Vec::new();
        if Row::Current(now).write(&mut rows).is_ok() {
            self.record(rows, None);
        }
    }

    fn kept(&self) -> u64 {
        *self.kept.borrow()
    }

    async fn wait_for(&self, n: u64) {
        let mut kept = self.kept.subscribe();
        // The sender is `self`: it can't be gone.
        let _ = kept.wait_for(|kept| *kept >= n).await;
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    async fn stand(&self, standing: Standing) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let work = Work::Stand { standing, done };
        self.work.send(work).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

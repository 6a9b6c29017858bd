//! What decisions leave behind beside their answer: counts for usage, rows for the request log, and what restrictions in
//! shadow would have denied. Gathered in memory, in parts, each with a lock of its own that is held for the time of a few
//! writes to memory: decisions never wait for whoever writes it down, nor, almost always, for each other.

mod gathered;
mod text;

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::Notify;

use crate::app::authorize::Surface;
use crate::app::ports::Interval;
use crate::decide::{Demands, Question, Verdict, is_off_the_record};
use crate::domain::decision::Reason;
use crate::domain::time::Time;
use crate::index::View;

use gathered::Logged;
use gathered::Part;
pub use gathered::{Entry, Gap, Gathered, Name, ShadowKey, ShadowSeen, Spare, UsageKey};
pub use text::Span;

/// Most rows of the request log that wait in memory; those that come then are counted as missing.
pub const MOST_ROWS: usize = 65_536;
/// Most bytes of text that wait with them.
const MOST_TEXT: usize = 16 << 20;
/// Most parts.
const MOST_PARTS: usize = 16;

/// A decision, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a, 'q, 'v> {
    /// When.
    pub now: Time,
    /// Through which door.
    pub surface: Surface,
    /// What was asked.
    pub question: &'a Question<'q>,
    /// What was decided.
    pub verdict: &'a Verdict<'v>,
    /// On what.
    pub view: &'a View<'v>,
}

impl<'a> Seen<'a, '_, '_> {
    /// What was demanded of scopes, by the request and by its route.
    pub fn demands(&self) -> Demands<'a> {
        let (question, verdict): (&Question<'a>, &Verdict<'a>) = (self.question, self.verdict);
        question.demands(verdict.taken)
    }

    /// Whether nothing of it may be recorded but that it was: it presents a key that is off the record.
    pub fn is_off_the_record(&self) -> bool {
        is_off_the_record(self.question, self.verdict, self.view)
    }
}

/// What decisions leave behind, until it is taken to be written down.
#[derive(Debug)]
pub struct Recorder {
    replica: u64,
    parts: Box<[Aligned]>,
    wake: Notify,
    counts: RecorderCounts,
}

/// How recording goes.
#[derive(Debug, Default)]
pub struct RecorderCounts {
    /// Rows of the request log that were dropped, for there were too many.
    pub dropped: AtomicU64,
    /// Rows of the request log that were written.
    pub written: AtomicU64,
    /// Rows of the request log that were taken to be written, and are not yet.
    pub taken: AtomicU64,
    /// Additions to usage that could not be written, and were tried again.
    pub failed_usage: AtomicU64,
    /// The same of rows of the request log.
    pub failed_log: AtomicU64,
    /// The same of times of last use.
    pub failed_last_used: AtomicU64,
    /// Counts that wait to be added to usage.
    pub pending_usage: AtomicU64,
}

/// Two of them never share a line of a cache.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned(Mutex<Part>);

thread_local! {
    /// Which part a thread writes to.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Recorder {
    /// For the process of this number, with so many threads that decide.
    pub fn new(replica: u64, threads: usize) -> Self {
        let parts = threads.clamp(1, MOST_PARTS);
        let part = |seed: usize| {
            let seed = u64::try_from(seed).unwrap_or(0);
            Aligned(Mutex::new(Part::new(
                MOST_ROWS / parts,
                MOST_TEXT / parts,
                seed,
            )))
        };
        Self {
            replica,
            parts: (0..parts).map(part).collect(),
            wake: Notify::new(),
            counts: RecorderCounts::default(),
        }
    }

    /// What tells this process from all others.
    pub fn replica(&self) -> u64 {
        self.replica
    }

    /// How recording goes.
    pub fn counts(&self) -> &RecorderCounts {
        &self.counts
    }

    /// How many rows of the request log wait, whether taken or not.
    pub fn queued(&self) -> u64 {
        let waiting: usize = self.parts.iter().map(|part| part.lock().waiting()).sum();
        self.counts.taken.load(Ordering::Relaxed) + u64::try_from(waiting).unwrap_or(u64::MAX)
    }

    /// Records a decision. One about a workspace that does not exist is nobody's, and leaves nothing.
    pub fn note(&self, seen: &Seen<'_, '_, '_>) {
        let Some(workspace) = seen.verdict.workspace else {
            return;
        };
        let key = seen.verdict.key.map(|(key, _)| key);
        let allowed = seen.verdict.is_allow();
        let wanted = match allowed {
            true => workspace.log.allowed_below > 0,
            false => workspace.log.denied,
        };
        let shadowed = seen.verdict.shadowed;
        // Looked up before anything is locked; where neither log nor shadow want anything of it, not at all.
        let told = wanted || shadowed.iter().next().is_some();
        let on_the_record = told && !seen.is_off_the_record();
        let Some(mut part) = self.part() else {
            return;
        };
        let place = part.place(seen, subscription(seen.verdict));
        part.count(seen, place);
        if let Some(key) = key {
            let moment = match on_the_record {
                true => seen.now,
                false => Interval::Hour.begin(seen.now),
            };
            for reason in shadowed.iter() {
                let address = denied_address(seen, reason).filter(|_| on_the_record);
                part.shadow(place, key.id(), reason, (moment, address));
            }
        }
        let logged = match allowed {
            true => part.samples(workspace.log.allowed_below),
            false => workspace.log.denied,
        };
        if !(logged && on_the_record) {
            return;
        }
        match part.log(seen, place) {
            Logged::Filling => self.wake.notify_one(),
            Logged::Full => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Logged::Fine => {}
        }
    }

    /// Waits until so many rows wait that they should be written soon.
    pub async fn filling(&self) {
        self.wake.notified().await;
    }

    /// In how many parts it is to be taken.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Takes what a part has gathered, rows of the log only with `rows`, and leaves it `spare`, which must be empty.
    pub fn take(&self, part: usize, rows: bool, spare: &mut Spare) {
        if let Some(part) = self.parts.get(part) {
            part.lock().take(rows, spare);
        }
    }

    /// The part of this thread; another one where that is held, which is for the time of a few writes to memory.
    fn part(&self) -> Option<MutexGuard<'_, Part>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let place = PLACE.with(|place| {
            if place.get() == usize::MAX {
                place.set(THREADS.fetch_add(1, Ordering::Relaxed));
            }
            place.get()
        });
        let own = place % self.parts.len().max(1);
        let (before, after) = self.parts.split_at_checked(own)?;
        let mut all = after.iter().chain(before);
        let free = all.find_map(|part| match part.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.or_else(|| self.parts.get(own).map(Aligned::lock))
    }
}

impl Aligned {
    fn lock(&self) -> MutexGuard<'_, Part> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subscription a decision is accounted to; a denial that came before that was asked is the key's only one's.
fn subscription<'v>(verdict: &Verdict<'v>) -> &'v str {
    match verdict.key {
        Some((key, _)) if verdict.subscription.is_empty() && !verdict.is_allow() => {
            match &*key.subscriptions {
                [only] => only.as_str(),
                _ => "",
            }
        }
        _ => verdict.subscription,
    }
}

/// The address that a network in shadow would have denied.
fn denied_address(seen: &Seen<'_, '_, '_>, reason: Reason) -> Option<IpAddr> {
    seen.question
        .source_ip
        .filter(|_| reason == Reason::IpNotAllowed)
}

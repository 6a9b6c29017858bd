//! Decisions, and what is noted of them: counts, times of last use, and what the recorder takes. All of it in memory.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::Core;
use crate::app::error::{Code, Error};
use crate::app::ports::Interval;
use crate::app::recorder::Seen;
use crate::decide::{self, Question, Verdict};
use crate::domain::decision::Reason;
use crate::domain::id::WorkspaceId;
use crate::domain::revision::Revision;

/// Through which door a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `Authorize`.
    Authorize,
    /// Envoy.
    Envoy,
}

impl Surface {
    /// Every door.
    pub const ALL: [Self; 2] = [Self::Authorize, Self::Envoy];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Envoy => "envoy",
        }
    }
}

/// How many decisions came out how.
#[derive(Debug, Default)]
pub struct DecisionCounts {
    by_reason: [[AtomicU64; Reason::ALL.len()]; Surface::ALL.len()],
    shadowed: [AtomicU64; Reason::ALL.len()],
    grandfathered: [AtomicU64; Reason::ALL.len()],
}

impl DecisionCounts {
    fn note(&self, surface: Surface, verdict: &Verdict<'_>) {
        if let Some(count) = self
            .by_reason
            .get(surface as usize)
            .and_then(|row| row.get(verdict.reason.index()))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        for reason in verdict.shadowed.iter() {
            if let Some(count) = self.shadowed.get(reason.index()) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let without_key = verdict.grandfathered.filter(|_| verdict.is_allow());
        if let Some(count) = without_key.and_then(|reason| self.grandfathered.get(reason.index())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many decisions came out for this reason.
    pub fn of(&self, surface: Surface, reason: Reason) -> u64 {
        let row = self.by_reason.get(surface as usize);
        row.and_then(|row| row.get(reason.index()))
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// How often this reason would have denied, were it not in shadow.
    pub fn shadowed(&self, reason: Reason) -> u64 {
        self.shadowed
            .get(reason.index())
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// How often this reason would have denied, were the route not grandfathered.
    pub fn grandfathered(&self, reason: Reason) -> u64 {
        self.grandfathered
            .get(reason.index())
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }
}

impl Core {
    /// Decides, and hands the verdict to `answer` while the view that it rests on is held.
    pub fn decide<R>(
        &self,
        surface: Surface,
        question: &Question<'_>,
        counts: &DecisionCounts,
        answer: impl FnOnce(&Verdict<'_>, Revision) -> R,
    ) -> Result<R, Error> {
        // One index from here to the end, whatever takes its place meanwhile.
        let index = self.index.now();
        self.may_decide_with(&index)?;
        let now = self.clock.now();
        let view = index.view();
        let verdict = decide::decide(question, &view, now);
        counts.note(surface, &verdict);
        self.observe(&Seen {
            now,
            surface,
            question,
            verdict: &verdict,
            view: &view,
        });
        Ok(answer(&verdict, view.revision))
    }

    /// The workspace of a request that names none: that whose routes claim its host, else the process's default.
    pub fn workspace_of_host(&self, host: &[u8]) -> Cow<'_, WorkspaceId> {
        let claimant = self.index.workspace_of_host(host);
        claimant.map_or(Cow::Borrowed(&self.default_workspace), Cow::Owned)
    }
}

impl Core {
    /// What a decision leaves behind. Whatever is added here is in memory, and costs next to nothing.
    fn observe(&self, seen: &Seen<'_, '_, '_>) {
        if seen.verdict.is_allow() {
            self.note_uses(seen);
        }
        self.recorder.note(seen);
        let strangers = &self.postbacks.strangers;
        if !strangers.note(seen) {
            self.postbacks.counts.miss();
        }
    }

    /// Notes what was used: the key, a further key that the route demands, or neither, which is counted at the route.
    fn note_uses(&self, seen: &Seen<'_, '_, '_>) {
        let verdict = seen.verdict;
        // When exactly a key that is off the record came is not recorded either.
        let moment = |off_the_record: bool| match off_the_record {
            true => Interval::Hour.begin(seen.now),
            false => seen.now,
        };
        if let Some((key, _)) = verdict.identity() {
            self.exercised.note(&seen.demands(), key, verdict.principal);
        }
        let keys = [verdict.identity(), verdict.factor_key];
        let used = moment(verdict.is_off_the_record());
        for (_, secret) in keys.into_iter().flatten() {
            self.last_used.note(&secret.usage, used);
        }
        if let (Some(route), Some(reason)) = (verdict.route(), verdict.grandfathered) {
            route.uses.note(reason, moment(seen.is_off_the_record()));
        }
    }
}

/// The index is not whole yet.
pub fn not_loaded() -> Error {
    Error::new(
        Code::Unavailable,
        "NOT_LOADED",
        "the key set is still being loaded; try again soon",
    )
}

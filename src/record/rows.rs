//! Rows of the request log, on their way to it; and where there were too many, how many are missing.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use crate::app::Core;
use crate::app::ports::{LogEntry, LogRow, LoggedDecision, RowId};
use crate::app::recorder::{Entry, Gap, Spare};
use crate::domain::id::WorkspaceId;
use crate::domain::time::Time;

/// How many are handed over at once: one transaction.
const AT_ONCE: usize = 2_000;

/// Rows on their way.
pub(super) struct Rows {
    replica: u64,
    made: u32,
    waiting: VecDeque<LogRow>,
    gaps: HashMap<WorkspaceId, Gap>,
    failing: bool,
}

impl Rows {
    pub(super) fn new(replica: u64) -> Self {
        Self {
            replica,
            made: 0,
            waiting: VecDeque::new(),
            gaps: HashMap::new(),
            failing: false,
        }
    }

    /// Whether none wait.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes over the rows of what was gathered.
    pub(super) fn add(&mut self, from: &Spare, known: &dyn Fn(&str) -> Option<WorkspaceId>) {
        for entry in &from.gathered.rows {
            if let Some(workspace) = known(from.name(entry.workspace)) {
                let said = said(entry, from);
                let row = self.row(entry.time, workspace, said);
                self.waiting.push_back(row);
            }
        }
        for (workspace, gap) in &from.gathered.gaps {
            if let Some(workspace) = known(from.name(*workspace)) {
                let whole = self
                    .gaps
                    .entry(workspace)
                    .or_insert(Gap { missing: 0, ..*gap });
                whole.missing += gap.missing;
                whole.since = whole.since.min(gap.since);
                whole.until = whole.until.max(gap.until);
            }
        }
    }

    /// Makes a row of what is missing of each workspace.
    pub(super) fn close_gaps(&mut self) {
        for (workspace, gap) in std::mem::take(&mut self.gaps) {
            let entry = LogEntry::Gap {
                missing: gap.missing,
                since: gap.since,
            };
            let row = self.row(gap.until, workspace, entry);
            self.waiting.push_back(row);
        }
    }

    fn row(&mut self, time: Time, workspace: WorkspaceId, entry: LogEntry) -> LogRow {
        // Unique among all processes: half of it is the process's, half of it is the row's.
        let process = self.replica << 32;
        self.made = self.made.wrapping_add(1);
        LogRow {
            id: RowId::new(time, process | u64::from(self.made)),
            workspace,
            replica: format!("{:08x}", process >> 32),
            entry,
        }
    }

    /// Writes some; false where none are left, or they can't be written now.
    pub(super) async fn write_some(&mut self, core: &Core) -> bool {
        let counts = core.recorder.counts();
        let some = self.waiting.len().min(AT_ONCE);
        let taken = |left: usize| {
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            counts.taken.store(left, Ordering::Relaxed);
        };
        taken(self.waiting.len());
        let Some(rows) = self.waiting.make_contiguous().get(..some) else {
            return false;
        };
        if rows.is_empty() {
            return false;
        }
        match core.records.log(rows).await {
            Ok(()) => {
                self.failing = false;
                self.waiting.drain(..some);
                let written = u64::try_from(some).unwrap_or(0);
                counts.written.fetch_add(written, Ordering::Relaxed);
                taken(self.waiting.len());
                true
            }
            Err(error) => {
                counts.failed_log.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    tracing::warn!(%error, "the request log can't be written; rows wait, and those there is no room for are counted");
                }
                self.failing = true;
                false
            }
        }
    }
}

fn said(entry: &Entry, from: &Spare) -> LogEntry {
    let [method, path, all_of, any_of] = entry
        .texts
        .map(|span| span.of(&from.gathered.text).to_owned());
    LogEntry::Decision(Box::new(LoggedDecision {
        allowed: entry.allowed,
        reason: Some(entry.reason),
        key: entry.key,
        subscription: from.name(entry.subscription).to_owned(),
        route: from.name(entry.route).to_owned(),
        presentation: entry.presentation,
        source_ip: entry.source_ip,
        method,
        path,
        surface: entry.surface.as_str().to_owned(),
        all_of,
        any_of,
        shadowed: entry.shadowed.iter().collect(),
        revision: entry.revision.to_string(),
    }))
}

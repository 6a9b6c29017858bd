//! Which history a database has, and whether it may be followed into another one.
//!
//! A backup that was put back under running processes is further back in the same history, or in an earlier one. Following
//! it would undo what was said to be so, and its next numbers would be given out twice. So it is refused, until whoever put
//! it back gives it a history of its own: from then on nothing of before is mixed up with it, and it is followed.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::app::ports::audit::{AuditFilter, AuditQuery, NEW_HISTORY};
use crate::app::ports::freshness::Reload;
use crate::app::ports::{Meta, Position, StoreError};
use crate::domain::id::WorkspaceId;
use crate::domain::revision::Revision;
use crate::domain::time::Time;

use super::Follower;

/// How many beginnings of histories are looked at, the last ones first.
const BEGINNINGS: u32 = 100;

/// The history changed while it was read; it is read again.
pub(super) fn changed() -> StoreError {
    StoreError::Unavailable("its history changed while it was read".to_owned())
}

fn went_back() -> StoreError {
    StoreError::Corrupt(
        "it is further back than it was: a backup was put back, or a fail-over has lost changes; nothing is changed any more, \
         and decisions go on with what was known, until `claviger adopt-restore` gives it a new history, or this process is \
         restarted"
            .to_owned(),
    )
}

impl Follower {
    /// Fails where a database is in another history, and from the moment on at which it is further back in its own. `known`
    /// must not be newer than what was read.
    pub(super) fn same_history(&self, known: Revision, there: Position) -> Result<(), StoreError> {
        if there.epoch != known.epoch {
            return Err(StoreError::Corrupt(
                "it has another history than the one that is followed".to_owned(),
            ));
        }
        if there.n < known.n && !self.replaced.swap(true, Ordering::AcqRel) {
            tracing::error!(
                known = %known,
                there = there.n,
                "the database went back under this process; no change is made or followed until `claviger adopt-restore`"
            );
        }
        if self.replaced.load(Ordering::Acquire) {
            self.freshness.refuse(true);
            return Err(went_back());
        }
        Ok(())
    }

    /// The same of where a database was found to be: nothing is confirmed to one that is not followed, until the next look
    /// follows it, or finds that it was another one for a while.
    pub(super) fn meet(&self, known: Revision, there: Position) -> Result<(), StoreError> {
        let met = self.same_history(known, there);
        met.inspect_err(|_| self.freshness.refuse(true))
    }

    /// Follows a database into another history, where somebody gave it that: everything is loaded from it, and decides in
    /// one step.
    pub(super) async fn follow_another(&self, epoch: u32) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        let known = self.index.applied();
        if known.epoch == epoch {
            return Ok(());
        }
        self.freshness.refuse(true);
        self.require_begun(known.epoch, epoch).await?;
        let meta = self.meta_of(epoch).await?;
        if self.fits.as_ref().is_some_and(|fits| !fits(&meta)) {
            return Err(StoreError::Corrupt(
                "it is another database, or its keys are wrapped with a root key that this process was not given".to_owned(),
            ));
        }
        self.reload(epoch, Reload::Replaced).await?;
        self.freshness.refuse(false);
        tracing::warn!(
            before = %known,
            now = %self.index.applied(),
            "the database was given another history, as a restored backup is: everything was loaded from it, and what was \
             changed after the backup is gone"
        );
        Ok(())
    }

    /// Fails where nobody is known to have given the database this history since the one before it is followed: else it is
    /// one that was left, and a backup of that time.
    async fn require_begun(&self, from: u32, to: u32) -> Result<(), StoreError> {
        let query = AuditQuery {
            filter: AuditFilter {
                workspace: Some(WorkspaceId::system()),
                actions: NEW_HISTORY.map(str::to_owned).to_vec(),
                ..AuditFilter::default()
            },
            ..AuditQuery::default()
        };
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let events = self.store.audit_events(&query, None, BEGINNINGS).await?;
        let begun = events.iter().any(|event| match event.new_history() {
            Some((before, epoch)) => epoch == to && (before == Some(from) || event.time > since),
            None => false,
        });
        if begun {
            return Ok(());
        }
        Err(StoreError::Corrupt(
            "it has another history than the one that is followed, and it is not known that it was given that since: if a \
             backup was put back, run `claviger adopt-restore`; else restart this process"
                .to_owned(),
        ))
    }

    /// What the database says of itself, in this history.
    pub(super) async fn meta_of(&self, epoch: u32) -> Result<Meta, StoreError> {
        let meta = self.store.meta().await?;
        meta.filter(|meta| meta.epoch == epoch).ok_or_else(changed)
    }

    /// The history of now is followed from now on.
    pub(super) fn follow_from_now(&self) {
        let now = self.clock.as_ref().map(|clock| clock.now());
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = now.unwrap_or(Time::from_micros(i64::MIN));
    }
}

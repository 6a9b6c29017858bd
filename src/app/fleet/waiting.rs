//! Waits until a change is known to be in force on every replica that may be deciding.

use std::time::{Duration, Instant};

use super::{Fleet, Roll};
use crate::app::Core;
use crate::app::error::{Code, Error};
use crate::app::ports::StoreError;
use crate::domain::replica::Replica;
use crate::domain::revision::Revision;

/// The longest that a change may be waited for.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long it is waited for where nobody says.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// How long between two looks at the list while a change is waited for: the first soon, later ones rarer.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(25)];
/// How long the first look may take, however short the wait is: who does not wait wants to know how it stands.
const FIRST_LOOK: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// When the call ends that this task works for.
    static END: Instant;
}

/// Runs a call that is cut off at this moment: what it waits for ends a little earlier, so that it is answered.
pub async fn within<T>(end: Instant, call: impl Future<Output = T>) -> T {
    END.scope(end, call).await
}

/// For how long a call may wait that would for so long: a tenth of what is left of it is for the answer.
fn at_most(most: Duration) -> Duration {
    let end = END.try_with(|end| *end).ok();
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    left.map_or(most, |left| most.min(left.mul_f32(0.9)))
}

/// What a change waits for before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// That it is in force on this process.
    #[default]
    Local,
    /// That it is in force on every replica, for so long at most.
    AllReplicas(Duration),
}

/// How far a change has come.
#[derive(Debug, Clone)]
pub struct Propagation {
    /// Every replica that may be deciding has it.
    pub complete: bool,
    /// How many replicas count.
    pub total: usize,
    /// How many of them have it.
    pub applied: usize,
    /// Those that are not known to have it.
    pub unconfirmed: Vec<Replica>,
    /// How long it was waited for.
    pub elapsed: Duration,
}

impl Fleet {
    /// From now on nothing waits for other replicas: it is told at once how it stands.
    pub fn stop_waiting(&self) {
        self.stopping.cancel();
    }
}

impl Core {
    /// Waits until every replica that may be deciding has a change of which this one knows, or for this long.
    pub async fn propagation(&self, revision: Revision, most: Duration) -> Propagation {
        let (begun, most) = (Instant::now(), at_most(most));
        let mut looks = LOOKS.into_iter();
        let mut pause = Duration::ZERO;
        let mut least = FIRST_LOOK;
        loop {
            let left = most.saturating_sub(begun.elapsed()).max(least);
            least = Duration::ZERO;
            let found = tokio::select! {
                found = tokio::time::timeout(left, self.look(revision)) => match found {
                    Ok(Ok(found)) => Some(found),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the list of replicas can't be read");
                        None
                    }
                    Err(_) => None,
                },
                () = self.stopped(FIRST_LOOK) => None,
            };
            let mut last = found.unwrap_or_else(|| self.as_last_seen(revision));
            last.elapsed = begun.elapsed();
            if last.complete || last.elapsed >= most || self.fleet.stopping.is_cancelled() {
                return last;
            }
            pause = looks.next().unwrap_or(pause);
            tokio::select! {
                () = tokio::time::sleep(pause.min(most.saturating_sub(last.elapsed))) => {}
                () = self.stopped(Duration::ZERO) => {}
            }
        }
    }

    /// Waits until the process has been letting its connections go for so long: what waits for others must not hold them.
    async fn stopped(&self, since: Duration) {
        self.fleet.stopping.cancelled().await;
        tokio::time::sleep(since).await;
    }

    async fn look(&self, revision: Revision) -> Result<Propagation, StoreError> {
        let roll = self.fleet.roll(self.told()).await?;
        Ok(self.count(revision, &roll))
    }

    /// How far it had come when the list could last be read. Somebody else may have joined since: it is never complete.
    fn as_last_seen(&self, revision: Revision) -> Propagation {
        Propagation {
            complete: false,
            ..self.count(revision, &self.fleet.last_roll())
        }
    }

    fn count(&self, revision: Revision, roll: &Roll) -> Propagation {
        let applied = self.told();
        let counted = roll.replicas.iter().filter(|r| roll.may_decide(r));
        let counted = counted.cloned();
        let (have, unconfirmed): (Vec<_>, Vec<_>) = counted.partition(|r| r.has(revision));
        // One that was struck off while it lives, or displaced, is not in the list, and decides.
        let listed = have.iter().chain(&unconfirmed);
        let unlisted = !listed.clone().any(|r| self.fleet.is_me(r));
        let mine = applied.epoch == revision.epoch && applied.n >= revision.n;
        Propagation {
            complete: unconfirmed.is_empty() && (mine || !unlisted),
            total: listed.count() + usize::from(unlisted),
            applied: have.len() + usize::from(unlisted && mine),
            unconfirmed,
            elapsed: Duration::ZERO,
        }
    }

    /// Waits until a change is known here, and then until it is everywhere.
    pub async fn wait_for_revision(
        &self,
        revision: Revision,
        most: Duration,
    ) -> Result<Propagation, Error> {
        let (begun, most) = (Instant::now(), at_most(most));
        self.in_this_history(revision)?;
        let here = tokio::time::timeout(most, self.feed.wait_for(revision));
        let here = tokio::select! {
            biased;
            here = here => here,
            () = self.stopped(Duration::ZERO) => {
                return Err(Error::new(
                    Code::Unavailable,
                    "SHUTTING_DOWN",
                    "this process is being stopped, and does not have the revision; ask another one",
                ));
            }
        };
        here.map_err(|_| {
            Error::new(
                Code::DeadlineExceeded,
                "REVISION_NOT_REACHED",
                "the revision was not reached in time; ask again",
            )
        })?;
        self.in_this_history(revision)?;
        let left = most.saturating_sub(begun.elapsed());
        let mut found = self.propagation(revision, left).await;
        found.elapsed = begun.elapsed();
        Ok(found)
    }

    fn in_this_history(&self, revision: Revision) -> Result<(), Error> {
        if revision.epoch == self.index.epoch() {
            return Ok(());
        }
        Err(Error::precondition(
            "OTHER_EPOCH",
            "the revision is of another database, or of another history of this one; read it anew",
        ))
    }
}

//! Bringing a workspace's principals in line with where they are kept: all that is sent is held until it is certain that it
//! is all, then compared with what there is, and what differs is written in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use tokio::sync::watch;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::mutate::one_history;
use crate::app::pace::Pace;
use crate::app::ports::PrincipalQuery;
use crate::domain::id::{PrincipalId, WorkspaceId};
use crate::domain::principal::Principal;
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;

use super::no_catalogue_in_system;
use super::principals::{self, Permits};

mod staged;

use staged::{Faults, Place, Staying};
pub use staged::{Staged, SyncFault, Wanted};

/// How many principals one transaction changes at most: while it lasts, every other change waits for the revision counter.
/// Each is a row and an entry in the feed.
const MOST: u32 = 1_000;
/// How many it begins with, and how few where the database is slow.
const FIRST: u32 = 250;
const FEWEST: u32 = 50;
/// How many are worked on before other tasks get a turn.
const TURN: usize = 64;
/// How many are read at once of what there is.
const PAGE: u32 = 1_000;
/// The part of the enabled principals that may be gone without more ado: one of so many.
const TOLERATED: usize = 10;

/// What to bring in line, and how.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Who calls.
    pub caller: Caller,
    /// Of which workspace.
    pub workspace: WorkspaceId,
    /// Disable who was not sent.
    pub replace_all: bool,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// Although many would be disabled.
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Synced {
    /// How many were made.
    pub created: u64,
    /// How many were changed.
    pub updated: u64,
    /// How many were so already.
    pub unchanged: u64,
    /// How many were disabled, for they were not sent.
    pub disabled: u64,
    /// How many were refused.
    pub refused: u64,
    /// Why, of the first of them.
    pub faults: Vec<SyncFault>,
    /// The revision it is in force from; none in a dry run.
    pub revision: Option<Revision>,
}

/// One thing to do.
#[derive(Debug)]
enum Step {
    /// To be as it was sent, at this place.
    Put(u64, PrincipalId, Staying),
    /// To be disabled: it was not sent.
    Disable(PrincipalId),
}

impl Step {
    fn id(&self) -> &PrincipalId {
        match self {
            Self::Put(_, id, _) | Self::Disable(id) => id,
        }
    }

    fn was_sent(&self) -> bool {
        matches!(self, Self::Put(..))
    }
}

/// What is to be done, and what came of it so far.
struct Plan {
    steps: vec::IntoIter<Step>,
    outcome: Synced,
    faults: Faults,
}

/// What a batch came to.
struct Batch {
    behind: Revision,
    changed: bool,
    slow: bool,
}

impl Core {
    /// Brings principals in line with what was sent, which is all that was to be sent. It runs in a task of its own: who hangs
    /// up tears nothing, and `place`, whatever it stands for, is held until the work is done. `applied` says how far it is.
    pub async fn sync_principals(
        self: &Arc<Self>,
        sync: Sync,
        staged: Staged,
        applied: watch::Sender<u64>,
        place: impl Send + 'static,
    ) -> Result<Synced, Error> {
        let core = self.clone();
        let task = self.tasks.spawn(async move {
            let synced = core.sync(&sync, staged, &applied).await;
            drop(place);
            synced
        });
        let synced = task.await;
        synced
            .unwrap_or_else(|fault| Err(Error::internal(fault)))
            .map_err(about_syncs)
    }

    async fn sync(
        self: &Arc<Self>,
        sync: &Sync,
        staged: Staged,
        applied: &watch::Sender<u64>,
    ) -> Result<Synced, Error> {
        no_catalogue_in_system(&sync.workspace, "principals")?;
        sync.caller.require_unbound()?;
        self.require_workspace(&sync.workspace).await?;
        // What is found to be so already may be the work of a call that has not been applied yet.
        let there = self.store.position().await?;
        let mut behind = Some(there.into());
        let mut history = Some(there.epoch);
        let mut plan = self.plan(sync, staged).await?;
        let mut pace = Pace::new(FIRST, FEWEST, MOST);
        let mut done = plan.outcome.unchanged + plan.faults.count;
        let mut revision = None;
        loop {
            applied.send_replace(done);
            let steps: Vec<Step> = plan.steps.by_ref().take(pace.size() as usize).collect();
            if steps.is_empty() {
                break;
            }
            let sent = steps.iter().filter(|step| step.was_sent()).count();
            // While the database works on this batch, the index takes over the one before.
            let (batch, caught_up) = futures::future::join(
                self.sync_batch(sync, steps, &mut plan),
                self.follow(behind.take()),
            )
            .await;
            caught_up?;
            let batch = batch?;
            one_history(&mut history, batch.behind)?;
            behind = Some(batch.behind);
            pace.after(batch.slow);
            if batch.changed {
                revision = Some(batch.behind);
            }
            done += u64::try_from(sent).unwrap_or(u64::MAX);
        }
        self.follow(behind).await?;
        let applied = self.index.applied();
        let at = revision.unwrap_or(applied);
        plan.faults.first.sort_by_key(|fault| fault.index);
        Ok(Synced {
            refused: plan.faults.count,
            faults: plan.faults.first,
            revision: (!sync.dry_run).then_some(at),
            ..plan.outcome
        })
    }

    /// Compares what was sent with what there is.
    async fn plan(&self, sync: &Sync, mut staged: Staged) -> Result<Plan, Error> {
        let mut outcome = Synced::default();
        let (mut enabled, mut gone) = (0_usize, Vec::new());
        let mut steps = Vec::new();
        let mut after: Option<PrincipalId> = None;
        loop {
            let query = PrincipalQuery {
                workspace: sync.workspace.clone(),
                name_contains: None,
                enabled: None,
                after: after.take(),
                limit: PAGE,
            };
            let page = self.store.list_principals(&query).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for there in page {
                enabled += usize::from(there.enabled);
                match staged.wanted.remove(&there.id) {
                    None if there.enabled => gone.push(there.id),
                    None => {}
                    Some(Place { wanted: None, .. }) => {}
                    Some(Place {
                        index,
                        wanted: Some(wanted),
                    }) => {
                        if is_so(&there, &wanted) {
                            outcome.unchanged += 1;
                        } else {
                            steps.push((index, there.id, wanted));
                        }
                    }
                }
            }
        }
        let new = staged.wanted.into_iter();
        steps.extend(new.filter_map(|(id, place)| Some((place.index, id, place.wanted?))));
        steps.sort_unstable_by_key(|(index, _, _)| *index);
        let mut steps: Vec<Step> = steps
            .into_iter()
            .map(|(index, id, wanted)| Step::Put(index, id, wanted))
            .collect();
        if sync.replace_all {
            if gone.len() * TOLERATED > enabled && !sync.force {
                return Err(too_many_gone(gone.len(), enabled));
            }
            steps.extend(gone.into_iter().map(Step::Disable));
        }
        Ok(Plan {
            steps: steps.into_iter(),
            outcome,
            faults: staged.faults,
        })
    }

    async fn sync_batch(
        self: &Arc<Self>,
        sync: &Sync,
        steps: Vec<Step>,
        plan: &mut Plan,
    ) -> Result<Batch, Error> {
        let _turn = self.imports.acquire().await.map_err(Error::internal)?;
        let mut scene = self.scene(sync.caller.actor()).await?;
        let began = scene.now;
        let caller = sync.caller.recheck(&mut *scene.tx, scene.now).await?;
        caller.require(AdminScope::DirectoryWrite)?;
        caller.require_unbound()?;
        scene.workspace(&sync.workspace).await?;
        let catalogue = scene.tx.scopes(&sync.workspace).await?;
        let ids: Vec<_> = steps.iter().map(|step| step.id().clone()).collect();
        let there = scene.tx.principals(&sync.workspace, &ids).await?;
        let mut there: HashMap<_, _> = there.into_iter().map(|p| (p.id.clone(), p)).collect();
        let mut permits = Permits::new(&caller, &catalogue);
        let mut changes = Vec::with_capacity(steps.len());
        for (i, step) in steps.into_iter().enumerate() {
            if i % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let before = there.remove(step.id());
            changes.extend(plan.judge(sync, step, before, &mut permits));
        }
        let (revision, stands) = (scene.revision(), scene.before());
        if sync.dry_run || changes.is_empty() {
            return Ok(Batch {
                behind: stands,
                changed: false,
                slow: false,
            });
        }
        scene.put_principals("SYNC", &mut changes).await?;
        self.commit(scene).await?;
        Ok(Batch {
            behind: revision,
            changed: true,
            slow: Pace::is_slow(began, self.clock.now()),
        })
    }
}

impl Plan {
    /// What is to be written for a step, counted.
    fn judge(
        &mut self,
        sync: &Sync,
        step: Step,
        before: Option<Principal>,
        permits: &mut Permits<'_>,
    ) -> Option<(Option<Principal>, Principal)> {
        let (index, id, wanted) = match step {
            Step::Put(index, id, wanted) => (index, id, wanted),
            Step::Disable(_) => {
                let before = before.filter(|p| p.enabled)?;
                let mut after = before.clone();
                after.enabled = false;
                self.outcome.disabled += 1;
                return Some((Some(before), after));
            }
        };
        if before.as_ref().is_some_and(|before| is_so(before, &wanted)) {
            self.outcome.unchanged += 1;
            return None;
        }
        let mut after = principals::new(&sync.workspace, id);
        after.display_name = wanted.display_name.into();
        after.enabled = wanted.enabled;
        after.scopes = wanted.scopes.to_vec();
        if let Err(error) = permits.check(before.as_ref(), &after) {
            self.faults.add(index, after.id.to_string(), error);
            return None;
        }
        match &before {
            Some(_) => self.outcome.updated += 1,
            None => self.outcome.created += 1,
        }
        Some((before, after))
    }
}

fn is_so(there: &Principal, wanted: &Staying) -> bool {
    there.enabled == wanted.enabled
        && *there.display_name == *wanted.display_name
        && *there.scopes == *wanted.scopes
}

fn too_many_gone(gone: usize, enabled: usize) -> Error {
    Error::precondition(
        "TOO_MANY_GONE",
        format!(
            "{gone} of {enabled} enabled principals were not sent and would be disabled, which is more than a tenth; nothing was applied; see whether the source is whole, or set `force`"
        ),
    )
    .with("gone", gone)
    .with("enabled", enabled)
}

/// A synchronisation is not repeated by a `request_id`, and may be applied in part.
fn about_syncs(mut error: Error) -> Error {
    let what = match (error.code, error.reason) {
        (Code::Unavailable, "DATABASE_UNAVAILABLE") => {
            "the database can't be reached or written now; decisions go on"
        }
        (Code::Unavailable, "OUTCOME_UNKNOWN") => {
            "the database failed while principals were being written, and it is not known whether they were"
        }
        _ => return error,
    };
    error.message = format!(
        "{what}; some of what was sent may be applied: send everything again, what is so already is not changed"
    );
    error
}

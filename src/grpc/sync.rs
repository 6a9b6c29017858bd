//! `Directory.SyncPrincipals`: messages are held until the last one says that it is the last; then they are applied, and the
//! client is told how far that is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::sync::watch;
use tonic::Status;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::directory::{Staged, Sync, Synced};
use crate::app::error::Error;
use crate::app::limit::Share;
use crate::domain::id::WorkspaceId;
use crate::domain::scope::AdminScope;

use super::convert;
use super::guard::busy;
use super::inbox::{Inbox, too_late};
use super::key_admin::revision;
use super::proto::v1;
use super::status::to_status;

/// Most principals of one message.
const MAX_ITEMS: usize = 1_000;
/// How many are read before other tasks get a turn.
const TURN: usize = 64;
/// How long it waits for a place among the administration calls.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);
/// How long all of it may take to be applied.
const APPLY_DEADLINE: Duration = Duration::from_secs(600);
/// How often the client is told how far it is.
const TELL: Duration = Duration::from_millis(250);

/// The answers of a call.
pub(super) type Answers = BoxStream<'static, Result<v1::SyncPrincipalsResponse, Status>>;

/// One call under way.
pub(super) struct Session<M> {
    core: Arc<Core>,
    caller: Caller,
    inbox: Inbox<M>,
    /// What the first message said.
    plan: Option<Plan>,
    staged: Staged,
    applying: Option<Applying>,
    /// A place among those that are open: each holds what was sent in memory.
    _open: Share,
}

/// What holds for all messages.
#[derive(Clone)]
struct Plan {
    workspace: WorkspaceId,
    replace_all: bool,
    dry_run: bool,
    force: bool,
}

/// What is being applied.
struct Applying {
    work: Pin<Box<dyn Future<Output = Result<Synced, Error>> + Send>>,
    applied: watch::Receiver<u64>,
    received: u64,
    until: tokio::time::Instant,
}

impl<M> Session<M>
where
    M: Stream<Item = Result<v1::SyncPrincipalsRequest, Status>> + Send + Unpin + 'static,
{
    pub(super) fn new(core: Arc<Core>, caller: Caller, inbox: Inbox<M>, open: Share) -> Self {
        Self {
            core,
            caller,
            inbox,
            plan: None,
            staged: Staged::default(),
            applying: None,
            _open: open,
        }
    }

    /// An answer for each message, then how far it is; the result, or the first failure, is the last word.
    pub(super) fn answers(self) -> Answers {
        let next = |session: Option<Self>| async move {
            let mut session = session?;
            match session.next().await {
                Ok(answer) => {
                    let more = answer.result.is_none();
                    Some((Ok(answer), more.then_some(session)))
                }
                Err(status) => Some((Err(status), None)),
            }
        };
        stream::unfold(Some(self), next).boxed()
    }

    async fn next(&mut self) -> Result<v1::SyncPrincipalsResponse, Status> {
        if let Some(applying) = &mut self.applying {
            return applying.next().await.map_err(|error| to_status(&error));
        }
        let Some(message) = self.inbox.next().await? else {
            return Err(to_status(&Error::precondition(
                "NOT_COMMITTED",
                "the stream ended without `commit`, so nothing was applied; send everything again, and `commit` with its number",
            )));
        };
        let taken = self.take(message).await;
        taken.map_err(|error| to_status(&error))
    }

    async fn take(
        &mut self,
        message: v1::SyncPrincipalsRequest,
    ) -> Result<v1::SyncPrincipalsResponse, Error> {
        let caller = self
            .caller
            .refresh(&self.core.index.now().view(), self.core.clock.now())?;
        let caller = caller.using(AdminScope::DirectoryWrite)?;
        let plan = self.plan(&caller, &message)?;
        if message.principals.len() > MAX_ITEMS {
            return Err(Error::invalid(
                "principals",
                format!("has more than {MAX_ITEMS} entries; send the rest in further messages"),
            ));
        }
        for (i, wire) in message.principals.into_iter().enumerate() {
            if i % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let (id, wanted) = convert::sync_item(wire);
            self.staged.add(id, wanted)?;
        }
        let received = self.staged.received();
        if let Some(commit) = message.commit {
            check_count(commit.expected_count, received)?;
            self.apply(caller, plan).await?;
        }
        Ok(v1::SyncPrincipalsResponse {
            received,
            applied: 0,
            result: None,
        })
    }

    /// What the first message said holds for all.
    fn plan(
        &mut self,
        caller: &Caller,
        message: &v1::SyncPrincipalsRequest,
    ) -> Result<Plan, Error> {
        let mode = convert::enumeration::<v1::SyncMode>("mode", message.mode)?;
        let Some(plan) = &self.plan else {
            let plan = Plan {
                workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
                replace_all: mode == v1::SyncMode::ReplaceAll,
                dry_run: message.validate_only,
                force: message.force,
            };
            self.plan = Some(plan.clone());
            return Ok(plan);
        };
        let other = |field: &str| {
            Err(Error::invalid(
                field,
                "is not what the first message said, which is what counts; leave it out of later ones",
            ))
        };
        let workspace = &message.workspace;
        let of_mode = match mode {
            v1::SyncMode::Unspecified => plan.replace_all,
            mode => mode == v1::SyncMode::ReplaceAll,
        };
        match () {
            () if !workspace.is_empty() && workspace != plan.workspace.as_str() => {
                other("workspace")
            }
            () if of_mode != plan.replace_all => other("mode"),
            () if message.validate_only && !plan.dry_run => other("validate_only"),
            () if message.force && !plan.force => other("force"),
            () => Ok(plan.clone()),
        }
    }

    async fn apply(&mut self, caller: Caller, plan: Plan) -> Result<(), Error> {
        let places = self.inbox.terms.places.clone();
        let place = places.acquire_within(&caller.workspace, PLACE_DEADLINE);
        let place = place.await.ok_or_else(busy)?;
        let sync = Sync {
            caller,
            workspace: plan.workspace,
            replace_all: plan.replace_all,
            dry_run: plan.dry_run,
            force: plan.force,
        };
        let staged = std::mem::take(&mut self.staged);
        let received = staged.received();
        let (tell, applied) = watch::channel(0);
        let core = self.core.clone();
        let work = async move { core.sync_principals(sync, staged, tell, place).await };
        self.applying = Some(Applying {
            work: Box::pin(work),
            applied,
            received,
            until: self.inbox.until(APPLY_DEADLINE),
        });
        Ok(())
    }
}

impl Applying {
    async fn next(&mut self) -> Result<v1::SyncPrincipalsResponse, Error> {
        let received = self.received;
        let synced = tokio::select! {
            biased;
            synced = &mut self.work => synced?,
            () = tokio::time::sleep_until(self.until) => {
                // What has begun goes on in its own task: the caller only stops waiting for it.
                return Err(too_late(
                    "not all was applied in time, and it goes on; send everything again to learn what came of it: what is so already is not changed",
                ));
            }
            () = tokio::time::sleep(TELL) => {
                let applied = *self.applied.borrow();
                return Ok(v1::SyncPrincipalsResponse { received, applied, result: None });
            }
        };
        Ok(v1::SyncPrincipalsResponse {
            received,
            applied: received,
            result: Some(result(synced)),
        })
    }
}

fn check_count(expected: u64, received: u64) -> Result<(), Error> {
    if expected == received {
        return Ok(());
    }
    Err(Error::precondition(
        "WRONG_COUNT",
        format!(
            "`commit` expects {expected} principals, and {received} came, so nothing was applied; send everything again"
        ),
    ))
}

fn result(synced: Synced) -> v1::SyncResult {
    let fault = |fault: crate::app::directory::SyncFault| {
        let field = fault.error.fields.into_iter().next();
        v1::SyncFault {
            index: fault.index,
            id: fault.id,
            reason: fault.error.reason.to_owned(),
            message: fault.error.message,
            field: field.map(|(field, _)| field).unwrap_or_default(),
        }
    };
    v1::SyncResult {
        created: synced.created,
        updated: synced.updated,
        unchanged: synced.unchanged,
        disabled: synced.disabled,
        refused: synced.refused,
        faults: synced.faults.into_iter().map(fault).collect(),
        revision: revision(synced.revision),
    }
}

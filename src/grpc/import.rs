//! `KeyAdmin.ImportKeys`: a stream of messages, one worked on at a time. Its answer is taken before the next is read, so that
//! a client can't send faster than keys are made.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tonic::Status;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::Import;
use crate::app::limit::Share;
use crate::domain::id::WorkspaceId;
use crate::domain::scope::AdminScope;

use super::convert;
use super::guard::busy;
use super::inbox::{Inbox, too_late};
use super::key_admin::revision;
use super::proto::v1;
use super::status::to_status;

/// Most items of one message.
const MAX_ITEMS: usize = 1_000;
/// How many items are read before other tasks get a turn.
const TURN: usize = 64;
/// How long one message may take.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a message waits for a place among the administration calls.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);

/// One call under way.
pub(super) struct Session<M> {
    core: Arc<Core>,
    caller: Caller,
    inbox: Inbox<M>,
    /// What the first message said.
    plan: Option<(WorkspaceId, bool)>,
    /// A place among the streams that are open: each may have a message in memory.
    _open: Share,
}

/// The answers of a call.
pub(super) type Answers = BoxStream<'static, Result<v1::ImportKeysResponse, Status>>;

impl<M> Session<M>
where
    M: Stream<Item = Result<v1::ImportKeysRequest, Status>> + Send + Unpin + 'static,
{
    pub(super) fn new(core: Arc<Core>, caller: Caller, inbox: Inbox<M>, open: Share) -> Self {
        Self {
            core,
            caller,
            inbox,
            plan: None,
            _open: open,
        }
    }

    /// An answer for each message; the first failure is the last word.
    pub(super) fn answers(self) -> Answers {
        let next = |session: Option<Self>| async move {
            let mut session = session?;
            match session.next().await? {
                Ok(answer) => Some((Ok(answer), Some(session))),
                Err(status) => Some((Err(status), None)),
            }
        };
        stream::unfold(Some(self), next).boxed()
    }

    async fn next(&mut self) -> Option<Result<v1::ImportKeysResponse, Status>> {
        let message = match self.inbox.next().await {
            Ok(message) => message?,
            Err(status) => return Some(Err(status)),
        };
        let until = self.inbox.until(MESSAGE_DEADLINE);
        // What has begun goes on in its own task: the caller only stops waiting for it.
        let worked = tokio::time::timeout_at(until, self.work(message)).await;
        let worked = worked.unwrap_or_else(|_elapsed| {
            Err(too_late(
                "the message was not worked off in time; some of it may still be imported: send it again to learn",
            ))
        });
        Some(worked.map_err(|error| to_status(&error)))
    }

    async fn work(
        &mut self,
        message: v1::ImportKeysRequest,
    ) -> Result<v1::ImportKeysResponse, Error> {
        let now = self.core.clock.now();
        let caller = self.caller.refresh(&self.core.index.now().view(), now)?;
        caller.require(AdminScope::KeysWrite)?;
        let (workspace, dry_run) = self.plan(&caller, &message)?;
        if message.items.len() > MAX_ITEMS {
            return Err(Error::invalid(
                "items",
                format!("has more than {MAX_ITEMS} items; send the rest in further messages"),
            ));
        }
        let places = self.inbox.terms.places.clone();
        let place = places.acquire_within(&caller.workspace, PLACE_DEADLINE);
        let place = place.await.ok_or_else(busy)?;
        let mut ids = Vec::with_capacity(message.items.len());
        let mut items = Vec::with_capacity(message.items.len());
        for item in message.items {
            if items.len() % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            ids.push(convert::import_id(&item));
            items.push(convert::import_item(item));
        }
        let import = Import {
            caller,
            workspace,
            dry_run,
        };
        let imported = self.core.import_keys(import, items, place).await?;
        let results = ids
            .into_iter()
            .zip(imported.outcomes)
            .map(|(id, outcome)| convert::import_result(id, outcome, dry_run, now));
        Ok(v1::ImportKeysResponse {
            results: results.collect(),
            revision: revision(imported.revision),
        })
    }

    /// Where to, and whether it is a dry run: what the first message said holds for all.
    fn plan(
        &mut self,
        caller: &Caller,
        message: &v1::ImportKeysRequest,
    ) -> Result<(WorkspaceId, bool), Error> {
        let Some((workspace, dry_run)) = &self.plan else {
            let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
            let plan = (workspace, message.validate_only);
            self.plan = Some(plan.clone());
            return Ok(plan);
        };
        if !message.workspace.is_empty() && message.workspace != workspace.as_str() {
            return Err(Error::invalid(
                "workspace",
                "is not that of the first message; make a call for each workspace",
            ));
        }
        // A key must not be made by who asked only whether it could be.
        if message.validate_only && !dry_run {
            return Err(Error::invalid(
                "validate_only",
                "was not set in the first message, which is what counts; make a call of its own to validate",
            ));
        }
        Ok((workspace.clone(), *dry_run))
    }
}

//! The history, as administrators may read it: each its own workspace's, and who is bound to subscriptions only what
//! concerns those.

use serde_json::Value;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::page;
use crate::app::ports::audit::{AuditCursor, AuditEvent, AuditFilter, AuditQuery, Place};
use crate::domain::id::{SubscriptionId, WorkspaceId};

use super::place::Position;

/// How many events one call looks at, where most of them are not the caller's to see: a page may then be short.
const MAX_EXAMINED: usize = 2_000;
/// How many are read at once while looking.
const CHUNK: u32 = 500;
/// How many events a step of a watch reads at most.
const STEP: u32 = 100;

/// A page of events.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// Which events.
    pub query: AuditQuery,
    /// How many at most.
    pub size: u32,
    /// Where to go on; empty: at the newest.
    pub token: String,
}

/// What a step of a watch found.
#[derive(Debug)]
pub struct AuditStep {
    /// The events that the caller may see, in order.
    pub events: Vec<AuditEvent>,
    /// Where to go on: all before it was seen.
    pub place: Place,
    /// Whether more waits to be read.
    pub more: bool,
}

impl Caller {
    /// The workspace whose history a request is about; none (`-`): all of them, for keys of `system` alone.
    pub fn history(
        &self,
        requested: &str,
        default: &WorkspaceId,
    ) -> Result<Option<WorkspaceId>, Error> {
        match requested {
            "-" if self.is_system() => {
                self.require_unbound()?;
                Ok(None)
            }
            "-" => Err(Error::denied(
                "SYSTEM_ONLY",
                "only keys of the workspace `system` may ask about all workspaces; name one",
            )),
            requested => self.workspace(requested, default).map(Some),
        }
    }

    /// An event as far as it may see it; none: not at all. Of a key that was bound anew, who is bound to subscriptions sees
    /// the side on which the key was, or is, within those.
    fn sees(&self, mut event: AuditEvent) -> Option<AuditEvent> {
        if self.subscriptions.is_empty() {
            return Some(event);
        }
        match event.kind.as_str() {
            "KEY" => {
                let own = |side: &Value| self.may_bind_all(bound_to(side));
                event.before = event.before.filter(own);
                event.after = event.after.filter(own);
                (event.before.is_some() || event.after.is_some()).then_some(event)
            }
            "SUBSCRIPTION" => self
                .subscriptions
                .iter()
                .any(|own| own.as_str() == event.id)
                .then_some(event),
            _ => None,
        }
    }

    fn may_bind_all(&self, subscriptions: Option<Vec<SubscriptionId>>) -> bool {
        subscriptions.is_some_and(|bound| self.may_bind(&bound))
    }
}

/// The subscriptions of a key, as an event has it; none where they can't be told.
fn bound_to(side: &Value) -> Option<Vec<SubscriptionId>> {
    let list = side.get("settings")?.get("subscriptions")?;
    serde_json::from_value(list.clone()).ok()
}

impl Core {
    /// Lists events, newest first. Where most are not the caller's to see, a page may be short, and still be followed by
    /// another.
    pub async fn list_audit_events(
        &self,
        caller: &Caller,
        page: AuditPage,
    ) -> Result<(Vec<AuditEvent>, String), Error> {
        let arguments = format!("audit {:?}", page.query);
        let mut cursor: Option<AuditCursor> = page::cursor(&page.token, &arguments)?;
        let in_range = |n: u64| i64::try_from(n).is_ok();
        if cursor
            .as_ref()
            .is_some_and(|c| !in_range(c.revision) || !in_range(c.ordinal))
        {
            return Err(Error::invalid("page_token", "is not a page token"));
        }
        let size = page.size as usize;
        let chunk = if caller.subscriptions.is_empty() {
            page.size + 1
        } else {
            CHUNK
        };
        let (mut found, mut examined) = (Vec::new(), 0);
        loop {
            let rows = self
                .store
                .audit_events(&page.query, cursor.as_ref(), chunk)
                .await?;
            let whole = rows.len() < chunk as usize;
            examined += rows.len();
            for row in rows {
                if found.len() == size {
                    // There is at least this one more.
                    return Ok((found, next(cursor.as_ref(), &arguments)?));
                }
                cursor = Some(AuditCursor {
                    time: row.time,
                    revision: row.revision,
                    ordinal: row.ordinal,
                });
                found.extend(caller.sees(row));
            }
            if whole {
                return Ok((found, String::new()));
            }
            if examined >= MAX_EXAMINED || found.len() == size {
                return Ok((found, next(cursor.as_ref(), &arguments)?));
            }
        }
    }

    /// Where a watch begins: behind what a caller has seen, or now.
    pub fn begin_watch(&self, after: Option<Position>) -> Result<Position, Error> {
        let applied = self.index.applied();
        let position = after.unwrap_or_else(|| Position::from(applied));
        if position.epoch != applied.epoch {
            return Err(other_epoch());
        }
        Ok(position)
    }

    /// Reads on from a place, up to what is in force in this process: who was told of a change finds it so. No connection is
    /// held when this returns.
    pub async fn watch_on(
        &self,
        caller: &Caller,
        Position { epoch, place }: Position,
        filter: &AuditFilter,
    ) -> Result<AuditStep, Error> {
        let applied = self.index.applied();
        if epoch != applied.epoch {
            return Err(other_epoch());
        }
        let batch = self
            .store
            .audit_events_after(place, applied.n, filter, STEP)
            .await?;
        if batch.epoch != applied.epoch {
            return Err(other_epoch());
        }
        if batch.pruned {
            return Err(pruned());
        }
        let last = batch.events.last().map(|last| Place {
            n: last.revision,
            ordinal: Some(last.ordinal),
        });
        let place = match last {
            Some(last) if !batch.whole => last,
            _ if applied.n >= place.n => Place {
                n: applied.n,
                ordinal: None,
            },
            // Another process is ahead of this one: what comes up to there was seen already.
            _ => place,
        };
        Ok(AuditStep {
            events: batch
                .events
                .into_iter()
                .filter_map(|event| caller.sees(event))
                .collect(),
            place,
            more: !batch.whole,
        })
    }
}

fn next(cursor: Option<&AuditCursor>, arguments: &str) -> Result<String, Error> {
    match cursor {
        Some(cursor) => page::token(cursor, arguments),
        None => Ok(String::new()),
    }
}

fn other_epoch() -> Error {
    Error::precondition(
        "OTHER_EPOCH",
        "`after` is of another database, or of another history of this one; list what there is anew, and watch from the revision of now",
    )
}

fn pruned() -> Error {
    Error::precondition(
        "REVISION_PRUNED",
        "what came after `after` is no longer kept (see the audit retention); list what there is anew, and watch from the revision of now",
    )
}

//! Where a change takes place: writes within one transaction, each with its entry in the feed.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::outbox::NewEvent;
use crate::app::ports::{Actor, Change, Doubt, Resource, Tx};
use crate::app::postbacks::events::{self, KeyEvent};
use crate::domain::id::WorkspaceId;
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::revision::Revision;
use crate::domain::time::Time;
use crate::domain::workspace::Workspace;

/// Where the work of a change takes place: a transaction that holds the revision counter.
pub struct Scene {
    /// What the use cases work with.
    pub core: Arc<Core>,
    /// The transaction.
    pub tx: Box<dyn Tx>,
    /// The time of the change.
    pub now: Time,
    /// Who does it, for the audit log.
    pub actor: Actor,
    pub(super) doubt: Doubt,
    /// Whether anything was recorded.
    pub(super) changed: bool,
    /// Whether there is an event to deliver.
    pub(super) announced: bool,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl Scene {
    /// The revision that it will be.
    pub fn revision(&self) -> Revision {
        Revision {
            epoch: self.tx.epoch(),
            n: self.tx.revision(),
        }
    }

    /// The revision that stands, which is what is read here.
    pub fn before(&self) -> Revision {
        let next = self.revision();
        Revision {
            n: next.n.saturating_sub(1),
            ..next
        }
    }

    /// Writes a key as a change of this revision. What can take access away is remembered for the case that the outcome
    /// of the commit is not known.
    pub async fn put_key(
        &mut self,
        action: &'static str,
        before: Option<&Key>,
        after: &mut Key,
    ) -> Result<(), Error> {
        after.revision = self.tx.revision();
        after.update_time = self.now;
        self.tx.put_key(after).await?;
        if before.is_some_and(|before| narrows(before, after)) {
            self.doubt.keys.push(after.id);
        }
        let url = &after.settings.postback_url;
        if before.is_some_and(|before| before.settings.postback_url != *url) {
            self.tx.retarget_events(after.id, url).await?;
        }
        self.announce(after, events::of_change(before, after))
            .await?;
        let resource = Resource::Key(after.workspace.clone(), after.id);
        self.append(action, resource, before.map(json), Some(json(after)))
            .await
    }

    /// Writes events of a key that are to be delivered if this change is made; nothing where the key has no POSTback URL.
    pub async fn announce(&mut self, key: &Key, events: Vec<KeyEvent>) -> Result<(), Error> {
        if key.settings.postback_url.is_empty() || events.is_empty() {
            return Ok(());
        }
        let core = self.core.clone();
        let events = events.into_iter().map(|event| {
            Ok(NewEvent {
                id: core.new_event_id(self.now)?,
                workspace: key.workspace.clone(),
                key: key.id,
                kind: event.kind.to_owned(),
                once: None,
                data: Value::Object(event.data).to_string(),
                url: key.settings.postback_url.clone(),
                time: self.now,
            })
        });
        let events: Vec<_> = events.collect::<Result<_, Error>>()?;
        self.tx.put_events(&events).await?;
        self.announced = true;
        Ok(())
    }

    /// Writes keys that are new as one change of this revision, all with few statements. They are imported: who has used them
    /// for years needs not be told of them, and a hundred thousand at once would be a flood.
    pub async fn put_new_keys(
        &mut self,
        action: &'static str,
        keys: &mut [Key],
    ) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(keys.len());
        for key in &mut *keys {
            key.revision = self.tx.revision();
            key.update_time = self.now;
            changes.push(Change {
                actor: self.actor.clone(),
                action,
                resource: Resource::Key(key.workspace.clone(), key.id),
                before: None,
                after: Some(json(key)),
                time: self.now,
            });
        }
        self.tx.put_new_keys(keys).await?;
        self.append_many(&changes).await
    }

    /// Removes keys for good, all with few statements; each is an entry of its own in the audit log.
    pub async fn purge_keys(&mut self, keys: &[Key]) -> Result<(), Error> {
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        self.tx.purge_keys(&ids).await?;
        self.doubt.keys.extend(&ids);
        let changes: Vec<_> = keys
            .iter()
            .map(|key| self.change_of("PURGE", key, None))
            .collect();
        self.append_many(&changes).await
    }

    /// Forgets the secrets of keys that ended before a moment, all with few statements.
    pub async fn forget_secrets(&mut self, keys: &[Key], before: Time) -> Result<(), Error> {
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        self.tx.forget_secrets(&ids, before, self.now).await?;
        let changes: Vec<_> = keys
            .iter()
            .map(|key| {
                let mut after = key.clone();
                after
                    .secrets
                    .retain(|s| s.end_time().is_none_or(|end| end >= before));
                after.revision = self.tx.revision();
                after.update_time = self.now;
                self.change_of("FORGET_SECRETS", key, Some(&after))
            })
            .collect();
        self.append_many(&changes).await
    }

    fn change_of(&self, action: &'static str, before: &Key, after: Option<&Key>) -> Change {
        Change {
            actor: self.actor.clone(),
            action,
            resource: Resource::Key(before.workspace.clone(), before.id),
            before: Some(json(before)),
            after: after.map(json),
            time: self.now,
        }
    }

    /// Removes a key for good.
    pub async fn purge_key(&mut self, key: &Key) -> Result<(), Error> {
        let told = events::of_purge(key, self.now);
        self.announce(key, told.into_iter().collect()).await?;
        self.tx.purge_key(key.id).await?;
        self.doubt.keys.push(key.id);
        let resource = Resource::Key(key.workspace.clone(), key.id);
        self.append("PURGE", resource, Some(json(key)), None).await
    }

    /// Writes principals as changes of this revision, all with few statements; each with what it was before, if it was.
    pub async fn put_principals(
        &mut self,
        action: &'static str,
        all: &mut [(Option<Principal>, Principal)],
    ) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(all.len());
        let mut rows = Vec::with_capacity(all.len());
        for (before, after) in &mut *all {
            after.create_time = before.as_ref().map_or(self.now, |b| b.create_time);
            after.update_time = self.now;
            after.revision = self.tx.revision();
            if before
                .as_ref()
                .is_some_and(|before| takes_away(before, after))
            {
                self.doubt.workspaces.push(after.workspace.clone());
            }
            changes.push(Change {
                actor: self.actor.clone(),
                action,
                resource: Resource::Principal(after.workspace.clone(), after.id.clone()),
                before: before.as_ref().map(json),
                after: Some(json(after)),
                time: self.now,
            });
            rows.push(after.clone());
        }
        self.doubt.workspaces.dedup();
        self.tx.put_principals(&rows).await?;
        self.append_many(&changes).await
    }

    /// Records what happened to something other than a key. Where it can take access away (`narrows`), its workspace is in
    /// doubt if the outcome of the commit is not known.
    pub async fn record<T: Serialize>(
        &mut self,
        action: &'static str,
        resource: Resource,
        (before, after): (Option<&T>, Option<&T>),
        narrows: bool,
    ) -> Result<(), Error> {
        if narrows {
            self.doubt.workspaces.push(resource.workspace().clone());
        }
        self.append(action, resource, before.map(json), after.map(json))
            .await
    }

    /// Records that somebody read what is audited.
    pub async fn audit(
        &mut self,
        action: &'static str,
        resource: Resource,
        what: Value,
    ) -> Result<(), Error> {
        self.append(action, resource, None, Some(what)).await
    }

    /// A workspace that the caller has been found to be allowed to name.
    pub async fn workspace(&mut self, id: &WorkspaceId) -> Result<Workspace, Error> {
        self.tx
            .workspace(id)
            .await?
            .ok_or_else(|| Error::not_found("workspace"))
    }

    async fn append_many(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.tx.append_many(changes).await?;
        self.changed |= !changes.is_empty();
        Ok(())
    }

    async fn append(
        &mut self,
        action: &'static str,
        resource: Resource,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<(), Error> {
        let change = Change {
            actor: self.actor.clone(),
            action,
            resource,
            before,
            after,
            time: self.now,
        };
        self.tx.append(&change).await?;
        self.changed = true;
        Ok(())
    }
}

/// Whether a change can take access away. Everything counts but what no check asks for: closing a key that was only
/// renamed would be as wrong as leaving one open that was disabled.
fn narrows(before: &Key, after: &Key) -> bool {
    let what_checks_ask = |key: &Key| {
        let mut settings = key.settings.clone();
        settings.display_name.clear();
        settings.description.clear();
        settings.labels.clear();
        settings.postback_url.clear();
        settings.off_the_record = false;
        let secrets: Vec<_> = key
            .secrets
            .iter()
            .map(|s| (s.id, s.revoke_time, s.retire_time))
            .collect();
        (settings, secrets, key.delete_time)
    };
    what_checks_ask(before) != what_checks_ask(after)
}

/// Whether a change of a principal can take access away.
fn takes_away(before: &Principal, after: &Principal) -> bool {
    before.enabled && (!after.enabled || before.scopes != after.scopes)
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

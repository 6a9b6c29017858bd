//! What becomes of each item of an import, by the rules for a single key.

use std::collections::{BTreeSet, HashMap};

use super::super::making::Draft;
use super::super::rules::{Bindings, Facts};
use super::{Before, ImportOutcome, Ready};
use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::ports::ImportRecord;
use crate::app::scene::Scene;
use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::domain::time::Time;
use crate::domain::workspace::Workspace;

/// What becomes of an item; keys that are made stand apart until they are written.
pub(super) enum Judged {
    Made,
    Other(ImportOutcome),
}

/// Applies the rules to one item after the other, each of which sees those before it.
pub(super) struct Judge<'a> {
    pub(super) core: &'a Core,
    pub(super) now: Time,
    pub(super) caller: &'a Caller,
    pub(super) workspace: &'a Workspace,
    pub(super) facts: Facts,
    pub(super) known: HashMap<String, (Option<KeyId>, [u8; 32])>,
    pub(super) dry_run: bool,
    pub(super) made: Vec<Key>,
    pub(super) records: Vec<ImportRecord>,
}

impl Judge<'_> {
    pub(super) fn judge(&mut self, item: Ready) -> Result<Judged, Error> {
        let place = item.import_id.unwrap_or_default();
        if let Some((key, fingerprint)) = self.known.get(&place) {
            return Ok(Judged::Other(if *fingerprint == item.fingerprint {
                ImportOutcome::Already(*key)
            } else {
                ImportOutcome::Refused(reused())
            }));
        }
        let made = item.draft.and_then(|draft| {
            draft.finish(
                self.core,
                self.now,
                self.caller,
                self.workspace,
                &self.facts,
            )
        });
        let key = match made {
            Ok((key, _)) => key,
            // A fault of ours is none of the item's.
            Err(error) if matches!(error.code, Code::Internal | Code::Unavailable) => {
                return Err(error);
            }
            Err(error) => return Ok(Judged::Other(ImportOutcome::Refused(error))),
        };
        self.facts.claim(&key, !self.dry_run);
        let known = (!self.dry_run).then_some(key.id);
        self.known.insert(place.clone(), (known, item.fingerprint));
        self.records.push(ImportRecord {
            import_id: place,
            key: key.id,
            fingerprint: item.fingerprint,
        });
        self.made.push(key);
        Ok(Judged::Made)
    }
}

/// What the rules ask for, of all items at once.
pub(super) async fn facts(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    items: &[Ready],
    before: &Before,
) -> Result<Facts, Error> {
    let drafts = || items.iter().filter_map(|item| item.draft.as_ref().ok());
    let tags: Vec<_> = drafts().flat_map(Draft::tags).collect();
    let bindings = || drafts().map(Draft::bindings);
    let bindings = Bindings {
        subscriptions: &distinct(bindings().flat_map(|b| b.subscriptions)),
        principals: &distinct(bindings().flat_map(|b| b.principals)),
    };
    let mut facts = Facts::gather(scene, caller, &workspace.id, bindings, &tags).await?;
    for key in &before.keys {
        facts.claim(key, false);
    }
    Ok(facts)
}

fn distinct<'a, T: Ord + Clone + 'a>(all: impl Iterator<Item = &'a T>) -> Vec<T> {
    let distinct: BTreeSet<&T> = all.collect();
    distinct.into_iter().cloned().collect()
}

/// What was imported by the ids of these items.
pub(super) async fn known(
    scene: &mut Scene,
    workspace: &Workspace,
    items: &[Ready],
    before: &Before,
) -> Result<HashMap<String, (Option<KeyId>, [u8; 32])>, Error> {
    let ids: Vec<&str> = items
        .iter()
        .filter_map(|item| item.import_id.as_deref())
        .collect();
    let found = scene.tx.imported(&workspace.id, &ids).await?;
    let found = found
        .into_iter()
        .map(|r| (r.import_id, (Some(r.key), r.fingerprint)));
    Ok(before.imports.clone().into_iter().chain(found).collect())
}

/// Puts the keys that were made into their places.
pub(super) fn fill(judged: Vec<Judged>, made: Vec<Key>) -> Vec<ImportOutcome> {
    let mut made = made.into_iter();
    let outcome = |judged| match judged {
        Judged::Made => made.next().map(|key| ImportOutcome::Made(Box::new(key))),
        Judged::Other(outcome) => Some(outcome),
    };
    judged.into_iter().filter_map(outcome).collect()
}

fn reused() -> Error {
    let mut error = Error::invalid(
        "import_id",
        "was imported with other content; give this item an id of its own, or send it as it was",
    );
    error.reason = "IMPORT_ID_REUSED";
    error
}

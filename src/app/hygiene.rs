//! Keys that need attention: looked for some keys at a time, in the order of their creation.

mod findings;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::page;
use crate::app::ports::{KeyCursor, KeyQuery, StateSet};
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::ScopeSource;
use crate::domain::secret::Slot;

use findings::Known;
pub use findings::{Finding, Kind, Limits};

/// How many keys one call looks at, at most: it is answered in time however many are in order.
const EXAMINED: usize = 5_000;
/// How many keys are read at once.
const AT_ONCE: u32 = 500;

/// What to look for.
#[derive(Debug, Clone)]
pub struct HygienePage {
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// What counts as long.
    pub limits: Limits,
    /// Only keys with one of these; empty: any.
    pub kinds: Vec<Kind>,
    /// How many keys.
    pub size: u32,
    /// Token of the page before.
    pub token: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Examined {
    /// Keys that need attention.
    pub keys: Vec<NeedsAttention>,
    /// How many keys were looked at.
    pub examined: usize,
    counts: BTreeMap<Kind, u64>,
}

impl Examined {
    /// How many of the keys that were looked at have which finding.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.counts.iter().map(|(kind, keys)| (*kind, *keys))
    }
}

/// A key that needs attention.
#[derive(Debug)]
pub struct NeedsAttention {
    /// The key.
    pub key: Key,
    /// What there is about it.
    pub findings: Vec<Finding>,
    /// Slots whose secret can be replaced now without cutting anybody off.
    pub safe_slots: Vec<Slot>,
}

/// Where a page ends.
#[derive(Serialize, Deserialize)]
struct Cursor {
    id: KeyId,
}

impl Core {
    /// Lists active keys that need attention, and says how to go on.
    pub async fn key_hygiene(
        &self,
        caller: &Caller,
        page: HygienePage,
    ) -> Result<(Examined, String), Error> {
        let arguments = format!(
            "hygiene {} {:?} {:?} {:?}",
            page.workspace, page.limits, page.kinds, caller.subscriptions
        );
        let after: Option<Cursor> = page::cursor(&page.token, &arguments)?;
        let workspace = self.store.workspace(&page.workspace).await?;
        let workspace = workspace.ok_or_else(|| Error::not_found("workspace"))?;
        let now = self.clock.now();
        let mut query = KeyQuery {
            states: StateSet {
                active: true,
                ..StateSet::default()
            },
            within: caller.within(),
            after: after.map(|c| place(c.id)),
            ..KeyQuery::all(page.workspace, now, AT_ONCE)
        };
        let mut all = Examined::default();
        loop {
            let keys = self.store.list_keys(&query).await?;
            let whole = keys.len() == AT_ONCE as usize;
            let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            let mut exercised = self.store.exercised(&ids).await?;
            for key in keys {
                let key = self.with_fresh_use(key);
                let mut used = exercised.remove(&key.id).unwrap_or_default();
                used.extend(self.exercised_here(key.id));
                let id = key.id;
                let settings = &workspace.settings;
                let known = self.known_of(&key, used);
                let findings = findings::of(&key, settings, page.limits, &known, now);
                all.examined += 1;
                let kinds: BTreeSet<_> = findings.iter().map(|f| f.kind).collect();
                for kind in &kinds {
                    *all.counts.entry(*kind).or_default() += 1;
                }
                let wanted = page.kinds.is_empty() || page.kinds.iter().any(|k| kinds.contains(k));
                if wanted && !findings.is_empty() {
                    let safe_slots = findings::safe_slots(&key, settings, now);
                    all.keys.push(NeedsAttention {
                        key,
                        findings,
                        safe_slots,
                    });
                }
                if all.keys.len() >= page.size as usize {
                    return Ok((all, page::token(&Cursor { id }, &arguments)?));
                }
                query.after = Some(place(id));
            }
            let next = match &query.after {
                _ if !whole => String::new(),
                Some(after) if all.examined >= EXAMINED => {
                    page::token(&Cursor { id: after.id }, &arguments)?
                }
                _ => continue,
            };
            return Ok((all, next));
        }
    }
}

impl Core {
    /// What a key grants, and made use of.
    fn known_of(&self, key: &Key, exercised: BTreeSet<String>) -> Known {
        let own = &key.settings;
        let inherits = own.scopes.is_empty() && own.scope_source == ScopeSource::Principal;
        let index = self.index.now();
        let view = index.view();
        let principal = own.principal.as_ref().filter(|_| inherits);
        let principal =
            principal.and_then(|id| view.principal(key.workspace.as_str(), id.as_str()));
        Known {
            exercised,
            inherited: principal.map(|p| (p.scopes.clone(), p.update_time)),
        }
    }
}

fn place(id: KeyId) -> KeyCursor {
    KeyCursor {
        name: String::new(),
        id,
    }
}

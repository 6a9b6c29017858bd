//! Moving sets of keys in: the same rules as for one key, without a statement for each.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::{mem, vec};

use zeroize::Zeroizing;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::mutate::one_history;
use crate::app::pace::Pace;
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::key::{Key, KeySettings};
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::domain::secret::Slot;
use crate::domain::text;
use crate::domain::time::Time;

use super::Source;
use super::making::{Draft, Value};

mod judge;

use judge::{Judge, facts, fill, known};

/// How many rows one transaction writes at most: while it lasts, every other change waits for the revision counter. An item
/// has four, and more for each thing its key can be found by.
const MOST_ROWS: u32 = 2_000;
/// How few, where the database is slow.
const FEWEST_ROWS: u32 = 100;
/// How many items are made ready before other tasks get a turn: tokens are looked at closely.
const TURN: usize = 32;

/// A set of keys to move in, or a part of it.
#[derive(Debug, Clone)]
pub struct Import {
    /// Who calls.
    pub caller: Caller,
    /// Where to.
    pub workspace: WorkspaceId,
    /// Check everything, change nothing.
    pub dry_run: bool,
}

/// One key to move in, as far as it could be read.
#[derive(Debug)]
pub struct ImportItem {
    /// What tells it from all others of the workspace.
    pub import_id: String,
    /// What it says, as bytes; kept only as a keyed digest.
    pub content: Zeroizing<Vec<u8>>,
    /// The key, or why there is none.
    pub key: Result<NewImport, Error>,
}

/// The key of an item.
#[derive(Debug)]
pub struct NewImport {
    /// Its settings.
    pub settings: KeySettings,
    /// When it was made; one in the future counts as now.
    pub create_time: Option<Time>,
    /// Its PRIMARY secret.
    pub primary: Source,
    /// Its SECONDARY secret; none: that slot stays empty.
    pub secondary: Option<Source>,
}

/// What became of an item.
#[derive(Debug)]
pub enum ImportOutcome {
    /// The key was made, or in a dry run: it would be.
    Made(Box<Key>),
    /// It had been imported with this content; none in a dry run that would import it just before.
    Already(Option<KeyId>),
    /// It was refused.
    Refused(Error),
}

/// What became of the items, in their order.
#[derive(Debug)]
pub struct Imported {
    /// For each item what became of it.
    pub outcomes: Vec<ImportOutcome>,
    /// The revision from which what was made is in force; none where nothing was.
    pub revision: Option<Revision>,
}

/// An item, ready for a transaction: nothing of it needs to be computed while the counter is held.
struct Ready {
    /// By what it is remembered; none where its `import_id` is no valid one.
    import_id: Option<String>,
    fingerprint: [u8; 32],
    draft: Result<Draft, Error>,
}

/// What a batch came to.
struct Batch {
    outcomes: Vec<ImportOutcome>,
    /// What the index must have before this is answered.
    behind: Revision,
    /// Whether that is a revision of its own.
    changed: bool,
    /// Whether it held the counter for too long.
    slow: bool,
}

/// Items, a batch at a time.
struct Batches {
    items: Peekable<vec::IntoIter<ImportItem>>,
    pace: Pace,
}

impl Batches {
    fn new(items: Vec<ImportItem>) -> Self {
        Self {
            items: items.into_iter().peekable(),
            pace: Pace::new(MOST_ROWS, FEWEST_ROWS, MOST_ROWS),
        }
    }

    /// The next batch; empty where there is no more. One item at least, however many rows it has.
    fn take(&mut self) -> Vec<ImportItem> {
        let mut batch = Vec::new();
        let (mut rows, most) = (0, self.pace.size() as usize);
        while let Some(item) = self.items.next_if(|item| {
            rows += item.rows();
            batch.is_empty() || rows <= most
        }) {
            batch.push(item);
        }
        batch
    }
}

impl ImportItem {
    /// How many rows it writes: key, secrets, change, import, and what the key can be found by.
    fn rows(&self) -> usize {
        let Ok(new) = &self.key else { return 0 };
        let settings = &new.settings;
        4 + usize::from(new.secondary.is_some())
            + settings.scopes.len()
            + settings.subscriptions.len()
            + settings.principal.iter().len()
            + 2 * settings.labels.len()
    }
}

/// What items before made true that the database does not say yet.
#[derive(Default)]
struct Before {
    imports: HashMap<String, (Option<KeyId>, [u8; 32])>,
    keys: Vec<Key>,
}

impl Core {
    /// Imports items, some in each transaction. What happens to one item happens to no other; only what keeps all of them
    /// from being looked at is an error. It runs in a task of its own: who hangs up tears nothing, and `place`, whatever it
    /// stands for, is held until the work is done.
    pub async fn import_keys(
        self: &Arc<Self>,
        import: Import,
        items: Vec<ImportItem>,
        place: impl Send + 'static,
    ) -> Result<Imported, Error> {
        let core = self.clone();
        let task = self.tasks.spawn(async move {
            let imported = core.import(&import, items).await;
            drop(place);
            imported
        });
        let imported = task.await;
        imported
            .unwrap_or_else(|fault| Err(Error::internal(fault)))
            .map_err(about_imports)
    }

    async fn import(
        self: &Arc<Self>,
        import: &Import,
        items: Vec<ImportItem>,
    ) -> Result<Imported, Error> {
        if items.is_empty() {
            self.require_workspace(&import.workspace).await?;
        }
        let mut outcomes = Vec::with_capacity(items.len());
        let mut batches = Batches::new(items);
        let mut before = Before::default();
        let (mut behind, mut revision): (Option<Revision>, _) = (None, None);
        let mut history = None;
        let mut ready = self.make_ready(import, batches.take()).await;
        while !ready.is_empty() {
            // While the database works on this batch, the index takes over the one before, and the next is looked at.
            let (batch, caught_up, next) = futures::future::join3(
                self.import_batch(import, mem::take(&mut ready), &mut before),
                self.follow(behind.take()),
                self.make_ready(import, batches.take()),
            )
            .await;
            ready = next;
            caught_up?;
            if let Ok(batch) = &batch {
                batches.pace.after(batch.slow);
            }
            let batch = batch?;
            one_history(&mut history, batch.behind)?;
            behind = Some(batch.behind);
            outcomes.extend(batch.outcomes);
            if batch.changed {
                revision = Some(batch.behind);
            }
        }
        self.follow(behind).await?;
        Ok(Imported { outcomes, revision })
    }

    async fn make_ready(&self, import: &Import, items: Vec<ImportItem>) -> Vec<Ready> {
        let mut ready = Vec::with_capacity(items.len());
        for item in items {
            if ready.len() % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            ready.push(self.ready(import, item));
        }
        ready
    }

    fn ready(&self, import: &Import, item: ImportItem) -> Ready {
        let name = text::import_id(&item.import_id);
        let named = name.is_ok();
        let draft = name
            .map_err(|e| Error::invalid_at("import_id", e))
            .and(item.key)
            .map(|new| self.draft(import, new));
        let lookup = self.envelope.lookup();
        Ready {
            fingerprint: lookup.derive("import", &[&item.content]),
            import_id: named.then(|| self.place_of(import, item.import_id)),
            draft,
        }
    }

    /// By what an item is remembered. Callers that are bound to subscriptions have a space of their own: what others
    /// imported is none of their business, and they can't occupy others' ids. No `import_id` has a space in it.
    fn place_of(&self, import: &Import, import_id: String) -> String {
        let bound = &import.caller.subscriptions;
        if bound.is_empty() {
            return import_id;
        }
        let mut bound: Vec<&[u8]> = bound.iter().map(|id| id.as_str().as_bytes()).collect();
        bound.sort_unstable();
        let of = self.envelope.lookup().derive("import-binding", &bound);
        let (of, _) = of.split_at(8);
        format!("{import_id} {}", hex::encode(of))
    }

    fn draft(&self, import: &Import, new: NewImport) -> Draft {
        let mut draft = Draft::new(&import.caller, new.settings, new.create_time);
        let sources = [
            ((Slot::Primary, "primary"), Some(new.primary)),
            ((Slot::Secondary, "secondary"), new.secondary),
        ];
        for (place, source) in sources {
            let Some(source) = source else { continue };
            let (slot, field) = place;
            draft.add(match source {
                Source::Generate(_) => Value::refused(
                    slot,
                    field,
                    Error::invalid(
                        field,
                        "must be `external_token` or `external_digest`: a generated token would be new, and not the key that is moved",
                    ),
                ),
                source => Value::of(self, &import.workspace, "", place, source),
            });
        }
        draft
    }

    async fn import_batch(
        self: &Arc<Self>,
        import: &Import,
        items: Vec<Ready>,
        before: &mut Before,
    ) -> Result<Batch, Error> {
        let _turn = self.imports.acquire().await.map_err(Error::internal)?;
        let mut scene = self.scene(import.caller.actor()).await?;
        let began = scene.now;
        let caller = import.caller.recheck(&mut *scene.tx, scene.now).await?;
        caller.require(AdminScope::KeysWrite)?;
        let workspace = scene.workspace(&import.workspace).await?;
        let facts = facts(&mut scene, &caller, &workspace, &items, before).await?;
        let known = known(&mut scene, &workspace, &items, before).await?;
        let now = scene.now;
        let mut judge = Judge {
            core: self,
            now,
            caller: &caller,
            workspace: &workspace,
            facts,
            known,
            dry_run: import.dry_run,
            made: Vec::new(),
            records: Vec::new(),
        };
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            if outcomes.len() % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            outcomes.push(judge.judge(item)?);
        }
        let Judge {
            mut made, records, ..
        } = judge;
        let (revision, stands) = (scene.revision(), scene.before());
        if import.dry_run {
            let imports = records
                .iter()
                .map(|r| (r.import_id.clone(), (None, r.fingerprint)));
            before.imports.extend(imports);
            before.keys.extend(made.iter().cloned());
        }
        if import.dry_run || made.is_empty() {
            // What was found to be so may be the work of a call that has not been applied yet.
            return Ok(Batch {
                outcomes: fill(outcomes, made),
                behind: stands,
                changed: false,
                slow: false,
            });
        }
        scene.put_new_keys("IMPORT", &mut made).await?;
        scene
            .tx
            .remember_imports(&workspace.id, &records, now)
            .await?;
        self.commit(scene).await?;
        Ok(Batch {
            outcomes: fill(outcomes, made),
            behind: revision,
            changed: true,
            slow: Pace::is_slow(began, self.clock.now()),
        })
    }
}

/// An import is not repeated by a `request_id`, and what was answered of it stands.
fn about_imports(mut error: Error) -> Error {
    match error.reason {
        "DATABASE_UNAVAILABLE" => {
            error.message = "the database can't be reached or written now; decisions go on, and what was answered stands; send the message again later: what of it was imported is not made twice".to_owned();
        }
        "OUTCOME_UNKNOWN" => {
            error.message = "the database failed while items were being written, and it is not known whether they were; what was answered stands; send the message again to settle it: what of it was imported is not made twice".to_owned();
        }
        _ => {}
    }
    error
}

//! Makes one snapshot of a snapshot and the journals since, without the database and beside the process that goes on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::chain::Chain;
use super::file::Unusable;
use super::keeper::Files;
use super::row::{End, Row};
use super::taking::Blocks;
use crate::app::ports::{FeedBatch, Loaded, Standing};
use crate::domain::id::{KeyId, PrincipalId, RouteId, SubscriptionId, WorkspaceId};

/// What a row is of.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Place {
    Workspace(WorkspaceId),
    Subscription(WorkspaceId, SubscriptionId),
    Route(WorkspaceId, RouteId),
    Principal(WorkspaceId, PrincipalId),
    Key(KeyId),
}

impl Place {
    fn of(piece: &Loaded) -> Self {
        match piece {
            Loaded::Workspace(row, _) => Self::Workspace(row.id.clone()),
            Loaded::Subscription(row) => Self::Subscription(row.workspace.clone(), row.id.clone()),
            Loaded::Route(row) => Self::Route(row.workspace.clone(), row.id.clone()),
            Loaded::Principal(row) => Self::Principal(row.workspace.clone(), row.id.clone()),
            Loaded::Key(row) => Self::Key(row.id),
        }
    }

    /// The workspace that it goes with, as it does in the index.
    fn goes_with(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Subscription(of, _) | Self::Route(of, _) | Self::Principal(of, _) => Some(of),
            Self::Workspace(_) | Self::Key(_) => None,
        }
    }
}

/// What journals say, the last word on each thing.
#[derive(Debug, Default)]
struct News {
    rows: HashMap<Place, Option<Loaded>>,
    /// Workspaces that were gone at some time: what the snapshot has of them is gone, too.
    gone: HashSet<WorkspaceId>,
}

impl News {
    fn take(&mut self, batch: FeedBatch) {
        for ((workspace, id), row) in batch.subscriptions {
            let place = Place::Subscription(workspace, id);
            self.rows.insert(place, row.map(Loaded::Subscription));
        }
        for ((workspace, id), row) in batch.routes {
            let row = row.map(|row| Loaded::Route(Box::new(row)));
            self.rows.insert(Place::Route(workspace, id), row);
        }
        for ((workspace, id), row) in batch.principals {
            let place = Place::Principal(workspace, id);
            self.rows.insert(place, row.map(Loaded::Principal));
        }
        for (id, row) in batch.keys {
            let row = row.map(|row| Loaded::Key(Box::new(row)));
            self.rows.insert(Place::Key(id), row);
        }
        for (id, row) in batch.workspaces {
            if row.is_none() {
                self.rows.retain(|place, _| place.goes_with() != Some(&id));
                self.gone.insert(id.clone());
            }
            let row = row.map(|(row, scopes)| Loaded::Workspace(Box::new(row), scopes));
            self.rows.insert(Place::Workspace(id), row);
        }
    }
}

/// Makes the snapshot of a generation, which has all that journals of earlier ones say, and removes those; returns its
/// size. None where it was told to stop.
pub(super) fn merge(
    files: &Files,
    generation: u64,
    stop: &AtomicBool,
) -> Result<Option<u64>, Unusable> {
    let chain = Chain::find(files.folder.clone())?;
    let journals = chain.journals(generation)?;
    let mut news = News::default();
    let mut reached = chain.before(&journals)?;
    let begun = reached.n;
    chain.follow(&journals, &files.envelope, &mut reached, |batch| {
        news.take(batch);
    })?;
    let mut blocks = Blocks::begin(files, files.of().clone())?;
    let mut stopped = false;
    let old = chain.snapshot(&files.envelope, |row| {
        stopped = stop.load(Ordering::Relaxed);
        if stopped {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let Some(piece) = row.into_piece() else {
            return Ok(());
        };
        let place = Place::of(&piece);
        if !news.rows.contains_key(&place)
            && !place.goes_with().is_some_and(|of| news.gone.contains(of))
        {
            blocks.put(&Row::of(&piece))?;
        }
        Ok(())
    });
    let old = match old {
        Err(_) if stopped => return Ok(None),
        old => old?,
    };
    if old.n != begun {
        return Err(chain.torn_apart());
    }
    for piece in news.rows.values().flatten() {
        blocks.put(&Row::of(piece))?;
    }
    if reached.entered.or(old.entered) == Some(true) {
        blocks.put(&Row::standing(Standing::Entered))?;
    }
    let end = End {
        n: reached.n,
        time: reached.time.max(old.time),
    };
    let bytes = blocks.adopt(generation, end)?;
    files.folder.remove_before(generation)?;
    Ok(Some(bytes))
}

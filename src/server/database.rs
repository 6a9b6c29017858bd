//! The database of a start, be it there or not.

use crate::config::Config;
use crate::snapshot::{self, Kept, Unusable};
use crate::store::{OpenError, Opening, SqlStore};

use super::StartError;
use super::data_dir::DataDir;

/// The database, as it was found.
pub(super) enum Database {
    /// It is open.
    There(Box<SqlStore>),
    /// It can't be reached, and there is something to start from without it.
    Away(Box<Away>),
}

/// A database that can't be reached.
pub(super) struct Away {
    /// To be worked with once it was opened.
    pub(super) store: SqlStore,
    /// What to start from.
    pub(super) kept: Kept,
    /// How it is opened.
    pub(super) opening: Opening,
    /// Why it can't be reached.
    pub(super) error: OpenError,
}

/// Whether a process with this configuration keeps what a start without the database needs. One that must not decide without
/// a lease has no use for it, and is not waited for once its lease is over.
pub(super) fn keeps(config: &Config) -> bool {
    config.database_url.is_some() && config.start_without_database && !config.strict_revocation
}

/// Opens the database, or finds what to start from without it.
pub(super) async fn open(
    config: &Config,
    data_dir: &DataDir,
    keeps: bool,
) -> Result<Database, StartError> {
    let Some(url) = &config.database_url else {
        let store = SqlStore::open(&data_dir.database()).await?;
        return Ok(Database::There(Box::new(store)));
    };
    let error = match SqlStore::connect(url.reveal()).await {
        Ok(store) => return Ok(Database::There(Box::new(store))),
        Err(error @ OpenError::Unreachable { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    if !keeps {
        return Err(error.into());
    }
    let roots = [&config.root_key, &config.root_key_previous];
    let roots: Vec<_> = roots.into_iter().flatten().map(|k| k.as_bytes()).collect();
    let kept = match Kept::find(data_dir.path(), &roots) {
        Ok(kept) => kept,
        Err(why) => return Err(refuse(&why, error)),
    };
    let (store, opening) = SqlStore::connect_later(url.reveal()).await?;
    Ok(Database::Away(Box::new(Away {
        store,
        kept,
        opening,
        error,
    })))
}

/// Says why there is nothing to start from; the database is what is missing then.
pub(super) fn refuse(why: &Unusable, error: OpenError) -> StartError {
    tracing::warn!(%why, "there is nothing to start from without the database");
    error.into()
}

/// Removes what was kept by one that kept something, before this process, which does not, says anything newer.
pub(super) fn forget(data_dir: &DataDir) -> Result<(), StartError> {
    let removed = snapshot::remove(data_dir.path());
    removed.map_err(|cause| StartError::DataDir {
        path: data_dir.path().to_owned(),
        cause,
    })
}

//! What is done to a database by whoever holds it and the root key, without serving.

use std::sync::Arc;

use crate::app::ports::{Clock, Entropy};
use crate::config::Config;
use crate::domain::revision::Revision;
use crate::domain::token::Token;
use crate::store::SqlStore;

use super::StartError;
use super::data_dir::DataDir;
use super::foundation::{Foundation, Purpose, open};

/// Makes a new administrator of everything in a database that no process uses, and returns its token.
pub async fn recover(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Token, StartError> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let Foundation {
        core,
        store,
        follower,
        data_dir: _data_dir,
        bootstrapped,
        ..
    } = open(&config, data_dir, clock, entropy, Purpose::Work).await?;
    if !bootstrapped {
        return Err(StartError::Other(
            "this database has no administrator yet; start the service, which makes the first one"
                .to_owned(),
        ));
    }
    follower.load().await?;
    let (token, prefix) = core.administrator_token()?;
    core.recover(token.clone(), Some(prefix)).await?;
    store.close().await?;
    Ok(token)
}

/// Gives a restored database another history, so that nothing of the one before is taken for its own. Returns the first
/// revision of it.
pub async fn adopt_restore(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Revision, StartError> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let Foundation {
        core,
        store,
        data_dir: _data_dir,
        bootstrapped,
        ..
    } = open(&config, data_dir, clock, entropy, Purpose::Work).await?;
    if !bootstrapped {
        return Err(StartError::Other(
            "this database is empty; restore the backup into it first".to_owned(),
        ));
    }
    let revision = core.adopt_restore().await?;
    store.close().await?;
    Ok(revision)
}

/// Brings the schema of the database up to date; returns the steps that were applied.
pub async fn migrate(config: &Config) -> Result<Vec<String>, StartError> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let steps = match &config.database_url {
        Some(url) => SqlStore::migrate_server(url.reveal()).await,
        None => SqlStore::migrate_file(&data_dir.database()).await,
    };
    Ok(steps?)
}

//! What is done to a database by whoever holds it and the root key, without serving.

use std::sync::Arc;

use crate::app::ports::fleet::{Me, Replicas as _};
use crate::app::ports::{Clock, Entropy};
use crate::config::Config;
use crate::domain::id::ReplicaId;
use crate::domain::replica::{LEASE, ReplicaState};
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
    } = open(
        &config,
        data_dir,
        clock.clone(),
        entropy.clone(),
        Purpose::Work,
    )
    .await?;
    if !bootstrapped {
        return Err(StartError::Other(
            "this database is empty; restore the backup into it first".to_owned(),
        ));
    }
    let held = Held::begin(&store, &*clock, &*entropy).await?;
    let revision = core.adopt_restore().await?;
    held.end(&store).await?;
    store.close().await?;
    Ok(revision)
}

/// A place in the list of replicas that nobody is behind. As long as it is there, no change is said to be everywhere: replicas
/// that still run, and are not in the list that came with a backup, enter themselves meanwhile.
pub(super) struct Held(Option<Me>);

impl Held {
    pub(super) async fn begin(
        store: &SqlStore,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, StartError> {
        if !store.is_shared() {
            return Ok(Self(None));
        }
        let now = clock.now();
        let mut random = [0; 10];
        entropy
            .fill(&mut random)
            .map_err(|e| StartError::Other(e.to_string()))?;
        let me = Me {
            id: ReplicaId::new(now, random),
            name: "claviger adopt-restore".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            strict: true,
            start_time: now,
        };
        enter(store, &me).await?;
        Ok(Self(Some(me)))
    }

    /// Gives running replicas the time to enter themselves: each speaks once a second.
    pub(super) async fn end(self, store: &SqlStore) -> Result<(), StartError> {
        if let Some(me) = self.0 {
            enter(store, &me).await?;
            tokio::time::sleep(LEASE).await;
            store.leave(&me).await?;
        }
        Ok(())
    }
}

async fn enter(store: &SqlStore, me: &Me) -> Result<(), StartError> {
    let nothing = Revision { epoch: 0, n: 0 };
    store.enter(me, ReplicaState::Joining, nothing).await?;
    Ok(())
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

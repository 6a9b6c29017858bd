//! Another root key for a database, while servers use it: they hold the database's keys unwrapped, and go on.
//!
//! Where the root key lies in the data directory, its file is replaced too, in steps: the next key is put beside the root key;
//! the database's keys are wrapped with it; it takes the place of the root key. Whatever cuts this off, one of the two files
//! opens the database; a start, or the rotation done again, finishes what was begun.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::app::envelope::{Envelope, EnvelopeError};
use crate::app::ports::{Entropy, Meta, Store as _};
use crate::config::{Config, RootKey};
use crate::store::SqlStore;

use super::StartError;
use super::data_dir::{
    DataDir, NEXT_ROOT_KEY, ROOT_KEY, adopt_next_root_key, make_root_key, read_root_key,
};

/// What a rotation found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The keys are wrapped with the root key that was handed in; they were not before.
    Wrapped,
    /// They were so already.
    Unchanged,
    /// The keys are wrapped with a new root key, which took the place of the one in the data directory.
    Replaced,
    /// An earlier rotation had been cut off, and was finished.
    Finished,
}

/// Wraps the keys of a database, which may be in use, with another root key: with the one that is handed in, or where none is,
/// with a new one in the place of the one that lies in the data directory.
pub async fn rotate_root_key(
    config: &Config,
    entropy: Arc<dyn Entropy>,
) -> Result<Rotation, StartError> {
    let directory = config.data_dir.as_path();
    let store = match &config.database_url {
        Some(url) => SqlStore::connect_to_rewrap(url.reveal()).await?,
        None => SqlStore::open_to_rewrap(&DataDir::database_in(directory)).await?,
    };
    let done = match &config.root_key {
        Some(root) => {
            // The key may be about to leave the directory for a better place.
            let lying = match config.database_url {
                Some(_) => None,
                None => read_root_key(directory, ROOT_KEY)?,
            };
            let others = [config.root_key_previous.clone(), lying];
            let others: Vec<_> = others.into_iter().flatten().collect();
            wrap_with(&store, root, &others, &*entropy).await
        }
        None if config.root_key_previous.is_some() => Err(StartError::Other(
            "`CLAVIGER_ROOT_KEY_PREVIOUS` is set, and `CLAVIGER_ROOT_KEY` is not; set that to the new root key".to_owned(),
        )),
        None => replace_lying(&store, directory, &*entropy).await,
    };
    let closed = store.close_reading().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// What the database says of itself; there must be something to wrap.
async fn meta_of(store: &SqlStore) -> Result<Meta, StartError> {
    let meta = store.meta().await?;
    meta.ok_or_else(|| {
        StartError::Other(
            "this database has no keys yet; start the service, which makes them".to_owned(),
        )
    })
}

async fn wrap_with(
    store: &SqlStore,
    root: &RootKey,
    others: &[RootKey],
    entropy: &dyn Entropy,
) -> Result<Rotation, StartError> {
    let meta = meta_of(store).await?;
    let others: Vec<_> = others.iter().map(RootKey::as_bytes).collect();
    let anew = Envelope::rewrap(&meta.wrapped_keys, root.as_bytes(), &others, entropy)?;
    let Some(anew) = anew else {
        return Ok(Rotation::Unchanged);
    };
    store.rewrap(&meta.wrapped_keys, &anew).await?;
    // Somebody else may have been faster, with another key.
    Envelope::open(&meta_of(store).await?.wrapped_keys, &[root.as_bytes()])?;
    Ok(Rotation::Wrapped)
}

async fn replace_lying(
    store: &SqlStore,
    directory: &Path,
    entropy: &dyn Entropy,
) -> Result<Rotation, StartError> {
    let _alone = alone(directory)?;
    let meta = meta_of(store).await?;
    let current = read_root_key(directory, ROOT_KEY)?.ok_or_else(|| {
        StartError::Other(format!(
            "there is no root key in `{}`; hand in the new one as `CLAVIGER_ROOT_KEY`, and the one before as `CLAVIGER_ROOT_KEY_PREVIOUS`",
            directory.display()
        ))
    })?;
    let next = read_root_key(directory, NEXT_ROOT_KEY)?;
    if !opens(&meta, &current) {
        return match next {
            Some(next) if opens(&meta, &next) => {
                adopt_next_root_key(directory)?;
                Ok(Rotation::Finished)
            }
            _ => Err(EnvelopeError::WrongRootKey.into()),
        };
    }
    let next = match next {
        Some(next) => next,
        None => make_root_key(directory, NEXT_ROOT_KEY, entropy)?,
    };
    wrap_with(store, &next, &[current], entropy).await?;
    adopt_next_root_key(directory)?;
    Ok(Rotation::Replaced)
}

fn opens(meta: &Meta, root: &RootKey) -> bool {
    Envelope::open(&meta.wrapped_keys, &[root.as_bytes()]).is_ok()
}

/// One rotation at a time: two that each wrote a next key would leave the database with the one that is gone.
fn alone(directory: &Path) -> Result<File, StartError> {
    let path = directory.join("rotation-lock");
    let unusable = |cause| StartError::DataDir {
        path: path.clone(),
        cause,
    };
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Other(
            "another rotation of the root key is under way; wait for it".to_owned(),
        )),
        Err(TryLockError::Error(cause)) => Err(unusable(cause)),
    }
}

/// How often a start looks again: between two looks a rotation can have come to its end.
const LOOKS: usize = 3;

/// The database's word of itself, and the root key that lies beside it; where a rotation was cut off after its keys had been
/// wrapped, that is finished.
pub(super) async fn meta_and_lying_key(
    store: &SqlStore,
    directory: &Path,
) -> Result<(Option<Meta>, Option<RootKey>), StartError> {
    for _ in 1..LOOKS {
        let current = read_root_key(directory, ROOT_KEY)?;
        let next = read_root_key(directory, NEXT_ROOT_KEY)?;
        let Some(meta) = store.meta().await? else {
            return Ok((None, current));
        };
        if current.as_ref().is_some_and(|key| opens(&meta, key)) {
            return Ok((Some(meta), current));
        }
        if let Some(next) = next.filter(|key| opens(&meta, key)) {
            adopt_next_root_key(directory)?;
            tracing::info!("a rotation of the root key had been cut off; it is finished now");
            return Ok((Some(meta), Some(next)));
        }
    }
    Ok((store.meta().await?, read_root_key(directory, ROOT_KEY)?))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::app::bootstrap::new_epoch;
    use crate::server::SystemEntropy;

    /// A data directory with a database whose keys are wrapped with the root key in it.
    async fn home() -> (TempDir, SqlStore) {
        let dir = tempfile::tempdir().unwrap();
        let root = make_root_key(dir.path(), ROOT_KEY, &SystemEntropy).unwrap();
        let store = SqlStore::open(&DataDir::database_in(dir.path()))
            .await
            .unwrap();
        let (_, wrapped_keys) = Envelope::create(root.as_bytes(), &SystemEntropy).unwrap();
        let meta = Meta {
            epoch: new_epoch(&SystemEntropy).unwrap(),
            wrapped_keys,
            bootstrapped: false,
        };
        store.initialise(&meta).await.unwrap();
        (dir, store)
    }

    /// The tag that the database's keys make of a token: the same as long as the keys are.
    async fn tag(store: &SqlStore, dir: &TempDir) -> [u8; 32] {
        let (meta, key) = meta_and_lying_key(store, dir.path()).await.unwrap();
        let keys = [key.as_ref().unwrap().as_bytes()];
        let envelope = Envelope::open(&meta.unwrap().wrapped_keys, &keys).unwrap();
        let digest = crate::domain::token::TokenDigest::of(b"token");
        *envelope.lookup().tag(&digest).as_bytes()
    }

    fn files(dir: &TempDir) -> Vec<String> {
        let names = std::fs::read_dir(dir.path()).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|n| n.starts_with("root")).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn whatever_step_a_rotation_is_cut_off_after_a_start_and_the_rotation_again_go_on() {
        for steps in 0..4 {
            for again in [false, true] {
                let (dir, store) = home().await;
                let before = tag(&store, &dir).await;
                let old = read_root_key(dir.path(), ROOT_KEY).unwrap().unwrap();
                let next = if steps > 0 {
                    Some(make_root_key(dir.path(), NEXT_ROOT_KEY, &SystemEntropy).unwrap())
                } else {
                    // A write that was cut off leaves a part of the file under another name.
                    std::fs::write(dir.path().join("root-key.new"), "half").unwrap();
                    None
                };
                if let (true, Some(next)) = (steps > 1, &next) {
                    let old = std::slice::from_ref(&old);
                    wrap_with(&store, next, old, &SystemEntropy).await.unwrap();
                }
                if steps > 2 {
                    adopt_next_root_key(dir.path()).unwrap();
                }
                if again {
                    let done = replace_lying(&store, dir.path(), &SystemEntropy).await;
                    let expected = if steps == 2 {
                        Rotation::Finished
                    } else {
                        Rotation::Replaced
                    };
                    assert_eq!(done.unwrap(), expected, "after step {steps}");
                }
                assert_eq!(
                    tag(&store, &dir).await,
                    before,
                    "after step {steps}, again: {again}"
                );
                let stands = read_root_key(dir.path(), ROOT_KEY).unwrap().unwrap();
                assert_eq!(stands == old, steps < 2 && !again, "after step {steps}");
                if again {
                    assert_eq!(files(&dir), ["root-key"], "after step {steps}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_root_key_that_is_handed_in_takes_over_from_the_one_that_lies_there() {
        let (dir, store) = home().await;
        let old = read_root_key(dir.path(), ROOT_KEY).unwrap().unwrap();
        let new = RootKey::from_bytes([7; 32]);
        let wrong = [RootKey::from_bytes([8; 32])];
        assert!(
            wrap_with(&store, &new, &wrong, &SystemEntropy)
                .await
                .is_err()
        );
        let others = [old.clone()];
        let wrap = || wrap_with(&store, &new, &others, &SystemEntropy);
        assert_eq!(wrap().await.unwrap(), Rotation::Wrapped);
        assert_eq!(wrap().await.unwrap(), Rotation::Unchanged);
        let meta = meta_of(&store).await.unwrap();
        assert!(opens(&meta, &new) && !opens(&meta, &old));
    }

    #[tokio::test]
    async fn two_rotations_do_not_meet() {
        let (dir, store) = home().await;
        let held = alone(dir.path()).unwrap();
        let refused = replace_lying(&store, dir.path(), &SystemEntropy).await;
        assert!(refused.unwrap_err().to_string().contains("under way"));
        drop(held);
        let done = replace_lying(&store, dir.path(), &SystemEntropy).await;
        assert_eq!(done.unwrap(), Rotation::Replaced);
    }
}

//! The data directory: one process at a time, for its owner's eyes alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::app::ports::Entropy;
use crate::config::{RootKey, read_secret_file};
use crate::domain::id::ReplicaId;
use crate::domain::invalid::Invalid;
use crate::domain::time::Time;

use super::StartError;

/// The directory, held by this process.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl DataDir {
    /// Makes the directory where there is none, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, StartError> {
        let unusable = |cause: io::Error| StartError::DataDir {
            path: path.to_owned(),
            cause,
        };
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(unusable)?;
        }
        warn_if_loose(path);
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// Where the database is in a directory that another process may hold.
    pub(super) fn database_in(directory: &Path) -> PathBuf {
        directory.join("claviger.db")
    }

    /// Where the first administrator's token is put.
    pub(super) fn bootstrap_token(&self) -> PathBuf {
        self.path.join("bootstrap-token")
    }

    /// The root key that lies in the directory; none where there is none.
    pub(super) fn root_key(&self) -> Result<Option<RootKey>, StartError> {
        read_root_key(&self.path, ROOT_KEY)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the replica that this directory is of, made on the first start: a process that was killed takes up its own
    /// place again.
    pub(super) fn replica_id(
        &self,
        now: Time,
        entropy: &dyn Entropy,
    ) -> Result<ReplicaId, StartError> {
        let path = self.path.join(REPLICA_ID);
        let unusable = |cause: io::Error| StartError::DataDir {
            path: path.clone(),
            cause,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|e: Invalid| {
                unusable(io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let id = random_replica_id(now, entropy)?;
                self.write_secret(&path, &id.to_string())?;
                Ok(id)
            }
            Err(e) => Err(unusable(e)),
        }
    }

    /// Another id in the place of that one. Where it can't be written it is good for as long as the process lives.
    pub(super) fn new_replica_id(
        &self,
        now: Time,
        entropy: &dyn Entropy,
    ) -> Result<ReplicaId, StartError> {
        let id = random_replica_id(now, entropy)?;
        if let Err(error) = self.write_secret(&self.path.join(REPLICA_ID), &id.to_string()) {
            tracing::error!(%error, %id, "the new id of this replica can't be kept; the next start takes the old one");
        }
        Ok(id)
    }

    /// Makes a root key and puts it into the directory, synced before anything is wrapped with it.
    pub(super) fn make_root_key(&self, entropy: &dyn Entropy) -> Result<RootKey, StartError> {
        make_root_key(&self.path, ROOT_KEY, entropy)
    }

    /// Writes a file that only the owner may read, whole and synced.
    pub(super) fn write_secret(&self, path: &Path, text: &str) -> Result<(), StartError> {
        write_secret(&self.path, path, text)
    }

    /// Removes a file that must not stay.
    pub(super) fn remove(&self, path: &Path) -> Result<(), StartError> {
        std::fs::remove_file(path).map_err(|cause| StartError::DataDir {
            path: path.to_owned(),
            cause,
        })
    }
}

fn random_replica_id(now: Time, entropy: &dyn Entropy) -> Result<ReplicaId, StartError> {
    let mut random = [0; 10];
    let filled = entropy.fill(&mut random);
    filled.map_err(|e| StartError::Other(e.to_string()))?;
    Ok(ReplicaId::new(now, random))
}

/// Says so where others may look into the directory: what lies in it opens everything.
fn warn_if_loose(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the data directory; `chmod 700` it");
    }
}

/// The file with the id of the replica, in a data directory.
const REPLICA_ID: &str = "replica-id";
/// The file with the root key, in a data directory.
pub(super) const ROOT_KEY: &str = "root-key";
/// The file with the root key that is to take its place.
pub(super) const NEXT_ROOT_KEY: &str = "root-key.next";

/// The root key in a file of a directory that another process may hold; none where there is no such file.
pub(super) fn read_root_key(directory: &Path, name: &str) -> Result<Option<RootKey>, StartError> {
    let path = directory.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let unreadable = |message: String| StartError::RootKeyFile {
        path: path.clone(),
        message,
    };
    let text = read_secret_file(&path).map_err(|e| unreadable(e.to_string()))?;
    text.trim()
        .parse()
        .map(Some)
        .map_err(|e: crate::domain::invalid::Invalid| unreadable(e.to_string()))
}

/// Makes a root key and puts it into a file of a directory, synced.
pub(super) fn make_root_key(
    directory: &Path,
    name: &str,
    entropy: &dyn Entropy,
) -> Result<RootKey, StartError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy
        .fill(bytes.as_mut_slice())
        .map_err(|e| StartError::Other(e.to_string()))?;
    let text = Zeroizing::new(STANDARD.encode(*bytes));
    write_secret(directory, &directory.join(name), &text)?;
    Ok(RootKey::from_bytes(*bytes))
}

/// Puts the next root key in the place of the root key, synced. Whoever is second finds it done.
pub(super) fn adopt_next_root_key(directory: &Path) -> Result<(), StartError> {
    let (from, to) = (directory.join(NEXT_ROOT_KEY), directory.join(ROOT_KEY));
    let done = match std::fs::rename(from, &to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| File::open(directory)?.sync_all()),
    };
    done.map_err(|cause| StartError::DataDir { path: to, cause })
}

fn write_secret(directory: &Path, path: &Path, text: &str) -> Result<(), StartError> {
    let write = || {
        let temporary = path.with_extension("new");
        let _ = std::fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|cause| StartError::DataDir {
        path: path.to_owned(),
        cause,
    })
}

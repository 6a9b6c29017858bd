//! Backup and restore, by whoever has the database at hand: beside the service, not through it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::app::bootstrap::new_epoch;
use crate::app::envelope::Envelope;
use crate::app::ports::{Clock, Entropy};
use crate::config::Config;
use crate::domain::time::Time;
use crate::store::{BackupError, Header, NewHistory, SqlStore, Trailer};

use super::StartError;
use super::data_dir::DataDir;
use super::offline::Held;

/// How much of a backup is read at once.
const CHUNK: usize = 256 * 1_024;

/// A backup that was written or read.
#[derive(Debug, Clone)]
pub struct Backup {
    /// What it is of.
    pub header: Header,
    /// What it holds.
    pub trailer: Trailer,
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.trailer.rows.get("keys").unwrap_or(&0);
        let Header {
            epoch, revision, ..
        } = &self.header;
        write!(f, "{keys} keys at revision {epoch}.{revision}")
    }
}

/// Writes a backup of the database that a configuration names, which may be in use, to a file or (none) to standard
/// output. The file is for its owner alone, and is there only once it is whole.
pub async fn backup(
    config: &Config,
    file: Option<&Path>,
    clock: Arc<dyn Clock>,
) -> Result<Backup, StartError> {
    let store = match &config.database_url {
        Some(url) => SqlStore::connect_to_read(url.reveal()).await?,
        None => SqlStore::open_to_read(&DataDir::database_in(&config.data_dir)).await?,
    };
    let now = clock.now();
    let written = match file {
        None => to_descriptor(&store, io::stdout().as_fd(), now).await,
        Some(file) => to_file(&store, file, now).await,
    };
    store.close_reading().await?;
    let (header, trailer) = written?;
    Ok(Backup { header, trailer })
}

async fn to_descriptor(
    store: &SqlStore,
    descriptor: BorrowedFd<'_>,
    now: Time,
) -> Result<(Header, Trailer), BackupError> {
    store.backup(&mut own(descriptor)?, now).await
}

/// The same stream, without a buffer between.
fn own(descriptor: BorrowedFd<'_>) -> io::Result<File> {
    let own = descriptor.try_clone_to_owned()?;
    Ok(File::from_std(own.into()))
}

async fn to_file(
    store: &SqlStore,
    path: &Path,
    now: Time,
) -> Result<(Header, Trailer), BackupError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = async {
        // One that an interrupted backup left behind.
        remove(&partial).await?;
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .await?;
        let written = store.backup(&mut file, now).await?;
        file.flush().await?;
        file.sync_all().await?;
        tokio::fs::rename(&partial, path).await?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .await?
            .sync_all()
            .await?;
        Ok(written)
    };
    let written = written.await;
    if written.is_err() {
        let _ = remove(&partial).await;
    }
    written
}

async fn remove(path: &Path) -> io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Fills the empty database that a configuration names from a backup: a file, or (none) standard input. No process may use
/// the data directory, and the root key must be the one of the backup. A new history begins: its epoch is another.
pub async fn restore(
    config: &Config,
    file: Option<&Path>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Backup, StartError> {
    let from = match file {
        None => own(io::stdin().as_fd()),
        Some(file) => File::open(file).await,
    };
    let mut from = BufReader::with_capacity(CHUNK, from.map_err(BackupError::File)?);
    let data_dir = DataDir::take(&config.data_dir)?;
    let lying_there = match &config.database_url {
        Some(_) => None,
        None => data_dir.root_key()?,
    };
    let root = config.root_key.clone().or(lying_there);
    let root = root.ok_or_else(|| StartError::RootKeyNeeded {
        path: config.data_dir.clone(),
    })?;
    let new = NewHistory {
        epoch: new_epoch(&*entropy)?,
        now: clock.now(),
    };
    let store = match &config.database_url {
        Some(url) => SqlStore::connect(url.reveal()).await?,
        None => SqlStore::open(&data_dir.database()).await?,
    };
    let fits = |wrapped: &[u8]| Envelope::open(wrapped, &[root.as_bytes()]).is_ok();
    let restored = store
        .restore(&mut from, &|meta| fits(&meta.wrapped_keys), new)
        .await;
    if restored.is_ok() {
        // Processes that run on the same database follow it, and are not in its list of replicas yet.
        let held = Held::begin(&store, &*clock, &*entropy).await?;
        held.end(&store).await?;
    }
    store.close().await?;
    let (header, trailer) = restored?;
    Ok(Backup { header, trailer })
}

//! Why the service does not start.

use std::io;
use std::path::PathBuf;

use crate::app::envelope::EnvelopeError;
use crate::app::error::Error;
use crate::app::ports::{EntropyError, StoreError};
use crate::config::ListenAddress;
use crate::deliver::ClientError;
use crate::store::{BackupError, OpenError};

/// Why the service does not start: one line each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(
        "`{path}` can't be used: {cause}; check that the directory exists and is writable, or set `--data-dir`"
    )]
    DataDir {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "the data directory `{path}` is in use by another process; stop that, or set another `--data-dir`"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The root key's file can't be read.
    #[error("the root key in `{path}` can't be used: {message}")]
    RootKeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A database without its root key.
    #[error(
        "the database `{path}` has keys, but there is no root key; set `CLAVIGER_ROOT_KEY`, or put back the file `root-key` beside it"
    )]
    RootKeyMissing {
        /// The database.
        path: PathBuf,
    },
    /// A restore without a root key.
    #[error(
        "there is no root key to open the backup's keys with; set `CLAVIGER_ROOT_KEY`, or copy the file `root-key` that the backup's service had into `{path}`"
    )]
    RootKeyNeeded {
        /// The data directory.
        path: PathBuf,
    },
    /// A backup can't be written or read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Listening failed.
    #[error("can't listen on `{address}`: {cause}; set another address, or stop what uses it")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        cause: io::Error,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A use case of the start failed.
    #[error("{0}")]
    Use(#[from] Error),
    /// The root key does not fit, or there is no randomness.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// POSTbacks can't be carried.
    #[error(transparent)]
    Postbacks(#[from] ClientError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

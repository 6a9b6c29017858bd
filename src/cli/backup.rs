//! `claviger backup` and `claviger restore`, as they are typed. They work on the database itself, not through a server.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::ServeArgs;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where the backup goes; `-`: standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which database: the settings of its server.
    #[command(flatten)]
    pub settings: ServeArgs,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup; `-`: standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which database: the settings of the server that is to use it.
    #[command(flatten)]
    pub settings: ServeArgs,
}

impl BackupArgs {
    /// The file; none: standard output.
    pub fn file(&self) -> Option<&Path> {
        named(&self.file)
    }
}

impl RestoreArgs {
    /// The file; none: standard input.
    pub fn file(&self) -> Option<&Path> {
        named(&self.file)
    }
}

fn named(file: &Path) -> Option<&Path> {
    (file != Path::new("-")).then_some(file)
}

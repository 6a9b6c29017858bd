//! Writing a snapshot: rows gathered into records.

use std::io;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::chain::Folder;
use super::file::{Kind, Writer};
use super::keeper::{Files, Of, Work, gone};
use super::row::{End, Row};
use crate::app::ports::{Loaded, StoreError, Taking};
use crate::domain::time::Time;

/// Size at which rows become a record.
const BLOCK: usize = 1 << 18;

/// A snapshot that is being written, not yet in its place. Dropped before its end, it is removed.
#[derive(Debug)]
pub(super) struct Blocks {
    writer: Writer,
    rows: Vec<u8>,
    folder: Folder,
    id: String,
    ended: bool,
    /// Which database it is of.
    pub(super) of: Of,
}

impl Blocks {
    /// Begins one.
    pub(super) fn begin(files: &Files, of: Of) -> io::Result<Self> {
        let (header, id) = files.header(Kind::Snapshot, 0, &of)?;
        let path = files.folder.unfinished(&id);
        Ok(Self {
            writer: Writer::create(&path, &header, &files.envelope)?,
            rows: Vec::with_capacity(BLOCK + BLOCK / 4),
            folder: files.folder.clone(),
            id,
            ended: false,
            of,
        })
    }

    /// Adds a row.
    pub(super) fn put(&mut self, row: &Row<'_>) -> io::Result<()> {
        row.write(&mut self.rows)?;
        if self.rows.len() >= BLOCK {
            self.writer.append(&self.rows)?;
            self.rows.clear();
        }
        Ok(())
    }

    /// Ends it and puts it in its place, all of it on the disk; returns its size.
    pub(super) fn adopt(mut self, generation: u64, end: End) -> io::Result<u64> {
        self.put(&Row::End(end))?;
        self.writer.append(&self.rows)?;
        self.writer.sync()?;
        self.folder.adopt(&self.id, generation)?;
        self.ended = true;
        Ok(self.writer.bytes())
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if !self.ended {
            // What stays is removed at the next start.
            let _ = std::fs::remove_file(self.folder.unfinished(&self.id));
        }
    }
}

/// Takes down a load.
pub(super) struct Load {
    pub(super) blocks: io::Result<Blocks>,
    pub(super) begun: Time,
    pub(super) work: mpsc::UnboundedSender<Work>,
}

#[async_trait]
impl Taking for Load {
    fn put(&mut self, piece: &Loaded) {
        if let Ok(blocks) = &mut self.blocks
            && let Err(error) = blocks.put(&Row::of(piece))
        {
            self.blocks = Err(error);
        }
    }

    async fn finish(self: Box<Self>, n: u64) -> Result<(), StoreError> {
        let Self {
            blocks,
            begun,
            work,
        } = *self;
        let (done, answer) = oneshot::channel();
        let end = End { n, time: begun };
        let begin = Work::Begin { blocks, end, done };
        work.send(begin).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

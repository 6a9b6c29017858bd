//! Which files there are, and reading them as one: the newest snapshot, and all journals since.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::file::{Header, Kind, Reader, Unusable, damaged};
use super::row::Row;
use crate::app::envelope::{Envelope, RootKeyBytes};
use crate::app::ports::{FeedBatch, Restored};
use crate::domain::time::Time;

/// The folder within the data directory.
const FOLDER: &str = "snapshot";
const SNAPSHOT: &str = "snapshot";
const JOURNAL: &str = "journal";
/// What a snapshot is called until it is whole.
const UNFINISHED: &str = "new";

/// The folder with the files.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// That of a data directory, made where there is none.
    pub(super) fn make(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FOLDER);
        if !path.is_dir() {
            DirBuilder::new().mode(0o700).create(&path)?;
            File::open(data_dir)?.sync_all()?;
        }
        Ok(Self(path))
    }

    /// That of a data directory, as it may be.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FOLDER))
    }

    pub(super) fn path_of(&self, kind: Kind, generation: u64) -> PathBuf {
        let extension = match kind {
            Kind::Snapshot => SNAPSHOT,
            Kind::Journal => JOURNAL,
        };
        self.0.join(format!("{generation:016x}.{extension}"))
    }

    /// Where the snapshot with this id is until it is whole.
    pub(super) fn unfinished(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.{UNFINISHED}"))
    }

    /// Puts a snapshot that is whole in its place.
    pub(super) fn adopt(&self, id: &str, generation: u64) -> io::Result<()> {
        let place = self.path_of(Kind::Snapshot, generation);
        std::fs::rename(self.unfinished(id), place)?;
        self.sync()
    }

    /// Removes what was never finished.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == UNFINISHED) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The generations of a kind, oldest first.
    pub(super) fn generations(&self, kind: Kind) -> io::Result<Vec<u64>> {
        let extension = match kind {
            Kind::Snapshot => SNAPSHOT,
            Kind::Journal => JOURNAL,
        };
        let mut found = Vec::new();
        for path in self.files()? {
            if path.extension().is_some_and(|e| e == extension) {
                found.extend(generation(&path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The first generation that no file is of.
    pub(super) fn next(&self) -> io::Result<u64> {
        let newest = self.files()?.iter().filter_map(|p| generation(p)).max();
        Ok(newest.map_or(1, |newest| newest + 1))
    }

    /// Whether there is any file.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.files()?.is_empty())
    }

    /// Removes all files that are of a generation before this one.
    pub(super) fn remove_before(&self, oldest: u64) -> io::Result<()> {
        for path in self.files()? {
            let unfinished = path.extension().is_some_and(|e| e == UNFINISHED);
            if !unfinished && generation(&path).is_some_and(|of| of < oldest) {
                std::fs::remove_file(path)?;
            }
        }
        self.sync()
    }

    /// Removes all files, snapshots first: without them the rest is nothing.
    pub(super) fn clear(&self) -> io::Result<()> {
        let mut files = self.files()?;
        files.sort_by_key(|path| path.extension().is_none_or(|e| e != SNAPSHOT));
        for path in files {
            std::fs::remove_file(path)?;
        }
        self.sync()
    }

    /// Returns when the names of the files are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            folder => folder?.sync_all(),
        }
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.path())).collect(),
        }
    }
}

fn generation(path: &Path) -> Option<u64> {
    u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()
}

/// What reading brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The revision.
    pub(super) n: u64,
    /// When that was last known to be the newest.
    pub(super) time: Time,
    /// Whether others wait for the process; none: nothing says so.
    pub(super) entered: Option<bool>,
}

/// The newest snapshot, and the journals since.
#[derive(Debug)]
pub(super) struct Chain {
    folder: Folder,
    generation: u64,
    /// What the snapshot says of itself.
    pub(super) header: Header,
}

impl Chain {
    /// Finds it.
    pub(super) fn find(folder: Folder) -> Result<Self, Unusable> {
        let newest = folder.generations(Kind::Snapshot)?.pop();
        let generation = newest.ok_or(Unusable::Nothing)?;
        let path = folder.path_of(Kind::Snapshot, generation);
        let reader = Reader::open(&path)?.ok_or_else(|| damaged(&path, "it is cut off"))?;
        let header = reader.header;
        if header.kind != Kind::Snapshot {
            return Err(damaged(&path, "it has another file's name"));
        }
        Ok(Self {
            folder,
            generation,
            header,
        })
    }

    /// The keys that it was written with, and as they are wrapped.
    pub(super) fn keys(&self, roots: &[&RootKeyBytes]) -> Result<(Envelope, Vec<u8>), Unusable> {
        let wrapped = hex::decode(&self.header.wrapped_keys).map_err(|_| Unusable::RootKey)?;
        let envelope = Envelope::open(&wrapped, roots).map_err(|_| Unusable::RootKey)?;
        Ok((envelope, wrapped))
    }

    /// The journals up to a generation that is not among them, oldest first.
    pub(super) fn journals(&self, before: u64) -> io::Result<Vec<u64>> {
        let mut found = self.folder.generations(Kind::Journal)?;
        found.retain(|of| (self.generation..before).contains(of));
        Ok(found)
    }

    /// Reads the snapshot.
    pub(super) fn snapshot(
        &self,
        envelope: &Envelope,
        mut piece: impl FnMut(Row<'static>) -> Result<(), Unusable>,
    ) -> Result<Reached, Unusable> {
        let path = self.folder.path_of(Kind::Snapshot, self.generation);
        let reader = Reader::open(&path)?.ok_or_else(|| damaged(&path, "it is cut off"))?;
        let (mut end, mut entered) = (None, None);
        reader.records(&path, envelope, |record| {
            rows(&path, record, |row| {
                if end.is_some() {
                    return Err(damaged(&path, "it goes on after its end"));
                }
                match row {
                    Row::End(of) => end = Some(of),
                    Row::Entered(is) => entered = Some(is),
                    row => piece(row)?,
                }
                Ok(())
            })
        })?;
        let end = end.ok_or_else(|| damaged(&path, "it is cut off"))?;
        Ok(Reached {
            n: end.n,
            time: end.time,
            entered,
        })
    }

    /// Where the first of these journals begins.
    pub(super) fn before(&self, journals: &[u64]) -> Result<Reached, Unusable> {
        let first = journals.first().ok_or(Unusable::Nothing)?;
        let path = self.folder.path_of(Kind::Journal, *first);
        let reader = Reader::open(&path)?.ok_or_else(|| damaged(&path, "it is cut off"))?;
        Ok(Reached {
            n: reader.header.after,
            time: reader.header.time,
            entered: None,
        })
    }

    /// What is wrong where a journal does not begin where the snapshot ends.
    pub(super) fn torn_apart(&self) -> Unusable {
        let path = self.folder.path_of(Kind::Snapshot, self.generation);
        damaged(&path, "it does not end where the journal begins")
    }

    /// How many bytes all its journals have.
    pub(super) fn journaled(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for generation in self.journals(u64::MAX)? {
            let path = self.folder.path_of(Kind::Journal, generation);
            bytes += std::fs::metadata(path)?.len();
        }
        Ok(bytes)
    }

    /// How many bytes its snapshot has.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        let path = self.folder.path_of(Kind::Snapshot, self.generation);
        Ok(std::fs::metadata(path)?.len())
    }

    /// Reads the journals of these generations, which follow on what was reached.
    pub(super) fn follow(
        &self,
        journals: &[u64],
        envelope: &Envelope,
        reached: &mut Reached,
        mut give: impl FnMut(FeedBatch),
    ) -> Result<(), Unusable> {
        for generation in journals {
            let path = self.folder.path_of(Kind::Journal, *generation);
            // Begun and not yet synced: nothing of it was said.
            let Some(reader) = Reader::open(&path)? else {
                continue;
            };
            let header = &reader.header;
            if header.kind != Kind::Journal {
                return Err(damaged(&path, "it has another file's name"));
            }
            if header.epoch != self.header.epoch || header.after > reached.n {
                return Err(damaged(&path, "what was applied before it is missing"));
            }
            let torn = reader.records(&path, envelope, |record| {
                if let Some(batch) = follow_one(&path, record, reached)? {
                    give(batch);
                }
                Ok(())
            })?;
            if torn {
                tracing::info!(file = %path.display(), "the last record was cut off by a crash; nobody was told of it, and it is left out");
            }
        }
        Ok(())
    }

    /// Reads everything.
    pub(super) fn read(
        &self,
        envelope: &Envelope,
        give: &mut dyn FnMut(Restored),
    ) -> Result<Reached, Unusable> {
        let path = self.folder.path_of(Kind::Snapshot, self.generation);
        let mut reached = self.snapshot(envelope, |row| {
            let piece = row.into_piece();
            give(Restored::Piece(
                piece.ok_or_else(|| damaged(&path, "it has rows of a journal"))?,
            ));
            Ok(())
        })?;
        let journals = self.journals(u64::MAX)?;
        self.follow(&journals, envelope, &mut reached, |batch| {
            give(Restored::Batch(Box::new(batch)));
        })?;
        Ok(reached)
    }
}

/// One record of a journal: what it brings that is not known yet.
fn follow_one(
    path: &Path,
    record: &[u8],
    reached: &mut Reached,
) -> Result<Option<FeedBatch>, Unusable> {
    let mut batch: Option<FeedBatch> = None;
    rows(path, record, |row| {
        match row {
            Row::Current(time) => reached.time = reached.time.max(time),
            Row::Entered(entered) => reached.entered = Some(entered),
            Row::Batch(applied) => {
                reached.time = reached.time.max(applied.time);
                batch = Some(FeedBatch {
                    upto: applied.upto,
                    head: applied.head,
                    ..FeedBatch::default()
                });
            }
            row => {
                let known = batch.as_mut().is_some_and(|batch| row.put_into(batch));
                if !known {
                    return Err(damaged(path, "a row stands where it can't"));
                }
            }
        }
        Ok(())
    })?;
    // A snapshot that was taken later has it.
    let news = batch.filter(|batch| batch.upto > reached.n);
    if let Some(batch) = &news {
        reached.n = batch.upto;
    }
    Ok(news)
}

fn rows(
    path: &Path,
    record: &[u8],
    mut each: impl FnMut(Row<'static>) -> Result<(), Unusable>,
) -> Result<(), Unusable> {
    for line in record
        .split(|byte| *byte == b'\n')
        .filter(|l| !l.is_empty())
    {
        each(serde_json::from_slice(line).map_err(|_| damaged(path, "a row can't be read"))?)?;
    }
    Ok(())
}

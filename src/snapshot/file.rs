//! A sealed file: a header in clear, then records, each sealed for its place in this file.
//!
//! Every part is led by its length, and by the length's complement: so a length that was damaged is told from a file that
//! ends too early, as a crash leaves it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::app::envelope::{Envelope, FileKey};
use crate::domain::time::Time;

/// The first bytes of every file; the number is that of the format.
const MAGIC: &[u8; 8] = b"CLVSNAP1";
/// Longest part: the load of a workspace with an absurd catalogue is far below that.
const MAX_LEN: u32 = 1 << 30;
/// The version that wrote a file is the only one that reads it: what another one means by a row is not known.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Everything, at one revision.
    Snapshot,
    /// What was applied after a revision.
    Journal,
}

/// What a file says of itself, in clear. All of it goes into the key of its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the program that wrote it.
    pub(super) version: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// Random: no two files share a key.
    pub(super) id: String,
    /// The history it is of.
    pub(super) epoch: u32,
    /// The revision that a journal begins after.
    pub(super) after: u64,
    /// When it was begun.
    pub(super) time: Time,
    /// The database's keys, wrapped by the root key as the database has them.
    pub(super) wrapped_keys: String,
}

impl Header {
    /// Of this version.
    pub(super) fn version() -> String {
        VERSION.to_owned()
    }
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("nothing was kept there")]
    Nothing,
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error("`{file}` is damaged: {what}")]
    Damaged {
        /// Its name.
        file: String,
        /// What does not fit.
        what: &'static str,
    },
    /// Another version wrote it.
    #[error("version {0} of claviger wrote it, and only that one can read it")]
    Version(String),
    /// No root key at hand opens it.
    #[error("the root key does not open it")]
    RootKey,
    /// Nobody waits for this process.
    #[error(
        "this replica left its fleet in order, or never joined it, so that no change waits for it"
    )]
    NotEntered,
}

/// Damage to a file.
pub(super) fn damaged(path: &Path, what: &'static str) -> Unusable {
    let name = path.file_name().unwrap_or_default();
    Unusable::Damaged {
        file: name.to_string_lossy().into_owned(),
        what,
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    to: BufWriter<File>,
    key: FileKey,
    records: u64,
    bytes: u64,
}

impl Writer {
    /// Begins a file that must not be there.
    pub(super) fn create(path: &Path, header: &Header, envelope: &Envelope) -> io::Result<Self> {
        let header = serde_json::to_vec(header)?;
        let mut options = OpenOptions::new();
        let file = options
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let mut this = Self {
            to: BufWriter::with_capacity(1 << 16, file),
            key: envelope.file_key(&header),
            records: 0,
            bytes: 0,
        };
        this.to.write_all(MAGIC)?;
        this.part(&header)?;
        Ok(this)
    }

    /// Seals a record for the next place, and writes it.
    pub(super) fn append(&mut self, plain: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(self.records, plain);
        self.records += 1;
        self.part(&sealed.map_err(io::Error::other)?)
    }

    /// Returns when all of it is on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.to.flush()?;
        self.to.get_ref().sync_data()
    }

    /// Hands it to the operating system, and waits for nothing.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// How many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len())
            .ok()
            .filter(|len| *len <= MAX_LEN);
        let len = len.ok_or_else(|| io::Error::other("a record is too long"))?;
        self.to.write_all(&len.to_be_bytes())?;
        self.to.write_all(&(!len).to_be_bytes())?;
        self.to.write_all(bytes)?;
        self.bytes += u64::from(len) + 8;
        Ok(())
    }
}

/// A file whose header was read.
#[derive(Debug)]
pub(super) struct Reader {
    from: BufReader<File>,
    raw_header: Vec<u8>,
    /// What it says of itself; not to be believed before a record has opened.
    pub(super) header: Header,
}

/// The next record of a file.
#[derive(Debug)]
pub(super) enum Next {
    /// It.
    Record(Vec<u8>),
    /// There is none.
    End,
    /// The file ends within it.
    Torn,
}

impl Reader {
    /// Reads the header. None where the file ends within it, as a crash right after it was begun leaves it.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Unusable> {
        let mut from = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        let read = fill(&mut from, &mut magic)?;
        if magic.get(..read) != MAGIC.get(..read) {
            return Err(damaged(path, "it does not begin as these files do"));
        }
        let Some(raw_header) = part(&mut from, path)?.filter(|_| read == MAGIC.len()) else {
            return Ok(None);
        };
        let header: Header = serde_json::from_slice(&raw_header)
            .map_err(|_| damaged(path, "its header can't be read"))?;
        if header.version != VERSION {
            return Err(Unusable::Version(header.version));
        }
        Ok(Some(Self {
            from,
            raw_header,
            header,
        }))
    }

    /// The records, in order, for `each`; says whether the file ends within one.
    pub(super) fn records(
        mut self,
        path: &Path,
        envelope: &Envelope,
        mut each: impl FnMut(&[u8]) -> Result<(), Unusable>,
    ) -> Result<bool, Unusable> {
        let key = envelope.file_key(&self.raw_header);
        for place in 0.. {
            match next(&mut self.from, path)? {
                Next::End => return Ok(false),
                Next::Torn => return Ok(true),
                Next::Record(sealed) => {
                    let plain = key.open(place, &sealed);
                    each(&plain.ok_or_else(|| damaged(path, "a record does not open"))?)?;
                }
            }
        }
        Ok(false)
    }
}

/// A part; none where the file ends before or within it.
fn part(from: &mut BufReader<File>, path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    match next(from, path)? {
        Next::Record(bytes) => Ok(Some(bytes)),
        Next::End | Next::Torn => Ok(None),
    }
}

fn next(from: &mut BufReader<File>, path: &Path) -> Result<Next, Unusable> {
    let mut lead = [0; 8];
    match fill(from, &mut lead)? {
        0 => return Ok(Next::End),
        8 => {}
        _ => return Ok(Next::Torn),
    }
    let [a, b, c, d, e, f, g, h] = lead;
    let len = u32::from_be_bytes([a, b, c, d]);
    if !len != u32::from_be_bytes([e, f, g, h]) || len > MAX_LEN {
        return Err(damaged(path, "the length of a record is none"));
    }
    let mut bytes = Vec::new();
    from.take(u64::from(len)).read_to_end(&mut bytes)?;
    if u32::try_from(bytes.len()) == Ok(len) {
        Ok(Next::Record(bytes))
    } else {
        Ok(Next::Torn)
    }
}

/// Reads until the buffer is full or the file ends; how much that was.
fn fill(from: &mut BufReader<File>, buffer: &mut [u8]) -> io::Result<usize> {
    let most = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
    let mut read = Vec::with_capacity(buffer.len());
    from.take(most).read_to_end(&mut read)?;
    for (to, byte) in buffer.iter_mut().zip(&read) {
        *to = *byte;
    }
    Ok(read.len())
}

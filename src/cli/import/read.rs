//! Reads the file in a thread of its own and makes items of it, a few ahead of what is sent.

use std::cell::Cell;
use std::io::{BufReader, Read};
use std::rc::Rc;

use time::OffsetDateTime;
use tokio::sync::mpsc;
use zeroize::Zeroize as _;

use super::{Format, format, table};
use crate::cli::failure::Failure;
use crate::cli::fields::{Fault, shown};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

/// How many items are read ahead: a message or two.
const AHEAD: usize = 1_024;

/// What the file does not say.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) scopes: Vec<String>,
    pub(super) cidrs: Vec<String>,
    pub(super) asserted_bits: u32,
    pub(super) allow_weak: bool,
    pub(super) prefix: String,
    pub(super) ignore_unsupported: bool,
    pub(super) exported_at: Option<OffsetDateTime>,
}

/// An item of the file, and where it stands.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number, from 1.
    pub(super) item: u64,
    /// The line it ends on.
    pub(super) line: u64,
    /// How many bytes of the file were read with it.
    pub(super) bytes: u64,
    pub(super) content: Result<Entry, Refusal>,
}

/// An item that can be sent.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) item: v1::ImportItem,
    /// What was dropped, for Claviger has no such thing.
    pub(super) dropped: Vec<String>,
}

/// An item that can't be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) import_id: String,
    pub(super) fault: Fault,
}

/// What comes of reading.
#[derive(Debug)]
pub(super) enum Event {
    Row(Box<Row>),
    /// What the file has beside its items was dropped.
    Dropped(String),
    /// The rest of the file can't be read.
    Broken(Failure),
}

/// Nobody wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Stop;

/// Takes items to where they are sent.
pub(super) struct Sink<'a> {
    pub(super) rules: &'a Rules,
    rows: mpsc::Sender<Event>,
    items: u64,
    place: Rc<Place>,
}

/// How far the file has been read.
#[derive(Debug, Default)]
pub(super) struct Place {
    bytes: Cell<u64>,
    lines: Cell<u64>,
}

impl Place {
    /// The line that is being read.
    pub(super) fn line(&self) -> u64 {
        self.lines.get() + 1
    }

    /// Says how far a reader is that counts for itself.
    pub(super) fn set(&self, bytes: u64, lines: u64) {
        self.bytes.set(bytes);
        self.lines.set(lines);
    }
}

/// A reader that says how far it is.
pub(super) struct Counted<R> {
    inner: R,
    place: Rc<Place>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        let lines = read.iter().filter(|byte| **byte == b'\n').count();
        let place = &self.place;
        place.bytes.set(place.bytes.get() + as_u64(count));
        place.lines.set(place.lines.get() + as_u64(lines));
        Ok(count)
    }
}

pub(super) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Sink<'_> {
    /// Takes what became of an item.
    pub(super) fn put(&mut self, content: Result<Entry, Refusal>) -> Result<(), Stop> {
        self.items += 1;
        let row = Row {
            item: self.items,
            line: self.place.line(),
            bytes: self.place.bytes.get(),
            content: content.and_then(|entry| complete(entry, self.rules)),
        };
        self.rows
            .blocking_send(Event::Row(Box::new(row)))
            .map_err(|_| Stop)
    }

    /// Says that what the file has beside its items was dropped.
    pub(super) fn dropped(&mut self, name: &str) -> Result<(), Stop> {
        self.rows
            .blocking_send(Event::Dropped(shown(name)))
            .map_err(|_| Stop)
    }

    /// How far the file has been read.
    pub(super) fn place(&self) -> Rc<Place> {
        Rc::clone(&self.place)
    }

    /// A reader that counts for this sink.
    pub(super) fn counted<R: Read>(&self, inner: R) -> BufReader<Counted<R>> {
        let place = self.place();
        BufReader::with_capacity(1, Counted { inner, place })
    }
}

/// Puts in what the file does not say.
fn complete(mut entry: Entry, rules: &Rules) -> Result<Entry, Refusal> {
    let item = &mut entry.item;
    if item.import_id.is_empty() {
        return Err(Refusal {
            import_id: String::new(),
            fault: Fault::new(
                "import_id",
                "is missing; give each key an id of its own, such as its id where it comes from",
            ),
        });
    }
    item.import_id.insert_str(0, &rules.prefix);
    let key = item.key.get_or_insert_default();
    if key.scopes.is_empty() {
        key.scopes.clone_from(&rules.scopes);
    }
    if key.allowed_cidrs.is_empty() {
        key.allowed_cidrs.clone_from(&rules.cidrs);
    }
    for source in [&mut item.primary, &mut item.secondary] {
        match source.as_mut().and_then(|s| s.source.as_mut()) {
            Some(Source::ExternalToken(token)) => token.allow_weak |= rules.allow_weak,
            Some(Source::ExternalDigest(digest)) => {
                digest.allow_weak |= rules.allow_weak;
                if digest.asserted_entropy_bits == 0 {
                    digest.asserted_entropy_bits = rules.asserted_bits;
                }
            }
            Some(Source::Generate(_)) | None => {}
        }
    }
    if item.primary.is_none() {
        return Err(Refusal {
            import_id: item.import_id.clone(),
            fault: Fault::new(
                "primary",
                "is missing: neither a token nor a digest; an export has digests with `--with-digests`",
            ),
        });
    }
    Ok(entry)
}

/// Overwrites the tokens of items that need not be sent again.
pub(super) fn wipe(items: &mut [v1::ImportItem]) {
    for item in items {
        for source in [&mut item.primary, &mut item.secondary] {
            if let Some(Source::ExternalToken(token)) =
                source.as_mut().and_then(|s| s.source.as_mut())
            {
                token.token.zeroize();
            }
        }
    }
}

/// Starts reading.
pub(super) fn start(
    reader: Box<dyn Read + Send>,
    format: Format,
    rules: Rules,
) -> mpsc::Receiver<Event> {
    let (rows, receiver) = mpsc::channel(AHEAD);
    // A thread of its own and none of the runtime's: that would wait, at its end, for input that nobody types.
    std::thread::spawn(move || {
        let broken = rows.clone();
        let mut sink = Sink {
            rules: &rules,
            rows,
            items: 0,
            place: Rc::default(),
        };
        let done = match format {
            Format::Csv => table::read(reader, &mut sink),
            Format::Jsonl => format::lines(reader, &mut sink),
            Format::Unkey | Format::Kong => format::document(reader, format, &mut sink),
        };
        if let Err(failure) = done {
            let _unwanted = broken.blocking_send(Event::Broken(failure));
        }
    });
    receiver
}

/// What is unsupported: refused, or dropped with a warning.
pub(super) fn unsupported(
    fault: Fault,
    rules: &Rules,
    dropped: &mut Vec<String>,
) -> Result<(), Fault> {
    if !rules.ignore_unsupported {
        return Err(fault);
    }
    dropped.push(fault.field);
    Ok(())
}

/// What remains of a record of another system: it may matter, so it is not dropped unasked.
pub(super) fn leftovers(
    names: Vec<String>,
    path: &str,
    rules: &Rules,
    dropped: &mut Vec<String>,
) -> Result<(), Fault> {
    for name in names {
        let field = format!("{path}{}", shown(&name));
        let fault = Fault::unsupported(field, "is unknown to Claviger");
        unsupported(fault, rules, dropped)?;
    }
    Ok(())
}

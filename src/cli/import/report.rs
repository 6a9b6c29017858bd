//! The report file: a JSON object for each item, in the order of the file, as answers come; never a token. A later run adds
//! to it, and leaves out what it shows as done.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::failure::{Exit, Failure};

/// What became of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) item: u64,
    /// The line it ends on.
    pub(super) line: u64,
    pub(super) import_id: String,
    pub(super) outcome: String,
    pub(super) key_id: String,
    pub(super) reason: String,
    pub(super) field: String,
    pub(super) message: String,
    /// What an administrator should know, and what was dropped.
    pub(super) warnings: Vec<String>,
}

/// Outcomes that need not be sought again.
const DONE: [&str; 2] = ["CREATED", "ALREADY_IMPORTED"];

/// A report that is being written, beside what an earlier run wrote.
pub(super) struct Report {
    path: PathBuf,
    file: BufWriter<File>,
    earlier: Option<Earlier>,
}

/// What earlier runs wrote, read along with the file: each in the order of the file, a later one after the one before.
struct Earlier {
    lines: io::Lines<BufReader<File>>,
    next: Option<Line>,
}

impl Earlier {
    fn advance(&mut self) {
        // A line that was cut off when a run was killed shows nothing; what comes after it counts again.
        self.next = self
            .lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| serde_json::from_str(&line).ok());
    }

    /// Whether this item is shown as done. Asked for one item after the other.
    fn shows(&mut self, item: u64, import_id: &str) -> bool {
        while self.next.as_ref().is_some_and(|line| line.item < item) {
            self.advance();
        }
        self.next.as_ref().is_some_and(|line| {
            line.item == item
                && line.import_id == import_id
                && DONE.contains(&line.outcome.as_str())
        })
    }
}

impl Report {
    /// Begins a report, or with `resume` goes on with one.
    pub(super) fn open(path: &Path, resume: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let shown = path.display();
            if error.kind() == io::ErrorKind::AlreadyExists {
                Failure::usage(format!("the report `{shown}` exists"))
                    .hint("`--resume` goes on with it; or name another file")
            } else {
                Failure::usage(format!("the report `{shown}` can't be opened: {error}"))
            }
        };
        let mut options = OpenOptions::new();
        options.append(true);
        if resume {
            options.create(true);
        } else {
            options.create_new(true);
        }
        let mut file = options.open(path).map_err(failed)?;
        let mut earlier = None;
        if resume {
            let mut reader = BufReader::new(File::open(path).map_err(failed)?);
            if !ends_a_line(&mut reader).map_err(failed)? {
                writeln!(file).map_err(failed)?;
            }
            let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
            let mut before = Earlier { lines, next: None };
            before.advance();
            earlier = Some(before);
        }
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            earlier,
        })
    }

    /// Whether an earlier run has done this item. Asked for one item after the other.
    pub(super) fn shows(&mut self, item: u64, import_id: &str) -> bool {
        self.earlier
            .as_mut()
            .is_some_and(|earlier| earlier.shows(item, import_id))
    }

    /// Adds what became of an item.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.file, line)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        self.done(written)
    }

    /// Hands what was added to the system: a run that is killed leaves it.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.file.flush();
        self.done(flushed)
    }

    fn done(&self, result: io::Result<()>) -> Result<(), Failure> {
        result.map_err(|error| {
            let message = format!(
                "the report `{}` can't be written: {error}",
                self.path.display()
            );
            Failure::new(Exit::Failed, message)
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a file is empty or ends with a line's end.
fn ends_a_line(reader: &mut (impl BufRead + io::Seek)) -> io::Result<bool> {
    if reader.seek(io::SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    reader.seek(io::SeekFrom::End(-1))?;
    Ok(reader.fill_buf()?.first() == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: u64, outcome: &str) -> Line {
        Line {
            item,
            import_id: format!("i{item}"),
            outcome: outcome.to_owned(),
            ..Line::default()
        }
    }

    fn open(path: &Path, resume: bool) -> Report {
        Report::open(path, resume).map_err(|f| f.exit).unwrap()
    }

    #[test]
    fn a_report_is_gone_on_with_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut first = open(&path, false);
        for (item, outcome) in [(1, "CREATED"), (2, "REFUSED"), (3, "CREATED"), (4, "VALID")] {
            first.add(&line(item, outcome)).unwrap();
        }
        first.flush().unwrap();
        assert!(Report::open(&path, false).is_err());
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"item\":5,\"li")
            .unwrap();
        let mut second = open(&path, true);
        let shown: Vec<_> = (1..=5)
            .filter(|n| second.shows(*n, &format!("i{n}")))
            .collect();
        assert_eq!(shown, [1, 3]);
        second.add(&line(2, "CREATED")).unwrap();
        second.add(&line(5, "CREATED")).unwrap();
        second.flush().unwrap();
        drop(second);
        // What a run did again stands after what it had done before: it is sent once more, and found to be there.
        let mut third = open(&path, true);
        let shown: Vec<_> = (1..=6)
            .filter(|n| third.shows(*n, &format!("i{n}")))
            .collect();
        assert_eq!(shown, [1, 3, 5]);
        let mut other = open(&path, true);
        assert!(!other.shows(1, "another"));
    }
}

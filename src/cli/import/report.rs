//! The report file: a JSON object for each item, in the order of the file, as answers come; never a token. A later run adds
//! to it, and leaves out what it shows as done. Its first line names the workspace, and a line says which history of the
//! server it is of, once that is known: elsewhere nothing of it is done.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::failure::{Exit, Failure};
use crate::cli::table::clean;

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

/// What a report is of: its first line has the workspace, another one the history.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<String>,
}

/// Outcomes that need not be sought again.
const DONE: [&str; 2] = ["CREATED", "ALREADY_IMPORTED"];

/// A report that is being written, beside what an earlier run wrote.
pub(super) struct Report {
    path: PathBuf,
    file: BufWriter<File>,
    earlier: Option<Earlier>,
    /// Which history it is of; none: not known yet.
    history: Option<String>,
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
    /// Begins a report of this workspace, or with `resume` goes on with one.
    pub(super) fn open(path: &Path, resume: bool, workspace: &str) -> Result<Self, Failure> {
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
        let mut history = None;
        if resume && file.metadata().map_err(failed)?.len() > 0 {
            history = of_workspace(path, workspace)?;
            let mut reader = BufReader::new(File::open(path).map_err(failed)?);
            if !ends_a_line(&mut reader).map_err(failed)? {
                writeln!(file).map_err(failed)?;
            }
            let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
            let mut before = Earlier { lines, next: None };
            before.advance();
            earlier = Some(before);
        }
        let is_new = earlier.is_none();
        let mut report = Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            earlier,
            history,
        };
        if is_new {
            report.write(&Head {
                workspace: Some(workspace.to_owned()),
                history: None,
            })?;
            report.flush()?;
        }
        Ok(report)
    }

    /// Whether it is of this history; one that has been of none yet is of this one from now on.
    pub(super) fn is_of(&mut self, history: &str) -> Result<bool, Failure> {
        if let Some(own) = &self.history {
            return Ok(own == history);
        }
        self.history = Some(history.to_owned());
        self.write(&Head {
            workspace: None,
            history: Some(history.to_owned()),
        })?;
        Ok(true)
    }

    /// Whether an earlier run has done this item. Asked for one item after the other.
    pub(super) fn shows(&mut self, item: u64, import_id: &str) -> bool {
        self.earlier
            .as_mut()
            .is_some_and(|earlier| earlier.shows(item, import_id))
    }

    /// Adds what became of an item.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), Failure> {
        self.write(line)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), Failure> {
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

/// The history that a report of this workspace is of, where it says one. Refuses the report of another workspace.
fn of_workspace(path: &Path, workspace: &str) -> Result<Option<String>, Failure> {
    let shown = path.display();
    let wrong = |what: &str| {
        Failure::usage(format!("the report `{shown}` {what}"))
            .hint("name another file for this import")
    };
    let file = File::open(path).map_err(|error| wrong(&format!("can't be opened: {error}")))?;
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let read = |line: String| serde_json::from_str::<Head>(&line).ok();
    match lines.next().and_then(read).and_then(|head| head.workspace) {
        Some(own) if own == workspace => {}
        Some(own) => {
            let named = |name: &str| match name {
                "" => "no workspace in particular".to_owned(),
                name => format!("workspace `{}`", clean(name)),
            };
            return Err(wrong(&format!(
                "is of an import into {}, and this one is into {}",
                named(&own),
                named(workspace)
            )));
        }
        None => return Err(wrong("is none that `claviger import` wrote")),
    }
    // Few lines are such: most are told apart by how they begin.
    let mut heads = lines
        .filter(|line| line.starts_with("{\"history\""))
        .filter_map(read);
    Ok(heads.find_map(|head| head.history))
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
        Report::open(path, resume, "w").map_err(|f| f.exit).unwrap()
    }

    #[test]
    fn a_report_is_of_one_workspace_and_one_history() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut first = open(&path, true);
        first.add(&line(1, "CREATED")).unwrap();
        assert!(first.is_of("0000000a").unwrap());
        first.flush().unwrap();
        drop(first);
        let mut second = open(&path, true);
        assert!(second.shows(1, "i1"));
        assert!(second.is_of("0000000a").unwrap());
        assert!(!second.is_of("0000000b").unwrap());
        for other in ["", "another"] {
            let fault = Report::open(&path, true, other).err().unwrap();
            assert_eq!(fault.exit, Exit::Usage);
            assert!(fault.message().contains("`w`"), "{}", fault.message());
        }
        std::fs::write(&path, "something else\n").unwrap();
        assert!(Report::open(&path, true, "w").is_err());
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
        assert!(Report::open(&path, false, "w").is_err());
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

//! What became of the items: counted, written into the report, and told in the end.

use serde_json::json;

use super::progress::{Progress, grouped, rate};
use super::report::{Line, Report};
use super::send::Ended;
use crate::cli::connect::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::fields::Fault;
use crate::cli::io::Io;
use crate::cli::{names, show, table};
use crate::grpc::proto::v1;
use v1::import_result::Outcome;

/// How many refusals are told; the report has all.
const TOLD: usize = 10;

/// Where an item stands in the file, and what was dropped of it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) item: u64,
    pub(super) line: u64,
    pub(super) bytes: u64,
    pub(super) import_id: String,
    pub(super) dropped: Vec<String>,
    /// Whether the report shows it as done, and the server is asked whether it knows it.
    pub(super) proof: bool,
}

/// What the report says of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing, or that it was not done.
    Open,
    /// It is done.
    Done,
    /// The same, and it is the first: the server must know it, or the report is of another one.
    Unproven,
}

/// The count of what became of items.
#[derive(Debug, Default)]
struct Counts {
    created: u64,
    already_imported: u64,
    valid: u64,
    refused: u64,
    /// Shown as done by the report.
    skipped: u64,
    warnings: u64,
    dropped: u64,
}

impl Counts {
    fn answered(&self) -> u64 {
        self.created + self.already_imported + self.valid + self.refused
    }
}

/// Takes down what became of the items.
pub(super) struct Ledger {
    counts: Counts,
    report: Option<Report>,
    progress: Progress,
    refusals: Vec<Line>,
    /// What of the file was dropped that belongs to no item.
    dropped: Vec<String>,
    bytes: u64,
    revision: String,
    /// Whether the server knew an item that the report shows as done.
    proven: bool,
    /// Whether the report is of another server, workspace or history.
    foreign: bool,
}

impl Ledger {
    pub(super) fn new(report: Option<Report>, progress: Progress) -> Self {
        Self {
            counts: Counts::default(),
            report,
            progress,
            refusals: Vec::new(),
            dropped: Vec::new(),
            bytes: 0,
            revision: String::new(),
            proven: false,
            foreign: false,
        }
    }

    /// What the report says of an item. Asked for one item after the other.
    pub(super) fn shown(&mut self, item: &Item) -> Shown {
        let done = self
            .report
            .as_mut()
            .is_some_and(|report| report.shows(item.item, &item.import_id));
        if !done {
            return Shown::Open;
        }
        if !std::mem::replace(&mut self.proven, true) {
            return Shown::Unproven;
        }
        self.skip(item);
        Shown::Done
    }

    fn skip(&mut self, item: &Item) {
        self.counts.skipped += 1;
        self.bytes = item.bytes;
    }

    /// Takes down an item that was not sent.
    pub(super) fn refuse(&mut self, item: Item, fault: Fault) -> Result<(), Failure> {
        let reason = if fault.unsupported {
            "UNSUPPORTED"
        } else {
            "INVALID_FIELD"
        };
        let line = Line {
            outcome: "REFUSED".to_owned(),
            reason: reason.to_owned(),
            field: fault.field,
            message: fault.message,
            ..self.line(item)
        };
        self.counts.refused += 1;
        self.take_down(line)
    }

    /// Takes down an item that was answered.
    pub(super) fn answer(&mut self, item: Item, result: v1::ImportResult) -> Result<(), Failure> {
        if item.proof && result.outcome == i32::from(Outcome::AlreadyImported) {
            self.skip(&item);
            return Ok(());
        }
        match Outcome::try_from(result.outcome) {
            Ok(Outcome::Created) => self.counts.created += 1,
            Ok(Outcome::AlreadyImported) => self.counts.already_imported += 1,
            Ok(Outcome::Valid) => self.counts.valid += 1,
            // Anything that is not known to have been done was not.
            Ok(Outcome::Refused | Outcome::Unspecified) | Err(_) => self.counts.refused += 1,
        }
        self.counts.warnings += super::read::as_u64(result.warnings.len());
        if item.proof && ![Outcome::Refused, Outcome::Unspecified].contains(&result.outcome()) {
            let id = table::clean(&item.import_id);
            return Err(self.foreign(&format!(
                "shows `{id}` as done, and the server did not know it"
            )));
        }
        let error = result.error.unwrap_or_default();
        let mut line = Line {
            outcome: names::outcome(result.outcome),
            key_id: result.key_id,
            reason: error.reason,
            field: error.field,
            message: error.message,
            ..self.line(item)
        };
        let told = result.warnings.into_iter();
        line.warnings
            .extend(told.map(|w| format!("{} ({})", w.message, w.code)));
        self.take_down(line)
    }

    /// Takes down that something of the file was dropped that belongs to no item.
    pub(super) fn dropped(&mut self, name: String) {
        self.counts.dropped += 1;
        self.dropped.push(name);
    }

    fn line(&mut self, item: Item) -> Line {
        self.bytes = item.bytes;
        self.counts.dropped += super::read::as_u64(item.dropped.len());
        let dropped = item.dropped.iter();
        Line {
            item: item.item,
            line: item.line,
            import_id: item.import_id,
            warnings: dropped
                .map(|field| format!("`{field}` was dropped"))
                .collect(),
            ..Line::default()
        }
    }

    fn take_down(&mut self, line: Line) -> Result<(), Failure> {
        if let Some(report) = &mut self.report {
            report.add(&line)?;
        }
        if line.outcome == "REFUSED" && self.refusals.len() < TOLD {
            self.refusals.push(line);
        }
        Ok(())
    }

    /// What the report shows did not happen here.
    fn foreign(&mut self, why: &str) -> Failure {
        self.foreign = true;
        let report = self
            .report
            .as_ref()
            .map(|report| report.path().display().to_string());
        Failure::usage(format!("the report `{}` {why}", report.unwrap_or_default()))
            .hint("it is of another server or workspace, or of a time before a backup was restored")
            .hint("begin a new report without `--resume`: what is there is found to be there, and not made again")
    }

    /// A message has been taken down.
    pub(super) fn taken(&mut self, revision: String, io: &mut Io<'_>) -> Result<(), Failure> {
        if let Some((history, _)) = revision.split_once('.')
            && let Some(report) = &mut self.report
            && !report.is_of(history)?
        {
            return Err(self.foreign("is of another history than the server's"));
        }
        if !revision.is_empty() {
            self.revision = revision;
        }
        if let Some(report) = &mut self.report {
            report.flush()?;
        }
        self.tell(io);
        Ok(())
    }

    pub(super) fn tell(&mut self, io: &mut Io<'_>) {
        let items = self.counts.answered() + self.counts.skipped;
        self.progress.tell(items, self.bytes, io);
    }

    pub(super) fn note(&self, line: &str, io: &mut Io<'_>) {
        self.progress.note(line, io);
    }

    /// Tells how it ended.
    pub(super) fn finish(
        mut self,
        ended: Result<Ended, Failure>,
        dry_run: bool,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<Exit, Failure> {
        let elapsed = self.progress.end();
        if let Some(report) = &mut self.report {
            report.flush()?;
        }
        for name in &self.dropped {
            io.note(format_args!("warning: `{name}` of the file was dropped"));
        }
        self.tell_refusals(io);
        let counts = &self.counts;
        let rate = rate(counts.answered(), elapsed);
        let value = || {
            json!({
                "created": counts.created,
                "already_imported": counts.already_imported,
                "valid": counts.valid,
                "refused": counts.refused,
                "skipped": counts.skipped,
                "warnings": counts.warnings,
                "dropped": counts.dropped,
                "revision": self.revision,
                "seconds": elapsed.as_secs_f64(),
                "complete": matches!(ended, Ok(Ended::Whole)),
            })
        };
        show(io, output, value, |_| {
            summary(counts, &self.revision, elapsed, rate)
        })?;
        if dry_run {
            io.note("nothing was changed (`--dry-run`)");
        }
        match ended {
            Ok(Ended::Whole) if counts.refused == 0 => Ok(Exit::Ok),
            Ok(Ended::Whole) => Ok(Exit::Failed),
            Ok(Ended::Interrupted) => {
                io.note("interrupted; what is counted above is done");
                io.note(self.go_on());
                Ok(Exit::Interrupted)
            }
            Err(failure) if self.foreign => Err(failure),
            Err(failure) => Err(failure.hint(self.go_on())),
        }
    }

    fn go_on(&self) -> &'static str {
        match self.report {
            Some(_) => "the same command with `--resume` goes on; what is done is not done again",
            None => {
                "the same command again goes on: what is done is found to be there, and not done again"
            }
        }
    }

    fn tell_refusals(&self, io: &mut Io<'_>) {
        for line in &self.refusals {
            let field = match line.field.as_str() {
                "" => String::new(),
                field if line.message.contains(&format!("`{field}`")) => String::new(),
                field => format!("`{}` ", table::clean(field)),
            };
            io.note(format_args!(
                "refused: line {} ({}): {field}{} ({})",
                line.line,
                if line.import_id.is_empty() {
                    "no import_id".to_owned()
                } else {
                    table::clean(&line.import_id)
                },
                table::clean(&line.message),
                line.reason
            ));
        }
        let told = super::read::as_u64(self.refusals.len());
        if self.counts.refused > told {
            let more = grouped(self.counts.refused - told);
            match &self.report {
                Some(report) => io.note(format_args!(
                    "… and {more} more, in `{}`",
                    report.path().display()
                )),
                None => io.note(format_args!(
                    "… and {more} more; `--report FILE` writes them all down"
                )),
            }
        }
    }
}

fn summary(counts: &Counts, revision: &str, elapsed: std::time::Duration, rate: u64) -> String {
    let mut rows = vec![
        ("created", grouped(counts.created)),
        ("already there", grouped(counts.already_imported)),
        ("refused", grouped(counts.refused)),
    ];
    for (name, count) in [
        ("valid", counts.valid),
        ("skipped", counts.skipped),
        ("warnings", counts.warnings),
        ("dropped", counts.dropped),
    ] {
        if count > 0 {
            rows.push((name, grouped(count)));
        }
    }
    if !revision.is_empty() {
        rows.push(("revision", table::clean(revision)));
    }
    rows.push((
        "took",
        format!("{:.1} s ({}/s)", elapsed.as_secs_f64(), grouped(rate)),
    ));
    table::details(&rows)
}

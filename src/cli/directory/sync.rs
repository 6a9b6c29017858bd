//! `claviger principals sync`: a thread reads the file, what it reads is sent, and only when all of it could be read and was
//! sent the server is told to apply it.

use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::principals::{Format, SyncArgs};
use super::run::Client;
use crate::cli::connect::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::fields::{Fault, Fields};
use crate::cli::import::Source;
use crate::cli::import::format::{Begun, objects};
use crate::cli::import::progress::{Progress, grouped};
use crate::cli::import::read::Stop;
use crate::cli::import::table::{Columns, Row, rows};
use crate::cli::io::Io;
use crate::cli::{Common, MAX_ANSWER, show, table};
use crate::grpc::proto::v1;

/// How many principals are in a message.
const BATCH: usize = 1_000;
/// How many are read ahead of what is sent.
const AHEAD: usize = 1_024;
/// An answer that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many faults are told.
const TOLD: usize = 10;

const COLUMNS: Columns = Columns {
    known: &["id", "display_name", "enabled", "scopes"],
    needed: (
        "id",
        "it is what each principal is called where it comes from",
    ),
};

/// A principal of the file, or why there is none, and where it stands.
struct Read {
    line: u64,
    bytes: u64,
    principal: Result<v1::Principal, Fault>,
}

/// What comes of reading.
enum Event {
    Read(Box<Read>),
    /// The rest of the file can't be read.
    Broken(Failure),
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::SyncPrincipalsResponse, Status>> + Send>>;

/// Runs `principals sync`.
pub(super) async fn run(
    args: SyncArgs,
    common: &Common,
    workspace: String,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let source = Source::open(&args.file, io)?;
    let (reader, format) = begin(source.reader, &args)?;
    let connection = common.connect_to_stream(io).await?;
    let client = Client::new(connection).max_decoding_message_size(MAX_ANSWER);
    let mode = match args.replace_all {
        true => v1::SyncMode::ReplaceAll,
        false => v1::SyncMode::Upsert,
    };
    let settings = v1::SyncPrincipalsRequest {
        workspace,
        mode: mode.into(),
        validate_only: args.dry_run,
        force: args.force,
        ..Default::default()
    };
    let mut line = Line::open(client, settings, source.size, io.lively);
    let mut interrupt = std::mem::replace(&mut io.interrupt, Box::pin(std::future::pending()));
    let sent = tokio::select! {
        biased;
        () = &mut interrupt => Err(interrupted("nothing was applied", io)),
        sent = line.send_all(start(reader, format), io) => sent,
    };
    line.progress.end();
    let lines = sent?;
    line.progress = Progress::new("principals", Some(lines.len() as u64), io.lively);
    let result = tokio::select! {
        biased;
        () = &mut interrupt => Err(interrupted("some of it may be applied, and what has begun goes on", io)),
        result = line.result(io) => result,
    };
    let took = line.progress.end();
    let result = result?;
    tell(
        &result,
        &lines,
        took,
        args.dry_run,
        common.output.output,
        io,
    )?;
    Ok(if result.refused == 0 {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn interrupted(what: &str, io: &mut Io<'_>) -> Failure {
    io.note(format_args!("interrupted; {what}"));
    Failure::new(Exit::Interrupted, "the file was not synchronised whole")
        .hint("the same command again does; what is so already is not changed")
}

/// The stream to the server, and back.
struct Line {
    messages: mpsc::Sender<v1::SyncPrincipalsRequest>,
    answers: Answers,
    settings: v1::SyncPrincipalsRequest,
    progress: Progress,
}

impl Line {
    fn open(
        mut client: Client,
        settings: v1::SyncPrincipalsRequest,
        size: Option<u64>,
        lively: bool,
    ) -> Self {
        let (messages, receiver) = mpsc::channel(1);
        let call = async move { client.sync_principals(ReceiverStream::new(receiver)).await };
        let answers = futures::stream::once(call)
            .map_ok(tonic::Response::into_inner)
            .try_flatten();
        Self {
            messages,
            answers: Box::pin(answers),
            settings,
            progress: Progress::new("principals", size, lively),
        }
    }

    /// Sends what is read; returns the line of each. What can't be read must not look as if it were gone where it comes
    /// from: then nothing is applied.
    async fn send_all(
        &mut self,
        mut events: mpsc::Receiver<Event>,
        io: &mut Io<'_>,
    ) -> Result<Vec<u64>, Failure> {
        let mut lines = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut faults = Vec::new();
        while let Some(event) = events.recv().await {
            let read = match event {
                Event::Read(read) => read,
                Event::Broken(failure) => return Err(failure.hint("nothing was applied")),
            };
            match read.principal {
                Ok(principal) => {
                    lines.push(read.line);
                    batch.push(principal);
                }
                Err(fault) => faults.push((read.line, fault)),
            }
            if batch.len() >= BATCH {
                self.exchange(std::mem::take(&mut batch), None).await?;
                self.progress.tell(lines.len() as u64, read.bytes, io);
            }
        }
        if !faults.is_empty() {
            return Err(unreadable(&faults, io));
        }
        let commit = v1::SyncCommit {
            expected_count: lines.len() as u64,
        };
        self.exchange(batch, Some(commit)).await?;
        Ok(lines)
    }

    async fn exchange(
        &mut self,
        principals: Vec<v1::Principal>,
        commit: Option<v1::SyncCommit>,
    ) -> Result<(), Failure> {
        let message = v1::SyncPrincipalsRequest {
            principals,
            commit,
            ..self.settings.clone()
        };
        // Where the stream is broken, its answer says so.
        let _sent = self.messages.try_send(message);
        self.answer().await.map(|_| ())
    }

    async fn answer(&mut self) -> Result<v1::SyncPrincipalsResponse, Failure> {
        match tokio::time::timeout(PATIENCE, self.answers.next()).await {
            Ok(Some(answer)) => Ok(answer?),
            Ok(None) => Err(Status::unavailable("the server ended the stream").into()),
            Err(_late) => {
                Err(Status::deadline_exceeded("the server did not answer in time").into())
            }
        }
    }

    /// Waits until all is applied.
    async fn result(&mut self, io: &mut Io<'_>) -> Result<v1::SyncResult, Failure> {
        loop {
            let answer = self.answer().await?;
            if let Some(result) = answer.result {
                return Ok(result);
            }
            self.progress.tell(answer.applied, answer.applied, io);
        }
    }
}

fn unreadable(faults: &[(u64, Fault)], io: &mut Io<'_>) -> Failure {
    for (line, fault) in faults.iter().take(TOLD) {
        let field = match fault.field.as_str() {
            "" => String::new(),
            field => format!("`{}` ", table::clean(field)),
        };
        let message = table::clean(&fault.message);
        io.note(format_args!("line {line}: {field}{message}"));
    }
    let more = faults.len().saturating_sub(TOLD);
    if more > 0 {
        io.note(format_args!("… and {more} more"));
    }
    Failure::usage(format!("{} lines can't be read", faults.len()))
        .hint("nothing was applied; mend the file, and run the same command again")
}

fn tell(
    result: &v1::SyncResult,
    lines: &[u64],
    took: Duration,
    dry_run: bool,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let line_of = |fault: &v1::SyncFault| {
        let index = usize::try_from(fault.index).unwrap_or(usize::MAX);
        lines.get(index).copied().unwrap_or_default()
    };
    for fault in result.faults.iter().take(TOLD) {
        io.note(format_args!(
            "refused: line {} ({}): {} ({})",
            line_of(fault),
            table::clean(&fault.id),
            table::clean(&fault.message),
            fault.reason
        ));
    }
    let more = result.refused.saturating_sub(TOLD as u64);
    if more > 0 {
        io.note(format_args!("… and {} more", grouped(more)));
    }
    let value = || {
        let fault = |fault: &v1::SyncFault| {
            json!({
                "line": line_of(fault),
                "id": fault.id,
                "reason": fault.reason,
                "field": fault.field,
                "message": fault.message,
            })
        };
        json!({
            "created": result.created,
            "updated": result.updated,
            "unchanged": result.unchanged,
            "disabled": result.disabled,
            "refused": result.refused,
            "faults": result.faults.iter().map(fault).collect::<Vec<Value>>(),
            "revision": result.revision,
            "seconds": took.as_secs_f64(),
        })
    };
    show(io, output, value, |_| summary(result, took))?;
    if dry_run {
        io.note("nothing was changed (`--dry-run`)");
    }
    Ok(())
}

fn summary(result: &v1::SyncResult, took: Duration) -> String {
    let mut rows = vec![
        ("created", grouped(result.created)),
        ("updated", grouped(result.updated)),
        ("unchanged", grouped(result.unchanged)),
        ("disabled", grouped(result.disabled)),
        ("refused", grouped(result.refused)),
    ];
    if !result.revision.is_empty() {
        rows.push(("revision", table::clean(&result.revision)));
    }
    rows.push(("took", format!("{:.1} s", took.as_secs_f64())));
    table::details(&rows)
}

/// What a file is written in, by its name and its first character.
fn begin(mut reader: Begun, args: &SyncArgs) -> Result<(Begun, Format), Failure> {
    let failed = |error| Failure::usage(format!("the file can't be read: {error}"));
    let mut beginning = Vec::new();
    (&mut reader)
        .take(4_096)
        .read_to_end(&mut beginning)
        .map_err(failed)?;
    let text = beginning
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&beginning);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_object = first == Some(&b'{');
    let named = |extensions: &[&str]| {
        let extension = Path::new(&args.file).extension();
        extension.is_some_and(|e| extensions.iter().any(|known| e.eq_ignore_ascii_case(known)))
    };
    let format = match args.format {
        Some(format) => format,
        None if named(&["csv"]) => Format::Csv,
        None if is_object || named(&["json", "jsonl", "ndjson"]) => Format::Jsonl,
        None => Format::Csv,
    };
    Ok((
        Box::new(std::io::Cursor::new(beginning).chain(reader)),
        format,
    ))
}

/// Starts reading.
fn start(reader: Begun, format: Format) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(AHEAD);
    // A thread of its own and none of the runtime's: that would wait, at its end, for input that nobody types.
    std::thread::spawn(move || {
        let put = |bytes, line, principal| {
            let read = Read {
                line,
                bytes,
                principal,
            };
            let event = Event::Read(Box::new(read));
            events.blocking_send(event).map_err(|_| Stop)
        };
        let done = match format {
            Format::Csv => rows(reader, &COLUMNS, |bytes, line, row| {
                put(bytes, line, row.and_then(|row| of_row(&row)))
            }),
            Format::Jsonl => objects(reader, |bytes, line, object| {
                put(
                    bytes,
                    line,
                    object.and_then(|map| of_object(Fields::of(map))),
                )
            }),
        };
        if let Err(failure) = done {
            let _unwanted = events.blocking_send(Event::Broken(failure));
        }
    });
    receiver
}

fn of_row(row: &Row<'_>) -> Result<v1::Principal, Fault> {
    Ok(v1::Principal {
        id: row.text("id"),
        display_name: row.text("display_name"),
        enabled: row.flag("enabled")?,
        scopes: row.list("scopes"),
        ..Default::default()
    })
}

fn of_object(mut f: Fields) -> Result<v1::Principal, Fault> {
    let principal = v1::Principal {
        id: f.text("id")?.unwrap_or_default(),
        display_name: f.text("display_name")?.unwrap_or_default(),
        enabled: f.flag("enabled")?,
        scopes: f.list("scopes")?,
        ..Default::default()
    };
    // What `claviger principals list -o json` says beside it.
    f.ignore(&["workspace", "create_time", "update_time", "etag"]);
    f.end("`id`, `display_name`, `enabled`, `scopes`")?;
    Ok(principal)
}

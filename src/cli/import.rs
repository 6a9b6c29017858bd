//! `claviger import`: moves a set of keys in, from Claviger's own formats or those of other systems.
//!
//! A thread reads the file and makes items of it ([`read`]); [`send`] keeps a few messages of them under way; [`ledger`]
//! writes down what became of each. Invariant: of the file only what is under way is in memory, and no token of it reaches a
//! report, an error or a log.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Common;
use super::connect::WorkspaceOption;
use super::failure::{Exit, Failure};
use super::io::Io;
use ledger::Ledger;
use read::Rules;

pub(super) mod format;
mod kong;
mod ledger;
mod native;
pub(super) mod progress;
pub(super) mod read;
mod report;
mod send;
pub(super) mod table;
mod unkey;

/// Every column that a CSV file may have, as `claviger export` writes them.
pub(super) use table::COLUMNS;

/// Move a set of keys in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger import keys.csv --dry-run                         # say what would be refused, change nothing
  claviger import keys.csv --report keys.report
  claviger import keys.csv --report keys.report --resume     # go on after an interruption
  claviger import --format unkey migrate.json --asserted-bits 128 --ignore-unsupported
  claviger import --format kong kong.json --default-scope orders:read
  claviger export -w old --with-digests | claviger import -w new --format jsonl -

Formats:
  csv    the first line names the columns: import_id, display_name, description, token or sha256_hex, asserted_bits,
         allow_weak, scopes, principal, subscriptions, allowed_cidrs, expire_time, enabled, labels (NAME=VALUE), create_time, …;
         lists are separated by `;` or spaces. An unknown column is an error that lists those there are
  jsonl  one object a line, {\"import_id\", \"key\": {…}, \"primary\": {\"external_token\" or \"external_digest\": {…}}, \"secondary\"},
         as the API has them and `claviger export` writes them
  unkey  the body of keys.migrateKeys, the answer of apis.listKeys, or such keys one a line
  kong   key-auth credentials: the answer of /key-auths, a declarative configuration as JSON, or credentials one a line

Each key has an `import_id` that tells it from all others; in Unkey's and Kong's formats it is their id of the key, else
made from the digest. A key that was imported before is not changed: to go on after an interruption, run the same command
again; `--resume` only spares the server what the report shows as done; a report of another workspace or server is refused. Of what the source has and Claviger has not, a key
is refused that depends on it (credits, rate limits, roles), unless `--ignore-unsupported` is given.")]
pub struct ImportArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// The file; `-`: standard input
    file: PathBuf,
    /// What the file is written in [default: by its name and beginning]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Check everything and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Write what became of each item, as JSON lines without tokens
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    report: Option<PathBuf>,
    /// Go on: leave out what the report shows as done, and add to it
    #[arg(long, requires = "report", help_heading = "Report")]
    resume: bool,
    #[command(flatten)]
    defaults: DefaultArgs,
    /// How many keys to send at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "COUNT", help_heading = "Transfer")]
    batch_size: u16,
    /// How long to try again when the server is not reached
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "DURATION", help_heading = "Transfer")]
    retry_for: Duration,
}

/// What the file does not say.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the file does not say")]
struct DefaultArgs {
    /// What a key grants that lists no scope; can be repeated, or separated by commas
    #[arg(long = "default-scope", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Where a key may be used from that names no network; can be repeated, or separated by commas
    #[arg(long = "cidr", value_delimiter = ',', value_name = "CIDR")]
    cidrs: Vec<String>,
    /// The entropy in bits, as their maker asserts it, of tokens of which only the digest is known
    #[arg(long, value_name = "BITS")]
    asserted_bits: Option<u32>,
    /// Accept tokens of under 112 bits; their keys then need narrow `--cidr`s
    #[arg(long)]
    allow_weak: bool,
    /// Put this before every `import_id`, where ids of several sources could be the same
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "PREFIX"
    )]
    import_id_prefix: String,
    /// Drop, with a warning, what the source has and Claviger has not
    #[arg(long)]
    ignore_unsupported: bool,
    /// When the file was exported: what Kong's `ttl` counts from [default: when the file was last changed]
    #[arg(long, value_parser = moment, value_name = "TIME")]
    exported_at: Option<OffsetDateTime>,
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "give a moment such as `2027-01-31T00:00:00Z`".to_owned())
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table, its columns named in the first line
    Csv,
    /// Claviger's own objects, one a line
    Jsonl,
    /// Unkey's keys
    Unkey,
    /// Kong's key-auth credentials
    Kong,
}

/// A file to read, and what is known of it.
pub(super) struct Source {
    pub(super) reader: Box<dyn Read + Send>,
    /// Its size in bytes; unknown for standard input.
    pub(super) size: Option<u64>,
    /// When it was last changed.
    changed: Option<OffsetDateTime>,
}

impl Source {
    pub(super) fn open(path: &Path, io: &mut Io<'_>) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self {
                reader: std::mem::replace(&mut io.input, Box::new(std::io::empty())),
                size: None,
                changed: None,
            });
        }
        let failed = |error| Failure::usage(format!("`{}` can't be read: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!(
                "`{}` is a directory",
                path.display()
            )));
        }
        Ok(Self {
            size: metadata.is_file().then_some(metadata.len()),
            changed: metadata.modified().ok().map(OffsetDateTime::from),
            reader: Box::new(file),
        })
    }
}

/// Runs `import`.
pub(super) async fn run(args: ImportArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let source = Source::open(&args.file, io)?;
    let (reader, guess) = format::begin(source.reader, &args.file)
        .map_err(|error| Failure::usage(format!("the file can't be read: {error}")))?;
    let format = match args.format.or(guess) {
        Some(format) => format,
        None => {
            return Err(Failure::usage(
                "what this file is written in is not clear from its name and beginning",
            )
            .hint("say it with `--format csv`, `jsonl`, `unkey` or `kong`"));
        }
    };
    let connection = args.common.connect_to_stream(io).await?;
    let report = args
        .report
        .as_deref()
        .map(|path| report::Report::open(path, args.resume, &args.workspace.workspace))
        .transpose()?;
    let rules = Rules {
        scopes: args.defaults.scopes,
        cidrs: args.defaults.cidrs,
        asserted_bits: args.defaults.asserted_bits.unwrap_or(0),
        allow_weak: args.defaults.allow_weak,
        prefix: args.defaults.import_id_prefix,
        ignore_unsupported: args.defaults.ignore_unsupported,
        exported_at: args.defaults.exported_at.or(source.changed),
    };
    let rows = read::start(reader, format, rules);
    let mut ledger = Ledger::new(
        report,
        progress::Progress::new("keys", source.size, io.lively),
    );
    let order = send::Order {
        workspace: args.workspace.workspace,
        dry_run: args.dry_run,
        batch_size: usize::from(args.batch_size),
        answer_within: args.common.endpoint.timeout.max(send::PATIENCE),
        retry_for: args.retry_for,
    };
    let ended = send::send(rows, connection, &order, &mut ledger, io).await;
    ledger.finish(ended, args.dry_run, args.common.output.output, io)
}

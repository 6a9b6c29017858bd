//! `claviger leaks`: tokens that were found in public.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::connect::{Connection, Output, WorkspaceOption};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::{Common, MAX_ANSWER, input, json as to_json, names, table};
use crate::grpc::proto::v1;

/// How many reports one call takes.
const AT_ONCE: usize = 100;
/// Most of a report that is read.
const MAX_REPORT: u64 = 16 * 1_024 * 1_024;

/// Say that tokens were found in public.
#[derive(Debug, Args)]
pub struct LeaksArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: LeaksCommand,
}

#[derive(Debug, Subcommand)]
enum LeaksCommand {
    /// Find whose a token is, and do what its workspace's leak policy says
    #[command(after_help = "\
Examples:
  claviger leaks report --url https://git.example/shop/app/blob/main/.env < token
  claviger leaks report found.json --format github > feedback.json

The token is read from a file or from standard input, never from an argument. A secret is acted on once: reporting it again
changes nothing. Without `--workspace` every workspace is looked at that the caller administers. Of the URL neither query nor
fragment is kept.

`--format github` reads what GitHub's secret scanning sends to a partner (`[{\"token\": …, \"type\": …, \"url\": …, \"source\": …}]`),
and writes the feedback it wants: for each the base64 SHA-256 of the token, and `true_positive` or `false_positive`.
Check the signature of what GitHub sends before you pass it on.")]
    Report(ReportArgs),
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// File with the token, or with the report in GitHub's format; `-`: standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// What the file holds
    #[arg(long, value_enum, default_value_t = Format::Token, value_name = "FORMAT")]
    format: Format,
    /// Where the token was found
    #[arg(long, default_value = "", hide_default_value = true)]
    url: String,
    /// In what it was found, such as `commit`
    #[arg(long, default_value = "", hide_default_value = true)]
    source: String,
    /// By which pattern it was found
    #[arg(
        long = "type",
        default_value = "",
        hide_default_value = true,
        value_name = "TYPE"
    )]
    kind: String,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One token
    Token,
    /// What GitHub's secret scanning sends to a partner
    Github,
}

/// One match as GitHub's secret scanning sends it.
#[derive(Deserialize)]
struct Match {
    #[serde(deserialize_with = "wiped")]
    token: Zeroizing<String>,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    source: String,
}

fn wiped<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

type Client = v1::key_admin_client::KeyAdminClient<Connection>;

/// Runs a `leaks` command.
pub(super) async fn run(args: LeaksArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let LeaksArgs {
        common,
        workspace,
        command: LeaksCommand::Report(args),
    } = args;
    let found = match args.format {
        Format::Token => vec![Match {
            token: input::token(&args.file, io)?,
            r#type: args.kind,
            url: args.url,
            source: args.source,
        }],
        Format::Github => matches(&args.file, io)?,
    };
    let workspace = match workspace.workspace.as_str() {
        "" => "-".to_owned(),
        named => named.to_owned(),
    };
    let mut client = Client::new(common.connect(io).await?).max_decoding_message_size(MAX_ANSWER);
    let mut results = Vec::with_capacity(found.len());
    for some in found.chunks(AT_ONCE) {
        let request = v1::ReportLeakRequest {
            workspace: workspace.clone(),
            leaks: some.iter().map(wire).collect(),
        };
        let answer = client.report_leak(request).await?.into_inner();
        results.extend(answer.results);
    }
    match (args.format, common.output.output) {
        (Format::Github, _) => {
            let feedback: Vec<_> = found
                .iter()
                .zip(&results)
                .map(|(found, result)| feedback(found, result))
                .collect();
            io.print(format_args!("{:#}", Value::from(feedback)))?;
        }
        (Format::Token, Output::Json) => {
            let results: Vec<_> = results.iter().map(to_json::leak_result).collect();
            io.print(format_args!("{:#}", json!({ "results": results })))?;
        }
        (Format::Token, Output::Table) => tell(&results, io)?,
    }
    io.out.flush()?;
    Ok(Exit::Ok)
}

fn wire(found: &Match) -> v1::FoundToken {
    v1::FoundToken {
        token: found.token.to_string(),
        sha256_hex: String::new(),
        r#type: found.r#type.clone(),
        url: found.url.clone(),
        source: found.source.clone(),
    }
}

fn matches(path: &Path, io: &mut Io<'_>) -> Result<Vec<Match>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        (&mut io.input).take(MAX_REPORT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_REPORT).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::usage(format!("`{}` can't be read: {e}", path.display())))?;
    // What is wrong is not said in words of the parser: they could repeat a token.
    serde_json::from_str(&text).map_err(|_| {
        Failure::usage(format!(
            "`{}` is no report of GitHub's secret scanning: an array of objects with `token`, `type`, `url` and `source`",
            path.display()
        ))
    })
}

fn feedback(found: &Match, result: &v1::LeakResult) -> Value {
    let label = if result.verdict == i32::from(v1::leak_result::Verdict::TruePositive) {
        "true_positive"
    } else {
        "false_positive"
    };
    json!({
        "token_hash": STANDARD.encode(Sha256::digest(found.token.as_bytes())),
        "token_type": found.r#type,
        "label": label,
    })
}

fn tell(results: &[v1::LeakResult], io: &mut Io<'_>) -> Result<(), Failure> {
    for result in results {
        io.print(names::verdict(result.verdict))?;
        for leaked in &result.secrets {
            let done = match leaked.already_reported {
                true => "reported before, nothing changed".to_owned(),
                false => names::leak_action(leaked.action),
            };
            let (key, workspace) = (
                table::clean(&leaked.key_id),
                table::clean(&leaked.workspace),
            );
            io.print(format_args!("  {key} of `{workspace}`: {done}"))?;
            if !leaked.held_back.is_empty() {
                io.note(format_args!(
                    "less was done than the policy says: {}",
                    leaked.held_back
                ));
            }
            for token in &leaked.tokens {
                io.print(format_args!(
                    "  {:<10} {}",
                    names::slot(token.slot),
                    token.token
                ))?;
                io.note("the new token is for the key's holder; it is not shown again");
            }
        }
    }
    Ok(())
}

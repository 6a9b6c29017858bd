//! `claviger hygiene`: keys that need attention, and what to do about each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::connect::{Output, WorkspaceOption};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::names::FindingName;
use super::page::{Listing, PageArgs};
use super::{Common, MAX_ANSWER, json as to_json, names, table};
use crate::grpc::proto::v1;

/// List keys that need attention, with what to do about each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger hygiene --all
  claviger hygiene --finding rotation-due,leaked
  claviger hygiene --finding rotation-unfinished --all           # who is at the last step of a rotation
  claviger hygiene --unused-for 30d --finding unused,over-scoped

Only keys that are active are looked at. Each call looks at a part of them: `--all` at every one, and the numbers at the end
then sum up the workspace. Needs `claviger:insights:read`.")]
pub struct HygieneArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// Only keys with one of these; can be repeated, or separated by commas
    #[arg(
        long = "finding",
        value_enum,
        value_delimiter = ',',
        value_name = "FINDING"
    )]
    findings: Vec<FindingName>,
    /// Name keys that end within this time [default: 30d]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    expiring_within: Option<Duration>,
    /// Name keys and scopes that were left alone for this time [default: 90d]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    unused_for: Option<Duration>,
    #[command(flatten)]
    page: PageArgs,
}

/// Runs `hygiene`.
pub(super) async fn run(args: HygieneArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let connection = args.common.connect(io).await?;
    let mut client =
        v1::insights_client::InsightsClient::new(connection).max_decoding_message_size(MAX_ANSWER);
    let span = |span: Option<Duration>, option: &str| {
        let span = span.map(prost_types::Duration::try_from).transpose();
        span.map_err(|_| Failure::usage(format!("`{option}` is too long; at most `3650d`")))
    };
    let expiring_within = span(args.expiring_within, "--expiring-within")?;
    let unused_for = span(args.unused_for, "--unused-for")?;
    let findings: Vec<_> = args.findings.iter().map(|f| f.number()).collect();
    let summary = RefCell::new(Summary::default());
    let page = async |page_size, page_token| {
        let request = v1::GetKeyHygieneRequest {
            workspace: args.workspace.workspace.clone(),
            findings: findings.clone(),
            expiring_within,
            unused_for,
            page_size,
            page_token,
        };
        let answer = client.get_key_hygiene(request).await?.into_inner();
        summary.borrow_mut().add(&answer);
        Ok((answer.keys, answer.next_page_token))
    };
    let beside = || Some(("summary", summary.borrow().json()));
    let listing = Listing {
        name: "keys",
        json: to_json::hygiene,
        table: table::hygiene,
        beside: &beside,
    };
    args.page.show(page, &listing, output, io).await?;
    if output == Output::Table {
        io.note(summary.borrow().text());
    }
    Ok(Exit::Ok)
}

/// What all pages say together.
#[derive(Debug, Default)]
struct Summary {
    examined: i64,
    counts: BTreeMap<i32, i64>,
}

impl Summary {
    fn add(&mut self, answer: &v1::GetKeyHygieneResponse) {
        self.examined += i64::from(answer.keys_examined);
        for count in &answer.counts {
            *self.counts.entry(count.kind).or_default() += count.keys;
        }
    }

    fn json(&self) -> Value {
        let counts = self.counts.iter();
        let counts = counts.map(|(kind, keys)| (names::finding(*kind), Value::from(*keys)));
        let counts: serde_json::Map<_, _> = counts.collect();
        serde_json::json!({ "keys_examined": self.examined, "counts": counts })
    }

    fn text(&self) -> String {
        let counts = self.counts.iter();
        let counts = counts.map(|(kind, keys)| format!("{} {keys}", names::finding(*kind)));
        let counts: Vec<_> = counts.collect();
        let counts = if counts.is_empty() {
            "nothing".to_owned()
        } else {
            counts.join(", ")
        };
        format!("looked at {} keys: {counts}", self.examined)
    }
}

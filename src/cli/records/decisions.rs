//! `claviger decisions`: the request log.

use std::collections::HashSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use tonic::Status;

use super::{Client, back, connect};
use crate::cli::Common;
use crate::cli::connect::{Output, WorkspaceOption};
use crate::cli::failure::{Exit, Failure};
use crate::cli::input::When;
use crate::cli::io::Io;
use crate::cli::json;
use crate::cli::names::{DecisionName, ReasonName};
use crate::cli::page::{Listing, PageArgs};
use crate::cli::table::{self, Look, Widths};
use crate::grpc::proto::v1;

/// How often `--follow` asks for what is new.
const FOLLOW: Duration = Duration::from_secs(1);
/// How far back `--follow` looks again: processes write what they decided within a few seconds, not in order.
const LATE_SECONDS: i64 = 10;

/// See which requests were allowed and denied, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger decisions list --decision deny --since 1h
  claviger decisions list --key-id key_0198f0a1b2c3d4e5f60718293a4b5c6d --all -o json
  claviger decisions list --source-ip 192.0.2.7 --follow

What is logged, and for how long, is set for the workspace: `claviger workspaces update acme --request-log all`.")]
pub struct DecisionsArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: DecisionsCommand,
}

#[derive(Debug, Subcommand)]
enum DecisionsCommand {
    /// List decisions, newest first
    List(Box<ListArgs>),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// About this key
    #[arg(
        long = "key-id",
        default_value = "",
        hide_default_value = true,
        value_name = "ID"
    )]
    key: String,
    /// Accounted to this subscription
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    subscription: String,
    /// On this route
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    route: String,
    /// From this address
    #[arg(long, default_value = "", hide_default_value = true, value_name = "IP")]
    source_ip: String,
    /// Allowed, or denied
    #[arg(long, value_enum, value_name = "DECISION")]
    decision: Option<DecisionName>,
    /// For this reason
    #[arg(long, value_enum, hide_possible_values = true, value_name = "REASON")]
    reason: Option<ReasonName>,
    /// From then on: so long ago such as `2h`, or a moment
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Before then
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Go on with new ones as they come, oldest first, until interrupted
    #[arg(long, conflicts_with_all = ["all", "page_size", "page_token", "until"])]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
}

const LISTING: Listing<'static, v1::LoggedDecision> = Listing {
    name: "decisions",
    json: json::logged_decision,
    table: table::decisions,
    beside: &|| None,
};

pub(in crate::cli) async fn run(args: DecisionsArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let mut client = connect(&args.common, io).await?;
    let DecisionsCommand::List(list) = args.command;
    let request = v1::ListDecisionsRequest {
        workspace: args.workspace.workspace,
        filter: Some(v1::DecisionFilter {
            key_id: list.key,
            subscription: list.subscription,
            reason: list.reason.map_or(0, ReasonName::number),
            decision: list.decision.map_or(0, DecisionName::number),
            route: list.route,
            source_ip: list.source_ip,
            start_time: back(list.since, io.now)?,
            end_time: back(list.until, io.now)?,
        }),
        ..Default::default()
    };
    if list.follow {
        return follow(&mut client, request, output, io).await;
    }
    let fetch = async |page_size, page_token| {
        let request = v1::ListDecisionsRequest {
            page_size,
            page_token,
            ..request.clone()
        };
        let answer = client.list_decisions(request).await?.into_inner();
        Ok((answer.decisions, answer.next_page_token))
    };
    list.page.show(fetch, &LISTING, output, io).await?;
    Ok(Exit::Ok)
}

/// Writes decisions as they come. Each is written once, whenever its process writes it down.
async fn follow(
    client: &mut Client,
    mut request: v1::ListDecisionsRequest,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let mut interrupt = std::mem::replace(&mut io.interrupt, Box::pin(std::future::pending()));
    let widths = Widths::default();
    let mut shown: HashSet<String> = HashSet::new();
    loop {
        let new = tokio::select! {
            new = all(client, &request) => new?,
            () = &mut interrupt => return Ok(Exit::Ok),
        };
        let seen: Vec<_> = new
            .iter()
            .filter(|decision| !shown.contains(&decision.id))
            .rev()
            .cloned()
            .collect();
        match output {
            Output::Json => {
                for decision in &seen {
                    io.print(json::logged_decision(decision))?;
                }
            }
            Output::Table if seen.is_empty() => {}
            Output::Table => {
                let text = table::decisions(&seen, Look::of(io).in_pages(&widths));
                io.print(text)?;
            }
        }
        io.out.flush()?;
        if let Some(newest) = new.first().and_then(|decision| decision.time) {
            let filter = request.filter.get_or_insert_default();
            filter.start_time = Some(prost_types::Timestamp {
                seconds: newest.seconds.saturating_sub(LATE_SECONDS),
                nanos: 0,
            });
        }
        // What is asked for again next time, and nothing older.
        shown = new.into_iter().map(|decision| decision.id).collect();
        tokio::select! {
            () = tokio::time::sleep(FOLLOW) => {}
            () = &mut interrupt => return Ok(Exit::Ok),
        }
    }
}

/// All pages; the first alone where no beginning is set.
async fn all(
    client: &mut Client,
    request: &v1::ListDecisionsRequest,
) -> Result<Vec<v1::LoggedDecision>, Status> {
    let mut request = request.clone();
    let since = request
        .filter
        .as_ref()
        .is_some_and(|f| f.start_time.is_some());
    let mut decisions = Vec::new();
    loop {
        request.page_size = if since { 1_000 } else { 0 };
        let answer = client.list_decisions(request.clone()).await?.into_inner();
        decisions.extend(answer.decisions);
        if !since || answer.next_page_token.is_empty() {
            return Ok(decisions);
        }
        request.page_token = answer.next_page_token;
    }
}

//! `claviger usage`: how many requests, drawn.

use clap::Args;
use prost_types::Timestamp;
use serde_json::json;

use super::{Client, back, chart, connect};
use crate::cli::connect::WorkspaceOption;
use crate::cli::failure::{Exit, Failure};
use crate::cli::input::When;
use crate::cli::io::Io;
use crate::cli::names::{DecisionName, DimensionName, IntervalName};
use crate::cli::{Common, json as to_json, show};
use crate::grpc::proto::v1;

/// See how many requests were allowed and denied, by hour or day.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger usage                                   # the last 24 hours
  claviger usage --interval day --since 90d
  claviger usage --by subscription --since 30d -o json > invoice.json
  claviger usage --by key --decision deny")]
pub struct UsageArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// By hour or by day
    #[arg(long, value_enum, default_value_t = IntervalName::Hour, value_name = "INTERVAL")]
    interval: IntervalName,
    /// What to tell apart; can be repeated, or separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DIMENSION")]
    by: Vec<DimensionName>,
    /// Of this key
    #[arg(
        long = "key-id",
        default_value = "",
        hide_default_value = true,
        value_name = "ID"
    )]
    key: String,
    /// Of this subscription
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    subscription: String,
    /// On this route
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    route: String,
    /// Allowed, or denied
    #[arg(long, value_enum, value_name = "DECISION")]
    decision: Option<DecisionName>,
    /// From then on: so long ago such as `7d`, or a moment [default: 24h, or 30d by day]
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// To the end of that hour or day [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
}

pub(in crate::cli) async fn run(args: UsageArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let now = Timestamp {
        seconds: io.now.unix_timestamp(),
        nanos: 0,
    };
    let step = args.interval.seconds();
    let end = back(args.until, io.now)?.unwrap_or(now);
    let span = match args.interval {
        IntervalName::Hour => 23 * 3_600,
        IntervalName::Day => 29 * 86_400,
    };
    let start = back(args.since, io.now)?.unwrap_or(Timestamp {
        seconds: end.seconds.saturating_sub(span),
        nanos: 0,
    });
    let mut client = connect(&args.common, io).await?;
    let mut group_by: Vec<i32> = args.by.iter().map(|d| d.number()).collect();
    let decision = v1::UsageDimension::Decision.into();
    if args.common.output.is_table() && !group_by.contains(&decision) {
        // What is drawn tells allowed from denied.
        group_by.push(decision);
    }
    let request = v1::GetUsageRequest {
        workspace: args.workspace.workspace,
        key_id: args.key,
        subscription: args.subscription,
        route: args.route,
        decision: args.decision.map_or(0, DecisionName::number),
        start_time: Some(start),
        end_time: Some(end),
        interval: args.interval.number(),
        group_by,
        ..Default::default()
    };
    let points = all(&mut client, request).await?;
    let drawing = chart::Drawing {
        first: start.seconds.div_euclid(step) * step,
        last: end.seconds.div_euclid(step) * step,
        step,
    };
    show(
        io,
        output,
        || json!({ "points": points.iter().map(to_json::usage_point).collect::<Vec<_>>() }),
        |look| {
            if args.by.is_empty() {
                drawing.over_time(&points, look)
            } else {
                drawing.by_group(&points, &args.by, look)
            }
        },
    )?;
    Ok(Exit::Ok)
}

async fn all(
    client: &mut Client,
    mut request: v1::GetUsageRequest,
) -> Result<Vec<v1::UsagePoint>, Failure> {
    let mut points = Vec::new();
    request.page_size = 1_000;
    loop {
        let answer = client.get_usage(request.clone()).await?.into_inner();
        points.extend(answer.points);
        if answer.next_page_token.is_empty() {
            return Ok(points);
        }
        request.page_token = answer.next_page_token;
    }
}

//! `claviger shadow`: what restrictions in shadow would have denied.

use clap::{Args, Subcommand};

use super::connect;
use crate::cli::Common;
use crate::cli::connect::WorkspaceOption;
use crate::cli::failure::{Exit, Failure};
use crate::cli::io::Io;
use crate::cli::page::{Listing, PageArgs};
use crate::cli::{json, table};
use crate::grpc::proto::v1;

/// See what restrictions in shadow would have denied, and which keys are safe to enforce.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys update key_0198f0a1b2c3d4e5f60718293a4b5c6d --cidr 192.0.2.0/24 --network-mode shadow
  claviger shadow report
  claviger shadow reset key_0198f0a1b2c3d4e5f60718293a4b5c6d
  claviger keys update key_0198f0a1b2c3d4e5f60718293a4b5c6d --network-mode enforce")]
pub struct ShadowArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: ShadowCommand,
}

#[derive(Debug, Subcommand)]
enum ShadowCommand {
    /// Report of all keys with a restriction in shadow, or of one
    Report(ReportArgs),
    /// Forget what would have been denied to a key, to look at it afresh
    Reset(KeyArg),
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The key's id [none: of all]
    #[arg(default_value = "", hide_default_value = true)]
    key: String,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
struct KeyArg {
    /// The key's id
    key: String,
}

const LISTING: Listing<'static, v1::ShadowReport> = Listing {
    name: "reports",
    json: json::shadow_report,
    table: table::shadow_reports,
    beside: &|| None,
};

pub(in crate::cli) async fn run(args: ShadowArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let mut client = connect(&args.common, io).await?;
    match args.command {
        ShadowCommand::Report(report) => {
            let request = v1::GetShadowReportRequest {
                workspace: args.workspace.workspace,
                key_id: report.key,
                ..Default::default()
            };
            let fetch = async |page_size, page_token| {
                let request = v1::GetShadowReportRequest {
                    page_size,
                    page_token,
                    ..request.clone()
                };
                let answer = client.get_shadow_report(request).await?.into_inner();
                Ok((answer.reports, answer.next_page_token))
            };
            report.page.show(fetch, &LISTING, output, io).await?;
        }
        ShadowCommand::Reset(KeyArg { key }) => {
            let request = v1::ResetShadowReportRequest {
                key_id: key.clone(),
            };
            client.reset_shadow_report(request).await?;
            io.note(format_args!(
                "forgot what would have been denied to `{key}`"
            ));
        }
    }
    Ok(Exit::Ok)
}

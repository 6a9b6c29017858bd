//! `claviger check`: one decision, or many.

use std::path::PathBuf;

use clap::Args;

use super::connect::{EndpointOptions, OutputOptions, WorkspaceOption};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::names::PresentationName;
use super::options::Demand;
use super::{MAX_ANSWER, input, json, show, table};
use crate::grpc::proto::v1;

/// Ask for a decision about a credential, as a gateway would.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger check --credential-file token --scope orders:read
  claviger check --credential-file - --scope orders:read --source-ip 192.0.2.7 < token
  claviger check --credential-file token --scope orders:read -o json
  claviger check --batch requests.jsonl -o json        # a decision a line

A line of `--batch` is a request in the API's JSON: {\"credential\": {\"token\", \"presentation\"}, \"required_scopes\": […],
\"any_of_scopes\": […], \"subscription\", \"source_ip\"}; what it does not say is as the options say.

Exits with 0 on ALLOW and with 1 on DENY; with `--batch` with 0 only where all are allowed.")]
pub struct CheckArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(flatten)]
    output: OutputOptions,
    /// File with the credential; `-`: standard input [none: a request without one]
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// File with a request a line, as JSON; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "credential_file")]
    batch: Option<PathBuf>,
    /// How the credential travels
    #[arg(long, value_enum, default_value_t = PresentationName::Header)]
    presentation: PresentationName,
    #[command(flatten)]
    demand: Demand,
    /// The client's address
    #[arg(long, default_value = "", hide_default_value = true, value_name = "IP")]
    source_ip: String,
    /// Decide only with this revision or a later one applied
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "REVISION"
    )]
    at_least_revision: String,
}

mod batch;

type Client = v1::authorize_client::AuthorizeClient<tonic::transport::Channel>;

pub(super) async fn run(args: CheckArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let credential = match &args.credential_file {
        Some(path) => Some(v1::Credential {
            token: input::token(path, io)?.to_string(),
            presentation: args.presentation.number(),
        }),
        None => None,
    };
    let request = v1::CheckRequest {
        workspace: args.workspace.workspace,
        credential,
        source_ip: args.source_ip,
        at_least_revision: args.at_least_revision,
        ..args.demand.request()
    };
    let channel = args.endpoint.connect(io).await?;
    let mut client = Client::new(channel).max_decoding_message_size(MAX_ANSWER);
    if let Some(path) = &args.batch {
        let output = args.output.output;
        let defaults = batch::Defaults {
            request,
            presentation: args.presentation.number(),
        };
        return batch::run(&mut client, path, &defaults, &args.endpoint, output, io).await;
    }
    let answer = client
        .check(args.endpoint.request(request))
        .await?
        .into_inner();
    show(
        io,
        args.output.output,
        || json::check(&answer),
        |_| table::check(&answer),
    )?;
    // Anything but a clear ALLOW is none.
    Ok(if answer.decision == i32::from(v1::Decision::Allow) {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

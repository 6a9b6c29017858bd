//! `claviger explain`: why a request is allowed or denied.

use std::path::{Path, PathBuf};

use clap::Args;

use super::connect::WorkspaceOption;
use super::failure::{Exit, Failure};
use super::input::{self, When};
use super::io::Io;
use super::names::{PresentationName, SurfaceName};
use super::options::Demand;
use super::{Common, json, show, table};
use crate::grpc::proto::v1;

/// Ask why a request is allowed or denied, check by check. Nothing is recorded of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger explain key_0199… --scope orders:read --source-ip 192.0.2.7   # no token needed
  claviger explain --credential-file token --scope orders:read
  claviger explain --headers-file head.txt --path '/v1/orders?page=1' --scope orders:read --via envoy
  claviger explain key_0199… --scope orders:read --at 90d                # and in 90 days?

A headers file has a header a line, as `Name: value`; it may hold a key, so it is a file.

Exits with 0 on ALLOW and with 1 on DENY.")]
pub struct ExplainArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// The key to suppose, by its id: nobody has to know its token
    #[arg(value_name = "ID", conflicts_with = "credential_file")]
    id: Option<String>,
    /// Which secret of that key to suppose [default: one that is in force]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "ID",
        requires = "id"
    )]
    secret: String,
    /// File with the credential; `-`: standard input
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// File with the request's headers, from which the credential is taken; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "credential_file")]
    headers_file: Option<PathBuf>,
    /// The request's path with its query
    #[arg(long, value_name = "PATH", conflicts_with = "credential_file")]
    path: Option<String>,
    /// The request's method
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "METHOD"
    )]
    method: String,
    /// The request's host
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "HOST"
    )]
    host: String,
    /// How the credential travels [default: header]
    #[arg(long, value_enum, value_name = "PRESENTATION")]
    presentation: Option<PresentationName>,
    #[command(flatten)]
    demand: Demand,
    /// The client's address; with `--via envoy` the one that speaks to Envoy
    #[arg(long, default_value = "", hide_default_value = true, value_name = "IP")]
    source_ip: String,
    /// Through which door the request comes
    #[arg(long, value_enum, default_value_t = SurfaceName::Authorize, value_name = "DOOR")]
    via: SurfaceName,
    /// Decide as at this time: a moment, or how far ahead [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<When>,
    /// Explain only with this revision or a later one applied
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "REVISION"
    )]
    at_least_revision: String,
}

pub(super) async fn run(args: ExplainArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let presentation = args.presentation.map(PresentationName::number);
    let credential = match &args.credential_file {
        Some(path) => Some(v1::Credential {
            token: input::token(path, io)?.to_string(),
            presentation: presentation.unwrap_or_default(),
        }),
        None => None,
    };
    let headers = match &args.headers_file {
        Some(path) => headers(path, io)?,
        None => Vec::new(),
    };
    let http = (args.headers_file.is_some() || args.path.is_some()).then(|| v1::HttpRequest {
        headers,
        path: args.path.unwrap_or_else(|| "/".to_owned()),
        method: args.method,
        host: args.host,
    });
    let supposed = args.id.is_some();
    if presentation.is_some() && credential.is_none() && !supposed {
        return Err(Failure::usage(
            "`--presentation` is of a key or a credential that is given; of headers it is told by where the key stands",
        ));
    }
    let at_time = match args.at {
        Some(at) => at.ahead(io.now)?,
        None => None,
    };
    let request = v1::ExplainRequest {
        check: Some(v1::CheckRequest {
            workspace: args.workspace.workspace,
            credential,
            http,
            source_ip: args.source_ip,
            at_least_revision: args.at_least_revision,
            ..args.demand.request()
        }),
        key_id: args.id.unwrap_or_default(),
        secret_id: args.secret,
        presentation: presentation.filter(|_| supposed).unwrap_or_default(),
        surface: args.via.number(),
        at_time,
    };
    let connection = args.common.connect(io).await?;
    let mut client = v1::insights_client::InsightsClient::new(connection);
    let answer = client.explain(request).await?.into_inner();
    show(
        io,
        args.common.output.output,
        || json::explained(&answer),
        |look| table::explained(&answer, look),
    )?;
    // Anything but a clear ALLOW is none.
    let decision = answer.decision.map_or(0, |decision| decision.decision);
    Ok(if decision == i32::from(v1::Decision::Allow) {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// Reads headers, one a line.
fn headers(path: &Path, io: &mut Io<'_>) -> Result<Vec<v1::HttpHeader>, Failure> {
    let text = input::token(path, io)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Failure::usage("a line of the headers file is not `Name: value`"))?;
            Ok(v1::HttpHeader {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            })
        })
        .collect()
}

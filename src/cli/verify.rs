//! `claviger verify-index`: whether what a replica decides with is what the database holds.

use std::time::Duration;

use clap::Args;

use super::failure::{Exit, Failure};
use super::io::Io;
use super::{Common, json as to_json, show, table};
use crate::grpc::proto::v1;

/// How long it may take: as long as the server allows.
const LONGEST: Duration = Duration::from_secs(90);

/// Compare what a replica decides with to what the database holds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger verify-index                              # exits with 0 where they are equal, with 1 where they differ
  for replica in a:50051 b:50051 c:50051; do
    claviger verify-index --endpoint \"http://$replica\" || echo \"$replica differs\"
  done

The replica that answers reads everything from the database once, as at a start, and compares it with its index at the same
revision; decisions and changes go on. Needs `claviger:insights:read` of `system`.")]
pub struct VerifyIndexArgs {
    #[command(flatten)]
    common: Common,
}

/// Runs `verify-index`.
pub(super) async fn run(args: VerifyIndexArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut common = args.common;
    let output = common.output.output;
    common.endpoint.timeout = common.endpoint.timeout.max(LONGEST);
    let connection = common.connect(io).await?;
    let mut client = v1::fleet_client::FleetClient::new(connection);
    let answer = client.verify_index(v1::VerifyIndexRequest {}).await?;
    let answer = answer.into_inner();
    show(
        io,
        output,
        || to_json::verified(&answer),
        |look| table::verified(&answer, look),
    )?;
    let place = format!(
        "{} ({}) at {}",
        table::clean(&answer.name),
        table::clean(&answer.replica),
        table::clean(&answer.revision)
    );
    let differ: Vec<_> = answer.kinds.iter().filter(|kind| !kind.equal).collect();
    if answer.equal && differ.is_empty() {
        io.note(format_args!("{place} is what the database holds"));
        return Ok(Exit::Ok);
    }
    let names: Vec<_> = differ.iter().map(|kind| table::clean(&kind.kind)).collect();
    io.note(format_args!(
        "{place} is not what the database holds: {} differ; take this replica out of service, keep its log, and restart it",
        names.join(", ")
    ));
    Ok(Exit::Failed)
}

//! `claviger healthcheck`: does a server serve?

use std::time::Duration;

use clap::Args;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connect::{DEFAULT_ENDPOINT, endpoint_of, open};
use super::failure::{Exit, Failure};
use super::io::Io;
use crate::config::ListenAddress;

/// Ask a server whether it serves (`grpc.health.v1`). Exits with 0 if it does, else with 1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger healthcheck
  HEALTHCHECK CMD [\"claviger\", \"healthcheck\"]      # in a Dockerfile; follows CLAVIGER_LISTEN")]
pub struct HealthArgs {
    /// The server: http://ADDRESS:PORT or unix:PATH [default: where `CLAVIGER_LISTEN` says, else `http://127.0.0.1:50051`]
    #[arg(
        long,
        env = "CLAVIGER_ENDPOINT",
        hide_env_values = true,
        value_name = "ENDPOINT"
    )]
    endpoint: Option<String>,
    /// A gRPC service; empty: the server as a whole
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SERVICE"
    )]
    service: String,
    /// How long to wait
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    timeout: Duration,
}

/// Runs `healthcheck`. A server that can't be reached does not serve: 1 too.
pub async fn healthcheck(args: HealthArgs, io: &mut Io<'_>) -> Exit {
    match ask(args, io).await {
        Ok(ServingStatus::Serving) => match io.print("serving") {
            Ok(()) => Exit::Ok,
            Err(error) => Failure::from(error).report(io),
        },
        Ok(status) => {
            io.note(format_args!("not serving ({})", status.as_str_name()));
            Exit::Failed
        }
        Err(failure) => match failure.report(io) {
            Exit::Usage => Exit::Usage,
            _ => Exit::Failed,
        },
    }
}

async fn ask(args: HealthArgs, io: &Io<'_>) -> Result<ServingStatus, Failure> {
    let endpoint = args.endpoint.unwrap_or_else(|| {
        (io.environment)("CLAVIGER_LISTEN")
            .and_then(|text| text.to_str()?.parse::<ListenAddress>().ok())
            .map_or_else(
                || DEFAULT_ENDPOINT.to_owned(),
                |listen| endpoint_of(&listen),
            )
    });
    let channel = open(&endpoint, args.timeout).await?;
    let mut request = Request::new(HealthCheckRequest {
        service: args.service,
    });
    request.set_timeout(args.timeout);
    let answer = HealthClient::new(channel).check(request).await?;
    Ok(ServingStatus::try_from(answer.into_inner().status).unwrap_or(ServingStatus::Unknown))
}

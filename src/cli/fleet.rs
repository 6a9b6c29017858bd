//! `claviger fleet`: the replicas that decide from one database, and how far changes have come among them.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connect::{Connection, Output};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::{Common, json as to_json, show, table};
use crate::grpc::proto::v1;

type Client = v1::fleet_client::FleetClient<Connection>;

/// See the replicas, and wait for changes to be in force on all of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger fleet                          # who is there, and how far behind
  claviger fleet wait                     # exits with 0 once all that was changed so far is in force everywhere
  claviger fleet wait 0a1b2c3d.42 --for 30s
  claviger fleet forget rep_…             # it is gone for good: nothing waits for it any more

The list needs `claviger:insights:read`, `forget` needs `claviger:settings:write`, both of `system`; `wait` needs
`claviger:keys:read`.")]
pub struct FleetArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<FleetCommand>,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Wait until a change is in force on all replicas; exits with 1 where it is not
    Wait(WaitForArgs),
    /// Strike off a replica whose process has ended for good
    Forget(ForgetArgs),
}

/// `fleet wait`.
#[derive(Debug, Args)]
struct WaitForArgs {
    /// The change, as the call that made it answered [default: all that the server knows of]
    #[arg(default_value = "", hide_default_value = true)]
    revision: String,
    /// How long to wait, at most 60s
    #[arg(long = "for", default_value = "5s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    most: Duration,
}

/// `fleet forget`.
#[derive(Debug, Args)]
struct ForgetArgs {
    /// The replica's id, `rep_…`
    id: String,
}

/// Whether a change is to be waited for.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct WaitOption {
    /// Wait until it is in force on all replicas, for 5s or so long; exits with 1 where it is not
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5s",
        value_parser = humantime::parse_duration,
        value_name = "DURATION"
    )]
    wait: Option<Duration>,
}

impl WaitOption {
    /// How much longer the call may take.
    pub(super) fn longest(self) -> Duration {
        self.wait.unwrap_or_default()
    }

    /// What the request says.
    pub(super) fn request(self) -> Result<(i32, Option<prost_types::Duration>), Failure> {
        let Some(most) = self.wait else {
            return Ok((v1::Wait::Unspecified.into(), None));
        };
        let most = wire(most, "--wait")?;
        Ok((v1::Wait::AllReplicas.into(), Some(most)))
    }
}

fn wire(most: Duration, option: &str) -> Result<prost_types::Duration, Failure> {
    prost_types::Duration::try_from(most)
        .map_err(|_| Failure::usage(format!("`{option}` is too long; at most `60s`")))
}

/// Says how far a change has come, where that was asked for; the exit code of it.
pub(super) fn settle(propagation: Option<&v1::Propagation>, io: &mut Io<'_>) -> Exit {
    let Some(found) = propagation else {
        return Exit::Ok;
    };
    if found.complete {
        let total = found.total;
        match total {
            1 => io.note("in force on the only replica"),
            2 => io.note("in force on both replicas"),
            _ => io.note(format_args!("in force on all {total} replicas")),
        }
        return Exit::Ok;
    }
    let (applied, total) = (found.applied, found.total);
    if found.unconfirmed.is_empty() {
        io.note(format_args!(
            "in force on {applied} of {total}; who else is there can't be told now"
        ));
    }
    for missing in &found.unconfirmed {
        let seen = missing.last_seen.as_ref();
        let seen = seen.map_or_else(|| "never".to_owned(), |at| table::relative(io.now, at));
        io.note(format_args!(
            "in force on {applied} of {total}; not confirmed by {} ({}), last seen {seen}",
            table::clean(&missing.name),
            table::clean(&missing.replica),
        ));
    }
    Exit::Failed
}

/// Runs a `fleet` command.
pub(super) async fn run(args: FleetArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let FleetArgs {
        mut common,
        command,
    } = args;
    let output = common.output.output;
    if let Some(FleetCommand::Wait(wait)) = &command {
        common.endpoint.timeout = common.endpoint.timeout.saturating_add(wait.most);
    }
    let mut client = Client::new(common.connect(io).await?);
    match command {
        None => list(&mut client, output, io).await,
        Some(FleetCommand::Wait(args)) => wait(&mut client, args, output, io).await,
        Some(FleetCommand::Forget(args)) => {
            let request = v1::ForgetReplicaRequest { id: args.id };
            let id = request.id.clone();
            client.forget_replica(request).await?;
            if output == Output::Json {
                io.print(format_args!("{:#}", json!({})))?;
                io.out.flush()?;
            }
            io.note(format_args!("forgot `{}`", table::clean(&id)));
            Ok(Exit::Ok)
        }
    }
}

async fn list(client: &mut Client, output: Output, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let answer = client.list_replicas(v1::ListReplicasRequest {}).await?;
    let answer = answer.into_inner();
    let as_json = || {
        let replicas: Vec<Value> = answer.replicas.iter().map(to_json::replica).collect();
        json!({"replicas": replicas, "revision": answer.revision})
    };
    show(io, output, as_json, |look| {
        table::replicas(&answer.replicas, look)
    })?;
    for replica in &answer.replicas {
        warn(replica, io);
    }
    Ok(Exit::Ok)
}

/// Says what it means that nothing is heard of a replica.
fn warn(replica: &v1::Replica, io: &mut Io<'_>) {
    if replica.state() != v1::replica::State::Silent {
        return;
    }
    let seen = replica.last_seen.as_ref();
    let seen = seen.map_or_else(|| "never".to_owned(), |at| table::relative(io.now, at));
    let (name, id) = (table::clean(&replica.name), table::clean(&replica.id));
    let meaning = if replica.counts {
        "it may be deciding with what it last knew, and no change is complete without it; bring it back, or `claviger fleet \
         forget` it once its process has surely ended"
    } else {
        "it has stopped deciding, and nothing waits for it"
    };
    io.note(format_args!(
        "warning: {name} ({id}) was last seen {seen}: {meaning}"
    ));
}

async fn wait(
    client: &mut Client,
    args: WaitForArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let request = v1::WaitForRevisionRequest {
        revision: args.revision,
        wait_deadline: Some(wire(args.most, "--for")?),
    };
    let answer = client.wait_for_revision(request).await?.into_inner();
    if output == Output::Json {
        let propagation = answer.propagation.as_ref().map(to_json::propagation);
        let value = json!({"propagation": propagation, "revision": answer.revision});
        io.print(format_args!("{value:#}"))?;
    } else {
        io.print(table::clean(&answer.revision))?;
    }
    io.out.flush()?;
    let unsaid = v1::Propagation::default();
    Ok(settle(answer.propagation.as_ref().or(Some(&unsaid)), io))
}

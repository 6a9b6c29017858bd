//! `claviger audit`: who changed what, and changes as they are made.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::time::Instant;
use tonic::Status;

use super::connect::{Connection, Output, WorkspaceOption};
use super::failure::{Exit, Failure, may_pass};
use super::input::When;
use super::io::Io;
use super::page::{Listing, PageArgs};
use super::table::{Look, Widths};
use super::{Common, MAX_ANSWER, json as to_json, table};
use crate::grpc::proto::v1;

/// How long to wait before the first new attempt; each takes twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// See who changed what, or watch changes as they are made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger audit list --since 24h
  claviger audit list --id key_0199… -o json          # all that happened to a key, with before and after
  claviger audit list --actor key_0199… --action REVEAL
  claviger audit watch --kind KEY -o json             # a line for every message, until Ctrl-C
  claviger audit watch --after 5e2c81d0.1042          # all that came after a revision

`-w -` asks about all workspaces, with a key of `system`.")]
pub struct AuditArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// List entries of the audit log, newest first
    List(Box<ListArgs>),
    /// Show changes as they are made, in order; goes on by itself where the connection breaks
    Watch(WatchArgs),
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// Only this action, such as CREATE or REVEAL; can be repeated, or separated by commas
    #[arg(long = "action", value_delimiter = ',', value_name = "ACTION")]
    actions: Vec<String>,
    /// Only this kind of thing: KEY, WORKSPACE, SUBSCRIPTION, SCOPE, PRINCIPAL, ROUTE; can be repeated, or separated by commas
    #[arg(long = "kind", value_delimiter = ',', value_name = "KIND")]
    kinds: Vec<String>,
}

impl FilterArgs {
    fn upper(self) -> (Vec<String>, Vec<String>) {
        let upper = |names: Vec<String>| names.iter().map(|n| n.to_ascii_uppercase()).collect();
        (upper(self.actions), upper(self.kinds))
    }
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only what this one did: a key's id, or BOOTSTRAP, RECOVERY, SERVICE
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    actor: String,
    /// Only what happened to the thing of this id
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    id: String,
    /// From this time on: a moment, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Before this time: a moment, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Begin after this revision, or position of an earlier watch [default: now]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "POSITION"
    )]
    after: String,
    /// How long to try again when the server is not reached
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    retry_for: Duration,
}

type Client = v1::insights_client::InsightsClient<Connection>;

pub(super) async fn run(args: AuditArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let (output, workspace) = (args.common.output.output, args.workspace.workspace);
    match args.command {
        AuditCommand::List(list_args) => {
            let connection = args.common.connect(io).await?;
            let client = Client::new(connection).max_decoding_message_size(MAX_ANSWER);
            list(*list_args, workspace, client, output, io).await
        }
        AuditCommand::Watch(watch) => {
            let connection = args.common.connect_to_stream(io).await?;
            let client = Client::new(connection).max_decoding_message_size(MAX_ANSWER);
            let (actions, resource_kinds) = watch.filter.upper();
            let request = v1::WatchEventsRequest {
                workspace,
                after: watch.after,
                actions,
                resource_kinds,
            };
            let mut watching = Watching {
                client,
                request,
                output,
                widths: Widths::default(),
                retry_for: watch.retry_for,
            };
            watching.run(io).await
        }
    }
}

async fn list(
    args: ListArgs,
    workspace: String,
    mut client: Client,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let (actions, resource_kinds) = args.filter.upper();
    let moment = |when: Option<When>| match when {
        Some(when) => when.back(io.now),
        None => Ok(None),
    };
    let request = v1::ListAuditEventsRequest {
        workspace,
        actor: args.actor,
        actions,
        resource_kinds,
        resource_id: args.id,
        start_time: moment(args.since)?,
        end_time: moment(args.until)?,
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = v1::ListAuditEventsRequest {
            page_size,
            page_token,
            ..request.clone()
        };
        let answer = client.list_audit_events(request).await?.into_inner();
        Ok((answer.events, answer.next_page_token))
    };
    let listing = Listing {
        name: "events",
        json: to_json::audit_event,
        table: table::audit_events,
        beside: &|| None,
    };
    args.page.show(fetch, &listing, output, io).await?;
    Ok(Exit::Ok)
}

/// A watch, over as many connections as it takes.
struct Watching {
    client: Client,
    /// What to ask for when it goes on: behind all that was shown.
    request: v1::WatchEventsRequest,
    output: Output,
    widths: Widths,
    retry_for: Duration,
}

impl Watching {
    async fn run(&mut self, io: &mut Io<'_>) -> Result<Exit, Failure> {
        let mut interrupt = std::mem::replace(&mut io.interrupt, Box::pin(std::future::pending()));
        let mut pause = FIRST_PAUSE;
        let mut heard = Instant::now();
        loop {
            let before = self.request.after.clone();
            let lost = tokio::select! {
                biased;
                () = &mut interrupt => None,
                lost = self.follow(&mut heard, io) => Some(lost?),
            };
            let Some(status) = lost else {
                return Ok(self.interrupted(io));
            };
            if self.request.after != before {
                pause = FIRST_PAUSE;
            }
            if !may_pass(&status) {
                return Err(status.into());
            }
            if Instant::now() + pause > heard + self.retry_for {
                return Err(self.hint(status.into()));
            }
            let again = humantime::format_duration(pause);
            let cause = Failure::from(status);
            io.note(format_args!("{}; watching on in {again}", cause.message()));
            if tokio::time::timeout(pause, &mut interrupt).await.is_ok() {
                return Ok(self.interrupted(io));
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Shows what comes, until the stream is lost.
    async fn follow(&mut self, heard: &mut Instant, io: &mut Io<'_>) -> Result<Status, Failure> {
        let mut messages = match self.client.watch_events(self.request.clone()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Ok(status),
        };
        loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    *heard = Instant::now();
                    self.show(&message, io)?;
                    self.request.after = message.position;
                }
                Ok(None) => return Ok(Status::unavailable("the server ended the stream")),
                Err(status) => return Ok(status),
            }
        }
    }

    fn show(&self, message: &v1::WatchEventsResponse, io: &mut Io<'_>) -> Result<(), Failure> {
        if message.events.is_empty() {
            return Ok(());
        }
        match self.output {
            Output::Json => {
                let events: Vec<_> = message.events.iter().map(to_json::audit_event).collect();
                io.print(json!({ "events": events, "position": message.position }))?;
            }
            Output::Table => {
                let look = Look::of(io).in_pages(&self.widths);
                let text = table::audit_events(&message.events, look);
                io.print(text)?;
            }
        }
        io.out.flush()?;
        Ok(())
    }

    fn interrupted(&self, io: &mut Io<'_>) -> Exit {
        if !self.request.after.is_empty() {
            io.note(format_args!("to go on: `--after {}`", self.request.after));
        }
        Exit::Interrupted
    }

    fn hint(&self, failure: Failure) -> Failure {
        if self.request.after.is_empty() {
            return failure;
        }
        failure.hint(format!("to go on: `--after {}`", self.request.after))
    }
}

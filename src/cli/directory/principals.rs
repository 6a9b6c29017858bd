//! `claviger principals`: what can be typed, and what is done but for `sync`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::run::{Kind, connect, given, mask};
use super::{DeleteArgs, Guard, IdArg, sync};
use crate::cli::Common;
use crate::cli::connect::WorkspaceOption;
use crate::cli::failure::{Exit, Failure};
use crate::cli::io::Io;
use crate::cli::options::Repeat;
use crate::cli::page::PageArgs;
use crate::cli::{json as to_json, table};
use crate::grpc::proto::v1;

/// Manage principals: users and machine accounts, synchronised from where they are kept. A key that is bound to one opens no
/// more than that one may.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger principals sync users.csv                       # those in the file, as they are there; no others
  claviger principals sync users.csv --replace-all         # all there are: who is gone is disabled
  claviger principals set joe@example.com --scope orders:read,orders:write
  claviger principals set joe@example.com --enabled false  # stops all keys of Joe at once
  claviger keys create joes --principal joe@example.com")]
pub struct PrincipalsArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: PrincipalsCommand,
}

impl PrincipalsArgs {
    /// Whether the command takes `--request-id`.
    pub(in crate::cli) fn is_repeatable(&self) -> bool {
        use PrincipalsCommand::{Delete, Set};
        matches!(self.command, Set(_) | Delete(_))
    }
}

#[derive(Debug, Subcommand)]
enum PrincipalsCommand {
    /// Show a principal
    Get(IdArg),
    /// List principals
    List(ListArgs),
    /// Make a principal, or change the settings that are given
    Set(SetArgs),
    /// Delete a principal that no key is bound to
    Delete(DeleteArgs),
    /// Bring principals in line with a file
    Sync(SyncArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Part of the id or the name, in any case
    #[arg(
        long = "filter",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    name: String,
    /// Only those that are switched on, or off
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
struct SetArgs {
    /// Its id, as where it comes from: 1 to 128 visible characters without comma
    id: String,
    /// A name for people
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// Switch it on or off
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// What it may do, in place of what it could; can be repeated, or separated by commas
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// It may do nothing
    #[arg(long, conflicts_with = "scopes")]
    no_scopes: bool,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    request: Repeat,
}

/// `principals sync`.
#[derive(Debug, Args)]
#[command(after_help = "\
Formats:
  csv    the first line names the columns: id, display_name, enabled, scopes (separated by `;` or spaces)
  jsonl  one object a line, {\"id\", \"display_name\", \"enabled\", \"scopes\": [\"…\"]}

What the file does not say of a principal is its default: switched on, no name, no permissions. Nothing is applied unless the
whole file could be read and sent. What is so already is not changed: the same file again changes nothing.")]
pub(super) struct SyncArgs {
    /// The file; `-`: standard input
    pub(super) file: PathBuf,
    /// What the file is written in [default: by its name and beginning]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// The file has all there are: disable who is not in it
    #[arg(long)]
    pub(super) replace_all: bool,
    /// Although more than a tenth of the principals would be disabled
    #[arg(long, requires = "replace_all")]
    pub(super) force: bool,
    /// Check everything and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table, its columns named in the first line
    Csv,
    /// Objects, one a line
    Jsonl,
}

const PRINCIPAL: Kind<v1::Principal> = Kind {
    one: "principal",
    many: "principals",
    json: to_json::principal,
    table: table::principals,
};

/// Runs a `principals` command.
pub(in crate::cli) async fn principals(
    args: PrincipalsArgs,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let workspace = args.workspace.workspace;
    if let PrincipalsCommand::Sync(sync) = args.command {
        return sync::run(sync, &args.common, workspace, io).await;
    }
    let mut client = connect(&args.common, io).await?;
    match args.command {
        PrincipalsCommand::Get(IdArg { id }) => {
            let request = v1::GetPrincipalRequest { workspace, id };
            let answer = client.get_principal(request).await?.into_inner();
            PRINCIPAL.show(answer.principal, None, output, io)?;
        }
        PrincipalsCommand::List(args) => {
            let filter = v1::PrincipalFilter {
                name_contains: args.name,
                enabled: args.enabled,
            };
            let fetch = async |page_size, page_token| {
                let request = v1::ListPrincipalsRequest {
                    page_size,
                    page_token,
                    workspace: workspace.clone(),
                    filter: Some(filter.clone()),
                };
                let answer = client.list_principals(request).await?.into_inner();
                Ok((answer.principals, answer.next_page_token))
            };
            let listing = PRINCIPAL.listing();
            args.page.show(fetch, &listing, output, io).await?;
        }
        PrincipalsCommand::Set(args) => {
            let mut paths = Vec::new();
            given(&mut paths, args.display_name.is_some(), "display_name");
            given(&mut paths, args.enabled.is_some(), "enabled");
            given(
                &mut paths,
                args.no_scopes || !args.scopes.is_empty(),
                "scopes",
            );
            let principal = v1::Principal {
                workspace,
                id: args.id,
                display_name: args.display_name.unwrap_or_default(),
                enabled: args.enabled,
                scopes: args.scopes,
                etag: args.guard.etag,
                ..Default::default()
            };
            let request = v1::UpsertPrincipalRequest {
                principal: Some(principal),
                // Nothing given: that it is there is all that is wanted.
                update_mask: (!paths.is_empty()).then(|| mask(&paths)).transpose()?,
                request_id: args.request.request_id,
                ..Default::default()
            };
            let answer = client.upsert_principal(request).await?.into_inner();
            PRINCIPAL.show(answer.principal, Some(&answer.revision), output, io)?;
        }
        PrincipalsCommand::Delete(DeleteArgs { id, guard, request }) => {
            let request = v1::DeletePrincipalRequest {
                workspace,
                id: id.clone(),
                etag: guard.etag,
                request_id: request.request_id,
                ..Default::default()
            };
            let answer = client.delete_principal(request).await?.into_inner();
            PRINCIPAL.deleted(&id, &answer.revision, output, io)?;
        }
        // Done above.
        PrincipalsCommand::Sync(_) => {}
    }
    Ok(Exit::Ok)
}

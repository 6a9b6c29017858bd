//! `claviger keys`: what is done.

use std::cell::RefCell;
use std::time::Duration;

use prost_types::FieldMask;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    ChangeArgs, Clear, KeysArgs, KeysCommand, ListArgs, LookupArgs, SettingArgs, SwitchArgs,
    UpdateArgs, issue,
};
use crate::cli::connect::{Connection, Output};
use crate::cli::failure::{Exit, Failure};
use crate::cli::fleet::{WaitOption, settle};
use crate::cli::io::Io;
use crate::cli::page::Listing;
use crate::cli::table::Look;
use crate::cli::{MAX_ANSWER, input, json as to_json, show, table};
use crate::grpc::proto::v1;

pub(super) type Client = v1::key_admin_client::KeyAdminClient<Connection>;

/// Runs a `keys` command.
pub(in crate::cli) async fn run(args: KeysArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let KeysArgs {
        mut common,
        workspace,
        command,
    } = args;
    // What is waited for after the change comes on top of what the call itself may take.
    let longest = command.wait().map_or(Duration::ZERO, WaitOption::longest);
    common.endpoint.timeout = common.endpoint.timeout.saturating_add(longest);
    let workspace = workspace.workspace;
    let output = common.output.output;
    let mut client = Client::new(common.connect(io).await?).max_decoding_message_size(MAX_ANSWER);
    match command {
        KeysCommand::Create(args) => {
            issue::create(&mut client, workspace, *args, output, io).await?
        }
        KeysCommand::Get(args) => {
            let answer = client.get_key(v1::GetKeyRequest { id: args.id }).await?;
            let key = answer.into_inner().key.unwrap_or_default();
            show(
                io,
                output,
                || json!({"key": to_json::key(&key)}),
                |look| table::key(&key, look),
            )?;
        }
        KeysCommand::List(args) => list(&mut client, workspace, *args, output, io).await?,
        KeysCommand::Update(args) => return update(&mut client, *args, output, io).await,
        KeysCommand::Enable(args) => return switch(&mut client, args, true, output, io).await,
        KeysCommand::Disable(args) => return switch(&mut client, args, false, output, io).await,
        KeysCommand::Regenerate(args) => {
            return issue::regenerate(&mut client, *args, output, io).await;
        }
        KeysCommand::Revoke(args) => {
            let (wait, wait_deadline) = args.wait.request()?;
            let request = v1::RevokeSecretRequest {
                key_id: args.id,
                secret_id: args.secret_id,
                reason: args.reason.map_or(0, super::RevocationName::number),
                etag: args.guards.etag,
                request_id: args.guards.request_id,
                wait,
                wait_deadline,
            };
            let answer = client.revoke_secret(request).await?.into_inner();
            let changed = Changed {
                key: answer.key,
                revision: answer.revision,
                propagation: answer.propagation,
            };
            return changed.show("revoked a secret of", output, io);
        }
        KeysCommand::Reveal(args) => {
            let request = v1::RevealSecretRequest {
                key_id: args.id,
                secret_id: args.secret_id,
            };
            let answer = client.reveal_secret(request).await?.into_inner();
            let token = answer.token.unwrap_or_default();
            show(
                io,
                output,
                || json!({"token": to_json::issued(&token), "revision": answer.revision}),
                |_| token.token.clone(),
            )?;
        }
        KeysCommand::Acknowledge(args) => {
            let request = v1::AcknowledgeSecretRequest {
                key_id: args.id,
                secret_id: args.secret_id,
            };
            let answer = client.acknowledge_secret(request).await?.into_inner();
            let changed = Changed {
                key: answer.key,
                revision: answer.revision,
                propagation: None,
            };
            return changed.show("acknowledged", output, io);
        }
        KeysCommand::Delete(args) => {
            let (wait, wait_deadline) = args.wait.request()?;
            let request = v1::DeleteKeyRequest {
                id: args.id,
                etag: args.guards.etag,
                purge: args.purge,
                request_id: args.guards.request_id,
                wait,
                wait_deadline,
            };
            let answer = client.delete_key(request).await?.into_inner();
            let done = if args.purge { "purged" } else { "deleted" };
            let changed = Changed {
                key: answer.key,
                revision: answer.revision,
                propagation: answer.propagation,
            };
            return changed.show(done, output, io);
        }
        KeysCommand::Undelete(args) => {
            let request = v1::UndeleteKeyRequest {
                id: args.id,
                etag: args.guards.etag,
                request_id: args.guards.request_id,
            };
            let answer = client.undelete_key(request).await?.into_inner();
            let changed = Changed {
                key: answer.key,
                revision: answer.revision,
                propagation: None,
            };
            return changed.show("brought back", output, io);
        }
        KeysCommand::Lookup(args) => lookup(&mut client, workspace, args, output, io).await?,
    }
    Ok(Exit::Ok)
}

async fn list(
    client: &mut Client,
    workspace: String,
    args: ListArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let expire_before = args.expires_before.map(|w| w.ahead(io.now)).transpose()?;
    let unused_since = args.unused_since.map(|w| w.back(io.now)).transpose()?;
    let filter = v1::KeyFilter {
        name_contains: args.name,
        states: args
            .states
            .into_iter()
            .map(super::StateName::number)
            .collect(),
        scope: args.scope,
        subscription: args.subscription,
        principal: args.principal,
        label: args.label,
        expire_before: expire_before.flatten(),
        unused_since: unused_since.flatten(),
    };
    let view = if args.with_tokens {
        v1::KeyView::WithTokens
    } else {
        v1::KeyView::Unspecified
    };
    // Beside the names of their keys: the answer has them apart.
    let tokens = RefCell::new(Vec::new());
    let page = async |page_size, page_token| {
        let request = v1::ListKeysRequest {
            workspace: workspace.clone(),
            filter: Some(filter.clone()),
            order_by: args.order_by.clone(),
            page_size,
            page_token,
            view: view.into(),
        };
        let answer = client.list_keys(request).await?.into_inner();
        let rows = answer
            .tokens
            .iter()
            .map(|token| table::token_row(&answer.keys, token));
        let rows: Vec<_> = rows.collect();
        tokens
            .borrow_mut()
            .extend(answer.tokens.into_iter().zip(rows));
        Ok((answer.keys, answer.next_page_token))
    };
    let beside = || {
        let tokens = tokens.borrow();
        let list: Vec<_> = tokens
            .iter()
            .map(|(token, _)| to_json::issued(token))
            .collect();
        Some(("tokens", list.into()))
    };
    let listing = Listing {
        name: "keys",
        json: to_json::key,
        table: table::keys,
        beside: &beside,
    };
    args.page.show(page, &listing, output, io).await?;
    let rows: Vec<_> = tokens.borrow_mut().drain(..).map(|(_, row)| row).collect();
    if output == Output::Table && !rows.is_empty() {
        let text = table::tokens(rows, Look::of(io));
        io.print(format_args!("\n{text}"))?;
        io.out.flush()?;
    }
    Ok(())
}

async fn update(
    client: &mut Client,
    args: UpdateArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let (wait, wait_deadline) = args.wait.request()?;
    let mut key = v1::Key {
        id: args.id,
        etag: args.guards.etag,
        ..Default::default()
    };
    let mut paths = apply(args.settings, &mut key, io.now)?;
    if let Some(name) = args.display_name {
        key.display_name = name;
        paths.push("display_name");
    }
    for cleared in args.clear {
        let path = match cleared {
            Clear::Description => "description",
            Clear::Scopes => "scopes",
            Clear::Subscriptions => "subscriptions",
            Clear::Principal => "principal",
            Clear::Cidrs => "allowed_cidrs",
            Clear::Labels => "labels",
            Clear::PostbackUrl => "postback_url",
        };
        if paths.contains(&path) {
            return Err(Failure::usage(format!(
                "`--clear` empties `{path}`, and another option sets it; choose one"
            )));
        }
        paths.push(path);
        // Bound to nobody, it can't have its scopes from there.
        if cleared == Clear::Principal && !paths.contains(&"scope_source") {
            paths.push("scope_source");
        }
    }
    if paths.is_empty() {
        return Err(Failure::usage("there is nothing to change")
            .hint("`claviger keys update --help` lists the settings"));
    }
    let request = v1::UpdateKeyRequest {
        key: Some(key),
        update_mask: Some(mask(&paths)),
        request_id: args.guards.request_id,
        validate_only: args.validate_only,
        wait,
        wait_deadline,
    };
    let answer = client.update_key(request).await?.into_inner();
    let done = if args.validate_only {
        "valid; nothing was changed in"
    } else {
        "updated"
    };
    Changed::from(answer).show(done, output, io)
}

async fn switch(
    client: &mut Client,
    args: SwitchArgs,
    enabled: bool,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let (wait, wait_deadline) = args.wait.request()?;
    let ChangeArgs { id, guards } = args.change;
    let request = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id,
            enabled: Some(enabled),
            etag: guards.etag,
            ..Default::default()
        }),
        update_mask: Some(mask(&["enabled"])),
        request_id: guards.request_id,
        validate_only: false,
        wait,
        wait_deadline,
    };
    let answer = client.update_key(request).await?.into_inner();
    let done = if enabled { "enabled" } else { "disabled" };
    Changed::from(answer).show(done, output, io)
}

async fn lookup(
    client: &mut Client,
    workspace: String,
    args: LookupArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let token = match &args.credential_file {
        Some(path) => input::token(path, io)?.to_string(),
        None => String::new(),
    };
    let request = v1::LookupKeyRequest {
        workspace,
        token,
        sha256_hex: args.sha256.unwrap_or_default(),
    };
    let answer = client.lookup_key(request).await?.into_inner();
    let key = answer.key.unwrap_or_default();
    show(
        io,
        output,
        || json!({"key": to_json::key(&key), "secret_id": answer.secret_id}),
        |look| {
            format!(
                "it is `{}` of this key\n\n{}",
                answer.secret_id,
                table::key(&key, look)
            )
        },
    )
}

/// A changed key.
struct Changed {
    key: Option<v1::Key>,
    revision: String,
    /// How far it has come, where that was waited for.
    propagation: Option<v1::Propagation>,
}

impl From<v1::UpdateKeyResponse> for Changed {
    fn from(answer: v1::UpdateKeyResponse) -> Self {
        Self {
            key: answer.key,
            revision: answer.revision,
            propagation: answer.propagation,
        }
    }
}

impl Changed {
    fn show(self, done: &str, output: Output, io: &mut Io<'_>) -> Result<Exit, Failure> {
        let key = self.key.unwrap_or_default();
        if output == Output::Table {
            io.note(format_args!(
                "{done} `{}` ({})",
                key.id,
                table::clean(&key.display_name)
            ));
        }
        let propagation = self.propagation.as_ref();
        let as_json = || {
            json!({
                "key": to_json::key(&key),
                "revision": self.revision,
                "propagation": propagation.map(to_json::propagation),
            })
        };
        show(io, output, as_json, |look| table::key(&key, look))?;
        Ok(settle(propagation, io))
    }
}

/// Puts the settings that were given into the key, and returns their paths.
pub(super) fn apply(
    args: SettingArgs,
    key: &mut v1::Key,
    now: OffsetDateTime,
) -> Result<Vec<&'static str>, Failure> {
    let mut paths = Vec::new();
    if let Some(description) = args.description {
        key.description = description;
        paths.push("description");
    }
    for (values, field, path) in [
        (args.scopes, &mut key.scopes, "scopes"),
        (args.subscriptions, &mut key.subscriptions, "subscriptions"),
        (args.cidrs, &mut key.allowed_cidrs, "allowed_cidrs"),
    ] {
        if !values.is_empty() {
            *field = values;
            paths.push(path);
        }
    }
    if let Some(principal) = args.principal {
        key.principal = principal;
        paths.push("principal");
    }
    if let Some(source) = args.scope_source {
        key.scope_source = source.number();
        paths.push("scope_source");
    }
    if let Some(when) = args.expires {
        key.expire_time = when.ahead(now)?;
        paths.push("expire_time");
    }
    if !args.labels.is_empty() {
        key.labels = args.labels.into_iter().collect();
        paths.push("labels");
    }
    if let Some(url) = args.postback_url {
        key.postback_url = url;
        paths.push("postback_url");
    }
    if let Some(off) = args.off_the_record {
        key.off_the_record = off;
        paths.push("off_the_record");
    }
    let mut enforcement = v1::Enforcement::default();
    let before = paths.len();
    for (mode, field, path) in [
        (
            args.network_mode,
            &mut enforcement.network,
            "enforcement.network",
        ),
        (
            args.presentation_mode,
            &mut enforcement.presentation,
            "enforcement.presentation",
        ),
        (
            args.subscription_mode,
            &mut enforcement.subscription,
            "enforcement.subscription",
        ),
        (
            args.scope_mode,
            &mut enforcement.scopes,
            "enforcement.scopes",
        ),
    ] {
        if let Some(mode) = mode {
            *field = mode.number();
            paths.push(path);
        }
    }
    if paths.len() > before {
        key.enforcement = Some(enforcement);
    }
    Ok(paths)
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
    }
}

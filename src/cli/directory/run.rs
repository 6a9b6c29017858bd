//! `claviger workspaces`, `subscriptions` and `scopes`: what is done.

use prost_types::FieldMask;
use serde_json::{Value, json};

use super::{
    DeleteArgs, ScopeSettings, ScopesArgs, ScopesCommand, SubscriptionsArgs, SubscriptionsCommand,
    WorkspacesArgs, WorkspacesCommand,
};
use crate::cli::connect::{Connection, Output};
use crate::cli::failure::{Exit, Failure};
use crate::cli::io::Io;
use crate::cli::names::PresentationName;
use crate::cli::page::Listing;
use crate::cli::table::Look;
use crate::cli::{Common, MAX_ANSWER, json as to_json, names, show, table};
use crate::grpc::proto::v1;

pub(super) type Client = v1::directory_client::DirectoryClient<Connection>;

pub(super) async fn connect(common: &Common, io: &Io<'_>) -> Result<Client, Failure> {
    Ok(Client::new(common.connect(io).await?).max_decoding_message_size(MAX_ANSWER))
}

/// How a kind of thing is shown.
pub(super) struct Kind<T> {
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    pub(super) json: fn(&T) -> Value,
    pub(super) table: fn(&[T], Look<'_>) -> String,
}

const WORKSPACE: Kind<v1::Workspace> = Kind {
    one: "workspace",
    many: "workspaces",
    json: to_json::workspace,
    table: table::workspaces,
};

const SUBSCRIPTION: Kind<v1::Subscription> = Kind {
    one: "subscription",
    many: "subscriptions",
    json: to_json::subscription,
    table: table::subscriptions,
};

const SCOPE: Kind<v1::Scope> = Kind {
    one: "scope",
    many: "scopes",
    json: to_json::scope,
    table: table::scopes,
};

impl<T: Default> Kind<T> {
    /// Shows one; `revision` where it was changed.
    pub(super) fn show(
        &self,
        item: Option<T>,
        revision: Option<&str>,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        let item = item.unwrap_or_default();
        let mut value = json!({ self.one: (self.json)(&item) });
        if let (Some(object), Some(revision)) = (value.as_object_mut(), revision) {
            object.insert("revision".to_owned(), revision.into());
        }
        show(io, output, || value, |look| (self.table)(&[item], look))
    }

    /// How a list of them is written.
    pub(super) fn listing(&self) -> Listing<'static, T> {
        Listing {
            name: self.many,
            json: self.json,
            table: self.table,
            beside: &|| None,
        }
    }

    pub(super) fn deleted(
        &self,
        id: &str,
        revision: &str,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        match output {
            Output::Json => show(
                io,
                output,
                || json!({ "revision": revision }),
                |_| String::new(),
            ),
            Output::Table => {
                io.note(format_args!("deleted {} `{id}`", self.one));
                Ok(())
            }
        }
    }
}

pub(in crate::cli) async fn workspaces(
    args: WorkspacesArgs,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let mut client = connect(&args.common, io).await?;
    match args.command {
        WorkspacesCommand::Create(args) => {
            let (settings, paths) = args.settings.settings().map_err(Failure::usage)?;
            let workspace = v1::Workspace {
                id: args.id,
                display_name: args.display_name,
                enabled: args.disabled.then_some(false),
                settings: (!paths.is_empty()).then_some(settings),
                ..Default::default()
            };
            let request = v1::CreateWorkspaceRequest {
                workspace: Some(workspace),
                request_id: args.request.request_id,
            };
            let answer = client.create_workspace(request).await?.into_inner();
            WORKSPACE.show(answer.workspace, Some(&answer.revision), output, io)?;
        }
        WorkspacesCommand::Get(args) => {
            let answer = client
                .get_workspace(v1::GetWorkspaceRequest { id: args.id })
                .await?;
            let workspace = answer.into_inner().workspace.unwrap_or_default();
            show(
                io,
                output,
                || json!({ "workspace": to_json::workspace(&workspace) }),
                |look| table::workspace(&workspace, look),
            )?;
        }
        WorkspacesCommand::List(page) => {
            let fetch = async |page_size, page_token| {
                let request = v1::ListWorkspacesRequest {
                    page_size,
                    page_token,
                };
                let answer = client.list_workspaces(request).await?.into_inner();
                Ok((answer.workspaces, answer.next_page_token))
            };
            page.show(fetch, &WORKSPACE.listing(), output, io).await?;
        }
        WorkspacesCommand::Update(args) => {
            let (settings, mut paths) = args.settings.settings().map_err(Failure::usage)?;
            let settings = (!paths.is_empty()).then_some(settings);
            given(&mut paths, args.display_name.is_some(), "display_name");
            given(&mut paths, args.enabled.is_some(), "enabled");
            let workspace = v1::Workspace {
                id: args.id,
                display_name: args.display_name.unwrap_or_default(),
                enabled: args.enabled,
                settings,
                etag: args.guard.etag,
                ..Default::default()
            };
            let request = v1::UpdateWorkspaceRequest {
                workspace: Some(workspace),
                update_mask: Some(mask(&paths)?),
                request_id: args.request.request_id,
                acknowledge_warnings: args.acknowledge_warnings,
                ..Default::default()
            };
            let answer = client.update_workspace(request).await?.into_inner();
            WORKSPACE.show(answer.workspace, Some(&answer.revision), output, io)?;
        }
        WorkspacesCommand::Delete(DeleteArgs { id, guard, request }) => {
            let request = v1::DeleteWorkspaceRequest {
                id: id.clone(),
                etag: guard.etag,
                request_id: request.request_id,
                ..Default::default()
            };
            let answer = client.delete_workspace(request).await?.into_inner();
            WORKSPACE.deleted(&id, &answer.revision, output, io)?;
        }
    }
    Ok(Exit::Ok)
}

pub(in crate::cli) async fn subscriptions(
    args: SubscriptionsArgs,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let mut client = connect(&args.common, io).await?;
    let workspace = args.workspace.workspace;
    match args.command {
        SubscriptionsCommand::Create(args) => {
            let subscription = v1::Subscription {
                workspace,
                id: args.id,
                display_name: args.display_name,
                enabled: args.disabled.then_some(false),
                ..Default::default()
            };
            let provision_key = args.provision.then(|| v1::ProvisionedKey {
                key: Some(v1::Key {
                    scopes: args.scopes,
                    ..Default::default()
                }),
                ..Default::default()
            });
            let request = v1::CreateSubscriptionRequest {
                subscription: Some(subscription),
                request_id: args.request.request_id,
                provision_key,
            };
            let answer = client.create_subscription(request).await?.into_inner();
            provisioned(answer, output, io)?;
        }
        SubscriptionsCommand::Get(args) => {
            let request = v1::GetSubscriptionRequest {
                workspace,
                id: args.id,
            };
            let answer = client.get_subscription(request).await?.into_inner();
            SUBSCRIPTION.show(answer.subscription, None, output, io)?;
        }
        SubscriptionsCommand::List(page) => {
            let fetch = async |page_size, page_token| {
                let workspace = workspace.clone();
                let request = v1::ListSubscriptionsRequest {
                    page_size,
                    page_token,
                    workspace,
                };
                let answer = client.list_subscriptions(request).await?.into_inner();
                Ok((answer.subscriptions, answer.next_page_token))
            };
            page.show(fetch, &SUBSCRIPTION.listing(), output, io)
                .await?;
        }
        SubscriptionsCommand::Update(args) => {
            let mut paths = Vec::new();
            given(&mut paths, args.display_name.is_some(), "display_name");
            given(&mut paths, args.enabled.is_some(), "enabled");
            let subscription = v1::Subscription {
                workspace,
                id: args.id,
                display_name: args.display_name.unwrap_or_default(),
                enabled: args.enabled,
                etag: args.guard.etag,
                ..Default::default()
            };
            let request = v1::UpdateSubscriptionRequest {
                subscription: Some(subscription),
                update_mask: Some(mask(&paths)?),
                request_id: args.request.request_id,
                ..Default::default()
            };
            let answer = client.update_subscription(request).await?.into_inner();
            SUBSCRIPTION.show(answer.subscription, Some(&answer.revision), output, io)?;
        }
        SubscriptionsCommand::Delete(DeleteArgs { id, guard, request }) => {
            let request = v1::DeleteSubscriptionRequest {
                workspace,
                id: id.clone(),
                etag: guard.etag,
                request_id: request.request_id,
                ..Default::default()
            };
            let answer = client.delete_subscription(request).await?.into_inner();
            SUBSCRIPTION.deleted(&id, &answer.revision, output, io)?;
        }
    }
    Ok(Exit::Ok)
}

/// Shows a subscription that was made, and the tokens of the key that came with it: nowhere else are they shown again.
fn provisioned(
    answer: v1::CreateSubscriptionResponse,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let Some(key) = &answer.key else {
        return SUBSCRIPTION.show(answer.subscription, Some(&answer.revision), output, io);
    };
    if output == Output::Json {
        let value = json!({
            "subscription": answer.subscription.as_ref().map(to_json::subscription),
            "key": to_json::key(key),
            "tokens": answer.tokens.iter().map(to_json::issued).collect::<Vec<_>>(),
            "token_withheld": answer.token_withheld,
            "revision": answer.revision,
        });
        return show(io, output, || value, |_| String::new());
    }
    SUBSCRIPTION.show(answer.subscription, Some(&answer.revision), output, io)?;
    io.print(format_args!("\nkey `{}`", key.id))?;
    for token in &answer.tokens {
        io.print(format_args!(
            "{:<10} {}",
            names::slot(token.slot),
            token.token
        ))?;
    }
    io.out.flush()?;
    if answer.token_withheld {
        io.note("this call was made before, and a token of it is no longer to be had");
    } else {
        io.note("save the tokens now; they are not shown again");
    }
    Ok(())
}

pub(in crate::cli) async fn scopes(args: ScopesArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let mut client = connect(&args.common, io).await?;
    let workspace = args.workspace.workspace;
    match args.command {
        ScopesCommand::Create(args) => {
            let (scope, _) = scope(workspace, args.name, args.settings);
            let request = v1::CreateScopeRequest {
                scope: Some(scope),
                request_id: args.request.request_id,
            };
            let answer = client.create_scope(request).await?.into_inner();
            SCOPE.show(answer.scope, Some(&answer.revision), output, io)?;
        }
        ScopesCommand::Get(args) => {
            let request = v1::GetScopeRequest {
                workspace,
                name: args.id,
            };
            let answer = client.get_scope(request).await?.into_inner();
            SCOPE.show(answer.scope, None, output, io)?;
        }
        ScopesCommand::List(page) => {
            let fetch = async |page_size, page_token| {
                let workspace = workspace.clone();
                let request = v1::ListScopesRequest {
                    page_size,
                    page_token,
                    workspace,
                };
                let answer = client.list_scopes(request).await?.into_inner();
                Ok((answer.scopes, answer.next_page_token))
            };
            page.show(fetch, &SCOPE.listing(), output, io).await?;
        }
        ScopesCommand::Update(args) => {
            let (mut scope, mut paths) = scope(workspace, args.name, args.settings);
            given(&mut paths, args.no_presentations, "presentations");
            given(&mut paths, args.no_implies, "implies");
            scope.etag = args.guard.etag;
            let request = v1::UpdateScopeRequest {
                scope: Some(scope),
                update_mask: Some(mask(&paths)?),
                request_id: args.request.request_id,
                ..Default::default()
            };
            let answer = client.update_scope(request).await?.into_inner();
            SCOPE.show(answer.scope, Some(&answer.revision), output, io)?;
        }
        ScopesCommand::Delete(DeleteArgs { id, guard, request }) => {
            let request = v1::DeleteScopeRequest {
                workspace,
                name: id.clone(),
                etag: guard.etag,
                request_id: request.request_id,
                ..Default::default()
            };
            let answer = client.delete_scope(request).await?.into_inner();
            SCOPE.deleted(&id, &answer.revision, output, io)?;
        }
    }
    Ok(Exit::Ok)
}

/// The scope with the settings that were given, and their paths.
fn scope(
    workspace: String,
    name: String,
    settings: ScopeSettings,
) -> (v1::Scope, Vec<&'static str>) {
    let mut paths = Vec::new();
    given(&mut paths, settings.display_name.is_some(), "display_name");
    given(&mut paths, settings.description.is_some(), "description");
    given(
        &mut paths,
        !settings.presentations.is_empty(),
        "presentations",
    );
    given(&mut paths, !settings.implies.is_empty(), "implies");
    let scope = v1::Scope {
        workspace,
        name,
        display_name: settings.display_name.unwrap_or_default(),
        description: settings.description.unwrap_or_default(),
        presentations: settings
            .presentations
            .into_iter()
            .map(PresentationName::number)
            .collect(),
        implies: settings.implies,
        ..Default::default()
    };
    (scope, paths)
}

pub(super) fn given(paths: &mut Vec<&'static str>, given: bool, path: &'static str) {
    if given {
        paths.push(path);
    }
}

pub(super) fn mask(paths: &[&str]) -> Result<FieldMask, Failure> {
    if paths.is_empty() {
        return Err(
            Failure::usage("there is nothing to change").hint("`--help` lists the settings")
        );
    }
    Ok(FieldMask {
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
    })
}

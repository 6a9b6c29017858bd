//! `claviger workspaces`, `subscriptions` and `scopes`: what can be typed.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Common;
use super::connect::WorkspaceOption;
use super::names::{
    KeySchemeName, PresentationName, SlotsName, StorageName, UndemandedName, UnmatchedName,
};
use super::page::PageArgs;
use crate::grpc::proto::v1;

mod run;

pub(super) use run::{scopes, subscriptions, workspaces};

/// Make and manage workspaces: tenants, each with keys, subscriptions, scopes and settings of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger workspaces create acme --display-name 'Acme Ltd' --token-prefix acme
  claviger workspaces update acme --location bearer,header:acme-api-key --presentation header,bearer
  claviger workspaces list")]
pub struct WorkspacesArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: WorkspacesCommand,
}

impl WorkspacesArgs {
    /// Whether the command takes `--request-id`: those that change something do.
    pub(super) fn is_repeatable(&self) -> bool {
        use WorkspacesCommand::{Get, List};
        !matches!(self.command, Get(_) | List(_))
    }
}

#[derive(Debug, Subcommand)]
enum WorkspacesCommand {
    /// Make a workspace
    Create(Box<CreateWorkspaceArgs>),
    /// Show a workspace
    Get(IdArg),
    /// List workspaces
    List(PageArgs),
    /// Change a workspace: the settings that are given
    Update(Box<UpdateWorkspaceArgs>),
    /// Delete a workspace that has no keys
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct IdArg {
    /// Its id; of a scope its name
    id: String,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Its id; of a scope its name
    id: String,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct Guard {
    /// Do nothing unless it still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Debug, Args)]
struct Repeat {
    /// A UUID that makes the command repeatable
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "UUID"
    )]
    request_id: String,
}

#[derive(Debug, Args)]
struct CreateWorkspaceArgs {
    /// Its id: 1 to 63 of `[a-z0-9-]`
    id: String,
    /// A name for people
    #[arg(
        long,
        visible_alias = "name",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    display_name: String,
    /// Make it switched off
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    request: Repeat,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
struct UpdateWorkspaceArgs {
    /// Its id
    id: String,
    /// A name for people
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// Switch it on or off
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Go ahead although something is destroyed, such as sealed tokens
    #[arg(long)]
    acknowledge_warnings: bool,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    request: Repeat,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Settings of a workspace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// Where a credential may be: `bearer`, `basic`, `header:NAME` or `query:NAME`; can be repeated, or separated by commas
    #[arg(long = "location", value_delimiter = ',', value_parser = location, value_name = "PLACE")]
    locations: Vec<v1::CredentialLocation>,
    /// Which ways of presenting a key are accepted; can be repeated, or separated by commas
    #[arg(
        long = "presentation",
        value_enum,
        value_delimiter = ',',
        value_name = "WAY"
    )]
    presentations: Vec<PresentationName>,
    /// What becomes of a check that demands no scope
    #[arg(long, value_enum, value_name = "POLICY")]
    undemanded_scopes: Option<UndemandedName>,
    /// Whether tokens can be read again
    #[arg(long, value_enum, value_name = "STORAGE")]
    secret_storage: Option<StorageName>,
    /// How many live secrets a key must have
    #[arg(long, value_enum, value_name = "POLICY")]
    slots: Option<SlotsName>,
    /// How long the use of a secret guards it against being replaced, at most 90d
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    rotation_guard: Option<Duration>,
    /// Prefix of generated tokens, such as `acme_live`; '' for none
    #[arg(long, value_name = "PREFIX")]
    token_prefix: Option<String>,
    /// Whether routes demand keys
    #[arg(long, value_enum, value_name = "STATE")]
    key_scheme: Option<KeySchemeName>,
    /// What becomes of requests that no route takes
    #[arg(long, value_enum, value_name = "POLICY")]
    unmatched_requests: Option<UnmatchedName>,
}

/// Make and manage subscriptions: what customers buy inside a workspace.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger subscriptions create gold-42 --display-name 'Gold, customer 42'
  claviger subscriptions update gold-42 --enabled false      # refuses requests for it at once")]
pub struct SubscriptionsArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: SubscriptionsCommand,
}

impl SubscriptionsArgs {
    /// Whether the command takes `--request-id`: those that change something do.
    pub(super) fn is_repeatable(&self) -> bool {
        use SubscriptionsCommand::{Get, List};
        !matches!(self.command, Get(_) | List(_))
    }
}

#[derive(Debug, Subcommand)]
enum SubscriptionsCommand {
    /// Make a subscription
    Create(CreateSubscriptionArgs),
    /// Show a subscription
    Get(IdArg),
    /// List subscriptions
    List(PageArgs),
    /// Change a subscription
    Update(UpdateSubscriptionArgs),
    /// Delete a subscription that no key is bound to
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct CreateSubscriptionArgs {
    /// Its id: 1 to 64 of `[A-Za-z0-9._-]`
    id: String,
    /// A name for people
    #[arg(
        long,
        visible_alias = "name",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    display_name: String,
    /// Make it switched off
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct UpdateSubscriptionArgs {
    /// Its id
    id: String,
    /// A name for people
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// Switch it on or off
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    request: Repeat,
}

/// Make and manage a workspace's catalogue of scopes: what its keys can grant.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger scopes create orders:read --description 'Read orders'
  claviger scopes create webhook --presentation basic          # for integrations that only speak HTTP Basic
  claviger scopes create manage --implies claviger:keys:write")]
pub struct ScopesArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: ScopesCommand,
}

impl ScopesArgs {
    /// Whether the command takes `--request-id`: those that change something do.
    pub(super) fn is_repeatable(&self) -> bool {
        use ScopesCommand::{Get, List};
        !matches!(self.command, Get(_) | List(_))
    }
}

#[derive(Debug, Subcommand)]
enum ScopesCommand {
    /// Declare a scope
    Create(CreateScopeArgs),
    /// Show a scope
    Get(IdArg),
    /// List scopes
    List(PageArgs),
    /// Change a scope
    Update(UpdateScopeArgs),
    /// Delete a scope that no key lists
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct CreateScopeArgs {
    /// Its name, such as `orders:read`
    name: String,
    #[command(flatten)]
    settings: ScopeSettings,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct UpdateScopeArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    settings: ScopeSettings,
    /// Accept it in no other ways than the workspace's
    #[arg(long, conflicts_with = "presentations")]
    no_presentations: bool,
    /// Imply nothing
    #[arg(long, conflicts_with = "implies")]
    no_implies: bool,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct ScopeSettings {
    /// A name for people
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// A longer text for people
    #[arg(long)]
    description: Option<String>,
    /// A way of presenting a key that is accepted for it beside the workspace's; can be repeated
    #[arg(
        long = "presentation",
        value_enum,
        value_delimiter = ',',
        value_name = "WAY"
    )]
    presentations: Vec<PresentationName>,
    /// A `claviger:` right that comes with it; can be repeated
    #[arg(long, value_delimiter = ',', value_name = "RIGHT")]
    implies: Vec<String>,
}

pub(super) fn location(text: &str) -> Result<v1::CredentialLocation, String> {
    use v1::credential_location::Location;
    let location = match text.split_once(':') {
        None if text == "bearer" => Location::Bearer(true),
        None if text == "basic" => Location::Basic(true),
        Some(("header", name)) if !name.is_empty() => Location::Header(name.to_owned()),
        Some(("query", name)) if !name.is_empty() => Location::Query(name.to_owned()),
        _ => return Err("give `bearer`, `basic`, `header:NAME` or `query:NAME`".to_owned()),
    };
    Ok(v1::CredentialLocation {
        location: Some(location),
    })
}

impl SettingsArgs {
    /// The settings that were given, and their paths.
    fn settings(self) -> Result<(v1::WorkspaceSettings, Vec<&'static str>), String> {
        let mut paths = Vec::new();
        for (given, path) in [
            (!self.locations.is_empty(), "settings.locations"),
            (!self.presentations.is_empty(), "settings.presentations"),
            (
                self.undemanded_scopes.is_some(),
                "settings.undemanded_scopes",
            ),
            (self.secret_storage.is_some(), "settings.secret_storage"),
            (self.slots.is_some(), "settings.slots"),
            (self.rotation_guard.is_some(), "settings.rotation_guard"),
            (self.token_prefix.is_some(), "settings.token_prefix"),
            (self.key_scheme.is_some(), "settings.key_scheme"),
            (
                self.unmatched_requests.is_some(),
                "settings.unmatched_requests",
            ),
        ] {
            if given {
                paths.push(path);
            }
        }
        let guard = self.rotation_guard.map(prost_types::Duration::try_from);
        let settings = v1::WorkspaceSettings {
            locations: self.locations,
            presentations: self
                .presentations
                .into_iter()
                .map(PresentationName::number)
                .collect(),
            undemanded_scopes: self.undemanded_scopes.map_or(0, UndemandedName::number),
            secret_storage: self.secret_storage.map_or(0, StorageName::number),
            slots: self.slots.map_or(0, SlotsName::number),
            rotation_guard: guard
                .transpose()
                .map_err(|_| "`--rotation-guard` is too long; at most `90d`")?,
            token_prefix: self.token_prefix,
            key_scheme: self.key_scheme.map_or(0, KeySchemeName::number),
            unmatched_requests: self.unmatched_requests.map_or(0, UnmatchedName::number),
            ..Default::default()
        };
        Ok((settings, paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_for_a_credential_is_one_of_four() {
        use v1::credential_location::Location;
        for (text, expected) in [
            ("bearer", Location::Bearer(true)),
            ("basic", Location::Basic(true)),
            ("header:x-key", Location::Header("x-key".to_owned())),
            ("query:key", Location::Query("key".to_owned())),
        ] {
            assert_eq!(location(text).unwrap().location, Some(expected));
        }
        for bad in ["", "header", "header:", "cookie:x", "bearer:x"] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }
}

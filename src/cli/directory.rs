//! `claviger workspaces`, `subscriptions` and `scopes`: what can be typed. `principals` has a file of its own.

use clap::{Args, Subcommand};

use super::Common;
use super::connect::WorkspaceOption;
use super::names::PresentationName;
use super::options::Repeat;
use super::page::PageArgs;
use settings::SettingsArgs;
pub(super) use settings::location;

mod principals;
mod records;
mod run;
mod settings;
mod sync;

pub use principals::PrincipalsArgs;
pub(super) use principals::principals;
pub(super) use run::{scopes, subscriptions, workspaces};

/// Make and manage workspaces: tenants, each with keys, subscriptions, scopes and settings of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger workspaces create acme --display-name 'Acme Ltd' --token-prefix acme
  claviger workspaces update acme --location bearer,header:acme-api-key --presentation header,bearer
  claviger workspaces update acme --longest-lifetime 365d --rotation-age 90d --leak-policy disable
  claviger workspaces update acme --slots two --provision-scope orders:read   # a key with every subscription
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

/// Make and manage subscriptions: what customers buy inside a workspace.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger subscriptions create gold-42 --display-name 'Gold, customer 42'
  claviger subscriptions create gold-43 --provision --scope orders:read    # with a key of two secrets
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
    /// Make a key for it in the same change, with a PRIMARY and a SECONDARY secret; where the workspace provisions keys, one is
    /// made anyway
    #[arg(long)]
    provision: bool,
    /// A scope of that key; can be repeated [default: those that the workspace provisions]
    #[arg(
        long = "scope",
        value_delimiter = ',',
        value_name = "SCOPE",
        requires = "provision"
    )]
    scopes: Vec<String>,
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
    /// Delete a scope that no key and no principal lists
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

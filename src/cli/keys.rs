//! `claviger keys`: what can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Common;
use super::connect::WorkspaceOption;
use super::fleet::WaitOption;
use super::input::{self, When};
use super::names::{ModeName, RevocationName, SlotName, SourceName, StateName};
use super::page::PageArgs;

mod issue;
pub(super) mod run;

/// Make and manage keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys create shop --scope orders:read --expires 90d
  claviger keys list --filter shop
  claviger keys disable key_0198f0a1b2c3d4e5f60718293a4b5c6d --wait
  claviger keys regenerate key_… --slot secondary --grace 7d

Roll a key without a refused request: `regenerate --slot secondary`, move the clients over, `regenerate --slot primary`,
move them back when it suits.")]
pub struct KeysArgs {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) workspace: WorkspaceOption,
    #[command(subcommand)]
    pub(super) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print its token, once
    Create(Box<CreateArgs>),
    /// Show one key, with its secrets
    Get(IdArgs),
    /// List keys
    List(Box<ListArgs>),
    /// Change settings of a key: those that are given
    Update(Box<UpdateArgs>),
    /// Switch a key on
    Enable(SwitchArgs),
    /// Switch a key off: refused from now on, until it is enabled
    Disable(SwitchArgs),
    /// Replace the secret of a slot, or fill an empty slot
    Regenerate(Box<RegenerateArgs>),
    /// End one secret now and for ever
    Revoke(RevokeArgs),
    /// Print the token of a recoverable secret again
    Reveal(SecretArgs),
    /// Say that a token has been saved: no repeated call returns it any more
    Acknowledge(SecretArgs),
    /// Delete a key: refused at once, kept for 30 days
    Delete(DeleteArgs),
    /// Bring a deleted key back
    Undelete(ChangeArgs),
    /// Tell whose key a token is
    Lookup(LookupArgs),
}

impl KeysArgs {
    /// Whether the command takes `--request-id`.
    pub(super) fn is_repeatable(&self) -> bool {
        match self.command {
            KeysCommand::Create(_)
            | KeysCommand::Update(_)
            | KeysCommand::Enable(_)
            | KeysCommand::Disable(_)
            | KeysCommand::Regenerate(_)
            | KeysCommand::Revoke(_)
            | KeysCommand::Delete(_)
            | KeysCommand::Undelete(_) => true,
            KeysCommand::Get(_)
            | KeysCommand::List(_)
            | KeysCommand::Reveal(_)
            | KeysCommand::Acknowledge(_)
            | KeysCommand::Lookup(_) => false,
        }
    }
}

impl KeysCommand {
    /// What it waits for.
    fn wait(&self) -> Option<WaitOption> {
        match self {
            Self::Update(args) => Some(args.wait),
            Self::Enable(args) | Self::Disable(args) => Some(args.wait),
            Self::Regenerate(args) => Some(args.wait),
            Self::Revoke(args) => Some(args.wait),
            Self::Delete(args) => Some(args.wait),
            Self::Create(_)
            | Self::Get(_)
            | Self::List(_)
            | Self::Reveal(_)
            | Self::Acknowledge(_)
            | Self::Undelete(_)
            | Self::Lookup(_) => None,
        }
    }
}

/// A key.
#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
}

/// What makes changes safe to repeat and to interleave.
#[derive(Debug, Args)]
pub(super) struct Guards {
    /// Do nothing unless the key still has this etag (from `keys get`)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) etag: String,
    /// A UUID that makes the command repeatable: the same again changes nothing more
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "UUID"
    )]
    pub(super) request_id: String,
}

/// A change of a key that takes nothing else.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    #[command(flatten)]
    pub(super) guards: Guards,
}

/// A key to switch on or off.
#[derive(Debug, Args)]
pub(super) struct SwitchArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) wait: WaitOption,
}

/// Where the value of a new secret comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the token comes from (default: generated)")]
pub(super) struct SourceArgs {
    /// Prefix of the generated token, such as `clv_live`; '' for none [default: the workspace's]
    #[arg(long, conflicts_with_all = ["external_token_file", "sha256"])]
    pub(super) prefix: Option<String>,
    /// Take the token that another system made, from a file; `-`: from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
    pub(super) external_token_file: Option<PathBuf>,
    /// Take only the SHA-256 of a token that another system made
    #[arg(long, value_name = "HEX", requires = "asserted_bits")]
    pub(super) sha256: Option<String>,
    /// The entropy of that token in bits, as its maker asserts; 0: unknown
    #[arg(long, value_name = "BITS", requires = "sha256")]
    pub(super) asserted_bits: Option<u32>,
    /// Accept a token of under 112 bits; the key then needs narrow `--cidr`s
    #[arg(long)]
    pub(super) allow_weak: bool,
}

/// What becomes of the token.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct TokenOutput {
    /// Print nothing but the token (two lines with two slots)
    #[arg(long)]
    pub(super) token_only: bool,
    /// Say that the token has been saved, as soon as it is written
    #[arg(long)]
    pub(super) acknowledge: bool,
}

/// Settings of a key that `create` and `update` share.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingArgs {
    /// A longer text for people
    #[arg(long)]
    pub(super) description: Option<String>,
    /// What it grants; can be repeated, or separated by commas
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
    pub(super) scopes: Vec<String>,
    /// What it may act for; can be repeated, or separated by commas [none: bound to nothing]
    #[arg(long = "subscription", value_delimiter = ',', value_name = "ID")]
    pub(super) subscriptions: Vec<String>,
    /// The principal that it is bound to: it opens no more than that one may
    #[arg(long, value_name = "ID")]
    pub(super) principal: Option<String>,
    /// Where its scopes come from [default: with a principal and no `--scope` from that one]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub(super) scope_source: Option<SourceName>,
    /// Where it may be used from; can be repeated, or separated by commas [none: anywhere]
    #[arg(long = "cidr", value_delimiter = ',', value_name = "CIDR")]
    pub(super) cidrs: Vec<String>,
    /// When it ends: `30d`, `2027-01-31T00:00:00Z` or `never`
    #[arg(long, value_name = "WHEN")]
    pub(super) expires: Option<When>,
    /// A label for machines; can be repeated
    #[arg(long = "label", value_parser = input::label, value_name = "NAME=VALUE")]
    pub(super) labels: Vec<(String, String)>,
    /// Where its live events are POSTed
    #[arg(long, value_name = "URL")]
    pub(super) postback_url: Option<String>,
    /// Record nothing of its requests
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(super) off_the_record: Option<bool>,
    /// Whether `--cidr` denies (`enforce`) or only reports (`shadow`)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    pub(super) network_mode: Option<ModeName>,
    /// The same for the ways of presenting a key
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    pub(super) presentation_mode: Option<ModeName>,
    /// The same for `--subscription`
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    pub(super) subscription_mode: Option<ModeName>,
    /// The same for scopes
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    pub(super) scope_mode: Option<ModeName>,
}

/// `keys create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys create shop --scope orders:read,orders:write --expires 90d
  claviger keys create ci --scope build --token-only > token        # for scripts
  claviger keys create joes --principal joe@example.com             # opens what Joe may
  claviger keys create legacy --external-token-file - < old-token   # made by another system
  claviger keys create legacy --sha256 HEX --asserted-bits 128      # only its digest

The token goes to standard output, everything else to standard error. It is not shown again.")]
pub(super) struct CreateArgs {
    /// A name for people
    pub(super) name: String,
    /// A UUID that makes the command repeatable: the same again answers the same
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "UUID"
    )]
    pub(super) request_id: String,
    /// Check everything and change nothing
    #[arg(long)]
    pub(super) validate_only: bool,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Make it switched off
    #[arg(long, help_heading = "Settings")]
    pub(super) disabled: bool,
    /// Make a SECONDARY secret too
    #[arg(long, help_heading = "Settings")]
    pub(super) two_slots: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) token: TokenOutput,
}

/// `keys list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys list --all -o json
  claviger keys list --state active --unused-since 90d     # candidates for a clean-up
  claviger keys list --expires-before 14d --order-by display_name")]
pub(super) struct ListArgs {
    /// Part of the name, in any case
    #[arg(
        long = "filter",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    pub(super) name: String,
    /// Only these states; can be repeated [default: all but deleted]
    #[arg(
        long = "state",
        value_enum,
        value_delimiter = ',',
        value_name = "STATE"
    )]
    pub(super) states: Vec<StateName>,
    /// Keys that list exactly this scope
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) scope: String,
    /// Keys bound to this subscription
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) subscription: String,
    /// Keys bound to this principal
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    pub(super) principal: String,
    /// Keys with this label: `NAME` or `NAME=VALUE`
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) label: String,
    /// Keys that end before this moment, or in less than this time
    #[arg(long, value_name = "WHEN")]
    pub(super) expires_before: Option<When>,
    /// Keys not used since this moment, or for this time
    #[arg(long, value_name = "WHEN")]
    pub(super) unused_since: Option<When>,
    /// `create_time`, `display_name`, or one of them and ` desc`
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FIELD"
    )]
    pub(super) order_by: String,
    /// Show the tokens of recoverable secrets too; each page is audited
    #[arg(long)]
    pub(super) with_tokens: bool,
    #[command(flatten)]
    pub(super) page: PageArgs,
}

/// A setting that `update` can empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Clear {
    /// No longer text
    Description,
    /// Grant nothing
    Scopes,
    /// Bound to nothing
    Subscriptions,
    /// Bound to no principal, granting what it lists
    Principal,
    /// Usable from anywhere
    Cidrs,
    /// No labels
    Labels,
    /// No events
    PostbackUrl,
}

/// `keys update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys update key_… --scope orders:read,orders:write   # lists are replaced, not added to
  claviger keys update key_… --expires never --clear cidrs,labels")]
pub(super) struct UpdateArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    #[command(flatten)]
    pub(super) guards: Guards,
    #[command(flatten)]
    pub(super) wait: WaitOption,
    /// Check everything and change nothing
    #[arg(long)]
    pub(super) validate_only: bool,
    /// A name for people
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    pub(super) display_name: Option<String>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Empty these settings; can be repeated, or separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "SETTING",
        help_heading = "Settings"
    )]
    pub(super) clear: Vec<Clear>,
}

/// `keys regenerate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys regenerate key_… --slot primary --grace 7d      # the old token is accepted for 7 more days
  claviger keys regenerate key_… --slot secondary --token-only > token")]
pub(super) struct RegenerateArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    /// Which slot
    #[arg(long, value_enum, default_value_t = SlotName::Primary)]
    pub(super) slot: SlotName,
    /// How long the old value is still accepted, at most 90d [default: not at all]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(super) grace: Option<Duration>,
    /// Do it although somebody who still uses the old value may be cut off
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) guards: Guards,
    #[command(flatten)]
    pub(super) wait: WaitOption,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) token: TokenOutput,
}

/// `keys revoke`.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    /// The secret's id, `sec_…` (from `keys get`)
    pub(super) secret_id: String,
    /// Why
    #[arg(long, value_enum)]
    pub(super) reason: Option<RevocationName>,
    #[command(flatten)]
    pub(super) guards: Guards,
    #[command(flatten)]
    pub(super) wait: WaitOption,
}

/// A key and one of its secrets.
#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    /// The secret's id, `sec_…` [default: `reveal` takes the PRIMARY one, `acknowledge` all live ones]
    #[arg(default_value = "", hide_default_value = true)]
    pub(super) secret_id: String,
}

/// `keys delete`.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The key's id, `key_…`
    pub(super) id: String,
    /// Remove it for good now; it can't be undeleted
    #[arg(long)]
    pub(super) purge: bool,
    #[command(flatten)]
    pub(super) guards: Guards,
    #[command(flatten)]
    pub(super) wait: WaitOption,
}

/// `keys lookup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger keys lookup --credential-file -  < found-token     # whose is this?
  claviger keys lookup --sha256 HEX")]
#[group(required = true, multiple = false)]
pub(super) struct LookupArgs {
    /// File with the token; `-`: standard input
    #[arg(long, value_name = "FILE")]
    pub(super) credential_file: Option<PathBuf>,
    /// SHA-256 of the token
    #[arg(long, value_name = "HEX")]
    pub(super) sha256: Option<String>,
}

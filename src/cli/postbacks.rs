//! `claviger postbacks`: what can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Common;
use super::connect::WorkspaceOption;
use super::names::DeliveryStateName;
use super::options::Repeat;
use super::page::PageArgs;

mod run;

pub(super) use run::run;

/// See, test and send POSTbacks: events of keys, delivered to the keys' URLs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger postbacks signing-secrets create            # once: nothing is sent unsigned
  claviger postbacks test key_0198f0a1b2c3d4e5f60718293a4b5c6d
  claviger postbacks publish key_… --type message.delivered --event-id m-17 --data receipt.json
  claviger postbacks deliveries --state dead
  claviger postbacks redeliver evt_0198f0a1b2c3d4e5f60718293a4b5c6d")]
pub struct PostbacksArgs {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) workspace: WorkspaceOption,
    #[command(subcommand)]
    pub(super) command: PostbacksCommand,
}

impl PostbacksArgs {
    /// Whether the command takes `--request-id`.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(
            &self.command,
            PostbacksCommand::SigningSecrets(SigningSecretsArgs {
                command: SigningSecretsCommand::Create(_) | SigningSecretsCommand::Rotate(_)
            })
        )
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PostbacksCommand {
    /// Send a test to a key's URL, and say what comes of it; exits with 1 where it is not taken
    Test(KeyArg),
    /// List deliveries, newest first
    Deliveries(DeliveriesArgs),
    /// Send an event again
    Redeliver(DeliveryArg),
    /// Publish an event for a key
    Publish(PublishArgs),
    /// Make, replace and list what POSTbacks are signed with
    SigningSecrets(SigningSecretsArgs),
}

#[derive(Debug, Args)]
pub(super) struct KeyArg {
    /// The key's id
    pub(super) key: String,
}

#[derive(Debug, Args)]
pub(super) struct DeliveryArg {
    /// The event's id, `evt_…`
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// Of this key alone
    #[arg(default_value = "", hide_default_value = true)]
    pub(super) key: String,
    /// In this state alone
    #[arg(long, value_enum, value_name = "STATE")]
    pub(super) state: Option<DeliveryStateName>,
    /// Of this type alone, such as `key.disabled`
    #[arg(
        long = "type",
        default_value = "",
        hide_default_value = true,
        value_name = "TYPE"
    )]
    pub(super) kind: String,
    #[command(flatten)]
    pub(super) page: PageArgs,
}

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The key's id
    pub(super) key: String,
    /// What happened, such as `message.delivered`
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) kind: String,
    /// What tells it from the key's other events; repeated with the same, the command changes nothing
    #[arg(long, value_name = "ID")]
    pub(super) event_id: String,
    /// File with the event as a JSON object; `-`: standard input
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SigningSecretsArgs {
    #[command(subcommand)]
    pub(super) command: SigningSecretsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SigningSecretsCommand {
    /// Make the workspace's first one, and print its text, once
    Create(Repeat),
    /// Replace it, and print the new one's text, once; the old one signs beside it for a while
    Rotate(RotateArgs),
    /// List those that sign now
    List,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// How long the old one signs too, at most 7d [default: 24h]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(super) overlap: Option<Duration>,
    #[command(flatten)]
    pub(super) request: Repeat,
}

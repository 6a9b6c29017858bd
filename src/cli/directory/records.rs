//! What of a workspace's settings is about what is recorded: the request log, usage, and restrictions in shadow.

use std::time::Duration;

use clap::Args;

use crate::cli::names::{ModeName, RequestLogName};
use crate::grpc::proto::v1;

/// Settings of a workspace about what is recorded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct RecordArgs {
    /// Which requests are logged
    #[arg(long, value_enum, value_name = "POLICY")]
    request_log: Option<RequestLogName>,
    /// Which share of the allowed requests `denied-and-sampled` logs, 0 to 1
    #[arg(long, value_name = "SHARE")]
    request_log_sample: Option<f64>,
    /// How long the request log is kept, 1h to 3660d
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    request_log_retention: Option<Duration>,
    /// How long usage is kept, 1h to 3660d
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    usage_retention: Option<Duration>,
    /// Whether networks deny (`enforce`) or only report (`shadow`), for all keys
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    network_mode: Option<ModeName>,
    /// The same for the ways of presenting a key
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    presentation_mode: Option<ModeName>,
    /// The same for subscriptions
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    subscription_mode: Option<ModeName>,
    /// The same for scopes
    #[arg(long, value_enum, hide_possible_values = true, value_name = "MODE")]
    scope_mode: Option<ModeName>,
}

impl RecordArgs {
    /// Puts what was given into the settings, and its paths to those that are changed.
    pub(super) fn apply(
        self,
        settings: &mut v1::WorkspaceSettings,
        paths: &mut Vec<&'static str>,
    ) -> Result<(), String> {
        let modes = [
            (self.network_mode, "settings.enforcement.network"),
            (self.presentation_mode, "settings.enforcement.presentation"),
            (self.subscription_mode, "settings.enforcement.subscription"),
            (self.scope_mode, "settings.enforcement.scopes"),
        ];
        for (given, path) in [
            (self.request_log.is_some(), "settings.request_log"),
            (
                self.request_log_sample.is_some(),
                "settings.request_log_sample",
            ),
            (
                self.request_log_retention.is_some(),
                "settings.request_log_retention",
            ),
            (self.usage_retention.is_some(), "settings.usage_retention"),
        ]
        .into_iter()
        .chain(modes.iter().map(|(mode, path)| (mode.is_some(), *path)))
        {
            if given {
                paths.push(path);
            }
        }
        let mode = |mode: Option<ModeName>| mode.map_or(0, ModeName::number);
        settings.request_log = self.request_log.map_or(0, RequestLogName::number);
        settings.request_log_sample = self.request_log_sample;
        settings.request_log_retention =
            span("--request-log-retention", self.request_log_retention)?;
        settings.usage_retention = span("--usage-retention", self.usage_retention)?;
        settings.enforcement =
            modes
                .iter()
                .any(|(mode, _)| mode.is_some())
                .then(|| v1::Enforcement {
                    network: mode(self.network_mode),
                    presentation: mode(self.presentation_mode),
                    subscription: mode(self.subscription_mode),
                    scopes: mode(self.scope_mode),
                });
        Ok(())
    }
}

fn span(option: &str, span: Option<Duration>) -> Result<Option<prost_types::Duration>, String> {
    span.map(prost_types::Duration::try_from)
        .transpose()
        .map_err(|_| format!("`{option}` is too long; at most `3660d`"))
}

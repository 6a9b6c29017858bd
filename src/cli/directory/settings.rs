//! Settings of a workspace, as they are typed.

use std::time::Duration;

use clap::Args;

use crate::cli::names::{
    CreationName, KeySchemeName, LeakPolicyName, PresentationName, SlotsName, StorageName,
    UndemandedName, UnmatchedName,
};
use crate::grpc::proto::v1;

/// Settings of a workspace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArgs {
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
    /// Who makes keys
    #[arg(long, value_enum, value_name = "WHO")]
    key_creation: Option<CreationName>,
    /// How long a key lives that is made without an expiry; `none`: the longest
    #[arg(long, value_parser = span, value_name = "DURATION")]
    default_lifetime: Option<Span>,
    /// How long a key may live, at most 3650d; `none`: for ever
    #[arg(long, value_parser = span, value_name = "DURATION")]
    longest_lifetime: Option<Span>,
    /// How old a secret may become before it is due for regeneration; `none`: any age
    #[arg(long, value_parser = span, value_name = "DURATION")]
    rotation_age: Option<Span>,
    /// What becomes of a key whose token is reported to be public
    #[arg(long, value_enum, value_name = "POLICY")]
    leak_policy: Option<LeakPolicyName>,
    /// How long a leaked token that is replaced is still accepted, at most 90d; `none`: not at all
    #[arg(long, value_parser = span, value_name = "DURATION")]
    leak_grace: Option<Span>,
    /// Make a key with every subscription; `false`: no more
    #[arg(long, value_name = "BOOL")]
    provisioning: Option<bool>,
    /// A scope of those keys; can be repeated. Implies `--provisioning true`
    #[arg(
        long = "provision-scope",
        value_delimiter = ',',
        value_name = "SCOPE",
        conflicts_with = "provisioning"
    )]
    provision_scopes: Vec<String>,
    /// Whether routes demand keys
    #[arg(long, value_enum, value_name = "STATE")]
    key_scheme: Option<KeySchemeName>,
    /// What becomes of requests that no route takes
    #[arg(long, value_enum, value_name = "POLICY")]
    unmatched_requests: Option<UnmatchedName>,
}

/// A span of time, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span(Option<Duration>);

fn span(text: &str) -> Result<Span, String> {
    if text == "none" {
        return Ok(Span(None));
    }
    let span = humantime::parse_duration(text);
    span.map(|span| Span(Some(span)))
        .map_err(|_| "give a duration such as `90d`, or `none`".to_owned())
}

fn wire(span: Option<Span>, option: &str) -> Result<Option<prost_types::Duration>, String> {
    let span = span.and_then(|Span(span)| span);
    span.map(prost_types::Duration::try_from)
        .transpose()
        .map_err(|_| format!("`{option}` is too long; at most `3650d`"))
}

pub(in crate::cli) fn location(text: &str) -> Result<v1::CredentialLocation, String> {
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
    pub(super) fn settings(self) -> Result<(v1::WorkspaceSettings, Vec<&'static str>), String> {
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
            (self.key_creation.is_some(), "settings.key_creation"),
            (self.default_lifetime.is_some(), "settings.default_lifetime"),
            (self.longest_lifetime.is_some(), "settings.longest_lifetime"),
            (self.rotation_age.is_some(), "settings.rotation_age"),
            (self.leak_policy.is_some(), "settings.leak_policy"),
            (self.leak_grace.is_some(), "settings.leak_grace"),
            (
                self.provisioning.is_some() || !self.provision_scopes.is_empty(),
                "settings.provisioning",
            ),
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
            key_creation: self.key_creation.map_or(0, CreationName::number),
            default_lifetime: wire(self.default_lifetime, "--default-lifetime")?,
            longest_lifetime: wire(self.longest_lifetime, "--longest-lifetime")?,
            rotation_age: wire(self.rotation_age, "--rotation-age")?,
            leak_policy: self.leak_policy.map_or(0, LeakPolicyName::number),
            leak_grace: wire(self.leak_grace, "--leak-grace")?,
            provisioning: (self.provisioning == Some(true) || !self.provision_scopes.is_empty())
                .then_some(v1::KeyProvisioning {
                    scopes: self.provision_scopes,
                }),
            key_scheme: self.key_scheme.map_or(0, KeySchemeName::number),
            unmatched_requests: self.unmatched_requests.map_or(0, UnmatchedName::number),
            key_scheme_time: None,
        };
        Ok((settings, paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_can_be_none() {
        assert_eq!(span("none"), Ok(Span(None)));
        assert_eq!(span("1h"), Ok(Span(Some(Duration::from_secs(3_600)))));
        assert!(span("soon").is_err());
    }

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

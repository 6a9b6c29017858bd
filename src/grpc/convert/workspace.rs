//! Workspaces, subscriptions, scopes.

use std::time::Duration;

use crate::app::directory::WorkspaceEdit;
use crate::app::error::Error;
use crate::domain::revision;
use crate::domain::text;
use crate::domain::time::Time;
use crate::domain::token;
use crate::domain::workspace::{
    KeyCreation, KeyScheme, RequestLog, Share, UndemandedScopes, UnmatchedRequests, Workspace,
    WorkspaceSettings,
};
use crate::grpc::proto::v1;

use super::credential::{locations, presentations, wire_location};
use super::input::{
    check, duration, enumeration, parse, presentation_number, timestamp, wire_duration,
};
use super::key::{enforcement, wire_enforcement};
use super::lifecycle::{self, MINUTE, SECOND};
use super::mask::{Mask, something};

const MAX_GUARD: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Between these is any retention: shorter, it would end before anybody looks; longer, it means "for ever".
const MIN_RETENTION: Duration = Duration::from_secs(3_600);
const MAX_RETENTION: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// Stands for times that the store sets.
pub(super) const UNSET: Time = Time::from_micros(0);

/// Reads a new workspace.
pub(in crate::grpc) fn new_workspace(wire: v1::Workspace) -> Result<Workspace, Error> {
    Ok(Workspace {
        id: parse("workspace.id", &wire.id)?,
        display_name: name("workspace.display_name", wire.display_name)?,
        enabled: wire.enabled.unwrap_or(true),
        settings: wire.settings.map(settings).transpose()?.unwrap_or_default(),
        create_time: UNSET,
        update_time: UNSET,
        revision: 0,
    })
}

const WORKSPACE_FIELDS: &[&str] = &[
    "display_name",
    "enabled",
    "settings",
    "settings.locations",
    "settings.presentations",
    "settings.undemanded_scopes",
    "settings.secret_storage",
    "settings.slots",
    "settings.rotation_guard",
    "settings.token_prefix",
    "settings.enforcement",
    "settings.enforcement.network",
    "settings.enforcement.presentation",
    "settings.enforcement.subscription",
    "settings.enforcement.scopes",
    "settings.request_log",
    "settings.request_log_sample",
    "settings.request_log_retention",
    "settings.usage_retention",
    "settings.key_scheme",
    "settings.unmatched_requests",
    "settings.key_creation",
    "settings.default_lifetime",
    "settings.longest_lifetime",
    "settings.rotation_age",
    "settings.leak_policy",
    "settings.leak_grace",
    "settings.provisioning",
];

/// Reads what an update changes.
pub(in crate::grpc) fn workspace_edits(
    wire: v1::Workspace,
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<WorkspaceEdit>, Error> {
    let mask = Mask::parse(mask, WORKSPACE_FIELDS)?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !wire.display_name.is_empty()) {
        edits.push(WorkspaceEdit::DisplayName(name(
            "workspace.display_name",
            wire.display_name,
        )?));
    }
    if mask.takes("enabled", wire.enabled.is_some()) {
        edits.push(WorkspaceEdit::Enabled(wire.enabled.unwrap_or(true)));
    }
    let given = wire.settings.is_some();
    let new = wire.settings.map(settings).transpose()?.unwrap_or_default();
    if mask.takes("settings", given) {
        edits.push(WorkspaceEdit::Settings(new.clone()));
    }
    let parts = [
        (
            "settings.locations",
            WorkspaceEdit::Locations(new.locations),
        ),
        (
            "settings.presentations",
            WorkspaceEdit::Presentations(new.presentations),
        ),
        (
            "settings.undemanded_scopes",
            WorkspaceEdit::UndemandedScopes(new.undemanded_scopes),
        ),
        (
            "settings.secret_storage",
            WorkspaceEdit::Recoverable(new.recoverable),
        ),
        ("settings.slots", WorkspaceEdit::TwoSlots(new.two_slots)),
        (
            "settings.rotation_guard",
            WorkspaceEdit::RotationGuard(new.rotation_guard),
        ),
        (
            "settings.token_prefix",
            WorkspaceEdit::TokenPrefix(new.token_prefix),
        ),
        (
            "settings.enforcement",
            WorkspaceEdit::Enforcement(new.enforcement),
        ),
        (
            "settings.enforcement.network",
            WorkspaceEdit::ShadowNetwork(new.enforcement.shadow_network),
        ),
        (
            "settings.enforcement.presentation",
            WorkspaceEdit::ShadowPresentation(new.enforcement.shadow_presentation),
        ),
        (
            "settings.enforcement.subscription",
            WorkspaceEdit::ShadowSubscription(new.enforcement.shadow_subscription),
        ),
        (
            "settings.enforcement.scopes",
            WorkspaceEdit::ShadowScopes(new.enforcement.shadow_scopes),
        ),
        (
            "settings.request_log",
            WorkspaceEdit::RequestLog(new.request_log),
        ),
        (
            "settings.request_log_sample",
            WorkspaceEdit::RequestLogSample(new.request_log_sample),
        ),
        (
            "settings.request_log_retention",
            WorkspaceEdit::RequestLogRetention(new.request_log_retention),
        ),
        (
            "settings.usage_retention",
            WorkspaceEdit::UsageRetention(new.usage_retention),
        ),
        (
            "settings.key_scheme",
            WorkspaceEdit::KeyScheme(new.key_scheme),
        ),
        (
            "settings.unmatched_requests",
            WorkspaceEdit::UnmatchedRequests(new.unmatched_requests),
        ),
        (
            "settings.key_creation",
            WorkspaceEdit::KeyCreation(new.key_creation),
        ),
        (
            "settings.default_lifetime",
            WorkspaceEdit::DefaultLifetime(new.default_lifetime),
        ),
        (
            "settings.longest_lifetime",
            WorkspaceEdit::LongestLifetime(new.longest_lifetime),
        ),
        (
            "settings.rotation_age",
            WorkspaceEdit::RotationAge(new.rotation_age),
        ),
        (
            "settings.leak_policy",
            WorkspaceEdit::LeakPolicy(new.leak_policy),
        ),
        (
            "settings.leak_grace",
            WorkspaceEdit::LeakGrace(new.leak_grace),
        ),
        (
            "settings.provisioning",
            WorkspaceEdit::Provisioning(new.provisioning),
        ),
    ];
    edits.extend(
        parts
            .into_iter()
            .filter(|(path, _)| mask.takes_part(path))
            .map(|(_, edit)| edit),
    );
    something(edits)
}

fn settings(wire: v1::WorkspaceSettings) -> Result<WorkspaceSettings, Error> {
    let at = |field: &str| format!("workspace.settings.{field}");
    if let Some(prefix) = &wire.token_prefix {
        check(&at("token_prefix"), token::check_prefix(prefix))?;
    }
    let undemanded =
        enumeration::<v1::UndemandedScopes>(&at("undemanded_scopes"), wire.undemanded_scopes)?;
    let storage = enumeration::<v1::SecretStorage>(&at("secret_storage"), wire.secret_storage)?;
    let slots = enumeration::<v1::SlotPolicy>(&at("slots"), wire.slots)?;
    let log = enumeration::<v1::RequestLog>(&at("request_log"), wire.request_log)?;
    let scheme = enumeration::<v1::KeyScheme>(&at("key_scheme"), wire.key_scheme)?;
    let unmatched =
        enumeration::<v1::UnmatchedRequests>(&at("unmatched_requests"), wire.unmatched_requests)?;
    let creation = enumeration::<v1::KeyCreation>(&at("key_creation"), wire.key_creation)?;
    Ok(WorkspaceSettings {
        locations: locations(&at("locations"), wire.locations)?,
        presentations: presentations(&at("presentations"), &wire.presentations)?,
        undemanded_scopes: match undemanded {
            v1::UndemandedScopes::Unspecified => UndemandedScopes::Default,
            v1::UndemandedScopes::Allow => UndemandedScopes::Allow,
            v1::UndemandedScopes::Deny => UndemandedScopes::Deny,
        },
        recoverable: storage == v1::SecretStorage::Recoverable,
        two_slots: slots == v1::SlotPolicy::Two,
        rotation_guard: wire
            .rotation_guard
            .map(|d| duration(&at("rotation_guard"), d, MAX_GUARD))
            .transpose()?,
        token_prefix: wire.token_prefix,
        enforcement: enforcement(&at("enforcement"), wire.enforcement)?,
        request_log: match log {
            v1::RequestLog::Unspecified | v1::RequestLog::DeniedAndSampled => {
                RequestLog::DeniedAndSampled
            }
            v1::RequestLog::All => RequestLog::All,
            v1::RequestLog::Off => RequestLog::Off,
        },
        request_log_sample: wire
            .request_log_sample
            .map(|share| {
                Share::of(share).map_err(|e| Error::invalid_at(&at("request_log_sample"), e))
            })
            .transpose()?,
        request_log_retention: retention(&at("request_log_retention"), wire.request_log_retention)?,
        usage_retention: retention(&at("usage_retention"), wire.usage_retention)?,
        key_scheme: match scheme {
            v1::KeyScheme::Unspecified => KeyScheme::Default,
            v1::KeyScheme::Off => KeyScheme::Off,
            v1::KeyScheme::On => KeyScheme::On,
        },
        key_scheme_time: None,
        unmatched_requests: match unmatched {
            v1::UnmatchedRequests::Unspecified => UnmatchedRequests::Default,
            v1::UnmatchedRequests::Deny => UnmatchedRequests::Deny,
        },
        key_creation: match creation {
            v1::KeyCreation::Unspecified | v1::KeyCreation::KeysWrite => KeyCreation::KeysWrite,
            v1::KeyCreation::Administrators => KeyCreation::Administrators,
            v1::KeyCreation::SelfOnly => KeyCreation::SelfOnly,
        },
        default_lifetime: lifecycle::span("default_lifetime", wire.default_lifetime, MINUTE)?,
        longest_lifetime: lifecycle::span("longest_lifetime", wire.longest_lifetime, MINUTE)?,
        rotation_age: lifecycle::span("rotation_age", wire.rotation_age, SECOND)?,
        leak_policy: lifecycle::leak_policy(wire.leak_policy)?,
        leak_grace: wire
            .leak_grace
            .map(|d| duration(&at("leak_grace"), d, MAX_GUARD))
            .transpose()?,
        provisioning: wire.provisioning.map(lifecycle::provisioning).transpose()?,
        destroying_sealed: false,
    })
}

fn retention(field: &str, span: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let span = span.map(|span| duration(field, span, MAX_RETENTION));
    match span.transpose()? {
        Some(span) if span < MIN_RETENTION => Err(Error::invalid(
            field,
            "is shorter than an hour; to keep nothing, switch `request_log` to OFF",
        )),
        span => Ok(span),
    }
}

/// Reads a name for people, which may be left out.
pub(super) fn name(field: &str, name: String) -> Result<String, Error> {
    check(field, text::optional_display_name(&name)).map(|()| name)
}

/// Writes a workspace.
pub(in crate::grpc) fn workspace(workspace: &Workspace) -> v1::Workspace {
    v1::Workspace {
        id: workspace.id.to_string(),
        display_name: workspace.display_name.clone(),
        enabled: Some(workspace.enabled),
        settings: Some(wire_settings(&workspace.settings)),
        create_time: Some(timestamp(workspace.create_time)),
        update_time: Some(timestamp(workspace.update_time)),
        etag: revision::etag(workspace.revision),
    }
}

fn wire_settings(settings: &WorkspaceSettings) -> v1::WorkspaceSettings {
    let undemanded = match settings.undemanded_scopes {
        UndemandedScopes::Default => v1::UndemandedScopes::Unspecified,
        UndemandedScopes::Allow => v1::UndemandedScopes::Allow,
        UndemandedScopes::Deny => v1::UndemandedScopes::Deny,
    };
    let storage = if settings.recoverable {
        v1::SecretStorage::Recoverable
    } else {
        v1::SecretStorage::Hashed
    };
    let slots = if settings.two_slots {
        v1::SlotPolicy::Two
    } else {
        v1::SlotPolicy::One
    };
    let log = match settings.request_log {
        RequestLog::DeniedAndSampled => v1::RequestLog::DeniedAndSampled,
        RequestLog::All => v1::RequestLog::All,
        RequestLog::Off => v1::RequestLog::Off,
    };
    let scheme = match settings.key_scheme {
        KeyScheme::Default | KeyScheme::On => v1::KeyScheme::On,
        KeyScheme::Off => v1::KeyScheme::Off,
    };
    let unmatched = match settings.unmatched_requests {
        UnmatchedRequests::Default => v1::UnmatchedRequests::Unspecified,
        UnmatchedRequests::Deny => v1::UnmatchedRequests::Deny,
    };
    let creation = match settings.key_creation {
        KeyCreation::KeysWrite => v1::KeyCreation::KeysWrite,
        KeyCreation::Administrators => v1::KeyCreation::Administrators,
        KeyCreation::SelfOnly => v1::KeyCreation::SelfOnly,
    };
    v1::WorkspaceSettings {
        locations: settings.locations.iter().map(wire_location).collect(),
        presentations: settings
            .presentations
            .iter()
            .map(presentation_number)
            .collect(),
        undemanded_scopes: undemanded.into(),
        secret_storage: storage.into(),
        slots: slots.into(),
        rotation_guard: settings.rotation_guard.map(wire_duration),
        token_prefix: settings.token_prefix.clone(),
        key_scheme: scheme.into(),
        unmatched_requests: unmatched.into(),
        key_scheme_time: settings.key_scheme_time.map(timestamp),
        key_creation: creation.into(),
        default_lifetime: settings.default_lifetime.map(wire_duration),
        longest_lifetime: settings.longest_lifetime.map(wire_duration),
        rotation_age: settings.rotation_age.map(wire_duration),
        leak_policy: lifecycle::wire_leak_policy(settings.leak_policy).into(),
        leak_grace: settings.leak_grace.map(wire_duration),
        provisioning: settings
            .provisioning
            .as_ref()
            .map(lifecycle::wire_provisioning),
        enforcement: Some(wire_enforcement(settings.enforcement)),
        request_log: log.into(),
        request_log_sample: settings.request_log_sample.map(Share::as_f64),
        request_log_retention: settings.request_log_retention.map(wire_duration),
        usage_retention: settings.usage_retention.map(wire_duration),
    }
}

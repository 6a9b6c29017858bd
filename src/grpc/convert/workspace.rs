//! Workspaces, subscriptions, scopes.

use std::time::Duration;

use crate::app::directory::{ScopeEdit, SubscriptionEdit, WorkspaceEdit};
use crate::app::error::Error;
use crate::domain::revision;
use crate::domain::scope::{self, Grant};
use crate::domain::text;
use crate::domain::time::Time;
use crate::domain::token;
use crate::domain::workspace::{
    KeyCreation, KeyScheme, Location, PresentationSet, Scope, Subscription, UndemandedScopes,
    UnmatchedRequests, Workspace, WorkspaceSettings,
};
use crate::grpc::proto::v1;

use super::input::{
    check, duration, enumeration, parse, presentation, presentation_number, timestamp,
    wire_duration,
};
use super::key::set;
use super::lifecycle::{self, MINUTE, SECOND};
use super::mask::{Mask, something};

const MAX_GUARD: Duration = Duration::from_secs(90 * 24 * 3_600);
const MAX_LOCATIONS: usize = 16;

/// Stands for times that the store sets.
const UNSET: Time = Time::from_micros(0);

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

/// Reads places for a credential.
pub(super) fn locations(
    field: &str,
    list: Vec<v1::CredentialLocation>,
) -> Result<Vec<Location>, Error> {
    use v1::credential_location::Location as Wire;
    if list.len() > MAX_LOCATIONS {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_LOCATIONS} entries; remove some"),
        ));
    }
    let mut locations: Vec<Location> = Vec::with_capacity(list.len());
    for (i, wire) in list.into_iter().enumerate() {
        let at = |part: &str| format!("{field}[{i}]{part}");
        let location = match wire.location {
            None => {
                return Err(Error::invalid(
                    at(""),
                    "is empty; give `header`, `query`, `bearer` or `basic`",
                ));
            }
            Some(Wire::Header(name)) => {
                Location::header(&name).map_err(|e| Error::invalid_at(&at(".header"), e))?
            }
            Some(Wire::Query(name)) => {
                Location::query(&name).map_err(|e| Error::invalid_at(&at(".query"), e))?
            }
            Some(Wire::Bearer(true)) => Location::Bearer,
            Some(Wire::Basic(true)) => Location::Basic,
            Some(Wire::Bearer(false) | Wire::Basic(false)) => {
                return Err(Error::invalid(at(""), "is false; leave it out instead"));
            }
        };
        if locations.contains(&location) {
            return Err(Error::invalid(
                at(""),
                "stands in the list already; remove one",
            ));
        }
        locations.push(location);
    }
    Ok(locations)
}

fn presentations(field: &str, list: &[i32]) -> Result<PresentationSet, Error> {
    if list.len() > MAX_LOCATIONS {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_LOCATIONS} entries; name each way once"),
        ));
    }
    let mut set = Vec::new();
    for (i, number) in list.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let one = presentation(&field, *number)?;
        set.push(
            one.ok_or_else(|| Error::invalid(field, "is unspecified; name a way of presenting"))?,
        );
    }
    Ok(set.into_iter().collect())
}

fn name(field: &str, name: String) -> Result<String, Error> {
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

/// Writes a place for a credential.
pub(super) fn wire_location(location: &Location) -> v1::CredentialLocation {
    use v1::credential_location::Location as Wire;
    v1::CredentialLocation {
        location: Some(match location {
            Location::Bearer => Wire::Bearer(true),
            Location::Basic => Wire::Basic(true),
            Location::Header(name) => Wire::Header(name.clone()),
            Location::Query(name) => Wire::Query(name.clone()),
        }),
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
    }
}

/// Reads a new subscription; its workspace is found apart.
pub(in crate::grpc) fn new_subscription(
    wire: v1::Subscription,
    workspace: crate::domain::id::WorkspaceId,
) -> Result<Subscription, Error> {
    Ok(Subscription {
        workspace,
        id: parse("subscription.id", &wire.id)?,
        display_name: name("subscription.display_name", wire.display_name)?,
        enabled: wire.enabled.unwrap_or(true),
        create_time: UNSET,
        update_time: UNSET,
        revision: 0,
    })
}

/// Reads what an update changes.
pub(in crate::grpc) fn subscription_edits(
    wire: v1::Subscription,
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<SubscriptionEdit>, Error> {
    let mask = Mask::parse(mask, &["display_name", "enabled"])?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !wire.display_name.is_empty()) {
        edits.push(SubscriptionEdit::DisplayName(name(
            "subscription.display_name",
            wire.display_name,
        )?));
    }
    if mask.takes("enabled", wire.enabled.is_some()) {
        edits.push(SubscriptionEdit::Enabled(wire.enabled.unwrap_or(true)));
    }
    something(edits)
}

/// Writes a subscription.
pub(in crate::grpc) fn subscription(subscription: &Subscription) -> v1::Subscription {
    v1::Subscription {
        workspace: subscription.workspace.to_string(),
        id: subscription.id.to_string(),
        display_name: subscription.display_name.clone(),
        enabled: Some(subscription.enabled),
        create_time: Some(timestamp(subscription.create_time)),
        update_time: Some(timestamp(subscription.update_time)),
        etag: revision::etag(subscription.revision),
    }
}

/// Reads a new catalogue entry; its workspace is found apart.
pub(in crate::grpc) fn new_scope(
    wire: v1::Scope,
    workspace: crate::domain::id::WorkspaceId,
) -> Result<Scope, Error> {
    check("scope.name", scope::check_name(&wire.name))?;
    Ok(Scope {
        workspace,
        name: wire.name,
        display_name: name("scope.display_name", wire.display_name)?,
        description: description(wire.description)?,
        presentations: presentations("scope.presentations", &wire.presentations)?,
        implies: implies(&wire.implies)?,
        create_time: UNSET,
        update_time: UNSET,
        revision: 0,
    })
}

/// Reads what an update changes.
pub(in crate::grpc) fn scope_edits(
    wire: v1::Scope,
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<ScopeEdit>, Error> {
    let mask = Mask::parse(
        mask,
        &["display_name", "description", "presentations", "implies"],
    )?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !wire.display_name.is_empty()) {
        edits.push(ScopeEdit::DisplayName(name(
            "scope.display_name",
            wire.display_name,
        )?));
    }
    if mask.takes("description", !wire.description.is_empty()) {
        edits.push(ScopeEdit::Description(description(wire.description)?));
    }
    if mask.takes("presentations", !wire.presentations.is_empty()) {
        edits.push(ScopeEdit::Presentations(presentations(
            "scope.presentations",
            &wire.presentations,
        )?));
    }
    if mask.takes("implies", !wire.implies.is_empty()) {
        edits.push(ScopeEdit::Implies(implies(&wire.implies)?));
    }
    something(edits)
}

fn description(description: String) -> Result<String, Error> {
    check("scope.description", text::description(&description)).map(|()| description)
}

fn implies(list: &[String]) -> Result<Vec<Grant>, Error> {
    let implied = set("scope.implies", list, Grant::parse)?;
    match implied.iter().position(|grant| !grant.is_admin()) {
        None => Ok(implied),
        Some(i) => Err(Error::invalid(
            format!("scope.implies[{i}]"),
            "is not of the family `claviger:`; a scope implies nothing else",
        )),
    }
}

/// Writes a catalogue entry.
pub(in crate::grpc) fn scope(scope: &Scope) -> v1::Scope {
    v1::Scope {
        workspace: scope.workspace.to_string(),
        name: scope.name.clone(),
        display_name: scope.display_name.clone(),
        description: scope.description.clone(),
        presentations: scope
            .presentations
            .iter()
            .map(presentation_number)
            .collect(),
        implies: scope
            .implies
            .iter()
            .map(|g| g.as_str().to_owned())
            .collect(),
        create_time: Some(timestamp(scope.create_time)),
        update_time: Some(timestamp(scope.update_time)),
        etag: revision::etag(scope.revision),
    }
}

//! Subscriptions and scopes.

use super::credential::presentations;
use super::input::{check, parse, presentation_number, timestamp};
use super::key::set;
use super::mask::{Mask, something};
use super::workspace::{UNSET, name};
use crate::app::directory::{ScopeEdit, SubscriptionEdit};
use crate::app::error::Error;
use crate::domain::revision;
use crate::domain::scope::{self, Grant};
use crate::domain::text;
use crate::domain::workspace::{Scope, Subscription};
use crate::grpc::proto::v1;

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

//! Rows and domain values, one into the other. What can't be read is `Corrupt`, by table and column, never by value.

use std::collections::BTreeSet;
use std::str::FromStr;

use sea_orm::ActiveValue::NotSet;
use sea_orm::IntoActiveModel as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entity::{
    imports, key_terms, keys, principals, scopes, secrets, subscriptions, workspaces,
};
use super::error::corrupt;
use crate::app::ports::{ImportRecord, StoreError};
use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::principal::{Principal, ScopeSource};
use crate::domain::secret::{Origin, RevocationReason, Secret, Slot};
use crate::domain::text;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// The term that finds keys with this grant.
pub(super) fn scope_term(grant: &str) -> String {
    format!("scope:{grant}")
}

/// The start of every term that tells a subscription.
pub(super) const SUBSCRIPTION_TERMS: &str = "subscription:";

/// The term that finds keys bound to this subscription.
pub(super) fn subscription_term(id: &SubscriptionId) -> String {
    format!("{SUBSCRIPTION_TERMS}{id}")
}

/// The term that finds keys bound to this principal.
pub(super) fn principal_term(id: &PrincipalId) -> String {
    format!("principal:{id}")
}

/// The term that finds keys with this label, or this value of it. Names have no `=`, so that the two can't be confused.
pub(super) fn label_term(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("label:{name}={value}"),
        None => format!("label:{name}"),
    }
}

/// All a key can be found by.
pub(super) fn terms(key: &Key) -> BTreeSet<String> {
    let settings = &key.settings;
    let scopes = settings.scopes.iter().map(|g| scope_term(g.as_str()));
    let subscriptions = settings.subscriptions.iter().map(subscription_term);
    let labels = settings
        .labels
        .iter()
        .flat_map(|(name, value)| [label_term(name, None), label_term(name, Some(value))]);
    let principal = settings.principal.iter().map(principal_term);
    scopes
        .chain(subscriptions)
        .chain(principal)
        .chain(labels)
        .collect()
}

/// The rows of what a key can be found by.
pub(super) fn term_rows(key: &Key, terms: &BTreeSet<String>) -> Vec<key_terms::ActiveModel> {
    let row = |term: &String| key_terms::Model {
        workspace_id: key.workspace.as_str().to_owned(),
        term: term.clone(),
        key_id: key.id.to_bytes().to_vec(),
    };
    terms.iter().map(|t| row(t).into_active_model()).collect()
}

/// The row of a key, without its time of last use.
pub(super) fn key_row(key: &Key) -> Result<keys::ActiveModel, StoreError> {
    let Key {
        id,
        workspace,
        settings,
        secrets: _,
        create_time,
        update_time,
        delete_time,
        purge_time,
        revision,
    } = key;
    let mut row = keys::Model {
        id: id.to_bytes().to_vec(),
        workspace_id: workspace.as_str().to_owned(),
        display_name: settings.display_name.clone(),
        name_folded: text::fold(&settings.display_name),
        description: settings.description.clone(),
        scopes: json(&settings.scopes)?,
        subscriptions: json(&settings.subscriptions)?,
        allowed_cidrs: json(&settings.allowed_cidrs)?,
        postback_url: settings.postback_url.clone(),
        off_the_record: settings.off_the_record,
        enabled: settings.enabled,
        expire_time: settings.expire_time.map(Time::micros),
        labels: json(&settings.labels)?,
        shadow_network: settings.enforcement.shadow_network,
        shadow_presentation: settings.enforcement.shadow_presentation,
        shadow_subscription: settings.enforcement.shadow_subscription,
        shadow_scopes: settings.enforcement.shadow_scopes,
        create_time: create_time.micros(),
        update_time: update_time.micros(),
        delete_time: delete_time.map(Time::micros),
        purge_time: purge_time.map(Time::micros),
        last_used_time: None,
        revision: signed(*revision)?,
        scope_source: match settings.scope_source {
            ScopeSource::Explicit => None,
            ScopeSource::Principal => Some(OF_PRINCIPAL.to_owned()),
        },
        principal: settings.principal.as_ref().map(ToString::to_string),
        exercised: None,
    }
    .into_active_model();
    row.last_used_time = NotSet;
    row.exercised = NotSet;
    Ok(row)
}

/// The rows of a key's secrets, without their times of last use.
pub(super) fn secret_rows(key: &Key) -> Result<Vec<secrets::ActiveModel>, StoreError> {
    let row = |(ordinal, secret): (usize, &Secret)| {
        let mut row = secrets::Model {
            id: secret.id.to_bytes().to_vec(),
            key_id: key.id.to_bytes().to_vec(),
            ordinal: i64::try_from(ordinal).map_err(|_| corrupt("a key has too many secrets"))?,
            workspace_id: key.workspace.as_str().to_owned(),
            slot: secret.slot.as_str().to_owned(),
            tag: secret.tag.as_bytes().to_vec(),
            origin: secret.origin.as_str().to_owned(),
            weak: secret.weak,
            prefix: secret.prefix.clone(),
            hint: secret.hint.clone(),
            sealed: secret.sealed.clone(),
            sealed_digest: secret.sealed_digest.clone(),
            create_time: secret.create_time.micros(),
            regenerated: secret.regenerated,
            retire_time: secret.retire_time.map(Time::micros),
            revoke_time: secret.revoke_time.map(Time::micros),
            end_time: secret.end_time().map(Time::micros),
            revocation_reason: secret.revocation_reason.as_str().to_owned(),
            acknowledge_time: secret.acknowledge_time.map(Time::micros),
            leak_time: secret.leak_time.map(Time::micros),
            last_used_time: None,
        }
        .into_active_model();
        row.last_used_time = NotSet;
        Ok(row)
    };
    key.secrets.iter().enumerate().map(row).collect()
}

/// The row of an import.
pub(super) fn import_row(
    workspace: &WorkspaceId,
    record: &ImportRecord,
    time: Time,
) -> imports::ActiveModel {
    let row = imports::Model {
        workspace_id: workspace.as_str().to_owned(),
        import_id: record.import_id.clone(),
        key_id: record.key.to_bytes().to_vec(),
        fingerprint: record.fingerprint.to_vec(),
        create_time: time.micros(),
    };
    row.into_active_model()
}

/// An import from its row.
pub(super) fn import(row: imports::Model) -> Result<ImportRecord, StoreError> {
    Ok(ImportRecord {
        import_id: row.import_id,
        key: key_id(&row.key_id)?,
        fingerprint: <[u8; 32]>::try_from(row.fingerprint.as_slice())
            .map_err(|_| corrupt("imports.fingerprint does not have 32 bytes"))?,
    })
}

/// A tag from its bytes.
pub(super) fn tag(bytes: &[u8]) -> Result<Tag, StoreError> {
    <[u8; 32]>::try_from(bytes)
        .map(Tag::from_bytes)
        .map_err(|_| corrupt("secrets.tag does not have 32 bytes"))
}

/// A key from its row and those of its secrets.
pub(super) fn key(row: keys::Model, secrets: Vec<Secret>) -> Result<Key, StoreError> {
    let settings = KeySettings {
        display_name: row.display_name,
        description: row.description,
        scopes: from_json(&row.scopes, "keys.scopes")?,
        scope_source: scope_source(row.scope_source.as_deref())?,
        principal: row
            .principal
            .map(|id| parse(&id, "keys.principal"))
            .transpose()?,
        subscriptions: from_json(&row.subscriptions, "keys.subscriptions")?,
        allowed_cidrs: from_json(&row.allowed_cidrs, "keys.allowed_cidrs")?,
        postback_url: row.postback_url,
        off_the_record: row.off_the_record,
        enabled: row.enabled,
        expire_time: row.expire_time.map(Time::from_micros),
        labels: from_json(&row.labels, "keys.labels")?,
        enforcement: Enforcement {
            shadow_network: row.shadow_network,
            shadow_presentation: row.shadow_presentation,
            shadow_subscription: row.shadow_subscription,
            shadow_scopes: row.shadow_scopes,
        },
    };
    Ok(Key {
        id: key_id(&row.id)?,
        workspace: parse(&row.workspace_id, "keys.workspace_id")?,
        settings,
        secrets,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        delete_time: row.delete_time.map(Time::from_micros),
        purge_time: row.purge_time.map(Time::from_micros),
        revision: unsigned(row.revision)?,
    })
}

/// A secret from its row.
pub(super) fn secret(row: secrets::Model) -> Result<Secret, StoreError> {
    let unknown = |column: &str| corrupt(format!("secrets.{column} has a text that is not known"));
    Ok(Secret {
        id: secret_id(&row.id)?,
        slot: Slot::from_str_exact(&row.slot).ok_or_else(|| unknown("slot"))?,
        tag: tag(&row.tag)?,
        origin: origin(&row.origin)?,
        weak: row.weak,
        prefix: row.prefix,
        hint: row.hint,
        sealed: row.sealed,
        sealed_digest: None,
        create_time: Time::from_micros(row.create_time),
        regenerated: row.regenerated,
        retire_time: row.retire_time.map(Time::from_micros),
        revoke_time: row.revoke_time.map(Time::from_micros),
        revocation_reason: RevocationReason::from_str_exact(&row.revocation_reason)
            .ok_or_else(|| unknown("revocation_reason"))?,
        acknowledge_time: row.acknowledge_time.map(Time::from_micros),
        leak_time: row.leak_time.map(Time::from_micros),
        last_used_time: row.last_used_time.map(Time::from_micros),
    })
}

/// The row of a workspace.
pub(super) fn workspace_row(w: &Workspace) -> Result<workspaces::ActiveModel, StoreError> {
    let row = workspaces::Model {
        id: w.id.as_str().to_owned(),
        display_name: w.display_name.clone(),
        enabled: w.enabled,
        settings: json(&w.settings)?,
        create_time: w.create_time.micros(),
        update_time: w.update_time.micros(),
        revision: signed(w.revision)?,
    };
    Ok(row.into_active_model())
}

/// A workspace from its row.
pub(super) fn workspace(row: workspaces::Model) -> Result<Workspace, StoreError> {
    Ok(Workspace {
        id: parse(&row.id, "workspaces.id")?,
        display_name: row.display_name,
        enabled: row.enabled,
        settings: from_json(&row.settings, "workspaces.settings")?,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        revision: unsigned(row.revision)?,
    })
}

/// The row of a subscription.
pub(super) fn subscription_row(s: &Subscription) -> Result<subscriptions::ActiveModel, StoreError> {
    let row = subscriptions::Model {
        workspace_id: s.workspace.as_str().to_owned(),
        id: s.id.as_str().to_owned(),
        display_name: s.display_name.clone(),
        enabled: s.enabled,
        create_time: s.create_time.micros(),
        update_time: s.update_time.micros(),
        revision: signed(s.revision)?,
    };
    Ok(row.into_active_model())
}

/// A subscription from its row.
pub(super) fn subscription(row: subscriptions::Model) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        workspace: parse(&row.workspace_id, "subscriptions.workspace_id")?,
        id: parse(&row.id, "subscriptions.id")?,
        display_name: row.display_name,
        enabled: row.enabled,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        revision: unsigned(row.revision)?,
    })
}

/// The row of a catalogue entry.
pub(super) fn scope_row(s: &Scope) -> Result<scopes::ActiveModel, StoreError> {
    let row = scopes::Model {
        workspace_id: s.workspace.as_str().to_owned(),
        name: s.name.clone(),
        display_name: s.display_name.clone(),
        description: s.description.clone(),
        presentations: json(&s.presentations)?,
        implies: json(&s.implies)?,
        create_time: s.create_time.micros(),
        update_time: s.update_time.micros(),
        revision: signed(s.revision)?,
    };
    Ok(row.into_active_model())
}

/// A catalogue entry from its row.
pub(super) fn scope(row: scopes::Model) -> Result<Scope, StoreError> {
    Ok(Scope {
        workspace: parse(&row.workspace_id, "scopes.workspace_id")?,
        name: row.name,
        display_name: row.display_name,
        description: row.description,
        presentations: from_json(&row.presentations, "scopes.presentations")?,
        implies: from_json(&row.implies, "scopes.implies")?,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        revision: unsigned(row.revision)?,
    })
}

/// What stands for scopes that come from the principal.
const OF_PRINCIPAL: &str = "PRINCIPAL";

/// Where the scopes of a key come from, from its text.
pub(super) fn scope_source(text: Option<&str>) -> Result<ScopeSource, StoreError> {
    match text {
        None => Ok(ScopeSource::Explicit),
        Some(OF_PRINCIPAL) => Ok(ScopeSource::Principal),
        Some(_) => Err(corrupt("keys.scope_source has a text that is not known")),
    }
}

/// The row of a principal.
pub(super) fn principal_row(p: &Principal) -> Result<principals::ActiveModel, StoreError> {
    let row = principals::Model {
        workspace_id: p.workspace.as_str().to_owned(),
        id: p.id.as_str().to_owned(),
        display_name: p.display_name.clone(),
        // No part that is looked for has a line feed in it.
        name_folded: text::fold(&format!("{}\n{}", p.id, p.display_name)),
        enabled: p.enabled,
        scopes: json(&p.scopes)?,
        create_time: p.create_time.micros(),
        update_time: p.update_time.micros(),
        revision: signed(p.revision)?,
    };
    Ok(row.into_active_model())
}

/// A principal from its row.
pub(super) fn principal(row: principals::Model) -> Result<Principal, StoreError> {
    Ok(Principal {
        workspace: parse(&row.workspace_id, "principals.workspace_id")?,
        id: parse(&row.id, "principals.id")?,
        display_name: row.display_name,
        enabled: row.enabled,
        scopes: from_json(&row.scopes, "principals.scopes")?,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        revision: unsigned(row.revision)?,
    })
}

/// A key's id from its bytes.
pub(super) fn key_id(bytes: &[u8]) -> Result<KeyId, StoreError> {
    number(bytes).map(KeyId::from_u128)
}

/// A secret's id from its bytes.
pub(super) fn secret_id(bytes: &[u8]) -> Result<SecretId, StoreError> {
    number(bytes).map(SecretId::from_u128)
}

/// Who made a token, from its text.
pub(super) fn origin(text: &str) -> Result<Origin, StoreError> {
    Origin::from_str_exact(text)
        .ok_or_else(|| corrupt("secrets.origin has a text that is not known"))
}

/// A workspace's id from its text.
pub(super) fn workspace_id(text: &str) -> Result<WorkspaceId, StoreError> {
    parse(text, "workspace_id")
}

/// Any text that parses.
pub(super) fn parse<T: FromStr>(text: &str, column: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| corrupt(format!("{column} has a text that can't be read")))
}

/// A revision as the database keeps it.
pub(super) fn signed(revision: u64) -> Result<i64, StoreError> {
    i64::try_from(revision).map_err(|_| corrupt("a revision is out of range"))
}

/// A revision from the database.
pub(super) fn unsigned(revision: i64) -> Result<u64, StoreError> {
    u64::try_from(revision).map_err(|_| corrupt("a revision is negative"))
}

fn number(bytes: &[u8]) -> Result<u128, StoreError> {
    <[u8; 16]>::try_from(bytes)
        .map(u128::from_be_bytes)
        .map_err(|_| corrupt("an id does not have 16 bytes"))
}

/// A value as the JSON in a column.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| corrupt("a value can't be written as JSON"))
}

/// A value from the JSON in a column.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(format!("{column} can't be read")))
}

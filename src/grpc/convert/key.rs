//! Keys.

use std::collections::BTreeMap;

use crate::app::error::Error;
use crate::app::keys::Edit;
use crate::domain::id::{PrincipalId, SubscriptionId};
use crate::domain::key::{Enforcement, Key, KeySettings, KeyState};
use crate::domain::network::{self, IpNet};
use crate::domain::postback::Destination;
use crate::domain::principal::ScopeSource;
use crate::domain::scope::Grant;
use crate::domain::secret::Slot;
use crate::domain::text;
use crate::domain::time::Time;
use crate::grpc::proto::v1;

use super::input::{check, enumeration, time, timestamp};
use super::mask::{Mask, something};
use super::secret::secret;

pub(super) const MAX_LIST: usize = 64;

/// Reads the settings of a new key.
pub(in crate::grpc) fn key_settings(key: v1::Key) -> Result<KeySettings, Error> {
    let (scopes, principal) = (scopes(&key.scopes)?, principal(&key.principal)?);
    let source = scope_source(key.scope_source)?;
    Ok(KeySettings {
        display_name: display_name(key.display_name)?,
        description: description(key.description)?,
        scope_source: source.unwrap_or_else(|| ScopeSource::of(&scopes, &principal)),
        scopes,
        principal,
        subscriptions: subscriptions(&key.subscriptions)?,
        allowed_cidrs: cidrs(&key.allowed_cidrs)?,
        postback_url: postback_url(key.postback_url)?,
        off_the_record: key.off_the_record,
        enabled: key.enabled.unwrap_or(true),
        expire_time: expire_time(key.expire_time)?,
        labels: labels(key.labels)?,
        enforcement: enforcement("key.enforcement", key.enforcement)?,
    })
}

/// The fields of a key that an update can change.
const KEY_FIELDS: &[&str] = &[
    "display_name",
    "description",
    "scopes",
    "subscriptions",
    "allowed_cidrs",
    "postback_url",
    "off_the_record",
    "enabled",
    "expire_time",
    "labels",
    "enforcement",
    "enforcement.network",
    "enforcement.presentation",
    "enforcement.subscription",
    "enforcement.scopes",
    "principal",
    "scope_source",
];

/// Reads what an update changes.
pub(in crate::grpc) fn key_edits(
    key: v1::Key,
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<Edit>, Error> {
    let mask = Mask::parse(mask, KEY_FIELDS)?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !key.display_name.is_empty()) {
        edits.push(Edit::DisplayName(display_name(key.display_name)?));
    }
    if mask.takes("description", !key.description.is_empty()) {
        edits.push(Edit::Description(description(key.description)?));
    }
    if mask.takes("scopes", !key.scopes.is_empty()) {
        edits.push(Edit::Scopes(scopes(&key.scopes)?));
    }
    if mask.takes("subscriptions", !key.subscriptions.is_empty()) {
        edits.push(Edit::Subscriptions(subscriptions(&key.subscriptions)?));
    }
    if mask.takes("allowed_cidrs", !key.allowed_cidrs.is_empty()) {
        edits.push(Edit::AllowedCidrs(cidrs(&key.allowed_cidrs)?));
    }
    if mask.takes("postback_url", !key.postback_url.is_empty()) {
        edits.push(Edit::PostbackUrl(postback_url(key.postback_url)?));
    }
    if mask.takes("off_the_record", key.off_the_record) {
        edits.push(Edit::OffTheRecord(key.off_the_record));
    }
    if mask.takes("enabled", key.enabled.is_some()) {
        edits.push(Edit::Enabled(key.enabled.unwrap_or(true)));
    }
    if mask.takes("expire_time", key.expire_time.is_some()) {
        edits.push(Edit::ExpireTime(expire_time(key.expire_time)?));
    }
    if mask.takes("labels", !key.labels.is_empty()) {
        edits.push(Edit::Labels(labels(key.labels)?));
    }
    if mask.takes("principal", !key.principal.is_empty()) {
        edits.push(Edit::Principal(principal(&key.principal)?));
    }
    // After what it may follow from.
    if mask.takes("scope_source", key.scope_source != 0) {
        edits.push(Edit::ScopeSource(scope_source(key.scope_source)?));
    }
    let whole = enforcement("key.enforcement", key.enforcement)?;
    if mask.takes("enforcement", key.enforcement.is_some()) {
        edits.push(Edit::Enforcement(whole));
    }
    let parts = [
        (
            "enforcement.network",
            Edit::ShadowNetwork(whole.shadow_network),
        ),
        (
            "enforcement.presentation",
            Edit::ShadowPresentation(whole.shadow_presentation),
        ),
        (
            "enforcement.subscription",
            Edit::ShadowSubscription(whole.shadow_subscription),
        ),
        (
            "enforcement.scopes",
            Edit::ShadowScopes(whole.shadow_scopes),
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

fn display_name(name: String) -> Result<String, Error> {
    check("key.display_name", text::display_name(&name)).map(|()| name)
}

fn description(description: String) -> Result<String, Error> {
    check("key.description", text::description(&description)).map(|()| description)
}

fn postback_url(url: String) -> Result<String, Error> {
    if !url.is_empty() {
        check("key.postback_url", Destination::parse(&url).map(drop))?;
    }
    Ok(url)
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    check("key.labels", text::labels(&labels)).map(|()| labels)
}

fn expire_time(expire_time: Option<prost_types::Timestamp>) -> Result<Option<Time>, Error> {
    expire_time.map(|t| time("key.expire_time", t)).transpose()
}

fn scopes(list: &[String]) -> Result<Vec<Grant>, Error> {
    set("key.scopes", list, Grant::parse)
}

fn subscriptions(list: &[String]) -> Result<Vec<SubscriptionId>, Error> {
    set("key.subscriptions", list, str::parse)
}

fn principal(id: &str) -> Result<Option<PrincipalId>, Error> {
    super::input::parse_optional("key.principal", id)
}

/// None: it is not said.
fn scope_source(number: i32) -> Result<Option<ScopeSource>, Error> {
    Ok(
        match enumeration::<v1::ScopeSource>("key.scope_source", number)? {
            v1::ScopeSource::Unspecified => None,
            v1::ScopeSource::Explicit => Some(ScopeSource::Explicit),
            v1::ScopeSource::Principal => Some(ScopeSource::Principal),
        },
    )
}

fn wire_scope_source(source: ScopeSource) -> i32 {
    let source = match source {
        ScopeSource::Explicit => v1::ScopeSource::Explicit,
        ScopeSource::Principal => v1::ScopeSource::Principal,
    };
    source.into()
}

fn cidrs(list: &[String]) -> Result<Vec<IpNet>, Error> {
    set("key.allowed_cidrs", list, network::parse)
}

/// Reads a list that is a set: sorted, without doubles.
pub(in crate::grpc) fn set<T: Ord>(
    field: &str,
    list: &[String],
    parse: impl Fn(&str) -> Result<T, crate::domain::invalid::Invalid>,
) -> Result<Vec<T>, Error> {
    if list.len() > MAX_LIST {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_LIST} entries; remove some"),
        ));
    }
    let mut set = Vec::with_capacity(list.len());
    for (i, text) in list.iter().enumerate() {
        set.push(parse(text).map_err(|e| Error::invalid_at(&format!("{field}[{i}]"), e))?);
    }
    set.sort();
    set.dedup();
    Ok(set)
}

/// Reads what is in shadow.
pub(super) fn enforcement(
    at: &str,
    enforcement: Option<v1::Enforcement>,
) -> Result<Enforcement, Error> {
    let wire = enforcement.unwrap_or_default();
    let shadow = |field: &str, mode: i32| {
        let mode = enumeration::<v1::EnforcementMode>(&format!("{at}.{field}"), mode)?;
        Ok::<_, Error>(mode == v1::EnforcementMode::Shadow)
    };
    Ok(Enforcement {
        shadow_network: shadow("network", wire.network)?,
        shadow_presentation: shadow("presentation", wire.presentation)?,
        shadow_subscription: shadow("subscription", wire.subscription)?,
        shadow_scopes: shadow("scopes", wire.scopes)?,
    })
}

/// Writes a key as it is at `now`.
pub(in crate::grpc) fn key(key: &Key, now: Time) -> v1::Key {
    let settings = &key.settings;
    let mut secrets: Vec<_> = key.secrets.iter().collect();
    // Live ones first, the newest of them first.
    secrets.sort_by_key(|s| {
        (
            !s.is_live(now),
            s.retire_time.is_some(),
            s.slot == Slot::Secondary,
            std::cmp::Reverse(s.id),
        )
    });
    v1::Key {
        id: key.id.to_string(),
        workspace: key.workspace.to_string(),
        display_name: settings.display_name.clone(),
        description: settings.description.clone(),
        scopes: settings
            .scopes
            .iter()
            .map(|s| s.as_str().to_owned())
            .collect(),
        subscriptions: settings
            .subscriptions
            .iter()
            .map(ToString::to_string)
            .collect(),
        allowed_cidrs: settings
            .allowed_cidrs
            .iter()
            .map(ToString::to_string)
            .collect(),
        postback_url: settings.postback_url.clone(),
        off_the_record: settings.off_the_record,
        enabled: Some(settings.enabled),
        expire_time: settings.expire_time.map(timestamp),
        labels: settings.labels.clone(),
        enforcement: Some(wire_enforcement(settings.enforcement)),
        state: wire_state(key.state(now)).into(),
        secrets: secrets.into_iter().map(|s| secret(s, now)).collect(),
        create_time: Some(timestamp(key.create_time)),
        update_time: Some(timestamp(key.update_time)),
        delete_time: key.delete_time.map(timestamp),
        purge_time: key.purge_time.map(timestamp),
        last_used_time: key.last_used_time().map(timestamp),
        etag: key.etag(),
        warnings: warnings(key, now),
        scope_source: wire_scope_source(settings.scope_source),
        principal: settings
            .principal
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn wire_state(state: KeyState) -> v1::key::State {
    match state {
        KeyState::Active => v1::key::State::Active,
        KeyState::Disabled => v1::key::State::Disabled,
        KeyState::Expired => v1::key::State::Expired,
        KeyState::Deleted => v1::key::State::Deleted,
    }
}

/// Writes what is in shadow.
pub(in crate::grpc) fn wire_enforcement(enforcement: Enforcement) -> v1::Enforcement {
    let mode = |shadow: bool| {
        let mode = if shadow {
            v1::EnforcementMode::Shadow
        } else {
            v1::EnforcementMode::Enforce
        };
        mode.into()
    };
    v1::Enforcement {
        network: mode(enforcement.shadow_network),
        presentation: mode(enforcement.shadow_presentation),
        subscription: mode(enforcement.shadow_subscription),
        scopes: mode(enforcement.shadow_scopes),
    }
}

/// What an administrator should know about a key.
pub(super) fn warnings(key: &Key, now: Time) -> Vec<v1::Warning> {
    let settings = &key.settings;
    let data_scopes = settings.scopes.iter().filter(|s| !s.is_admin()).count();
    let found = [
        (
            data_scopes > 1,
            "SEVERAL_SCOPES",
            "the key has more than one scope; one key for each purpose limits what a lost one opens",
        ),
        (
            settings.subscriptions.len() > 1,
            "SEVERAL_SUBSCRIPTIONS",
            "the key is valid for more than one subscription; one key for each is safer",
        ),
        (
            key.secrets.iter().any(|s| s.weak && s.is_live(now)),
            "WEAK_SECRET",
            "a secret of the key is weak, and `allowed_cidrs` is all that protects it; replace it with a generated one",
        ),
        (
            key.secrets
                .iter()
                .any(|s| s.leak_time.is_some() && s.is_live(now)),
            "LEAKED_SECRET",
            "a secret of the key was found in public; regenerate it",
        ),
        (
            settings.scopes.iter().any(Grant::is_admin),
            "ADMINISTRATOR",
            "the key can administer Claviger",
        ),
        (
            settings.enforcement.any(),
            "SHADOWED",
            "a restriction of the key only reports, and denies nothing",
        ),
    ];
    found
        .into_iter()
        .filter(|(holds, _, _)| *holds)
        .map(|(_, code, message)| v1::Warning {
            code: code.to_owned(),
            message: message.to_owned(),
        })
        .collect()
}

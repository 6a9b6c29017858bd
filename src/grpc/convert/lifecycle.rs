//! What becomes of keys over time: lifetimes, leaks, provisioning, hygiene.

use std::time::Duration;

use crate::app::directory::NewSubscription;
use crate::app::error::Error;
use crate::app::hygiene::{Examined, Finding, Kind, Limits, NeedsAttention};
use crate::app::keys::{Leak, LeakAction, LeakedSecret, NewKey};
use crate::domain::id::WorkspaceId;
use crate::domain::leak::Place;
use crate::domain::scope::Grant;
use crate::domain::time::Time;
use crate::domain::token::{Token, TokenDigest};
use crate::domain::workspace::{LeakPolicy, Provisioning};
use crate::grpc::proto::v1;

use super::directory::new_subscription;
use super::input::{duration, enumeration, source};
use super::key::{key, key_settings, set};
use super::secret::{issued, wire_slot};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const SECOND: Duration = Duration::from_secs(1);
const MAX_LIFETIME: Duration = Duration::from_secs(3_650 * 24 * 3_600);
/// How many tokens one report names.
const MAX_LEAKS: usize = 100;
/// How many kinds of findings one call asks for.
const MAX_KINDS: usize = 64;

/// Reads a lifetime or age of a workspace's settings, at least `least`.
pub(super) fn span(
    field: &str,
    span: Option<prost_types::Duration>,
    least: Duration,
) -> Result<Option<Duration>, Error> {
    let field = format!("workspace.settings.{field}");
    let span = span
        .map(|span| duration(&field, span, MAX_LIFETIME))
        .transpose()?;
    match span {
        Some(short) if short < least => Err(Error::invalid(
            field,
            format!(
                "is too short; at least {} seconds, or leave it out",
                least.as_secs()
            ),
        )),
        span => Ok(span),
    }
}

pub(super) fn leak_policy(number: i32) -> Result<LeakPolicy, Error> {
    use v1::LeakPolicy as Wire;
    Ok(
        match enumeration::<Wire>("workspace.settings.leak_policy", number)? {
            Wire::Unspecified | Wire::Notify => LeakPolicy::Notify,
            Wire::Disable => LeakPolicy::Disable,
            Wire::Regenerate => LeakPolicy::Regenerate,
        },
    )
}

pub(super) fn wire_leak_policy(policy: LeakPolicy) -> v1::LeakPolicy {
    match policy {
        LeakPolicy::Notify => v1::LeakPolicy::Notify,
        LeakPolicy::Disable => v1::LeakPolicy::Disable,
        LeakPolicy::Regenerate => v1::LeakPolicy::Regenerate,
    }
}

pub(super) fn provisioning(wire: v1::KeyProvisioning) -> Result<Provisioning, Error> {
    let field = "workspace.settings.provisioning.scopes";
    let scopes = set(field, &wire.scopes, Grant::parse)?;
    match wire.scopes.iter().position(|s| s.starts_with("claviger:")) {
        None => Ok(Provisioning { scopes }),
        Some(i) => Err(Error::invalid(
            format!("{field}[{i}]"),
            "is a right over Claviger; such keys are made one by one",
        )),
    }
}

pub(super) fn wire_provisioning(provisioning: &Provisioning) -> v1::KeyProvisioning {
    v1::KeyProvisioning {
        scopes: provisioning
            .scopes
            .iter()
            .map(|s| s.as_str().to_owned())
            .collect(),
    }
}

/// Reads a subscription to make, and the key to make with it; its workspace is found apart.
pub(in crate::grpc) fn provisioned(
    subscription: v1::Subscription,
    provision: Option<v1::ProvisionedKey>,
    workspace: WorkspaceId,
) -> Result<NewSubscription, Error> {
    let subscription = new_subscription(subscription, workspace.clone())?;
    let key = provision.map(|wire| {
        let mut settings = wire.key.unwrap_or_default();
        if !settings.subscriptions.is_empty() {
            return Err(Error::invalid(
                "provision_key.key.subscriptions",
                "must be empty: the key is bound to the subscription that is made",
            ));
        }
        // It is filled in later; until then something stands there that passes.
        let unnamed = settings.display_name.is_empty();
        if unnamed {
            settings.display_name = subscription.id.to_string();
        }
        let mut settings = key_settings(settings).map_err(|e| e.inside("provision_key"))?;
        if unnamed {
            settings.display_name = String::new();
        }
        Ok(NewKey {
            workspace,
            settings,
            primary: source("provision_key.primary", wire.primary)?,
            secondary: wire
                .secondary
                .map(|s| source("provision_key.secondary", Some(s)))
                .transpose()?,
        })
    });
    Ok(NewSubscription {
        key: key.transpose()?,
        subscription,
    })
}

/// Reads tokens that were found in public.
pub(in crate::grpc) fn leaks(found: Vec<v1::FoundToken>) -> Result<Vec<Leak>, Error> {
    if found.is_empty() || found.len() > MAX_LEAKS {
        return Err(Error::invalid(
            "leaks",
            format!("must be 1 to {MAX_LEAKS} reports; send more in further calls"),
        ));
    }
    found
        .into_iter()
        .enumerate()
        .map(|(i, found)| leak(&format!("leaks[{i}]"), found))
        .collect()
}

fn leak(field: &str, found: v1::FoundToken) -> Result<Leak, Error> {
    let (token, digest) = match (found.token.is_empty(), found.sha256_hex.is_empty()) {
        (false, true) => {
            let token = Token::external(found.token)
                .map_err(|e| Error::invalid_at(&format!("{field}.token"), e))?;
            let digest = token.digest();
            (Some(token), digest)
        }
        (true, false) => {
            let digest = TokenDigest::from_hex(&found.sha256_hex)
                .map_err(|e| Error::invalid_at(&format!("{field}.sha256_hex"), e))?;
            (None, digest)
        }
        _ => {
            return Err(Error::invalid(
                format!("{field}.token"),
                "or `sha256_hex` is required: exactly one of them",
            ));
        }
    };
    let known = (token.as_ref(), &digest);
    let place = Place::reported(found.r#type, &found.url, found.source, known)
        .map_err(|e| Error::invalid_at(field, e))?;
    Ok(Leak { digest, place })
}

/// Writes what became of a report.
pub(in crate::grpc) fn leak_result(secrets: &[LeakedSecret]) -> v1::LeakResult {
    use v1::leak_result::Verdict;
    let verdict = if secrets.is_empty() {
        Verdict::FalsePositive
    } else {
        Verdict::TruePositive
    };
    v1::LeakResult {
        verdict: verdict.into(),
        secrets: secrets.iter().map(leaked).collect(),
    }
}

fn leaked(leaked: &LeakedSecret) -> v1::LeakedSecret {
    use v1::leaked_secret::Action;
    let action = match leaked.action {
        LeakAction::Nothing => Action::Unspecified,
        LeakAction::Notified => Action::Notified,
        LeakAction::Disabled => Action::Disabled,
        LeakAction::Regenerated => Action::Regenerated,
    };
    v1::LeakedSecret {
        key_id: leaked.key.to_string(),
        secret_id: leaked.secret.to_string(),
        workspace: leaked.workspace.to_string(),
        action: action.into(),
        already_reported: leaked.already_reported,
        held_back: leaked.held_back.clone().unwrap_or_default(),
        tokens: issued(&leaked.tokens),
    }
}

/// Reads what counts as long, and which findings are asked for.
pub(in crate::grpc) fn hygiene(
    request: &v1::GetKeyHygieneRequest,
) -> Result<(Limits, Vec<Kind>), Error> {
    let span = |field: &str, span: Option<prost_types::Duration>, default: Duration| {
        let span = span.map(|span| duration(field, span, MAX_LIFETIME));
        Ok::<_, Error>(span.transpose()?.unwrap_or(default))
    };
    let limits = Limits {
        expiring_within: span(
            "expiring_within",
            request.expiring_within,
            Limits::EXPIRING_WITHIN,
        )?,
        unused_for: span("unused_for", request.unused_for, Limits::UNUSED_FOR)?,
    };
    if request.findings.len() > MAX_KINDS {
        return Err(Error::invalid(
            "findings",
            format!("has more than {MAX_KINDS} entries; name each once"),
        ));
    }
    let mut kinds = Vec::new();
    for (i, number) in request.findings.iter().enumerate() {
        let field = format!("findings[{i}]");
        let wire = enumeration::<v1::hygiene_finding::Kind>(&field, *number)?;
        let kind = Kind::ALL.into_iter().find(|kind| wire_kind(*kind) == wire);
        kinds.push(kind.ok_or_else(|| {
            Error::invalid(
                field,
                "is unspecified; name a finding, or leave the list empty",
            )
        })?);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok((limits, kinds))
}

/// Writes keys that need attention.
pub(in crate::grpc) fn examined(
    examined: &Examined,
    next_page_token: String,
    now: Time,
) -> v1::GetKeyHygieneResponse {
    let count = |(kind, keys): (Kind, u64)| v1::HygieneCount {
        kind: wire_kind(kind).into(),
        keys: i64::try_from(keys).unwrap_or(i64::MAX),
    };
    v1::GetKeyHygieneResponse {
        keys: examined
            .keys
            .iter()
            .map(|needs| needs_attention(needs, now))
            .collect(),
        next_page_token,
        keys_examined: i32::try_from(examined.examined).unwrap_or(i32::MAX),
        counts: examined.counts().map(count).collect(),
    }
}

fn needs_attention(needs: &NeedsAttention, now: Time) -> v1::KeyHygiene {
    v1::KeyHygiene {
        key: Some(key(&needs.key, now)),
        findings: needs.findings.iter().map(finding).collect(),
        safe_slots: needs.safe_slots.iter().map(|s| wire_slot(*s)).collect(),
    }
}

fn finding(finding: &Finding) -> v1::HygieneFinding {
    v1::HygieneFinding {
        kind: wire_kind(finding.kind).into(),
        message: finding.message(),
        secret_ids: finding.secrets.iter().map(ToString::to_string).collect(),
        slot: finding.slot.map_or(0, wire_slot),
        safe: finding.safe,
        scopes: finding.scopes.clone(),
    }
}

fn wire_kind(kind: Kind) -> v1::hygiene_finding::Kind {
    use v1::hygiene_finding::Kind as Wire;
    match kind {
        Kind::RotationDue => Wire::RotationDue,
        Kind::Expiring => Wire::Expiring,
        Kind::Unused => Wire::Unused,
        Kind::Unacknowledged => Wire::Unacknowledged,
        Kind::OverScoped => Wire::OverScoped,
        Kind::SeveralScopes => Wire::SeveralScopes,
        Kind::SeveralSubscriptions => Wire::SeveralSubscriptions,
        Kind::RetiringInUse => Wire::RetiringInUse,
        Kind::RotationUnfinished => Wire::RotationUnfinished,
        Kind::WeakSecret => Wire::WeakSecret,
        Kind::BeyondLongestLifetime => Wire::BeyondLongestLifetime,
        Kind::NoExpiry => Wire::NoExpiry,
        Kind::Leaked => Wire::Leaked,
    }
}

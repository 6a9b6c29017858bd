//! Secrets, and tokens that were just made.

use super::input::timestamp;
use crate::app::keys::Digests;
use crate::app::mutate::Issued;
use crate::domain::secret::{Origin, RevocationReason, Secret, SecretState, Slot};
use crate::domain::time::Time;
use crate::grpc::proto::v1;

/// Writes a secret as it is at `now`.
pub(super) fn secret(secret: &Secret, now: Time) -> v1::Secret {
    use v1::secret::{Origin as WireOrigin, State};
    let state = match secret.state(now) {
        SecretState::Active => State::Active,
        SecretState::Retiring => State::Retiring,
        SecretState::Revoked => State::Revoked,
    };
    let origin = match secret.origin {
        Origin::Generated => WireOrigin::Generated,
        Origin::ExternalToken => WireOrigin::ExternalToken,
        Origin::ExternalDigest => WireOrigin::ExternalDigest,
    };
    v1::Secret {
        id: secret.id.to_string(),
        slot: wire_slot(secret.slot),
        state: state.into(),
        origin: origin.into(),
        weak: secret.weak,
        hint: secret.hint.clone(),
        recoverable: secret.sealed.is_some(),
        create_time: Some(timestamp(secret.create_time)),
        expire_time: secret.end_time().map(timestamp),
        last_used_time: secret.last_used_time.map(timestamp),
        acknowledge_time: secret.acknowledge_time.map(timestamp),
        revocation_reason: wire_reason(secret.revocation_reason).into(),
        sha256_hex: String::new(),
        leak_time: secret.leak_time.map(timestamp),
    }
}

fn wire_reason(reason: RevocationReason) -> v1::RevocationReason {
    match reason {
        RevocationReason::Unspecified => v1::RevocationReason::Unspecified,
        RevocationReason::KeyCompromise => v1::RevocationReason::KeyCompromise,
        RevocationReason::AffiliationChanged => v1::RevocationReason::AffiliationChanged,
        RevocationReason::Superseded => v1::RevocationReason::Superseded,
        RevocationReason::CessationOfOperation => v1::RevocationReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn => v1::RevocationReason::PrivilegeWithdrawn,
    }
}

/// Writes a slot.
pub(in crate::grpc) fn wire_slot(slot: Slot) -> i32 {
    let slot = match slot {
        Slot::Primary => v1::Slot::Primary,
        Slot::Secondary => v1::Slot::Secondary,
    };
    slot.into()
}

/// Adds the digests that may be shown to keys as they are written.
pub(in crate::grpc) fn add_digests(keys: &mut [v1::Key], digests: &Digests) {
    for secret in keys.iter_mut().flat_map(|key| &mut key.secrets) {
        let id = secret.id.parse().ok();
        if let Some(digest) = id.and_then(|id| digests.of(id)) {
            secret.sha256_hex = digest.to_hex();
        }
    }
}

/// Writes the tokens that were just generated.
pub(in crate::grpc) fn issued(tokens: &[Issued]) -> Vec<v1::IssuedToken> {
    let one = |issued: &Issued| v1::IssuedToken {
        secret_id: issued.secret.to_string(),
        slot: wire_slot(issued.slot),
        token: issued.token.reveal().to_owned(),
    };
    tokens.iter().map(one).collect()
}

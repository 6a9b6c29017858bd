//! Rows of the outbox and what they mean.

use crate::app::ports::StoreError;
use crate::app::ports::outbox::{Delivery, NewEvent, SigningSecret};
use crate::domain::id::{EventId, SigningSecretId};
use crate::domain::postback::{DeliveryState, Failure, place};
use crate::domain::time::Time;
use crate::store::convert;
use crate::store::entity::{deliveries, signing_secrets};
use crate::store::error::corrupt;

/// The row of an event that is due.
pub(super) fn new_row(event: &NewEvent, sequence: i64) -> deliveries::Model {
    deliveries::Model {
        id: event.id.to_bytes().to_vec(),
        workspace_id: event.workspace.as_str().to_owned(),
        key_id: event.key.to_bytes().to_vec(),
        sequence,
        kind: event.kind.clone(),
        once: event.once.clone(),
        data: event.data.clone(),
        url: event.url.clone(),
        place: place(&event.url),
        create_time: event.time.micros(),
        state: DeliveryState::Pending.as_str().to_owned(),
        attempts: 0,
        claimed: false,
        next_attempt_time: Some(event.time.micros()),
        last_attempt_time: None,
        status: None,
        failure: None,
        end_time: None,
    }
}

/// A delivery from its row.
pub(super) fn delivery(row: deliveries::Model) -> Result<Delivery, StoreError> {
    let state = DeliveryState::ALL
        .into_iter()
        .find(|state| state.as_str() == row.state)
        .ok_or_else(|| corrupt("deliveries.state is unknown"))?;
    // One that a newer program knows is shown as none.
    let failure = row
        .failure
        .and_then(|text| Failure::ALL.into_iter().find(|f| f.as_str() == text));
    Ok(Delivery {
        id: event_id(&row.id)?,
        workspace: convert::parse(&row.workspace_id, "deliveries.workspace_id")?,
        key: convert::key_id(&row.key_id)?,
        sequence: convert::unsigned(row.sequence)?,
        kind: row.kind,
        once: row.once,
        data: row.data,
        url: row.url,
        create_time: Time::from_micros(row.create_time),
        state,
        attempts: u32::try_from(row.attempts)
            .map_err(|_| corrupt("deliveries.attempts is out of range"))?,
        next_attempt_time: row.next_attempt_time.map(Time::from_micros),
        last_attempt_time: row.last_attempt_time.map(Time::from_micros),
        status: row.status.and_then(|status| u16::try_from(status).ok()),
        failure,
        end_time: row.end_time.map(Time::from_micros),
    })
}

pub(super) fn event_id(bytes: &[u8]) -> Result<EventId, StoreError> {
    u128_of(bytes, "deliveries.id").map(EventId::from_u128)
}

/// A signing secret from its row.
pub(super) fn signing_secret(row: signing_secrets::Model) -> Result<SigningSecret, StoreError> {
    Ok(SigningSecret {
        id: SigningSecretId::from_u128(u128_of(&row.id, "signing_secrets.id")?),
        workspace: convert::parse(&row.workspace_id, "signing_secrets.workspace_id")?,
        sealed: row.sealed,
        create_time: Time::from_micros(row.create_time),
        expire_time: row.expire_time.map(Time::from_micros),
    })
}

pub(super) fn state_text(state: DeliveryState) -> String {
    state.as_str().to_owned()
}

pub(super) fn failure_text(failure: Failure) -> String {
    failure.as_str().to_owned()
}

fn u128_of(bytes: &[u8], column: &str) -> Result<u128, StoreError> {
    <[u8; 16]>::try_from(bytes)
        .map(u128::from_be_bytes)
        .map_err(|_| corrupt(format!("{column} does not have 16 bytes")))
}

//! POSTbacks.

use crate::app::error::Error;
use crate::app::ports::outbox::{Delivery, SigningSecret};
use crate::app::postbacks::events::publisher_id;
use crate::app::postbacks::signing::NewSecret;
use crate::domain::postback::{DeliveryState, Failure, MAX_DATA};
use crate::grpc::proto::v1;

use super::input::{enumeration, timestamp};

/// Writes a delivery.
pub(in crate::grpc) fn delivery(delivery: &Delivery) -> v1::Delivery {
    let event_id = delivery.once.as_deref().and_then(publisher_id);
    v1::Delivery {
        id: delivery.id.to_string(),
        workspace: delivery.workspace.to_string(),
        key_id: delivery.key.to_string(),
        sequence: delivery.sequence,
        r#type: delivery.kind.clone(),
        event_id: event_id.unwrap_or_default().to_owned(),
        url: delivery.url.clone(),
        state: match delivery.state {
            DeliveryState::Pending => v1::delivery::State::Pending,
            DeliveryState::Delivered => v1::delivery::State::Delivered,
            DeliveryState::Dead => v1::delivery::State::Dead,
        }
        .into(),
        attempts: delivery.attempts,
        failure: failure(delivery.failure),
        http_status: delivery.status.map_or(0, u32::from),
        create_time: Some(timestamp(delivery.create_time)),
        last_attempt_time: delivery.last_attempt_time.map(timestamp),
        next_attempt_time: delivery.next_attempt_time.map(timestamp),
        end_time: delivery.end_time.map(timestamp),
    }
}

/// Writes why an attempt failed.
pub(in crate::grpc) fn failure(failure: Option<Failure>) -> i32 {
    use v1::delivery::Failure as Wire;
    let wire = match failure {
        None => Wire::Unspecified,
        Some(Failure::NoSigningSecret) => Wire::NoSigningSecret,
        Some(Failure::NoUrl) => Wire::NoUrl,
        Some(Failure::InvalidUrl) => Wire::InvalidUrl,
        Some(Failure::NotResolved) => Wire::NotResolved,
        Some(Failure::AddressRefused) => Wire::AddressRefused,
        Some(Failure::NotConnected) => Wire::NotConnected,
        Some(Failure::Tls) => Wire::Tls,
        Some(Failure::Timeout) => Wire::Timeout,
        Some(Failure::Broken) => Wire::Broken,
        Some(Failure::Redirect) => Wire::Redirect,
        Some(Failure::Status) => Wire::Status,
        Some(Failure::Gone) => Wire::Gone,
        Some(Failure::Interrupted) => Wire::Interrupted,
    };
    wire.into()
}

/// Reads the state to list; unspecified means any.
pub(in crate::grpc) fn delivery_state(
    field: &str,
    number: i32,
) -> Result<Option<DeliveryState>, Error> {
    use v1::delivery::State;
    Ok(match enumeration::<State>(field, number)? {
        State::Unspecified => None,
        State::Pending => Some(DeliveryState::Pending),
        State::Delivered => Some(DeliveryState::Delivered),
        State::Dead => Some(DeliveryState::Dead),
    })
}

/// Reads the data of an event: the text of a JSON object, kept as it is.
pub(in crate::grpc) fn event_data(field: &str, text: String) -> Result<String, Error> {
    if text.is_empty() {
        return Ok("{}".to_owned());
    }
    if text.len() > MAX_DATA {
        return Err(Error::invalid(
            field,
            format!(
                "has more than {MAX_DATA} bytes; send what does not fit another way, and its address here"
            ),
        ));
    }
    // What is wrong with it is not said: that would show parts of it.
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => Err(Error::invalid(field, "is not the text of a JSON object")),
    }
}

/// Writes a signing secret, without its text.
pub(in crate::grpc) fn signing_secret(secret: &SigningSecret) -> v1::SigningSecret {
    v1::SigningSecret {
        id: secret.id.to_string(),
        workspace: secret.workspace.to_string(),
        create_time: Some(timestamp(secret.create_time)),
        expire_time: secret.expire_time.map(timestamp),
    }
}

/// Writes a signing secret that was just made, without its text.
pub(in crate::grpc) fn new_signing_secret(secret: &NewSecret) -> v1::SigningSecret {
    v1::SigningSecret {
        id: secret.id.to_string(),
        workspace: secret.workspace.to_string(),
        create_time: Some(timestamp(secret.create_time)),
        expire_time: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_an_object_within_its_limit_and_kept_as_it_is() {
        let read = |text: &str| event_data("data_json", text.to_owned());
        assert_eq!(read("").unwrap(), "{}");
        assert_eq!(read(" {\"n\": 1.10}\n").unwrap(), "{\"n\": 1.10}");
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_DATA - 8));
        assert_eq!(large.len(), MAX_DATA);
        assert!(read(&large).is_ok());
        let deep = format!("{{\"x\":{}}}", "[".repeat(500));
        for bad in [
            "[]",
            "1",
            "null",
            "{",
            "{} {}",
            "{\"a\":\u{0}}",
            &deep,
            &format!("{large} "),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

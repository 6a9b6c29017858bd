//! What is POSTed: the body of an event, and its signature as Standard Webhooks say
//! (<https://github.com/standard-webhooks/standard-webhooks>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::app::ports::outbox::{Delivery, Post};
use crate::domain::time::Time;

use super::events::publisher_id;

/// The bytes that one signing secret stands for.
pub type SigningKey = Zeroizing<[u8; 32]>;

/// What stands before a secret's base64.
pub const SECRET_PREFIX: &str = "whsec_";

/// A signing secret as its receivers are given it.
pub fn text_of(key: &SigningKey) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "{SECRET_PREFIX}{}",
        STANDARD.encode(key.as_slice())
    ))
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    sequence: u64,
    workspace: &'a str,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
}

/// The body: the same bytes for every attempt.
pub fn body(delivery: &Delivery) -> Zeroizing<Vec<u8>> {
    let envelope = Envelope {
        id: delivery.id.to_string(),
        kind: &delivery.kind,
        timestamp: rfc3339(delivery.create_time),
        sequence: delivery.sequence,
        workspace: delivery.workspace.as_str(),
        key_id: delivery.key.to_string(),
        event_id: delivery.once.as_deref().and_then(publisher_id),
    };
    let mut text = serde_json::to_vec(&envelope).unwrap_or_default();
    // The data goes as it came: read and written again, its numbers might be others.
    text.pop();
    text.extend_from_slice(b",\"data\":");
    text.extend_from_slice(delivery.data.as_bytes());
    text.push(b'}');
    Zeroizing::new(text)
}

/// One attempt at a delivery, at this moment, signed with all of these.
pub fn post(delivery: &Delivery, keys: &[SigningKey], now: Time) -> Post {
    let id = delivery.id.to_string();
    let timestamp = now.micros().div_euclid(1_000_000);
    let body = body(delivery);
    let signatures: Vec<_> = keys
        .iter()
        .map(|key| sign(key, &id, timestamp, &body))
        .collect();
    Post {
        url: delivery.url.clone(),
        id,
        timestamp,
        signature: signatures.join(" "),
        body,
    }
}

/// `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`.
fn sign(key: &SigningKey, id: &str, timestamp: i64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_slice()) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A moment in RFC 3339.
pub fn rfc3339(at: Time) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()) * 1_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{EventId, KeyId};
    use crate::domain::postback::DeliveryState;

    fn delivery(once: Option<&str>) -> Delivery {
        Delivery {
            id: EventId::from_u128(1),
            workspace: "acme".parse().unwrap(),
            key: KeyId::from_u128(2),
            sequence: 7,
            kind: "message.delivered".to_owned(),
            once: once.map(str::to_owned),
            data: r#"{"n": 12345678901234567890123.10}"#.to_owned(),
            url: "https://example.com".to_owned(),
            create_time: Time::from_micros(1_700_000_000_500_000),
            state: DeliveryState::Pending,
            attempts: 1,
            next_attempt_time: None,
            last_attempt_time: None,
            status: None,
            failure: None,
            end_time: None,
        }
    }

    #[test]
    fn the_body_is_json_and_carries_the_data_as_it_came() {
        let text = String::from_utf8(body(&delivery(Some("event:m-1"))).to_vec()).unwrap();
        assert_eq!(
            text,
            "{\"id\":\"evt_00000000000000000000000000000001\",\"type\":\"message.delivered\",\
             \"timestamp\":\"2023-11-14T22:13:20.5Z\",\"sequence\":7,\"workspace\":\"acme\",\
             \"key_id\":\"key_00000000000000000000000000000002\",\"event_id\":\"m-1\",\
             \"data\":{\"n\": 12345678901234567890123.10}}"
        );
        let own = String::from_utf8(body(&delivery(Some("expired@9"))).to_vec()).unwrap();
        assert!(!own.contains("event_id"), "{own}");
        assert!(serde_json::from_str::<serde_json::Value>(&own).is_ok());
    }

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_that_signs_has_its_signature() {
        let keys = [Zeroizing::new([1; 32]), Zeroizing::new([2; 32])];
        let post = post(&delivery(None), &keys, Time::from_micros(5_999_999));
        let signatures: Vec<_> = post.signature.split(' ').collect();
        assert_eq!((signatures.len(), post.timestamp), (2, 5));
        assert!(signatures.iter().all(|s| s.starts_with("v1,")));
        assert_ne!(signatures[0], signatures[1]);
        assert!(text_of(&keys[0]).starts_with("whsec_AQEB"));
        assert!(!post.id.contains('.'));
    }
}

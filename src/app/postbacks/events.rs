//! The events of keys: which a change is, and what they say.

use serde_json::{Map, Value, json};

use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::domain::time::Time;

use super::message::rfc3339;

/// It expires soon.
pub const EXPIRING: &str = "key.expiring";
/// It has expired.
pub const EXPIRED: &str = "key.expired";
/// Its token was found in public.
pub const LEAKED: &str = "key.leaked";
/// It was presented although it is dead, or one of its secrets is.
pub const DEAD_KEY_USED: &str = "key.dead_key_used";
/// It was presented from an address outside its networks.
pub const USED_OUTSIDE_NETWORKS: &str = "key.used_outside_networks";

/// An event of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// Of which key.
    pub key: KeyId,
    /// What happened.
    pub kind: &'static str,
    /// What there is to say of it.
    pub data: Map<String, Value>,
}

const OF_PUBLISHER: &str = "event:";

/// What tells a published event from the others of its key.
pub fn published(event_id: &str) -> String {
    format!("{OF_PUBLISHER}{event_id}")
}

/// The publisher's id of an event, if it is published.
pub fn publisher_id(once: &str) -> Option<&str> {
    once.strip_prefix(OF_PUBLISHER)
}

/// What every event of a key says: nothing that opens anything, and nothing of how its workspace is administered.
pub fn about(display_name: &str) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("display_name".to_owned(), json!(display_name));
    data
}

/// The events that a change of a key is, in the order in which they are told.
pub fn of_change(before: Option<&Key>, after: &Key) -> Vec<KeyEvent> {
    let event = |kind: &'static str, more: &[(&str, Value)]| {
        let mut data = about(&after.settings.display_name);
        data.extend(more.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
        KeyEvent {
            key: after.id,
            kind,
            data,
        }
    };
    let Some(before) = before else {
        let expire_time = after.settings.expire_time.map(rfc3339);
        return vec![event("key.created", &[("expire_time", json!(expire_time))])];
    };
    let mut events = Vec::new();
    let old = |id| before.secrets.iter().find(|s| s.id == id);
    for secret in &after.secrets {
        let who = [
            ("secret_id", json!(secret.id)),
            ("slot", json!(secret.slot)),
        ];
        let known = old(secret.id);
        if secret.leak_time.is_some() && known.is_none_or(|was| was.leak_time.is_none()) {
            events.push(event(LEAKED, &who));
        }
        match known {
            None => events.push(event("key.regenerated", &who)),
            Some(was) if was.retire_time.is_none() && secret.revoke_time.is_none() => {
                if let Some(end) = secret.retire_time {
                    let until = [("retire_time", json!(rfc3339(end)))];
                    events.push(event("key.secret_retiring", &[&who[..], &until].concat()));
                }
            }
            Some(_) => {}
        }
    }
    match (before.settings.enabled, after.settings.enabled) {
        (true, false) => events.push(event("key.disabled", &[])),
        (false, true) => events.push(event("key.enabled", &[])),
        _ => {}
    }
    match (before.delete_time, after.delete_time) {
        (None, Some(_)) => {
            let purge_time = after.purge_time.map(rfc3339);
            events.push(event("key.deleted", &[("purge_time", json!(purge_time))]));
        }
        (Some(_), None) => events.push(event("key.undeleted", &[])),
        _ => {}
    }
    events
}

/// The event that a key goes for good which was not deleted before.
pub fn of_purge(key: &Key, now: Time) -> Option<KeyEvent> {
    let mut gone = key.clone();
    gone.delete_time = key.delete_time.or(Some(now));
    gone.purge_time = Some(now);
    of_change(Some(key), &gone).pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SecretId;
    use crate::domain::key::KeySettings;
    use crate::domain::secret::{Origin, Secret, Slot};
    use crate::domain::token::Tag;

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    fn secret(n: u128) -> Secret {
        Secret {
            hint: "hint-of-a-token".to_owned(),
            ..Secret::new(
                SecretId::from_u128(n),
                Slot::Primary,
                Tag::from_bytes([7; 32]),
                Origin::Generated,
                at(1),
            )
        }
    }

    fn key() -> Key {
        Key {
            id: KeyId::from_u128(1),
            workspace: "acme".parse().unwrap(),
            settings: KeySettings {
                display_name: "n".to_owned(),
                description: "internal".to_owned(),
                postback_url: "https://example.com".to_owned(),
                labels: [("internal".to_owned(), "x".to_owned())].into(),
                ..KeySettings::default()
            },
            secrets: vec![secret(1)],
            create_time: at(1),
            update_time: at(1),
            delete_time: None,
            purge_time: None,
            revision: 1,
        }
    }

    fn kinds(before: Option<&Key>, after: &Key) -> Vec<&'static str> {
        of_change(before, after).iter().map(|e| e.kind).collect()
    }

    #[test]
    fn a_change_is_the_events_that_it_makes_and_no_others() {
        let before = key();
        assert_eq!(kinds(None, &before), ["key.created"]);
        assert_eq!(kinds(Some(&before), &before), Vec::<&str>::new());
        let changed = |change: fn(&mut Key)| {
            let mut after = key();
            change(&mut after);
            kinds(Some(&before), &after)
        };
        assert_eq!(
            changed(|k| k.settings.display_name.clear()),
            Vec::<&str>::new()
        );
        assert_eq!(changed(|k| k.settings.enabled = false), ["key.disabled"]);
        assert_eq!(changed(|k| k.delete_time = Some(at(9))), ["key.deleted"]);
        let replaced = changed(|k| {
            k.secrets[0].revoke_time = Some(at(9));
            k.secrets.push(secret(2));
        });
        assert_eq!(replaced, ["key.regenerated"]);
        let leaked = changed(|k| {
            k.secrets[0].leak_time = Some(at(9));
            k.settings.enabled = false;
        });
        assert_eq!(leaked, ["key.leaked", "key.disabled"]);
        let with_grace = changed(|k| {
            k.secrets[0].retire_time = Some(at(9));
            k.secrets.push(secret(2));
        });
        assert_eq!(with_grace, ["key.secret_retiring", "key.regenerated"]);
        let mut disabled = key();
        disabled.settings.enabled = false;
        disabled.delete_time = Some(at(3));
        let back = kinds(Some(&disabled), &before);
        assert_eq!(back, ["key.enabled", "key.undeleted"]);
    }

    #[test]
    fn a_purge_is_told_once() {
        assert_eq!(of_purge(&key(), at(5)).unwrap().kind, "key.deleted");
        let mut deleted = key();
        deleted.delete_time = Some(at(2));
        assert_eq!(of_purge(&deleted, at(5)), None);
    }

    #[test]
    fn an_event_says_nothing_of_tokens_or_of_the_workspace() {
        let mut after = key();
        after.secrets.push(secret(2));
        let text = format!("{:?}", of_change(Some(&key()), &after));
        assert!(
            !text.contains("hint") && !text.contains("internal"),
            "{text}"
        );
    }
}

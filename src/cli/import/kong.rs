//! Key-auth credentials of Kong.
//!
//! The entity `keyauth_credentials` (`Kong/kong`, `kong/plugins/key-auth/daos.lua`): `id`, `key`, `consumer`, `created_at` in
//! seconds, `ttl`, `tags`. As the Admin API lists it (`GET /key-auths`: `data`), as a declarative configuration has it (with
//! `_format_version`; at the top, or with its consumer), or one a line. Declarative configurations are read as JSON:
//! `deck gateway dump --format json`.
//!
//! The Admin API and dumps tell as `ttl` the seconds that are left: it counts from the export, not from `created_at`. The
//! consumer's names become the key's name and labels, tags one label.

use prost_types::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::read::{Entry, Refusal, Rules, Sink, Stop, leftovers, unsupported};
use super::unkey::import_id_of;
use crate::cli::fields::{Fault, Fields};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

/// Fields of a consumer that say nothing about its keys.
const OF_CONSUMERS: [&str; 3] = ["created_at", "updated_at", "type"];
/// What else may hang on a consumer: ways to prove who it is, and what is done with its requests.
const BESIDE: [&str; 8] = [
    "acls",
    "basicauth_credentials",
    "hmacauth_credentials",
    "jwt_secrets",
    "oauth2_credentials",
    "mtls_auth_credentials",
    "plugins",
    "groups",
];

/// Whether a member of a configuration hangs on consumers, and would be lost. Plugins do where they name one.
pub(super) fn is_beside(name: &str, value: &Value) -> bool {
    let names_one = |plugin: &Value| {
        ["consumer", "consumer_group"]
            .iter()
            .any(|field| plugin.get(field).is_some_and(|value| !value.is_null()))
    };
    match value {
        _ if !BESIDE.contains(&name) => false,
        Value::Null => false,
        Value::Array(list) if name == "plugins" => list.iter().any(names_one),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// Whether a record is a consumer, and no configuration: only that has an id or a name.
pub(super) fn is_consumer(record: &Map<String, Value>) -> bool {
    ["id", "username", "custom_id"]
        .iter()
        .any(|name| record.get(*name).is_some_and(|value| !value.is_null()))
}

/// Who a key belongs to.
#[derive(Debug, Clone, Default)]
struct Consumer {
    id: Option<String>,
    username: Option<String>,
    custom_id: Option<String>,
}

impl Consumer {
    /// Takes what is known of a consumer.
    fn take(fields: &mut Fields) -> Result<Self, Fault> {
        Ok(Self {
            id: fields.text("id")?,
            username: fields.text("username")?,
            custom_id: fields.text("custom_id")?,
        })
    }
}

/// Makes items of a record: a credential, or a consumer with several.
pub(super) fn items(mut record: Fields, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let credentials = match record.value("keyauth_credentials") {
        Some(Value::Array(list)) => list,
        // A consumer without keys.
        None if record
            .rest()
            .iter()
            .any(|name| name == "username" || name == "custom_id") =>
        {
            return Ok(());
        }
        _ => {
            let content = credential(record, Consumer::default(), Vec::new(), sink.rules);
            return sink.put(content);
        }
    };
    let (consumer, dropped) = match owner(record, sink.rules) {
        Ok(owner) => owner,
        // None of its keys can be taken; each is said to be refused.
        Err(fault) => {
            for value in credentials {
                crate::cli::fields::wipe(value);
                let fault = fault.clone();
                sink.put(Err(Refusal {
                    import_id: String::new(),
                    fault,
                }))?;
            }
            return Ok(());
        }
    };
    for value in credentials {
        let content = match value {
            Value::Object(map) => credential(
                Fields::of(map),
                consumer.clone(),
                dropped.clone(),
                sink.rules,
            ),
            other => {
                crate::cli::fields::wipe(other);
                Err(Refusal {
                    import_id: String::new(),
                    fault: Fault::new("keyauth_credentials", "must be a list of objects"),
                })
            }
        };
        sink.put(content)?;
    }
    Ok(())
}

/// The consumer of nested credentials, and what of it is dropped.
fn owner(mut record: Fields, rules: &Rules) -> Result<(Consumer, Vec<String>), Fault> {
    let mut dropped = Vec::new();
    let consumer = Consumer::take(&mut record)?;
    record.ignore(&OF_CONSUMERS);
    for name in BESIDE {
        let there = match record.value(name) {
            None => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        };
        if there {
            let message = "of the consumer is not taken over: only its keys are";
            unsupported(Fault::unsupported(name, message), rules, &mut dropped)?;
        }
    }
    // Tags of the consumer are for finding it in Kong.
    record.ignore(&["tags"]);
    leftovers(record.rest(), "", rules, &mut dropped)?;
    Ok((consumer, dropped))
}

fn credential(
    mut record: Fields,
    consumer: Consumer,
    dropped: Vec<String>,
    rules: &Rules,
) -> Result<Entry, Refusal> {
    let mut entry = Entry {
        dropped,
        ..Entry::default()
    };
    match fill(&mut record, consumer, &mut entry, rules) {
        Ok(()) => Ok(entry),
        Err(fault) => Err(Refusal {
            import_id: entry.item.import_id,
            fault,
        }),
    }
}

fn fill(
    record: &mut Fields,
    nested: Consumer,
    entry: &mut Entry,
    rules: &Rules,
) -> Result<(), Fault> {
    let id = record.text("id")?;
    entry.item.import_id = id.clone().unwrap_or_default();
    let token = record
        .text("key")?
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Fault::new("key", "is missing"))?;
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    entry.item.import_id = id.unwrap_or_else(|| import_id_of(&digest));
    entry.item.primary = Some(v1::SecretSource {
        source: Some(Source::ExternalToken(v1::ExternalToken {
            token,
            allow_weak: false,
        })),
    });
    let consumer = match record.value("consumer") {
        None => nested,
        Some(Value::String(id)) => Consumer {
            id: Some(id),
            ..nested
        },
        Some(value) => {
            let mut outer = Fields::of([("consumer".to_owned(), value)].into_iter().collect());
            match outer.object("consumer")? {
                Some(mut fields) => Consumer::take(&mut fields)?,
                None => nested,
            }
        }
    };
    let mut key = v1::Key {
        create_time: record.number("created_at")?.map(at),
        expire_time: expiry(record, rules)?,
        ..Default::default()
    };
    let name = consumer.username.as_ref().or(consumer.custom_id.as_ref());
    key.display_name = name
        .or(consumer.id.as_ref())
        .unwrap_or(&entry.item.import_id)
        .clone();
    let tags = record.list("tags")?.join(",");
    for (label, value) in [
        ("kong.consumer-id", consumer.id),
        ("kong.consumer", consumer.username),
        ("kong.custom-id", consumer.custom_id),
        ("kong.tags", Some(tags).filter(|tags| !tags.is_empty())),
    ] {
        match value {
            Some(value) if value.chars().count() > 256 => {
                let fault =
                    Fault::unsupported(label, "is over 256 characters, too long for a label");
                unsupported(fault, rules, &mut entry.dropped)?;
            }
            Some(value) => {
                key.labels.insert(label.to_owned(), value);
            }
            None => {}
        }
    }
    record.ignore(&["updated_at"]);
    leftovers(record.rest(), "", rules, &mut entry.dropped)?;
    entry.item.key = Some(key);
    Ok(())
}

fn expiry(record: &mut Fields, rules: &Rules) -> Result<Option<Timestamp>, Fault> {
    let Some(left) = record.number("ttl")?.filter(|left| *left > 0) else {
        return Ok(None);
    };
    let exported = rules.exported_at.ok_or_else(|| {
        Fault::new(
            "ttl",
            "counts from when the file was exported; say when with `--exported-at`",
        )
    })?;
    Ok(Some(at(exported.unix_timestamp().saturating_add(left))))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;

    fn read(value: Value, rules: &Rules) -> Result<Entry, Refusal> {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        credential(Fields::of(map), Consumer::default(), Vec::new(), rules)
    }

    #[test]
    fn a_credential_is_taken_over() {
        let rules = Rules {
            exported_at: OffsetDateTime::from_unix_timestamp(1_000_000).ok(),
            ..Rules::default()
        };
        let entry = read(
            json!({
                "id": "c-1", "key": "IL1deIyHyQA40WpeLeA1bIUXuvTwlGjo", "created_at": 900_000, "ttl": 60,
                "consumer": {"id": "u-1", "username": "shop"}, "tags": ["a", "b"],
            }),
            &rules,
        )
        .unwrap();
        let key = entry.item.key.unwrap();
        assert_eq!(entry.item.import_id, "c-1");
        assert_eq!(key.display_name, "shop");
        assert_eq!(key.create_time.unwrap().seconds, 900_000);
        assert_eq!(key.expire_time.unwrap().seconds, 1_000_060);
        let labels: Vec<_> = ["kong.consumer", "kong.consumer-id", "kong.tags"]
            .map(|n| key.labels[n].as_str())
            .into();
        assert_eq!(labels, ["shop", "u-1", "a,b"]);
    }

    #[test]
    fn a_lifetime_needs_the_moment_it_counts_from() {
        let value = json!({"key": "k", "ttl": 60});
        let refusal = read(value, &Rules::default()).unwrap_err();
        assert_eq!(refusal.fault.field, "ttl");
        assert!(refusal.import_id.starts_with("sha256-"));
        let unlimited = read(json!({"key": "k", "ttl": null}), &Rules::default()).unwrap();
        assert_eq!(unlimited.item.key.unwrap().expire_time, None);
    }

    #[test]
    fn what_hangs_on_a_consumer_is_not_lost_silently() {
        let record = || {
            let Value::Object(map) = json!({"username": "u", "acls": [{"group": "g"}], "jwt_secrets": [], "tags": ["t"]})
            else {
                panic!("not an object")
            };
            Fields::of(map)
        };
        let fault = owner(record(), &Rules::default()).unwrap_err();
        assert!(fault.unsupported && fault.field == "acls");
        let rules = Rules {
            ignore_unsupported: true,
            ..Rules::default()
        };
        assert_eq!(owner(record(), &rules).unwrap().1, ["acls"]);
    }
}

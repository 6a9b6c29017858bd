//! Keys of Unkey.
//!
//! What `POST /v2/keys.migrateKeys` takes (`V2KeysMigrateKeyData` in the `OpenAPI` specification of `unkeyed/unkey`,
//! `svc/api/openapi/spec/paths/v2/keys/migrateKeys/`): `hash`, `name`, `externalId`, `meta`, `roles`, `permissions`,
//! `expires` in milliseconds, `enabled`, `credits`, `ratelimits`; in version 1 of that call `hash` is an object of `value`
//! and `variant`. And what `apis.listKeys` answers (`KeyResponseData`): `keyId`, `createdAt`, `plaintext`, `identity` and
//! others.
//!
//! Permissions become scopes; `externalId` (once `ownerId`), `environment` and the plain values of `meta` labels.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::read::{Entry, Refusal, Rules, leftovers, unsupported};
use crate::cli::fields::{Fault, Fields, shown, wipe};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

/// The label that takes `externalId`.
const EXTERNAL_ID: &str = "external-id";

/// The label that takes `environment`, and that field.
const ENVIRONMENT: &str = "environment";

/// Of no use here: what Unkey shows of a key, and where it was.
const LEFT_OUT: [&str; 8] = [
    "prefix",
    "start",
    "apiId",
    "workspaceId",
    "migrationId",
    "updatedAt",
    "lastUsedAt",
    "byteLength",
];

/// Makes an item of a key.
pub(super) fn item(mut key: Fields, rules: &Rules) -> Result<Entry, Refusal> {
    let mut entry = Entry::default();
    let refuse = |import_id: &str, fault| Refusal {
        import_id: import_id.to_owned(),
        fault,
    };
    let (digest, source) = source(&mut key).map_err(|fault| refuse("", fault))?;
    entry.item.primary = Some(v1::SecretSource {
        source: Some(source),
    });
    let own = key.text("keyId").map_err(|fault| refuse("", fault))?;
    entry.item.import_id = own.unwrap_or_else(|| import_id_of(&digest));
    match settings(key, &mut entry, rules) {
        Ok(()) => Ok(entry),
        Err(fault) => Err(refuse(&entry.item.import_id, fault)),
    }
}

/// An id for a key that has none: from its digest, and of no use to whoever looks for a digest.
pub(super) fn import_id_of(digest: &[u8; 32]) -> String {
    let digest: [u8; 32] = Sha256::digest(digest).into();
    let (half, _) = digest.split_at(16);
    format!("sha256-{}", hex::encode(half))
}

/// The token or its digest; and the digest.
fn source(key: &mut Fields) -> Result<([u8; 32], Source), Fault> {
    if let Some(token) = key.text("plaintext")? {
        key.ignore(&["hash"]);
        let digest = Sha256::digest(token.as_bytes()).into();
        let token = v1::ExternalToken {
            token,
            allow_weak: false,
        };
        return Ok((digest, Source::ExternalToken(token)));
    }
    let (value, variant) = match key.value("hash") {
        Some(Value::String(value)) => (value, None),
        Some(value @ Value::Object(_)) => {
            let mut outer = Fields::of([("hash".to_owned(), value)].into_iter().collect());
            let Some(mut hash) = outer.object("hash")? else {
                return Err(Fault::new("hash", "is missing"));
            };
            let variant = hash.text("variant")?;
            (hash.text("value")?.unwrap_or_default(), variant)
        }
        _ => return Err(Fault::new("hash", "is missing, and `plaintext` too")),
    };
    if variant
        .as_deref()
        .is_some_and(|v| !["sha256_hex", "sha256_base64"].contains(&v))
    {
        return Err(Fault::new(
            "hash.variant",
            "must be `sha256_hex` or `sha256_base64`",
        ));
    }
    let digest = digest(&value).ok_or_else(|| {
        Fault::new(
            "hash",
            "is no SHA-256 of the token in hexadecimal or base64; Claviger takes no other digest",
        )
    })?;
    let source = v1::ExternalDigest {
        sha256_hex: hex::encode(digest),
        asserted_entropy_bits: 0,
        allow_weak: false,
    };
    Ok((digest, Source::ExternalDigest(source)))
}

fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        let mut digest = [0; 32];
        return hex::decode_to_slice(text, &mut digest)
            .ok()
            .map(|()| digest);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn settings(mut key: Fields, entry: &mut Entry, rules: &Rules) -> Result<(), Fault> {
    let mut settings = v1::Key {
        scopes: key.list("permissions")?,
        enabled: key.flag("enabled")?,
        expire_time: millis(&mut key, "expires")?,
        create_time: millis(&mut key, "createdAt")?,
        ..Default::default()
    };
    let (new, old) = (key.text("externalId")?, key.text("ownerId")?);
    let mut owner = new.or(old);
    if let Some(mut identity) = key.object("identity")? {
        owner = owner.or(identity.text("externalId")?);
        // It is about whoever has the key: what it says is lost, and what the key may do is not.
        if identity.value("meta").is_some_and(says_something) {
            entry.dropped.push("identity.meta".to_owned());
        }
        identity.ignore(&["id"]);
        limits(&mut identity, "identity.", entry, rules)?;
    }
    let name = key.text("name")?.filter(|name| !name.is_empty());
    settings.display_name = name
        .or_else(|| owner.clone())
        .unwrap_or_else(|| entry.item.import_id.clone());
    if let Some(owner) = owner {
        settings.labels.insert(EXTERNAL_ID.to_owned(), owner);
    }
    if let Some(environment) = key.text(ENVIRONMENT)?.filter(|name| !name.is_empty()) {
        settings.labels.insert(ENVIRONMENT.to_owned(), environment);
    }
    if let Some(meta) = key.object("meta")? {
        labels(meta, &mut settings, entry, rules)?;
    }
    if !key.list("roles")?.is_empty() {
        let message = "Claviger has no roles; put what they permit into `permissions`";
        unsupported(
            Fault::unsupported("roles", message),
            rules,
            &mut entry.dropped,
        )?;
    }
    limits(&mut key, "", entry, rules)?;
    key.ignore(&LEFT_OUT);
    leftovers(key.rest(), "", rules, &mut entry.dropped)?;
    entry.item.key = Some(settings);
    Ok(())
}

fn says_something(meta: Value) -> bool {
    let said = match &meta {
        Value::Object(map) => !map.is_empty(),
        Value::Null => false,
        _ => true,
    };
    wipe(meta);
    said
}

/// Limits on use, which Claviger has not.
fn limits(key: &mut Fields, path: &str, entry: &mut Entry, rules: &Rules) -> Result<(), Fault> {
    for name in ["credits", "remaining", "refill", "ratelimits", "ratelimit"] {
        let limits = match key.value(name) {
            None => false,
            Some(Value::Array(list)) => !list.is_empty(),
            // No number of credits: as many as are wanted.
            Some(Value::Object(map)) if name == "credits" => {
                map.values().any(|value| !value.is_null())
            }
            Some(_) => true,
        };
        if limits {
            let message = "Claviger does not count or limit use";
            let fault = Fault::unsupported(format!("{path}{name}"), message);
            unsupported(fault, rules, &mut entry.dropped)?;
        }
    }
    Ok(())
}

/// Takes over the plain values of `meta` whose names can be those of labels.
fn labels(
    mut meta: Fields,
    key: &mut v1::Key,
    entry: &mut Entry,
    rules: &Rules,
) -> Result<(), Fault> {
    for name in meta.rest() {
        let value = match meta.value(&name) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Bool(on)) => Some(on.to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let fits = name.len() <= 63
            && name != EXTERNAL_ID
            && !key.labels.contains_key(&name)
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b));
        match value.filter(|value| fits && value.chars().count() <= 256) {
            Some(value) => {
                key.labels.insert(name, value);
            }
            None => {
                let message = "can't be a label: names are of `[a-z0-9._/-]`, values plain and at most 256 characters";
                let fault = Fault::unsupported(meta.at(&shown(&name)), message);
                unsupported(fault, rules, &mut entry.dropped)?;
            }
        }
    }
    Ok(())
}

fn millis(key: &mut Fields, name: &str) -> Result<Option<Timestamp>, Fault> {
    let Some(millis) = key.number(name)? else {
        return Ok(None);
    };
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000);
    let time = nanos.ok().map(|nanos| Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos,
    });
    Ok(time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEX: &str = "c4fbfe7c69a067cb0841dea343346a750a69908a08ea9656d2a8c19fb0823c64";

    fn read(value: Value, ignore_unsupported: bool) -> Result<Entry, Refusal> {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        let rules = Rules {
            ignore_unsupported,
            ..Rules::default()
        };
        item(Fields::of(map), &rules)
    }

    #[test]
    fn a_key_to_migrate_is_taken_over() {
        let entry = read(
            json!({
                "hash": HEX, "name": "Payment", "externalId": "user_1", "meta": {"plan": "pro", "seats": 3},
                "permissions": ["orders:read"], "expires": 1_798_761_600_500_i64, "enabled": false,
                "credits": {"remaining": null}, "ratelimits": [], "roles": [],
            }),
            false,
        )
        .unwrap();
        let key = entry.item.key.unwrap();
        assert_eq!(key.display_name, "Payment");
        assert_eq!(key.scopes, ["orders:read"]);
        assert_eq!(key.enabled, Some(false));
        let expires = key.expire_time.unwrap();
        assert_eq!(
            (expires.seconds, expires.nanos),
            (1_798_761_600, 500_000_000)
        );
        assert_eq!(key.labels["external-id"], "user_1");
        assert_eq!(
            (key.labels["plan"].as_str(), key.labels["seats"].as_str()),
            ("pro", "3")
        );
        assert!(
            matches!(entry.item.primary.unwrap().source, Some(Source::ExternalDigest(d)) if d.sha256_hex == HEX)
        );
        assert!(entry.item.import_id.starts_with("sha256-") && entry.item.import_id.len() == 39);
        assert!(!entry.item.import_id.contains(HEX.get(..16).unwrap()));
    }

    #[test]
    fn who_has_a_key_and_where_it_is_used_become_labels() {
        let entry = read(
            json!({
                "hash": HEX, "ownerId": "user_1", "prefix": "sk", "environment": "live",
                "identity": {"id": "i", "meta": {"plan": "pro"}},
            }),
            false,
        )
        .unwrap();
        assert_eq!(entry.dropped, ["identity.meta"]);
        let key = entry.item.key.unwrap();
        assert_eq!(key.labels["external-id"], "user_1");
        assert_eq!(key.labels["environment"], "live");
        assert_eq!(key.display_name, "user_1");
        let both = json!({
            "hash": HEX, "ownerId": "old", "externalId": "new", "identity": {"meta": {}},
        });
        let entry = read(both, false).unwrap();
        assert!(entry.dropped.is_empty());
        assert_eq!(entry.item.key.unwrap().labels["external-id"], "new");
        let twice = json!({"hash": HEX, "environment": "live", "meta": {"environment": "test"}});
        let refusal = read(twice, false).unwrap_err();
        assert_eq!(refusal.fault.field, "meta.environment");
    }

    #[test]
    fn a_digest_is_the_same_in_every_spelling() {
        let base64 = STANDARD.encode(digest(HEX).unwrap());
        let ids: Vec<_> = [
            json!({"hash": HEX}),
            json!({"hash": base64}),
            json!({"hash": {"value": base64, "variant": "sha256_base64"}}),
        ]
        .into_iter()
        .map(|value| read(value, false).unwrap().item.import_id)
        .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let token = json!({"plaintext": "abc", "keyId": "key_x", "start": "a", "createdAt": 1_000});
        let entry = read(token, false).unwrap();
        assert_eq!(entry.item.import_id, "key_x");
        assert_eq!(entry.item.key.unwrap().create_time.unwrap().seconds, 1);
    }

    #[test]
    fn what_claviger_has_not_is_refused_or_dropped_with_a_warning() {
        for (extra, field) in [
            (json!({"credits": {"remaining": 5}}), "credits"),
            (json!({"remaining": 5}), "remaining"),
            (json!({"ratelimits": [{"name": "n"}]}), "ratelimits"),
            (json!({"roles": ["admin"]}), "roles"),
            (json!({"meta": {"featureFlags": 1}}), "meta.featureFlags"),
            (json!({"meta": {"nested": {}}}), "meta.nested"),
            (json!({"novel": 1}), "novel"),
        ] {
            let mut value = extra;
            value["hash"] = HEX.into();
            let refusal = read(value.clone(), false).unwrap_err();
            assert_eq!(refusal.fault.field, field);
            assert!(refusal.fault.unsupported);
            assert_eq!(read(value, true).unwrap().dropped, [field]);
        }
        for hash in [
            json!("bcrypt$x"),
            json!(null),
            json!({"value": HEX, "variant": "md5"}),
        ] {
            let refusal = read(json!({ "hash": hash }), true).unwrap_err();
            assert!(!refusal.fault.unsupported, "{refusal:?}");
        }
    }
}

//! Claviger's own objects: `ImportItem` in the JSON that the command writes everywhere, times in RFC 3339, enums without
//! their prefix. Output-only fields of a key are left out, as the API does.

use super::read::{Entry, Refusal};
use super::table::scope_source;
use crate::cli::fields::{Fault, Fields};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

/// Fields of a key that say what it is, not what it should be.
const OUTPUT_ONLY: [&str; 10] = [
    "id",
    "workspace",
    "state",
    "secrets",
    "update_time",
    "delete_time",
    "purge_time",
    "last_used_time",
    "etag",
    "warnings",
];

/// Makes an item of an object.
pub(super) fn item(mut object: Fields) -> Result<Entry, Refusal> {
    let import_id = object.text("import_id").ok().flatten().unwrap_or_default();
    let refuse = |fault| Refusal {
        import_id: import_id.clone(),
        fault,
    };
    let item = parts(object, import_id.clone()).map_err(refuse)?;
    Ok(Entry {
        item,
        dropped: Vec::new(),
    })
}

fn parts(mut object: Fields, import_id: String) -> Result<v1::ImportItem, Fault> {
    let key = object.object("key")?.map(key).transpose()?;
    let item = v1::ImportItem {
        import_id,
        key: Some(key.ok_or_else(|| Fault::new("key", "is missing"))?),
        primary: object.object("primary")?.map(source).transpose()?,
        secondary: object.object("secondary")?.map(source).transpose()?,
    };
    object.end("`import_id`, `key`, `primary`, `secondary`")?;
    Ok(item)
}

fn key(mut f: Fields) -> Result<v1::Key, Fault> {
    let mut key = v1::Key {
        display_name: f.text("display_name")?.unwrap_or_default(),
        description: f.text("description")?.unwrap_or_default(),
        scopes: f.list("scopes")?,
        subscriptions: f.list("subscriptions")?,
        allowed_cidrs: f.list("allowed_cidrs")?,
        postback_url: f.text("postback_url")?.unwrap_or_default(),
        off_the_record: f.flag("off_the_record")?.unwrap_or_default(),
        enabled: f.flag("enabled")?,
        expire_time: f.time("expire_time")?,
        create_time: f.time("create_time")?,
        principal: f.text("principal")?.unwrap_or_default(),
        ..Default::default()
    };
    if let Some(name) = f.text("scope_source")? {
        key.scope_source = scope_source(&f.at("scope_source"), &name)?;
    }
    if let Some(mut labels) = f.object("labels")? {
        for name in labels.rest() {
            let value = labels.text(&name)?.unwrap_or_default();
            key.labels.insert(name, value);
        }
    }
    if let Some(mut modes) = f.object("enforcement")? {
        key.enforcement = Some(v1::Enforcement {
            network: mode(&mut modes, "network")?,
            presentation: mode(&mut modes, "presentation")?,
            subscription: mode(&mut modes, "subscription")?,
            scopes: mode(&mut modes, "scopes")?,
        });
        modes.end("`network`, `presentation`, `subscription`, `scopes`")?;
    }
    f.ignore(&OUTPUT_ONLY);
    f.end("the settings of a key, as `claviger keys get -o json` names them")?;
    Ok(key)
}

fn mode(modes: &mut Fields, name: &str) -> Result<i32, Fault> {
    match modes.text(name)?.as_deref() {
        None | Some("UNSPECIFIED") => Ok(0),
        Some("ENFORCE") => Ok(v1::EnforcementMode::Enforce.into()),
        Some("SHADOW") => Ok(v1::EnforcementMode::Shadow.into()),
        Some(_) => Err(Fault::new(modes.at(name), "must be `ENFORCE` or `SHADOW`")),
    }
}

fn source(mut f: Fields) -> Result<v1::SecretSource, Fault> {
    let token = f.object("external_token")?;
    let digest = f.object("external_digest")?;
    let source = match (token, digest) {
        (Some(mut token), None) => {
            let source = Source::ExternalToken(v1::ExternalToken {
                token: token.text("token")?.unwrap_or_default(),
                allow_weak: token.flag("allow_weak")?.unwrap_or_default(),
            });
            token.end("`token`, `allow_weak`")?;
            source
        }
        (None, Some(mut digest)) => {
            let bits = digest.number("asserted_entropy_bits")?.unwrap_or_default();
            let source = Source::ExternalDigest(v1::ExternalDigest {
                sha256_hex: digest.text("sha256_hex")?.unwrap_or_default(),
                asserted_entropy_bits: u32::try_from(bits).map_err(|_| {
                    Fault::new(digest.at("asserted_entropy_bits"), "must not be negative")
                })?,
                allow_weak: digest.flag("allow_weak")?.unwrap_or_default(),
            });
            digest.end("`sha256_hex`, `asserted_entropy_bits`, `allow_weak`")?;
            source
        }
        _ => {
            return Err(Fault::new(
                f.at("external_token"),
                "give this or `external_digest`, one of the two",
            ));
        }
    };
    f.end("`external_token`, `external_digest`")?;
    Ok(v1::SecretSource {
        source: Some(source),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<v1::ImportItem, Refusal> {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        item(Fields::of(map)).map(|entry| entry.item)
    }

    #[test]
    fn an_item_is_read_as_the_api_names_it() {
        let item = read(json!({
            "import_id": "a-1",
            "key": {
                "id": "key_1", "state": "ACTIVE", "etag": "x",
                "display_name": "shop", "scopes": ["a", "b"], "labels": {"team": "x"}, "enabled": false,
                "expire_time": "2027-01-01T00:00:00Z", "create_time": null,
                "enforcement": {"network": "SHADOW", "scopes": "UNSPECIFIED"},
            },
            "primary": {"external_digest": {"sha256_hex": "00", "asserted_entropy_bits": 128}},
            "secondary": {"external_token": {"token": "t", "allow_weak": true}},
        }))
        .unwrap();
        let key = item.key.unwrap();
        assert_eq!((key.id.as_str(), key.display_name.as_str()), ("", "shop"));
        assert_eq!(key.scopes, ["a", "b"]);
        assert_eq!(key.enabled, Some(false));
        assert_eq!(key.expire_time.unwrap().seconds, 1_798_761_600);
        assert_eq!(key.labels["team"], "x");
        assert_eq!(key.enforcement.unwrap().network, 2);
        assert!(
            matches!(item.primary.unwrap().source, Some(Source::ExternalDigest(d)) if d.asserted_entropy_bits == 128)
        );
        assert!(
            matches!(item.secondary.unwrap().source, Some(Source::ExternalToken(t)) if t.allow_weak && t.token == "t")
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_item() {
        for (value, field) in [
            (json!({"import_id": "i"}), "key"),
            (json!({"import_id": "i", "key": {"scope": []}}), "key.scope"),
            (json!({"import_id": "i", "key": {}, "x": 1}), "x"),
            (
                json!({"import_id": "i", "key": {"enforcement": {"network": "off"}}}),
                "key.enforcement.network",
            ),
            (
                json!({"import_id": "i", "key": {}, "primary": {"generate": {}}}),
                "primary.external_token",
            ),
            (
                json!({"import_id": "i", "key": {}, "primary": {"external_token": {"token": ["s3cret"]}}}),
                "primary.external_token.token",
            ),
        ] {
            let refusal = read(value).unwrap_err();
            assert_eq!(
                (refusal.import_id.as_str(), refusal.fault.field.as_str()),
                ("i", field)
            );
            assert!(!format!("{refusal:?}").contains("s3cret"));
        }
    }
}

//! Many keys in no time: rows added to a backup, which is then restored. Nobody has tokens of them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// A backup with `many` more keys of the workspace `default`, with a secret each. They are named `Integration 0000000 …`,
/// in the order of their creation, and every hundredth of them `… needle`.
pub(crate) fn with_many(backup: &str, many: u32) -> String {
    let mut out = String::with_capacity(backup.len() + many as usize * 700);
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    let mut table: Option<(String, Vec<String>)> = None;
    for line in backup.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if value.is_object() {
            if let Some((name, columns)) = table.take() {
                let row: Option<fn(u32) -> Value> = match name.as_str() {
                    "keys" => Some(key),
                    "secrets" => Some(secret),
                    _ => None,
                };
                for n in 0..row.map_or(0, |_| many) {
                    let row = row.unwrap()(n);
                    let cells: Vec<&Value> = columns.iter().map(|c| &row[c]).collect();
                    out += &serde_json::to_string(&cells).unwrap();
                    out.push('\n');
                    *rows.get_mut(&name).unwrap() += 1;
                }
            }
            if value.get("sha256").is_some() {
                break;
            }
            if let Some(name) = value["table"].as_str() {
                rows.insert(name.to_owned(), 0);
                let columns = serde_json::from_value(value["columns"].clone()).unwrap();
                table = Some((name.to_owned(), columns));
            }
        } else {
            *rows.get_mut(&table.as_ref().unwrap().0).unwrap() += 1;
        }
        out += line;
        out.push('\n');
    }
    let digest = Sha256::digest(out.as_bytes());
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    out += &json!({"rows": rows, "sha256": sha256}).to_string();
    out.push('\n');
    out
}

const THEN: i64 = 1_790_000_000_000_000;

/// Random enough, and the same in every run.
fn bytes(purpose: &str, n: u32) -> [u8; 32] {
    Sha256::digest(format!("{purpose} {n}")).into()
}

fn id(purpose: &str, n: u32) -> String {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&(1_700_000_000_000 + u64::from(n) * 7).to_be_bytes()[2..]);
    id[6..].copy_from_slice(&bytes(purpose, n)[..10]);
    id[6] = 0x70;
    STANDARD.encode(id)
}

fn key(n: u32) -> Value {
    let part = if n.is_multiple_of(100) {
        "needle"
    } else {
        "orders"
    };
    let name = format!("Integration {n:07} {part}");
    let networks = if n.is_multiple_of(4) {
        r#"["10.0.0.0/8"]"#
    } else {
        "[]"
    };
    let of_strings = json!({
        "id": id("key", n),
        "workspace_id": "default",
        "name_folded": name.to_lowercase(),
        "display_name": name,
        "description": "made for a customer, by hand",
        "scopes": format!(r#"["messages:send","orders:read{}"]"#, n % 50),
        "subscriptions": "[]",
        "allowed_cidrs": networks,
        "postback_url": "",
        "labels": "{}",
    });
    let mut row: Map<String, Value> = serde_json::from_value(of_strings).unwrap();
    for off in [
        "off_the_record",
        "shadow_network",
        "shadow_presentation",
        "shadow_subscription",
        "shadow_scopes",
    ] {
        row.insert(off.to_owned(), json!(false));
    }
    row.insert("enabled".to_owned(), json!(true));
    row.insert("revision".to_owned(), json!(1));
    for time in ["create_time", "update_time"] {
        row.insert(time.to_owned(), json!(THEN));
    }
    with_nulls(row)
}

fn secret(n: u32) -> Value {
    let row = json!({
        "id": id("secret", n),
        "key_id": id("key", n),
        "ordinal": 0,
        "workspace_id": "default",
        "slot": "PRIMARY",
        "tag": STANDARD.encode(bytes("tag", n)),
        "origin": "GENERATED",
        "weak": false,
        "prefix": "clv",
        "hint": "clv_…abcd",
        "create_time": THEN,
        "regenerated": false,
        "revocation_reason": "UNSPECIFIED",
    });
    with_nulls(serde_json::from_value(row).unwrap())
}

/// What is not said of a row is NULL.
fn with_nulls(row: Map<String, Value>) -> Value {
    let mut row = row;
    for column in [
        "expire_time",
        "delete_time",
        "purge_time",
        "last_used_time",
        "sealed",
        "sealed_digest",
        "retire_time",
        "revoke_time",
        "end_time",
        "acknowledge_time",
    ] {
        row.entry(column).or_insert(Value::Null);
    }
    Value::Object(row)
}

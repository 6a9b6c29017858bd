//! What differs between two states of a thing.

use serde_json::Value;

/// What every change changes: no news.
const ALWAYS: [&str; 2] = ["revision", "update_time"];

/// The paths of the fields that differ, such as `settings.enabled`; lists of other lengths differ as a whole.
pub fn fields(before: &Value, after: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare("", Some(before), Some(after), &mut paths);
    paths
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, paths: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let gone = before.keys().filter(|name| !after.contains_key(*name));
            for name in after.keys().chain(gone) {
                if path.is_empty() && ALWAYS.contains(&name.as_str()) {
                    continue;
                }
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                compare(&path, before.get(name), after.get(name), paths);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}[{at}]"), Some(before), Some(after), paths);
            }
        }
        _ => paths.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_named_once() {
        let before = json!({
            "settings": {"enabled": true, "scopes": ["a"], "labels": {"x": "1", "y": "2"}},
            "secrets": [{"id": 1, "retire_time": null}],
            "revision": 1, "update_time": 5, "same": [1, 2],
        });
        let after = json!({
            "settings": {"enabled": false, "scopes": ["a", "b"], "labels": {"x": "3", "z": "4"}},
            "secrets": [{"id": 1, "retire_time": 9}],
            "revision": 2, "update_time": 6, "same": [1, 2],
        });
        let mut found = fields(&before, &after);
        found.sort();
        assert_eq!(
            found,
            [
                "secrets[0].retire_time",
                "settings.enabled",
                "settings.labels.x",
                "settings.labels.y",
                "settings.labels.z",
                "settings.scopes",
            ]
        );
        assert_eq!(fields(&after, &after), Vec::<String>::new());
    }
}

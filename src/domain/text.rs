//! Texts that people type: names, descriptions, labels.

use std::collections::BTreeMap;

use super::invalid::Invalid;

/// A name for people: 1 to 128 characters, none a control character, not only spaces.
pub fn display_name(text: &str) -> Result<(), Invalid> {
    optional_display_name(text)?;
    if text.trim().is_empty() {
        return Err(Invalid::new("is required: a name of 1 to 128 characters"));
    }
    Ok(())
}

/// A name for people that may be missing: at most 128 characters, none a control character.
pub fn optional_display_name(text: &str) -> Result<(), Invalid> {
    at_most(text, 128)?;
    no_control(text, false)
}

/// A longer text for people: at most 1,024 characters, line breaks and tabs allowed.
pub fn description(text: &str) -> Result<(), Invalid> {
    at_most(text, 1_024)?;
    no_control(text, true)
}

/// At most 32 labels; names 1 to 63 of `[a-z0-9._/-]`, values at most 256 characters.
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if labels.len() > 32 {
        return Err(Invalid::new("has more than 32 labels; remove some"));
    }
    for (name, value) in labels {
        label_name(name).map_err(|e| e.at(format!("[{:?}]", brief(name))))?;
        label_value(value).map_err(|e| e.at(format!("[{:?}]", brief(name))))?;
    }
    Ok(())
}

/// What tells an imported key from others: 1 to 128 visible ASCII characters.
pub fn import_id(id: &str) -> Result<(), Invalid> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Invalid::new(
            "must be 1 to 128 visible ASCII characters that tell the item from all others",
        ))
    }
}

/// The name of a label: 1 to 63 of `[a-z0-9._/-]`.
pub fn label_name(name: &str) -> Result<(), Invalid> {
    let good = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-'));
    if good {
        Ok(())
    } else {
        Err(Invalid::new(
            "is not a label name: 1 to 63 of `[a-z0-9._/-]`",
        ))
    }
}

/// The value of a label: at most 256 characters, none a control character.
pub fn label_value(value: &str) -> Result<(), Invalid> {
    at_most(value, 256)?;
    no_control(value, false)
}

/// What an error may show of a text that came in: its beginning.
pub fn brief(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The form in which names are searched and ordered, the same on every database: lower case, by Unicode.
pub fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn at_most(text: &str, limit: usize) -> Result<(), Invalid> {
    if text.chars().count() > limit {
        return Err(Invalid::new(format!("is longer than {limit} characters")));
    }
    Ok(())
}

fn no_control(text: &str, breaks: bool) -> Result<(), Invalid> {
    let bad = |c: char| c.is_control() && !(breaks && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().any(bad) {
        return Err(Invalid::new("has control characters; remove them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(display_name("Müller & Co").is_ok());
        for text in ["", "  ", "a\u{0}b", "a\nb", &"x".repeat(129)] {
            assert!(display_name(text).is_err(), "{text:?}");
        }
        assert!(display_name(&"ü".repeat(128)).is_ok());
        assert!(description("two\nlines").is_ok());
        assert!(description("bell\u{7}").is_err());
    }

    #[test]
    fn labels_are_bounded() {
        let one = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        assert!(labels(&one("team/a", "x")).is_ok());
        assert!(labels(&one("Team", "x")).is_err());
        assert!(labels(&one("", "x")).is_err());
        assert!(labels(&one("a", &"x".repeat(257))).is_err());
        assert!(labels(&(0..33).map(|i| (format!("l{i}"), String::new())).collect()).is_err());
    }
}

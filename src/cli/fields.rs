//! The fields of a JSON object, taken one by one; faults name the field and never show a value, for it may be a token.

use prost_types::Timestamp;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroize as _;

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) message: String,
    /// Whether the source has it and Claviger has not.
    pub(super) unsupported: bool,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            unsupported: false,
        }
    }

    pub(super) fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            unsupported: true,
            ..Self::new(field, message)
        }
    }
}

/// An object whose fields are taken; what remains in the end was not expected, and is wiped.
pub(super) struct Fields {
    /// Where it stands: empty, or a path that ends in a dot.
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(map: Map<String, Value>) -> Self {
        Self {
            path: String::new(),
            map,
        }
    }

    /// The path of a field of this object.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, value: Value, expected: &str) -> Fault {
        wipe(value);
        Fault::new(self.at(name), format!("must be {expected}"))
    }

    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.take(name)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, other, "a string")),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(on)),
            Some(other) => Err(self.wrong(name, other, "true or false")),
        }
    }

    /// A whole number; one with a fraction of zero is one too, for some systems write all numbers so.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "the comparison shows that nothing was lost"
        )]
        let whole = |float: f64| (float as i64 as f64 == float).then_some(float as i64);
        match value.as_i64().or_else(|| value.as_f64().and_then(whole)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, value, "a whole number")),
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        let Value::Array(values) = value else {
            return Err(self.wrong(name, value, "a list of strings"));
        };
        let mut list = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) => list.push(text),
                other => return Err(self.wrong(&format!("{name}[{index}]"), other, "a string")),
            }
        }
        Ok(list)
    }

    /// An object in this one.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                path: format!("{}.", self.at(name)),
                map,
            })),
            Some(other) => Err(self.wrong(name, other, "an object")),
        }
    }

    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Fault> {
        let text = self.text(name)?;
        text.map(|text| time(&text).ok_or_else(|| Fault::new(self.at(name), NO_TIME)))
            .transpose()
    }

    /// Leaves these out: they are of no use here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.take(name).into_iter().for_each(wipe);
        }
    }

    /// The names of the fields that remain.
    pub(super) fn rest(&self) -> Vec<String> {
        let set = self.map.iter().filter(|(_, value)| !value.is_null());
        set.map(|(name, _)| name.clone()).collect()
    }

    /// Refuses what remains.
    pub(super) fn end(self, known: &str) -> Result<(), Fault> {
        match self.rest().first() {
            None => Ok(()),
            Some(name) => Err(Fault::new(
                self.at(&shown(name)),
                format!("is unknown here; there are {known}"),
            )),
        }
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        std::mem::take(&mut self.map).into_values().for_each(wipe);
    }
}

/// What a moment must look like.
pub(super) const NO_TIME: &str = "must be a moment in RFC 3339, such as `2027-01-31T00:00:00Z`";

/// A moment in RFC 3339.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp {
        seconds: moment.unix_timestamp(),
        nanos: i32::try_from(moment.nanosecond()).ok()?,
    })
}

/// A name that somebody else chose, fit to be shown: a token in the place of a name is cut.
pub(super) fn shown(name: &str) -> String {
    super::table::clean(&name.chars().take(32).collect::<String>())
}

/// Overwrites the strings of a value.
pub(super) fn wipe(value: Value) {
    match value {
        Value::String(mut text) => text.zeroize(),
        Value::Array(values) => values.into_iter().for_each(wipe),
        Value::Object(map) => map.into_values().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        Fields::of(map)
    }

    #[test]
    fn a_fault_names_its_field_and_never_the_value() {
        let mut f = fields(json!({
            "text": 4_711, "flag": "tok-secret", "number": "tok-secret", "list": ["a", {"b": "tok-secret"}],
            "object": "tok-secret", "time": "tok-secret", "inner": {"x": {"y": "tok-secret"}},
        }));
        let mut inner = f.object("inner").unwrap().unwrap();
        for (fault, field) in [
            (f.text("text").unwrap_err(), "text"),
            (f.flag("flag").unwrap_err(), "flag"),
            (f.number("number").unwrap_err(), "number"),
            (f.list("list").unwrap_err(), "list[1]"),
            (f.object("object").err().unwrap(), "object"),
            (f.time("time").unwrap_err(), "time"),
            (inner.text("x").unwrap_err(), "inner.x"),
        ] {
            assert_eq!(fault.field, field);
            assert!(!format!("{fault:?}").contains("tok-secret"), "{fault:?}");
        }
    }

    #[test]
    fn what_is_absent_or_null_is_not_there() {
        let mut f = fields(json!({"a": null, "n": 3.0, "m": 3.5, "x": 1}));
        assert_eq!(f.text("a"), Ok(None));
        assert_eq!(f.list("b"), Ok(Vec::new()));
        assert_eq!(f.number("n"), Ok(Some(3)));
        assert!(f.number("m").is_err());
        assert_eq!(f.end("`a`").unwrap_err().field, "x");
    }
}

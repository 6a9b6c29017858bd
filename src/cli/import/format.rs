//! Which format a file is in, and how JSON is read of it, item by item.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Cursor, Read};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::read::{Refusal, Sink, Stop, as_u64};
use super::{Format, kong, native, unkey};
use crate::cli::failure::Failure;
use crate::cli::fields::{Fault, Fields};

/// How much of a file is looked at to see what it is.
const BEGINNING: u64 = 64 * 1_024;
/// The longest line that is taken: a key with every setting at its limit has a tenth of it.
const LONGEST_LINE: u64 = 1_024 * 1_024;

/// A file whose beginning has been looked at.
pub(in crate::cli) type Begun = Box<dyn Read + Send>;

/// Looks at the beginning of a file, and guesses its format.
pub(super) fn begin(mut reader: Begun, path: &Path) -> io::Result<(Begun, Option<Format>)> {
    let mut beginning = Zeroizing::new(Vec::new());
    (&mut reader).take(BEGINNING).read_to_end(&mut beginning)?;
    let guess = guess(path, &beginning);
    Ok((Box::new(Cursor::new(beginning).chain(reader)), guess))
}

/// The names of fields that only one format has, most telling first.
const TELLING: [(&str, Format); 9] = [
    ("import_id", Format::Jsonl),
    ("_format_version", Format::Kong),
    ("keyauth_credentials", Format::Kong),
    ("migrationId", Format::Unkey),
    ("keyId", Format::Unkey),
    ("externalId", Format::Unkey),
    ("hash", Format::Unkey),
    ("consumer", Format::Kong),
    ("ttl", Format::Kong),
];

fn guess(path: &Path, beginning: &[u8]) -> Option<Format> {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if ["csv", "CSV"].contains(&extension) {
        return Some(Format::Csv);
    }
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if ![b'{', b'['].contains(first) {
        return (!["json", "jsonl", "ndjson", "yaml", "yml"].contains(&extension))
            .then_some(Format::Csv);
    }
    let has = |name: &str| {
        let quoted = format!("\"{name}\"");
        text.windows(quoted.len())
            .any(|part| part == quoted.as_bytes())
    };
    TELLING
        .iter()
        .find(|(name, _)| has(name))
        .map(|(_, format)| *format)
}

/// What is wrong with JSON, without showing any of it.
fn broken(error: &serde_json::Error, line: u64) -> Failure {
    let what = match error.classify() {
        Category::Io => return Failure::usage(format!("the file can't be read: {error}")),
        Category::Eof => "ends in the middle of a value",
        Category::Syntax | Category::Data => "is not JSON",
    };
    Failure::usage(format!(
        "line {line} {what} (near column {})",
        error.column()
    ))
    .hint("keys before it were imported; mend the file, and run the same command again")
}

/// Reads Claviger's own objects, one a line. A line that is none is refused, and no other with it.
pub(super) fn lines(reader: Begun, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let place = sink.place();
    objects(reader, |bytes, number, object| {
        place.set(bytes, number - 1);
        let content = match object {
            Ok(map) => native::item(Fields::of(map)),
            Err(fault) => Err(Refusal {
                import_id: String::new(),
                fault,
            }),
        };
        sink.put(content)
    })
}

/// Reads objects, one a line, until nobody wants more: how many bytes have been read, the number of the line, and the object
/// or why there is none.
pub(in crate::cli) fn objects(
    reader: Begun,
    mut each: impl FnMut(u64, u64, Result<Map<String, Value>, Fault>) -> Result<(), Stop>,
) -> Result<(), Failure> {
    let mut reader = BufReader::new(reader);
    let (mut bytes, mut number) = (0, 0);
    loop {
        let mut line = Zeroizing::new(Vec::new());
        let read = (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::usage(format!("the file can't be read: {error}")))?;
        if read == 0 {
            return Ok(());
        }
        bytes += as_u64(read);
        number += 1;
        if as_u64(read) == LONGEST_LINE && line.last() != Some(&b'\n') {
            return Err(Failure::usage(format!(
                "line {number} is longer than {LONGEST_LINE} bytes"
            )));
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let object = serde_json::from_slice(text).map_err(|error| {
            let column = error.column();
            Fault::new(
                "",
                format!("the line is no JSON object (near column {column})"),
            )
        });
        if each(bytes, number, object).is_err() {
            return Ok(());
        }
    }
}

/// Reads the keys of another system: documents with lists of them, or keys one after the other.
pub(super) fn document(reader: Begun, format: Format, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let place = sink.place();
    let reader = sink.counted(BufReader::new(reader));
    let mut json = serde_json::Deserializer::from_reader(reader);
    let mut records = Records {
        format,
        sink,
        stopped: false,
        refused: None,
    };
    // `end` fails where another value follows.
    while json.end().is_err() {
        let done = Document(&mut records).deserialize(&mut json);
        if let Some(fault) = records.refused {
            return Err(refused(&fault));
        }
        if records.stopped {
            return Ok(());
        }
        done.map_err(|error| broken(&error, place.line()))?;
    }
    Ok(())
}

/// A whole document is refused: without what it says, its keys could do more than they could.
fn refused(fault: &Fault) -> Failure {
    Failure::usage(format!("`{}` {}", fault.field, fault.message)).hint(
        "`--ignore-unsupported` drops it with a warning; keys before it in the file were imported",
    )
}

/// What a configuration of Kong lists keys as that stand beside their consumers.
const FLAT: &str = "keyauth_credentials";

/// Makes items of records.
struct Records<'a, 'b> {
    format: Format,
    sink: &'a mut Sink<'b>,
    stopped: bool,
    /// Why the document is refused.
    refused: Option<Fault>,
}

impl Records<'_, '_> {
    /// Whether a member holds a list of the document's records, as far as the document is known.
    fn is_list(&self, name: &str, before: &Map<String, Value>, is_document: bool) -> bool {
        match self.format {
            // Members may stand in any order: without a sign before it, this may as well be what a consumer has.
            Format::Kong if name == FLAT => is_document || before.contains_key("_format_version"),
            Format::Kong => ["data", "consumers"].contains(&name) && !kong::is_consumer(before),
            Format::Unkey | Format::Csv | Format::Jsonl => ["keys", "data"].contains(&name),
        }
    }

    /// What a document has that Claviger has not: refused, or dropped with a warning.
    fn beside<E: serde::de::Error>(&mut self, name: &str, value: &Value) -> Result<(), E> {
        if self.format != Format::Kong || !kong::is_beside(name, value) {
            return Ok(());
        }
        if self.sink.rules.ignore_unsupported {
            return self.sink.dropped(name).map_err(|Stop| self.stop());
        }
        let message = "of the configuration is not taken over: only keys are";
        self.refused = Some(Fault::unsupported(name, message));
        Err(self.stop())
    }

    fn all_beside<E: serde::de::Error>(&mut self, record: &Map<String, Value>) -> Result<(), E> {
        record
            .iter()
            .try_for_each(|(name, value)| self.beside(name, value))
    }

    fn stop<E: serde::de::Error>(&mut self) -> E {
        self.stopped = true;
        E::custom("stopped")
    }

    fn put(&mut self, value: Value) -> Result<(), Stop> {
        let Value::Object(map) = value else {
            crate::cli::fields::wipe(value);
            return self.sink.put(Err(Refusal {
                import_id: String::new(),
                fault: Fault::new("", "this is no object"),
            }));
        };
        match self.format {
            Format::Kong => kong::items(Fields::of(map), self.sink),
            Format::Unkey | Format::Csv | Format::Jsonl => {
                let content = unkey::item(Fields::of(map), self.sink.rules);
                self.sink.put(content)
            }
        }
    }

    fn take<E: serde::de::Error>(&mut self, value: Value) -> Result<(), E> {
        self.put(value).map_err(|Stop| self.stop())
    }
}

/// A value at the top: a record, a document with lists of records, or a list of records.
struct Document<'a, 'b, 'c>(&'a mut Records<'b, 'c>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut record = Map::new();
        let mut is_document = false;
        while let Some(name) = map.next_key::<String>()? {
            if self.0.is_list(&name, &record, is_document) {
                if !is_document {
                    is_document = true;
                    self.0.all_beside(&record)?;
                }
                map.next_value_seed(List(self.0))?;
            } else if is_document && self.0.format == Format::Kong {
                // Not kept: what it is decides at once.
                self.0.beside(&name, &map.next_value()?)?;
            } else if is_document {
                map.next_value::<IgnoredAny>()?;
            } else {
                record.insert(name, map.next_value()?);
            }
        }
        if !is_document {
            let lists_keys = self.0.format == Format::Kong && record.contains_key(FLAT);
            if !lists_keys || kong::is_consumer(&record) {
                return self.0.take(Value::Object(record));
            }
            self.0.all_beside(&record)?;
        }
        // The list stood before it was clear what it is of.
        match record.remove(FLAT) {
            Some(Value::Array(list)) => list.into_iter().try_for_each(|one| self.0.take(one)),
            Some(Value::Null) | None => Ok(()),
            Some(other) => self.0.take(other),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        List(self.0).visit_seq(seq)
    }
}

/// A list of records.
struct List<'a, 'b, 'c>(&'a mut Records<'b, 'c>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        // One object in the place of a list: Kong's answer about a single credential, say.
        Document(self.0).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element()? {
            self.0.take(value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_name_or_beginning() {
        for (path, text, format) in [
            ("a.csv", "{", Some(Format::Csv)),
            ("-", "import_id,token\n", Some(Format::Csv)),
            (
                "a.jsonl",
                "{\"import_id\": \"1\", \"hash\": 1}",
                Some(Format::Jsonl),
            ),
            (
                "-",
                " {\"migrationId\": \"m\", \"keys\": []}",
                Some(Format::Unkey),
            ),
            ("-", "\u{feff}{\"hash\": \"m\"}", Some(Format::Unkey)),
            ("-", "[{\"keyId\": \"m\"}]", Some(Format::Unkey)),
            (
                "a.json",
                "{\"_format_version\": \"3.0\"}",
                Some(Format::Kong),
            ),
            (
                "a.json",
                "{\"data\": [{\"consumer\": {}, \"key\": \"k\"}]}",
                Some(Format::Kong),
            ),
            ("a.json", "{\"key\": \"k\"}", None),
            ("kong.yaml", "_format_version: '3.0'", None),
            ("-", "", None),
        ] {
            assert_eq!(
                guess(Path::new(path), text.as_bytes()),
                format,
                "{path} {text}"
            );
        }
    }
}

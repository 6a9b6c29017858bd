//! CSV: a key a row, its columns named in the first line.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::read::{Entry, Refusal, Sink, Stop};
use crate::cli::failure::Failure;
use crate::cli::fields::{Fault, NO_TIME, shown, time};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

/// Every column; the last four are of an export, and left out.
pub(in crate::cli) const COLUMNS: [&str; 27] = [
    "import_id",
    "display_name",
    "description",
    "token",
    "sha256_hex",
    "asserted_bits",
    "allow_weak",
    "secondary_token",
    "secondary_sha256_hex",
    "secondary_asserted_bits",
    "secondary_allow_weak",
    "scopes",
    "scope_source",
    "principal",
    "subscriptions",
    "allowed_cidrs",
    "expire_time",
    "enabled",
    "labels",
    "postback_url",
    "off_the_record",
    "shadow",
    "create_time",
    "workspace",
    "id",
    "state",
    "last_used_time",
];

/// Reads the table.
pub(super) fn read(reader: impl Read, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let place = sink.place();
    rows(reader, &OF_IMPORTS, |bytes, line, row| {
        place.set(bytes, line.saturating_sub(1));
        let refuse = |fault| Refusal {
            import_id: String::new(),
            fault,
        };
        sink.put(row.map_err(refuse).and_then(|row| item(&row)))
    })
}

/// Which columns a table may have.
pub(in crate::cli) struct Columns {
    pub(in crate::cli) known: &'static [&'static str],
    /// The one it must have, and what it is for.
    pub(in crate::cli) needed: (&'static str, &'static str),
}

const OF_IMPORTS: Columns = Columns {
    known: &COLUMNS,
    needed: (
        "import_id",
        "it tells each key from all others, such as its id where it comes from; with it a file can be imported again",
    ),
};

/// Reads rows until nobody wants more: how many bytes have been read, the number of the line, and the row or why there is
/// none.
pub(in crate::cli) fn rows(
    reader: impl Read,
    of: &Columns,
    mut each: impl FnMut(u64, u64, Result<Row<'_>, Fault>) -> Result<(), Stop>,
) -> Result<(), Failure> {
    let mut csv = ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(reader);
    let header = csv.headers().map_err(|error| unreadable(&error))?.clone();
    let columns = columns(&header, of)?;
    let mut record = StringRecord::new();
    loop {
        let line = csv.position().line();
        let row = match csv.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => Ok(Row {
                columns: &columns,
                record: &record,
            }),
            Err(error) => match error.kind() {
                ErrorKind::UnequalLengths {
                    expected_len, len, ..
                } => Err(Fault::new(
                    "",
                    format!("the row has {len} fields, and the first line names {expected_len}"),
                )),
                ErrorKind::Utf8 { .. } => Err(Fault::new("", "the row is not UTF-8 text")),
                _ => return Err(unreadable(&error)),
            },
        };
        let line = record.position().map_or(line, csv::Position::line);
        if each(csv.position().byte(), line, row).is_err() {
            return Ok(());
        }
    }
}

fn unreadable(error: &csv::Error) -> Failure {
    match error.kind() {
        ErrorKind::Io(error) => Failure::usage(format!("the file can't be read: {error}")),
        _ => Failure::usage("the first line is no row of column names in UTF-8"),
    }
}

/// Where each column stands.
fn columns(header: &StringRecord, of: &Columns) -> Result<HashMap<String, usize>, Failure> {
    let known = || format!("there are: {}", of.known.join(", "));
    let mut columns = HashMap::new();
    let mut unknown = Vec::new();
    for (index, name) in header.iter().enumerate() {
        if !of.known.contains(&name) {
            unknown.push(format!("`{}`", shown(name)));
        } else if columns.insert(name.to_owned(), index).is_some() {
            return Err(Failure::usage(format!("two columns are named `{name}`")));
        }
    }
    if !unknown.is_empty() {
        let them = if unknown.len() == 1 {
            "column"
        } else {
            "columns"
        };
        return Err(Failure::usage(format!("unknown {them} {}", unknown.join(", "))).hint(known()));
    }
    let (needed, what_for) = of.needed;
    if !columns.contains_key(needed) {
        return Err(Failure::usage(format!("there is no column `{needed}`")).hint(what_for));
    }
    Ok(columns)
}

/// A row, its cells by name.
pub(in crate::cli) struct Row<'a> {
    columns: &'a HashMap<String, usize>,
    record: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// What stands there; an empty cell says nothing.
    fn cell(&self, name: &str) -> Option<&'a str> {
        let cell = self.record.get(*self.columns.get(name)?)?;
        (!cell.is_empty()).then_some(cell)
    }

    pub(in crate::cli) fn text(&self, name: &str) -> String {
        self.cell(name).unwrap_or_default().to_owned()
    }

    /// A list, separated by semicolons or white space.
    pub(in crate::cli) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.cell(name).unwrap_or_default();
        let parts = parts.split(|c: char| c == ';' || c.is_whitespace());
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(in crate::cli) fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.cell(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "yes" | "1") => Ok(Some(true)),
            Some("false" | "no" | "0") => Ok(Some(false)),
            Some(_) => Err(Fault::new(name, "must be `true` or `false`")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<prost_types::Timestamp>, Fault> {
        match self.cell(name) {
            None | Some("never") => Ok(None),
            Some(text) => time(text)
                .map(Some)
                .ok_or_else(|| Fault::new(name, NO_TIME)),
        }
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, Fault> {
        let text = self.cell("labels").unwrap_or_default();
        if text.starts_with('{') {
            return serde_json::from_str(text)
                .map_err(|_| Fault::new("labels", "is no JSON object of strings"));
        }
        let pairs = text
            .split(';')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    Ok((name.trim().to_owned(), value.trim().to_owned()))
                }
                _ => Err(Fault::new(
                    "labels",
                    "must be `NAME=VALUE`, several separated by `;`",
                )),
            })
            .collect()
    }

    fn shadow(&self) -> Result<Option<v1::Enforcement>, Fault> {
        let shadow = i32::from(v1::EnforcementMode::Shadow);
        let mut enforcement = v1::Enforcement::default();
        let names = self.list("shadow");
        for name in &names {
            match name.as_str() {
                "network" => enforcement.network = shadow,
                "presentation" => enforcement.presentation = shadow,
                "subscription" => enforcement.subscription = shadow,
                "scopes" => enforcement.scopes = shadow,
                _ => {
                    return Err(Fault::new(
                        "shadow",
                        "must be some of `network`, `presentation`, `subscription`, `scopes`",
                    ));
                }
            }
        }
        Ok((!names.is_empty()).then_some(enforcement))
    }

    fn source(&self, prefix: &str) -> Result<Option<v1::SecretSource>, Fault> {
        let name = |part: &str| format!("{prefix}{part}");
        let allow_weak = self.flag(&name("allow_weak"))?.unwrap_or_default();
        let token = self.cell(&name("token"));
        let digest = self.cell(&name("sha256_hex"));
        let source = match (token, digest) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Fault::new(
                    name("token"),
                    format!("give it or `{}`, not both", name("sha256_hex")),
                ));
            }
            (Some(token), None) => Source::ExternalToken(v1::ExternalToken {
                token: token.to_owned(),
                allow_weak,
            }),
            (None, Some(digest)) => {
                let bits = self.cell(&name("asserted_bits")).map(str::parse);
                Source::ExternalDigest(v1::ExternalDigest {
                    sha256_hex: digest.to_owned(),
                    asserted_entropy_bits: bits
                        .transpose()
                        .map_err(|_| Fault::new(name("asserted_bits"), "must be a whole number"))?
                        .unwrap_or_default(),
                    allow_weak,
                })
            }
        };
        Ok(Some(v1::SecretSource {
            source: Some(source),
        }))
    }
}

fn item(row: &Row<'_>) -> Result<Entry, Refusal> {
    let import_id = row.text("import_id");
    let refuse = |fault| Refusal {
        import_id: import_id.clone(),
        fault,
    };
    let item = parts(row, import_id.clone()).map_err(refuse)?;
    Ok(Entry {
        item,
        dropped: Vec::new(),
    })
}

/// Where the scopes of a key come from, in any case.
pub(super) fn scope_source(field: &str, name: &str) -> Result<i32, Fault> {
    match name.to_ascii_uppercase().as_str() {
        "UNSPECIFIED" => Ok(0),
        "EXPLICIT" => Ok(v1::ScopeSource::Explicit.into()),
        "PRINCIPAL" => Ok(v1::ScopeSource::Principal.into()),
        _ => Err(Fault::new(field, "must be `EXPLICIT` or `PRINCIPAL`")),
    }
}

fn parts(row: &Row<'_>, import_id: String) -> Result<v1::ImportItem, Fault> {
    let key = v1::Key {
        display_name: row.text("display_name"),
        description: row.text("description"),
        scopes: row.list("scopes"),
        scope_source: row
            .cell("scope_source")
            .map_or(Ok(0), |name| scope_source("scope_source", name))?,
        principal: row.text("principal"),
        subscriptions: row.list("subscriptions"),
        allowed_cidrs: row.list("allowed_cidrs"),
        postback_url: row.text("postback_url"),
        off_the_record: row.flag("off_the_record")?.unwrap_or_default(),
        enabled: row.flag("enabled")?,
        expire_time: row.time("expire_time")?,
        create_time: row.time("create_time")?,
        labels: row.labels()?,
        enforcement: row.shadow()?,
        ..Default::default()
    };
    Ok(v1::ImportItem {
        import_id,
        key: Some(key),
        primary: row.source("")?,
        secondary: row.source("secondary_")?,
    })
}

//! Items of an import.

use prost::Message as _;
use zeroize::Zeroizing;

use crate::app::error::Error;
use crate::app::keys::{ImportItem, ImportOutcome, NewImport};
use crate::domain::text;
use crate::domain::time::Time;
use crate::grpc::proto::v1;

use super::input::{source, time};
use super::key::{key_settings, warnings};

/// Reads an item; what is wrong with it is a matter of its own.
pub(in crate::grpc) fn import_item(mut item: v1::ImportItem) -> ImportItem {
    let import_id = std::mem::take(&mut item.import_id);
    item.key = item.key.map(what_is_taken);
    ImportItem {
        import_id,
        content: Zeroizing::new(item.encode_to_vec()),
        key: new_import(item),
    }
}

/// What an import takes of a key: what only an answer says is no part of an item's content, and may differ when it is sent
/// again.
fn what_is_taken(key: v1::Key) -> v1::Key {
    v1::Key {
        id: String::new(),
        workspace: String::new(),
        state: 0,
        secrets: Vec::new(),
        update_time: None,
        delete_time: None,
        purge_time: None,
        last_used_time: None,
        etag: String::new(),
        warnings: Vec::new(),
        ..key
    }
}

fn new_import(item: v1::ImportItem) -> Result<NewImport, Error> {
    let mut key = item
        .key
        .ok_or_else(|| Error::invalid("key", "is required"))?;
    let create_time = key.create_time.take();
    Ok(NewImport {
        settings: key_settings(key)?,
        create_time: create_time.map(past).transpose()?,
        primary: source("primary", item.primary)?,
        secondary: item
            .secondary
            .map(|s| source("secondary", Some(s)))
            .transpose()?,
    })
}

fn past(create_time: prost_types::Timestamp) -> Result<Time, Error> {
    const FIELD: &str = "key.create_time";
    let create_time = time(FIELD, create_time)?;
    if create_time.micros() < 0 {
        return Err(Error::invalid(
            FIELD,
            "is before 1970; give when the key was made, or leave it out",
        ));
    }
    Ok(create_time)
}

/// An item's id as its result repeats it: one that can't be an id is not repeated at length.
pub(in crate::grpc) fn import_id(item: &v1::ImportItem) -> String {
    if text::import_id(&item.import_id).is_ok() {
        item.import_id.clone()
    } else {
        text::brief(&item.import_id)
    }
}

/// Writes what became of an item.
pub(in crate::grpc) fn import_result(
    import_id: String,
    outcome: ImportOutcome,
    dry_run: bool,
    now: Time,
) -> v1::ImportResult {
    use v1::import_result::Outcome;
    let mut result = v1::ImportResult {
        import_id,
        ..Default::default()
    };
    match outcome {
        ImportOutcome::Made(key) => {
            result.warnings = warnings(&key, now);
            result.set_outcome(if dry_run {
                Outcome::Valid
            } else {
                Outcome::Created
            });
            if !dry_run {
                result.key_id = key.id.to_string();
            }
        }
        ImportOutcome::Already(key) => {
            result.set_outcome(Outcome::AlreadyImported);
            result.key_id = key.map(|key| key.to_string()).unwrap_or_default();
        }
        ImportOutcome::Refused(error) => {
            result.set_outcome(Outcome::Refused);
            result.error = Some(import_error(error));
        }
    }
    result
}

fn import_error(error: Error) -> v1::ImportError {
    let field = error.fields.into_iter().next();
    v1::ImportError {
        reason: error.reason.to_owned(),
        message: error.message,
        field: field.map(|(field, _)| field).unwrap_or_default(),
    }
}

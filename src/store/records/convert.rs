//! Between rows and records.

use sea_orm::ActiveValue::Set;

use crate::app::ports::{LogEntry, LogRow, LoggedDecision, RowId, ShadowCount, StoreError};
use crate::domain::decision::Reason;
use crate::domain::id::KeyId;
use crate::domain::time::Time;
use crate::domain::workspace::Presentation;
use crate::store::convert::{from_json, key_id, secret_id, signed, unsigned, workspace_id};
use crate::store::entity::{decisions, shadow_counts};
use crate::store::error::corrupt;

const PRESENTATIONS: [(Presentation, &str); 4] = [
    (Presentation::Header, "HEADER"),
    (Presentation::Bearer, "BEARER"),
    (Presentation::Basic, "BASIC"),
    (Presentation::Query, "QUERY"),
];

/// Who adds, as the database keeps it.
pub(super) fn writer(number: u64) -> i64 {
    number.cast_signed()
}

/// A key's id; empty where it is not known whose.
pub(super) fn key_or_none(key: Option<KeyId>) -> Vec<u8> {
    key.map(|key| key.to_bytes().to_vec()).unwrap_or_default()
}

pub(super) fn decision(allowed: bool) -> &'static str {
    if allowed { "ALLOW" } else { "DENY" }
}

pub(super) fn row_id(id: RowId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn log_row(row: &LogRow) -> Result<decisions::ActiveModel, StoreError> {
    let mut model = decisions::ActiveModel {
        workspace_id: Set(row.workspace.as_str().to_owned()),
        id: Set(row_id(row.id)),
        replica: Set(row.replica.clone()),
        ..blank()
    };
    match &row.entry {
        LogEntry::Gap { missing, since } => {
            model.missing = Set(Some(signed(*missing)?));
            model.missing_since = Set(Some(since.micros()));
        }
        LogEntry::Decision(said) => {
            let reason = said.reason.map_or("", Reason::as_str);
            let presentation = said.presentation.and_then(|p| {
                let mut names = PRESENTATIONS.iter();
                names.find(|(known, _)| *known == p).map(|(_, name)| *name)
            });
            let shadowed: Vec<_> = said.shadowed.iter().map(|r| r.as_str()).collect();
            model.allowed = Set(said.allowed);
            model.reason = Set(reason.to_owned());
            model.denial = Set((!said.allowed).then(|| reason.to_owned()));
            model.key_id = Set(said.key.map(|(key, _)| key.to_bytes().to_vec()));
            model.secret_id = Set(said.key.map(|(_, secret)| secret.to_bytes().to_vec()));
            model.subscription = Set(some(&said.subscription));
            model.route = Set(some(&said.route));
            model.source_ip = Set(said.source_ip.map(|ip| ip.to_string()));
            model.presentation = Set(presentation.unwrap_or_default().to_owned());
            model.surface = Set(said.surface.clone());
            model.method = Set(said.method.clone());
            model.path = Set(said.path.clone());
            model.all_of = Set(said.all_of.clone());
            model.any_of = Set(said.any_of.clone());
            model.shadowed = Set(shadowed.join(" "));
            model.revision = Set(said.revision.clone());
        }
    }
    Ok(model)
}

/// A row that says nothing: every column is written, so that all rows go in one statement.
fn blank() -> decisions::ActiveModel {
    let none = || Set(String::new());
    decisions::ActiveModel {
        workspace_id: none(),
        id: Set(Vec::new()),
        allowed: Set(false),
        reason: none(),
        denial: Set(None),
        key_id: Set(None),
        secret_id: Set(None),
        subscription: Set(None),
        route: Set(None),
        source_ip: Set(None),
        presentation: none(),
        surface: none(),
        method: none(),
        path: none(),
        all_of: none(),
        any_of: none(),
        shadowed: none(),
        revision: none(),
        replica: none(),
        missing: Set(None),
        missing_since: Set(None),
    }
}

pub(super) fn of_log_row(row: decisions::Model) -> Result<LogRow, StoreError> {
    let id = <[u8; 16]>::try_from(row.id).map_err(|_| corrupt("decisions.id has no 16 bytes"))?;
    let entry = match (row.missing, row.missing_since) {
        (Some(missing), Some(since)) => LogEntry::Gap {
            missing: unsigned(missing)?,
            since: Time::from_micros(since),
        },
        _ => {
            let key = row.key_id.as_deref().map(key_id).transpose()?;
            let secret = row.secret_id.as_deref().map(secret_id).transpose()?;
            let address = row.source_ip.map(|ip| {
                let wrong = |_| corrupt("decisions.source_ip is no address");
                ip.parse().map_err(wrong)
            });
            let mut names = PRESENTATIONS.iter();
            LogEntry::Decision(Box::new(LoggedDecision {
                allowed: row.allowed,
                reason: Reason::of(&row.reason),
                key: key.zip(secret),
                subscription: row.subscription.unwrap_or_default(),
                route: row.route.unwrap_or_default(),
                presentation: names
                    .find(|(_, name)| *name == row.presentation)
                    .map(|(known, _)| *known),
                source_ip: address.transpose()?,
                method: row.method,
                path: row.path,
                surface: row.surface,
                all_of: row.all_of,
                any_of: row.any_of,
                shadowed: row.shadowed.split(' ').filter_map(Reason::of).collect(),
                revision: row.revision,
            }))
        }
    };
    Ok(LogRow {
        id: RowId(u128::from_be_bytes(id)),
        workspace: workspace_id(&row.workspace_id)?,
        replica: row.replica,
        entry,
    })
}

/// None: its reason is not one that this program knows.
pub(super) fn shadow_count(row: shadow_counts::Model) -> Result<Option<ShadowCount>, StoreError> {
    let Some(reason) = Reason::of(&row.reason) else {
        return Ok(None);
    };
    Ok(Some(ShadowCount {
        workspace: workspace_id(&row.workspace_id)?,
        key: key_id(&row.key_id)?,
        route: row.route,
        reason,
        count: unsigned(row.count)?,
        first: Time::from_micros(row.first_time),
        last: Time::from_micros(row.last_time),
        networks: from_json(&row.networks, "shadow_counts.networks")?,
        more_networks: row.more_networks,
    }))
}

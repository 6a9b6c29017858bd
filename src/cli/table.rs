//! Results for people: tables and details, as wide as the terminal, times as they are spoken of.

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use prost_types::Timestamp;
use time::OffsetDateTime;

use super::io::Io;
use super::json::{moment, rfc3339};
use super::names;
use crate::grpc::proto::v1;

mod directory;

pub(super) use directory::{profiles, scopes, subscriptions, workspace, workspaces};

/// What stands for "none".
const NONE: &str = "-";

/// How tables look here and now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    now: OffsetDateTime,
    width: Option<u16>,
    colour: bool,
}

impl Look {
    pub(super) fn of(io: &Io<'_>) -> Self {
        Self {
            now: io.now,
            width: io.width,
            colour: io.colour,
        }
    }

    /// A table whose columns named in `whole` are never wrapped: ids must be copied as they are.
    fn table<const N: usize>(self, header: [&str; N], whole: &[usize]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(header.map(Cell::new));
        match self.width {
            Some(width) => {
                table
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for index in whole {
            if let Some(column) = table.column_mut(*index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    fn state(self, name: String) -> Cell {
        let colour = match name.as_str() {
            "ACTIVE" | "ENABLED" => Color::Green,
            "DISABLED" | "RETIRING" => Color::Yellow,
            _ => Color::Red,
        };
        let cell = Cell::new(name);
        if self.colour { cell.fg(colour) } else { cell }
    }

    fn time(self, at: Option<&Timestamp>, none: &str) -> String {
        at.map_or_else(|| none.to_owned(), |at| relative(self.now, at))
    }

    /// A moment in full, and how far away it is.
    fn both(self, at: Option<&Timestamp>, none: &str) -> String {
        at.map_or_else(
            || none.to_owned(),
            |at| format!("{} ({})", rfc3339(at), relative(self.now, at)),
        )
    }
}

/// Lines of a table without the spaces at their ends, which only get in the way of those who copy.
fn lines(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text of somebody else's making, safe on a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        NONE.to_owned()
    } else {
        clean(&items.join(", "))
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() {
        NONE.to_owned()
    } else {
        clean(text)
    }
}

/// A moment as it is spoken of: `3 days ago`, `in 2 hours`.
pub(super) fn relative(now: OffsetDateTime, at: &Timestamp) -> String {
    let Some(moment) = moment(at) else {
        return rfc3339(at);
    };
    let seconds = (moment - now).whole_seconds();
    let (count, unit) = match seconds.unsigned_abs() {
        0..10 => return "now".to_owned(),
        s @ 10..60 => (s, "second"),
        s @ 60..3_600 => (s / 60, "minute"),
        s @ 3_600..86_400 => (s / 3_600, "hour"),
        s @ 86_400..63_072_000 => (s / 86_400, "day"),
        s => (s / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if seconds < 0 {
        format!("{count} {unit}{plural} ago")
    } else {
        format!("in {count} {unit}{plural}")
    }
}

pub(super) fn keys(keys: &[v1::Key], look: Look) -> String {
    let header = [
        "STATE",
        "NAME",
        "ID",
        "SCOPES",
        "SUBSCRIPTIONS",
        "EXPIRES",
        "LAST USED",
    ];
    let mut table = look.table(header, &[0, 2]);
    for key in keys {
        table.add_row([
            look.state(names::key_state(key.state)),
            Cell::new(clean(&key.display_name)),
            Cell::new(clean(&key.id)),
            Cell::new(list(&key.scopes)),
            Cell::new(list(&key.subscriptions)),
            Cell::new(look.time(key.expire_time.as_ref(), "never")),
            Cell::new(look.time(key.last_used_time.as_ref(), "never")),
        ]);
    }
    lines(&table)
}

/// One key in full: its settings, its secrets, what to know about it.
pub(super) fn key(key: &v1::Key, look: Look) -> String {
    let labels: Vec<_> = key.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        ("id", clean(&key.id)),
        ("name", clean(&key.display_name)),
        ("state", names::key_state(key.state)),
        ("workspace", clean(&key.workspace)),
        ("description", or_none(&key.description)),
        ("scopes", list(&key.scopes)),
        ("subscriptions", list(&key.subscriptions)),
        (
            "networks",
            if key.allowed_cidrs.is_empty() {
                "any".to_owned()
            } else {
                list(&key.allowed_cidrs)
            },
        ),
        ("expires", look.both(key.expire_time.as_ref(), "never")),
        ("labels", list(&labels)),
        ("postback", or_none(&key.postback_url)),
        ("off the record", yes(key.off_the_record)),
        ("created", look.both(key.create_time.as_ref(), NONE)),
        ("changed", look.both(key.update_time.as_ref(), NONE)),
        ("last used", look.both(key.last_used_time.as_ref(), "never")),
        ("etag", or_none(&key.etag)),
    ];
    if let Some(shadow) = key
        .enforcement
        .as_ref()
        .map(in_shadow)
        .filter(|s| !s.is_empty())
    {
        rows.push(("in shadow", shadow.join(", ")));
    }
    if key.delete_time.is_some() {
        rows.push(("deleted", look.both(key.delete_time.as_ref(), NONE)));
        rows.push(("purged", look.both(key.purge_time.as_ref(), NONE)));
    }
    let mut text = details(&rows);
    if !key.secrets.is_empty() {
        text.push_str("\n\n");
        text.push_str(&secrets(&key.secrets, look));
    }
    if !key.warnings.is_empty() {
        text.push('\n');
    }
    for warning in &key.warnings {
        text.push_str(&format!(
            "\nwarning: {} ({})",
            clean(&warning.message),
            clean(&warning.code)
        ));
    }
    text
}

pub(super) fn in_shadow(enforcement: &v1::Enforcement) -> Vec<&'static str> {
    let shadow = i32::from(v1::EnforcementMode::Shadow);
    [
        ("network", enforcement.network),
        ("presentation", enforcement.presentation),
        ("subscription", enforcement.subscription),
        ("scopes", enforcement.scopes),
    ]
    .into_iter()
    .filter_map(|(name, mode)| (mode == shadow).then_some(name))
    .collect()
}

pub(super) fn details(rows: &[(&str, String)]) -> String {
    let lines: Vec<_> = rows
        .iter()
        .map(|(name, value)| format!("{name:<15} {value}"))
        .collect();
    lines.join("\n")
}

fn secrets(secrets: &[v1::Secret], look: Look) -> String {
    let header = [
        "SLOT",
        "STATE",
        "SECRET",
        "HINT",
        "ORIGIN",
        "CREATED",
        "ENDS",
        "LAST USED",
    ];
    let mut table = look.table(header, &[0, 1, 2]);
    for secret in secrets {
        let mut origin = names::origin(secret.origin);
        if secret.weak {
            origin.push_str(" (weak)");
        }
        table.add_row([
            Cell::new(names::slot(secret.slot)),
            look.state(names::secret_state(secret.state)),
            Cell::new(clean(&secret.id)),
            Cell::new(or_none(&secret.hint)),
            Cell::new(origin),
            Cell::new(look.time(secret.create_time.as_ref(), NONE)),
            Cell::new(look.time(secret.expire_time.as_ref(), NONE)),
            Cell::new(look.time(secret.last_used_time.as_ref(), "never")),
        ]);
    }
    lines(&table)
}

/// Tokens of recoverable secrets, beside the names of their keys.
pub(super) fn tokens(keys: &[v1::Key], tokens: &[v1::IssuedToken], look: Look) -> String {
    let mut table = look.table(["NAME", "SLOT", "TOKEN"], &[1, 2]);
    for token in tokens {
        let owner = keys
            .iter()
            .find(|key| key.secrets.iter().any(|s| s.id == token.secret_id));
        table.add_row([
            Cell::new(owner.map_or_else(String::new, |key| clean(&key.display_name))),
            Cell::new(names::slot(token.slot)),
            Cell::new(clean(&token.token)),
        ]);
    }
    lines(&table)
}

pub(super) fn check(answer: &v1::CheckResponse) -> String {
    let mut rows = vec![
        (
            "decision",
            format!(
                "{} ({})",
                names::decision(answer.decision),
                names::reason(answer.reason)
            ),
        ),
        ("http status", answer.http_status.to_string()),
        ("workspace", or_none(&answer.workspace)),
        ("key", or_none(&answer.key_id)),
        ("secret", or_none(&answer.secret_id)),
        ("subscription", or_none(&answer.subscription)),
        ("scopes", list(&answer.scopes)),
        ("revision", or_none(&answer.revision)),
    ];
    if !answer.challenge.is_empty() {
        rows.push(("challenge", clean(&answer.challenge)));
    }
    if !answer.shadowed.is_empty() {
        let reasons: Vec<_> = answer.shadowed.iter().map(|r| names::reason(*r)).collect();
        rows.push(("in shadow", reasons.join(", ")));
    }
    details(&rows)
}

#[cfg(test)]
mod tests;

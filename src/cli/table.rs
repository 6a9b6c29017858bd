//! Results for people: tables and details, as wide as the terminal, times as they are spoken of.

use std::cell::RefCell;

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use prost_types::Timestamp;
use time::OffsetDateTime;

use super::io::Io;
use super::json::{moment, rfc3339};
use super::names;
use crate::grpc::proto::v1;

mod directory;
mod fleet;
mod insights;
mod postbacks;
mod records;
mod routes;

pub(super) use directory::{
    hygiene, principals, profiles, scopes, subscriptions, workspace, workspaces,
};
pub(super) use fleet::{replicas, verified};
pub(super) use insights::{audit_events, explained};
pub(super) use postbacks::{deliveries, signing_secrets};
pub(super) use records::{decisions, shadow_reports, usage};
pub(super) use routes::{matched, route, routes};

/// How far columns are apart.
const GAP: u16 = 2;
/// What stands for "none".
const NONE: &str = "-";

/// How wide the columns of a list's first page are: those after it stand below them.
#[derive(Debug, Default)]
pub(super) struct Widths(RefCell<Vec<u16>>);

/// How tables look here and now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    now: OffsetDateTime,
    width: Option<u16>,
    colour: bool,
    widths: Option<&'a Widths>,
}

impl Look<'static> {
    pub(super) fn of(io: &Io<'_>) -> Self {
        Self {
            now: io.now,
            width: io.width,
            colour: io.colour,
            widths: None,
        }
    }
}

impl<'a> Look<'a> {
    /// For one page after the other, in the columns of the first and without its header. On a terminal, where columns
    /// follow the content, each page is a table of its own.
    pub(super) fn in_pages(self, widths: &'a Widths) -> Self {
        let widths = self.width.is_none().then_some(widths);
        Self { widths, ..self }
    }

    /// A table whose columns named in `whole` are never wrapped: ids must be copied as they are.
    fn table<const N: usize>(self, header: [&str; N], whole: &[usize]) -> Table {
        let mut table = self.bare();
        table.set_header(header.map(Cell::new));
        let before = self
            .widths
            .map(|w| w.0.borrow().clone())
            .unwrap_or_default();
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        for (column, width) in table.column_iter_mut().zip(before) {
            let width = Width::Fixed(width.saturating_add(GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(width));
        }
        for index in whole.iter().filter(|_| self.width.is_some()) {
            if let Some(column) = table.column_mut(*index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    /// A table without columns yet.
    fn bare(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
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
        table
    }

    fn state(self, name: String) -> Cell {
        let colour = match name.as_str() {
            "ACTIVE" | "ENABLED" | "DELIVERED" | "SERVING" => Color::Green,
            "DISABLED" | "RETIRING" | "PENDING" | "JOINING" => Color::Yellow,
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

/// Whether a terminal is too narrow for a table: next to what is never wrapped, a column would not have the room for its own
/// name, and its letters would stand below each other.
fn is_cramped(table: &Table, width: u16) -> bool {
    let contents = table.column_max_content_widths();
    let names = table.header().into_iter().flat_map(|row| row.cell_iter());
    let names = names.map(|name| u16::try_from(name.content().chars().count()).unwrap_or(width));
    let needed = table.column_iter().zip(contents).zip(names);
    let needed = needed.map(|((column, content), name)| match column.constraint() {
        Some(ColumnConstraint::ContentWidth) => content,
        _ => name.min(content),
    });
    needed.fold(0_u16, |all, one| {
        all.saturating_add(one).saturating_add(GAP)
    }) > width
}

/// The rows of a table one below the other, each column on a line of its own.
fn expanded(table: &Table, look: Look<'_>) -> String {
    let names: Vec<_> = table
        .header()
        .into_iter()
        .flat_map(|row| row.cell_iter())
        .map(Cell::content)
        .collect();
    let blocks = table.row_iter().map(|row| {
        let cells = row.cell_iter().map(Cell::content);
        pairs(names.iter().cloned().zip(cells), look)
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// Names and what they stand for, which is wrapped beside them.
fn pairs(rows: impl IntoIterator<Item = (String, String)>, look: Look<'_>) -> String {
    let mut table = look.bare();
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Lines of a table without the spaces at their ends, which only get in the way of those who copy.
fn lines(table: &Table, look: Look<'_>) -> String {
    if look.width.is_some_and(|width| is_cramped(table, width)) {
        return expanded(table, look);
    }
    let mut header = 0;
    if let Some(Widths(widths)) = look.widths {
        // Below the first page there is no second header.
        header = usize::from(!widths.borrow().is_empty());
        *widths.borrow_mut() = table.column_max_content_widths();
    }
    let lines = table.lines().skip(header);
    let lines: Vec<_> = lines.map(|l| l.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text of somebody else's making, safe on a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || TURNS.contains(&c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Characters that change the direction of the text after them, and with it what a line seems to say.
const TURNS: [char; 12] = [
    '\u{061c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

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

pub(super) fn keys(keys: &[v1::Key], look: Look<'_>) -> String {
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
    lines(&table, look)
}

/// One key in full: its settings, its secrets, what to know about it.
pub(super) fn key(key: &v1::Key, look: Look<'_>) -> String {
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
    if !key.principal.is_empty() {
        let source = names::scope_source(key.scope_source);
        rows.push(("principal", clean(&key.principal)));
        rows.push(("scopes from", source));
    }
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

fn secrets(secrets: &[v1::Secret], look: Look<'_>) -> String {
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
    lines(&table, look)
}

/// A token of a recoverable secret, beside the name of its key.
pub(super) fn token_row(keys: &[v1::Key], token: &v1::IssuedToken) -> [String; 3] {
    let owner = keys
        .iter()
        .find(|key| key.secrets.iter().any(|s| s.id == token.secret_id));
    [
        owner.map_or_else(String::new, |key| clean(&key.display_name)),
        names::slot(token.slot),
        clean(&token.token),
    ]
}

/// Tokens of recoverable secrets.
pub(super) fn tokens(rows: Vec<[String; 3]>, look: Look<'_>) -> String {
    let mut table = look.table(["NAME", "SLOT", "TOKEN"], &[1, 2]);
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    lines(&table, look)
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
    if !answer.route.is_empty() {
        rows.push(("route", clean(&answer.route)));
    }
    for warning in &answer.warnings {
        rows.push(("warning", clean(&warning.message)));
    }
    if !answer.principal.is_empty() {
        rows.push(("principal", clean(&answer.principal)));
    }
    if !answer.challenge.is_empty() {
        rows.push(("challenge", clean(&answer.challenge)));
    }
    if !answer.shadowed.is_empty() {
        let reasons: Vec<_> = answer.shadowed.iter().map(|r| names::reason(*r)).collect();
        rows.push(("in shadow", reasons.join(", ")));
    }
    details(&rows)
}

/// Decisions about the lines of a file.
pub(super) fn checks(rows: &[(u64, v1::BatchCheckResult)], look: Look<'_>) -> String {
    use v1::batch_check_result::Result as Answer;
    let mut table = look.table(
        ["LINE", "DECISION", "REASON", "KEY", "SUBSCRIPTION"],
        &[0, 1, 2, 3],
    );
    for (line, result) in rows {
        let [decision, reason, key, subscription] = match &result.result {
            Some(Answer::Response(answer)) => [
                names::decision(answer.decision),
                names::reason(answer.reason),
                or_none(&answer.key_id),
                or_none(&answer.subscription),
            ],
            Some(Answer::Error(error)) => [
                "ERROR".to_owned(),
                clean(&error.message),
                NONE.to_owned(),
                NONE.to_owned(),
            ],
            None => [NONE; 4].map(str::to_owned),
        };
        table.add_row([line.to_string(), decision, reason, key, subscription].map(Cell::new));
    }
    lines(&table, look)
}

#[cfg(test)]
mod tests;

//! Why a request is allowed or denied, and who changed what.

use comfy_table::{Cell, Color};

use super::{Look, NONE, check, clean, lines, or_none};
use crate::cli::names;
use crate::grpc::proto::v1;

/// A decision, and below it what became of each check.
pub(in crate::cli) fn explained(answer: &v1::ExplainResponse, look: Look<'_>) -> String {
    let decision = answer.decision.as_ref().map(check).unwrap_or_default();
    let mut table = look.table(["CHECK", "OUTCOME", "WHY"], &[0, 1]);
    for step in &answer.steps {
        let outcome = names::explained_outcome(step.outcome);
        let reason = match step.reason {
            0 => String::new(),
            reason => format!("{}: ", names::reason(reason)),
        };
        table.add_row([
            Cell::new(names::explained_check(step.check)),
            look.outcome(outcome),
            Cell::new(format!("{reason}{}", clean(&step.detail))),
        ]);
    }
    format!("{decision}\n\n{}", lines(&table, look))
}

/// Who changed what.
pub(in crate::cli) fn audit_events(events: &[v1::AuditEvent], look: Look<'_>) -> String {
    let header = [
        "TIME",
        "ACTOR",
        "ACTION",
        "WORKSPACE",
        "WHAT",
        "CHANGED",
        "REVISION",
    ];
    let mut table = look.table(header, &[0, 1, 2, 6]);
    for event in events {
        let changed = match event.changed_fields.as_slice() {
            [] => NONE.to_owned(),
            fields => clean(&fields.join(", ")),
        };
        let time = event.time.as_ref();
        table.add_row(
            [
                time.map_or_else(|| NONE.to_owned(), crate::cli::json::rfc3339),
                or_none(&event.actor),
                or_none(&event.action),
                or_none(&event.workspace),
                format!(
                    "{} {}",
                    clean(&event.resource_kind),
                    clean(&event.resource_id)
                ),
                changed,
                clean(&event.revision),
            ]
            .map(Cell::new),
        );
    }
    lines(&table, look)
}

impl Look<'_> {
    fn outcome(self, name: String) -> Cell {
        let colour = match name.as_str() {
            "PASSED" => Color::Green,
            "SHADOWED" => Color::Yellow,
            "FAILED" => Color::Red,
            _ => Color::DarkGrey,
        };
        let cell = Cell::new(name);
        if self.colour { cell.fg(colour) } else { cell }
    }
}

//! What was recorded of decisions, for people.

use comfy_table::{Cell, CellAlignment};

use super::{Look, NONE, clean, in_shadow, lines, list, or_none};
use crate::cli::json::rfc3339;
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn decisions(list: &[v1::LoggedDecision], look: Look<'_>) -> String {
    let header = [
        "TIME",
        "DECISION",
        "REASON",
        "KEY",
        "SUBSCRIPTION",
        "FROM",
        "REQUEST",
    ];
    let mut table = look.table(header, &[0, 1, 3]);
    for row in list {
        let time = row.time.as_ref().map_or_else(|| NONE.to_owned(), rfc3339);
        if let Some(missing) = &row.missing {
            let since = missing.start_time.as_ref().map(rfc3339);
            let what = format!(
                "{} not logged since {}",
                missing.count,
                since.unwrap_or_default()
            );
            let mut cells = vec![time, "MISSING".to_owned(), what];
            cells.resize(header.len(), NONE.to_owned());
            table.add_row(cells);
            continue;
        }
        let mut reason = names::reason(row.reason);
        if !row.shadowed.is_empty() {
            let shadowed: Vec<_> = row.shadowed.iter().map(|r| names::reason(*r)).collect();
            reason = format!("{reason}, in shadow: {}", shadowed.join(", "));
        }
        let request = format!("{} {}", clean(&row.method), clean(&row.path));
        table.add_row([
            time,
            names::decision(row.decision),
            reason,
            or_none(&row.key_id),
            or_none(&row.subscription),
            or_none(&row.source_ip),
            or_none(request.trim()),
        ]);
    }
    lines(&table, look)
}

/// Usage: what it is of, two numbers, and a drawing.
pub(in crate::cli) fn usage(header: [&str; 4], rows: Vec<[String; 4]>, look: Look<'_>) -> String {
    let mut table = look.table(header, &[0, 1, 2, 3]);
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for numbers in [1, 2] {
        if let Some(column) = table.column_mut(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines(&table, look)
}

pub(in crate::cli) fn shadow_reports(reports: &[v1::ShadowReport], look: Look<'_>) -> String {
    let header = [
        "VERDICT",
        "NAME",
        "ID",
        "IN SHADOW",
        "WOULD BE DENIED",
        "NETWORKS NEEDED",
        "LAST USED",
    ];
    let mut table = look.table(header, &[0, 2]);
    for report in reports {
        let shadow = report.enforcement.as_ref().map(in_shadow);
        let verdict = match (report.safe_to_enforce, report.counts.is_empty()) {
            (true, _) => "safe to enforce",
            (false, true) if report.last_used_time.is_none() => "never used",
            (false, true) => "nothing denied",
            (false, false) => "not yet",
        };
        let denied: Vec<_> = report
            .counts
            .iter()
            .map(|count| {
                let route = match &*count.route {
                    "" => String::new(),
                    route => format!(" on {}", clean(route)),
                };
                format!("{} {}{route}", count.count, names::reason(count.reason))
            })
            .collect();
        let mut needed = list(&report.needed_cidrs);
        if report.needed_cidrs_incomplete {
            needed.push_str(" and more");
        }
        table.add_row([
            verdict.to_owned(),
            or_none(&report.display_name),
            clean(&report.key_id),
            shadow
                .filter(|s| !s.is_empty())
                .map_or_else(|| NONE.to_owned(), |s| s.join(", ")),
            list(&denied),
            needed,
            look.time(report.last_used_time.as_ref(), "never"),
        ]);
    }
    lines(&table, look)
}

//! Replicas for people.

use comfy_table::Cell;

use super::{Look, NONE, clean, lines, or_none};
use crate::cli::names;
use crate::grpc::proto::v1;

/// Who decides, and how far behind.
pub(in crate::cli) fn replicas(replicas: &[v1::Replica], look: Look<'_>) -> String {
    let header = [
        "STATE",
        "NAME",
        "ID",
        "APPLIED",
        "BEHIND",
        "STRICT",
        "LAST SEEN",
        "VERSION",
    ];
    let mut table = look.table(header, &[0, 2, 3]);
    for replica in replicas {
        let mut name = or_none(&replica.name);
        if replica.answering {
            name.push_str(" (answers)");
        }
        if replica.leading {
            name.push_str(" (leads)");
        }
        table.add_row([
            look.state(names::replica_state(replica.state)),
            Cell::new(name),
            Cell::new(clean(&replica.id)),
            Cell::new(clean(&replica.applied_revision)),
            Cell::new(replica.behind),
            Cell::new(if replica.strict_revocation {
                "yes"
            } else {
                "no"
            }),
            Cell::new(look.time(replica.last_seen.as_ref(), NONE)),
            Cell::new(or_none(&replica.version)),
        ]);
    }
    lines(&table, look)
}

/// What a replica decides with, beside what the database holds.
pub(in crate::cli) fn verified(found: &v1::VerifyIndexResponse, look: Look<'_>) -> String {
    let header = ["KIND", "EQUAL", "INDEX", "DATABASE"];
    let mut table = look.table(header, &[0]);
    for kind in &found.kinds {
        table.add_row([
            Cell::new(clean(&kind.kind)),
            Cell::new(if kind.equal { "yes" } else { "NO" }),
            Cell::new(kind.index_count),
            Cell::new(kind.database_count),
        ]);
    }
    lines(&table, look)
}

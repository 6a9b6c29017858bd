//! Deliveries and signing secrets for people.

use comfy_table::Cell;

use super::{Look, NONE, clean, lines};
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn deliveries(list: &[v1::Delivery], look: Look<'_>) -> String {
    let header = [
        "STATE", "EVENT", "TYPE", "KEY", "SEQUENCE", "ATTEMPTS", "LAST", "ACCEPTED", "NEXT",
    ];
    let mut table = look.table(header, &[0, 1, 3]);
    for delivery in list {
        let last = match (delivery.failure, delivery.http_status) {
            (0, 0) => NONE.to_owned(),
            (0, status) => status.to_string(),
            (failure, 0) => names::failure(failure),
            (failure, status) => format!("{} ({status})", names::failure(failure)),
        };
        table.add_row([
            look.state(names::delivery_state(delivery.state)),
            Cell::new(clean(&delivery.id)),
            Cell::new(clean(&delivery.r#type)),
            Cell::new(clean(&delivery.key_id)),
            Cell::new(delivery.sequence),
            Cell::new(delivery.attempts),
            Cell::new(last),
            Cell::new(look.time(delivery.create_time.as_ref(), NONE)),
            Cell::new(look.time(delivery.next_attempt_time.as_ref(), NONE)),
        ]);
    }
    lines(&table, look)
}

pub(in crate::cli) fn signing_secrets(list: &[v1::SigningSecret], look: Look<'_>) -> String {
    let mut table = look.table(["SIGNING SECRET", "WORKSPACE", "CREATED", "ENDS"], &[0]);
    for secret in list {
        table.add_row([
            Cell::new(clean(&secret.id)),
            Cell::new(clean(&secret.workspace)),
            Cell::new(look.time(secret.create_time.as_ref(), NONE)),
            Cell::new(look.time(secret.expire_time.as_ref(), "never")),
        ]);
    }
    lines(&table, look)
}

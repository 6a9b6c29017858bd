//! The rows of `Fleet`.

use claviger::grpc::proto::v1;

use super::rows::{BAD_WAITS, CONTROL, Foreign, INSIGHTS, Names, READ, Row, SETTINGS, Spoil};
use super::stage::duration;

/// In an order in which all good requests succeed.
pub(crate) fn of_fleet(n: &Names) -> Vec<Row> {
    let list = v1::ListReplicasRequest {};
    let forget = v1::ForgetReplicaRequest {
        id: n.replica.clone(),
    };
    vec![
        Spoil::new("Fleet/ListReplicas", INSIGHTS, Foreign::SystemOnly, list).done(),
        Spoil::new(
            "Fleet/VerifyIndex",
            INSIGHTS,
            Foreign::SystemOnly,
            v1::VerifyIndexRequest {},
        )
        .done(),
        wait(),
        Spoil::new("Fleet/ForgetReplica", SETTINGS, Foreign::SystemOnly, forget)
            .refused("REPLICA_ALIVE")
            .bad("id", |r| r.id.clear())
            .bad("id", |r| r.id = CONTROL.to_owned())
            .bad("id", |r| r.id = r.id.replace("rep_", "key_"))
            .bad("id", |r| r.id = "x".repeat(5_000))
            .done(),
    ]
}

fn wait() -> Row {
    let good = v1::WaitForRevisionRequest {
        revision: String::new(),
        wait_deadline: duration(1),
    };
    let mut row = Spoil::new("Fleet/WaitForRevision", READ, Foreign::Shared, good);
    for revision in ["7", "00000007.", "nonsense", CONTROL, "00000007.-1"] {
        row = row.bad("revision", |r| revision.clone_into(&mut r.revision));
    }
    for (seconds, nanos) in BAD_WAITS {
        let deadline = prost_types::Duration { seconds, nanos };
        row = row.bad("wait_deadline", |r| r.wait_deadline = Some(deadline));
    }
    row.done()
}

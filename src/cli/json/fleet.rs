//! Replicas and how far changes have come among them, for scripts.

use serde_json::{Value, json};

use super::{duration, time};
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn replica(replica: &v1::Replica) -> Value {
    json!({
        "id": replica.id,
        "name": replica.name,
        "version": replica.version,
        "state": names::replica_state(replica.state),
        "applied_revision": replica.applied_revision,
        "strict_revocation": replica.strict_revocation,
        "counts": replica.counts,
        "start_time": time(replica.start_time.as_ref()),
        "last_seen": time(replica.last_seen.as_ref()),
        "behind": replica.behind,
        "answering": replica.answering,
        "leading": replica.leading,
    })
}

pub(in crate::cli) fn propagation(found: &v1::Propagation) -> Value {
    let unconfirmed = |replica: &v1::UnconfirmedReplica| {
        json!({
            "replica": replica.replica,
            "name": replica.name,
            "last_revision": replica.last_revision,
            "last_seen": time(replica.last_seen.as_ref()),
        })
    };
    json!({
        "complete": found.complete,
        "total": found.total,
        "applied": found.applied,
        "unconfirmed": found.unconfirmed.iter().map(unconfirmed).collect::<Vec<_>>(),
        "elapsed": found.elapsed.as_ref().map(duration),
    })
}

pub(in crate::cli) fn verified(found: &v1::VerifyIndexResponse) -> Value {
    let kind = |kind: &v1::VerifiedKind| {
        json!({
            "kind": kind.kind,
            "equal": kind.equal,
            "index_count": kind.index_count,
            "database_count": kind.database_count,
            "index_digest": kind.index_digest,
            "database_digest": kind.database_digest,
        })
    };
    json!({
        "equal": found.equal,
        "revision": found.revision,
        "replica": found.replica,
        "name": found.name,
        "kinds": found.kinds.iter().map(kind).collect::<Vec<_>>(),
    })
}

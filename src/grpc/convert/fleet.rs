//! Replicas and how far a change has come, between the wire and the use cases.

use std::time::Duration;

use crate::app::error::Error;
use crate::app::fleet::{DEFAULT_WAIT, Listed, MAX_WAIT, Propagation, Wait};
use crate::app::ports::Verified;
use crate::app::ports::fleet::Me;
use crate::domain::replica::{Replica, ReplicaState};
use crate::domain::revision::Revision;
use crate::index::digest::Kind;

use super::super::proto::v1;
use super::{duration, enumeration, timestamp, wire_duration};

/// Reads what a change waits for.
pub(in crate::grpc) fn wait(
    wait: i32,
    deadline: Option<prost_types::Duration>,
) -> Result<Wait, Error> {
    let wait = enumeration::<v1::Wait>("wait", wait)?;
    let most = wait_deadline(deadline)?;
    Ok(match wait {
        v1::Wait::Unspecified | v1::Wait::Local => Wait::Local,
        v1::Wait::AllReplicas => Wait::AllReplicas(most),
    })
}

/// Reads for how long.
pub(in crate::grpc) fn wait_deadline(
    deadline: Option<prost_types::Duration>,
) -> Result<Duration, Error> {
    deadline.map_or(Ok(DEFAULT_WAIT), |deadline| {
        duration("wait_deadline", deadline, MAX_WAIT)
    })
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Writes how far a change has come.
pub(in crate::grpc) fn propagation(propagation: &Propagation) -> v1::Propagation {
    let unconfirmed = |replica: &Replica| v1::UnconfirmedReplica {
        replica: replica.id.to_string(),
        name: replica.name.clone(),
        last_revision: replica.applied.to_string(),
        last_seen: Some(timestamp(replica.seen_time)),
    };
    v1::Propagation {
        complete: propagation.complete,
        total: count(propagation.total),
        applied: count(propagation.applied),
        unconfirmed: propagation.unconfirmed.iter().map(unconfirmed).collect(),
        elapsed: Some(wire_duration(propagation.elapsed)),
    }
}

/// Writes a replica, as it stands beside one that has applied this.
pub(in crate::grpc) fn replica(listed: &Listed, applied: Revision) -> v1::Replica {
    use v1::replica::State;
    let replica = &listed.replica;
    let state = match replica.state {
        _ if !listed.holds_lease => State::Silent,
        ReplicaState::Joining => State::Joining,
        ReplicaState::Serving => State::Serving,
    };
    let behind = match replica.applied.epoch == applied.epoch {
        true => applied.n.saturating_sub(replica.applied.n),
        false => applied.n,
    };
    v1::Replica {
        id: replica.id.to_string(),
        name: replica.name.clone(),
        version: replica.version.clone(),
        state: state.into(),
        applied_revision: replica.applied.to_string(),
        strict_revocation: replica.strict,
        counts: listed.counts,
        start_time: Some(timestamp(replica.start_time)),
        last_seen: Some(timestamp(replica.seen_time)),
        behind: i64::try_from(behind).unwrap_or(i64::MAX),
        answering: listed.is_me,
        leading: listed.leads,
    }
}

/// Writes how the index of a replica compares with the database.
pub(in crate::grpc) fn verified(verified: &Verified, me: &Me) -> v1::VerifyIndexResponse {
    let count = |n| i64::try_from(n).unwrap_or(i64::MAX);
    let kinds = Kind::ALL.map(|kind| {
        let (index, database) = (verified.index.of(kind), verified.database.of(kind));
        v1::VerifiedKind {
            kind: kind.as_str().to_owned(),
            equal: index == database,
            index_count: count(index.count),
            database_count: count(database.count),
            index_digest: index.digest(),
            database_digest: database.digest(),
        }
    });
    v1::VerifyIndexResponse {
        equal: verified.index == verified.database,
        revision: verified.revision.to_string(),
        replica: me.id.to_string(),
        name: me.name.clone(),
        kinds: kinds.into(),
    }
}

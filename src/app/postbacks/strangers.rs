//! What strangers do with keys: the use of a dead one, the use from outside its networks. Anybody can cause it, as often as
//! they like, so at most one event of a kind is told per key and hour, and a decision pays next to nothing for it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::app::recorder::Seen;
use crate::decide::Verdict;
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::index::KeyRecord;

use super::events::{DEAD_KEY_USED, USED_OUTSIDE_NETWORKS};

/// How many sightings wait to be written down; more are passed over.
const WAITING: usize = 1_024;
/// How many are remembered, so that they are not queued again. Where two share a place, one is queued once too often, and
/// the database sees that.
const REMEMBERED: usize = 4_096;
const HOUR: i64 = 3_600 * 1_000_000;

/// What was seen of a key.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Of which key, and where its events go.
    pub key: (WorkspaceId, KeyId, String),
    /// The secret that was presented.
    pub secret: SecretId,
    /// What it is.
    pub kind: &'static str,
    /// What was decided, or would have been.
    pub reason: Reason,
    /// Where it came from.
    pub source_ip: Option<IpAddr>,
    /// In which hour since the Unix epoch.
    pub hour: i64,
}

impl Sighting {
    /// What tells it from all others: a key has one of a kind in an hour.
    pub fn once(&self) -> String {
        format!("{}@{}", self.kind, self.hour)
    }
}

/// The decisions' end of the queue.
#[derive(Debug)]
pub struct Strangers {
    queue: Sender<Sighting>,
    seen: Box<[AtomicU64]>,
}

impl Strangers {
    /// Both ends.
    pub fn new() -> (Self, Receiver<Sighting>) {
        let (queue, receiver) = channel(WAITING);
        let seen = std::iter::repeat_with(AtomicU64::default)
            .take(REMEMBERED)
            .collect();
        (Self { queue, seen }, receiver)
    }

    /// Notes what a decision tells of strangers; false where it had to be passed over. Of a request that is Off the Record,
    /// or a key that has no URL, nothing is noted.
    pub fn note(&self, seen: &Seen<'_, '_, '_>) -> bool {
        // Nearly all decisions end here.
        let Some((kind, reason)) = kind_of(seen.verdict) else {
            return true;
        };
        let Some((key, secret)) = seen.verdict.key else {
            return true;
        };
        if key.postback_url.is_empty() || seen.is_off_the_record() {
            return true;
        }
        let hour = seen.now.micros().div_euclid(HOUR);
        if !self.is_new(key, kind, hour) {
            return true;
        }
        let sighting = Sighting {
            key: (
                key.workspace.clone(),
                key.id(),
                key.postback_url.to_string(),
            ),
            secret: secret.id(),
            kind,
            reason,
            source_ip: seen.question.source_ip,
            hour,
        };
        self.queue.try_send(sighting).is_ok()
    }

    /// Whether this was not noted before, as far as is remembered.
    fn is_new(&self, key: &KeyRecord, kind: &'static str, hour: i64) -> bool {
        let id = key.id().as_u128();
        // The lower half of an id is random.
        let mixed = (id as u64 ^ (id >> 64) as u64)
            .wrapping_add(hour.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_add(u64::from(kind == DEAD_KEY_USED))
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            | 1;
        let place = usize::try_from(mixed >> 40).unwrap_or(0) % REMEMBERED;
        self.seen
            .get(place)
            .is_none_or(|seen| seen.swap(mixed, Ordering::Relaxed) != mixed)
    }
}

fn kind_of(verdict: &Verdict<'_>) -> Option<(&'static str, Reason)> {
    match verdict.reason {
        reason @ (Reason::SecretRevoked
        | Reason::KeyDeleted
        | Reason::KeyDisabled
        | Reason::KeyExpired) => Some((DEAD_KEY_USED, reason)),
        reason @ Reason::IpNotAllowed => Some((USED_OUTSIDE_NETWORKS, reason)),
        _ => verdict
            .shadowed
            .iter()
            .find(|reason| *reason == Reason::IpNotAllowed)
            .map(|reason| (USED_OUTSIDE_NETWORKS, reason)),
    }
}

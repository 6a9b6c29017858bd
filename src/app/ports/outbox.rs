//! What POSTbacks need from the world: a store of what is to be delivered, and somebody who delivers it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::StoreError;
use crate::domain::id::{EventId, KeyId, SigningSecretId, WorkspaceId};
use crate::domain::postback::{DeliveryState, Failure};
use crate::domain::time::Time;

/// Events on their way to the POSTback URLs of keys.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Writes an event with the next number of its key, unless one of the same `once` is there. Where `most` events of
    /// the key are pending, it is not written.
    async fn publish(&self, event: &NewEvent, most: Option<u32>) -> Result<Stored, StoreError>;
    /// One delivery.
    async fn delivery(&self, id: EventId) -> Result<Option<Delivery>, StoreError>;
    /// Deliveries by a query, newest first, at most its limit.
    async fn list_deliveries(&self, query: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError>;
    /// Deliveries that are due, those first that have been for longest; none to these places and of these keys.
    async fn due(&self, now: Time, limit: u32, spared: &Spared) -> Result<Vec<Due>, StoreError>;
    /// Takes those of these deliveries that are still due, and counts an attempt of each: nobody else gets them before
    /// `until`, when they are due again.
    async fn claim(&self, due: &[Due], now: Time, until: Time)
    -> Result<Vec<Delivery>, StoreError>;
    /// Writes what came of a claimed delivery; false where somebody else has it by now.
    async fn settle(&self, claimed: &Delivery, outcome: &Outcome) -> Result<bool, StoreError>;
    /// Makes due what an earlier process had claimed: for where there is no other one now.
    async fn reclaim(&self, now: Time) -> Result<(), StoreError>;
    /// The signing secrets of a workspace, newest first, ended ones too until they are cleared away.
    async fn signing_secrets(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, StoreError>;
    /// Keys with a POSTback URL whose expiry lies in a span of time, of which no event with `once`, the text and the expiry in
    /// microseconds, was written.
    async fn expiries(
        &self,
        once: &'static str,
        after: Time,
        upto: Time,
        limit: u32,
    ) -> Result<Vec<Expiry>, StoreError>;
    /// Deletes what was delivered or died before these moments, and signing secrets that ended; some, and returns how many.
    async fn clear_away(
        &self,
        delivered_before: Time,
        dead_before: Time,
        now: Time,
    ) -> Result<u64, StoreError>;
    /// How many deliveries stand where.
    async fn outbox_state(&self) -> Result<OutboxState, StoreError>;
}

/// Who carries POSTbacks.
#[async_trait]
pub trait Postman: Send + Sync + 'static {
    /// Makes one attempt. It ends in time, whatever the receiver does.
    async fn post(&self, post: &Post) -> Sent;
}

/// An event to write.
#[derive(Clone)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// The workspace of the key.
    pub workspace: WorkspaceId,
    /// The key it is of.
    pub key: KeyId,
    /// What happened.
    pub kind: String,
    /// Of events with the same text here a key has one.
    pub once: Option<String>,
    /// What there is to say of it: a JSON object.
    pub data: String,
    /// Where it goes.
    pub url: String,
    /// When it happened.
    pub time: Time,
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What became of an event that was to be written.
#[derive(Debug)]
pub enum Stored {
    /// It is written.
    New(Box<Delivery>),
    /// One with the same `once` was there.
    Known(Box<Delivery>),
    /// Too many of the key are pending.
    Full,
}

/// An event on its way, or at its end.
#[derive(Clone)]
pub struct Delivery {
    /// The event's id.
    pub id: EventId,
    /// The workspace of the key.
    pub workspace: WorkspaceId,
    /// The key.
    pub key: KeyId,
    /// Its number among the events of the key.
    pub sequence: u64,
    /// What happened.
    pub kind: String,
    /// What there is one of.
    pub once: Option<String>,
    /// What there is to say of it: a JSON object.
    pub data: String,
    /// Where it goes; empty: nowhere any more.
    pub url: String,
    /// When it happened.
    pub create_time: Time,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts begun.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_time: Option<Time>,
    /// When it was last tried.
    pub last_attempt_time: Option<Time>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// When it was delivered or given up.
    pub end_time: Option<Time>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Where the delivery stands.
    pub state: DeliveryState,
    /// When it is tried next, where it is pending.
    pub next: Option<Time>,
    /// What came back.
    pub sent: Sent,
    /// When that was.
    pub now: Time,
}

/// Which deliveries to list.
#[derive(Debug, Clone)]
pub struct DeliveryQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Of this key.
    pub key: Option<KeyId>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this type.
    pub kind: Option<String>,
    /// Only those before this one.
    pub before: Option<EventId>,
    /// How many at most.
    pub limit: u32,
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub id: EventId,
    /// The key it is of.
    pub key: KeyId,
    /// Where it goes: host and port.
    pub place: String,
}

/// Who gets nothing now.
#[derive(Debug, Clone, Default)]
pub struct Spared {
    /// Hosts with their ports.
    pub places: Vec<String>,
    /// Keys.
    pub keys: Vec<KeyId>,
}

/// A key that expires or expired.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// The key.
    pub key: KeyId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub display_name: String,
    /// Where its events go.
    pub url: String,
    /// When.
    pub time: Time,
}

/// How much there is to deliver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Deliveries that are pending.
    pub pending: u64,
    /// Dead ones.
    pub dead: u64,
    /// When the oldest pending one was accepted.
    pub oldest: Option<Time>,
}

/// What POSTbacks of a workspace are signed with.
#[derive(Clone)]
pub struct SigningSecret {
    /// Its id.
    pub id: SigningSecretId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its bytes, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub create_time: Time,
    /// It has been replaced, and signs until then.
    pub expire_time: Option<Time>,
}

impl SigningSecret {
    /// Whether it signs at a moment.
    pub fn signs(&self, now: Time) -> bool {
        self.expire_time.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret")
            .field("id", &self.id)
            .field("expire_time", &self.expire_time)
            .finish_non_exhaustive()
    }
}

/// One attempt: what is POSTed where.
#[derive(Clone)]
pub struct Post {
    /// Where.
    pub url: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`, in seconds since the Unix epoch.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What came back of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The HTTP status.
    pub status: Option<u16>,
    /// Why it failed; none: it was taken.
    pub failure: Option<Failure>,
}

impl Sent {
    /// An attempt that got no answer.
    pub const fn failed(failure: Failure) -> Self {
        Self {
            status: None,
            failure: Some(failure),
        }
    }

    /// What a status means: 2xx is success, 410 the end, anything else a failure; a redirect is not followed.
    pub const fn answered(status: u16) -> Self {
        let failure = match status {
            200..=299 => None,
            300..=399 => Some(Failure::Redirect),
            410 => Some(Failure::Gone),
            _ => Some(Failure::Status),
        };
        Self {
            status: Some(status),
            failure,
        }
    }
}

/// How long a delivered event is kept.
pub const DELIVERED_RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// How long a dead one is kept.
pub const DEAD_RETENTION: Duration = Duration::from_secs(30 * 86_400);

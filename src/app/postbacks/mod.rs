//! POSTbacks: events of keys, written down where they happen, and carried out by `deliver`.

pub mod counts;
pub mod events;
pub mod message;
pub mod signing;
pub mod strangers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::Resource;
use crate::app::ports::outbox::{Delivery, DeliveryQuery, NewEvent, Outbox, Postman, Sent, Stored};
use crate::domain::id::{EventId, KeyId, WorkspaceId};
use crate::domain::postback::{DeliveryState, TEST_EVENT};
use crate::domain::time::Time;

use counts::PostbackCounts;
use strangers::Strangers;

/// How many published events of one key may be pending: what is published beyond is refused.
const MOST_PENDING: u32 = 10_000;
/// How many tests run at once, and how long a key waits for its next.
const TESTS: usize = 8;
const TEST_PAUSE: Duration = Duration::from_secs(5);

/// What the use cases of POSTbacks work with.
pub struct Postbacks {
    /// Where events are written.
    pub outbox: Arc<dyn Outbox>,
    /// Who carries them.
    pub postman: Arc<dyn Postman>,
    /// What became of attempts.
    pub counts: PostbackCounts,
    /// What strangers do with keys, on its way from decisions.
    pub strangers: Strangers,
    /// Whether this process carries to loopback without TLS: its administrator said so.
    pub plain: bool,
    wake: Notify,
    tests: Semaphore,
    tested: Mutex<HashMap<KeyId, Time>>,
}

impl std::fmt::Debug for Postbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postbacks")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Postbacks {
    /// Over this outbox and this postman.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        postman: Arc<dyn Postman>,
        strangers: Strangers,
        plain: bool,
    ) -> Self {
        Self {
            outbox,
            postman,
            counts: PostbackCounts::default(),
            strangers,
            plain,
            wake: Notify::new(),
            tests: Semaphore::new(TESTS),
            tested: Mutex::default(),
        }
    }

    /// Says that there is something to deliver.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody says so.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Whether a key may be tested now; from then on it waits for its next turn.
    fn may_test(&self, key: KeyId, now: Time) -> bool {
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        tested.retain(|_, last| now < last.plus(TEST_PAUSE));
        let may = !tested.contains_key(&key);
        tested.entry(key).or_insert(now);
        may
    }
}

/// An event that a service publishes.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The key it is for.
    pub key: KeyId,
    /// What tells it from the key's other events.
    pub event_id: String,
    /// What happened.
    pub kind: String,
    /// What there is to say of it: a JSON object, checked.
    pub data: String,
}

/// A page of deliveries to list.
#[derive(Debug, Clone)]
pub struct DeliveryPage {
    /// Of which workspace, where no key says so.
    pub workspace: WorkspaceId,
    /// Of which key.
    pub key: Option<KeyId>,
    /// In which state.
    pub state: Option<DeliveryState>,
    /// Of which type.
    pub kind: Option<String>,
    /// How many.
    pub size: u32,
    /// Token of the page before.
    pub token: String,
}

/// A test, done.
#[derive(Debug)]
pub struct Tested {
    /// The id that was sent.
    pub id: EventId,
    /// What came back.
    pub sent: Sent,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a redelivery's audit entry says; the delivery itself is read with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Redelivered {
    /// As it is now.
    #[serde(skip)]
    pub delivery: Option<Delivery>,
}

impl Core {
    /// A new event id of this moment.
    pub(in crate::app) fn new_event_id(&self, at: Time) -> Result<EventId, Error> {
        let mut random = [0; 10];
        self.entropy.fill(&mut random)?;
        Ok(EventId::new(at, random))
    }

    /// Stores an event of a service, to be delivered. Returns the delivery, and whether it was there before.
    pub async fn publish_event(
        &self,
        caller: &Caller,
        what: Publication,
    ) -> Result<(Delivery, bool), Error> {
        let now = self.clock.now();
        let (workspace, url) = self.destination(caller, what.key)?;
        let event = NewEvent {
            id: self.new_event_id(now)?,
            workspace,
            key: what.key,
            kind: what.kind,
            once: Some(events::published(&what.event_id)),
            data: what.data,
            url,
            time: now,
        };
        let outbox = &self.postbacks.outbox;
        match outbox.publish(&event, Some(MOST_PENDING)).await? {
            Stored::New(delivery) => {
                self.postbacks.wake();
                Ok((*delivery, false))
            }
            Stored::Known(delivery)
                if delivery.kind == event.kind && delivery.data == event.data =>
            {
                Ok((*delivery, true))
            }
            Stored::Known(_) => {
                let message = "was used for another event of this key; use a new one for each event, and the same one only to repeat it";
                let mut error = Error::invalid("event_id", message);
                error.reason = "EVENT_ID_REUSED";
                Err(error)
            }
            Stored::Full => Err(Error::new(
                Code::ResourceExhausted,
                "TOO_MANY_PENDING",
                format!(
                    "{MOST_PENDING} events of this key are pending; its receiver does not take them, or not as fast as they come"
                ),
            )),
        }
    }

    /// Where events of a key go, from the index: whoever publishes asks often.
    fn destination(&self, caller: &Caller, key: KeyId) -> Result<(WorkspaceId, String), Error> {
        let index = self.index.now();
        let view = index.view();
        let record = view.key(key).filter(|key| {
            (caller.is_system() || key.workspace == caller.workspace)
                && caller.may_bind(&key.subscriptions)
        });
        let record = record.ok_or_else(|| Error::not_found("key"))?;
        if record.deleted {
            return Err(Error::precondition(
                "KEY_DELETED",
                "the key is deleted; undelete it first",
            ));
        }
        if record.postback_url.is_empty() {
            return Err(Error::precondition(
                "NO_POSTBACK_URL",
                "the key has no `postback_url`; set one first",
            ));
        }
        Ok((record.workspace.clone(), record.postback_url.to_string()))
    }

    /// Lists deliveries, and says how to go on.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        page: DeliveryPage,
    ) -> Result<(Vec<Delivery>, String), Error> {
        let workspace = match page.key {
            Some(key) => self.get_key(caller, key).await?.workspace,
            None => {
                self.require_workspace(&page.workspace).await?;
                caller.require_unbound()?;
                page.workspace
            }
        };
        let arguments = format!(
            "deliveries {workspace} {:?} {:?} {:?}",
            page.key, page.state, page.kind
        );
        let query = DeliveryQuery {
            workspace,
            key: page.key,
            state: page.state,
            kind: page.kind,
            before: page::cursor(&page.token, &arguments)?,
            // One more than asked for tells whether there is a next page.
            limit: page.size + 1,
        };
        let found = self.postbacks.outbox.list_deliveries(&query).await?;
        page::cut(found, page.size, &arguments, |last| last.id)
    }

    /// Sends an event again, to the URL that its key has now.
    pub async fn redeliver_event(
        self: &Arc<Self>,
        call: Call,
        id: EventId,
    ) -> Result<Answer<Redelivered>, Error> {
        let not_found = || Error::not_found("delivery");
        let core = self.clone();
        let found = self.postbacks.outbox.delivery(id).await?;
        let found = found.ok_or_else(not_found)?;
        let answer = self
            .mutate(
                call,
                Box::new(move |scene, caller| {
                    async move {
                        let key = scene.tx.key(found.key).await?;
                        // Of a key that is purged no more is known than its workspace.
                        let visible = match &key {
                            Some(key) => caller.may_see(key),
                            None => {
                                (caller.is_system() || caller.workspace == found.workspace)
                                    && caller.subscriptions.is_empty()
                            }
                        };
                        if !visible {
                            return Err(not_found());
                        }
                        let url = key.as_ref().map(|key| key.settings.postback_url.as_str());
                        if url.is_some_and(str::is_empty) {
                            return Err(Error::precondition(
                                "NO_POSTBACK_URL",
                                "the key has no `postback_url` any more; set one first",
                            ));
                        }
                        let delivery = scene.tx.redeliver(id, url, scene.now).await?;
                        let delivery = delivery.ok_or_else(not_found)?;
                        let resource = Resource::Key(found.workspace, found.key);
                        let what = json!({ "delivery": id });
                        scene.audit("REDELIVER", resource, what).await?;
                        Ok(Done::new(Redelivered {
                            delivery: Some(delivery),
                        }))
                    }
                    .boxed()
                }),
            )
            .await?;
        core.postbacks.wake();
        Ok(answer)
    }

    /// Sends a test to a key's URL, and waits for what comes of it.
    pub async fn test_postback(&self, caller: &Caller, key: KeyId) -> Result<Tested, Error> {
        let (workspace, url) = self.destination(caller, key)?;
        let began = self.clock.now();
        let secrets = self.signing_keys(&workspace, began).await?;
        if secrets.is_empty() {
            return Err(Error::precondition(
                "NO_SIGNING_SECRET",
                "the workspace has no signing secret, and nothing is sent unsigned; make one with `CreateSigningSecret`",
            ));
        }
        let busy = || {
            Error::new(
                Code::ResourceExhausted,
                "TOO_MANY_TESTS",
                "tests of a key follow each other at least 5 seconds apart, and few run at once; try again soon",
            )
        };
        let _turn = self.postbacks.tests.try_acquire().map_err(|_| busy())?;
        if !self.postbacks.may_test(key, began) {
            return Err(busy());
        }
        let id = self.new_event_id(began)?;
        let test = Delivery {
            id,
            workspace,
            key,
            sequence: 0,
            kind: TEST_EVENT.to_owned(),
            once: None,
            data: "{}".to_owned(),
            url,
            create_time: began,
            state: DeliveryState::Pending,
            attempts: 1,
            next_attempt_time: None,
            last_attempt_time: None,
            status: None,
            failure: None,
            end_time: None,
        };
        let post = message::post(&test, &secrets, began);
        let sent = self.postbacks.postman.post(&post).await;
        let took = self.clock.now().micros() - began.micros();
        Ok(Tested {
            id,
            sent,
            elapsed: Duration::from_micros(u64::try_from(took).unwrap_or(0)),
        })
    }

    /// Writes an event that nobody called for; of those with the same `once` a key has one.
    pub async fn note_event(
        &self,
        (workspace, key, url): (WorkspaceId, KeyId, String),
        kind: &str,
        once: String,
        data: Map<String, Value>,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        let event = NewEvent {
            id: self.new_event_id(now)?,
            workspace,
            key,
            kind: kind.to_owned(),
            once: Some(once),
            data: Value::Object(data).to_string(),
            url,
            time: now,
        };
        let stored = self.postbacks.outbox.publish(&event, None).await?;
        Ok(matches!(stored, Stored::New(_)))
    }
}

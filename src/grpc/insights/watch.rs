//! `Insights.WatchEvents`: changes in order, one message ahead of who takes them and no further. Nothing is held while they
//! are not taken: no transaction, no connection, no list.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::insights::audit::AuditStep;
use crate::app::insights::place::Position;
use crate::app::limit::Share;
use crate::app::ports::audit::{AuditFilter, Place};
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::grpc::convert;
use crate::grpc::guard::{ConnectionEnd, busy};
use crate::grpc::inbox::Terms;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;
use crate::grpc::status::to_status;

use super::{InsightsService, audit};

/// How often a quiet stream says where it is, and its caller is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a message waits to be taken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two reads: many changes at once are read together.
const PACE: Duration = Duration::from_millis(20);
/// How large a message may become: clients take 4 MiB, and one event is far below.
const MAX_MESSAGE: usize = 1024 * 1024;

/// The messages of a call.
pub(super) type Messages = BoxStream<'static, Result<v1::WatchEventsResponse, Status>>;

impl InsightsService {
    pub(super) fn watch(
        &self,
        mut request: Request<v1::WatchEventsRequest>,
    ) -> Result<Messages, Error> {
        let terms: Terms = request
            .extensions_mut()
            .remove()
            .ok_or_else(|| Error::internal("a stream without terms"))?;
        let connection: ConnectionEnd = request.extensions_mut().remove().unwrap_or_default();
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let filter = AuditFilter {
            workspace: caller.history(&message.workspace, &self.core.default_workspace)?,
            kinds: audit::names("resource_kinds", message.resource_kinds)?,
            actions: audit::names("actions", message.actions)?,
        };
        let after: Option<Position> = convert::parse_optional("after", &message.after)?;
        let Position { epoch, place } = self.core.begin_watch(after)?;
        let open = self.watches.acquire(&caller.workspace).ok_or_else(busy)?;
        let watch = Watch {
            core: self.core.clone(),
            stopping: self.stopping.clone(),
            connection,
            deadline: terms.deadline,
            epoch,
            caller,
            filter,
            place,
            told: None,
            _open: open,
        };
        Ok(watch.start())
    }
}

/// One call under way.
struct Watch {
    core: Arc<Core>,
    stopping: CancellationToken,
    connection: ConnectionEnd,
    /// The caller's own.
    deadline: Option<Instant>,
    epoch: u32,
    caller: Caller,
    filter: AuditFilter,
    place: Place,
    /// When the last message was handed on.
    told: Option<Instant>,
    _open: Share,
}

type Sender = mpsc::Sender<Result<v1::WatchEventsResponse, Status>>;

/// Why a watch ends.
enum End {
    /// The caller has gone.
    Gone,
    /// This is its last word.
    With(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::With(error)
    }
}

impl Watch {
    /// Begins. The work is done in a task, so that who takes no messages does not keep the place for ever.
    fn start(self) -> Messages {
        let (sender, receiver) = mpsc::channel(1);
        let tasks = self.core.tasks.clone();
        tasks.spawn(self.run(sender));
        let next = |receiver: Option<mpsc::Receiver<_>>| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok(message)) => Some((Ok(message), Some(receiver))),
                Some(Err(status)) => Some((Err(status), None)),
                // Its last word waited too long as well.
                None => Some((Err(to_status(&too_slow())), None)),
            }
        };
        stream::unfold(Some(receiver), next).boxed()
    }

    async fn run(mut self, sender: Sender) {
        let end = self.tell(&sender).await;
        match end {
            End::Gone => {}
            End::With(error) => {
                // The place is free before the caller hears of it, who may come again at once.
                drop(self);
                let last = sender.send(Err(to_status(&error)));
                // Whoever does not take it finds the stream ended.
                let _ = tokio::time::timeout(HEARTBEAT, last).await;
            }
        }
    }

    async fn tell(&mut self, sender: &Sender) -> End {
        loop {
            if let Err(end) = self.turn(sender).await {
                return end;
            }
        }
    }

    /// Reads on, hands on what was found, and waits until there is more.
    async fn turn(&mut self, sender: &Sender) -> Result<(), End> {
        let begun = Instant::now();
        let now = self.core.clock.now();
        // Rights end while a stream goes on.
        let caller = self.caller.refresh(&self.core.index.now().view(), now)?;
        caller.require(AdminScope::InsightsRead)?;
        let step = self
            .core
            .watch_on(&caller, self.position(), &self.filter)
            .await?;
        self.caller = caller;
        let more = step.more;
        let quiet = self.told.is_some_and(|told| told.elapsed() < HEARTBEAT);
        if step.events.is_empty() && quiet {
            self.place = step.place;
        } else {
            for (message, place) in self.messages(step) {
                self.hand_on(message, sender).await?;
                self.place = place;
            }
        }
        if !more {
            self.wait(sender, begun + PACE).await?;
        }
        Ok(())
    }

    /// What a step found, in messages that are not too large, each with the place behind it.
    fn messages(&self, step: AuditStep) -> Vec<(v1::WatchEventsResponse, Place)> {
        let mut messages = Vec::new();
        let (mut events, mut size) = (Vec::new(), 0);
        let mut last = self.place;
        for event in step.events {
            let wire = audit::event(&event, self.epoch);
            let length = wire.encoded_len();
            if size + length > MAX_MESSAGE && !events.is_empty() {
                messages.push(self.message(std::mem::take(&mut events), last));
                size = 0;
            }
            size += length;
            events.push(wire);
            last = Place {
                n: event.revision,
                ordinal: Some(event.ordinal),
            };
        }
        messages.push(self.message(events, step.place));
        messages
    }

    fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            place: self.place,
        }
    }

    fn message(
        &self,
        events: Vec<v1::AuditEvent>,
        place: Place,
    ) -> (v1::WatchEventsResponse, Place) {
        let position = Position {
            place,
            ..self.position()
        };
        let message = v1::WatchEventsResponse {
            events,
            position: position.to_string(),
        };
        (message, place)
    }

    async fn hand_on(
        &mut self,
        message: v1::WatchEventsResponse,
        sender: &Sender,
    ) -> Result<(), End> {
        let sent = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Err(shutting_down().into()),
            () = self.connection.told() => return Err(aged().into()),
            () = until(self.deadline) => return Err(too_late().into()),
            sent = tokio::time::timeout(PATIENCE, sender.send(Ok(message))) => sent,
        };
        match sent {
            Ok(Ok(())) => {
                self.told = Some(Instant::now());
                Ok(())
            }
            Ok(Err(_gone)) => Err(End::Gone),
            Err(_elapsed) => Err(too_slow().into()),
        }
    }

    /// Waits for a change, or until it is time to say something anyway.
    async fn wait(&self, sender: &Sender, not_before: Instant) -> Result<(), End> {
        let heartbeat = self.told.map_or_else(Instant::now, |told| told + HEARTBEAT);
        let change = async {
            let next = Revision {
                epoch: self.epoch,
                n: self.place.n.saturating_add(1),
            };
            self.core.feed.wait_for(next).await;
            tokio::time::sleep_until(not_before).await;
        };
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(shutting_down().into()),
            () = self.connection.told() => Err(aged().into()),
            () = sender.closed() => Err(End::Gone),
            () = until(self.deadline) => Err(too_late().into()),
            () = change => Ok(()),
            () = tokio::time::sleep_until(heartbeat) => Ok(()),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn shutting_down() -> Error {
    Error::new(
        Code::Unavailable,
        "SHUTTING_DOWN",
        "this process is being stopped; watch on at another one, after the last position",
    )
}

fn aged() -> Error {
    Error::new(
        Code::Unavailable,
        "CONNECTION_AGED",
        "the connection has reached its age; watch on over another one, after the last position",
    )
}

fn too_late() -> Error {
    Error::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the call has reached its own deadline; watch on after the last position",
    )
}

fn too_slow() -> Error {
    Error::new(
        Code::ResourceExhausted,
        "TOO_SLOW",
        "no message was taken for a minute; watch on after the last position",
    )
}

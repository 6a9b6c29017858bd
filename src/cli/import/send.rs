//! Sends items, a few messages ahead of their answers, and again when the connection breaks: an item that was made already
//! is only found to be there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::ledger::{Item, Ledger, Shown};
use super::read::{Event, Row, wipe};
use crate::cli::connect::Connection;
use crate::cli::failure::{Exit, Failure, may_pass};
use crate::cli::fields::Fault;
use crate::cli::io::Io;
use crate::grpc::proto::v1;

/// How many messages are under way at most.
const UNDER_WAY: usize = 4;
/// How large a message gets.
const LARGE: usize = 1_024 * 1_024;
/// An answer that takes longer is given up, whatever `--timeout` says: a message is many keys.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long answers are waited for once the user wants to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often progress is told while nothing comes.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait before the first new attempt; each takes twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// How to send.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) workspace: String,
    pub(super) dry_run: bool,
    pub(super) batch_size: usize,
    pub(super) answer_within: Duration,
    pub(super) retry_for: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every item was answered.
    Whole,
    /// The user ended it.
    Interrupted,
}

type Client = v1::key_admin_client::KeyAdminClient<Connection>;
type Answers = Pin<Box<dyn Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send>>;

/// A message, and the items that stand in it or were refused beside it, in the order of the file.
#[derive(Default)]
struct Batch {
    items: Vec<(Item, Option<Fault>)>,
    message: v1::ImportKeysRequest,
    size: usize,
}

impl Batch {
    fn is_full(&self, order: &Order) -> bool {
        self.message.items.len() >= order.batch_size
            || self.size >= LARGE
            || self.items.len() >= 4 * order.batch_size
    }

    fn must_be_sent(&self) -> bool {
        !self.message.items.is_empty()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        wipe(&mut self.message.items);
    }
}

/// A stream of messages and one of their answers.
struct Line {
    messages: mpsc::Sender<v1::ImportKeysRequest>,
    answers: Answers,
}

impl Line {
    fn open(client: &Client) -> Self {
        let (messages, receiver) = mpsc::channel(UNDER_WAY);
        let mut client = client.clone();
        // The server may answer the call itself only with the first message: both go on at once.
        let call = async move { client.import_keys(ReceiverStream::new(receiver)).await };
        let answers = futures::stream::once(call)
            .map_ok(tonic::Response::into_inner)
            .try_flatten();
        Self {
            messages,
            answers: Box::pin(answers),
        }
    }
}

/// What happens next.
enum Next {
    Answer(Option<Result<v1::ImportKeysResponse, Status>>),
    Late,
    Read(Option<Event>),
    Interrupt,
    Tick,
}

/// Sends everything that is read.
pub(super) async fn send(
    rows: mpsc::Receiver<Event>,
    connection: Connection,
    order: &Order,
    ledger: &mut Ledger,
    io: &mut Io<'_>,
) -> Result<Ended, Failure> {
    let client = Client::new(connection).max_decoding_message_size(crate::cli::MAX_ANSWER);
    let interrupt = std::mem::replace(&mut io.interrupt, Box::pin(std::future::pending()));
    let mut transfer = Transfer {
        order,
        ledger,
        rows: Some(rows),
        growing: Batch::default(),
        under_way: VecDeque::new(),
        broken: None,
        interrupted: None,
        heard: Instant::now(),
        asked: Instant::now(),
        proving: false,
        pause: FIRST_PAUSE,
    };
    transfer.run(&client, interrupt, io).await
}

struct Transfer<'a> {
    order: &'a Order,
    ledger: &'a mut Ledger,
    /// Where items come from; none: there are no more.
    rows: Option<mpsc::Receiver<Event>>,
    growing: Batch,
    under_way: VecDeque<Batch>,
    /// Why the rest of the file can't be read.
    broken: Option<Failure>,
    /// When the user wanted to end.
    interrupted: Option<Instant>,
    /// When the server was last heard of, or nothing was asked of it.
    heard: Instant,
    /// When a stream was last opened: what it is asked has all the patience, however long the server was away before.
    asked: Instant,
    /// Whether the server has yet to show that it knows what the report shows as done; until then nothing more is read.
    proving: bool,
    pause: Duration,
}

impl Transfer<'_> {
    async fn run(
        &mut self,
        client: &Client,
        mut interrupt: Pin<Box<dyn Future<Output = ()> + Send + '_>>,
        io: &mut Io<'_>,
    ) -> Result<Ended, Failure> {
        let mut line = self.connect(client);
        loop {
            self.settle_unsent(io)?;
            if self.rows.is_none() && self.under_way.is_empty() {
                return match self.broken.take() {
                    Some(failure) => Err(failure),
                    None if self.interrupted.is_some() => Ok(Ended::Interrupted),
                    None => Ok(Ended::Whole),
                };
            }
            match self.next(&mut line, &mut interrupt).await {
                Next::Read(event) => self.read(event, &line),
                Next::Answer(Some(Ok(answer))) => self.settle(answer, io)?,
                Next::Interrupt => self.interrupt(),
                Next::Tick => self.ledger.tell(io),
                Next::Late if self.interrupted.is_some() => return Ok(Ended::Interrupted),
                lost @ (Next::Answer(_) | Next::Late) => {
                    let status = match lost {
                        Next::Answer(Some(Err(status))) => status,
                        Next::Answer(_) => Status::unavailable("the server ended the stream"),
                        _ => Status::deadline_exceeded("the server did not answer in time"),
                    };
                    if !self.wait(status, &mut interrupt, io).await? {
                        return Ok(Ended::Interrupted);
                    }
                    line = self.connect(client);
                }
            }
        }
    }

    /// Opens a stream, and sends again what has no answer yet.
    fn connect(&mut self, client: &Client) -> Line {
        let line = Line::open(client);
        self.asked = Instant::now();
        for batch in self.under_way.iter().filter(|batch| batch.must_be_sent()) {
            // There is room: never more are under way than the channel holds.
            let _sent = line.messages.try_send(batch.message.clone());
        }
        line
    }

    /// Until when an answer is waited for.
    fn patience(&self) -> Instant {
        match self.interrupted {
            Some(since) => since + FAREWELL,
            None => self.heard.max(self.asked) + self.order.answer_within,
        }
    }

    async fn next(
        &mut self,
        line: &mut Line,
        interrupt: &mut Pin<Box<dyn Future<Output = ()> + Send + '_>>,
    ) -> Next {
        let patience = self.patience();
        let waiting = !self.under_way.is_empty();
        let room = self.under_way.len() < UNDER_WAY && !self.proving;
        let read = async {
            match &mut self.rows {
                Some(rows) if room => rows.recv().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = interrupt, if self.interrupted.is_none() => Next::Interrupt,
            answer = line.answers.next(), if waiting => Next::Answer(answer),
            event = read => Next::Read(event),
            () = sleep_until(patience), if waiting => Next::Late,
            () = tokio::time::sleep(TICK) => Next::Tick,
        }
    }

    fn read(&mut self, event: Option<Event>, line: &Line) {
        match event {
            Some(Event::Row(row)) => self.take(*row),
            Some(Event::Dropped(name)) => self.ledger.dropped(name),
            Some(Event::Broken(failure)) => {
                self.broken = Some(failure);
                self.rows = None;
            }
            None => self.rows = None,
        }
        let last = self.rows.is_none() && !self.growing.items.is_empty();
        if last || self.proving || self.growing.is_full(self.order) {
            let mut batch = std::mem::take(&mut self.growing);
            batch.message.workspace.clone_from(&self.order.workspace);
            batch.message.validate_only = self.order.dry_run;
            if self.under_way.is_empty() {
                self.heard = Instant::now();
            }
            if batch.must_be_sent() {
                // Where the stream is broken, its answers say so, and the message is sent again.
                let _sent = line.messages.try_send(batch.message.clone());
            }
            self.under_way.push_back(batch);
        }
    }

    fn take(&mut self, row: Row) {
        let (import_id, dropped) = match &row.content {
            Ok(entry) => (entry.item.import_id.clone(), entry.dropped.clone()),
            Err(refusal) => (refusal.import_id.clone(), Vec::new()),
        };
        let mut item = Item {
            item: row.item,
            line: row.line,
            bytes: row.bytes,
            import_id,
            dropped,
            proof: false,
        };
        match row.content {
            Ok(mut entry) => {
                match self.ledger.shown(&item) {
                    Shown::Open => {}
                    Shown::Done => {
                        wipe(std::slice::from_mut(&mut entry.item));
                        return;
                    }
                    Shown::Unproven => {
                        item.proof = true;
                        self.proving = true;
                    }
                }
                self.growing.size += entry.item.encoded_len() + 8;
                self.growing.message.items.push(entry.item);
                self.growing.items.push((item, None));
            }
            Err(refusal) => self.growing.items.push((item, Some(refusal.fault))),
        }
    }

    /// Takes down what needs no answer, where its turn has come.
    fn settle_unsent(&mut self, io: &mut Io<'_>) -> Result<(), Failure> {
        while let Some(batch) = self.under_way.pop_front_if(|batch| !batch.must_be_sent()) {
            self.take_down(batch, v1::ImportKeysResponse::default(), io)?;
        }
        Ok(())
    }

    fn settle(&mut self, answer: v1::ImportKeysResponse, io: &mut Io<'_>) -> Result<(), Failure> {
        self.heard = Instant::now();
        self.pause = FIRST_PAUSE;
        let Some(batch) = self.under_way.pop_front() else {
            return Err(Failure::new(
                Exit::Failed,
                "the server answered what it was not asked",
            ));
        };
        if batch.message.items.len() != answer.results.len() {
            let message = format!(
                "the server answered {} items of {}",
                answer.results.len(),
                batch.message.items.len()
            );
            return Err(Failure::new(Exit::Failed, message));
        }
        if batch.items.iter().any(|(item, _)| item.proof) {
            self.proving = false;
        }
        self.take_down(batch, answer, io)
    }

    fn take_down(
        &mut self,
        mut batch: Batch,
        answer: v1::ImportKeysResponse,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        let mut results = answer.results.into_iter();
        for (item, fault) in std::mem::take(&mut batch.items) {
            match fault {
                Some(fault) => self.ledger.refuse(item, fault)?,
                None => self
                    .ledger
                    .answer(item, results.next().unwrap_or_default())?,
            }
        }
        self.ledger.taken(answer.revision, io)
    }

    /// The user wants to end: nothing more is sent, and what is under way is waited for.
    fn interrupt(&mut self) {
        self.interrupted = Some(Instant::now());
        self.rows = None;
        self.growing = Batch::default();
    }

    /// Waits before the next attempt; false where the user does not want one.
    async fn wait(
        &mut self,
        status: Status,
        interrupt: &mut Pin<Box<dyn Future<Output = ()> + Send + '_>>,
        io: &mut Io<'_>,
    ) -> Result<bool, Failure> {
        let until = self.heard + self.order.retry_for;
        if self.interrupted.is_some() {
            return Ok(false);
        }
        if !may_pass(&status) || Instant::now() + self.pause > until {
            return Err(status.into());
        }
        let again = humantime::format_duration(self.pause);
        let cause = Failure::from(status);
        self.ledger
            .note(&format!("{}; trying again in {again}", cause.message()), io);
        let waited = timeout_at(Instant::now() + self.pause, interrupt).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Ok(waited.is_err())
    }
}

#[cfg(test)]
mod tests;

//! Callers of a run: some ask about keys at every replica without end, others change them at any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use super::bench::{Bench, Life};
use super::dice::Dice;
use super::events::{Check, History};
use super::notes::Notes;
use super::writer::Writer;
use crate::harness::{PATIENCE, SOAK, between_looks, check_of};
use crate::postgres::BOOTSTRAP_TOKEN;

/// How long an asker waits at least from one question to the next.
const PACE: Duration = Duration::from_millis(if SOAK { 1 } else { 15 });

/// Who there is in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Callers {
    pub(super) seed: u64,
    /// Askers at each replica.
    pub(super) askers: usize,
    pub(super) writers: usize,
    /// How many of a hundred changes their callers do not wait for.
    pub(super) aborts: usize,
}

/// What an asker got.
#[derive(Default)]
struct Asked {
    checks: Vec<Check>,
    /// Answers that are no decisions, by their codes.
    errors: BTreeMap<String, usize>,
}

pub(super) struct Load {
    pub(super) notes: Arc<Notes>,
    askers: JoinSet<Asked>,
    writers: JoinSet<()>,
    stop: CancellationToken,
    stop_asking: CancellationToken,
}

impl Load {
    pub(super) fn start(bench: &Bench, callers: Callers) -> Self {
        let notes = Arc::new(Notes::new());
        let (stop, stop_asking) = (CancellationToken::new(), CancellationToken::new());
        let (mut askers, mut writers) = (JoinSet::new(), JoinSet::new());
        let handle = bench.runtime.handle();
        let mut party = 0;
        let mut dice = || {
            party += 1;
            Dice::of(callers.seed, party)
        };
        for (replica, seat) in bench.seats.iter().enumerate() {
            for _ in 0..callers.askers {
                let asker = Asker {
                    notes: Arc::clone(&notes),
                    replica,
                    life: seat.life.subscribe(),
                    dice: dice(),
                    stop: stop_asking.clone(),
                    asked: Asked::default(),
                };
                askers.spawn_on(asker.all(), handle);
            }
        }
        let lives = || bench.seats.iter().map(|s| s.life.subscribe()).collect();
        for _ in 0..callers.writers {
            let notes = Arc::clone(&notes);
            let writer = Writer::new(notes, lives(), dice(), callers.aborts, stop.clone());
            writers.spawn_on(writer.all(), handle);
        }
        Self {
            notes,
            askers,
            writers,
            stop,
            stop_asking,
        }
    }

    /// Waits until so many changes more were made.
    pub(super) fn wait_for(&self, more: usize) {
        let goal = self.notes.made() + more;
        let mut last = (self.notes.made(), std::time::Instant::now());
        while last.0 < goal {
            between_looks();
            let made = self.notes.made();
            if made > last.0 {
                last = (made, std::time::Instant::now());
            }
            assert!(
                last.1.elapsed() < 5 * PATIENCE,
                "nothing is changed any more"
            );
        }
    }

    /// Ends it when all is healed; the history, whole, and the errors that askers got.
    pub(super) fn end(mut self, bench: &Bench) -> (History, BTreeMap<String, usize>) {
        self.stop.cancel();
        bench.runtime.block_on(async {
            while let Some(ended) = self.writers.join_next().await {
                ended.unwrap();
            }
        });
        bench.assert_caught_up();
        self.stop_asking.cancel();
        let mut checks = Vec::new();
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        bench.runtime.block_on(async {
            while let Some(ended) = self.askers.join_next().await {
                let asked = ended.unwrap();
                checks.extend(asked.checks);
                for (code, count) in asked.errors {
                    *errors.entry(code).or_default() += count;
                }
            }
        });
        let mut history = self.notes.history(checks);
        bench.conclude(&self.notes, &mut history);
        (history, errors)
    }
}

/// A request of the first administrator.
pub(super) fn signed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    let value = format!("Bearer {BOOTSTRAP_TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// The life that a replica leads now, or the next one; none where it is told to stop before.
pub(super) async fn alive(
    life: &mut watch::Receiver<Option<Life>>,
    stop: &CancellationToken,
) -> Option<Life> {
    let found = stop.run_until_cancelled(life.wait_for(Option::is_some));
    found.await?.ok()?.clone()
}

/// Asks about tokens at one replica, one question after the other.
struct Asker {
    notes: Arc<Notes>,
    replica: usize,
    life: watch::Receiver<Option<Life>>,
    dice: Dice,
    stop: CancellationToken,
    asked: Asked,
}

impl Asker {
    async fn all(mut self) -> Asked {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(life) = alive(&mut self.life, &self.stop).await {
            if self.stop.is_cancelled() {
                break;
            }
            pace.tick().await;
            if let Some((token, text)) = self.notes.pick(&mut self.dice) {
                self.ask(life, token, &text).await;
            }
        }
        self.asked
    }

    async fn ask(&mut self, life: Life, token: usize, text: &str) {
        let mut client = AuthorizeClient::new(life.direct);
        let request: Request<v1::CheckRequest> = signed(check_of("default", text));
        let begin = self.notes.now();
        let answer = client.check(request).await;
        let end = self.notes.now();
        match answer.map(tonic::Response::into_inner) {
            Ok(answer) => self.asked.checks.push(Check {
                replica: self.replica,
                life: life.number,
                token,
                begin,
                end,
                reason: answer.reason(),
                revision: answer.revision.parse().unwrap(),
                settled: false,
            }),
            Err(status) => {
                // Nobody answers otherwise than by a decision, or by being gone.
                let gone = [Code::Unavailable, Code::Unknown, Code::Cancelled];
                assert!(gone.contains(&status.code()), "{status:?}");
                let code = format!("{:?}", status.code());
                *self.asked.errors.entry(code).or_default() += 1;
            }
        }
    }
}

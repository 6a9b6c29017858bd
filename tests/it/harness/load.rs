//! Callers that write or ask without a pause while a test does something to the service.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{CheckRequest, CreateKeyRequest, Reason};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Admin, Connection, PATIENCE, check_of, key, register, sooner_or_later};

/// The `n` of a revision `epoch.n`.
pub(crate) fn revision(text: &str) -> u64 {
    let (_, n) = text.split_once('.').expect("`epoch.n`");
    n.parse().unwrap()
}

/// A key whose making was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) revision: String,
}

/// Callers that make key after key in `default`, each until a call of its fails or it is told to stop.
pub(crate) struct Writers {
    admin: Admin,
    callers: JoinSet<()>,
    told: Receiver<Written>,
    stop: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<Status>>>,
    delayed: Arc<AtomicUsize>,
}

impl Writers {
    pub(crate) fn start(admin: &Admin, callers: usize) -> Self {
        let (tell, told) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let failed: Arc<Mutex<Vec<Status>>> = Arc::default();
        let delayed: Arc<AtomicUsize> = Arc::default();
        let mut set = JoinSet::new();
        for caller in 0..callers {
            let make = Make {
                admin: admin.clone(),
                caller,
                tell: tell.clone(),
                stop: Arc::clone(&stop),
                delayed: Arc::clone(&delayed),
            };
            let write = make.all();
            let failed = Arc::clone(&failed);
            let write = async move {
                if let Err(status) = write.await {
                    failed.lock().unwrap().push(status);
                }
            };
            set.spawn_on(write, admin.runtime.handle());
        }
        Self {
            admin: admin.clone(),
            callers: set,
            told,
            stop,
            failed,
            delayed,
        }
    }

    /// How often a call was told that nothing was changed and to try again later, which it did: a machine that is busy
    /// enough lets a database miss its limits.
    pub(crate) fn delayed(&self) -> usize {
        self.delayed.load(Ordering::SeqCst)
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn take(&self, count: usize) -> Vec<Written> {
        let next = || self.told.recv_timeout(PATIENCE).unwrap();
        (0..count).map(|_| next()).collect()
    }

    /// What was still acknowledged before the connection broke.
    pub(crate) fn rest(mut self) -> Vec<Written> {
        let callers = &mut self.callers;
        self.admin.runtime.block_on(async {
            while let Some(ended) = callers.join_next().await {
                ended.unwrap();
            }
        });
        self.told.try_iter().collect()
    }

    /// What was still acknowledged until each was told to stop. None may have failed.
    pub(crate) fn stop(self) -> Vec<Written> {
        self.stop.store(true, Ordering::SeqCst);
        let failed = Arc::clone(&self.failed);
        let rest = self.rest();
        let failed = failed.lock().unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        rest
    }
}

/// What one caller does.
struct Make {
    admin: Admin,
    caller: usize,
    tell: Sender<Written>,
    stop: Arc<AtomicBool>,
    delayed: Arc<AtomicUsize>,
}

impl Make {
    async fn all(self) -> Result<(), Status> {
        let mut client = KeyAdminClient::new(self.admin.channel());
        let mut n = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let name = format!("key {n} of caller {}", self.caller);
            let request = self.admin.request(CreateKeyRequest {
                workspace: "default".to_owned(),
                key: Some(key(&name, &[])),
                ..Default::default()
            });
            let answer = match client.create_key(request).await {
                Ok(answer) => answer.into_inner(),
                Err(status) if is_delay(&status) => {
                    self.delayed.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                Err(status) => return Err(status),
            };
            register(&answer.tokens[0].token);
            let written = Written {
                id: answer.key.unwrap().id,
                token: answer.tokens[0].token.clone(),
                revision: answer.revision,
            };
            let _ = self.tell.send(written);
            n += 1;
        }
        Ok(())
    }
}

/// Whether the database was too slow, as opposed to the process being gone: nothing was changed, and the call may come again.
pub(crate) fn is_delay(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == "DATABASE_UNAVAILABLE")
}

impl Admin {
    /// Waits until this process has applied the last of these.
    pub(crate) fn catch_up(&self, written: &[Written]) {
        let last = written
            .iter()
            .max_by_key(|w| revision(&w.revision))
            .unwrap();
        let question = CheckRequest {
            at_least_revision: last.revision.clone(),
            ..check_of("default", &last.token)
        };
        let start = Instant::now();
        loop {
            match self.check(question.clone()) {
                Ok(answer) => {
                    assert!(revision(&answer.revision) >= revision(&last.revision));
                    return;
                }
                // It has waited for a second and says so.
                Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}"),
            }
            assert!(start.elapsed() < PATIENCE, "{} never came", last.revision);
        }
    }

    /// Every one of them opens `default`.
    pub(crate) fn assert_open(&self, written: &[Written]) {
        let tokens: Vec<String> = written.iter().map(|w| w.token.clone()).collect();
        let decisions = self.decide_all("default", &tokens);
        for (written, decision) in written.iter().zip(decisions) {
            assert_eq!(decision.reason(), Reason::Ok, "{}", written.id);
            assert_eq!(decision.key_id, written.id);
        }
    }
}

/// What continuous questions were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How many were as they had to be.
    pub(crate) right: usize,
    /// All others.
    pub(crate) faults: Vec<String>,
    /// The one that took longest.
    pub(crate) longest: Duration,
    /// How long each of them took, since these were last taken.
    latencies: Vec<Duration>,
}

impl Answers {
    fn count(&self) -> usize {
        self.right + self.faults.len()
    }
}

/// Callers that ask about the same keys over and over, 400 times a second in all.
pub(crate) struct Questions {
    admin: Admin,
    callers: JoinSet<()>,
    answers: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<Answers>,
    /// Told with each answer.
    more: Condvar,
}

impl Questions {
    /// Each token must always be answered with its reason.
    pub(crate) fn start(admin: &Admin, expected: &[(String, Reason)]) -> Self {
        let answers = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let ask = ask(
                admin.clone(),
                expected.to_vec(),
                Arc::clone(&answers),
                Arc::clone(&stop),
            );
            callers.spawn_on(ask, admin.runtime.handle());
        }
        Self {
            admin: admin.clone(),
            callers,
            answers,
            stop,
        }
    }

    /// Waits until so many more questions have been answered, in whatever way.
    pub(crate) fn wait_for(&self, more: usize) {
        let answers = self.answers.answers.lock().unwrap();
        let goal = answers.count() + more;
        let wait = self
            .answers
            .more
            .wait_timeout_while(answers, PATIENCE, |answers| answers.count() < goal);
        assert!(!wait.unwrap().1.timed_out(), "questions are not answered");
    }

    /// How long the answers took since this was last asked for.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        std::mem::take(&mut self.answers.answers.lock().unwrap().latencies)
    }

    pub(crate) fn stop(mut self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        let callers = &mut self.callers;
        self.admin.runtime.block_on(async {
            while let Some(ended) = callers.join_next().await {
                ended.unwrap();
            }
        });
        std::mem::take(&mut self.answers.answers.lock().unwrap())
    }
}

/// Clients of a service behind Envoy, each on a connection of its own: one request after the other with a key, all of which
/// must be let through. None asks twice.
pub(crate) struct Visitors {
    clients: Vec<JoinHandle<usize>>,
    stop: Vec<Sender<()>>,
    answered: Arc<AtomicUsize>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Visitors {
    /// So many, each with a pause after each request.
    pub(crate) fn start(clients: usize, pause: Duration, envoy: SocketAddr, token: &str) -> Self {
        let mut this = Self {
            clients: Vec::new(),
            stop: Vec::new(),
            answered: Arc::default(),
            faults: Arc::default(),
        };
        for client in 0..clients {
            let (stop, stopped) = channel();
            this.stop.push(stop);
            let (answered, faults) = (Arc::clone(&this.answered), Arc::clone(&this.faults));
            let token = token.to_owned();
            this.clients.push(std::thread::spawn(move || {
                let mut connection = Connection::to(envoy);
                let mut asked = 0;
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                    let headers = [("x-api-key", token.as_str())];
                    let path = format!("/orders/{client}/{asked}");
                    let answer = connection.send("GET", &path, &headers, "");
                    asked += 1;
                    if answer.status != 200 {
                        let fault = format!("{path}: {} {}", answer.status, answer.text());
                        faults.lock().unwrap().push(fault);
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                asked
            }));
        }
        this
    }

    /// Waits until so many more have been answered.
    pub(crate) fn wait_for(&self, more: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + more;
        sooner_or_later(|| match self.answered.load(Ordering::SeqCst) {
            answered if answered >= goal => Ok(()),
            answered => Err(answered),
        });
    }

    /// How many were asked, and what was said of those that were not let through.
    pub(crate) fn stop(self) -> (usize, Vec<String>) {
        drop(self.stop);
        let asked = self
            .clients
            .into_iter()
            .map(|client| client.join().unwrap());
        let asked = asked.sum();
        (asked, std::mem::take(&mut self.faults.lock().unwrap()))
    }
}

async fn ask(
    admin: Admin,
    expected: Vec<(String, Reason)>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
) {
    let mut client = AuthorizeClient::new(admin.channel());
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (token, reason) in expected.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        pace.tick().await;
        let asked = Instant::now();
        let answer = client
            .check(admin.request(check_of("default", token)))
            .await;
        let took = asked.elapsed();
        let mut answers = shared.answers.lock().unwrap();
        answers.longest = answers.longest.max(took);
        answers.latencies.push(took);
        match answer {
            Ok(answer) if answer.get_ref().reason() == *reason => answers.right += 1,
            Ok(answer) => {
                let given = answer.get_ref().reason();
                answers.faults.push(format!("{given:?} for {reason:?}"));
            }
            Err(status) => answers.faults.push(format!("{status:?}")),
        }
        shared.more.notify_all();
    }
}

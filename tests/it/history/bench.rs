//! A private PostgreSQL and some replicas on it, with a proxy for faults between each of them and the database, and another
//! one between each of them and those who change things.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::checker::in_the_end;
use super::events::{Act, Check, Entry, History, Stored};
use super::notes::Notes;
use crate::harness::{Admin, PATIENCE, Process, Proxy, ROOT_KEY, Starting, between_looks};
use crate::postgres::{BOOTSTRAP_TOKEN, Stage, administrator};

/// A life of a replica: from a start of its process to its end.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) number: usize,
    /// The way of those who ask.
    pub(super) direct: Channel,
    /// The way of those who change things: faults happen on it.
    pub(super) front: Channel,
}

/// A place in the fleet.
pub(super) struct Seat {
    pub(super) name: String,
    strict: bool,
    /// Between the process and the database.
    pub(super) database: Proxy,
    url: String,
    /// Where it keeps its data; another one makes it a stranger to what it was before.
    folder: String,
    process: Option<Process>,
    /// Between those who change things and the process.
    pub(super) front: Option<Proxy>,
    lives: usize,
    pub(super) life: watch::Sender<Option<Life>>,
}

pub(super) struct Bench {
    pub(super) seats: Vec<Seat>,
    pub(super) stage: Stage,
    pub(super) runtime: Arc<Runtime>,
    /// Two of them at once would mostly show what a starved machine does.
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    /// As many replicas as there are names, each strict or not.
    pub(super) fn of(strict: &[bool]) -> Self {
        Self::by(strict, |stage| stage.postgres.proxy())
    }

    /// The same with another way to the database.
    pub(super) fn by(strict: &[bool], proxy: impl Fn(&Stage) -> Proxy) -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        // One that failed has left nothing behind.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = Stage::set();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let seats = strict.iter().enumerate().map(|(n, strict)| {
            let database = proxy(&stage);
            let url = stage.database.url_by(&database);
            let name = format!("replica-{n}");
            Seat {
                folder: name.clone(),
                name,
                strict: *strict,
                database,
                url,
                process: None,
                front: None,
                lives: 0,
                life: watch::Sender::new(None),
            }
        });
        let mut this = Self {
            seats: seats.collect(),
            stage,
            runtime: Arc::new(runtime),
            _alone: alone,
        };
        for seat in 0..this.seats.len() {
            this.start(seat);
        }
        this
    }

    /// Starts a process in this place, and returns when it serves.
    pub(super) fn start(&mut self, seat: usize) {
        let starting = self.begin(seat);
        self.serves(seat, starting);
    }

    /// Starts one, and does not wait.
    pub(super) fn begin(&self, seat: usize) -> Starting {
        let seat = &self.seats[seat];
        let strict = if seat.strict { "true" } else { "false" };
        let environment = [
            ("CLAVIGER_DATABASE_URL", seat.url.as_str()),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
            ("CLAVIGER_REPLICA_NAME", &seat.name),
            ("CLAVIGER_STRICT_REVOCATION", strict),
        ];
        self.stage.starting_with(&seat.folder, &environment)
    }

    /// Waits until it serves.
    pub(super) fn serves(&mut self, seat: usize, starting: Starting) {
        let process = starting.serving();
        let seat = &mut self.seats[seat];
        let front = Proxy::before(process.grpc());
        let _in_runtime = self.runtime.enter();
        let channel = |address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            endpoint.connect_timeout(PATIENCE).connect_lazy()
        };
        let life = Life {
            number: seat.lives,
            direct: channel(process.grpc()),
            front: channel(front.address()),
        };
        seat.lives += 1;
        (seat.process, seat.front) = (Some(process), Some(front));
        seat.life.send_replace(Some(life));
    }

    /// Its process ends at once.
    pub(super) fn kill(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        seat.life.send_replace(None);
        seat.process.take().expect("it lives").kill();
        seat.front = None;
    }

    /// Its process ends in order.
    pub(super) fn stop(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        seat.life.send_replace(None);
        let ended = seat.process.take().expect("it lives").stop();
        assert!(ended.success(), "{ended:?}");
        seat.front = None;
    }

    /// In which of its lives a replica is.
    pub(super) fn life(&self, seat: usize) -> usize {
        self.seats[seat].lives - 1
    }

    /// From its next start on it has a data directory in which nothing is.
    pub(super) fn forget(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        seat.folder = format!("{}-anew-{}", seat.name, seat.lives);
    }

    /// Sends its process a signal.
    pub(super) fn signal(&mut self, seat: usize, signal: &str) {
        let process = self.seats[seat].process.as_mut().expect("it lives");
        process.child.signal(signal);
    }

    /// A client of it, past all faults.
    pub(super) fn admin(&self, seat: usize) -> Admin {
        administrator(self.seats[seat].process.as_ref().expect("it lives"))
    }

    fn admins(&self) -> Vec<Admin> {
        (0..self.seats.len()).map(|seat| self.admin(seat)).collect()
    }

    /// Every index is what the database holds, record for record; returns of how many keys.
    pub(super) fn assert_verified(&self) -> i64 {
        let verified = self
            .admins()
            .into_iter()
            .map(|admin| admin.assert_verified());
        verified.max().unwrap()
    }

    /// The last revision there is.
    pub(super) fn head(&self) -> v1::WaitForRevisionRequest {
        let found = self
            .stage
            .database
            .sql("SELECT epoch, n FROM meta, counter");
        let (epoch, n) = found.split_once('|').unwrap();
        let (epoch, n) = (epoch.parse().unwrap(), n.parse().unwrap());
        let revision = claviger::domain::revision::Revision { epoch, n };
        v1::WaitForRevisionRequest {
            revision: revision.to_string(),
            wait_deadline: Some(Duration::from_secs(2).try_into().unwrap()),
        }
    }

    /// Waits until every replica has all there is, by its own word and by that of all the others.
    pub(super) fn assert_caught_up(&self) {
        let begun = Instant::now();
        let total = i32::try_from(self.seats.len()).unwrap();
        for admin in self.admins() {
            loop {
                match admin.wait_for_revision(self.head()) {
                    Ok(answer) => {
                        let found = answer.propagation.unwrap();
                        if found.complete && found.total == total {
                            break;
                        }
                        assert!(begun.elapsed() < 3 * PATIENCE, "{found:?}");
                    }
                    Err(status) => {
                        let late = [Code::DeadlineExceeded, Code::Unavailable];
                        assert!(late.contains(&status.code()), "{status:?}");
                        assert!(begun.elapsed() < 3 * PATIENCE, "{status:?}");
                    }
                }
                between_looks();
            }
        }
    }

    /// Adds to a history what the database has in the end, and what every replica says then of every token.
    pub(super) fn conclude(&self, notes: &Notes, history: &mut History) {
        loop {
            let head = self.head().revision;
            self.read_log(history);
            let settled = self.assert_indexes(notes, history);
            // Somebody whose caller was gone long ago may still have been at it.
            if self.head().revision == head {
                history.checks.extend(settled);
                return;
            }
        }
    }

    /// Waits until every index answers what the database has, or does not come to it; what was answered at last.
    fn assert_indexes(&self, notes: &Notes, history: &History) -> Vec<Check> {
        let (texts, expected) = (notes.texts(), in_the_end(history));
        let mut settled = Vec::new();
        for (replica, admin) in self.admins().iter().enumerate() {
            let begun = Instant::now();
            settled.extend(loop {
                let begin = notes.now();
                let found = admin.decide_all("default", &texts);
                let end = notes.now();
                let right = found
                    .iter()
                    .map(v1::CheckResponse::reason)
                    .eq(expected.iter().copied());
                let checks = found.iter().enumerate().map(|(token, answer)| Check {
                    replica,
                    life: self.life(replica),
                    token,
                    begin,
                    end,
                    reason: answer.reason(),
                    revision: answer.revision.parse().unwrap(),
                    settled: true,
                });
                if right || begun.elapsed() > PATIENCE / 4 {
                    break checks.collect::<Vec<_>>();
                }
                between_looks();
            });
        }
        settled
    }

    fn read_log(&self, history: &mut History) {
        let database = &self.stage.database;
        history.epoch = database.sql("SELECT epoch FROM meta").parse().unwrap();
        let rows = database.sql(
            "SELECT revision, action, after::json->'settings'->>'display_name', \
             after::json->'settings'->>'description', after::json->'settings'->>'enabled' FROM changes \
             WHERE resource_kind = 'KEY' AND workspace_id = 'default' ORDER BY revision, ordinal",
        );
        history.log = rows.lines().map(entry).collect();
        let rows = database.sql(
            "SELECT display_name, enabled, delete_time IS NOT NULL FROM keys WHERE workspace_id = 'default'",
        );
        history.stored = rows.lines().map(stored).collect();
    }
}

/// The number behind a word.
fn number(word: &str, text: &str) -> Option<usize> {
    text.strip_prefix(word)?.trim().parse().ok()
}

fn entry(row: &str) -> Entry {
    let columns: Vec<&str> = row.split('|').collect();
    let [n, action, name, description, enabled] = columns[..] else {
        panic!("{row}");
    };
    let act = match (action, enabled) {
        ("CREATE", _) => Act::Make,
        ("UPDATE", "true") => Act::Enable,
        ("UPDATE", "false") => Act::Disable,
        ("REGENERATE", _) => Act::Regenerate,
        ("DELETE", _) => Act::Delete,
        _ => panic!("{row}"),
    };
    Entry {
        n: n.parse().unwrap(),
        key: number("key", name),
        act,
        // Only these write down whose they are.
        change: match act {
            Act::Make | Act::Enable | Act::Disable => number("change", description),
            Act::Regenerate | Act::Delete => None,
        },
    }
}

fn stored(row: &str) -> Stored {
    let columns: Vec<&str> = row.split('|').collect();
    let [name, enabled, deleted] = columns[..] else {
        panic!("{row}");
    };
    Stored {
        key: number("key", name).unwrap(),
        enabled: enabled == "t",
        deleted: deleted == "t",
    }
}

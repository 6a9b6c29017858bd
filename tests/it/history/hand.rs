//! Somebody who does one thing after the other on a bench, and writes it all down.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Propagation, Reason, Wait};
use tonic::Status;

use super::bench::Bench;
use super::events::{Act, Check, Confirmed, Outcome};
use super::notes::Notes;
use crate::harness::{Admin, PATIENCE, between_looks, check_of, is_delay, key};

/// A key, and its token.
pub(super) struct Own {
    key: usize,
    pub(super) id: String,
    token: usize,
    text: String,
}

/// One who asks at a replica, in one of its lives.
pub(super) struct Asker {
    admin: Admin,
    replica: usize,
    life: usize,
}

pub(super) struct Hand {
    pub(super) notes: Arc<Notes>,
    checks: Mutex<Vec<Check>>,
}

impl Hand {
    pub(super) fn new(notes: Arc<Notes>) -> Self {
        Self {
            notes,
            checks: Mutex::default(),
        }
    }

    /// What was asked so far.
    pub(super) fn checks(self) -> Vec<Check> {
        self.checks.into_inner().unwrap()
    }

    /// Makes a key at a replica, which all of them know in the end.
    pub(super) fn make(&self, bench: &Bench, replica: usize) -> Own {
        let number = self.notes.new_key();
        let change = self.notes.begin(number, Act::Make, None);
        self.notes.asks(change, replica);
        let named = v1::Key {
            description: format!("change {change}"),
            ..key(&format!("key {number}"), &[])
        };
        let request = v1::CreateKeyRequest {
            workspace: "default".to_owned(),
            key: Some(named),
            request_id: request_id(change),
            ..Default::default()
        };
        let admin = bench.admin(replica);
        let made = again(|| admin.create_key(request.clone()));
        let outcome = Outcome::Made {
            revision: made.revision.parse().unwrap(),
            complete: false,
        };
        self.notes.told(change, outcome);
        let text = made.tokens[0].token.clone();
        let token = self.notes.issued(change, text.clone());
        Own {
            key: number,
            id: made.key.unwrap().id,
            token,
            text,
        }
    }

    /// Disables it at a replica; the revision, and how far it came in this time where it is waited for.
    pub(super) fn disable(
        &self,
        bench: &Bench,
        replica: usize,
        own: &Own,
        most: Option<Duration>,
    ) -> (String, Option<Propagation>) {
        let change = self.notes.begin(own.key, Act::Disable, Some(own.token));
        self.notes.asks(change, replica);
        let wait = most.map_or(Wait::Local, |_| Wait::AllReplicas);
        let request = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: own.id.clone(),
                description: format!("change {change}"),
                enabled: Some(false),
                ..Default::default()
            }),
            request_id: request_id(change),
            wait: wait.into(),
            wait_deadline: most.map(|most| most.try_into().unwrap()),
            ..Default::default()
        };
        let admin = bench.admin(replica);
        let done = again(|| admin.update_key(request.clone()));
        let complete = done
            .propagation
            .as_ref()
            .is_some_and(|found| found.complete);
        let revision = done.revision.parse().unwrap();
        self.notes
            .told(change, Outcome::Made { revision, complete });
        (done.revision, done.propagation)
    }

    /// How far a revision has come in this time, as a replica has it; none where it does not even have it itself.
    pub(super) fn wait_for(
        &self,
        bench: &Bench,
        replica: usize,
        revision: &str,
        most: Duration,
    ) -> Option<Propagation> {
        let request = v1::WaitForRevisionRequest {
            revision: revision.to_owned(),
            wait_deadline: Some(most.try_into().unwrap()),
        };
        let answer = bench.admin(replica).wait_for_revision(request).ok()?;
        let found = answer.propagation.unwrap();
        if found.complete {
            self.notes.confirmed(Confirmed {
                revision: revision.parse().unwrap(),
                end: self.notes.now(),
            });
        }
        Some(found)
    }

    /// Waits until a revision is everywhere.
    pub(super) fn wait_for_all(&self, bench: &Bench, replica: usize, revision: &str) {
        let (begun, most) = (Instant::now(), Duration::from_secs(5));
        loop {
            let found = self.wait_for(bench, replica, revision, most);
            if found.as_ref().is_some_and(|found| found.complete) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{found:?}");
        }
    }

    /// What a replica says of it.
    pub(super) fn check(&self, asker: &Asker, own: &Own) -> Reason {
        let begin = self.notes.now();
        let answer = asker.admin.check(check_of("default", &own.text)).unwrap();
        let check = Check {
            replica: asker.replica,
            life: asker.life,
            token: own.token,
            begin,
            end: self.notes.now(),
            reason: answer.reason(),
            revision: answer.revision.parse().unwrap(),
            settled: false,
        };
        self.checks.lock().unwrap().push(check);
        answer.reason()
    }
}

impl Bench {
    pub(super) fn asker(&self, replica: usize) -> Asker {
        Asker {
            admin: self.admin(replica),
            replica,
            life: self.life(replica),
        }
    }
}

/// What tells a call that is repeated.
fn request_id(change: usize) -> String {
    format!("6a2b8c1e-6d4a-4c9b-8e7f-{change:012x}")
}

/// Calls again where a busy machine let the database miss its limits: with the same `request_id`, so that it is made once.
fn again<T>(call: impl Fn() -> Result<T, Status>) -> T {
    let begun = Instant::now();
    loop {
        match call() {
            Ok(answer) => return answer,
            Err(status) => assert!(
                is_delay(&status) && begun.elapsed() < PATIENCE,
                "{status:?}"
            ),
        }
        between_looks();
    }
}

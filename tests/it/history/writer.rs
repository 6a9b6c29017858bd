//! One who makes keys, switches them, replaces their tokens and deletes them, each key of its own, and each change at
//! whichever replica. It does not always wait for an answer, and does not always ask again where it got none.

use std::sync::Arc;
use std::time::Duration;

use claviger::grpc::proto::v1::fleet_client::FleetClient;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, Wait};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::bench::Life;
use super::dice::Dice;
use super::events::{Act, Confirmed, Outcome};
use super::load::{alive, signed};
use super::notes::Notes;
use crate::harness::key;

/// A key that forgets none of its dead tokens has no more than these.
const REGENERATIONS: usize = 3;
/// How often an outcome is asked for again.
const REPEATS: usize = 10;
/// How long before anything is asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// A key of a writer.
struct Own {
    key: usize,
    id: String,
    token: usize,
    enabled: bool,
    regenerated: usize,
}

/// A change that is wanted.
struct Order {
    change: usize,
    key: usize,
    id: String,
    act: Act,
    request_id: String,
    wait: Wait,
    deadline: Duration,
}

/// What a replica said to it.
enum Told {
    Made(Box<Answer>),
    Refused(String),
    Nothing,
}

struct Answer {
    id: String,
    token: Option<String>,
    revision: String,
    complete: bool,
}

pub(super) struct Writer {
    notes: Arc<Notes>,
    lives: Vec<watch::Receiver<Option<Life>>>,
    dice: Dice,
    aborts: usize,
    stop: CancellationToken,
    own: Vec<Own>,
}

impl Writer {
    pub(super) fn new(
        notes: Arc<Notes>,
        lives: Vec<watch::Receiver<Option<Life>>>,
        dice: Dice,
        aborts: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            notes,
            lives,
            dice,
            aborts,
            stop,
            own: Vec::new(),
        }
    }

    pub(super) async fn all(mut self) {
        while !self.stop.is_cancelled() {
            if self.own.len() < 3 || self.dice.percent(10) {
                self.make().await;
            } else {
                self.change().await;
            }
        }
    }

    async fn make(&mut self) {
        let key = self.notes.new_key();
        let order = self.order(key, String::new(), Act::Make, None);
        let Told::Made(answer) = self.settle(&order).await else {
            return;
        };
        if let Some(text) = answer.token {
            let token = self.notes.issued(order.change, text);
            self.own.push(Own {
                key,
                id: answer.id,
                token,
                enabled: true,
                regenerated: 0,
            });
        }
    }

    async fn change(&mut self) {
        let at = self.dice.below(self.own.len());
        let act = match self.dice.below(100) {
            0..12 => Act::Delete,
            12..35 if self.own[at].regenerated < REGENERATIONS => Act::Regenerate,
            _ if self.own[at].enabled => Act::Disable,
            _ => Act::Enable,
        };
        let own = &self.own[at];
        let (key, id, token) = (own.key, own.id.clone(), own.token);
        let order = self.order(key, id, act, Some(token));
        let told = self.settle(&order).await;
        if matches!(told, Told::Refused(_)) {
            tokio::time::sleep(PAUSE).await;
            return;
        }
        // Where nobody said what became of it, it goes on as if it had been made.
        match act {
            Act::Delete => drop(self.own.swap_remove(at)),
            Act::Enable | Act::Disable => self.own[at].enabled = act == Act::Enable,
            Act::Regenerate => {
                self.own[at].regenerated += 1;
                if let Told::Made(answer) = told
                    && let Some(text) = answer.token
                {
                    self.own[at].token = self.notes.issued(order.change, text);
                }
            }
            Act::Make => {}
        }
    }

    fn order(&mut self, key: usize, id: String, act: Act, token: Option<usize>) -> Order {
        let everywhere = act != Act::Make && self.dice.percent(50);
        Order {
            change: self.notes.begin(key, act, token),
            key,
            id,
            act,
            request_id: self.dice.request_id(),
            wait: if everywhere {
                Wait::AllReplicas
            } else {
                Wait::Local
            },
            deadline: self.dice.millis(50, 1_000),
        }
    }

    /// Asks for a change, and, mostly, again until somebody knows what became of it.
    async fn settle(&mut self, order: &Order) -> Told {
        let (mut repeats, mut told) = (0, Told::Nothing);
        let insists = self.dice.percent(70);
        while repeats == 0 || insists && repeats < REPEATS && !self.stop.is_cancelled() {
            let replica = self.dice.below(self.lives.len());
            let stop = self.stop.clone();
            let life = self.lives[replica].borrow().clone();
            let life = match life {
                Some(life) => life,
                None if repeats > 0 => {
                    // It is as good as another question without an answer.
                    tokio::time::sleep(PAUSE).await;
                    repeats += 1;
                    continue;
                }
                None => match alive(&mut self.lives[replica], &stop).await {
                    Some(life) => life,
                    None => break,
                },
            };
            self.notes.asks(order.change, replica);
            told = self.ask(life, order).await;
            match &told {
                Told::Made(_) => break,
                // Of the first try that says all. Of a later one it says nothing about those before it.
                Told::Refused(reason) => {
                    self.notes.refused(reason.clone());
                    if repeats == 0 {
                        break;
                    }
                    told = Told::Nothing;
                }
                Told::Nothing => {}
            }
            repeats += 1;
            tokio::time::sleep(PAUSE).await;
        }
        self.write_down(order, &told).await;
        told
    }

    async fn write_down(&mut self, order: &Order, told: &Told) {
        match told {
            Told::Made(answer) => {
                let revision = answer.revision.parse().unwrap();
                let complete = answer.complete;
                let outcome = Outcome::Made { revision, complete };
                self.notes.told(order.change, outcome);
                if !complete && self.dice.percent(20) {
                    self.confirm(&answer.revision).await;
                }
            }
            Told::Refused(_) => self.notes.told(order.change, Outcome::Refused),
            Told::Nothing => self.notes.told(order.change, Outcome::Unknown),
        }
    }

    /// Asks any replica whether a change is everywhere.
    async fn confirm(&mut self, revision: &str) {
        let replica = self.dice.below(self.lives.len());
        let Some(life) = self.lives[replica].borrow().clone() else {
            return;
        };
        let request = v1::WaitForRevisionRequest {
            revision: revision.to_owned(),
            wait_deadline: Some(self.dice.millis(50, 500).try_into().unwrap()),
        };
        let mut client = FleetClient::new(life.front);
        let answer = client.wait_for_revision(signed(request)).await;
        let propagation = answer.ok().and_then(|a| a.into_inner().propagation);
        if propagation.is_some_and(|found| found.complete) {
            self.notes.confirmed(Confirmed {
                revision: revision.parse().unwrap(),
                end: self.notes.now(),
            });
        }
    }

    async fn ask(&mut self, life: Life, order: &Order) -> Told {
        let client = KeyAdminClient::new(life.front);
        let answer = if self.dice.percent(self.aborts) {
            // It hangs up, at any stage of the change.
            let patience = self.dice.millis(0, 20);
            tokio::time::timeout(patience, order.call(client)).await
        } else {
            Ok(order.call(client).await)
        };
        match answer {
            Ok(Ok(answer)) => Told::Made(Box::new(answer)),
            Ok(Err(status)) => refusal(&status).map_or(Told::Nothing, Told::Refused),
            Err(_) => Told::Nothing,
        }
    }
}

/// Why nothing was changed; none where nobody says that nothing was.
fn refusal(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.reason != "OUTCOME_UNKNOWN").then_some(info.reason)
}

fn told(
    key: Option<v1::Key>,
    tokens: &[v1::IssuedToken],
    revision: String,
    propagation: Option<v1::Propagation>,
) -> Answer {
    Answer {
        id: key.unwrap().id,
        token: tokens.first().map(|issued| issued.token.clone()),
        revision,
        complete: propagation.is_some_and(|found| found.complete),
    }
}

impl Order {
    async fn call(
        &self,
        mut client: KeyAdminClient<tonic::transport::Channel>,
    ) -> Result<Answer, Status> {
        let wait = self.wait.into();
        let wait_deadline = Some(self.deadline.try_into().unwrap());
        let (id, request_id) = (self.id.clone(), self.request_id.clone());
        match self.act {
            Act::Make => {
                let named = v1::Key {
                    description: format!("change {}", self.change),
                    ..key(&format!("key {}", self.key), &[])
                };
                let request = signed(v1::CreateKeyRequest {
                    workspace: "default".to_owned(),
                    key: Some(named),
                    request_id,
                    ..Default::default()
                });
                let made = client.create_key(request).await?.into_inner();
                Ok(told(made.key, &made.tokens, made.revision, None))
            }
            Act::Enable | Act::Disable => {
                let switched = v1::Key {
                    id,
                    description: format!("change {}", self.change),
                    enabled: Some(self.act == Act::Enable),
                    ..Default::default()
                };
                let request = signed(v1::UpdateKeyRequest {
                    key: Some(switched),
                    request_id,
                    wait,
                    wait_deadline,
                    ..Default::default()
                });
                let done = client.update_key(request).await?.into_inner();
                Ok(told(done.key, &[], done.revision, done.propagation))
            }
            Act::Regenerate => {
                let request = signed(v1::RegenerateSecretRequest {
                    key_id: id,
                    force: true,
                    request_id,
                    wait,
                    wait_deadline,
                    ..Default::default()
                });
                let done = client.regenerate_secret(request).await?.into_inner();
                Ok(told(
                    done.key,
                    &done.tokens,
                    done.revision,
                    done.propagation,
                ))
            }
            Act::Delete => {
                let request = signed(v1::DeleteKeyRequest {
                    id,
                    request_id,
                    wait,
                    wait_deadline,
                    ..Default::default()
                });
                let done = client.delete_key(request).await?.into_inner();
                Ok(told(done.key, &[], done.revision, done.propagation))
            }
        }
    }
}

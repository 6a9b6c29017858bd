//! The rotation guard, and the rotation in four steps that never meets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use claviger::grpc::proto::v1::{self, Reason, Slot};
use tokio::sync::watch;
use tonic::{Code, Response, Status};

use super::stage::{
    Made, Stage, asking, creating, duration, generated, holding, named, ok, refused,
};

async fn two_slots(stage: &Stage) -> Made {
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", named("two slots"))
    };
    stage.make(request).await
}

fn replace(made: &Made, slot: Slot) -> v1::RegenerateSecretRequest {
    v1::RegenerateSecretRequest {
        key_id: made.id(),
        slot: slot.into(),
        ..Default::default()
    }
}

async fn regenerate(
    stage: &Stage,
    request: v1::RegenerateSecretRequest,
) -> Result<Response<v1::RegenerateSecretResponse>, Status> {
    stage.acme.keys().regenerate_secret(request).await
}

const GUARD: (Code, &str) = (Code::FailedPrecondition, "OTHER_SLOT_UNPROVEN");

#[tokio::test(flavor = "multi_thread")]
async fn skipping_the_switch_meets_the_guard() {
    let stage = Stage::set().await;
    let made = two_slots(&stage).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    // Step 1 is right: the other slot is replaced. Step 2, the switch to it, is forgotten.
    let fresh = ok(regenerate(&stage, replace(&made, Slot::Secondary)).await).tokens[0]
        .token
        .clone();
    let before = stage.revision().await;
    refused(
        regenerate(&stage, replace(&made, Slot::Primary)).await,
        GUARD.0,
        GUARD.1,
    );
    assert_eq!(stage.revision().await, before);
    assert_eq!(
        stage.reason(&made.primary).await,
        Reason::Ok,
        "nobody was cut off"
    );
    // After the switch it goes on.
    assert_eq!(stage.reason(&fresh).await, Reason::Ok);
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_and_grace_pass_the_guard() {
    let stage = Stage::set().await;
    for request in [
        v1::RegenerateSecretRequest {
            force: true,
            ..Default::default()
        },
        v1::RegenerateSecretRequest {
            grace: duration(60),
            ..Default::default()
        },
    ] {
        let made = two_slots(&stage).await;
        assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
        ok(regenerate(&stage, replace(&made, Slot::Secondary)).await);
        refused(
            regenerate(&stage, replace(&made, Slot::Primary)).await,
            GUARD.0,
            GUARD.1,
        );
        let request = v1::RegenerateSecretRequest {
            key_id: made.id(),
            slot: Slot::Primary.into(),
            ..request
        };
        ok(regenerate(&stage, request).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_asks_only_about_what_could_cut_somebody_off() {
    let stage = Stage::set().await;
    // A first replacement: the other slot came with the key, and may be what clients already use.
    let made = two_slots(&stage).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
    // One slot alone has no other.
    let made = stage.key(&[]).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
    // A value nobody used lately.
    let made = two_slots(&stage).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    ok(regenerate(&stage, replace(&made, Slot::Secondary)).await);
    stage.advance(Duration::from_secs(24 * 3_600 - 1));
    refused(
        regenerate(&stage, replace(&made, Slot::Primary)).await,
        GUARD.0,
        GUARD.1,
    );
    stage.advance(Duration::from_secs(2));
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
    // A value nobody ever used.
    let made = two_slots(&stage).await;
    ok(regenerate(&stage, replace(&made, Slot::Secondary)).await);
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_period_is_the_workspaces() {
    let stage = Stage::set().await;
    let guard = |seconds| v1::WorkspaceSettings {
        rotation_guard: duration(seconds),
        ..Default::default()
    };
    stage.configure("acme", guard(60)).await;
    let made = two_slots(&stage).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    ok(regenerate(&stage, replace(&made, Slot::Secondary)).await);
    stage.advance(Duration::from_secs(59));
    refused(
        regenerate(&stage, replace(&made, Slot::Primary)).await,
        GUARD.0,
        GUARD.1,
    );
    stage.configure("acme", guard(0)).await;
    ok(regenerate(&stage, replace(&made, Slot::Primary)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_request_proves_nothing() {
    let stage = Stage::set().await;
    let made = two_slots(&stage).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    let fresh = ok(regenerate(&stage, replace(&made, Slot::Secondary)).await).tokens[0]
        .token
        .clone();
    let denied = stage.check(asking("acme", &fresh, &["orders:read"])).await;
    assert_eq!(denied.reason(), Reason::InsufficientScope);
    refused(
        regenerate(&stage, replace(&made, Slot::Primary)).await,
        GUARD.0,
        GUARD.1,
    );
}

/// A client that asks all the time, with the token it was last told; counts what it was refused.
struct Traffic {
    told: watch::Sender<String>,
    /// Calls finished, by client.
    sent: Vec<Arc<AtomicU64>>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(stage: &Stage, token: &str, clients: usize) -> Self {
        let (told, heard) = watch::channel(token.to_owned());
        let sent: Vec<_> = (0..clients).map(|_| Arc::<AtomicU64>::default()).collect();
        let refused = Arc::<AtomicU64>::default();
        let stop = Arc::<AtomicBool>::default();
        let client = |sent: &Arc<AtomicU64>| {
            let (heard, sent, refused, stop) =
                (heard.clone(), sent.clone(), refused.clone(), stop.clone());
            let mut authorize = stage.server.client(None).authorize();
            #[expect(
                clippy::disallowed_methods,
                reason = "a test's own client, which it joins"
            )]
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let token = heard.borrow().clone();
                    let answer = ok(authorize
                        .check(asking("acme", &token, &["orders:read"]))
                        .await);
                    refused.fetch_add(u64::from(answer.reason() != Reason::Ok), Ordering::SeqCst);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let tasks = sent.iter().map(client).collect();
        Self {
            told,
            sent,
            refused,
            stop,
            tasks,
        }
    }

    /// Waits until every client has finished a call that it began after now.
    async fn flow(&self) {
        for client in &self.sent {
            let until = client.load(Ordering::SeqCst) + 2;
            while client.load(Ordering::SeqCst) < until {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Tells the clients another token, and lets those calls finish that were begun with the old one.
    async fn switch(&self, token: &str) {
        self.told.send(token.to_owned()).unwrap();
        self.flow().await;
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        (
            self.sent.iter().map(|c| c.load(Ordering::SeqCst)).sum(),
            self.refused.load(Ordering::SeqCst),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a run says how much it covered")]
async fn the_four_steps_refuse_no_request_and_never_meet_the_guard() {
    let stage = Stage::set().await;
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", holding(&["orders:read"]))
    };
    let made = stage.make(request).await;
    let (mut primary, mut secondary) = (made.primary.clone(), made.secondary.clone());
    let traffic = Traffic::start(&stage, &primary, 4);
    traffic.flow().await;
    for _ in 0..5 {
        // The client is on PRIMARY. 1: it switches to SECONDARY. 2: PRIMARY is replaced. 3: it switches to the new PRIMARY.
        // 4: SECONDARY is replaced.
        traffic.switch(&secondary).await;
        let fresh = ok(regenerate(&stage, replace(&made, Slot::Primary)).await).tokens[0]
            .token
            .clone();
        assert_eq!(
            stage.reason(&primary).await,
            Reason::SecretRevoked,
            "refused from the answer on"
        );
        primary = fresh;
        traffic.switch(&primary).await;
        let fresh = ok(regenerate(&stage, replace(&made, Slot::Secondary)).await).tokens[0]
            .token
            .clone();
        assert_eq!(
            stage.reason(&secondary).await,
            Reason::SecretRevoked,
            "refused from the answer on"
        );
        secondary = fresh;
        traffic.flow().await;
    }
    let (sent, refused) = traffic.stop().await;
    println!("{sent} requests during 10 replacements, {refused} refused");
    assert_eq!(refused, 0);
}

//! The fleet of one: on either database a process that is alone waits for nobody but itself, and says so.

use claviger::grpc::proto::v1::{self, Reason, Wait, replica::State};
use tonic::Code;

use super::stage::{Made, Stage, details, duration, ok, refused, request_id};

fn disable(made: &Made, wait: Wait) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        wait: wait.into(),
        ..Default::default()
    }
}

/// It is in force on the only replica there is.
fn assert_everywhere(found: Option<v1::Propagation>) {
    let found = found.expect("the call waited");
    assert!(found.complete, "{found:?}");
    assert_eq!((found.total, found.applied), (1, 1));
    assert!(found.unconfirmed.is_empty() && found.elapsed.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_for_all_replicas_says_that_it_is_everywhere() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let answer = ok(stage
        .system
        .keys()
        .update_key(disable(&made, Wait::AllReplicas))
        .await);
    assert_everywhere(answer.propagation);
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyDisabled);
    // It was so already: what made it so is everywhere, too.
    let again = stage.system.keys();
    let again = { again }
        .update_key(disable(&made, Wait::AllReplicas))
        .await;
    assert_everywhere(ok(again).propagation);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_is_told_nothing_of_it_nor_is_who_changes_nothing() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    for wait in [Wait::Unspecified, Wait::Local] {
        let answer = ok(stage.system.keys().update_key(disable(&made, wait)).await);
        assert_eq!(answer.propagation, None);
    }
    let dry = v1::UpdateKeyRequest {
        validate_only: true,
        ..disable(&made, Wait::AllReplicas)
    };
    let answer = ok(stage.system.keys().update_key(dry).await);
    assert_eq!(answer.propagation, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_may_wait_for_more_and_for_longer_than_the_first_one() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let regenerate = |wait: Wait, wait_deadline| v1::RegenerateSecretRequest {
        key_id: made.id(),
        slot: v1::Slot::Primary.into(),
        request_id: request_id(70),
        wait: wait.into(),
        wait_deadline,
        ..Default::default()
    };
    let mut answers = Vec::new();
    for request in [
        regenerate(Wait::Unspecified, None),
        regenerate(Wait::AllReplicas, duration(1)),
        regenerate(Wait::AllReplicas, duration(0)),
    ] {
        let answer = ok(stage.system.keys().regenerate_secret(request).await);
        stage.server.remember(&answer.tokens[0].token);
        answers.push(answer);
    }
    for answer in &answers {
        assert_eq!(answer.revision, answers[0].revision);
        assert_eq!(answer.tokens, answers[0].tokens);
    }
    let [first, second, third] = answers.try_into().unwrap();
    assert_eq!(first.propagation, None);
    assert_everywhere(second.propagation);
    // Who does not want to wait is told how it stands all the same.
    assert_everywhere(third.propagation);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_lists_itself_as_serving_and_as_the_one_that_answers() {
    let stage = Stage::set().await;
    let (made, before) = (stage.key(&[]).await, stage.revision().await);
    let listed = ok(stage
        .system
        .fleet()
        .list_replicas(v1::ListReplicasRequest {})
        .await);
    assert_eq!(listed.revision, before);
    let [replica] = listed.replicas.try_into().unwrap();
    assert!(replica.id.starts_with("rep_") && !replica.name.is_empty());
    assert_eq!(replica.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(replica.state(), State::Serving);
    assert_eq!((replica.behind, &replica.applied_revision), (0, &before));
    assert!(replica.answering && replica.counts && !replica.strict_revocation);
    assert!(replica.start_time.is_some() && replica.last_seen.is_some());

    // It keeps its id over a restart, and is there once.
    let stage = stage.restart().await;
    let listed = ok(stage
        .system
        .fleet()
        .list_replicas(v1::ListReplicasRequest {})
        .await);
    assert_eq!(listed.replicas.len(), 1);
    assert_eq!(listed.replicas[0].id, replica.id);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lives_is_not_forgotten_and_one_that_nobody_knows_is_not_found() {
    let stage = Stage::set().await;
    let fleet = || stage.system.fleet();
    let listed = ok(fleet().list_replicas(v1::ListReplicasRequest {}).await);
    let forget = |id: &str| v1::ForgetReplicaRequest { id: id.to_owned() };
    let alive = fleet().forget_replica(forget(&listed.replicas[0].id)).await;
    refused(alive, Code::FailedPrecondition, "REPLICA_ALIVE");
    let unknown = format!("rep_{:032x}", 1);
    let unknown = fleet().forget_replica(forget(&unknown)).await;
    refused(unknown, Code::NotFound, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_waited_for_but_neither_beyond_the_deadline_nor_of_another_history() {
    let stage = Stage::set().await;
    let wait = async |revision: &str| {
        let request = v1::WaitForRevisionRequest {
            revision: revision.to_owned(),
            wait_deadline: Some(prost_types::Duration {
                seconds: 0,
                nanos: 50_000_000,
            }),
        };
        stage.system.fleet().wait_for_revision(request).await
    };
    let now = stage.revision().await;
    for revision in ["", &now] {
        let answer = ok(wait(revision).await);
        assert_eq!(answer.revision, now);
        assert_everywhere(answer.propagation);
    }
    let (epoch, n) = now.split_once('.').unwrap();
    let next = format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1);
    let early = wait(&next).await;
    refused(early, Code::DeadlineExceeded, "REVISION_NOT_REACHED");
    let other = if epoch == "00000007" {
        "00000008"
    } else {
        "00000007"
    };
    let other = wait(&format!("{other}.1")).await;
    refused(other, Code::FailedPrecondition, "OTHER_EPOCH");

    // One that is made meanwhile ends the wait.
    let waiting = stage.system.fleet();
    let request = v1::WaitForRevisionRequest {
        revision: next.clone(),
        wait_deadline: duration(60),
    };
    let mut waiting = waiting;
    let (answer, _) = tokio::join!(waiting.wait_for_revision(request), stage.key(&[]));
    let answer = ok(answer);
    assert_eq!(answer.revision, next);
    assert_everywhere(answer.propagation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_longer_than_its_call_ends_before_it() {
    let stage = Stage::set().await;
    let now = stage.revision().await;
    let (epoch, n) = now.split_once('.').unwrap();
    let begun = std::time::Instant::now();
    loop {
        let mut request = tonic::Request::new(v1::WaitForRevisionRequest {
            revision: format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1),
            wait_deadline: duration(60),
        });
        request.set_timeout(std::time::Duration::from_secs(2));
        let status = stage.system.fleet().wait_for_revision(request).await;
        let status = status.unwrap_err();
        // A machine that is busy enough cuts it off all the same; then it is tried again.
        if details(&status).0 == "REVISION_NOT_REACHED" {
            return;
        }
        assert!(begun.elapsed() < crate::harness::PATIENCE, "{status:?}");
    }
}

//! POSTbacks to a receiver that takes them and never answers.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, delivery::Failure, delivery::State};

use super::postbacks::{receipt, signing, telling};
use super::postbacks_delivery::{after, settled};
use super::stage::{creating, ok};
use crate::harness::{Answer, Receiver};

/// As many as are sent to one host at once. One after the other they would take longer than anything here is waited for.
const HANGING: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_nobody_else_and_gets_its_event_when_it_answers_again() {
    let (stage, _) = signing().await;
    let (mut hanging, mut healthy) = (Receiver::start(), Receiver::start());
    hanging.answer(Answer::Nothing);
    let mut made = Vec::new();
    for _ in 0..HANGING {
        made.push(stage.make(creating("acme", telling(&hanging.url()))).await);
    }
    let first: Vec<_> = hanging.take(HANGING).await;
    // All of them are under way, and who answers is told of all that happens meanwhile.
    let other = stage.make(creating("acme", telling(&healthy.url()))).await;
    for n in 0..HANGING {
        let request = receipt(&other.id(), &n.to_string());
        ok(stage.acme.postbacks().publish_event(request).await);
    }
    let told = healthy.take(1 + HANGING).await;
    let sequences: Vec<_> = told.iter().map(|arrived| arrived.sequence()).collect();
    assert!(sequences.into_iter().eq(1..=1 + HANGING as u64));

    // Each attempt ends by itself, and the next one is scheduled.
    for made in &made {
        let delivery = settled(&stage, &made.id(), after(1)).await;
        assert_eq!(
            (delivery.state(), delivery.failure(), delivery.http_status),
            (State::Pending, Failure::Timeout, 0)
        );
        let next = delivery.next_attempt_time.unwrap().seconds;
        assert!(next > delivery.last_attempt_time.unwrap().seconds);
    }
    hanging.answer(Answer::Status(204));
    stage.advance(Duration::from_secs(6));
    let again = hanging.take(HANGING).await;
    let ids = |arrived: &[crate::harness::Arrived]| {
        let mut ids: Vec<_> = arrived.iter().map(|a| a.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&first), ids(&again));
    for made in &made {
        let delivered = |d: &v1::Delivery| d.state() == State::Delivered;
        let delivery = settled(&stage, &made.id(), delivered).await;
        assert_eq!((delivery.attempts, delivery.http_status), (2, 204));
    }
    assert!(hanging.rest().is_empty() && healthy.rest().is_empty());
}

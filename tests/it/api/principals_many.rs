//! One principal with many keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Reason, import_result::Outcome};

use super::import_stream::{moved, one_message};
use super::stage::{Stage, asking, bound_to, external, foreign_token, knowing, mask, ok};
use crate::harness::figure;

/// How many keys the principal has.
const KEYS: u32 = 10_000;

fn token(n: u32) -> String {
    foreign_token(7_000_000 + n)
}

/// What all its keys are told, asked for a scope.
async fn all_told(stage: &Stage, expected: Reason) {
    for begin in (0..KEYS).step_by(1_000) {
        let checks = (begin..begin + 1_000).map(|n| asking("acme", &token(n), &["orders:read"]));
        let request = v1::BatchCheckRequest {
            checks: checks.collect(),
        };
        let answer = ok(stage.system.authorize().batch_check(request).await);
        for result in answer.results {
            let Some(v1::batch_check_result::Result::Response(response)) = result.result else {
                panic!("no decision: {result:?}")
            };
            assert_eq!(response.reason(), expected, "{}", response.key_id);
        }
    }
}

/// Asks all the time, until told to stop; returns how often, and how long the longest answer took.
async fn ask(stage: &Stage, stop: Arc<AtomicBool>) -> (u32, Duration) {
    let mut authorize = stage.system.authorize();
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let check = asking("acme", &token(count % KEYS), &["orders:read"]);
        let asked = Instant::now();
        ok(authorize.check(check).await);
        longest = longest.max(asked.elapsed());
        count += 1;
    }
    (count, longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_with_ten_thousand_keys_changes_in_one_swap_that_holds_up_no_decision() {
    let stage = Stage::set().await;
    let grant = |scopes: &[&str]| knowing("acme", "crane-7", scopes);
    ok(stage
        .system
        .directory()
        .upsert_principal(grant(&["orders:read"]))
        .await);
    for begin in (0..KEYS).step_by(1_000) {
        let item = |n: u32| {
            stage.server.remember(&token(n));
            moved(
                &format!("k-{n}"),
                bound_to("crane-7", &[]),
                external(&token(n)),
            )
        };
        let items = (begin..begin + 1_000).map(item).collect();
        let answer = one_message(&stage.system, "acme", false, items)
            .await
            .unwrap();
        let made = |r: &v1::ImportResult| r.outcome() == Outcome::Created;
        assert!(answer.results.iter().all(made));
    }
    all_told(&stage, Reason::Ok).await;

    let quiet = {
        let stop = Arc::new(AtomicBool::new(false));
        let end = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.store(true, Ordering::SeqCst);
        };
        tokio::join!(ask(&stage, stop.clone()), end).0
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut took = Vec::new();
    let change = async {
        for n in 0..40 {
            let scopes: &[&str] = if n % 2 == 0 {
                &["orders:write"]
            } else {
                &["orders:read"]
            };
            let asked = Instant::now();
            ok(stage
                .system
                .directory()
                .upsert_principal(grant(scopes))
                .await);
            took.push(asked.elapsed());
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (busy, ()) = tokio::join!(ask(&stage, stop.clone()), change);
    // What was answered is in force for all of them.
    ok(stage
        .system
        .directory()
        .upsert_principal(grant(&["orders:write"]))
        .await);
    all_told(&stage, Reason::InsufficientScope).await;
    let mut disable = grant(&[]);
    disable.principal.as_mut().unwrap().enabled = Some(false);
    disable.update_mask = mask(&["enabled"]);
    ok(stage.system.directory().upsert_principal(disable).await);
    all_told(&stage, Reason::PrincipalDisabled).await;

    took.sort();
    let millis = |d: Duration| d.as_secs_f64() * 1e3;
    figure(&format!(
        "a principal with {KEYS} keys: its permissions changed {} times, each in {:.1} ms (median, {:.1} the longest) and in force for all keys when answered; longest of {} decisions meanwhile {:.1} ms, of {} in quiet {:.1} ms",
        took.len(),
        millis(took[took.len() / 2]),
        millis(took[took.len() - 1]),
        busy.0,
        millis(busy.1),
        quiet.0,
        millis(quiet.1),
    ));
}

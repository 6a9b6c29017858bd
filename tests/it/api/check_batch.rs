//! Many decisions in one call: each by itself.

use claviger::grpc::proto::v1::{self, Reason, batch_check_result::Result as Item};
use tonic::Code;

use super::stage::{Stage, asking, ok};

async fn batch(stage: &Stage, checks: Vec<v1::CheckRequest>) -> Vec<Item> {
    let answer = ok(stage
        .system
        .authorize()
        .batch_check(v1::BatchCheckRequest { checks })
        .await);
    answer
        .results
        .into_iter()
        .map(|r| r.result.unwrap())
        .collect()
}

fn malformed() -> v1::CheckRequest {
    v1::CheckRequest {
        source_ip: "nonsense".to_owned(),
        ..asking("acme", "x", &[])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_check_is_an_error_in_its_own_place() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let good = asking("acme", &made.primary, &["orders:read"]);
    let results = batch(&stage, vec![good.clone(), malformed(), good]).await;
    let reason = |item: &Item| match item {
        Item::Response(response) => Some(response.reason()),
        Item::Error(_) => None,
    };
    assert_eq!(
        results.iter().map(reason).collect::<Vec<_>>(),
        [Some(Reason::Ok), None, Some(Reason::Ok)]
    );
    let Item::Error(error) = &results[1] else {
        panic!("no error")
    };
    assert_eq!(error.code, i32::from(Code::InvalidArgument));
    assert!(error.field.ends_with("source_ip"), "{error:?}");
    assert!(!error.reason.is_empty() && error.message.len() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_result_depends_on_its_own_check_alone_in_any_order() {
    let stage = Stage::set().await;
    let (made, poor) = (stage.key(&["orders:read"]).await, stage.key(&[]).await);
    let checks = [
        asking("acme", &made.primary, &["orders:read"]),
        asking("acme", &poor.primary, &["orders:read"]),
        asking("other", &made.primary, &[]),
        asking("acme", "not a token", &[]),
        asking("acme", "nobody-made-this", &[]),
        malformed(),
        asking("nowhere", &made.primary, &[]),
        v1::CheckRequest {
            credential: None,
            ..asking("acme", "", &[])
        },
    ];
    let alone: Vec<Item> = {
        let mut results = Vec::new();
        for check in &checks {
            results.extend(batch(&stage, vec![check.clone()]).await);
        }
        results
    };
    // All rotations, of the list and of its reverse: every check stands before and after every other.
    let count = checks.len();
    for step in [1, count - 1] {
        for start in 0..count {
            let order: Vec<usize> = (0..count).map(|i| (start + i * step) % count).collect();
            let results = batch(&stage, order.iter().map(|i| checks[*i].clone()).collect()).await;
            let expected: Vec<Item> = order.iter().map(|i| alone[*i].clone()).collect();
            assert_eq!(results, expected, "{order:?}");
        }
    }
    let single = ok(stage.system.authorize().check(checks[0].clone()).await);
    assert_eq!(alone[0], Item::Response(single), "as `Check` says it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_checks_are_answered_in_their_order() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let check = |i: usize| {
        asking(
            "acme",
            if i.is_multiple_of(3) {
                &made.primary
            } else {
                "nobody-made-this"
            },
            &[],
        )
    };
    let results = batch(&stage, (0..1_000).map(check).collect()).await;
    assert_eq!(results.len(), 1_000);
    for (i, item) in results.iter().enumerate() {
        let Item::Response(response) = item else {
            panic!("{i}")
        };
        let expected = if i % 3 == 0 {
            Reason::Ok
        } else {
            Reason::UnknownKey
        };
        assert_eq!(response.reason(), expected, "{i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_asked_for_counts_for_its_own_check() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let now = stage.revision().await;
    let (epoch, n) = now.split_once('.').unwrap();
    let far = format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1_000);
    let good = asking("acme", &made.primary, &[]);
    let late = v1::CheckRequest {
        at_least_revision: far,
        ..good.clone()
    };
    let results = batch(&stage, vec![late, good]).await;
    let Item::Error(error) = &results[0] else {
        panic!("decided too early")
    };
    assert_eq!(error.code, i32::from(Code::DeadlineExceeded));
    let Item::Response(response) = &results[1] else {
        panic!("not decided")
    };
    assert_eq!(response.reason(), Reason::Ok);
}

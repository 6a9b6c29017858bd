//! Usage: what people bill by.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Decision, Reason, UsageDimension, UsageInterval};
use tonic::Code;

use super::stage::{Stage, asking, duration, invalid, ok};
use crate::harness::server::Client;

const PATIENCE: Duration = Duration::from_secs(30);
/// Where the clock of the stage begins: the beginning of an hour, and not of a day.
const NOW: i64 = 1_800_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn grouped(by: &[UsageDimension]) -> v1::GetUsageRequest {
    v1::GetUsageRequest {
        group_by: by.iter().map(|d| i32::from(*d)).collect(),
        ..Default::default()
    }
}

/// Usage as a caller sees it, once it counts this many.
async fn used(by: &Client, request: v1::GetUsageRequest, count: i64) -> Vec<v1::UsagePoint> {
    let wait = async {
        loop {
            let points = ok(by.insights().get_usage(request.clone()).await).points;
            let sum: i64 = points.iter().map(|point| point.count).sum();
            if sum >= count {
                assert_eq!(sum, count, "{points:#?}");
                return points;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let points = tokio::time::timeout(PATIENCE, wait).await;
    points.expect("usage is counted in time")
}

async fn ask(stage: &Stage, token: &str, scope: &str, times: usize) {
    for _ in 0..times {
        stage.check(asking("acme", token, &[scope])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_key_subscription_outcome_and_hour() {
    let stage = Stage::set().await;
    let (one, two) = (
        stage.bound_key(&["orders:read"], &["basic"]).await,
        stage.bound_key(&["orders:read"], &["pro"]).await,
    );
    ask(&stage, &one.primary, "orders:read", 3).await;
    ask(&stage, &one.primary, "orders:write", 2).await;
    stage.advance(HOUR);
    ask(&stage, &two.primary, "orders:read", 5).await;
    // Credentials that nobody knows are counted together: a stranger can't fill the database with them.
    for n in 0..7 {
        let token = format!("nobody-made-this-9f86d081884c7d6{n}");
        ask(&stage, &token, "orders:read", 1).await;
    }
    let all = used(&stage.acme, grouped(&[]), 17).await;
    let hours: Vec<_> = all
        .iter()
        .map(|p| (p.start_time.unwrap().seconds - NOW, p.count))
        .collect();
    assert_eq!(hours, [(0, 5), (3_600, 12)]);

    let by_key = used(&stage.acme, grouped(&[UsageDimension::Key]), 17).await;
    let mut keys: Vec<_> = by_key.iter().map(|p| (p.key_id.clone(), p.count)).collect();
    keys.sort();
    let mut expected = vec![(String::new(), 7), (one.id(), 5), (two.id(), 5)];
    expected.sort();
    assert_eq!(keys, expected);

    let by = [UsageDimension::Subscription, UsageDimension::Reason];
    let points = used(&stage.acme, grouped(&by), 17).await;
    let points: Vec<_> = points
        .iter()
        .map(|p| (p.subscription.as_str(), p.reason(), p.count))
        .collect();
    assert_eq!(
        points,
        [
            ("basic", Reason::InsufficientScope, 2),
            ("basic", Reason::Ok, 3),
            ("", Reason::UnknownKey, 7),
            ("pro", Reason::Ok, 5),
        ]
    );
    let by_decision = used(&stage.acme, grouped(&[UsageDimension::Decision]), 17).await;
    let decisions: Vec<_> = by_decision
        .iter()
        .map(|p| (p.decision(), p.count))
        .collect();
    assert_eq!(
        decisions,
        [
            (Decision::Allow, 3),
            (Decision::Deny, 2),
            (Decision::Allow, 5),
            (Decision::Deny, 7)
        ]
    );
    for (request, count) in [
        (
            v1::GetUsageRequest {
                key_id: one.id(),
                ..grouped(&[])
            },
            5,
        ),
        (
            v1::GetUsageRequest {
                subscription: "pro".to_owned(),
                ..grouped(&[])
            },
            5,
        ),
        (
            v1::GetUsageRequest {
                decision: Decision::Deny.into(),
                ..grouped(&[])
            },
            9,
        ),
        (
            v1::GetUsageRequest {
                route: "none-such".to_owned(),
                ..grouped(&[])
            },
            0,
        ),
    ] {
        used(&stage.acme, request, count).await;
    }
    // Another tenant's are its own.
    used(&stage.other, grouped(&[]), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_a_series_by_hour_or_day_and_comes_page_by_page() {
    let stage = Stage::set().await;
    let keys = [
        stage.key(&["orders:read"]).await,
        stage.key(&["orders:read"]).await,
    ];
    for _ in 0..30 {
        for key in &keys {
            ask(&stage, &key.primary, "orders:read", 1).await;
        }
        stage.advance(HOUR);
    }
    let moment = |seconds: i64| {
        Some(prost_types::Timestamp {
            seconds: NOW + seconds,
            nanos: 0,
        })
    };
    // The last 24 hours where nothing is said; the one that has just begun is one of them.
    used(&stage.acme, grouped(&[]), 46).await;
    let days = v1::GetUsageRequest {
        interval: UsageInterval::Day.into(),
        ..grouped(&[])
    };
    let days = used(&stage.acme, days, 60).await;
    let days: Vec<_> = days
        .iter()
        .map(|p| (p.start_time.unwrap().seconds, p.count))
        .collect();
    assert!(
        days.iter().all(|(start, _)| start % 86_400 == 0),
        "{days:?}"
    );
    assert!(
        days.len() == 2 && days.iter().all(|(_, n)| *n > 0),
        "{days:?}"
    );

    let some = v1::GetUsageRequest {
        start_time: moment(3_600 + 100),
        end_time: moment(4 * 3_600),
        ..grouped(&[])
    };
    let hours = used(&stage.acme, some.clone(), 6).await;
    assert_eq!(hours.len(), 3, "{hours:?}");
    let until_within = v1::GetUsageRequest {
        end_time: moment(4 * 3_600 + 1),
        ..some.clone()
    };
    used(&stage.acme, until_within, 8).await;

    let mut request = v1::GetUsageRequest {
        start_time: moment(0),
        end_time: moment(30 * 3_600),
        page_size: 7,
        ..grouped(&[UsageDimension::Key, UsageDimension::Reason])
    };
    let mut paged = Vec::new();
    loop {
        let page = ok(stage.acme.insights().get_usage(request.clone()).await);
        assert!(page.points.len() <= 7);
        paged.extend(page.points);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    request.page_size = 1_000;
    request.page_token.clear();
    let whole = ok(stage.acme.insights().get_usage(request.clone()).await).points;
    assert_eq!(paged, whole);
    assert_eq!(whole.len(), 60);

    request.end_time = moment(0);
    invalid(
        stage.acme.insights().get_usage(request.clone()).await,
        "end_time",
    );
    request.end_time = moment(3_662 * 86_400);
    invalid(stage.acme.insights().get_usage(request).await, "start_time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_loses_no_count_and_a_purged_key_keeps_its_own() {
    let stage = Stage::set().await;
    let key = stage.bound_key(&["orders:read"], &["basic"]).await;
    ask(&stage, &key.primary, "orders:read", 20).await;
    let purge = v1::DeleteKeyRequest {
        id: key.id(),
        purge: true,
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(purge).await);
    // At once, without waiting for whoever writes it down.
    let stage = stage.restart().await;
    let points = used(&stage.acme, grouped(&[UsageDimension::Key]), 20).await;
    assert_eq!(points[0].key_id, key.id());
    let gone = v1::GetKeyRequest { id: key.id() };
    let gone = stage.system.keys().get_key(gone).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_subscriptions_sees_the_usage_of_theirs_alone() {
    let stage = Stage::set().await;
    let bound = stage.bound(&["claviger:*"], &["basic"]).await;
    for (subscription, times) in [("basic", 3), ("pro", 5)] {
        let key = stage.bound_key(&["orders:read"], &[subscription]).await;
        ask(&stage, &key.primary, "orders:read", times).await;
    }
    used(&stage.acme, grouped(&[]), 8).await;
    let points = used(&bound, grouped(&[UsageDimension::Subscription]), 3).await;
    assert_eq!(points[0].subscription, "basic");
    let foreign = v1::GetUsageRequest {
        subscription: "pro".to_owned(),
        ..grouped(&[])
    };
    used(&bound, foreign, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retentions_are_settings_of_the_workspace_and_have_limits() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        usage_retention: duration(90 * 86_400),
        request_log_retention: duration(3_600),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let get = v1::GetWorkspaceRequest {
        id: "acme".to_owned(),
    };
    let workspace = ok(stage.acme.directory().get_workspace(get).await).workspace;
    let settings = workspace.unwrap().settings.unwrap();
    assert_eq!(settings.usage_retention, duration(90 * 86_400));
    assert_eq!(settings.request_log_retention, duration(3_600));
    assert_eq!(settings.request_log(), v1::RequestLog::DeniedAndSampled);
}

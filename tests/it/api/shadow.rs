//! Restrictions in shadow: what they would have denied is counted, and says when it is safe to enforce them.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Decision, Reason};
use tonic::Code;

use super::stage::{Made, Stage, asking, creating, external_weak, holding, mask, ok, refused};
use crate::harness::server::Client;

const PATIENCE: Duration = Duration::from_secs(30);
const SHADOW: i32 = v1::EnforcementMode::Shadow as i32;

impl Stage {
    async fn in_shadow(&self, key: v1::Key, enforcement: v1::Enforcement) -> Made {
        let key = v1::Key {
            enforcement: Some(enforcement),
            ..key
        };
        self.make(creating("acme", key)).await
    }

    async fn from(&self, made: &Made, ip: &str, scope: &str) -> v1::CheckResponse {
        let request = v1::CheckRequest {
            source_ip: ip.to_owned(),
            ..asking("acme", &made.primary, &[scope])
        };
        self.check(request).await
    }

    /// The report of a key, once it counts this many.
    async fn report(&self, by: &Client, key: &str, count: i64) -> v1::ShadowReport {
        let request = v1::GetShadowReportRequest {
            workspace: "acme".to_owned(),
            key_id: key.to_owned(),
            ..Default::default()
        };
        let wait = async {
            loop {
                let answer = by.insights().get_shadow_report(request.clone()).await;
                let report = ok(answer).reports.remove(0);
                let sum: i64 = report.counts.iter().map(|c| c.count).sum();
                if sum >= count {
                    assert_eq!(sum, count, "{report:#?}");
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let report = tokio::time::timeout(PATIENCE, wait).await;
        report.expect("it is counted in time")
    }
}

fn network() -> v1::Enforcement {
    v1::Enforcement {
        network: SHADOW,
        ..Default::default()
    }
}

fn fenced(scopes: &[&str]) -> v1::Key {
    v1::Key {
        allowed_cidrs: vec!["10.0.0.0/8".to_owned()],
        ..holding(scopes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_would_have_been_denied_and_which_networks_would_have_been_needed() {
    let stage = Stage::set().await;
    let all = v1::Enforcement {
        network: SHADOW,
        scopes: SHADOW,
        ..Default::default()
    };
    let key = stage.in_shadow(fenced(&["orders:read"]), all).await;
    let report = stage.report(&stage.acme, &key.id(), 0).await;
    assert!(!report.safe_to_enforce && report.last_used_time.is_none());
    for ip in [
        "192.0.2.0",
        "192.0.2.1",
        "192.0.2.1",
        "10.1.1.1",
        "198.51.100.9",
    ] {
        let answer = stage.from(&key, ip, "orders:read").await;
        assert_eq!(answer.decision(), Decision::Allow, "{ip}");
    }
    stage.from(&key, "10.1.1.1", "orders:write").await;
    let report = stage.report(&stage.acme, &key.id(), 5).await;
    let counts: Vec<_> = report
        .counts
        .iter()
        .map(|c| (c.reason(), c.count))
        .collect();
    assert_eq!(
        counts,
        [(Reason::InsufficientScope, 1), (Reason::IpNotAllowed, 4)]
    );
    assert_eq!(report.needed_cidrs, ["192.0.2.0/31", "198.51.100.9/32"]);
    assert!(!report.needed_cidrs_incomplete && !report.safe_to_enforce);
    let shadow = report.enforcement.unwrap();
    assert_eq!(
        (shadow.network(), shadow.scopes()),
        (v1::EnforcementMode::Shadow, v1::EnforcementMode::Shadow)
    );
    assert_eq!(shadow.presentation(), v1::EnforcementMode::Enforce);

    // With these networks and that scope it is safe, once nothing else came since the reset.
    let reset = || v1::ResetShadowReportRequest { key_id: key.id() };
    ok(stage.acme.insights().reset_shadow_report(reset()).await);
    let report = stage.report(&stage.acme, &key.id(), 0).await;
    assert!(report.safe_to_enforce && report.counts.is_empty() && report.needed_cidrs.is_empty());
    stage.from(&key, "203.0.113.1", "orders:read").await;
    let report = stage.report(&stage.acme, &key.id(), 1).await;
    assert_eq!(report.needed_cidrs, ["203.0.113.1/32"]);
    // Nobody resets, or sees, what is another's.
    refused(
        stage.other.insights().reset_shadow_report(reset()).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let bound = stage.bound(&["claviger:*"], &["basic"]).await;
    refused(
        bound.insights().reset_shadow_report(reset()).await,
        Code::NotFound,
        "NOT_FOUND",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_in_shadow_are_reported_page_by_page_and_no_others() {
    let stage = Stage::set().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(
            stage
                .in_shadow(fenced(&["orders:read"]), network())
                .await
                .id(),
        );
        stage.key(&["orders:read"]).await;
    }
    // On a clock that stands, ids are in no order.
    expected.sort();
    let page = |page_size, page_token| v1::GetShadowReportRequest {
        page_size,
        page_token,
        ..Default::default()
    };
    let listed = |answer: &v1::GetShadowReportResponse| -> Vec<String> {
        answer.reports.iter().map(|r| r.key_id.clone()).collect()
    };
    let first = ok(stage
        .acme
        .insights()
        .get_shadow_report(page(2, String::new()))
        .await);
    let rest = page(2, first.next_page_token.clone());
    let rest = ok(stage.acme.insights().get_shadow_report(rest).await);
    assert_eq!([listed(&first), listed(&rest)].concat(), expected);
    assert!(rest.next_page_token.is_empty());
    // Once the workspace has something in shadow, all of its keys do.
    let settings = v1::WorkspaceSettings {
        enforcement: Some(network()),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let all = ok(stage
        .acme
        .insights()
        .get_shadow_report(page(1_000, String::new()))
        .await);
    assert!(all.reports.len() > 6, "{}", all.reports.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_has_restrictions_in_shadow_for_all_its_keys_but_never_the_fence_of_a_weak_secret()
 {
    let stage = Stage::set().await;
    let key = stage.make(creating("acme", fenced(&["orders:read"]))).await;
    let weak = v1::CreateKeyRequest {
        primary: external_weak("password-of-1999!"),
        ..creating(
            "acme",
            v1::Key {
                allowed_cidrs: vec!["10.1.0.0/16".to_owned()],
                ..holding(&["orders:read"])
            },
        )
    };
    let weak = Made {
        primary: "password-of-1999!".to_owned(),
        ..stage.make(weak).await
    };
    let outside = "192.0.2.7";
    let denied = stage.from(&key, outside, "orders:read").await;
    assert_eq!(denied.reason(), Reason::IpNotAllowed);

    let part = |network: i32, scopes: i32| v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(v1::WorkspaceSettings {
                enforcement: Some(v1::Enforcement {
                    network,
                    scopes,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: mask(&[
            "settings.enforcement.network",
            "settings.enforcement.scopes",
        ]),
        ..Default::default()
    };
    ok(stage
        .acme
        .directory()
        .update_workspace(part(SHADOW, SHADOW))
        .await);
    let passed = stage.from(&key, outside, "orders:write").await;
    assert_eq!(passed.decision(), Decision::Allow);
    assert_eq!(
        passed.shadowed().collect::<Vec<_>>(),
        [Reason::IpNotAllowed, Reason::InsufficientScope]
    );
    let fence = stage.from(&weak, outside, "orders:read").await;
    assert_eq!(fence.reason(), Reason::IpNotAllowed);
    let report = stage.report(&stage.acme, &key.id(), 2).await;
    assert_eq!(report.needed_cidrs, ["192.0.2.7/32"]);

    ok(stage
        .acme
        .directory()
        .update_workspace(part(0, SHADOW))
        .await);
    let denied = stage.from(&key, outside, "orders:read").await;
    assert_eq!(denied.reason(), Reason::IpNotAllowed);
    let passed = stage.from(&key, "10.1.1.1", "orders:write").await;
    assert_eq!(passed.decision(), Decision::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_off_the_record_has_counts_and_no_addresses() {
    let stage = Stage::set().await;
    let key = v1::Key {
        off_the_record: true,
        ..fenced(&["orders:read"])
    };
    let key = stage.in_shadow(key, network()).await;
    // The clock stands on the hour.
    let hour = stage.server.now();
    stage.advance(Duration::from_secs(1_234));
    stage.from(&key, "192.0.2.7", "orders:read").await;
    let report = stage.report(&stage.acme, &key.id(), 1).await;
    let count = &report.counts[0];
    assert_eq!(count.reason(), Reason::IpNotAllowed);
    assert_eq!(
        (count.first_time, count.last_time),
        (Some(hour), Some(hour))
    );
    assert!(report.needed_cidrs.is_empty() && !report.needed_cidrs_incomplete);
}

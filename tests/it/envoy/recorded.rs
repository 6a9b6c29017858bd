//! What Envoy's requests leave behind: a row of the request log each.

use claviger::grpc::proto::v1::{self, Decision, Reason};

use crate::harness::{Rig, RigOptions, header, key, sooner_or_later};

fn log_all(rig: &Rig) {
    rig.admin.change_settings(
        "default",
        v1::WorkspaceSettings {
            request_log: v1::RequestLog::All.into(),
            ..Default::default()
        },
    );
}

/// The log, once it has as many rows.
pub(super) fn logged(rig: &Rig, count: usize) -> Vec<v1::LoggedDecision> {
    sooner_or_later(|| {
        let request = v1::ListDecisionsRequest {
            page_size: 1_000,
            ..Default::default()
        };
        let rows = rig.admin.list_decisions(request).unwrap().decisions;
        if rows.len() >= count {
            Ok(rows)
        } else {
            Err(rows)
        }
    })
}

/// The usage of a key by hour, once it counts this many.
pub(super) fn usage(rig: &Rig, key: &str, count: i64) -> Vec<v1::UsagePoint> {
    sooner_or_later(|| {
        let request = v1::GetUsageRequest {
            key_id: key.to_owned(),
            group_by: vec![v1::UsageDimension::Reason.into()],
            ..Default::default()
        };
        let points = rig.admin.get_usage(request).unwrap().points;
        let sum: i64 = points.iter().map(|point| point.count).sum();
        if sum >= count {
            assert_eq!(sum, count, "{points:#?}");
            return Ok(points);
        }
        Err(points)
    })
}

#[test]
fn a_row_of_envoys_has_method_and_path_without_its_query() {
    let rig = Rig::start(&RigOptions::default());
    log_all(&rig);
    let made = rig.admin.make("default", key("a key", &["orders:read"]));
    let path = "/orders/42?page=2&apikey=none";
    let status = rig
        .envoy
        .get(
            path,
            &[header("authorization", format!("Bearer {}", made.token))],
        )
        .status;
    assert_eq!(status, 400);
    assert_eq!(rig.with_key("/orders/43?page=2", &made.token).status, 200);
    let rows = logged(&rig, 2);
    let row = &rows[0];
    assert_eq!(
        (row.method.as_str(), row.path.as_str()),
        ("GET", "/orders/43")
    );
    assert_eq!(
        (row.decision(), row.surface()),
        (Decision::Allow, v1::Surface::Envoy)
    );
    assert_eq!(
        (&row.key_id, row.source_ip.as_str()),
        (&made.id, "127.0.0.1")
    );
    assert_eq!(row.required_scopes, ["orders:read"]);
    assert_eq!(
        (rows[1].path.as_str(), rows[1].reason()),
        ("/orders/42", Reason::AmbiguousCredential)
    );
}

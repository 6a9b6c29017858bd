//! The rows of explanations and of the history.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, Foreign, INSIGHTS, Names, Row, Spoil};
use super::stage::asking;

pub(crate) fn of_audit(n: &Names) -> Vec<Row> {
    vec![explain(n), list(n), watch(n)]
}

fn explain(n: &Names) -> Row {
    fn check(r: &mut v1::ExplainRequest) -> &mut v1::CheckRequest {
        r.check.get_or_insert_default()
    }
    let good = v1::ExplainRequest {
        check: Some(asking(&n.workspace, &n.token, &["orders:read"])),
        ..Default::default()
    };
    let key = n.key.clone();
    Spoil::new("Insights/Explain", INSIGHTS, Foreign::NotFound, good)
        .bad("check.workspace|workspace", |r| {
            check(r).workspace = "-no-".to_owned();
        })
        .bad("check.required_scopes[0]", |r| {
            check(r).required_scopes = vec!["no scope".to_owned()];
        })
        .bad("check.any_of_scopes", |r| {
            check(r).any_of_scopes = vec!["a".to_owned(); 65];
        })
        .bad("check.subscription", |r| {
            check(r).subscription = "-no-".to_owned();
        })
        .bad("check.source_ip", |r| {
            check(r).source_ip = "192.0.2.7:80".to_owned();
        })
        .bad("check.credential.presentation", |r| {
            check(r).credential.as_mut().unwrap().presentation = 99;
        })
        .bad("check.credential", |r| {
            check(r).http = Some(v1::HttpRequest::default())
        })
        .bad("check.at_least_revision", |r| {
            check(r).at_least_revision = "nonsense".to_owned();
        })
        .bad("key_id", move |r| r.key_id = key)
        .bad("key_id", |r| {
            check(r).credential = None;
            r.key_id = "nonsense".to_owned();
        })
        .bad("secret_id", |r| {
            check(r).credential = None;
            r.key_id = format!("key_{:032x}", 1);
            r.secret_id = "nonsense".to_owned();
        })
        .bad("secret_id", |r| r.secret_id = format!("sec_{:032x}", 1))
        .bad("presentation", |r| r.presentation = 1)
        .bad("presentation", |r| r.presentation = 99)
        .bad("surface", |r| r.surface = -1)
        .bad("at_time", |r| {
            r.at_time = Some(prost_types::Timestamp {
                seconds: 0,
                nanos: -1,
            });
        })
        .done()
}

fn list(n: &Names) -> Row {
    let good = v1::ListAuditEventsRequest {
        workspace: n.workspace.clone(),
        actions: vec!["CREATE".to_owned()],
        resource_kinds: vec!["KEY".to_owned()],
        ..Default::default()
    };
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    Spoil::new(
        "Insights/ListAuditEvents",
        INSIGHTS,
        Foreign::NotFound,
        good,
    )
    .bad("workspace", |r| r.workspace = "-no-".to_owned())
    .bad("actor", |r| r.actor = CONTROL.to_owned())
    .bad("actor", |r| r.actor = "x".repeat(257))
    .bad("actions[1]", |r| {
        r.actions = vec!["CREATE".to_owned(), "create".to_owned()];
    })
    .bad("actions[0]", |r| r.actions = vec![String::new()])
    .bad("actions", |r| r.actions = vec!["A".to_owned(); 17])
    .bad("resource_kinds[0]", |r| {
        r.resource_kinds = vec!["X".repeat(65)];
    })
    .bad("resource_kinds", |r| {
        r.resource_kinds = vec!["A".to_owned(); 17];
    })
    .bad("resource_id", |r| r.resource_id = "a\0b".to_owned())
    .bad("start_time", move |r| r.start_time = time(i64::MAX))
    .bad("end_time", move |r| r.end_time = time(i64::MIN))
    .bad("end_time", move |r| {
        (r.start_time, r.end_time) = (time(5), time(5));
    })
    .bad("page_size", |r| r.page_size = -1)
    .bad("page_token", |r| r.page_token = "nonsense".to_owned())
    .done()
}

fn watch(n: &Names) -> Row {
    let good = v1::WatchEventsRequest {
        workspace: n.workspace.clone(),
        ..Default::default()
    };
    let mut row = Spoil::new("Insights/WatchEvents", INSIGHTS, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = "-no-".to_owned())
        .bad("actions[0]", |r| r.actions = vec!["a b".to_owned()])
        .bad("actions", |r| r.actions = vec!["A".to_owned(); 17])
        .bad("resource_kinds[0]", |r| {
            r.resource_kinds = vec!["key".to_owned()];
        });
    for after in [
        "nonsense",
        "0000000g.1",
        "00000001.1.x",
        "00000001.1.2.3",
        &"9".repeat(5_000),
    ] {
        row = row.bad("after", |r| after.clone_into(&mut r.after));
    }
    row.done()
}

//! The rows of `Insights` about what was recorded.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, Foreign, INSIGHTS, Names, Row, Spoil, WRITE};

pub(crate) fn of_records(n: &Names) -> Vec<Row> {
    let workspace = || n.workspace.clone();
    let decisions = v1::ListDecisionsRequest {
        workspace: workspace(),
        filter: Some(v1::DecisionFilter {
            key_id: n.key.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let usage = v1::GetUsageRequest {
        workspace: workspace(),
        ..Default::default()
    };
    let report = v1::GetShadowReportRequest {
        workspace: workspace(),
        key_id: n.key.clone(),
        ..Default::default()
    };
    let reset = v1::ResetShadowReportRequest {
        key_id: n.key.clone(),
    };
    fn filter(r: &mut v1::ListDecisionsRequest) -> &mut v1::DecisionFilter {
        r.filter.get_or_insert_default()
    }
    let before_the_year_one = || {
        Some(prost_types::Timestamp {
            seconds: i64::MIN,
            nanos: 0,
        })
    };
    vec![
        Spoil::new(
            "Insights/ListDecisions",
            INSIGHTS,
            Foreign::NotFound,
            decisions,
        )
        .bad("workspace", |r| r.workspace = "A b".to_owned())
        .bad("filter.key_id", |r| filter(r).key_id = "key_1".to_owned())
        .bad("filter.subscription", |r| {
            filter(r).subscription = ".hidden".to_owned()
        })
        .bad("filter.reason", |r| filter(r).reason = 99)
        .bad("filter.decision", |r| filter(r).decision = -1)
        .bad("filter.route", |r| filter(r).route = CONTROL.to_owned())
        .bad("filter.source_ip", |r| {
            filter(r).source_ip = "192.0.2.0/24".to_owned()
        })
        .bad("filter.start_time", move |r| {
            filter(r).start_time = before_the_year_one()
        })
        .bad("filter.end_time", move |r| {
            filter(r).end_time = before_the_year_one()
        })
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = CONTROL.to_owned())
        .done(),
        Spoil::new("Insights/GetUsage", INSIGHTS, Foreign::NotFound, usage)
            .bad("workspace", |r| r.workspace = "A b".to_owned())
            .bad("key_id", |r| r.key_id = "sec_1".to_owned())
            .bad("subscription", |r| r.subscription = "a b".to_owned())
            .bad("route", |r| r.route = "x".repeat(2_000))
            .bad("decision", |r| r.decision = 99)
            .bad("interval", |r| r.interval = 99)
            .bad("group_by[0]", |r| r.group_by = vec![0])
            .bad("group_by[1]", |r| r.group_by = vec![1, 99])
            .bad("group_by[1]", |r| r.group_by = vec![1, 1])
            .bad("start_time", move |r| r.start_time = before_the_year_one())
            .bad("end_time", |r| {
                r.start_time = Some(prost_types::Timestamp::default());
                r.end_time = Some(prost_types::Timestamp::default());
            })
            .bad("page_size", |r| r.page_size = i32::MIN)
            .bad("page_token", |r| r.page_token = "none".to_owned())
            .done(),
        Spoil::new(
            "Insights/GetShadowReport",
            INSIGHTS,
            Foreign::NotFound,
            report,
        )
        .bad("workspace", |r| r.workspace = "A b".to_owned())
        .bad("key_id", |r| r.key_id = CONTROL.to_owned())
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = "?".to_owned())
        .done(),
        Spoil::new(
            "Insights/ResetShadowReport",
            WRITE,
            Foreign::NotFound,
            reset,
        )
        .bad("key_id", |r| r.key_id.clear())
        .bad("key_id", |r| r.key_id = "key_".to_owned())
        .done(),
    ]
}

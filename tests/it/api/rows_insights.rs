//! The rows of `Insights`.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, Foreign, INSIGHTS, Names, Row, Spoil};

/// In an order in which all good requests succeed.
pub(crate) fn of_insights(n: &Names) -> Vec<Row> {
    vec![hygiene(n)]
}

fn hygiene(n: &Names) -> Row {
    let good = v1::GetKeyHygieneRequest {
        workspace: n.workspace.clone(),
        ..Default::default()
    };
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    Spoil::new("Insights/GetKeyHygiene", INSIGHTS, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("findings[1]", |r| r.findings = vec![1, 99])
        .bad("findings[0]", |r| r.findings = vec![0])
        .bad("findings", |r| r.findings = vec![1; 65])
        .bad("expiring_within", |r| r.expiring_within = span(-1))
        .bad("unused_for", |r| r.unused_for = span(3_651 * 86_400))
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = "nonsense".to_owned())
        .done()
}

//! The rows of `Postbacks`. The first makes the secret without which the last sends nothing.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, Foreign, Names, PUBLISH, READ, Row, SETTINGS, Spoil};
use super::stage::duration;

pub(crate) fn of_postbacks(names: &Names) -> Vec<Row> {
    of_secrets(names)
        .into_iter()
        .chain(of_deliveries(names))
        .collect()
}

fn of_secrets(names: &Names) -> [Row; 3] {
    let workspace = || names.workspace.clone();
    let create = v1::CreateSigningSecretRequest {
        workspace: workspace(),
        ..Default::default()
    };
    let rotate = v1::RotateSigningSecretRequest {
        workspace: workspace(),
        overlap: duration(60),
        ..Default::default()
    };
    let list = v1::ListSigningSecretsRequest {
        workspace: workspace(),
    };
    [
        Spoil::new(
            "Postbacks/CreateSigningSecret",
            SETTINGS,
            Foreign::NotFound,
            create,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad("workspace", |r| r.workspace = "A".to_owned())
        .done(),
        Spoil::new(
            "Postbacks/RotateSigningSecret",
            SETTINGS,
            Foreign::NotFound,
            rotate,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("overlap", |r| r.overlap = duration(7 * 86_400 + 1))
        .bad("overlap", |r| r.overlap.as_mut().unwrap().seconds = -1)
        .done(),
        Spoil::new(
            "Postbacks/ListSigningSecrets",
            READ,
            Foreign::NotFound,
            list,
        )
        .bad("workspace", |r| r.workspace = "A".to_owned())
        .done(),
    ]
}

fn of_deliveries(names: &Names) -> [Row; 4] {
    let publish = v1::PublishEventRequest {
        key_id: names.key.clone(),
        event_id: "receipt-1".to_owned(),
        r#type: "message.delivered".to_owned(),
        data_json: r#"{"message": 17}"#.to_owned(),
    };
    let list = v1::ListDeliveriesRequest {
        workspace: names.workspace.clone(),
        ..Default::default()
    };
    let redeliver = v1::RedeliverEventRequest {
        id: names.event.clone(),
    };
    let test = v1::TestPostbackRequest {
        key_id: names.key.clone(),
    };
    [
        Spoil::new(
            "Postbacks/PublishEvent",
            PUBLISH,
            Foreign::NotFound,
            publish,
        )
        .bad("key_id", |r| r.key_id.clear())
        .bad("key_id", |r| r.key_id = "key_1".to_owned())
        .bad("event_id", |r| r.event_id.clear())
        .bad("event_id", |r| r.event_id = "a b".to_owned())
        .bad("event_id", |r| r.event_id = "x".repeat(129))
        .bad("type", |r| r.r#type.clear())
        .bad("type", |r| r.r#type = "key.created".to_owned())
        .bad("type", |r| r.r#type = "postback.test".to_owned())
        .bad("type", |r| r.r#type = CONTROL.to_owned())
        .bad("data_json", |r| r.data_json = "[]".to_owned())
        .bad("data_json", |r| r.data_json = "{".to_owned())
        .bad("data_json", |r| {
            r.data_json = format!("{{\"x\": \"{}\"}}", "y".repeat(16_384))
        })
        .done(),
        Spoil::new("Postbacks/ListDeliveries", READ, Foreign::NotFound, list)
            .bad("workspace", |r| r.workspace = "A".to_owned())
            .bad("key_id", |r| r.key_id = "key_1".to_owned())
            .bad("state", |r| r.state = 99)
            .bad("type", |r| r.r#type = "a b".to_owned())
            .bad("page_size", |r| r.page_size = -1)
            .bad("page_token", |r| r.page_token = "nonsense".to_owned())
            .done(),
        Spoil::new(
            "Postbacks/RedeliverEvent",
            PUBLISH,
            Foreign::NotFound,
            redeliver,
        )
        .bad("id", |r| r.id.clear())
        .bad("id", |r| r.id = "evt_1".to_owned())
        .done(),
        Spoil::new("Postbacks/TestPostback", PUBLISH, Foreign::NotFound, test)
            .bad("key_id", |r| r.key_id.clear())
            .bad("key_id", |r| r.key_id = "sec_1".to_owned())
            .done(),
    ]
}

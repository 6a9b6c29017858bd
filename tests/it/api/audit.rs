//! The audit log: who did what to what, as each administrator may see it.

use std::time::Duration;

use claviger::grpc::proto::v1;
use prost_types::value::Kind;
use tonic::Code;

use super::stage::{Made, Stage, creating, external, holding, mask, named, ok, refused};
use crate::harness::server::Client;

fn about(workspace: &str) -> v1::ListAuditEventsRequest {
    v1::ListAuditEventsRequest {
        workspace: workspace.to_owned(),
        page_size: 1_000,
        ..Default::default()
    }
}

async fn list(client: &Client, request: v1::ListAuditEventsRequest) -> Vec<v1::AuditEvent> {
    let answer = ok(client.insights().list_audit_events(request).await);
    assert_eq!(answer.next_page_token, "");
    answer.events
}

fn told(events: &[v1::AuditEvent]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|e| (e.action.as_str(), e.resource_kind.as_str()))
        .collect()
}

fn field<'s>(state: Option<&'s prost_types::Struct>, path: &[&str]) -> &'s Kind {
    let mut fields = &state.unwrap().fields;
    let (last, outer) = path.split_last().unwrap();
    for name in outer {
        match fields[*name].kind.as_ref().unwrap() {
            Kind::StructValue(inner) => fields = &inner.fields,
            other => panic!("{name}: {other:?}"),
        }
    }
    fields[*last].kind.as_ref().unwrap()
}

async fn disable(client: &Client, made: &Made) -> String {
    let request = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        ..Default::default()
    };
    ok(client.keys().update_key(request).await).revision
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_listed_with_who_made_it_and_what_it_changed() {
    let stage = Stage::set().await;
    let token = super::stage::foreign_token(1);
    let made = stage
        .make(v1::CreateKeyRequest {
            primary: external(&token),
            ..creating("acme", holding(&["orders:read"]))
        })
        .await;
    stage.advance(Duration::from_secs(60));
    let revision = disable(&stage.acme, &made).await;
    let regenerate = v1::RegenerateSecretRequest {
        key_id: made.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().regenerate_secret(regenerate).await);

    let of_key = v1::ListAuditEventsRequest {
        resource_id: made.id(),
        ..about("acme")
    };
    let events = list(&stage.acme, of_key.clone()).await;
    assert_eq!(
        told(&events),
        [("REGENERATE", "KEY"), ("UPDATE", "KEY"), ("CREATE", "KEY")]
    );
    let update = &events[1];
    assert_eq!(update.changed_fields, ["settings.enabled"]);
    assert_eq!(update.revision, revision);
    assert_eq!(update.workspace, "acme");
    assert_eq!(update.time.unwrap().seconds, 1_800_000_060);
    let (before, after) = (update.before.as_ref(), update.after.as_ref());
    let enabled = ["settings", "enabled"];
    assert_eq!(field(before, &enabled), &Kind::BoolValue(true));
    assert_eq!(field(after, &enabled), &Kind::BoolValue(false));
    let created = Kind::StringValue("2027-01-15T08:00:00Z".to_owned());
    assert_eq!(field(after, &["create_time"]), &created);
    assert!(events[2].before.is_none() && events[2].changed_fields.is_empty());
    assert!(!events[0].changed_fields.is_empty());
    // Each by its own: the key was made by the administrator of all, and changed by the tenant's.
    assert_ne!(events[1].actor, events[2].actor);
    let by_tenant = v1::ListAuditEventsRequest {
        actor: update.actor.clone(),
        ..about("acme")
    };
    let theirs = list(&stage.acme, by_tenant).await;
    assert_eq!(told(&theirs), [("REGENERATE", "KEY"), ("UPDATE", "KEY")]);
    // Nothing in there opens anything.
    let printed = format!("{events:?}");
    let digest = super::stage::sha256_hex(&token);
    assert!(!printed.contains(&token) && !printed.contains(&digest));
    assert!(!printed.contains("\"tag\"") && !printed.contains("sealed_digest"));

    let moment = |seconds: i64| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let within = |start, end| v1::ListAuditEventsRequest {
        start_time: moment(start),
        end_time: moment(end),
        ..of_key.clone()
    };
    let early = list(&stage.acme, within(1_800_000_000, 1_800_000_060)).await;
    assert_eq!(told(&early), [("CREATE", "KEY")]);
    let late = list(&stage.acme, within(1_800_000_060, 1_800_000_061)).await;
    assert_eq!(told(&late), [("REGENERATE", "KEY"), ("UPDATE", "KEY")]);
    let some = v1::ListAuditEventsRequest {
        actions: vec!["CREATE".to_owned(), "DELETE".to_owned()],
        resource_kinds: vec!["SUBSCRIPTION".to_owned(), "WORKSPACE".to_owned()],
        ..about("acme")
    };
    assert_eq!(
        told(&list(&stage.acme, some).await),
        [
            ("CREATE", "SUBSCRIPTION"),
            ("CREATE", "SUBSCRIPTION"),
            ("CREATE", "WORKSPACE")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_log_hold_each_entry_once() {
    let stage = Stage::set().await;
    for n in 0..7 {
        let key = named(&format!("key {n}"));
        ok(stage.acme.keys().create_key(creating("acme", key)).await);
    }
    let all = list(&stage.acme, about("acme")).await;
    let mut request = v1::ListAuditEventsRequest {
        page_size: 3,
        ..about("acme")
    };
    let mut found = Vec::new();
    loop {
        let answer = ok(stage
            .acme
            .insights()
            .list_audit_events(request.clone())
            .await);
        assert!(answer.events.len() <= 3);
        found.extend(answer.events);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    assert_eq!(found, all);
    assert!(all.len() > 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_the_history_that_is_theirs() {
    let stage = Stage::set().await;
    let bound = |subscription: &str| v1::Key {
        subscriptions: vec![subscription.to_owned()],
        ..named("bound")
    };
    let pro = stage.make(creating("acme", bound("pro"))).await;
    let basic = stage.make(creating("acme", bound("basic"))).await;
    stage.key(&[]).await;
    stage.make(creating("other", named("theirs"))).await;

    let seen = list(&stage.acme, about("")).await;
    assert!(seen.iter().all(|e| e.workspace == "acme"));
    assert!(seen.iter().any(|e| e.resource_id == pro.id()));
    for workspace in ["other", "system", "-"] {
        let answer = stage
            .acme
            .insights()
            .list_audit_events(about(workspace))
            .await;
        let (code, reason) = match workspace {
            "-" => (Code::PermissionDenied, "SYSTEM_ONLY"),
            _ => (Code::NotFound, "NOT_FOUND"),
        };
        refused(answer, code, reason);
    }
    let all = list(&stage.system, about("-")).await;
    let of = |workspace: &str| all.iter().filter(|e| e.workspace == workspace).count();
    assert_eq!(of("acme"), seen.len());
    assert!(of("other") > 0 && of("system") > 0);

    // Bound to a subscription: its keys, and itself.
    let right = ["claviger:insights:read"];
    let caller = stage.bound(&right, &["basic"]).await;
    let own: Vec<_> = list(&caller, about("acme")).await;
    let ids: Vec<_> = own.iter().map(|e| e.resource_id.as_str()).collect();
    assert!(ids.contains(&basic.id().as_str()) && ids.contains(&"basic"));
    assert!(!ids.contains(&pro.id().as_str()) && !ids.contains(&"pro"));
    assert!(!own.iter().any(|e| e.resource_kind == "WORKSPACE"));

    // A key that is bound anew is seen as far as it was or is theirs.
    let request = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: basic.id(),
            subscriptions: vec!["pro".to_owned()],
            ..Default::default()
        }),
        update_mask: mask(&["subscriptions"]),
        ..Default::default()
    };
    ok(stage.acme.keys().update_key(request).await);
    let last = list(&caller, about("acme")).await.swap_remove(0);
    assert_eq!(
        (last.action.as_str(), last.resource_id),
        ("UPDATE", basic.id())
    );
    assert!(last.before.is_some() && last.after.is_none());
    assert!(last.changed_fields.is_empty());
    disable(&stage.acme, &basic).await;
    let newest = list(&caller, about("acme")).await.swap_remove(0);
    assert_eq!(
        newest.revision, last.revision,
        "what came later is not theirs"
    );
}

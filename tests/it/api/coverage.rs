//! What every RPC must withstand: callers without a key, without the right, of another tenant; and bad requests.
//!
//! `every_rpc_has_its_row` fails when an RPC has none.

use std::collections::{BTreeMap, BTreeSet};

use claviger::grpc::proto::{DESCRIPTOR, v1};
use prost::Message as _;
use tonic::Code;

use super::raw::call;
use super::rows::{Foreign, Names, RIGHTS, Row};
use super::rows_audit::of_audit;
use super::rows_directory::of_directory;
use super::rows_fleet::of_fleet;
use super::rows_insights::of_insights;
use super::rows_keys::of_keys;
use super::rows_postbacks::of_postbacks;
use super::rows_principals::of_principals;
use super::rows_records::of_records;
use super::rows_routes::of_routes;
use super::stage::{
    Stage, creating, declaring, details, generated, holding, knowing, named, ok, routing, selling,
};

/// The tenant `acme` with one of everything.
pub(super) async fn furnish(stage: &Stage) -> Names {
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let two_slots = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", postback_to_nobody())
    };
    let key = stage.make(two_slots).await;
    let (deleted, spare) = (stage.key(&[]).await, stage.key(&[]).await);
    let delete = v1::DeleteKeyRequest {
        id: deleted.id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    let directory = || stage.system.directory();
    ok(directory()
        .create_subscription(selling("acme", "spare"))
        .await);
    ok(directory().create_scope(declaring("acme", "spare")).await);
    for id in ["joe", "spare"] {
        ok(directory()
            .upsert_principal(knowing("acme", id, &["orders:read"]))
            .await);
    }
    let workspace = v1::Workspace {
        id: "spare".to_owned(),
        ..Default::default()
    };
    let workspace = v1::CreateWorkspaceRequest {
        workspace: Some(workspace),
        ..Default::default()
    };
    ok(directory().create_workspace(workspace).await);
    let events = v1::ListDeliveriesRequest {
        key_id: key.id(),
        ..Default::default()
    };
    let events = ok(stage.system.postbacks().list_deliveries(events).await);
    for (id, path) in [("orders", "/v1/{subscription}/orders"), ("spare", "/spare")] {
        ok(stage
            .system
            .routes()
            .create_route(routing("acme", id, path))
            .await);
    }
    let replicas = v1::ListReplicasRequest {};
    let replicas = ok(stage.system.fleet().list_replicas(replicas).await).replicas;
    Names {
        workspace: "acme".to_owned(),
        event: events.deliveries[0].id.clone(),
        key: key.id(),
        secret: key.secret(v1::Slot::Secondary),
        token: key.primary,
        deleted: deleted.id(),
        spare: spare.id(),
        subscription: "basic".to_owned(),
        spare_subscription: "spare".to_owned(),
        scope: "orders:read".to_owned(),
        spare_scope: "spare".to_owned(),
        principal: "joe".to_owned(),
        spare_principal: "spare".to_owned(),
        spare_workspace: "spare".to_owned(),
        route: "orders".to_owned(),
        spare_route: "spare".to_owned(),
        replica: replicas[0].id.clone(),
    }
}

/// A key whose events lead to where nobody listens.
fn postback_to_nobody() -> v1::Key {
    v1::Key {
        postback_url: "https://127.0.0.1:1024/".to_owned(),
        ..holding(&["orders:read"])
    }
}

/// Names of the same shape, of which nothing exists.
fn nobody() -> Names {
    let id = |prefix: &str, n: u32| format!("{prefix}_{n:032x}");
    Names {
        workspace: "nowhere".to_owned(),
        key: id("key", 1),
        secret: id("sec", 2),
        token: "nobody-made-this-9f86d081884c7d65".to_owned(),
        deleted: id("key", 3),
        spare: id("key", 4),
        subscription: "missing".to_owned(),
        spare_subscription: "missing".to_owned(),
        scope: "missing".to_owned(),
        spare_scope: "missing".to_owned(),
        principal: "missing".to_owned(),
        spare_principal: "missing".to_owned(),
        spare_workspace: "nowhere-else".to_owned(),
        event: id("evt", 5),
        route: "missing".to_owned(),
        spare_route: "missing".to_owned(),
        replica: id("rep", 6),
    }
}

fn rows(names: &Names) -> Vec<Row> {
    of_keys(names)
        .into_iter()
        .chain(of_directory(names))
        .chain(of_records(names))
        .chain(of_postbacks(names))
        .chain(of_routes(names))
        .chain(of_principals(names))
        .chain(of_insights(names))
        .chain(of_audit(names))
        .chain(of_fleet(names))
        .collect()
}

fn administrative(names: &Names) -> impl Iterator<Item = Row> {
    rows(names)
        .into_iter()
        .filter(|row| row.foreign != Foreign::Open)
}

#[test]
#[expect(clippy::print_stdout, reason = "a run says how much it covered")]
fn every_rpc_has_its_row() {
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    let ours = set.file.iter().filter(|f| f.package() == "claviger.v1");
    let services: Vec<_> = ours.flat_map(|f| &f.service).collect();
    let method = |s: &prost_types::ServiceDescriptorProto| -> Vec<String> {
        s.method
            .iter()
            .map(|m| format!("{}/{}", s.name(), m.name()))
            .collect()
    };
    let served: BTreeSet<String> = services.iter().flat_map(|s| method(s)).collect();
    let table = rows(&nobody());
    let covered: BTreeSet<String> = table.iter().map(|r| r.rpc.to_owned()).collect();
    assert_eq!(served, covered);
    assert_eq!(covered.len(), table.len(), "an RPC has two rows");
    for row in &table {
        // Whoever reaches its listener may call `Authorize`: it knows no callers, so no rights and no tenants of theirs.
        let open = row.rpc.starts_with("Authorize/");
        assert_eq!(open, row.foreign == Foreign::Open, "{}", row.rpc);
        assert_eq!(open, row.right.is_empty(), "{}", row.rpc);
        // A message without fields can't be wrong.
        let can_be = !matches!(row.rpc, "Fleet/ListReplicas" | "Fleet/VerifyIndex");
        assert_eq!(!row.bad.is_empty(), can_be, "{} has no bad input", row.rpc);
    }
    println!(
        "{} RPCs, {} bad requests",
        table.len(),
        table.iter().map(|r| r.bad.len()).sum::<usize>()
    );
}

/// Whether it was done, or failed for nothing but the state that the stage is in.
fn is_done(row: &Row, answer: &Result<Vec<u8>, tonic::Status>) -> bool {
    match (row.refused, answer) {
        (None, answer) => answer.is_ok(),
        (Some(reason), Err(status)) => {
            status.code() == Code::FailedPrecondition && details(status).0 == reason
        }
        (Some(_), Ok(_)) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_succeeds_for_an_administrator_with_all_rights() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    for row in rows(&names) {
        let answer = call(&stage.system, row.rpc, &row.good).await;
        assert!(is_done(&row, &answer), "{}: {answer:?}", row.rpc);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_administrative_rpc_needs_only_the_right_it_documents() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    for row in administrative(&names) {
        let workspace = if row.foreign == Foreign::SystemOnly {
            "system"
        } else {
            "acme"
        };
        let caller = stage.caller(workspace, &[row.right]).await;
        let answer = call(&caller, row.rpc, &row.good).await;
        assert!(
            is_done(&row, &answer),
            "{} with `{}`: {answer:?}",
            row.rpc,
            row.right
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_administrative_rpc_refuses_callers_without_a_usable_key() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let dead = |key: v1::Key| async { stage.make(creating("acme", key)).await.primary };
    let disabled = dead(v1::Key {
        enabled: Some(false),
        ..holding(&["claviger:*"])
    })
    .await;
    let fenced = dead(v1::Key {
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        ..holding(&["claviger:*"])
    })
    .await;
    let deleted = stage.key(&["claviger:*"]).await;
    let delete = v1::DeleteKeyRequest {
        id: deleted.id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    let metadata = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer nobody-made-this-9f86d081884c7d65".to_owned()),
        Some("Bearer clv_wrong-checksum".to_owned()),
        Some(format!("Bearer {}", "x".repeat(600))),
        Some(format!("Basic {}", deleted.primary)),
        Some(format!("Bearer {}", deleted.primary)),
        Some(format!("Bearer {disabled}")),
        Some(format!("Bearer {fenced}")),
    ];
    let before = stage.revision().await;
    let mut answers = BTreeMap::new();
    for authorization in metadata {
        let caller = stage.server.client(authorization.clone());
        for row in administrative(&names) {
            // A stranger learns nothing of what is wrong with a request either (AIP-211).
            let bad = row.bad.iter().take(1).map(|(_, bad)| bad);
            for request in bad.chain([&row.good]) {
                let status = call(&caller, row.rpc, request).await.unwrap_err();
                assert_eq!(
                    status.code(),
                    Code::Unauthenticated,
                    "{} {authorization:?}: {status:?}",
                    row.rpc
                );
                answers.insert(status.message().to_owned(), details(&status).0);
            }
        }
    }
    assert_eq!(
        answers.len(),
        1,
        "the answer tells dead keys from unknown ones: {answers:?}"
    );
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_administrative_rpc_refuses_callers_that_hold_all_rights_but_the_one() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let data_only = stage.caller("acme", &["orders:read"]).await;
    let mut callers = BTreeMap::new();
    for right in RIGHTS {
        let others: Vec<&str> = RIGHTS.into_iter().filter(|r| *r != right).collect();
        for workspace in ["acme", "system"] {
            callers.insert((workspace, right), stage.caller(workspace, &others).await);
        }
    }
    let before = stage.revision().await;
    for row in administrative(&names) {
        let system_only = row.foreign == Foreign::SystemOnly;
        let workspaces = if system_only {
            &["system"][..]
        } else {
            &["acme", "system"]
        };
        for workspace in workspaces {
            let caller = &callers[&(*workspace, row.right)];
            let status = call(caller, row.rpc, &row.good).await.unwrap_err();
            assert_eq!(
                status.code(),
                Code::PermissionDenied,
                "{}: {status:?}",
                row.rpc
            );
            assert!(
                status.message().contains(row.right),
                "{}: {status:?}",
                row.rpc
            );
            assert_eq!(details(&status).0, "MISSING_SCOPE", "{}", row.rpc);
        }
        let status = call(&data_only, row.rpc, &row.good).await.unwrap_err();
        let refused = matches!(
            status.code(),
            Code::PermissionDenied | Code::Unauthenticated
        );
        assert!(refused, "{}: {status:?}", row.rpc);
    }
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_tenant_nothing_exists_for_any_rpc() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let before = stage.revision().await;
    for (theirs, nobodys) in administrative(&names).zip(administrative(&nobody())) {
        let rpc = theirs.rpc;
        let answer = call(&stage.other, rpc, &theirs.good).await;
        if theirs.foreign == Foreign::Shared {
            assert!(answer.is_ok(), "{rpc}: {answer:?}");
            continue;
        }
        if theirs.foreign == Foreign::Filtered {
            let page = v1::ListWorkspacesResponse::decode(answer.unwrap().as_slice()).unwrap();
            let seen: Vec<_> = page.workspaces.iter().map(|w| w.id.as_str()).collect();
            assert_eq!(seen, ["other"], "{rpc}");
            continue;
        }
        let status = answer.unwrap_err();
        let denied =
            theirs.foreign == Foreign::SystemOnly && status.code() == Code::PermissionDenied;
        assert!(
            denied || status.code() == Code::NotFound,
            "{rpc}: {status:?}"
        );
        let missing = call(&stage.other, rpc, &nobodys.good).await.unwrap_err();
        assert_eq!(
            (missing.code(), missing.message()),
            (status.code(), status.message()),
            "{rpc}"
        );
        assert_eq!(missing.details(), status.details(), "{rpc}");
    }
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_names_the_field_of_a_bad_request_and_changes_nothing() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let before = stage.revision().await;
    let mut wrong = Vec::new();
    for row in rows(&names) {
        for (field, request) in &row.bad {
            let what = format!("{} {field}", row.rpc);
            match call(&stage.system, row.rpc, request).await {
                Ok(_) => wrong.push(format!("{what}: accepted")),
                Err(status) => {
                    let (reason, fields) = details(&status);
                    let below = |found: &String, field: &str| {
                        found
                            .strip_prefix(field)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
                    };
                    let named = fields
                        .iter()
                        .any(|found| field.split('|').any(|field| below(found, field)));
                    if status.code() != Code::InvalidArgument
                        || !named
                        || reason.is_empty()
                        || status.message().len() < 10
                    {
                        wrong.push(format!(
                            "{what}: {:?} {reason} {fields:?} {}",
                            status.code(),
                            status.message()
                        ));
                    }
                    assert!(
                        status.message().len() < 2_000,
                        "{what}: an answer as long as the fault"
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_a_message_of_10_mib_in_clear_words() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let before = stage.revision().await;
    for row in rows(&names) {
        // A field nobody knows: it is the size alone that is wrong.
        let mut request = row.good.clone();
        prost::encoding::encode_key(
            1_000,
            prost::encoding::WireType::LengthDelimited,
            &mut request,
        );
        prost::encoding::encode_varint(10 << 20, &mut request);
        request.resize(request.len() + (10 << 20), b'x');
        let status = call(&stage.system, row.rpc, &request).await.unwrap_err();
        let found = (status.code(), details(&status).0);
        let expected = (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned());
        assert_eq!(found, expected, "{}: {status:?}", row.rpc);
    }
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_workspace_in_its_request_means_its_own() {
    let stage = Stage::set().await;
    let made = ok(stage
        .acme
        .keys()
        .create_key(creating("", named("mine")))
        .await);
    assert_eq!(made.key.unwrap().workspace, "acme");
    // For keys of `system` it means the process's default workspace.
    let made = ok(stage
        .system
        .keys()
        .create_key(creating("", named("default")))
        .await);
    assert_eq!(made.key.unwrap().workspace, "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_bytes_that_are_no_message() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let before = stage.revision().await;
    for row in rows(&names) {
        let cut_short = row.good.split_last().map(|(_, rest)| rest);
        for request in cut_short.into_iter().chain([&b"\xff\xff"[..]]) {
            let status = call(&stage.system, row.rpc, request).await.unwrap_err();
            let found = (status.code(), details(&status).0);
            let expected = (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned());
            assert_eq!(found, expected, "{}: {status:?}", row.rpc);
        }
    }
    assert_eq!(stage.revision().await, before);
}

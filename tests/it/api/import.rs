//! Moving sets of keys in: what becomes of each item.

use claviger::grpc::proto::v1::import_result::Outcome;
use claviger::grpc::proto::v1::{self, Reason, Slot};
use prost::Message as _;
use tonic::Status;

use super::coverage::furnish;
use super::import_stream::{item, moved, one_message};
use super::rows_keys::of_keys;
use super::stage::{
    Stage, creating, details, digest, external, external_weak, foreign_token, generated, holding,
    named, ok,
};
use crate::harness::server::Client;

/// What `CreateKey` says of the same key: reason, message, field.
fn said(status: &Status) -> (String, String, String) {
    let (reason, fields) = details(status);
    let field = fields.into_iter().next().unwrap_or_default();
    (reason, status.message().to_owned(), field)
}

fn told(result: &v1::ImportResult) -> (String, String, String) {
    let error = result.error.clone().unwrap_or_default();
    (error.reason, error.message, error.field)
}

/// A set as it is in the database, but for what reading it may change.
pub(super) async fn all_keys(stage: &Stage, workspace: &str) -> Vec<v1::Key> {
    let states = [1, 2, 3, 4].to_vec();
    let request = v1::ListKeysRequest {
        workspace: workspace.to_owned(),
        filter: Some(v1::KeyFilter {
            states,
            ..Default::default()
        }),
        page_size: 1_000,
        ..Default::default()
    };
    ok(stage.system.keys().list_keys(request).await).keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_moved_in_with_its_settings_tokens_and_digests() {
    let stage = Stage::set().await;
    let (a, b, c, d) = (
        foreign_token(1),
        foreign_token(2),
        foreign_token(3),
        foreign_token(4),
    );
    for token in [&a, &b, &c, &d] {
        stage.server.remember(token);
    }
    let full = v1::Key {
        description: "from elsewhere".to_owned(),
        subscriptions: vec!["basic".to_owned()],
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        labels: [("team".to_owned(), "red".to_owned())].into(),
        create_time: Some(prost_types::Timestamp {
            seconds: 1_500_000_000,
            nanos: 0,
        }),
        ..holding(&["orders:read", "orders:write"])
    };
    let disabled = v1::Key {
        enabled: Some(false),
        ..named("off")
    };
    let future = v1::Key {
        create_time: Some(prost_types::Timestamp {
            seconds: 4_000_000_000,
            nanos: 0,
        }),
        ..named("from a clock that is fast")
    };
    let items = vec![
        v1::ImportItem {
            secondary: digest(&b, 192, false),
            ..moved("1", full.clone(), external(&a))
        },
        moved("2", disabled, digest(&c, 256, false)),
        moved("3", future, external(&d)),
    ];
    let answer = one_message(&stage.acme, "acme", false, items)
        .await
        .unwrap();
    assert_eq!(answer.revision, stage.revision().await);
    let ids: Vec<_> = answer.results.iter().map(|r| &*r.import_id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    for result in &answer.results {
        assert_eq!(result.outcome(), Outcome::Created, "{result:?}");
    }
    let codes: Vec<_> = answer.results[0].warnings.iter().map(|w| &w.code).collect();
    assert_eq!(codes, ["SEVERAL_SCOPES"]);
    // Known, and fenced as it was.
    assert_eq!(stage.reason(&a).await, Reason::IpUnknown);
    assert_eq!(stage.reason(&b).await, Reason::IpUnknown);
    assert_eq!(stage.reason(&c).await, Reason::KeyDisabled);
    assert_eq!(stage.reason(&d).await, Reason::Ok);

    let key = stage.get(&answer.results[0].key_id).await;
    assert_eq!(key.create_time, full.create_time);
    assert_eq!(
        (key.display_name, key.description, key.labels),
        (full.display_name, full.description, full.labels)
    );
    assert_eq!(
        (key.scopes, key.subscriptions),
        (full.scopes, full.subscriptions)
    );
    let slots: Vec<_> = key.secrets.iter().map(|s| (s.slot(), s.origin())).collect();
    let expected = [
        (Slot::Primary, v1::secret::Origin::ExternalToken),
        (Slot::Secondary, v1::secret::Origin::ExternalDigest),
    ];
    assert_eq!(slots, expected);
    // Listed by when they were made, wherever that was.
    let listed = all_keys(&stage, "acme").await;
    assert_eq!(listed[0].id, answer.results[0].key_id);
    let late = stage.get(&answer.results[2].key_id).await;
    assert_eq!(late.create_time, late.update_time);
    // A workspace that demands two slots takes what there is.
    let settings = v1::WorkspaceSettings {
        slots: v1::SlotPolicy::Two.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let answer = one_message(&stage.acme, "", false, vec![item(5)])
        .await
        .unwrap();
    let key = stage.get(&answer.results[0].key_id).await;
    assert_eq!(key.secrets.len(), 1);
}

/// Sends each key both ways; nothing may come of either.
async fn same_refusal(caller: &Client, workspace: &str, requests: Vec<v1::CreateKeyRequest>) {
    for (i, request) in requests.into_iter().enumerate() {
        let item = v1::ImportItem {
            import_id: format!("refused-{i}"),
            key: request.key.clone(),
            primary: request.primary.clone(),
            secondary: request.secondary.clone(),
        };
        let created = caller.keys().create_key(request).await;
        let status = created.unwrap_err();
        let answer = one_message(caller, workspace, false, vec![item])
            .await
            .unwrap();
        let result = &answer.results[0];
        assert_eq!(result.outcome(), Outcome::Refused, "{status:?} {result:?}");
        assert_eq!(told(result), said(&status));
        assert_eq!((&*result.key_id, &*answer.revision), ("", ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_refused_for_its_content_as_create_key_refuses_it() {
    let stage = Stage::set().await;
    let names = furnish(&stage).await;
    let rows = of_keys(&names);
    let row = rows.iter().find(|r| r.rpc == "KeyAdmin/CreateKey").unwrap();
    let of_the_call = ["request_id", "workspace"];
    let bad = row
        .bad
        .iter()
        .filter(|(field, _)| !of_the_call.contains(&field.as_str()));
    let requests: Vec<_> = bad
        .map(|(_, request)| v1::CreateKeyRequest::decode(request.as_slice()).unwrap())
        .collect();
    assert!(requests.len() > 20);
    let before = stage.revision().await;
    same_refusal(&stage.acme, "acme", requests).await;
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_refused_for_the_state_of_things_as_create_key_refuses_it() {
    const WEAK: &str = "Summer2024!Winter2025";
    let stage = Stage::set().await;
    let (live, revoked, deleted) = (foreign_token(1), foreign_token(2), foreign_token(3));
    let made = |token: &str| v1::CreateKeyRequest {
        primary: external(token),
        ..creating("acme", named("there"))
    };
    stage.make(made(&live)).await;
    let key = stage.make(made(&revoked)).await;
    let revoke = v1::RevokeSecretRequest {
        key_id: key.id(),
        secret_id: key.secret(Slot::Primary),
        ..Default::default()
    };
    ok(stage.system.keys().revoke_secret(revoke).await);
    let key = stage.make(made(&deleted)).await;
    let delete = v1::DeleteKeyRequest {
        id: key.id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);

    let with = |key: v1::Key, primary| v1::CreateKeyRequest {
        primary,
        ..creating("acme", key)
    };
    let fenced = |cidr: &str| v1::Key {
        allowed_cidrs: vec![cidr.to_owned()],
        ..named("fenced")
    };
    let fresh = || external(&foreign_token(9));
    let known = || {
        vec![
            made(&live),
            made(&revoked),
            made(&deleted),
            with(named("digest"), digest(&live, 256, false)),
        ]
    };
    let mut requests = known();
    requests.extend([
        v1::CreateKeyRequest {
            secondary: external(&live),
            ..made(&foreign_token(9))
        },
        v1::CreateKeyRequest {
            secondary: digest(&foreign_token(9), 256, false),
            ..made(&foreign_token(9))
        },
        with(named("weak"), external(WEAK)),
        with(named("weak, no fence"), external_weak(WEAK)),
        with(fenced("192.0.0.0/8"), external_weak(WEAK)),
        with(named("weak digest"), digest(WEAK, 111, false)),
        with(fenced("2001:db8::/32"), digest(WEAK, 0, true)),
    ]);
    same_refusal(&stage.acme, "acme", requests).await;

    // What a caller lacks it can't hand out, and whose a token is it is told only of what it may see.
    let writer = stage.caller("acme", &["claviger:keys:write"]).await;
    let escalations = vec![
        with(holding(&["claviger:*"]), fresh()),
        with(holding(&["claviger:keys:read"]), fresh()),
    ];
    same_refusal(&writer, "acme", escalations).await;
    let bound = stage.bound(&["claviger:keys:write"], &["basic"]).await;
    let to = |subscriptions: &[&str]| v1::Key {
        subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
        ..named("bound")
    };
    let mut others = known();
    others.extend([
        with(to(&["pro"]), fresh()),
        with(to(&["basic", "pro"]), fresh()),
        with(to(&["missing"]), fresh()),
    ]);
    same_refusal(&bound, "acme", others).await;
    let answer = one_message(&bound, "", false, vec![item(1)]).await.unwrap();
    let key = stage.get(&answer.results[0].key_id).await;
    assert_eq!(key.subscriptions, ["basic"], "made of its own kind");

    let of_system = |primary| v1::CreateKeyRequest {
        primary,
        ..creating("system", fenced("192.0.2.0/24"))
    };
    let requests = vec![
        of_system(digest(&foreign_token(9), 256, false)),
        of_system(external_weak(WEAK)),
    ];
    same_refusal(&stage.system, "system", requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_refused_where_only_an_import_can_be_wrong() {
    let stage = Stage::set().await;
    let of_1969 = v1::Key {
        create_time: Some(prost_types::Timestamp {
            seconds: -1,
            nanos: 0,
        }),
        ..named("old")
    };
    let id = |import_id: &str| v1::ImportItem {
        import_id: import_id.to_owned(),
        ..item(1)
    };
    let items = vec![
        (id(""), "import_id"),
        (id("a b"), "import_id"),
        (id(&"x".repeat(129)), "import_id"),
        (moved("generated", named("x"), generated()), "primary"),
        (moved("absent", named("x"), None), "primary"),
        (
            v1::ImportItem {
                secondary: generated(),
                ..item(2)
            },
            "secondary",
        ),
        (
            moved("1969", of_1969, external(&foreign_token(3))),
            "key.create_time",
        ),
        (
            v1::ImportItem {
                key: None,
                ..item(4)
            },
            "key",
        ),
    ];
    let (items, fields): (Vec<_>, Vec<_>) = items.into_iter().unzip();
    let answer = one_message(&stage.acme, "", false, items).await.unwrap();
    for (result, field) in answer.results.iter().zip(fields) {
        let (reason, message, found) = told(result);
        assert_eq!((&*reason, &*found), ("INVALID_FIELD", field), "{message}");
        assert!(result.import_id.len() <= 128);
    }
    assert_eq!(answer.results.len(), 8);
    assert_eq!(answer.revision, "");
}

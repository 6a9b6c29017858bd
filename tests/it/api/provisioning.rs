//! Subscriptions that come with a key.

use claviger::grpc::proto::v1::{self, Reason, Slot};
use tonic::Code;

use super::stage::{Stage, asking, holding, named, ok, refused, request_id, selling};

fn with_key(id: &str, key: v1::Key) -> v1::CreateSubscriptionRequest {
    v1::CreateSubscriptionRequest {
        provision_key: Some(v1::ProvisionedKey {
            key: Some(key),
            ..Default::default()
        }),
        ..selling("acme", id)
    }
}

fn provisioning(scopes: &[&str]) -> v1::WorkspaceSettings {
    v1::WorkspaceSettings {
        provisioning: Some(v1::KeyProvisioning {
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        }),
        ..Default::default()
    }
}

fn tokens(stage: &Stage, answer: &v1::CreateSubscriptionResponse) -> Vec<String> {
    let tokens: Vec<_> = answer.tokens.iter().map(|t| t.token.clone()).collect();
    tokens.iter().for_each(|t| stage.server.remember(t));
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_can_be_made_with_its_dual_slot_key_in_one_change() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let request = with_key("gold", holding(&["orders:read"]));
    let answer = ok(stage.acme.directory().create_subscription(request).await);
    let number = |revision: &str| revision.rsplit('.').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(number(&answer.revision), number(&before) + 1, "one change");
    let key = answer.key.clone().unwrap();
    assert_eq!(key.subscriptions, ["gold"]);
    assert_eq!(key.scopes, ["orders:read"]);
    let slots: Vec<_> = answer.tokens.iter().map(v1::IssuedToken::slot).collect();
    assert_eq!(slots, [Slot::Primary, Slot::Secondary]);
    for token in tokens(&stage, &answer) {
        let request = v1::CheckRequest {
            subscription: "gold".to_owned(),
            ..asking("acme", &token, &["orders:read"])
        };
        let decision = stage.check(request).await;
        assert_eq!(decision.reason(), Reason::Ok);
        assert_eq!(
            (decision.key_id, decision.subscription),
            (key.id.clone(), "gold".to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_workspace_says_so_every_subscription_comes_with_a_key() {
    let stage = Stage::set().await;
    let directory = || stage.acme.directory();
    let bare = ok(directory()
        .create_subscription(selling("acme", "bare"))
        .await);
    assert!(bare.key.is_none() && bare.tokens.is_empty());
    stage
        .configure("acme", provisioning(&["orders:read"]))
        .await;
    let mut request = selling("acme", "gold");
    request.subscription.as_mut().unwrap().display_name = "Gold, customer 42".to_owned();
    let answer = ok(directory().create_subscription(request).await);
    let key = answer.key.clone().unwrap();
    assert_eq!(key.display_name, "Gold, customer 42");
    assert_eq!(
        (&*key.scopes, &*key.subscriptions),
        (&["orders:read".to_owned()][..], &["gold".to_owned()][..])
    );
    assert_eq!(tokens(&stage, &answer).len(), 2);
    // What a request says of its key counts before what the workspace says.
    let own = v1::Key {
        labels: [("plan".to_owned(), "pro".to_owned())].into(),
        ..holding(&["orders:write"])
    };
    let answer = ok(directory()
        .create_subscription(with_key("pro-1", own))
        .await);
    tokens(&stage, &answer);
    let key = answer.key.unwrap();
    assert_eq!(
        (key.scopes, key.labels["plan"].as_str()),
        (vec!["orders:write".to_owned()], "pro")
    );
    // Without a name of its own and one of the subscription it has the id.
    let answer = ok(directory()
        .create_subscription(selling("acme", "plain"))
        .await);
    tokens(&stage, &answer);
    assert_eq!(answer.key.unwrap().display_name, "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_takes_the_right_to_make_keys_and_is_done_whole_or_not_at_all() {
    let stage = Stage::set().await;
    let caller = stage.caller("acme", &["claviger:directory:write"]).await;
    let request = with_key("gold", holding(&["orders:read"]));
    let missing = (Code::PermissionDenied, "MISSING_SCOPE");
    refused(
        caller.directory().create_subscription(request).await,
        missing.0,
        missing.1,
    );
    // Rights over Claviger are handed out by who has them.
    let both = ["claviger:directory:write", "claviger:keys:write"];
    let caller = stage.caller("acme", &both).await;
    let request = with_key("gold", holding(&["claviger:keys:reveal"]));
    let status = caller.directory().create_subscription(request).await;
    refused(status, Code::PermissionDenied, "ESCALATION");
    // A setting that makes keys asks the same of who makes subscriptions.
    stage.configure("acme", provisioning(&[])).await;
    let plain = stage.caller("acme", &["claviger:directory:write"]).await;
    let status = plain
        .directory()
        .create_subscription(selling("acme", "gold"))
        .await;
    refused(status, missing.0, missing.1);
    let get = v1::GetSubscriptionRequest {
        workspace: "acme".to_owned(),
        id: "gold".to_owned(),
    };
    let status = stage
        .system
        .directory()
        .get_subscription(get)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "nothing of it was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_with_its_request_id_it_answers_the_same_key_and_tokens() {
    let stage = Stage::set().await;
    let request = v1::CreateSubscriptionRequest {
        request_id: request_id(77),
        ..with_key("gold", named("its key"))
    };
    let directory = || stage.acme.directory();
    let first = ok(directory().create_subscription(request.clone()).await);
    let issued = tokens(&stage, &first);
    let again = ok(directory().create_subscription(request.clone()).await);
    assert_eq!(tokens(&stage, &again), issued);
    assert_eq!((&first.key, &first.revision), (&again.key, &again.revision));
    let acknowledge = v1::AcknowledgeSecretRequest {
        key_id: first.key.unwrap().id,
        ..Default::default()
    };
    ok(stage.acme.keys().acknowledge_secret(acknowledge).await);
    let late = ok(directory().create_subscription(request).await);
    assert!(late.tokens.is_empty() && late.token_withheld);
}

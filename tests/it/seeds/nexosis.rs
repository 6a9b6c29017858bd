//! Nexosis: a key comes with every subscription, PRIMARY and SECONDARY; regenerating one supplants it at once; the rotation of
//! four steps has no outage; old keys are due for regeneration. Each test follows a part of its document "API Keys".

use std::time::Duration;

use claviger::grpc::proto::v1::hygiene_finding::Kind;
use claviger::grpc::proto::v1::leaked_secret::Action;
use claviger::grpc::proto::v1::{self, Reason, Slot};
use tonic::Code;

use crate::api::stage::{Stage, asking, declaring, duration, ok, refused, selling};
use crate::harness::server::Client;

const DAY: Duration = Duration::from_secs(86_400);

/// The operator's workspace: two slots, a key with every subscription, the header `api-key`, old keys named after 90 days.
async fn nexosis() -> (Stage, Client) {
    let stage = Stage::set().await;
    let header = v1::credential_location::Location::Header("api-key".to_owned());
    let settings = v1::WorkspaceSettings {
        slots: v1::SlotPolicy::Two.into(),
        locations: vec![v1::CredentialLocation {
            location: Some(header),
        }],
        provisioning: Some(v1::KeyProvisioning {
            scopes: vec!["data:write".to_owned()],
        }),
        rotation_age: duration(90 * 86_400),
        leak_policy: v1::LeakPolicy::Regenerate.into(),
        ..Default::default()
    };
    let directory = || stage.acme.directory();
    ok(directory()
        .create_scope(declaring("acme", "data:write"))
        .await);
    stage.configure("acme", settings).await;
    let all = ["keys:read", "keys:write", "insights:read"].map(|r| format!("claviger:{r}"));
    let account = stage
        .caller("acme", &all.each_ref().map(String::as_str))
        .await;
    (stage, account)
}

/// A customer subscribes; what the account page shows.
async fn subscribe(stage: &Stage, id: &str) -> (v1::Key, [String; 2]) {
    let answer = ok(stage
        .acme
        .directory()
        .create_subscription(selling("acme", id))
        .await);
    let token = |slot: Slot| {
        let issued = answer.tokens.iter().find(|t| t.slot() == slot).unwrap();
        stage.server.remember(&issued.token);
        issued.token.clone()
    };
    let tokens = [token(Slot::Primary), token(Slot::Secondary)];
    let key = answer.key.unwrap();
    let acknowledge = v1::AcknowledgeSecretRequest {
        key_id: key.id.clone(),
        ..Default::default()
    };
    ok(stage.acme.keys().acknowledge_secret(acknowledge).await);
    (key, tokens)
}

/// `PUT /api/data/salesdata` with the header `api-key`.
async fn put(stage: &Stage, token: &str) -> v1::CheckResponse {
    let header = v1::HttpHeader {
        name: "api-key".to_owned(),
        value: token.to_owned(),
    };
    let request = v1::CheckRequest {
        credential: None,
        http: Some(v1::HttpRequest {
            headers: vec![header],
            path: "/api/data/salesdata".to_owned(),
            ..Default::default()
        }),
        ..asking("acme", "", &["data:write"])
    };
    stage.check(request).await
}

async fn passes(stage: &Stage, token: &str) {
    assert_eq!(put(stage, token).await.reason(), Reason::Ok);
}

async fn unauthorized(stage: &Stage, token: &str) {
    assert_eq!(put(stage, token).await.http_status, 401);
}

/// Clicks "Regenerate" beside a slot; the new token.
async fn regenerate(stage: &Stage, account: &Client, key: &v1::Key, slot: Slot) -> String {
    let request = v1::RegenerateSecretRequest {
        key_id: key.id.clone(),
        slot: slot.into(),
        ..Default::default()
    };
    let answer = ok(account.keys().regenerate_secret(request).await);
    let token = answer.tokens[0].token.clone();
    stage.server.remember(&token);
    token
}

async fn findings(account: &Client, key: &v1::Key) -> Vec<v1::HygieneFinding> {
    let request = v1::GetKeyHygieneRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let answer = ok(account.insights().get_key_hygiene(request).await);
    let of_key = |needs: &v1::KeyHygiene| needs.key.as_ref().is_some_and(|k| k.id == key.id);
    let needs = answer.keys.into_iter().find(of_key);
    needs.map(|needs| needs.findings).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_generated_and_provided_to_every_subscription_and_identify_who_is_accessing() {
    let (stage, _) = nexosis().await;
    let (key, [primary, secondary]) = subscribe(&stage, "customer-1").await;
    let (other, [theirs, _]) = subscribe(&stage, "customer-2").await;
    assert_ne!(key.id, other.id);
    // "Each account will always have two concurrent active API keys."
    for token in [&primary, &secondary] {
        let decision = put(&stage, token).await;
        assert_eq!(decision.reason(), Reason::Ok);
        // "… and is how billing is accounted for and applied to an account."
        assert_eq!(decision.subscription, "customer-1");
        assert_eq!(decision.scopes, ["data:write"], "a set of access rights");
    }
    assert_eq!(put(&stage, &theirs).await.subscription, "customer-2");
    unauthorized(&stage, "nobody-made-this-9f86d081884c7d65").await;
    // Neither of the two can be given up.
    let revoke = v1::RevokeSecretRequest {
        key_id: key.id.clone(),
        secret_id: key.secrets[0].id.clone(),
        ..Default::default()
    };
    let answer = stage.acme.keys().revoke_secret(revoke).await;
    refused(answer, Code::FailedPrecondition, "SLOT_REQUIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn regenerating_activates_a_new_key_immediately_and_the_old_one_fails_with_401() {
    let (stage, account) = nexosis().await;
    let (key, [primary, secondary]) = subscribe(&stage, "customer-1").await;
    let new = regenerate(&stage, &account, &key, Slot::Primary).await;
    unauthorized(&stage, &primary).await;
    for token in [&new, &secondary] {
        passes(&stage, token).await;
    }
    // "One or both of the API keys can be regenerated."
    let request = v1::RegenerateSecretRequest {
        key_id: key.id.clone(),
        slot: Slot::Secondary.into(),
        force: true,
        ..Default::default()
    };
    let answer = ok(account.keys().regenerate_secret(request).await);
    stage.server.remember(&answer.tokens[0].token);
    unauthorized(&stage, &secondary).await;
    passes(&stage, &answer.tokens[0].token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_for_api_key_rotation_in_four_steps_has_no_outage_and_says_when_it_is_safe() {
    let (stage, account) = nexosis().await;
    let (key, [primary, _]) = subscribe(&stage, "customer-1").await;
    let mut applications = [primary.clone(), primary.clone(), primary.clone()];
    let all_pass = async |applications: &[String]| {
        for token in applications {
            passes(&stage, token).await;
        }
    };
    all_pass(&applications).await;
    stage.advance(DAY);
    all_pass(&applications).await;
    // 1. Regenerate "Secondary Key" as this ensures it's new and secure.
    let secondary = regenerate(&stage, &account, &key, Slot::Secondary).await;
    all_pass(&applications).await;
    // "Only regenerate one key at a time to prevent downtime": the other one now would cut everybody off.
    let both = v1::RegenerateSecretRequest {
        key_id: key.id.clone(),
        slot: Slot::Primary.into(),
        ..Default::default()
    };
    let answer = account.keys().regenerate_secret(both).await;
    refused(answer, Code::FailedPrecondition, "OTHER_SLOT_UNPROVEN");
    // 2. Change all applications to use "Secondary Key". 3. Validate all applications are functioning correctly.
    let last_step = async || {
        let found = findings(&account, &key).await;
        let unfinished = found.iter().find(|f| f.kind() == Kind::RotationUnfinished);
        unfinished.map(|f| (f.slot(), f.safe))
    };
    for n in 0..applications.len() {
        assert_eq!(last_step().await, (n > 0).then_some((Slot::Primary, false)));
        applications[n].clone_from(&secondary);
        all_pass(&applications).await;
    }
    stage.advance(DAY + Duration::from_secs(1));
    all_pass(&applications).await;
    assert_eq!(
        last_step().await,
        Some((Slot::Primary, true)),
        "nobody uses it any more"
    );
    // 4. Finally, regenerate "Primary Key".
    regenerate(&stage, &account, &key, Slot::Primary).await;
    unauthorized(&stage, &primary).await;
    all_pass(&applications).await;
    assert_eq!(last_step().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_to_regenerate_a_key_exposed_in_a_public_repository_or_old() {
    let (stage, account) = nexosis().await;
    let (key, [primary, secondary]) = subscribe(&stage, "customer-1").await;
    // "API key is exposed publicly, such as a source code repo."
    let report = v1::ReportLeakRequest {
        leaks: vec![v1::FoundToken {
            token: primary.clone(),
            url: "https://git.example/customer/app/blob/main/config.js".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = ok(account.keys().report_leak(report).await);
    let leaked = &answer.results[0].secrets[0];
    assert_eq!(
        (leaked.action(), &leaked.key_id),
        (Action::Regenerated, &key.id)
    );
    stage.server.remember(&leaked.tokens[0].token);
    unauthorized(&stage, &primary).await;
    for token in [&secondary, &leaked.tokens[0].token] {
        passes(&stage, token).await;
    }
    // "When a key is old": it is named for regeneration at the age that the operator chose.
    let due = async || {
        let found = findings(&account, &key).await;
        let due = found.iter().filter(|f| f.kind() == Kind::RotationDue);
        due.map(v1::HygieneFinding::slot).collect::<Vec<_>>()
    };
    assert_eq!(due().await, []);
    stage.advance(90 * DAY);
    assert_eq!(due().await, [Slot::Primary, Slot::Secondary]);
    // "Regenerate keys at regularly scheduled intervals", one at a time.
    regenerate(&stage, &account, &key, Slot::Secondary).await;
    assert_eq!(due().await, [Slot::Primary]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_who_left_a_stolen_computer_an_unauthorized_login_the_key_and_its_holder_part()
{
    let (stage, account) = nexosis().await;
    let (key, [primary, secondary]) = subscribe(&stage, "customer-1").await;
    // "You suspect unauthorized key use", "someone gained unauthorized access": all of it off, at once.
    let switch = |enabled: bool| v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: key.id.clone(),
            enabled: Some(enabled),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(account.keys().update_key(switch(false)).await);
    for token in [&primary, &secondary] {
        unauthorized(&stage, token).await;
    }
    let mut fresh = Vec::new();
    for slot in [Slot::Primary, Slot::Secondary] {
        fresh.push(regenerate(&stage, &account, &key, slot).await);
    }
    ok(account.keys().update_key(switch(true)).await);
    for token in [&primary, &secondary] {
        unauthorized(&stage, token).await;
    }
    for token in &fresh {
        passes(&stage, token).await;
    }
}

//! Nexosis: a key comes with every subscription, PRIMARY and SECONDARY, and is what is billed by; regenerating one supplants
//! it at once; the rotation of four steps has no outage; old keys are due for regeneration. The tests follow its document "API
//! Keys" from top to bottom.

mod traffic;
mod world;

use std::time::Duration;

use claviger::grpc::proto::v1::leaked_secret::Action;
use claviger::grpc::proto::v1::{self, Reason, Slot, UsageDimension};
use serde_json::Value;
use tonic::Code;

use super::walk::{DAY, in_time, is_refused};
use crate::api::stage::{ok, refused};
use traffic::Traffic;
use world::{AGE, SALES, regenerating, start};

/// "An API key is a unique security ID that is used to identify who is accessing the API as well as a set of access rights
/// associated with it." "These keys are generated and provided to every subscription." "The API key is submitted as an HTTP
/// Header named 'api-key' in every request."
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_provided_to_every_subscription_and_identifies_who_is_accessing_in_its_header() {
    let nexosis = start().await;
    let (key, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    let (other, [theirs, _]) = nexosis.subscribe("customer-2").await;
    assert_ne!(key.id, other.id);
    for (token, key, customer) in [
        (&primary, &key, "customer-1"),
        (&secondary, &key, "customer-1"),
        (&theirs, &other, "customer-2"),
    ] {
        let seen = nexosis.put(token).await.seen();
        assert_eq!(seen.method(), "PUT");
        assert_eq!(seen.all("x-claviger-key-id"), [&key.id]);
        assert_eq!(seen.all("x-claviger-subscription"), [customer]);
        assert_eq!(seen.all("x-claviger-scopes"), ["data:write"]);
        assert!(seen.all("api-key").is_empty());
    }
    // The profile shows whose key it is, and neither token again.
    let subscribed = v1::ListKeysRequest {
        filter: Some(v1::KeyFilter {
            subscription: "customer-1".to_owned(),
            ..Default::default()
        }),
        view: v1::KeyView::WithTokens.into(),
        ..Default::default()
    };
    let shown = ok(nexosis.platform.admin().keys().list_keys(subscribed).await);
    let ids: Vec<_> = shown.keys.iter().map(|k| &k.id).collect();
    assert_eq!((ids, shown.tokens.len()), (vec![&key.id], 0));
    // In every request, and in that header.
    let without = nexosis.platform.send("PUT", SALES, &[], "{}").await;
    is_refused(&without, 401, "no-credential");
    let elsewhere = [("x-api-key", &*primary)];
    let elsewhere = nexosis.platform.send("PUT", SALES, &elsewhere, "{}").await;
    is_refused(&elsewhere, 401, "no-credential");
    nexosis
        .unauthorized("nobody-made-this-9f86d081884c7d65")
        .await;
}

/// "[It] is how billing is accounted for and applied to an account."
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_accounted_to_the_subscription_whichever_of_its_two_keys_is_used() {
    let nexosis = start().await;
    let (_, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    let (_, [theirs, _]) = nexosis.subscribe("customer-2").await;
    for (token, times) in [(&primary, 3), (&secondary, 2), (&theirs, 4)] {
        for _ in 0..times {
            nexosis.passes(token).await;
        }
    }
    let used = async || {
        let request = v1::GetUsageRequest {
            group_by: vec![UsageDimension::Subscription.into()],
            decision: v1::Decision::Allow.into(),
            ..Default::default()
        };
        let points = ok(nexosis.account.insights().get_usage(request).await).points;
        let sum: i64 = points.iter().map(|point| point.count).sum();
        (sum >= 9).then_some(points)
    };
    let points = in_time(used).await;
    let billed: Vec<_> = points
        .iter()
        .map(|point| (&*point.subscription, point.count))
        .collect();
    assert_eq!(billed, [("customer-1", 5), ("customer-2", 4)]);
    // The day's bill, as who writes it asks on the command line.
    let args = ["usage", "--by", "subscription", "--interval", "day"];
    let period = [
        "--since",
        "2027-01-01T00:00:00Z",
        "--until",
        "2027-02-01T00:00:00Z",
    ];
    let bill = [&args[..], &period, &["-o", "json"]].concat();
    let bill: Value =
        serde_json::from_str(&nexosis.platform.claviger(&nexosis.token, &bill)).unwrap();
    assert!(bill.to_string().contains("customer-1"), "{bill}");
}

/// "Each account will always have two concurrent active API keys, designated as "Primary" and "Secondary.""
#[tokio::test(flavor = "multi_thread")]
async fn an_account_always_has_two_concurrent_active_keys() {
    let nexosis = start().await;
    let (key, tokens) = nexosis.subscribe("customer-1").await;
    let slots: Vec<_> = key.secrets.iter().map(v1::Secret::slot).collect();
    assert_eq!(slots, [Slot::Primary, Slot::Secondary]);
    // Neither of the two can be given up.
    for secret in &key.secrets {
        let revoke = v1::RevokeSecretRequest {
            key_id: key.id.clone(),
            secret_id: secret.id.clone(),
            ..Default::default()
        };
        let answer = nexosis.platform.admin().keys().revoke_secret(revoke).await;
        refused(answer, Code::FailedPrecondition, "SLOT_REQUIRED");
    }
    for token in &tokens {
        nexosis.passes(token).await;
    }
}

/// "One or both of the API keys can be regenerated, activating a new key immediately supplanting the old key rendering it useless.
/// Any program using the old revoked key will then fail with 401."
#[tokio::test(flavor = "multi_thread")]
async fn regenerating_activates_a_new_key_immediately_and_the_old_one_fails_with_401() {
    let nexosis = start().await;
    let (key, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    let new = nexosis.regenerate(&key, Slot::Primary).await;
    nexosis.unauthorized(&primary).await;
    for token in [&new, &secondary] {
        nexosis.passes(token).await;
    }
    let request = v1::RegenerateSecretRequest {
        force: true,
        ..regenerating(&key, Slot::Secondary)
    };
    let answer = ok(nexosis.account.keys().regenerate_secret(request).await);
    nexosis.platform.remember(&answer.tokens[0].token);
    nexosis.unauthorized(&secondary).await;
    for token in [&new, &answer.tokens[0].token] {
        nexosis.passes(token).await;
    }
}

/// "1. Regenerate "Secondary Key" […]. 2. Change all applications […] to use "Secondary Key." 3. Validate all applications using
/// "Secondary Key" are functioning correctly. […] 4. Finally, regenerate "Primary Key" to make sure any unauthorized users cannot
/// use this key."
#[tokio::test(flavor = "multi_thread")]
async fn the_rotation_of_four_steps_refuses_no_request_of_applications_that_run_meanwhile() {
    let nexosis = start().await;
    let (key, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    let applications = Traffic::start(nexosis.platform.envoy.address(), SALES, &primary, 3).await;
    applications.flow();
    nexosis.platform.stage.advance(DAY);
    applications.flow();
    let new = nexosis.regenerate(&key, Slot::Secondary).await;
    nexosis.unauthorized_amid_others(&secondary).await;
    applications.flow();
    applications.switch(&new);
    nexosis.regenerate(&key, Slot::Primary).await;
    nexosis.unauthorized_amid_others(&primary).await;
    applications.flow();
    let (sent, refused) = applications.stop();
    assert!(sent > 0 && refused == 0, "{refused} of {sent} were refused");
}

/// "Validate all applications using "Secondary Key" are functioning correctly": which still use the other one is seen.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_step_of_a_rotation_is_named_and_is_safe_once_nobody_uses_the_old_key() {
    let nexosis = start().await;
    let (key, [primary, _]) = nexosis.subscribe("customer-1").await;
    let mut applications = [primary.clone(), primary.clone(), primary.clone()];
    let all_pass = async |applications: &[String]| {
        for token in applications {
            nexosis.passes(token).await;
        }
    };
    all_pass(&applications).await;
    nexosis.platform.stage.advance(DAY);
    all_pass(&applications).await;
    let secondary = nexosis.regenerate(&key, Slot::Secondary).await;
    for n in 0..applications.len() {
        let expected = (n > 0).then_some((Slot::Primary, false));
        assert_eq!(nexosis.last_step(&key).await, expected);
        applications[n].clone_from(&secondary);
        all_pass(&applications).await;
    }
    nexosis.platform.stage.advance(DAY + Duration::from_secs(1));
    all_pass(&applications).await;
    let safe = Some((Slot::Primary, true));
    assert_eq!(
        nexosis.last_step(&key).await,
        safe,
        "nobody uses it any more"
    );
    nexosis.regenerate(&key, Slot::Primary).await;
    nexosis.unauthorized(&primary).await;
    all_pass(&applications).await;
    assert_eq!(nexosis.last_step(&key).await, None);
}

/// "API key is exposed publicly, such as a source code repo or in HTML or javascript source."
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_exposed_publicly_is_regenerated_when_it_is_reported() {
    let nexosis = start().await;
    let (key, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    let report = v1::ReportLeakRequest {
        leaks: vec![v1::FoundToken {
            token: primary.clone(),
            url: "https://git.example/customer/app/blob/main/config.js".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = ok(nexosis.account.keys().report_leak(report).await);
    let leaked = &answer.results[0].secrets[0];
    assert_eq!(
        (leaked.action(), &leaked.key_id),
        (Action::Regenerated, &key.id)
    );
    nexosis.platform.remember(&leaked.tokens[0].token);
    nexosis.unauthorized(&primary).await;
    for token in [&secondary, &leaked.tokens[0].token] {
        nexosis.passes(token).await;
    }
}

/// "A computer with the key stored on it was stolen or compromised. You suspect unauthorized key use. A developer with access to
/// the key has left your company. Someone gained unauthorized access to your […] account."
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_have_the_keys_is_locked_out_at_once_and_the_account_goes_on_with_new_ones() {
    let nexosis = start().await;
    let (key, [primary, secondary]) = nexosis.subscribe("customer-1").await;
    nexosis.platform.enable(&key.id, false).await;
    for token in [&primary, &secondary] {
        nexosis.unauthorized(token).await;
    }
    // Who used it, from where, is on record.
    let rows = nexosis.platform.logged(2).await;
    for row in &rows {
        let about = (row.reason(), &*row.key_id, &*row.source_ip);
        assert_eq!(about, (Reason::KeyDisabled, &*key.id, "127.0.0.1"));
    }
    let mut fresh = Vec::new();
    for slot in [Slot::Primary, Slot::Secondary] {
        fresh.push(nexosis.regenerate(&key, slot).await);
    }
    nexosis.platform.enable(&key.id, true).await;
    for token in [&primary, &secondary] {
        nexosis.unauthorized(token).await;
    }
    for token in &fresh {
        nexosis.passes(token).await;
    }
}

/// "When a key is old. The older a key is, the higher the probability it could have been compromised." "Regenerate keys at
/// regularly scheduled intervals."
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_due_for_regeneration_at_the_age_that_the_operator_chose_and_again_at_that_interval()
 {
    let nexosis = start().await;
    let (key, _) = nexosis.subscribe("customer-1").await;
    let age = Duration::from_secs(AGE);
    assert_eq!(nexosis.due(&key).await, []);
    nexosis.platform.stage.advance(age);
    assert_eq!(nexosis.due(&key).await, [Slot::Primary, Slot::Secondary]);
    // As who plans it sees it.
    let args = ["hygiene", "--finding", "rotation-due", "-o", "json"];
    let said = nexosis.platform.claviger(&nexosis.token, &args);
    assert!(said.contains(&key.id), "{said}");
    nexosis.regenerate(&key, Slot::Secondary).await;
    assert_eq!(nexosis.due(&key).await, [Slot::Primary]);
    nexosis.regenerate(&key, Slot::Primary).await;
    assert_eq!(nexosis.due(&key).await, []);
    nexosis.platform.stage.advance(age);
    assert_eq!(nexosis.due(&key).await, [Slot::Primary, Slot::Secondary]);
}

/// "Only regenerate one key at a time to prevent downtime."
#[tokio::test(flavor = "multi_thread")]
async fn the_second_key_is_not_regenerated_before_the_first_new_one_is_in_use() {
    let nexosis = start().await;
    let (key, [primary, _]) = nexosis.subscribe("customer-1").await;
    nexosis.passes(&primary).await;
    let new = nexosis.regenerate(&key, Slot::Secondary).await;
    let request = || regenerating(&key, Slot::Primary);
    let answer = nexosis.account.keys().regenerate_secret(request()).await;
    refused(answer, Code::FailedPrecondition, "OTHER_SLOT_UNPROVEN");
    nexosis.passes(&primary).await;
    nexosis.passes(&new).await;
    nexosis.regenerate(&key, Slot::Primary).await;
    nexosis.unauthorized(&primary).await;
}

/// "Encrypt the key when storing it", which is said to customers and holds for the platform, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_platform_itself_stores_no_key_that_can_be_read() {
    let nexosis = start().await;
    let (key, tokens) = nexosis.subscribe("customer-1").await;
    for token in &tokens {
        nexosis.passes(token).await;
    }
    for secret in &key.secrets {
        assert!(!secret.recoverable);
        let reveal = v1::RevealSecretRequest {
            key_id: key.id.clone(),
            secret_id: secret.id.clone(),
        };
        let answer = nexosis.platform.admin().keys().reveal_secret(reveal).await;
        refused(answer, Code::FailedPrecondition, "NOT_RECOVERABLE");
    }
    // When all has stopped, every file is searched for both.
}

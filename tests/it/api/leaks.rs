//! Tokens that were found in public: whose they are, and what their workspace wants done about it.

use std::time::Duration;

use claviger::grpc::proto::v1::leak_result::Verdict;
use claviger::grpc::proto::v1::leaked_secret::Action;
use claviger::grpc::proto::v1::{self, LeakPolicy, Reason, Slot, secret};

use super::secrets::two_slots;
use super::stage::{
    Stage, creating, duration, external, foreign_token, holding, named, ok, sha256_hex,
};
use crate::harness::server::Client;

const PLACE: &str = "https://git.example/shop/app/blob/main/.env";

pub(crate) fn found(token: &str) -> v1::FoundToken {
    v1::FoundToken {
        token: token.to_owned(),
        r#type: "claviger_api_key".to_owned(),
        url: PLACE.to_owned(),
        source: "content".to_owned(),
        ..Default::default()
    }
}

async fn report(
    caller: &Client,
    workspace: &str,
    leaks: Vec<v1::FoundToken>,
) -> v1::ReportLeakResponse {
    let workspace = workspace.to_owned();
    ok(caller
        .keys()
        .report_leak(v1::ReportLeakRequest { workspace, leaks })
        .await)
}

/// The only secret that a report of one token was about.
fn only(answer: &v1::ReportLeakResponse) -> v1::LeakedSecret {
    let [result] = &*answer.results else {
        panic!("{answer:?}")
    };
    assert_eq!(result.verdict(), Verdict::TruePositive);
    let [secret] = &*result.secrets else {
        panic!("{answer:?}")
    };
    secret.clone()
}

async fn policy(stage: &Stage, policy: LeakPolicy, grace: Option<prost_types::Duration>) {
    let settings = v1::WorkspaceSettings {
        leak_policy: policy.into(),
        leak_grace: grace,
        ..Default::default()
    };
    stage.configure("acme", settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_token_is_found_noted_once_and_its_key_goes_on_where_the_workspace_says_no_more() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let answer = report(&stage.acme, "", vec![found(&made.primary)]).await;
    let leaked = only(&answer);
    assert_eq!(
        (leaked.key_id, leaked.secret_id, leaked.workspace.as_str()),
        (made.id(), made.secret(Slot::Primary), "acme")
    );
    assert_eq!(
        (Action::try_from(leaked.action), leaked.already_reported),
        (Ok(Action::Notified), false)
    );
    assert_eq!(answer.revision, stage.revision().await);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    let key = stage.get(&made.id()).await;
    assert!(key.secrets[0].leak_time.is_some());
    assert!(key.warnings.iter().any(|w| w.code == "LEAKED_SECRET"));

    // Whoever reports it again, from wherever, changes nothing, and fills no log.
    let before = stage.revision().await;
    let mut elsewhere = found("");
    elsewhere.sha256_hex = sha256_hex(&made.primary);
    elsewhere.url = "https://other.example/paste".to_owned();
    let again = report(&stage.system, "acme", vec![elsewhere]).await;
    assert!(only(&again).already_reported);
    assert_eq!(
        (again.revision.as_str(), stage.revision().await),
        ("", before)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nobody_or_to_others_is_a_false_positive_and_no_error() {
    let stage = Stage::set().await;
    let foreign = stage.make(creating("other", named("theirs"))).await;
    let before = stage.revision().await;
    let leaks = vec![
        found("nobody-made-this-9f86d081884c7d65"),
        found(&foreign.primary),
    ];
    for workspace in ["", "acme", "-"] {
        let answer = report(&stage.acme, workspace, leaks.clone()).await;
        let verdicts: Vec<_> = answer.results.iter().map(v1::LeakResult::verdict).collect();
        assert_eq!(verdicts, [Verdict::FalsePositive; 2], "{workspace:?}");
    }
    assert_eq!(stage.revision().await, before);
    // A bound administrator is told of keys of its own alone.
    let bound = stage.bound(&["claviger:keys:write"], &["basic"]).await;
    let free = stage.key(&[]).await;
    let answer = report(&bound, "", vec![found(&free.primary)]).await;
    assert_eq!(answer.results[0].verdict(), Verdict::FalsePositive);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workspaces_are_looked_at_at_once_by_who_administers_them() {
    let stage = Stage::set().await;
    let shared = foreign_token(5);
    let mut holders = Vec::new();
    for workspace in ["acme", "other"] {
        let request = v1::CreateKeyRequest {
            primary: external(&shared),
            ..creating(workspace, named("the same token"))
        };
        holders.push(stage.make(request).await.id());
    }
    let own = stage.make(creating("other", named("one"))).await;
    let leaks = vec![
        found(&own.primary),
        found("nobody-made-this-9f86d081884c7d65"),
        found(&shared),
    ];
    let answer = report(&stage.system, "-", leaks).await;
    let of = |n: usize| {
        let secrets = answer.results[n].secrets.iter();
        secrets.map(|s| s.key_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (vec![own.id()], Vec::new()));
    assert_eq!(
        of(2),
        holders,
        "both hold it, in the order of their workspaces"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_can_disable_the_key_at_once() {
    let stage = Stage::set().await;
    policy(&stage, LeakPolicy::Disable, None).await;
    let made = stage.key(&[]).await;
    let leaked = only(&report(&stage.acme, "", vec![found(&made.primary)]).await);
    assert_eq!(leaked.action(), Action::Disabled);
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyDisabled);
    // Switched on again by who knows better, it stays on: the secret is acted on once.
    let enable = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.acme.keys().update_key(enable).await);
    assert!(only(&report(&stage.acme, "", vec![found(&made.primary)]).await).already_reported);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_can_replace_the_token_with_a_grace_and_without() {
    let stage = Stage::set().await;
    policy(&stage, LeakPolicy::Regenerate, duration(3_600)).await;
    let made = two_slots(&stage).await;
    let leaked = only(&report(&stage.acme, "", vec![found(&made.secondary)]).await);
    assert_eq!(leaked.action(), Action::Regenerated);
    let new = &leaked.tokens[0];
    stage.server.remember(&new.token);
    assert_eq!(new.slot(), Slot::Secondary);
    for token in [&made.primary, &made.secondary, &new.token] {
        assert_eq!(stage.reason(token).await, Reason::Ok);
    }
    stage.advance(Duration::from_secs(3_600));
    assert_eq!(stage.reason(&made.secondary).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&new.token).await, Reason::Ok);
    let key = stage.get(&made.id()).await;
    let old = key.secrets.iter().find(|s| s.leak_time.is_some()).unwrap();
    assert_eq!(
        (old.state(), old.revocation_reason()),
        (secret::State::Revoked, v1::RevocationReason::KeyCompromise)
    );

    policy(&stage, LeakPolicy::Regenerate, None).await;
    let leaked = only(&report(&stage.acme, "", vec![found(&new.token)]).await);
    stage.server.remember(&leaked.tokens[0].token);
    assert_eq!(stage.reason(&new.token).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&leaked.tokens[0].token).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_retiring_already_ends_at_once_and_a_dead_one_is_only_noted() {
    let stage = Stage::set().await;
    policy(&stage, LeakPolicy::Regenerate, duration(3_600)).await;
    let made = stage.key(&[]).await;
    let request = v1::RegenerateSecretRequest {
        grace: duration(7_200),
        ..super::secrets::replace(&made.id(), Slot::Primary)
    };
    let next = ok(stage.acme.keys().regenerate_secret(request).await);
    stage.server.remember(&next.tokens[0].token);
    let leaked = only(&report(&stage.acme, "", vec![found(&made.primary)]).await);
    assert_eq!(
        (leaked.action(), leaked.tokens.len()),
        (Action::Regenerated, 0)
    );
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&next.tokens[0].token).await, Reason::Ok);

    let dead = stage.key(&[]).await;
    let delete = v1::DeleteKeyRequest {
        id: dead.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().delete_key(delete).await);
    let leaked = only(&report(&stage.acme, "", vec![found(&dead.primary)]).await);
    assert_eq!(
        (leaked.action(), leaked.already_reported),
        (Action::Unspecified, false)
    );
    assert!(stage.get(&dead.id()).await.secrets[0].leak_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_report_gives_a_caller_rights_it_lacks_or_takes_the_last_administrator_away() {
    let stage = Stage::set().await;
    policy(&stage, LeakPolicy::Regenerate, duration(60)).await;
    let powerful = stage.make(creating("acme", holding(&["claviger:*"]))).await;
    let reporter = stage.caller("acme", &["claviger:keys:write"]).await;
    let leaked = only(&report(&reporter, "", vec![found(&powerful.primary)]).await);
    assert_eq!(
        (leaked.action(), leaked.held_back.as_str()),
        (Action::Disabled, "ESCALATION")
    );
    assert!(leaked.tokens.is_empty());
    assert_eq!(stage.get(&powerful.id()).await.enabled, Some(false));

    let settings = v1::WorkspaceSettings {
        leak_policy: LeakPolicy::Disable.into(),
        ..Default::default()
    };
    stage.configure("system", settings).await;
    let last = crate::harness::server::BOOTSTRAP_TOKEN;
    let leaked = only(&report(&stage.system, "system", vec![found(last)]).await);
    assert_eq!(
        (leaked.action(), leaked.held_back.as_str()),
        (Action::Notified, "LAST_ADMINISTRATOR")
    );
    stage.get(&powerful.id()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_order_and_the_place_it_was_found_in_never_holds_the_token() {
    let stage = Stage::set().await;
    policy(&stage, LeakPolicy::Disable, None).await;
    let mut leaks = Vec::new();
    let mut ids = Vec::new();
    for n in 0..50 {
        let made = stage.key(&[]).await;
        let mut leak = found(&made.primary);
        leak.url = match n % 3 {
            0 => format!("https://api.example/orders?apikey={}", made.primary),
            1 => format!("https://api.example/hook/{}/in", made.primary),
            _ => format!("https://{}@api.example/#{}", made.primary, made.primary),
        };
        leak.source = made.primary.clone();
        leaks.extend([leak, found(&foreign_token(1_000 + n))]);
        ids.extend([Some(made.id()), None]);
    }
    let answer = report(&stage.acme, "", leaks).await;
    let named: Vec<_> = answer
        .results
        .iter()
        .map(|r| r.secrets.first().map(|s| s.key_id.clone()))
        .collect();
    assert_eq!(named, ids);
    // When the service has stopped, every file of it is searched for these tokens.
}

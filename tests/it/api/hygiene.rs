//! Keys that need attention: each finding, where it is and where it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use claviger::grpc::proto::v1::hygiene_finding::Kind;
use claviger::grpc::proto::v1::{self, Reason, Slot};

use super::leaks::found;
use super::secrets::{replace, two_slots};
use super::stage::{
    Made, Stage, asking, bound_to, creating, declaring, duration, external_weak, holding, knowing,
    named, ok,
};

const DAY: Duration = Duration::from_secs(86_400);

async fn hygiene(stage: &Stage, request: v1::GetKeyHygieneRequest) -> v1::GetKeyHygieneResponse {
    let request = v1::GetKeyHygieneRequest {
        workspace: "acme".to_owned(),
        ..request
    };
    ok(stage.acme.insights().get_key_hygiene(request).await)
}

/// What there is about a key.
async fn about(stage: &Stage, key: &str) -> (Vec<v1::HygieneFinding>, Vec<Slot>) {
    let request = v1::GetKeyHygieneRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let answer = hygiene(stage, request).await;
    assert_eq!(answer.next_page_token, "");
    let of_key = |needs: &&v1::KeyHygiene| needs.key.as_ref().unwrap().id == key;
    let needs = answer.keys.iter().find(of_key);
    needs.map_or_else(Default::default, |needs| {
        (needs.findings.clone(), needs.safe_slots().collect())
    })
}

async fn kinds(stage: &Stage, key: &str) -> Vec<Kind> {
    let (findings, _) = about(stage, key).await;
    assert!(findings.iter().all(|f| f.message.len() > 10));
    findings.iter().map(v1::HygieneFinding::kind).collect()
}

/// A key about which there is nothing but what a test adds: it ends in a year, and its token was saved.
async fn sound(stage: &Stage, key: v1::Key) -> Made {
    let end = stage.server.now().seconds + 365 * 86_400;
    let key = v1::Key {
        expire_time: Some(prost_types::Timestamp {
            seconds: end,
            nanos: 0,
        }),
        ..key
    };
    let made = stage.make(creating("acme", key)).await;
    acknowledge(stage, &made.id()).await;
    made
}

async fn acknowledge(stage: &Stage, key: &str) {
    let request = v1::AcknowledgeSecretRequest {
        key_id: key.to_owned(),
        ..Default::default()
    };
    ok(stage.system.keys().acknowledge_secret(request).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_key_has_no_finding_and_each_setting_of_a_key_that_deserves_one_has_its_own() {
    let stage = Stage::set().await;
    let made = sound(&stage, named("sound")).await;
    assert_eq!(kinds(&stage, &made.id()).await, []);
    let several = v1::Key {
        subscriptions: vec!["basic".to_owned(), "pro".to_owned()],
        ..holding(&["orders:read", "orders:write"])
    };
    let made = sound(&stage, several).await;
    assert_eq!(
        kinds(&stage, &made.id()).await,
        [Kind::SeveralScopes, Kind::SeveralSubscriptions]
    );
    let weak = v1::CreateKeyRequest {
        primary: external_weak("password-password"),
        ..creating(
            "acme",
            v1::Key {
                allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
                ..named("weak")
            },
        )
    };
    let made = stage.make(weak).await;
    assert_eq!(
        kinds(&stage, &made.id()).await,
        [Kind::WeakSecret, Kind::NoExpiry]
    );
    let made = stage.key(&[]).await;
    assert_eq!(
        kinds(&stage, &made.id()).await,
        [Kind::NoExpiry, Kind::Unacknowledged]
    );
    // Who uses it has it.
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    assert_eq!(kinds(&stage, &made.id()).await, [Kind::NoExpiry]);
    // What is off needs nobody's attention.
    let off = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(off).await);
    assert_eq!(kinds(&stage, &made.id()).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_brings_keys_to_their_end_their_age_and_out_of_use() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        rotation_age: duration(100 * 86_400),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let (used, unused) = (
        sound(&stage, named("used")).await,
        sound(&stage, named("unused")).await,
    );
    stage.advance(89 * DAY);
    assert_eq!(stage.reason(&used.primary).await, Reason::Ok);
    assert_eq!(kinds(&stage, &unused.id()).await, []);
    stage.advance(DAY);
    assert_eq!(kinds(&stage, &unused.id()).await, [Kind::Unused]);
    assert_eq!(kinds(&stage, &used.id()).await, []);
    stage.advance(10 * DAY);
    let (findings, safe) = about(&stage, &used.id()).await;
    assert_eq!(
        (
            findings[0].kind(),
            findings[0].slot(),
            &findings[0].secret_ids
        ),
        (
            Kind::RotationDue,
            Slot::Primary,
            &vec![used.secret(Slot::Primary)]
        )
    );
    assert_eq!(safe, [Slot::Primary], "nobody has used it for eleven days");
    ok(stage
        .system
        .keys()
        .regenerate_secret(replace(&used.id(), Slot::Primary))
        .await);
    acknowledge(&stage, &used.id()).await;
    assert_eq!(kinds(&stage, &used.id()).await, []);
    stage.advance(235 * DAY);
    let found = kinds(&stage, &used.id()).await;
    assert!(found.contains(&Kind::Expiring), "{found:?}");
    // The caller says what counts as soon, and as long.
    let request = v1::GetKeyHygieneRequest {
        expiring_within: duration(29 * 86_400),
        unused_for: duration(3_000 * 86_400),
        findings: vec![Kind::Expiring.into(), Kind::Unused.into()],
        ..Default::default()
    };
    assert_eq!(hygiene(&stage, request).await.keys, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longest_lifetime_names_the_keys_from_before_it() {
    let stage = Stage::set().await;
    let (eternal, year) = (stage.key(&[]).await, sound(&stage, named("a year")).await);
    let settings = |days: u64| v1::WorkspaceSettings {
        longest_lifetime: duration(days * 86_400),
        ..Default::default()
    };
    stage.configure("acme", settings(365)).await;
    assert_eq!(kinds(&stage, &year.id()).await, []);
    let found = kinds(&stage, &eternal.id()).await;
    assert!(
        found.starts_with(&[Kind::BeyondLongestLifetime, Kind::NoExpiry]),
        "{found:?}"
    );
    stage.configure("acme", settings(364)).await;
    assert_eq!(
        kinds(&stage, &year.id()).await,
        [Kind::BeyondLongestLifetime]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_shows_its_last_step_and_when_it_is_safe() {
    let stage = Stage::set().await;
    let made = two_slots(&stage).await;
    acknowledge(&stage, &made.id()).await;
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    let unfinished = async || {
        let (findings, safe) = about(&stage, &made.id()).await;
        let mut found = findings.into_iter();
        let found = found.find(|f| f.kind() == Kind::RotationUnfinished);
        (found.map(|f| (f.slot(), f.safe)), safe)
    };
    assert_eq!(
        unfinished().await,
        (None, vec![Slot::Secondary]),
        "no rotation has begun"
    );
    stage.advance(DAY);
    // 1. Regenerate the SECONDARY secret. Nobody has changed to it yet: there is no last step.
    let answer = ok(stage
        .system
        .keys()
        .regenerate_secret(replace(&made.id(), Slot::Secondary))
        .await);
    let fresh = answer.tokens[0].token.clone();
    stage.server.remember(&fresh);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    assert_eq!(unfinished().await, (None, vec![Slot::Secondary]));
    // 2. and 3. The applications change, one after the other.
    assert_eq!(stage.reason(&fresh).await, Reason::Ok);
    assert_eq!(unfinished().await, (Some((Slot::Primary, false)), vec![]));
    stage.advance(DAY + Duration::from_secs(1));
    assert_eq!(stage.reason(&fresh).await, Reason::Ok);
    assert_eq!(
        unfinished().await,
        (Some((Slot::Primary, true)), vec![Slot::Primary])
    );
    // 4. Regenerate the PRIMARY secret: done.
    ok(stage
        .system
        .keys()
        .regenerate_secret(replace(&made.id(), Slot::Primary))
        .await);
    assert_eq!(unfinished().await.0, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_its_grace_is_named_while_it_is_used_and_a_leaked_one_while_it_opens() {
    let stage = Stage::set().await;
    let made = sound(&stage, named("replaced")).await;
    let request = v1::RegenerateSecretRequest {
        grace: duration(10 * 86_400),
        ..replace(&made.id(), Slot::Primary)
    };
    ok(stage.system.keys().regenerate_secret(request).await);
    acknowledge(&stage, &made.id()).await;
    assert_eq!(kinds(&stage, &made.id()).await, []);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    assert_eq!(kinds(&stage, &made.id()).await, [Kind::RetiringInUse]);
    stage.advance(2 * DAY);
    assert_eq!(kinds(&stage, &made.id()).await, []);

    let leaked = sound(&stage, named("leaked")).await;
    let report = v1::ReportLeakRequest {
        workspace: "acme".to_owned(),
        leaks: vec![found(&leaked.primary)],
    };
    ok(stage.system.keys().report_leak(report).await);
    assert_eq!(kinds(&stage, &leaked.id()).await, [Kind::Leaked]);
    ok(stage
        .system
        .keys()
        .regenerate_secret(replace(&leaked.id(), Slot::Primary))
        .await);
    acknowledge(&stage, &leaked.id()).await;
    assert_eq!(kinds(&stage, &leaked.id()).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_no_decision_ever_asked_for_are_named_also_after_a_restart() {
    let stage = Stage::set().await;
    let made = sound(&stage, holding(&["orders:read", "orders:write"])).await;
    let silent = v1::Key {
        off_the_record: true,
        ..holding(&["orders:read", "orders:write"])
    };
    let silent = sound(&stage, silent).await;
    let ask = async |stage: &Stage, token: &str, scope: &str| {
        let decision = stage.check(asking("acme", token, &[scope])).await;
        assert_eq!(decision.reason(), Reason::Ok);
    };
    stage.advance(91 * DAY);
    for token in [&made.primary, &silent.primary] {
        ask(&stage, token, "orders:read").await;
    }
    let idle = async |stage: &Stage, key: &str| {
        let (findings, _) = about(stage, key).await;
        let found = findings.into_iter().find(|f| f.kind() == Kind::OverScoped);
        found.map(|f| f.scopes).unwrap_or_default()
    };
    assert_eq!(idle(&stage, &made.id()).await, ["orders:write"]);
    assert_eq!(
        idle(&stage, &silent.id()).await,
        [""; 0],
        "nothing is recorded of it"
    );
    let stage = stage.restart().await;
    assert_eq!(idle(&stage, &made.id()).await, ["orders:write"]);
    ask(&stage, &made.primary, "orders:write").await;
    assert_eq!(idle(&stage, &made.id()).await, [""; 0]);
    let stage = stage.restart().await;
    assert_eq!(idle(&stage, &made.id()).await, [""; 0]);
    // What was added lately has had no time to be asked for.
    let made = sound(&stage, holding(&["orders:read"])).await;
    stage.advance(91 * DAY);
    ask(&stage, &made.primary, "orders:read").await;
    let widen = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            ..holding(&["orders:read", "orders:write"])
        }),
        update_mask: super::stage::mask(&["scopes"]),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(widen).await);
    assert_eq!(idle(&stage, &made.id()).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_inherits_and_never_made_use_of_is_named_whatever_becomes_of_its_principal() {
    let stage = Stage::set().await;
    ok(stage
        .system
        .directory()
        .create_scope(declaring("acme", "billing:read"))
        .await);
    let may = async |stage: &Stage, scopes: &[&str]| {
        let request = knowing("acme", "somebody", scopes);
        ok(stage.system.directory().upsert_principal(request).await);
    };
    may(&stage, &["orders:read", "orders:write"]).await;
    let inheriting = sound(&stage, bound_to("somebody", &[])).await;
    let listing = &["orders:read", "orders:write"];
    let listing = sound(&stage, bound_to("somebody", listing)).await;
    let silent = v1::Key {
        off_the_record: true,
        ..bound_to("somebody", &[])
    };
    let silent = sound(&stage, silent).await;
    let ask = async |stage: &Stage, scope: &str| {
        for made in [&inheriting, &listing, &silent] {
            let decision = stage.check(asking("acme", &made.primary, &[scope])).await;
            assert_eq!(decision.reason(), Reason::Ok);
        }
    };
    let idle = async |stage: &Stage, made: &Made| {
        let (findings, _) = about(stage, &made.id()).await;
        let found = findings.into_iter().find(|f| f.kind() == Kind::OverScoped);
        found.map(|f| (f.scopes, f.message)).unwrap_or_default()
    };
    stage.advance(91 * DAY);
    ask(&stage, "orders:read").await;
    let (scopes, message) = idle(&stage, &inheriting).await;
    assert_eq!(scopes, ["orders:write"]);
    assert!(message.contains("its principal may"), "{message}");
    let (scopes, message) = idle(&stage, &listing).await;
    assert_eq!(scopes, ["orders:write"]);
    assert!(message.contains("take that away"), "{message}");
    assert_eq!(idle(&stage, &silent).await.0, [""; 0]);

    // One more permission, before the others in their order. It has had no time to be asked for; in time it is named as well,
    // and what was used before goes on counting, whether it was noted in the old place or is noted in the new one.
    may(&stage, &["billing:read", "orders:read", "orders:write"]).await;
    assert_eq!(idle(&stage, &inheriting).await.0, [""; 0]);
    assert_eq!(idle(&stage, &listing).await.0, ["orders:write"]);
    stage.advance(91 * DAY);
    ask(&stage, "orders:read").await;
    let both = ["billing:read", "orders:write"];
    assert_eq!(idle(&stage, &inheriting).await.0, both);
    ask(&stage, "orders:write").await;
    assert_eq!(idle(&stage, &inheriting).await.0, ["billing:read"]);
    assert_eq!(idle(&stage, &listing).await.0, [""; 0]);
    let stage = stage.restart().await;
    assert_eq!(idle(&stage, &inheriting).await.0, ["billing:read"]);

    // What the principal lost is nobody's any more.
    may(&stage, &["orders:read", "orders:write"]).await;
    stage.advance(91 * DAY);
    ask(&stage, "orders:write").await;
    assert_eq!(idle(&stage, &inheriting).await.0, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_filters_hold_and_the_counts_sum_up_the_workspace() {
    let stage = Stage::set().await;
    let mut several = Vec::new();
    for n in 0..23 {
        let scopes: &[&str] = if n % 3 == 0 {
            &["orders:read", "orders:write"]
        } else {
            &[]
        };
        let made = stage.key(scopes).await;
        if n % 3 == 0 {
            several.push(made.id());
        }
    }
    let (mut listed, mut counts, mut examined) = (Vec::new(), BTreeMap::new(), 0);
    let mut page_token = String::new();
    loop {
        let request = v1::GetKeyHygieneRequest {
            findings: vec![Kind::SeveralScopes.into()],
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = hygiene(&stage, request).await;
        assert!(page.keys.len() <= 3);
        listed.extend(page.keys.iter().map(|k| k.key.clone().unwrap().id));
        examined += page.keys_examined;
        for count in page.counts {
            *counts.entry(count.kind()).or_insert(0) += count.keys;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // Of the same moment, they are in the order of their ids.
    several.sort();
    assert_eq!(listed, several);
    // With the administrator that every test's tenant has.
    assert_eq!(examined, 24);
    assert_eq!(counts[&Kind::SeveralScopes], 8);
    assert_eq!(counts[&Kind::NoExpiry], 24);

    // Bound administrators see what is theirs.
    let mine = v1::Key {
        subscriptions: vec!["basic".to_owned()],
        ..named("mine")
    };
    let mine = stage.make(creating("acme", mine)).await;
    let bound = stage.bound(&["claviger:insights:read"], &["basic"]).await;
    let answer = ok(bound
        .insights()
        .get_key_hygiene(v1::GetKeyHygieneRequest::default())
        .await);
    let seen: Vec<_> = answer
        .keys
        .iter()
        .map(|k| k.key.clone().unwrap().id)
        .collect();
    assert_eq!((seen.len(), answer.keys_examined), (2, 2));
    assert!(seen.contains(&mine.id()), "{seen:?}");
}

//! How an API that had no keys comes to have them: routes from before go on without one until they are saved.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Access, Decision, Reason};
use tonic::Code;

use super::check::{http, with};
use super::stage::{Stage, mask, ok, refused, routing};

async fn scheme(stage: &Stage, scheme: v1::KeyScheme) {
    let settings = v1::WorkspaceSettings {
        key_scheme: scheme.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
}

/// `acme` with the route `old`, made before the key scheme was switched on.
async fn with_an_old_route() -> Stage {
    let stage = Stage::set().await;
    scheme(&stage, v1::KeyScheme::Off).await;
    let made = ok(stage
        .system
        .routes()
        .create_route(routing("acme", "old", "/old"))
        .await);
    assert_eq!(made.warnings[0].code, "GRANDFATHERED");
    assert_eq!(made.route.unwrap().access(), Access::Grandfathered);
    scheme(&stage, v1::KeyScheme::On).await;
    stage
}

async fn read(stage: &Stage) -> v1::Route {
    let request = v1::GetRouteRequest {
        workspace: "acme".to_owned(),
        id: "old".to_owned(),
    };
    ok(stage.system.routes().get_route(request).await)
        .route
        .unwrap()
}

fn changing(route: v1::Route, fields: &[&str]) -> v1::UpdateRouteRequest {
    v1::UpdateRouteRequest {
        route: Some(v1::Route {
            workspace: "acme".to_owned(),
            id: "old".to_owned(),
            ..route
        }),
        update_mask: mask(fields),
        ..Default::default()
    }
}

fn renaming() -> v1::UpdateRouteRequest {
    let route = v1::Route {
        display_name: "An old one".to_owned(),
        ..Default::default()
    };
    changing(route, &["display_name"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_from_before_passes_everybody_but_who_has_a_dead_key() {
    let stage = with_an_old_route().await;
    let good = stage.key(&["orders:read"]).await;
    let poor = stage.key(&["orders:write"]).await;
    let fenced = v1::Key {
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        ..super::stage::holding(&["orders:read"])
    };
    let fenced = with(&stage, fenced).await;
    let disabled = v1::Key {
        enabled: Some(false),
        ..super::stage::holding(&["orders:read"])
    };
    let disabled = with(&stage, disabled).await;
    let check = async |headers: &[(&str, &str)]| stage.check(http(headers, "/old")).await;
    for (headers, why) in [
        (vec![], "NO_CREDENTIAL"),
        (vec![("authorization", "Basic dXNlcjpwYXNz")], "UNKNOWN_KEY"),
        (
            vec![("authorization", "Bearer clv_nonsense")],
            "MALFORMED_CREDENTIAL",
        ),
        (
            vec![("x-api-key", "a"), ("api-key", "b")],
            "AMBIGUOUS_CREDENTIAL",
        ),
        (vec![("x-api-key", &*poor.primary)], "INSUFFICIENT_SCOPE"),
        (vec![("x-api-key", &*fenced.primary)], "IP_UNKNOWN"),
    ] {
        let answer = check(&headers).await;
        assert_eq!(answer.decision(), Decision::Allow, "{headers:?}");
        assert_eq!((answer.route.as_str(), answer.http_status), ("old", 200));
        assert_eq!(answer.warnings[0].code, "GRANDFATHERED");
        assert!(answer.warnings[0].message.ends_with(why), "{answer:?}");
        // Whoever it is, it is nobody.
        let identity = (
            answer.key_id,
            answer.secret_id,
            answer.scopes,
            answer.subscription,
        );
        assert_eq!(identity, Default::default());
    }
    // Who has a good key is known by it already.
    let known = check(&[("x-api-key", &*good.primary)]).await;
    assert_eq!((known.key_id, known.warnings.len()), (good.id(), 0));
    let dead = check(&[("x-api-key", &*disabled.primary)]).await;
    assert_eq!(
        (dead.decision(), dead.reason()),
        (Decision::Deny, Reason::KeyDisabled)
    );
    // Seen in the route, so that an operator knows when it is safe to save; before and after it was written down.
    let mut seen = read(&stage).await.keyless_uses;
    seen.sort_by_key(|used| used.reason);
    let seen: Vec<_> = seen
        .iter()
        .map(|used| (used.reason(), used.count))
        .collect();
    let once = |reason: Reason| (reason, 1);
    let expected = [
        Reason::NoCredential,
        Reason::AmbiguousCredential,
        Reason::MalformedCredential,
        Reason::UnknownKey,
        Reason::IpUnknown,
        Reason::InsufficientScope,
    ];
    assert_eq!(seen, expected.map(once));
    let stage = stage.restart().await;
    let after = read(&stage).await.keyless_uses;
    assert_eq!(after.iter().map(|used| used.count).sum::<i64>(), 6);
    assert!(after.iter().all(|used| used.last_time.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_key_off_the_record_passed_a_route_from_before_is_known_to_the_hour() {
    let stage = with_an_old_route().await;
    let poor = v1::Key {
        off_the_record: true,
        ..super::stage::holding(&["orders:write"])
    };
    let poor = with(&stage, poor).await;
    // The clock stands on the hour.
    let hour = stage.server.now();
    stage.advance(Duration::from_secs(1_234));
    // Also where two credentials stand there, and nobody looks whose they are.
    let one = [("x-api-key", &*poor.primary)];
    let two = [one[0], ("api-key", "of-somebody-else")];
    for headers in [&one[..], &two] {
        let answer = stage.check(http(headers, "/old")).await;
        assert_eq!(answer.decision(), Decision::Allow, "{answer:?}");
    }
    let uses = read(&stage).await.keyless_uses;
    let counted: Vec<_> = uses
        .iter()
        .map(|used| (used.count, used.last_time))
        .collect();
    assert_eq!(counted, [(1, Some(hour)), (1, Some(hour))], "{uses:?}");
    // Of everybody else it is known when they came.
    stage.check(http(&[], "/old")).await;
    let uses = read(&stage).await.keyless_uses;
    assert!(uses.iter().any(|used| used.last_time != Some(hour)));
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_a_route_from_before_warns_first_and_demands_a_key_from_then_on() {
    let stage = with_an_old_route().await;
    let keyless = || http(&[], "/old");
    stage.check(keyless()).await;
    // Shown without being done.
    let shown = v1::UpdateRouteRequest {
        validate_only: true,
        ..renaming()
    };
    let answer = ok(stage.system.routes().update_route(shown).await);
    assert_eq!(answer.route.unwrap().access(), Access::KeyRequired);
    let warning = answer
        .warnings
        .iter()
        .find(|w| w.code == "GRANDFATHERING_ENDS");
    assert!(
        warning.unwrap().message.contains("1 have been let through"),
        "{warning:?}"
    );
    assert_eq!(answer.revision, "");
    // Not done in passing.
    let status = refused(
        stage.system.routes().update_route(renaming()).await,
        Code::FailedPrecondition,
        "WARNING_NOT_ACKNOWLEDGED",
    );
    assert!(status.message().contains("need an API key"), "{status:?}");
    assert_eq!(stage.check(keyless()).await.decision(), Decision::Allow);
    assert_eq!(read(&stage).await.display_name, "");
    let acknowledged = v1::UpdateRouteRequest {
        acknowledge_warnings: true,
        ..renaming()
    };
    let answer = ok(stage.system.routes().update_route(acknowledged).await);
    assert_eq!(answer.route.unwrap().access(), Access::KeyRequired);
    let after = stage.check(keyless()).await;
    assert_eq!(
        (after.reason(), after.http_status),
        (Reason::NoCredential, 401)
    );
    // It does not go back, whatever becomes of the scheme.
    scheme(&stage, v1::KeyScheme::Off).await;
    assert_eq!(stage.check(keyless()).await.reason(), Reason::NoCredential);
    scheme(&stage, v1::KeyScheme::On).await;
    assert_eq!(stage.check(keyless()).await.reason(), Reason::NoCredential);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_save_and_one_of_labels_are_no_saves() {
    let stage = with_an_old_route().await;
    let before = read(&stage).await;
    let revision = stage.revision().await;
    let identical = changing(before.clone(), &["*"]);
    let answer = ok(stage.system.routes().update_route(identical).await);
    assert_eq!(answer.route.unwrap(), before);
    assert_eq!(stage.revision().await, revision);
    let labelled = v1::Route {
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..Default::default()
    };
    let answer = ok(stage
        .system
        .routes()
        .update_route(changing(labelled, &["labels"]))
        .await);
    let route = answer.route.unwrap();
    assert_eq!(
        (route.access(), route.labels.len()),
        (Access::Grandfathered, 1)
    );
    assert_ne!(stage.revision().await, revision);
    assert_eq!(
        stage.check(http(&[], "/old")).await.decision(),
        Decision::Allow
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_scheme_is_off_a_save_changes_nothing_of_that_and_needs_no_word() {
    let stage = with_an_old_route().await;
    scheme(&stage, v1::KeyScheme::Off).await;
    let answer = ok(stage.system.routes().update_route(renaming()).await);
    assert_eq!(answer.route.unwrap().access(), Access::Grandfathered);
    assert_eq!(
        stage.check(http(&[], "/old")).await.decision(),
        Decision::Allow
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grandfathered_is_nothing_that_can_be_set() {
    let stage = with_an_old_route().await;
    let new = routing("acme", "new", "/new");
    let made = ok(stage.system.routes().create_route(new).await);
    assert_eq!(made.route.unwrap().access(), Access::KeyRequired);
    let mut request = changing(
        v1::Route {
            access: Access::Grandfathered.into(),
            ..Default::default()
        },
        &["access"],
    );
    request.route.as_mut().unwrap().id = "new".to_owned();
    refused(
        stage.system.routes().update_route(request).await,
        Code::FailedPrecondition,
        "NOT_GRANDFATHERED",
    );
    assert_eq!(
        stage.check(http(&[], "/new")).await.reason(),
        Reason::NoCredential
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_are_demanded_of_a_route_from_before_as_well() {
    let stage = Stage::set().await;
    scheme(&stage, v1::KeyScheme::Off).await;
    let mut request = routing("acme", "old", "/old");
    let header = v1::HeaderFactor {
        name: "x-tracking".to_owned(),
        demand: Some(v1::header_factor::Demand::Present(true)),
        ..Default::default()
    };
    request.route.as_mut().unwrap().factors = vec![v1::Factor {
        factor: Some(v1::factor::Factor::Header(header)),
    }];
    ok(stage.system.routes().create_route(request).await);
    scheme(&stage, v1::KeyScheme::On).await;
    let without = stage.check(http(&[], "/old")).await;
    assert_eq!(without.reason(), Reason::FactorMissing);
    let with = stage.check(http(&[("x-tracking", "t")], "/old")).await;
    assert_eq!(with.decision(), Decision::Allow);
    // Only who passed is counted.
    let counts: Vec<_> = read(&stage).await.keyless_uses;
    assert_eq!(counts.iter().map(|used| used.count).sum::<i64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_switched_off_lets_nobody_through_without_a_key() {
    let stage = with_an_old_route().await;
    let mut open = routing("acme", "open", "/open");
    open.route.as_mut().unwrap().access = Access::Public.into();
    ok(stage.system.routes().create_route(open).await);
    let off = v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            enabled: Some(false),
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        ..Default::default()
    };
    ok(stage.system.directory().update_workspace(off).await);
    for (path, reason) in [
        ("/old", Reason::NoCredential),
        ("/open", Reason::WorkspaceDisabled),
    ] {
        let answer = stage.check(http(&[], path)).await;
        assert_eq!(
            (answer.reason(), answer.http_status),
            (reason, 401),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_scheme_was_switched_on_is_told() {
    let stage = Stage::set().await;
    let settings = async || {
        let request = v1::GetWorkspaceRequest {
            id: "acme".to_owned(),
        };
        let answer = ok(stage.system.directory().get_workspace(request).await);
        answer.workspace.unwrap().settings.unwrap()
    };
    assert_eq!(settings().await.key_scheme(), v1::KeyScheme::On);
    scheme(&stage, v1::KeyScheme::Off).await;
    assert_eq!(settings().await.key_scheme_time, None);
    stage.advance(std::time::Duration::from_secs(60));
    scheme(&stage, v1::KeyScheme::On).await;
    let on = settings().await.key_scheme_time.unwrap();
    stage.advance(std::time::Duration::from_secs(60));
    scheme(&stage, v1::KeyScheme::On).await;
    assert_eq!(settings().await.key_scheme_time, Some(on));
}

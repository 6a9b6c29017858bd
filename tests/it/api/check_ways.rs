//! How a key may be presented: presentations, and where a credential is found.

use claviger::grpc::proto::v1::{self, Presentation, Reason};

use super::check::{by, http, with};
use super::stage::{Stage, asking, creating, declaring, generated, holding, named, ok};

#[tokio::test(flavor = "multi_thread")]
async fn presentations_are_the_workspaces_and_the_demanded_scopes() {
    let stage = Stage::set().await;
    for (name, ways) in [
        ("hooks", vec![Presentation::Basic.into()]),
        ("plain", vec![]),
    ] {
        let mut scope = declaring("acme", name);
        scope.scope.as_mut().unwrap().presentations = ways;
        ok(stage.acme.directory().create_scope(scope).await);
    }
    let made = with(&stage, holding(&["hooks", "plain"])).await;
    let hooks_only = with(&stage, holding(&["hooks"])).await;
    let ask = |all: &[&str], any: &[&str]| v1::CheckRequest {
        any_of_scopes: any.iter().map(|s| (*s).to_owned()).collect(),
        ..asking("acme", &made.primary, all)
    };
    let refused = Reason::PresentationNotAllowed;
    for (request, presentation, reason) in [
        (ask(&["plain"], &[]), Presentation::Unspecified, Reason::Ok),
        (ask(&["plain"], &[]), Presentation::Bearer, Reason::Ok),
        (ask(&["plain"], &[]), Presentation::Basic, refused),
        (ask(&["hooks"], &[]), Presentation::Basic, Reason::Ok),
        (ask(&["hooks"], &[]), Presentation::Query, refused),
        (ask(&["hooks", "plain"], &[]), Presentation::Basic, refused),
        (
            ask(&[], &["hooks", "plain"]),
            Presentation::Basic,
            Reason::Ok,
        ),
        (ask(&[], &["plain"]), Presentation::Basic, refused),
        (ask(&[], &[]), Presentation::Basic, refused),
    ] {
        let scopes = (
            request.required_scopes.clone(),
            request.any_of_scopes.clone(),
        );
        assert_eq!(
            stage.check(by(presentation, request)).await.reason(),
            reason,
            "{scopes:?} {presentation:?}"
        );
    }
    // Any-of needs the consent of a scope that is held.
    let any = v1::CheckRequest {
        any_of_scopes: vec!["hooks".to_owned()],
        ..asking("acme", &hooks_only.primary, &["hooks"])
    };
    assert_eq!(
        stage.check(by(Presentation::Basic, any)).await.reason(),
        Reason::Ok
    );
    let settings = v1::WorkspaceSettings {
        presentations: vec![Presentation::Query.into()],
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let plain = || ask(&["plain"], &[]);
    assert_eq!(
        stage.check(by(Presentation::Query, plain())).await.reason(),
        Reason::Ok
    );
    assert_eq!(
        stage
            .check(by(Presentation::Header, plain()))
            .await
            .reason(),
        refused,
        "what is set replaces the default"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_found_where_the_workspace_says() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        presentations: vec![1, 2, 3, 4],
        ..Default::default()
    };
    stage.configure("acme", settings.clone()).await;
    let made = stage
        .make(v1::CreateKeyRequest {
            secondary: generated(),
            ..creating("acme", named("a key"))
        })
        .await;
    let (k1, k2) = (made.primary.as_str(), made.secondary.as_str());
    let (bearer, query) = (format!("Bearer {k1}"), format!("/p?x=1&apikey={k1}"));
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Reason);
    let defaults: [Case<'_>; 12] = [
        (&[("X-Api-Key", k1)], "/", Reason::Ok),
        (&[("api-key", k1)], "/", Reason::Ok),
        (&[("apikey", k1)], "/", Reason::Ok),
        (&[("Authorization", &bearer)], "/", Reason::Ok),
        (&[], &query, Reason::Ok),
        (
            &[("authorization", "Bearer a.b.c"), ("x-api-key", k1)],
            "/",
            Reason::Ok,
        ),
        (
            &[("x-other", k1)],
            &format!("/p?Apikeys={k1}"),
            Reason::NoCredential,
        ),
        (
            &[("x-api-key", k1), ("api-key", k2)],
            "/",
            Reason::AmbiguousCredential,
        ),
        (
            &[("x-api-key", k1), ("X-API-KEY", k1)],
            "/",
            Reason::AmbiguousCredential,
        ),
        (
            &[("x-api-key", &format!("{k1},{k1}"))],
            "/",
            Reason::AmbiguousCredential,
        ),
        (
            &[],
            &format!("/p?%61pikey={k1}"),
            Reason::AmbiguousCredential,
        ),
        (&[], &format!("/p?APIKEY={k1}"), Reason::AmbiguousCredential),
    ];
    for (headers, path, reason) in defaults {
        assert_eq!(
            stage.check(http(headers, path)).await.reason(),
            reason,
            "{reason:?}"
        );
    }
    use v1::credential_location::Location;
    let location = |location| v1::CredentialLocation {
        location: Some(location),
    };
    let locations = vec![
        location(Location::Header("X-Ours".to_owned())),
        location(Location::Query("key".to_owned())),
    ];
    stage
        .configure(
            "acme",
            v1::WorkspaceSettings {
                locations,
                ..settings
            },
        )
        .await;
    for (headers, path, reason) in [
        (&[("x-ours", k1)][..], "/", Reason::Ok),
        (&[], &format!("/p?key={k1}"), Reason::Ok),
        (
            &[("x-api-key", k1), ("authorization", &bearer)],
            query.as_str(),
            Reason::NoCredential,
        ),
    ] {
        assert_eq!(
            stage.check(http(headers, path)).await.reason(),
            reason,
            "{reason:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workspace_named_means_the_processes_default_and_never_any() {
    let stage = Stage::set().await;
    let made = with(&stage, named("a key")).await;
    let of_default = stage.make(creating("default", named("a key"))).await;
    let answer = stage.check(asking("", &made.primary, &[])).await;
    assert_eq!(
        (answer.reason(), answer.workspace.as_str()),
        (Reason::UnknownKey, "default")
    );
    assert_eq!(
        stage
            .check(asking("", &of_default.primary, &[]))
            .await
            .reason(),
        Reason::Ok
    );
}

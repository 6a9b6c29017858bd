//! Listing keys: filters, order, pages.

use std::collections::BTreeSet;
use std::time::Duration;

use claviger::grpc::proto::v1::{self, KeyFilter, ListKeysRequest, key};
use tonic::Code;

use super::stage::{Stage, creating, holding, invalid, named, ok, refused};

fn list(filter: KeyFilter) -> ListKeysRequest {
    ListKeysRequest {
        workspace: "acme".to_owned(),
        filter: Some(filter),
        ..Default::default()
    }
}

/// The names of all pages.
async fn names(stage: &Stage, mut request: ListKeysRequest) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let page = ok(stage.acme.keys().list_keys(request.clone()).await);
        names.extend(page.keys.into_iter().map(|k| k.display_name));
        if page.next_page_token.is_empty() {
            return names;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_selects_what_it_says() {
    let stage = Stage::set().await;
    let day = |n: i64| {
        Some(prost_types::Timestamp {
            seconds: 1_800_000_000 + n * 86_400,
            nanos: 0,
        })
    };
    let keys = [
        v1::Key {
            scopes: vec!["orders:read".to_owned()],
            ..named("Über Alpha")
        },
        v1::Key {
            scopes: vec!["orders:*".to_owned()],
            subscriptions: vec!["basic".to_owned()],
            ..named("beta")
        },
        v1::Key {
            enabled: Some(false),
            labels: [("team".to_owned(), "x".to_owned())].into(),
            ..named("gamma")
        },
        v1::Key {
            expire_time: day(1),
            labels: [("team".to_owned(), "y".to_owned())].into(),
            ..named("delta")
        },
        v1::Key {
            expire_time: day(30),
            ..named("epsilon")
        },
        named("zeta"),
        named("100%_literal"),
    ];
    let mut made = Vec::new();
    for key in keys {
        // Within a millisecond the order of creation is left to chance.
        stage.advance(Duration::from_millis(1));
        made.push(stage.make(creating("acme", key)).await);
    }
    let delete = v1::DeleteKeyRequest {
        id: made[5].id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    stage.advance(Duration::from_secs(2 * 86_400));
    stage
        .check(super::stage::asking("acme", &made[0].primary, &[]))
        .await;
    let state = |s: key::State| KeyFilter {
        states: vec![s.into()],
        ..Default::default()
    };
    let name = |text: &str| KeyFilter {
        name_contains: text.to_owned(),
        ..Default::default()
    };
    let label = |text: &str| KeyFilter {
        label: text.to_owned(),
        ..Default::default()
    };
    let cases = [
        (name("ÜBER"), vec!["Über Alpha"]),
        (name("eta"), vec!["beta"]),
        (name("%_"), vec!["100%_literal"]),
        (name("'; --"), vec![]),
        (state(key::State::Disabled), vec!["gamma"]),
        (state(key::State::Expired), vec!["delta"]),
        (state(key::State::Deleted), vec!["zeta"]),
        (
            KeyFilter {
                states: vec![key::State::Deleted.into(), key::State::Disabled.into()],
                ..Default::default()
            },
            vec!["gamma", "zeta"],
        ),
        (
            KeyFilter {
                scope: "orders:read".to_owned(),
                ..Default::default()
            },
            vec!["Über Alpha"],
        ),
        (
            KeyFilter {
                scope: "orders:*".to_owned(),
                ..Default::default()
            },
            vec!["beta"],
        ),
        (
            KeyFilter {
                subscription: "basic".to_owned(),
                ..Default::default()
            },
            vec!["beta"],
        ),
        (label("team"), vec!["gamma", "delta"]),
        (label("team=y"), vec!["delta"]),
        (label("team="), vec![]),
        (
            KeyFilter {
                expire_before: day(10),
                ..Default::default()
            },
            vec!["delta"],
        ),
        (
            KeyFilter {
                name_contains: "a".to_owned(),
                label: "team".to_owned(),
                ..Default::default()
            },
            vec!["gamma", "delta"],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(
            names(&stage, list(filter.clone())).await,
            expected,
            "{filter:?}"
        );
    }
    let unused = list(KeyFilter {
        unused_since: day(1),
        ..Default::default()
    });
    // A use is written down soon after the decision, not before it is answered.
    loop {
        let unused = names(&stage, unused.clone()).await;
        assert!(unused.contains(&"beta".to_owned()), "{unused:?}");
        if !unused.contains(&"Über Alpha".to_owned()) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let all = names(&stage, list(KeyFilter::default())).await;
    assert!(
        !all.contains(&"zeta".to_owned()),
        "deleted keys are listed only when asked for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_to_the_whole_list_in_every_order() {
    let stage = Stage::set().await;
    for name in ["b", "A", "c", "a", "B", "ä"] {
        stage.advance(Duration::from_millis(1));
        stage.make(creating("acme", named(name))).await;
    }
    let by = |order: &str, size: i32| ListKeysRequest {
        order_by: order.to_owned(),
        page_size: size,
        ..list(KeyFilter {
            name_contains: String::new(),
            ..Default::default()
        })
    };
    let created = names(&stage, by("", 0)).await;
    assert_eq!(
        created[1..],
        ["b", "A", "c", "a", "B", "ä"],
        "after the administrator, as they were made"
    );
    let mut backwards = created.clone();
    backwards.reverse();
    assert_eq!(names(&stage, by("create_time desc", 2)).await, backwards);
    let named = names(&stage, by("display_name", 0)).await;
    let lower: Vec<String> = named.iter().map(|n| n.to_lowercase()).collect();
    assert!(lower.is_sorted(), "{named:?}");
    for order in [
        "create_time",
        "create_time desc",
        "display_name",
        "display_name desc",
    ] {
        let whole = names(&stage, by(order, 0)).await;
        for size in 1..=7 {
            assert_eq!(
                names(&stage, by(order, size)).await,
                whole,
                "{order} {size}"
            );
        }
    }
    let down = names(&stage, by("display_name desc", 0)).await;
    assert_eq!(down.iter().rev().cloned().collect::<Vec<_>>(), named);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_good_for_its_own_list_only() {
    let stage = Stage::set().await;
    for _ in 0..3 {
        stage.key(&["orders:read"]).await;
    }
    let request = ListKeysRequest {
        page_size: 1,
        ..list(KeyFilter::default())
    };
    let token = ok(stage.acme.keys().list_keys(request.clone()).await).next_page_token;
    let foreign = |change: fn(&mut ListKeysRequest)| {
        let mut request = ListKeysRequest {
            page_token: token.clone(),
            ..request.clone()
        };
        change(&mut request);
        request
    };
    let keys = || stage.acme.keys();
    invalid(
        keys()
            .list_keys(foreign(|r| r.order_by = "display_name".to_owned()))
            .await,
        "page_token",
    );
    invalid(
        keys()
            .list_keys(foreign(|r| {
                r.filter = Some(KeyFilter {
                    scope: "orders:read".to_owned(),
                    ..Default::default()
                })
            }))
            .await,
        "page_token",
    );
    invalid(
        keys().list_keys(foreign(|r| r.page_token.push('A'))).await,
        "page_token",
    );
    let elsewhere = ListKeysRequest {
        workspace: "other".to_owned(),
        page_token: token.clone(),
        ..request.clone()
    };
    invalid(stage.system.keys().list_keys(elsewhere).await, "page_token");
    // Another size is no other list.
    let page = ok(keys().list_keys(foreign(|r| r.page_size = 10)).await);
    assert_eq!(page.keys.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_50_by_default_and_1000_at_most() {
    let stage = Stage::set().await;
    for _ in 0..60 {
        stage.key(&[]).await;
    }
    let sized = |page_size| ListKeysRequest {
        page_size,
        ..list(KeyFilter::default())
    };
    assert_eq!(
        ok(stage.acme.keys().list_keys(sized(0)).await).keys.len(),
        50
    );
    let page = ok(stage.acme.keys().list_keys(sized(i32::MAX)).await);
    assert_eq!((page.keys.len(), page.next_page_token.as_str()), (61, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_tokens_only_for_who_may_reveal_them() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let made = stage
        .make(creating("acme", holding(&["orders:read"])))
        .await;
    let request = |view: v1::KeyView| ListKeysRequest {
        view: view.into(),
        ..list(KeyFilter::default())
    };
    let reader = stage.caller("acme", &["claviger:keys:read"]).await;
    refused(
        reader
            .keys()
            .list_keys(request(v1::KeyView::WithTokens))
            .await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    for view in [v1::KeyView::Unspecified, v1::KeyView::WithoutTokens] {
        assert!(
            ok(reader.keys().list_keys(request(view)).await)
                .tokens
                .is_empty()
        );
    }
    let before = stage.revision().await;
    let page = ok(stage
        .acme
        .keys()
        .list_keys(request(v1::KeyView::WithTokens))
        .await);
    let tokens: BTreeSet<&str> = page.tokens.iter().map(|t| t.token.as_str()).collect();
    assert!(tokens.contains(made.primary.as_str()));
    assert_ne!(stage.revision().await, before, "it is audited");
}

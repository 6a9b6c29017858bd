//! Lists of keys: each filter, each order, places in them, and the indexes that carry them.

use sea_orm::{ConnectionTrait, DbBackend, QueryTrait as _, Statement};

use super::*;
use crate::app::ports::{KeyCursor, KeyOrder, KeyQuery, StateSet};
use crate::store::{keys, list};

const ALL: StateSet = StateSet {
    active: true,
    disabled: true,
    expired: true,
    deleted: true,
};

fn query() -> KeyQuery {
    KeyQuery {
        states: ALL,
        ..KeyQuery::all(acme(), at(100), 100)
    }
}

async fn ids(store: &SqlStore, query: &KeyQuery) -> Vec<u128> {
    let found = store.list_keys(query).await.unwrap();
    found.iter().map(|key| key.id.as_u128()).collect()
}

#[tokio::test]
async fn states_are_told_as_the_domain_tells_them() {
    let (_dir, store) = open().await;
    let mut keys: Vec<Key> = (1..=6).map(|n| key(n, "k")).collect();
    keys[1].settings.enabled = false;
    keys[1].settings.expire_time = Some(at(50));
    keys[2].settings.expire_time = Some(at(100));
    keys[3].settings.expire_time = Some(at(101));
    keys[4].settings.enabled = false;
    keys[4].delete_time = Some(at(50));
    keys[5].settings.enabled = false;
    put(&store, &keys).await;
    let none = StateSet::default();
    for (states, expected) in [
        (
            StateSet {
                active: true,
                ..none
            },
            vec![1, 4],
        ),
        (
            StateSet {
                disabled: true,
                ..none
            },
            vec![2, 6],
        ),
        (
            StateSet {
                expired: true,
                ..none
            },
            vec![3],
        ),
        (
            StateSet {
                deleted: true,
                ..none
            },
            vec![5],
        ),
        (
            StateSet {
                deleted: false,
                ..ALL
            },
            vec![1, 2, 3, 4, 6],
        ),
        (ALL, vec![1, 2, 3, 4, 5, 6]),
        (none, vec![]),
    ] {
        let query = KeyQuery { states, ..query() };
        assert_eq!(ids(&store, &query).await, expected, "{states:?}");
    }
}

#[tokio::test]
async fn names_are_searched_without_case_and_without_wildcards() {
    let (_dir, store) = open().await;
    let names = ["Größe 100%", "GRÖSSE", "a_b", "aXb", r"a\b"];
    let keys: Vec<Key> = (1..).zip(names).map(|(n, name)| key(n, name)).collect();
    put(&store, &keys).await;
    for (part, expected) in [
        ("grö", vec![1, 2]),
        ("GRÖ", vec![1, 2]),
        ("%", vec![1]),
        ("a_b", vec![3]),
        (r"\", vec![5]),
        ("axb", vec![4]),
        ("", vec![1, 2, 3, 4, 5]),
        ("'; --", vec![]),
    ] {
        let name_contains = Some(part.to_owned());
        let query = KeyQuery {
            name_contains,
            ..query()
        };
        assert_eq!(ids(&store, &query).await, expected, "{part:?}");
    }
}

#[tokio::test]
async fn scopes_subscriptions_and_labels_are_matched_exactly() {
    let (_dir, store) = open().await;
    let mut foreign = full_key(9);
    foreign.workspace = "globex".parse().unwrap();
    let mut plain = key(2, "plain");
    plain
        .settings
        .labels
        .insert("team".to_owned(), "b".to_owned());
    put(&store, &[full_key(1), plain, foreign]).await;
    let scope = |s: &str| KeyQuery {
        scope: Some(s.to_owned()),
        ..query()
    };
    let bound = |s: &str| KeyQuery {
        subscription: Some(sub(s)),
        ..query()
    };
    let label = |name: &str, value: Option<&str>| KeyQuery {
        label: Some((name.to_owned(), value.map(str::to_owned))),
        ..query()
    };
    for (query, expected) in [
        (scope("messages:*"), vec![1]),
        (scope("messages:send"), vec![]),
        (bound("gold"), vec![1]),
        (bound("Gold"), vec![]),
        (label("team", None), vec![1, 2]),
        (label("team", Some("a=b")), vec![1]),
        (label("team", Some("a")), vec![]),
        (label("team", Some("")), vec![]),
    ] {
        assert_eq!(ids(&store, &query).await, expected, "{query:?}");
    }
    let both = KeyQuery {
        subscription: Some(sub("gold")),
        ..label("team", Some("b"))
    };
    assert_eq!(ids(&store, &both).await, []);
}

#[tokio::test]
async fn a_bound_administrator_sees_what_is_bound_within_and_nothing_else() {
    let (_dir, store) = open().await;
    let bound = |n, subs: &[&str]| {
        let mut key = key(n, "k");
        key.settings.subscriptions = subs.iter().map(|s| sub(s)).collect();
        key
    };
    let keys = [
        bound(1, &[]),
        bound(2, &["a"]),
        bound(3, &["a", "b"]),
        bound(4, &["a", "c"]),
        bound(5, &["c"]),
    ];
    put(&store, &keys).await;
    for (within, expected) in [
        (vec!["a"], vec![2]),
        (vec!["a", "b"], vec![2, 3]),
        (vec!["a", "b", "c"], vec![2, 3, 4, 5]),
        (vec!["d"], vec![]),
        (vec![], vec![]),
    ] {
        let set = within.iter().map(|s| sub(s)).collect();
        let query = KeyQuery {
            within: Some(set),
            ..query()
        };
        assert_eq!(ids(&store, &query).await, expected, "{within:?}");
    }
}

#[tokio::test]
async fn expiry_and_use_are_compared_with_a_moment() {
    let (_dir, store) = open().await;
    let mut keys: Vec<Key> = (1..=3).map(|n| key(n, "k")).collect();
    keys[1].settings.expire_time = Some(at(70));
    put(&store, &keys).await;
    let used = [
        (keys[0].secrets[0].id, at(40)),
        (keys[1].secrets[0].id, at(60)),
    ];
    store.flush_last_used(&used).await.unwrap();
    let expiring = |t| KeyQuery {
        expire_before: Some(at(t)),
        ..query()
    };
    assert_eq!(ids(&store, &expiring(70)).await, []);
    assert_eq!(ids(&store, &expiring(71)).await, [2]);
    let unused = |t| KeyQuery {
        unused_since: Some(at(t)),
        ..query()
    };
    assert_eq!(ids(&store, &unused(40)).await, [3]);
    assert_eq!(ids(&store, &unused(41)).await, [1, 3]);
    assert_eq!(ids(&store, &unused(61)).await, [1, 2, 3]);
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order() {
    let (_dir, store) = open().await;
    let names = ["b", "A", "c", "a", "B", "é", "a"];
    let keys: Vec<Key> = (1..).zip(names).map(|(n, name)| key(n, name)).collect();
    put(&store, &keys).await;
    for (order, expected) in [
        (
            KeyOrder::Created { descending: false },
            [1, 2, 3, 4, 5, 6, 7],
        ),
        (
            KeyOrder::Created { descending: true },
            [7, 6, 5, 4, 3, 2, 1],
        ),
        (KeyOrder::Name { descending: false }, [2, 4, 7, 1, 5, 3, 6]),
        (KeyOrder::Name { descending: true }, [6, 3, 5, 1, 7, 4, 2]),
    ] {
        let mut query = KeyQuery {
            order,
            limit: 2,
            ..query()
        };
        let mut found = Vec::new();
        loop {
            let page = store.list_keys(&query).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            assert_eq!(last.secrets.len(), 1);
            query.after = Some(KeyCursor {
                name: crate::domain::text::fold(&last.settings.display_name),
                id: last.id,
            });
            found.extend(page.iter().map(|key| key.id.as_u128()));
        }
        assert_eq!(found, expected, "{order:?}");
    }
}

async fn plan(store: &SqlStore, statement: Statement) -> String {
    let mut statement = statement;
    statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
    let rows = store.reader.query_all_raw(statement).await.unwrap();
    let lines = rows
        .iter()
        .map(|row| row.try_get::<String>("", "detail").unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// A change to a query that adds a filter.
type Filter = (&'static str, fn(&mut KeyQuery));

const FILTERS: [Filter; 10] = [
    ("none", |_| {}),
    ("name", |q| q.name_contains = Some("x".to_owned())),
    ("state", |q| {
        q.states = StateSet {
            active: true,
            ..StateSet::default()
        };
    }),
    ("scope", |q| q.scope = Some("a:*".to_owned())),
    ("subscription", |q| q.subscription = Some(sub("a"))),
    ("within", |q| q.within = Some(vec![sub("a"), sub("b")])),
    ("label", |q| q.label = Some(("team".to_owned(), None))),
    ("label value", |q| {
        q.label = Some(("team".to_owned(), Some("a".to_owned())));
    }),
    ("expire_before", |q| q.expire_before = Some(at(9))),
    ("unused_since", |q| q.unused_since = Some(at(9))),
];

#[tokio::test]
async fn every_list_is_served_by_an_index_in_its_order() {
    // What PostgreSQL plans depends on how much there is.
    let (_dir, store) = open_sqlite().await;
    let cursor = KeyCursor {
        name: "m".to_owned(),
        id: KeyId::from_u128(1),
    };
    for (filter, add) in FILTERS {
        for descending in [false, true] {
            for after in [None, Some(&cursor)] {
                for (order, index) in [
                    (KeyOrder::Created { descending }, "keys_in_order"),
                    (KeyOrder::Name { descending }, "keys_in_name_order"),
                ] {
                    let mut query = KeyQuery {
                        order,
                        after: after.cloned(),
                        ..query()
                    };
                    add(&mut query);
                    let statement = list::select(&query).build(DbBackend::Sqlite);
                    let plan = plan(&store, statement).await;
                    let which = format!("{filter}, {order:?}, {after:?}:\n{plan}");
                    assert!(
                        plan.contains(&format!("{index} (workspace_id=?")),
                        "{which}"
                    );
                    assert!(!plan.contains("SCAN"), "{which}");
                    assert!(!plan.contains("TEMP B-TREE"), "{which}");
                    // Use is noted every second, so no index holds it.
                    let covered = filter == "unused_since" || plan.contains("USING COVERING INDEX");
                    assert!(covered, "{which}");
                }
            }
        }
    }
}

#[tokio::test]
async fn lookups_use_their_indexes() {
    let (_dir, store) = open_sqlite().await;
    let holder = keys::holder_query(&acme(), &tag(1)).build(DbBackend::Sqlite);
    let plan = plan(&store, holder).await;
    assert!(plan.contains("secrets_by_tag"), "{plan}");
}

//! The history, read newest first and onward, and the indexes that carry it.

use sea_orm::{ConnectionTrait, DbBackend, QueryTrait as _, Statement};

use super::*;
use crate::app::ports::audit::{
    AuditBatch, AuditCursor, AuditEvent, AuditFilter, AuditLog as _, AuditQuery, Place,
};
use crate::store::audit;

fn by(actor: Actor, action: &'static str, resource: Resource, time: i64) -> Change {
    Change {
        actor,
        action,
        time: at(time),
        ..change(resource)
    }
}

/// Three revisions of two workspaces; the clock of the second was behind.
async fn furnish(store: &SqlStore) {
    let globex: WorkspaceId = "globex".parse().unwrap();
    let one = Actor::Key(KeyId::from_u128(1));
    let key = |n| Resource::Key(acme(), KeyId::from_u128(n));
    let revisions = [
        vec![
            by(Actor::Bootstrap, "CREATE", Resource::Workspace(acme()), 10),
            by(one.clone(), "CREATE", key(7), 10),
        ],
        vec![by(
            one.clone(),
            "UPDATE",
            Resource::Scope(globex.clone(), "x".to_owned()),
            5,
        )],
        vec![
            by(one.clone(), "UPDATE", key(7), 20),
            by(Actor::Service, "PURGE", key(8), 20),
            by(one, "DELETE", Resource::Subscription(acme(), sub("x")), 20),
        ],
    ];
    for changes in revisions {
        let mut tx = store.begin().await.unwrap();
        tx.append_many(&changes).await.unwrap();
        commit(tx).await;
    }
}

fn places(events: &[AuditEvent]) -> Vec<(u64, u64)> {
    events.iter().map(|e| (e.revision, e.ordinal)).collect()
}

async fn list(store: &SqlStore, query: &AuditQuery) -> Vec<(u64, u64)> {
    places(&store.audit_events(query, None, 100).await.unwrap())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[tokio::test]
async fn events_are_listed_newest_first_by_every_filter() {
    let (_home, store) = open().await;
    furnish(&store).await;
    let all = AuditQuery::default;
    let filter = |filter: AuditFilter| AuditQuery { filter, ..all() };
    let of_acme = AuditFilter {
        workspace: Some(acme()),
        ..AuditFilter::default()
    };
    let keys = AuditFilter {
        kinds: words(&["KEY", "ROUTE"]),
        ..AuditFilter::default()
    };
    let changed = AuditFilter {
        actions: words(&["UPDATE", "DELETE"]),
        ..of_acme.clone()
    };
    let actor = |actor: &str| AuditQuery {
        actor: Some(actor.to_owned()),
        ..all()
    };
    let about = |id: &str| AuditQuery {
        resource: Some(id.to_owned()),
        ..all()
    };
    let within = |start: i64, end: i64| AuditQuery {
        start: Some(at(start)),
        end: Some(at(end)),
        ..all()
    };
    let one = KeyId::from_u128(1).to_string();
    for (query, expected) in [
        (all(), vec![(3, 2), (3, 1), (3, 0), (1, 1), (1, 0), (2, 0)]),
        (
            filter(of_acme.clone()),
            vec![(3, 2), (3, 1), (3, 0), (1, 1), (1, 0)],
        ),
        (filter(keys), vec![(3, 1), (3, 0), (1, 1)]),
        (filter(changed), vec![(3, 2), (3, 0)]),
        (actor("SERVICE"), vec![(3, 1)]),
        (actor(&one), vec![(3, 2), (3, 0), (1, 1), (2, 0)]),
        (actor("nobody"), vec![]),
        (
            about(&KeyId::from_u128(7).to_string()),
            vec![(3, 0), (1, 1)],
        ),
        (about("x"), vec![(3, 2), (2, 0)]),
        (within(10, 20), vec![(1, 1), (1, 0)]),
        (within(5, 10), vec![(2, 0)]),
        (within(20, 21), vec![(3, 2), (3, 1), (3, 0)]),
    ] {
        assert_eq!(list(&store, &query).await, expected, "{query:?}");
    }
    let event = &store.audit_events(&about("x"), None, 1).await.unwrap()[0];
    let found = (event.actor.as_str(), event.action.as_str(), &*event.kind);
    assert_eq!(found, (one.as_str(), "DELETE", "SUBSCRIPTION"));
    assert_eq!(
        (event.before.as_ref(), event.after.as_ref()),
        (None, Some(&serde_json::json!({"a": 1})))
    );
}

#[tokio::test]
async fn pages_of_events_follow_each_other() {
    let (_home, store) = open().await;
    furnish(&store).await;
    let query = AuditQuery::default();
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let page = store
            .audit_events(&query, cursor.as_ref(), 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        cursor = Some(AuditCursor {
            time: last.time,
            revision: last.revision,
            ordinal: last.ordinal,
        });
        found.extend(places(&page));
    }
    assert_eq!(found, list(&store, &query).await);
}

async fn onward(store: &SqlStore, place: Place, upto: u64, limit: u32) -> AuditBatch {
    let filter = AuditFilter::default();
    store
        .audit_events_after(place, upto, &filter, limit)
        .await
        .unwrap()
}

fn behind(n: u64) -> Place {
    Place { n, ordinal: None }
}

fn within(n: u64, ordinal: u64) -> Place {
    Place {
        n,
        ordinal: Some(ordinal),
    }
}

#[tokio::test]
async fn the_history_is_read_onward_from_any_place_in_it() {
    let (_home, store) = open().await;
    furnish(&store).await;
    let all = [(1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 2)];
    for (place, upto, limit, from, to, whole) in [
        (behind(0), 3, 100, 0, 6, true),
        (behind(0), 3, 2, 0, 2, false),
        (within(1, 1), 3, 2, 2, 4, false),
        (within(3, 0), 3, 2, 4, 6, false),
        (within(3, 2), 3, 2, 6, 6, true),
        (within(1, 0), 1, 100, 1, 2, true),
        (behind(1), 2, 100, 2, 3, true),
        (behind(3), 3, 100, 6, 6, true),
        (behind(9), 3, 100, 6, 6, true),
        (within(4, 1), 3, 100, 6, 6, true),
    ] {
        let batch = onward(&store, place, upto, limit).await;
        assert_eq!(places(&batch.events), all[from..to], "{place:?}");
        let said = (batch.whole, batch.pruned, batch.epoch);
        assert_eq!(said, (whole, false, 7), "{place:?}");
    }
    let filter = AuditFilter {
        workspace: Some(acme()),
        kinds: words(&["KEY"]),
        actions: words(&["UPDATE"]),
    };
    let batch = store
        .audit_events_after(behind(0), 3, &filter, 100)
        .await
        .unwrap();
    assert_eq!(places(&batch.events), [(3, 0)]);
}

#[tokio::test]
async fn who_reads_on_from_what_was_pruned_is_told() {
    let (_home, store) = open().await;
    furnish(&store).await;
    // A mutation without a change leaves no entry, and no gap either.
    commit(store.begin().await.unwrap()).await;
    furnish(&store).await;
    assert_eq!(store.prune_changes(at(15), 2).await.unwrap(), 2);
    for place in [behind(0), within(1, 0), within(1, 1)] {
        assert!(onward(&store, place, 7, 9).await.pruned, "{place:?}");
    }
    for (place, first) in [
        (behind(1), (2, 0)),
        (behind(3), (5, 0)),
        (behind(4), (5, 0)),
    ] {
        let batch = onward(&store, place, 7, 9).await;
        assert!(!batch.pruned, "{place:?}");
        assert_eq!(places(&batch.events)[0], first, "{place:?}");
    }
}

async fn plan(store: &SqlStore, mut statement: Statement) -> String {
    statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
    let rows = store.reader.query_all_raw(statement).await.unwrap();
    let lines = rows
        .iter()
        .map(|row| row.try_get::<String>("", "detail").unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// A filter by name, and the indexes that may serve it.
type Served = (&'static str, fn(&mut AuditQuery), &'static [&'static str]);

#[tokio::test]
async fn every_list_of_events_is_served_by_an_index_in_its_order() {
    // What PostgreSQL plans depends on how much there is.
    let (_home, store) = open_sqlite().await;
    let filters: [Served; 6] = [
        ("none", |_| {}, &["changes_by_time"]),
        (
            "workspace",
            |q| q.filter.workspace = Some(acme()),
            &["changes_by_workspace"],
        ),
        (
            "kind and action",
            |q| {
                q.filter.workspace = Some(acme());
                q.filter.kinds = words(&["KEY"]);
                q.filter.actions = words(&["UPDATE", "DELETE"]);
            },
            &["changes_by_workspace"],
        ),
        (
            "actor",
            |q| q.actor = Some("SERVICE".to_owned()),
            &["changes_by_actor"],
        ),
        (
            "actor in a workspace",
            |q| {
                q.filter.workspace = Some(acme());
                q.actor = Some("SERVICE".to_owned());
            },
            &["changes_by_actor", "changes_by_workspace"],
        ),
        (
            "resource",
            |q| {
                q.filter.workspace = Some(acme());
                q.resource = Some("x".to_owned());
            },
            &["changes_by_resource", "changes_by_workspace"],
        ),
    ];
    let cursor = AuditCursor {
        time: at(7),
        revision: 2,
        ordinal: 0,
    };
    for (name, add, indexes) in filters {
        for after in [None, Some(&cursor)] {
            for (start, end) in [(None, None), (Some(at(3)), Some(at(9)))] {
                let mut query = AuditQuery {
                    start,
                    end,
                    ..AuditQuery::default()
                };
                add(&mut query);
                let statement = audit::select(&query, after, 50).unwrap();
                let plan = plan(&store, statement.build(DbBackend::Sqlite)).await;
                let which = format!("{name}, {after:?}, {start:?}:\n{plan}");
                assert!(indexes.iter().any(|i| plan.contains(i)), "{which}");
                assert!(!plan.contains("TEMP B-TREE"), "{which}");
                // Without any filter the index is gone through from its end.
                let bare = name == "none" && after.is_none() && start.is_none();
                assert_eq!(plan.contains("SCAN"), bare, "{which}");
                let ranged = after.is_some() || start.is_some();
                assert_eq!(plan.contains("time"), ranged || bare, "{which}");
            }
        }
    }
    let step = audit::step(within(1, 0), 9, &AuditFilter::default(), 100).unwrap();
    let plan = plan(&store, step.build(DbBackend::Sqlite)).await;
    assert!(
        plan.contains("SEARCH") && !plan.contains("TEMP B-TREE"),
        "{plan}"
    );
}

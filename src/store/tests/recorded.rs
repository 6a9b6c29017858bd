//! What is recorded of decisions: added once, listed by indexes, pruned by age.

use std::net::IpAddr;

use sea_orm::{ConnectionTrait as _, DbBackend, QueryTrait as _, Statement};

use super::*;
use crate::app::ports::{
    Before, DecisionQuery, Flush, Interval, LogEntry, LogRow, LoggedDecision, Records as _, RowId,
    ShadowCount, UsageId, UsageQuery,
};
use crate::domain::decision::Reason;

const HOUR: i64 = 3_600_000_000;

/// An addition of one row to each kind of count.
pub(super) fn flush(writer: u64, sequence: u64) -> Flush {
    Flush {
        writer,
        sequence,
        now: at(HOUR),
        usage: vec![(usage_id(1, 0, Reason::Ok), 3)],
        shadow: vec![shadowed("192.0.2.1", 20)],
    }
}

fn usage_id(key: u128, hour: i64, reason: Reason) -> UsageId {
    UsageId {
        workspace: acme(),
        hour: at(hour * HOUR),
        key: (key != 0).then(|| KeyId::from_u128(key)),
        subscription: "gold".to_owned(),
        route: String::new(),
        allowed: reason == Reason::Ok,
        reason,
    }
}

fn shadowed(network: &str, last: i64) -> ShadowCount {
    ShadowCount {
        workspace: acme(),
        key: KeyId::from_u128(1),
        route: "send".to_owned(),
        reason: Reason::IpNotAllowed,
        count: 2,
        first: at(10),
        last: at(last),
        networks: vec![network::parse(network).unwrap()],
        more_networks: false,
    }
}

fn all_usage() -> UsageQuery {
    UsageQuery::all(acme(), Interval::Hour, 100)
}

async fn counted(store: &SqlStore) -> Vec<(i64, u64)> {
    let points = store.records().usage(&all_usage()).await.unwrap();
    points
        .iter()
        .map(|point| (point.place.start.micros() / HOUR, point.count))
        .collect()
}

fn row(n: u64, reason: Reason) -> LogRow {
    let allowed = reason == Reason::Ok;
    LogRow {
        id: RowId::new(at(i64::try_from(n).unwrap() * 1_000), n),
        workspace: acme(),
        replica: "0a0b0c0d".to_owned(),
        entry: LogEntry::Decision(Box::new(LoggedDecision {
            allowed,
            reason: Some(reason),
            key: Some((KeyId::from_u128(u128::from(n % 10)), SecretId::from_u128(7))),
            subscription: "gold".to_owned(),
            route: String::new(),
            presentation: Some(Presentation::Query),
            source_ip: Some(IpAddr::from([192, 0, 2, u8::try_from(n % 200).unwrap()])),
            method: "GET".to_owned(),
            path: "/v1/orders".to_owned(),
            surface: "envoy".to_owned(),
            all_of: "a b".to_owned(),
            any_of: String::new(),
            shadowed: vec![Reason::IpNotAllowed, Reason::InsufficientScope],
            revision: "00000007.12".to_owned(),
        })),
    }
}

fn all_decisions() -> DecisionQuery {
    DecisionQuery::all(acme(), 10_000)
}

#[tokio::test]
async fn an_addition_is_made_once_however_often_it_is_tried() {
    let (_home, store) = open().await;
    let records = store.records();
    for sequence in [1, 1, 2, 1, 2] {
        records.add(&flush(5, sequence)).await.unwrap();
    }
    // A writer of a large number is as good as any, and no other's.
    records.add(&flush(u64::MAX, 1)).await.unwrap();
    assert_eq!(counted(&store).await, [(0, 9)]);
    let shadow = records
        .shadow(&acme(), &[KeyId::from_u128(1)])
        .await
        .unwrap();
    assert_eq!((shadow.len(), shadow[0].count), (1, 6));
}

#[tokio::test]
async fn additions_of_several_writers_at_once_all_count() {
    let (_home, store) = open().await;
    let adding = (1..=8).map(|writer| {
        let records = store.records();
        async move {
            for sequence in 1..=10 {
                let mut flush = flush(writer, sequence);
                flush.usage = (0..20)
                    .map(|key| (usage_id(key, 0, Reason::Ok), 1))
                    .collect();
                records.add(&flush).await.unwrap();
            }
        }
    });
    futures::future::join_all(adding).await;
    assert_eq!(counted(&store).await, [(0, 8 * 10 * 20)]);
}

#[tokio::test]
async fn networks_that_would_have_been_needed_are_kept_few_and_the_first_and_last_time() {
    let (_home, store) = open().await;
    let records = store.records();
    for (sequence, network, last) in [
        (1, "192.0.2.0/32", 30),
        (2, "192.0.2.1/32", 20),
        (3, "198.51.100.0/24", 25),
    ] {
        let flush = Flush {
            shadow: vec![shadowed(network, last)],
            usage: Vec::new(),
            ..flush(1, sequence)
        };
        records.add(&flush).await.unwrap();
    }
    let counts = records
        .shadow(&acme(), &[KeyId::from_u128(1)])
        .await
        .unwrap();
    let nets: Vec<_> = counts[0].networks.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["192.0.2.0/31", "198.51.100.0/24"]);
    assert_eq!((counts[0].first, counts[0].last), (at(10), at(30)));
    records
        .reset_shadow(&acme(), KeyId::from_u128(1))
        .await
        .unwrap();
    assert_eq!(
        records
            .shadow(&acme(), &[KeyId::from_u128(1)])
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn rows_of_the_log_come_back_as_they_were_and_are_written_once() {
    let (_home, store) = open().await;
    let records = store.records();
    let mut rows: Vec<_> = (1..=450)
        .map(|n| {
            row(
                n,
                if n % 3 == 0 {
                    Reason::KeyDisabled
                } else {
                    Reason::Ok
                },
            )
        })
        .collect();
    rows.push(LogRow {
        entry: LogEntry::Gap {
            missing: 12,
            since: at(5),
        },
        ..row(451, Reason::Ok)
    });
    records.log(&rows).await.unwrap();
    records.log(&rows[..300]).await.unwrap();
    let found = records.list_decisions(&all_decisions()).await.unwrap();
    rows.reverse();
    assert_eq!(found, rows);
    let denied = DecisionQuery {
        allowed: Some(false),
        ..all_decisions()
    };
    assert_eq!(records.list_decisions(&denied).await.unwrap().len(), 150);
}

#[tokio::test]
async fn what_is_older_goes_oldest_first_and_in_batches() {
    let (_home, store) = open().await;
    let records = store.records();
    let rows: Vec<_> = (1..=30).map(|n| row(n, Reason::Ok)).collect();
    records.log(&rows).await.unwrap();
    let mut flush = flush(1, 1);
    flush.usage = (0..30)
        .map(|key| (usage_id(key, key as i64 / 10, Reason::Ok), 1))
        .collect();
    records.add(&flush).await.unwrap();
    let before = Before {
        log: at(21_000),
        usage: at(2 * HOUR),
        shadow: at(20),
    };
    let mut pruned = Vec::new();
    loop {
        match records.prune(&acme(), before, 7).await.unwrap() {
            0 => break,
            some => pruned.push(some),
        }
    }
    assert_eq!(pruned.iter().sum::<u64>(), 20 + 20, "{pruned:?}");
    assert!(pruned.iter().all(|some| *some <= 7 + 8), "{pruned:?}");
    let left = records.list_decisions(&all_decisions()).await.unwrap();
    assert_eq!(left.len(), 10);
    assert_eq!(counted(&store).await, [(2, 10)]);
    assert_eq!(records.workspaces(None).await.unwrap(), Some(acme()));
    assert_eq!(records.workspaces(Some(&acme())).await.unwrap(), None);
    while records.prune(&acme(), Before::ALL, 100).await.unwrap() > 0 {}
    assert_eq!(records.workspaces(None).await.unwrap(), None);
}

#[tokio::test]
async fn every_filter_of_the_log_is_served_by_an_index() {
    let (_home, store) = open_sqlite().await;
    let records = store.records();
    let rows: Vec<_> = (1..=2_000).map(|n| row(n, Reason::Ok)).collect();
    records.log(&rows).await.unwrap();
    records.writer.execute_unprepared("ANALYZE").await.unwrap();
    let all = all_decisions;
    let only = Some(vec![sub("gold")]);
    let key = Some(KeyId::from_u128(3));
    let ip = Some(IpAddr::from([192, 0, 2, 9]));
    for (query, index) in [
        (all(), "sqlite_autoindex_decisions_1"),
        (DecisionQuery { key, ..all() }, "decisions_by_key"),
        (
            DecisionQuery {
                source_ip: ip,
                ..all()
            },
            "decisions_by_source",
        ),
        (
            DecisionQuery {
                route: Some("r".to_owned()),
                ..all()
            },
            "decisions_by_route",
        ),
        (
            DecisionQuery {
                subscriptions: only,
                ..all()
            },
            "decisions_by_subscription",
        ),
        (
            DecisionQuery {
                reason: Some(Reason::KeyDeleted),
                ..all()
            },
            "decisions_by_denial",
        ),
        (
            DecisionQuery {
                allowed: Some(false),
                ..all()
            },
            "decisions_denied",
        ),
    ] {
        let statement = crate::store::records::select(&query).build(DbBackend::Sqlite);
        let explain =
            Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {statement}"));
        let plan = records.reader.query_all_raw(explain).await.unwrap();
        let plan: Vec<String> = plan
            .iter()
            .map(|step| step.try_get("", "detail").unwrap())
            .collect();
        assert!(
            plan.iter().any(|step| step.contains(index)),
            "{index}: {plan:?}"
        );
        // The order is the index's, too.
        assert!(
            !plan.iter().any(|step| step.contains("TEMP B-TREE")),
            "{index}: {plan:?}"
        );
    }
}

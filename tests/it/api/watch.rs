//! Watching changes: all of them, in order, once, however often the stream is cut; and the streams' limits and ends.

use std::time::Duration;

use claviger::grpc::proto::v1;
use tokio::task::JoinSet;
use tonic::{Code, Response, Status, Streaming};

use super::stage::{Stage, creating, details, holding, mask, named, ok, refused};
use crate::harness::server::Client;
use crate::harness::{PATIENCE, figure, revision};

const WRITERS: usize = 8;
const ROUNDS: usize = 12;

fn watching(workspace: &str, after: &str) -> v1::WatchEventsRequest {
    v1::WatchEventsRequest {
        workspace: workspace.to_owned(),
        after: after.to_owned(),
        ..Default::default()
    }
}

type Stream = Streaming<v1::WatchEventsResponse>;

async fn open(client: &Client, request: v1::WatchEventsRequest) -> Stream {
    ok(client.insights().watch_events(request).await)
}

async fn next(stream: &mut Stream) -> Result<v1::WatchEventsResponse, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message());
    let message = message.await.expect("a message in time")?;
    Ok(message.expect("a stream ends with a word"))
}

/// The word that a stream ends with, whatever comes before.
async fn last_word(stream: &mut Stream) -> (Code, String) {
    loop {
        if let Err(status) = next(stream).await {
            return (status.code(), details(&status).0);
        }
    }
}

/// The next events, which there must be.
async fn events(stream: &mut Stream) -> Vec<v1::AuditEvent> {
    loop {
        let message = next(stream).await.unwrap();
        if !message.events.is_empty() {
            return message.events;
        }
    }
}

fn place(event: &v1::AuditEvent) -> (u64, u32) {
    (revision(&event.revision), event.ordinal)
}

/// Numbers that look like chance, the same in every run.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    }
}

/// The answer of a call that must succeed, sooner or later: on a busy machine a database may be locked for longer than a
/// call waits for it, which then says so, and that nothing was changed.
async fn insist<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    loop {
        match call().await {
            Err(status) if details(&status).0 == "DATABASE_UNAVAILABLE" => {}
            answer => return ok(answer),
        }
    }
}

/// Makes keys and changes them; returns the revisions that were acknowledged.
async fn write(client: Client, writer: usize) -> Vec<u64> {
    let keys = client.keys();
    let mut revisions = Vec::new();
    for round in 0..ROUNDS {
        let create = creating("acme", named(&format!("{round} of {writer}")));
        let made = insist(|| {
            let (mut keys, create) = (keys.clone(), create.clone());
            async move { keys.create_key(create).await }
        })
        .await;
        let id = made.key.unwrap().id;
        let update = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: id.clone(),
                // Long, so that messages have to be split where many come at once.
                description: "x".repeat(1_000),
                ..Default::default()
            }),
            update_mask: mask(&["description"]),
            ..Default::default()
        };
        let updated = insist(|| {
            let (mut keys, update) = (keys.clone(), update.clone());
            async move { keys.update_key(update).await }
        })
        .await;
        let delete = v1::DeleteKeyRequest {
            id,
            purge: round % 3 == 0,
            ..Default::default()
        };
        let deleted = insist(|| {
            let (mut keys, delete) = (keys.clone(), delete.clone());
            async move { keys.delete_key(delete).await }
        })
        .await;
        let acknowledged = [made.revision, updated.revision, deleted.revision];
        revisions.extend(acknowledged.iter().map(|r| revision(r)));
    }
    revisions
}

/// Follows from a place on over streams that are cut at random, until `goal` says up to which revision there was anything.
async fn follow(
    client: Client,
    mut after: String,
    goal: tokio::sync::watch::Receiver<Option<u64>>,
    seed: u64,
) -> (Vec<v1::AuditEvent>, usize) {
    let mut roll = dice(seed);
    let (mut seen, mut streams) = (Vec::new(), 0);
    loop {
        let mut stream = open(&client, watching("acme", &after)).await;
        streams += 1;
        // Often before anything came, sometimes in the middle of much.
        for _ in 0..roll(6) {
            // Where nothing was changed, one comes without changes.
            let message = next(&mut stream).await.unwrap();
            after = message.position;
            seen.extend(message.events);
            let reached = after.split('.').nth(1).unwrap().parse::<u64>().unwrap();
            let whole = after.matches('.').count() == 1;
            if whole && goal.borrow().is_some_and(|goal| reached >= goal) {
                return (seen, streams);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_cut_off_at_random_sees_every_change_of_eight_writers_once_and_in_order()
{
    let stage = Stage::set().await;
    let from = stage.revision().await;
    let (tell, goal) = tokio::sync::watch::channel(None);
    let mut watchers = JoinSet::new();
    for seed in 1..=3 {
        let client = stage.server.client_as(&stage.acme);
        watchers.spawn(follow(client, from.clone(), goal.clone(), seed));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(stage.server.client_as(&stage.acme), writer));
    }
    let mut acknowledged = writers.join_all().await.concat();
    tell.send_replace(acknowledged.iter().max().copied());
    acknowledged.sort_unstable();

    let request = v1::ListAuditEventsRequest {
        workspace: "acme".to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let mut all = ok(stage.acme.insights().list_audit_events(request).await).events;
    all.retain(|event| place(event).0 > revision(&from));
    all.sort_by_key(place);
    let made: Vec<_> = all.iter().map(|event| place(event).0).collect();
    assert_eq!(made, acknowledged, "one change for each answer");
    let mut cuts = 0;
    for (seen, streams) in watchers.join_all().await {
        assert_eq!(seen, all);
        cuts += streams - 1;
    }
    assert!(cuts > 10, "{cuts}");
    figure(&format!(
        "3 watchers, cut off {cuts} times, saw the {} changes of {WRITERS} concurrent writers in order, each once",
        all.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_after_a_restart() {
    let stage = Stage::set().await;
    let mut stream = open(&stage.acme, watching("acme", "")).await;
    let begun = next(&mut stream).await.unwrap();
    assert!(begun.events.is_empty(), "from now on");
    let one = stage.key(&[]).await;
    let seen = events(&mut stream).await;
    assert_eq!(seen[0].resource_id, one.id());
    let mut stopping = JoinSet::new();
    stopping.spawn(async move { last_word(&mut stream).await });
    let stage = stage.restart().await;
    let word = stopping.join_next().await.unwrap().unwrap();
    assert_eq!(word, (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    let two = stage.key(&[]).await;
    let mut stream = open(&stage.acme, watching("acme", &seen[0].revision)).await;
    assert_eq!(events(&mut stream).await[0].resource_id, two.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_what_was_asked_for_and_still_moves_on() {
    let stage = Stage::set().await;
    let request = v1::WatchEventsRequest {
        actions: vec!["UPDATE".to_owned()],
        resource_kinds: vec!["KEY".to_owned()],
        ..watching("acme", "")
    };
    let mut stream = open(&stage.acme, request).await;
    let begun = next(&mut stream).await.unwrap().position;
    // Another tenant's changes, and others of this one.
    let made = stage.key(&[]).await;
    stage.make(creating("other", named("theirs"))).await;
    loop {
        let quiet = next(&mut stream).await.unwrap();
        assert!(quiet.events.is_empty());
        if revision(&quiet.position) > revision(&begun) + 1 {
            break;
        }
    }
    let update = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            display_name: "renamed".to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["display_name"]),
        ..Default::default()
    };
    let updated = ok(stage.system.keys().update_key(update).await);
    let seen = events(&mut stream).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].revision, updated.revision);
    assert_eq!(seen[0].changed_fields, ["settings.display_name"]);

    // All workspaces, for those of `system` alone.
    let mut all = open(&stage.system, watching("-", &begun)).await;
    let workspaces: Vec<_> = events(&mut all)
        .await
        .iter()
        .map(|e| e.workspace.clone())
        .collect();
    assert_eq!(workspaces, ["acme", "other", "acme"]);
    let denied = stage.acme.insights().watch_events(watching("-", "")).await;
    refused(
        denied.map(|r| r.map(drop)),
        Code::PermissionDenied,
        "SYSTEM_ONLY",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_key_and_with_the_right_of_its_caller() {
    let stage = Stage::set().await;
    let scopes = ["claviger:insights:read", "claviger:keys:read"];
    let ends = [
        ("enabled", Code::Unauthenticated, "UNAUTHENTICATED"),
        ("scopes", Code::PermissionDenied, "MISSING_SCOPE"),
    ];
    for (field, code, reason) in ends {
        let made = stage.make(creating("acme", holding(&scopes))).await;
        let client = stage.server.client_with(&made.primary);
        let mut stream = open(&client, watching("", "")).await;
        next(&mut stream).await.unwrap();
        let update = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: made.id(),
                enabled: Some(false),
                ..holding(&["claviger:keys:read"])
            }),
            update_mask: mask(&[field]),
            ..Default::default()
        };
        ok(stage.system.keys().update_key(update).await);
        assert_eq!(
            last_word(&mut stream).await,
            (code, reason.to_owned()),
            "{field}"
        );
    }
    // What ends by the clock is found out with the next word.
    let key = v1::Key {
        expire_time: Some(prost_types::Timestamp {
            seconds: 1_800_000_060,
            nanos: 0,
        }),
        ..holding(&scopes)
    };
    let made = stage.make(creating("acme", key)).await;
    let client = stage.server.client_with(&made.primary);
    let mut stream = open(&client, watching("", "")).await;
    next(&mut stream).await.unwrap();
    stage.advance(Duration::from_secs(60));
    let word = last_word(&mut stream).await;
    assert_eq!(word, (Code::Unauthenticated, "UNAUTHENTICATED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_subscriptions_watches_what_concerns_those() {
    let stage = Stage::set().await;
    let bound = |subscription: &str| {
        let key = v1::Key {
            subscriptions: vec![subscription.to_owned()],
            ..named("bound")
        };
        creating("acme", key)
    };
    let caller = stage.bound(&["claviger:insights:read"], &["pro"]).await;
    let mut stream = open(&caller, watching("acme", "")).await;
    next(&mut stream).await.unwrap();
    stage.make(bound("basic")).await;
    stage.key(&[]).await;
    let own = stage.make(bound("pro")).await;
    let seen = events(&mut stream).await;
    let ids: Vec<_> = seen.iter().map(|e| e.resource_id.clone()).collect();
    assert_eq!(ids, [own.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_another_history_is_refused() {
    let stage = Stage::set().await;
    for after in ["00000000.1", "00000000.1.0"] {
        let answer = stage
            .acme
            .insights()
            .watch_events(watching("", after))
            .await;
        let answer = answer.map(|r| r.map(drop));
        refused(answer, Code::FailedPrecondition, "OTHER_EPOCH");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_counted_and_a_tenant_gets_no_more_than_half() {
    let stage = Stage::set().await;
    let mut streams = Vec::new();
    let status = loop {
        match stage.acme.insights().watch_events(watching("", "")).await {
            Ok(answer) => streams.push(answer.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!(streams.len(), 32);
    let found = (status.code(), details(&status).0);
    assert_eq!(found, (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    let mut other = open(&stage.other, watching("", "")).await;
    next(&mut other).await.unwrap();
    // Who hangs up makes room.
    drop(streams);
    loop {
        match stage.acme.insights().watch_events(watching("", "")).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_holds_up_nobody_and_misses_nothing() {
    let stage = Stage::set().await;
    let mut stalled = open(&stage.acme, watching("acme", "")).await;
    let begun = next(&mut stalled).await.unwrap().position;
    // Far more than a connection takes without being read.
    let filled = v1::Key {
        labels: (0..32)
            .map(|n| (format!("label-{n}"), "x".repeat(200)))
            .collect(),
        description: "x".repeat(1_000),
        ..named("filled")
    };
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, filled) = (stage.server.client_as(&stage.acme), filled.clone());
        writers.spawn(async move {
            for _ in 0..40 {
                let request = creating("acme", filled.clone());
                insist(|| {
                    let (mut keys, request) = (client.keys(), request.clone());
                    async move { keys.create_key(request).await }
                })
                .await;
            }
        });
    }
    writers.join_all().await;
    let last = revision(&stage.revision().await);
    // On a connection of its own: what is not taken counts for all streams of one.
    let another = stage.server.client_as(&stage.acme);
    let mut lively = open(&another, watching("acme", &begun)).await;
    let mut seen = [Vec::new(), Vec::new()];
    for (stream, seen) in [&mut lively, &mut stalled].into_iter().zip(&mut seen) {
        loop {
            let message = next(stream).await.unwrap();
            seen.extend(message.events.iter().map(place));
            if message.position.matches('.').count() == 1 && revision(&message.position) >= last {
                break;
            }
        }
    }
    assert_eq!(seen[0].len(), WRITERS * 40);
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].is_sorted());
}

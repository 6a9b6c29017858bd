//! Watching changes of two processes on one database: at the one, at the other, and on at the one again.

use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::insights_client::InsightsClient;

use super::{Stage, administrator};
use crate::harness::{Admin, SOAK, Writers, figure, key, revision};

/// Callers at each of the two processes, and what they make at least.
const WRITERS: usize = 4;
const WRITES: usize = if SOAK { 2_000 } else { 150 };

/// Reads some messages from a place on; returns the place behind them.
fn read(admin: &Admin, after: String, messages: usize, seen: &mut Vec<v1::AuditEvent>) -> String {
    let mut client = InsightsClient::new(admin.channel());
    let request = admin.request(v1::WatchEventsRequest {
        workspace: "default".to_owned(),
        after,
        ..Default::default()
    });
    admin.runtime.block_on(async {
        let mut stream = client.watch_events(request).await.unwrap().into_inner();
        let mut position = String::new();
        for _ in 0..messages {
            let message = stream.message().await.unwrap().unwrap();
            seen.extend(message.events);
            position = message.position;
        }
        position
    })
}

#[test]
fn a_watch_that_goes_from_process_to_process_sees_every_change_of_both_once_and_in_order() {
    let stage = Stage::set();
    let processes = [stage.process("one"), stage.process("other")];
    let admins = processes.each_ref().map(administrator);
    admins[0].make("default", key("before", &[]));
    let mut seen = Vec::new();
    let mut position = read(&admins[0], String::new(), 1, &mut seen);
    let from = revision(&position);

    let writers = admins.each_ref().map(|a| Writers::start(a, WRITERS));
    let mut written = Vec::new();
    let mut streams = 0;
    // As long as they write, and each time at the other process: the one may be behind the other.
    while written.len() < 2 * WRITES {
        for writers in &writers {
            written.extend(writers.take(10));
        }
        position = read(&admins[streams % 2], position, 1 + streams % 3, &mut seen);
        streams += 1;
    }
    written.extend(writers.into_iter().flat_map(Writers::stop));
    let mut revisions: Vec<u64> = written.iter().map(|w| revision(&w.revision)).collect();
    revisions.sort_unstable();
    let last = *revisions.last().unwrap();
    while seen.last().is_none_or(|e| revision(&e.revision) < last) {
        position = read(&admins[streams % 2], position, 1, &mut seen);
        streams += 1;
    }
    let found: Vec<u64> = seen.iter().map(|e| revision(&e.revision)).collect();
    assert_eq!(found, revisions);
    assert!(found.first().is_some_and(|first| *first == from + 1));
    let mut made: Vec<&str> = written.iter().map(|w| w.id.as_str()).collect();
    let mut told: Vec<&str> = seen.iter().map(|e| e.resource_id.as_str()).collect();
    made.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, made);
    figure(&format!(
        "PostgreSQL, two processes: a watch that changed process {streams} times saw {} changes in order, each once",
        seen.len()
    ));
}

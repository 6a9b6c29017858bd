//! What is recorded goes by its age, each kind and each workspace by its own setting, round by round.

use std::time::Duration;

use claviger::app::directory::WorkspaceEdit;
use claviger::app::ports::{
    Before, DecisionQuery, Interval, LogEntry, LogRow, Records as _, UsageQuery,
};
use claviger::domain::decision::Reason;
use claviger::domain::id::WorkspaceId;
use claviger::domain::time::Time;
use claviger::domain::workspace::{RequestLog, Share};

use super::recording::Flushing;
use super::records::Writes;
use super::stage::{Made, Stage, stage_by, workspace};
use crate::harness::server::TestClock;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const ALLOWED: usize = 400;
const DENIED: usize = 5;

impl Stage {
    /// An hour's traffic: allowed requests, of which a share is logged, and denied ones.
    fn traffic(&self, good: &Made, dead: &Made) {
        for _ in 0..ALLOWED {
            assert_eq!(self.decide(good), Reason::Ok);
        }
        for _ in 0..DENIED {
            assert_eq!(self.decide(dead), Reason::KeyDisabled);
        }
    }

    /// How many rows of allowed and of denied requests the log has of each hour.
    async fn rows(&self, workspace: &WorkspaceId) -> Vec<(Time, usize, usize)> {
        let query = DecisionQuery::all(workspace.clone(), 5_000);
        let rows = self.records.list_decisions(&query).await.unwrap();
        let mut hours: Vec<(Time, usize, usize)> = Vec::new();
        for row in rows.iter().rev() {
            let hour = Interval::Hour.begin(row.id.time());
            if hours.last().is_none_or(|(last, ..)| *last != hour) {
                hours.push((hour, 0, 0));
            }
            let (_, allowed, denied) = hours.last_mut().unwrap();
            *(if is_allowed(row) { allowed } else { denied }) += 1;
        }
        hours
    }

    /// How many requests are counted in each hour.
    async fn usage(&self, workspace: &WorkspaceId) -> Vec<(Time, u64)> {
        let query = UsageQuery::all(workspace.clone(), Interval::Hour, 1_000);
        let points = self.records.usage(&query).await.unwrap();
        points.iter().map(|p| (p.place.start, p.count)).collect()
    }
}

fn is_allowed(row: &LogRow) -> bool {
    match &row.entry {
        LogEntry::Decision(decision) => decision.allowed,
        LogEntry::Gap { .. } => panic!("rows are missing: {row:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sampled_and_denied_rows_and_usage_go_by_their_own_age_in_the_rounds_of_pruning() {
    let clock = TestClock::start();
    let stage = stage_by(clock.clone()).await;
    let (good, dead) = (stage.key().await, stage.key().await);
    stage.disable(&dead, None).await.unwrap();
    for edit in [
        WorkspaceEdit::RequestLog(RequestLog::DeniedAndSampled),
        WorkspaceEdit::RequestLogSample(Some(Share::of(0.5).unwrap())),
        WorkspaceEdit::RequestLogRetention(Some(2 * HOUR)),
        WorkspaceEdit::UsageRetention(Some(DAY)),
    ] {
        stage.edit_workspace(edit).await.unwrap();
    }
    let acme = workspace();
    let flushing = Flushing::start(&stage);
    stage.traffic(&good, &dead);
    clock.advance(HOUR);
    stage.traffic(&good, &dead);
    flushing.end().await;
    let both = stage.rows(&acme).await;
    let [first, second] = both[..] else {
        panic!("{both:?}");
    };
    for (_, allowed, denied) in [first, second] {
        assert!(
            (ALLOWED / 4..=3 * ALLOWED / 4).contains(&allowed),
            "{both:?}"
        );
        assert_eq!(denied, DENIED);
    }
    let whole = (ALLOWED + DENIED) as u64;
    let usage = [(first.0, whole), (second.0, whole)];
    assert_eq!(stage.usage(&acme).await, usage);

    // Nothing is old enough; then the first hour's rows are, sampled and denied ones alike, and no count is.
    assert_eq!(stage.core.prune_records().await.unwrap(), 0);
    clock.advance(HOUR + HOUR / 2);
    // A round that fails leaves everything to the next.
    stage.records.writes(Writes::Refused);
    stage.core.prune_records().await.unwrap_err();
    assert_eq!(stage.rows(&acme).await, both);
    stage.records.writes(Writes::Honest);
    let gone = stage.core.prune_records().await.unwrap();
    assert_eq!(gone, (first.1 + first.2) as u64);
    assert_eq!(stage.rows(&acme).await, [second]);
    assert_eq!(stage.usage(&acme).await, usage);

    // A longer retention saves what is still there, and a shorter one counts for what is there already.
    let keep = |span| WorkspaceEdit::RequestLogRetention(Some(span));
    stage.edit_workspace(keep(7 * DAY)).await.unwrap();
    clock.advance(DAY - HOUR - HOUR / 2);
    // To the hour, it is a day and an hour since the first one began: as counts have no finer time, that one goes.
    assert_eq!(stage.core.prune_records().await.unwrap(), 2);
    assert_eq!(stage.usage(&acme).await, [usage[1]]);
    assert_eq!(stage.rows(&acme).await, [second]);
    stage.edit_workspace(keep(DAY / 2)).await.unwrap();
    let gone = stage.core.prune_records().await.unwrap();
    assert_eq!(gone, (second.1 + second.2) as u64);
    assert_eq!(stage.rows(&acme).await, []);
    clock.advance(2 * DAY);
    stage.core.prune_records().await.unwrap();
    assert_eq!(stage.usage(&acme).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workspace_left_that_is_gone_goes_with_the_next_round_and_nobody_elses() {
    let stage = stage_by(TestClock::start()).await;
    let key = stage.key().await;
    stage
        .edit_workspace(WorkspaceEdit::RequestLog(RequestLog::All))
        .await
        .unwrap();
    let flushing = Flushing::start(&stage);
    stage.decide(&key);
    flushing.end().await;
    // Written by a process that had not yet heard that the workspace is gone.
    let gone: WorkspaceId = "gone".parse().unwrap();
    let acme = workspace();
    let rows = stage.rows(&acme).await;
    let query = DecisionQuery::all(acme.clone(), 10);
    let mut row = stage
        .records
        .list_decisions(&query)
        .await
        .unwrap()
        .remove(0);
    row.id.0 += 1;
    row.workspace = gone.clone();
    stage.records.log(&[row]).await.unwrap();
    assert_eq!(stage.rows(&gone).await.len(), 1);
    assert_eq!(stage.core.prune_records().await.unwrap(), 1);
    assert_eq!(stage.rows(&gone).await, []);
    assert_eq!(stage.rows(&acme).await, rows);
    // Nothing of it is left to be found.
    assert_eq!(stage.records.workspaces(Some(&acme)).await.unwrap(), None);
    assert_eq!(
        stage.records.prune(&gone, Before::ALL, 10).await.unwrap(),
        0
    );
}

//! What decisions leave behind while it can't be written: decisions go on, counts wait, and each arrives exactly once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use claviger::app::directory::WorkspaceEdit;
use claviger::app::last_used::LastUsed;
use claviger::app::ports::{DecisionQuery, Interval, LogEntry, Records as _, UsageQuery};
use claviger::app::recorder::MOST_ROWS;
use claviger::domain::decision::Reason;
use claviger::domain::workspace::RequestLog;
use claviger::record;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::records::Writes;
use super::stage::{Made, Stage, stage, workspace};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever writes it down, running.
pub(super) struct Flushing {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Flushing {
    pub(super) fn start(stage: &Stage) -> Self {
        let stop = CancellationToken::new();
        let (core, stopped) = (stage.core.clone(), stop.clone());
        Self {
            stop: stop.clone(),
            task: tokio::runtime::Handle::current().spawn(record::flush(
                core,
                LastUsed::new().1,
                stopped,
            )),
        }
    }

    /// Stops in order: what can be written is.
    pub(super) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

impl Stage {
    async fn log(&self, policy: RequestLog) {
        let edit = WorkspaceEdit::RequestLog(policy);
        self.edit_workspace(edit).await.unwrap();
    }

    async fn counted(&self) -> u64 {
        let query = UsageQuery {
            allowed: Some(true),
            ..UsageQuery::all(workspace(), Interval::Day, 1_000)
        };
        let points = self.records.usage(&query).await.unwrap();
        points.iter().map(|point| point.count).sum()
    }

    /// How many decisions are in the log, and how many it says are missing.
    async fn logged(&self) -> (usize, u64) {
        let mut query = DecisionQuery::all(workspace(), 5_000);
        let (mut decisions, mut missing) = (0, 0);
        loop {
            let rows = self.records.list_decisions(&query).await.unwrap();
            let Some(last) = rows.last() else {
                return (decisions, missing);
            };
            query.before = Some(last.id);
            for row in &rows {
                match &row.entry {
                    LogEntry::Decision(_) => decisions += 1,
                    LogEntry::Gap { missing: n, since } => {
                        assert!(*since <= row.id.time());
                        missing += n;
                    }
                }
            }
        }
    }

    async fn failed_more_than(&self, times: usize) {
        let more = async {
            while self.records.failed() <= times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, more).await.unwrap();
    }

    fn decide_often(&self, key: &Made, times: usize) {
        for _ in 0..times {
            assert_eq!(self.decide(key), Reason::Ok);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_records_fail_decisions_go_on_and_each_is_counted_and_logged_once_when_they_are_back()
 {
    for fault in [Writes::Refused, Writes::UnknownMade, Writes::UnknownNotMade] {
        let stage = stage().await;
        let key = stage.key().await;
        stage.log(RequestLog::All).await;
        stage.records.writes(fault);
        let flushing = Flushing::start(&stage);
        stage.decide_often(&key, 50);
        stage.failed_more_than(3).await;
        // The addition that failed is under way; what comes now waits behind it.
        stage.decide_often(&key, 25);
        let failed = stage.records.failed();
        stage.failed_more_than(failed + 2).await;
        assert!(
            stage
                .core
                .recorder
                .counts()
                .failed_usage
                .load(Ordering::Relaxed)
                > 0
        );
        stage.records.writes(Writes::Honest);
        flushing.end().await;
        assert_eq!(stage.counted().await, 75, "{fault:?}");
        assert_eq!(stage.logged().await, (75, 0), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_for_rows_the_log_says_how_many_are_missing_and_usage_counts_them_all()
 {
    let stage = stage().await;
    let key = stage.key().await;
    stage.log(RequestLog::All).await;
    stage.records.writes(Writes::Refused);
    let flushing = Flushing::start(&stage);
    stage.decide_often(&key, 10);
    stage.failed_more_than(1).await;
    // From one thread all go to one part of the room, unless that is being read; so some is left, and yet too little.
    let many = MOST_ROWS + 100;
    stage.decide_often(&key, many);
    let dropped = stage.core.recorder.counts().dropped.load(Ordering::Relaxed);
    assert!(dropped > 0);
    assert!(stage.core.recorder.queued() <= 2 * MOST_ROWS as u64);
    stage.records.writes(Writes::Honest);
    flushing.end().await;
    let (logged, missing) = stage.logged().await;
    assert_eq!(missing, dropped);
    assert_eq!(logged as u64 + missing, 10 + many as u64);
    assert_eq!(stage.counted().await, 10 + many as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_processes_count_adds_up() {
    let stage = stage().await;
    let key = stage.key().await;
    let flushing = Flushing::start(&stage);
    stage.decide_often(&key, 30);
    flushing.end().await;
    // Another one, whose numbering begins anew.
    let mut flush = claviger::app::ports::Flush {
        writer: 99,
        sequence: 1,
        now: stage.core.clock.now(),
        usage: vec![(
            claviger::app::ports::UsageId {
                workspace: workspace(),
                hour: Interval::Hour.begin(stage.core.clock.now()),
                key: Some(key.id),
                subscription: String::new(),
                route: String::new(),
                allowed: true,
                reason: Reason::Ok,
            },
            12,
        )],
        shadow: Vec::new(),
    };
    stage.records.add(&flush).await.unwrap();
    assert_eq!(stage.counted().await, 42);
    // The same again, and one of before: both are there already.
    stage.records.add(&flush).await.unwrap();
    flush.sequence = 0;
    stage.records.add(&flush).await.unwrap();
    assert_eq!(stage.counted().await, 42);
    flush.sequence = 2;
    stage.records.add(&flush).await.unwrap();
    assert_eq!(stage.counted().await, 54);
}

//! Watching where the history has an end, and where the database fails.

use claviger::app::error::Code;
use claviger::app::insights::place::Position;
use claviger::app::ports::Store as _;
use claviger::app::ports::audit::{AuditFilter, Place};
use claviger::domain::time::Time;

use super::stage::{Stage, stage};

async fn watch(stage: &Stage, n: u64) -> Result<(usize, Place), &'static str> {
    let position = Position {
        epoch: stage.core.index.epoch(),
        place: Place { n, ordinal: None },
    };
    let place = stage.core.begin_watch(Some(position)).unwrap();
    let filter = AuditFilter::default();
    let step = stage.core.watch_on(&stage.caller(), place, &filter).await;
    let step = step.map_err(|error| {
        assert_eq!(error.code, Code::FailedPrecondition, "{error}");
        error.reason
    })?;
    assert!(!step.more);
    Ok((step.events.len(), step.place))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_from_what_is_no_longer_kept_is_told_to_list_anew() {
    let stage = stage().await;
    let before = stage.applied();
    for _ in 0..3 {
        stage.key().await;
    }
    let now = Place {
        n: stage.applied(),
        ordinal: None,
    };
    assert_eq!(watch(&stage, before).await, Ok((3, now)));
    let far = Time::from_micros(i64::MAX);
    assert!(stage.store.prune_changes(far, 1_000).await.unwrap() > 2);
    // The newest change is always kept.
    assert_eq!(watch(&stage, before).await, Err("REVISION_PRUNED"));
    assert_eq!(watch(&stage, now.n - 2).await, Err("REVISION_PRUNED"));
    assert_eq!(watch(&stage, now.n - 1).await, Ok((1, now)));
    assert_eq!(watch(&stage, now.n).await, Ok((0, now)));
    // Another process may be ahead of this one.
    let ahead = Place {
        n: now.n + 5,
        ordinal: None,
    };
    assert_eq!(watch(&stage, ahead.n).await, Ok((0, ahead)));
}
